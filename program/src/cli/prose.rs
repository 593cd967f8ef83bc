//! Sentences on a terminal that is narrower than they are.

use std::borrow::Cow;

use textwrap::{Options, WordSeparator, WordSplitter};

/// What stands for a blank where no line may end.
const KEPT: char = '\u{a0}';

/// `text`, whose lines are broken between words where they are longer than `width` columns; what goes
/// on is indented. Commands, which people copy, stay in one piece, and so do the rows of tables.
pub fn wrapped(text: &str, width: usize) -> String {
    text.split('\n').map(|line| line_wrapped(line, width)).collect::<Vec<_>>().join("\n")
}

fn line_wrapped(line: &str, width: usize) -> Cow<'_, str> {
    let start = line.len() - line.trim_start_matches(' ').len();
    // Of `label   sentence`, the sentence goes on below its beginning.
    let gap = line[start..].find("   ").map(|gap| start + gap);
    let value = gap.map(|gap| line.len() - line[gap..].trim_start_matches(' ').len());
    let start = value.unwrap_or(start);
    let is_row = line[start..].contains("   ");
    if console::measure_text_width(line) <= width || is_row || 2 * start > width {
        return line.into();
    }
    let (label, sentence) = line.split_at(start);
    let further =
        " ".repeat(console::measure_text_width(label) + if gap.is_some() { 0 } else { 2 });
    let options = Options::new(width)
        .initial_indent(label)
        .subsequent_indent(&further)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(&with_commands_kept(sentence), options).replace(KEPT, " ").into()
}

/// The line with other blanks within commands: what stands between `` ` ``, and `signet ..` to the end of
/// the line.
fn with_commands_kept(line: &str) -> String {
    let (mut quoted, mut to_end) = (false, false);
    let mut kept = String::with_capacity(line.len());
    for (at, c) in line.char_indices() {
        quoted ^= c == '`';
        let begins = at == 0 || line[..at].ends_with([' ', '(']);
        to_end |= !quoted && begins && line[at..].starts_with("signet ");
        kept.push(if c == ' ' && (quoted || to_end) { KEPT } else { c });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_between_words_and_commands_stay_whole() {
        let text = "stopped in epoch 0, after step 3 of 7, 0 of 50 epochs done; go on with: signet \
                    train --resume runs/asl-1";
        assert_eq!(
            wrapped(text, 40),
            "stopped in epoch 0, after step 3 of 7, 0\n  of 50 epochs done; go on with:\n  signet \
             train --resume runs/asl-1"
        );
        assert_eq!(wrapped(text, 400), text);
        // Too long for any line: the terminal breaks it, and it can be copied.
        assert!(wrapped(text, 20).ends_with("\n  signet train --resume runs/asl-1"));
        assert_eq!(
            wrapped("next:\n  signet evaluate runs/asl-1", 12),
            "next:\n  signet evaluate runs/asl-1",
        );
        assert_eq!(
            wrapped("look at them: `signet data show`, all", 25),
            "look at them:\n  `signet data show`, all"
        );
    }

    #[test]
    fn what_stands_behind_a_label_goes_on_below_its_beginning() {
        assert_eq!(
            wrapped("CUDA driver   missing: install NVIDIA's driver", 34),
            "CUDA driver   missing: install\n              NVIDIA's driver"
        );
        let narrow = "CUDA driver   missing: install NVIDIA's driver";
        assert_eq!(wrapped(narrow, 20), narrow, "there is no room for columns");
    }

    #[test]
    fn rows_of_tables_are_left_alone() {
        let row = "   12    0.3145   0.1025     0.9083";
        assert_eq!(wrapped(row, 20), row);
        assert_eq!(wrapped("正方形 正方形", 8), "正方形\n  正方形", "wide letters");
        for width in [1, 7, 30] {
            let words = "one image of each class is shown to people who asked for it";
            for line in wrapped(words, width).lines() {
                assert!(line.len() <= width || !line.trim().contains(' '), "{width}: {line}");
            }
        }
    }
}
