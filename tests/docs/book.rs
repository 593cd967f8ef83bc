//! The documents: links lead somewhere, included code is there, commands name what exists, and the
//! patches of the chapter on adding an op still apply. `scripts/book` builds the book itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Folders in which nothing is ours to check.
const ELSEWHERE: [&str; 5] = ["target", "runs", "data", "book", "node_modules"];

/// The book, and its chapters in another language.
const BOOKS: [&str; 2] = ["docs", "docs/zh-TW"];

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every Markdown file of the repository, as a path from its root.
fn documents() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !name.starts_with('.') && !ELSEWHERE.contains(&name) {
                walk(&path, found);
            } else if name.ends_with(".md") {
                found.push(path.strip_prefix(ROOT).unwrap().to_path_buf());
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(ROOT), &mut found);
    found.sort();
    found
}

/// The chapters of a book: Markdown files of its folder alone.
fn chapters(book: &str) -> Vec<PathBuf> {
    let in_book = |path: &PathBuf| path.parent() == Some(Path::new(book));
    documents().into_iter().filter(in_book).filter(|path| !path.ends_with("SUMMARY.md")).collect()
}

/// `path`, as seen from the folder of `document`, from the root of the repository.
fn resolve(document: &Path, path: &str) -> PathBuf {
    let mut parts = document.parent().unwrap().to_path_buf();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => assert!(parts.pop(), "{}: {path}", document.display()),
            Component::CurDir => {}
            part => parts.push(part),
        }
    }
    parts
}

/// A fenced block: its language and its text.
struct Block<'a> {
    language: &'a str,
    text: String,
}

/// A document's text without fenced blocks and inline code, and the blocks.
fn parts(text: &str) -> (String, Vec<Block<'_>>) {
    let (mut prose, mut blocks, mut inside) = (String::new(), Vec::<Block<'_>>::new(), false);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), inside) {
            (Some(_), true) => inside = false,
            (Some(language), false) => {
                blocks.push(Block { language, text: String::new() });
                inside = true;
            }
            (None, true) => {
                let block = blocks.last_mut().expect("the fence made one");
                block.text += line;
                block.text.push('\n');
            }
            (None, false) => {
                prose += line;
                prose.push('\n');
            }
        }
    }
    // Between two backquotes is code.
    let prose = prose.split('`').step_by(2).collect::<Vec<_>>().join("`");
    (prose, blocks)
}

/// What a document links to.
fn links(prose: &str) -> Vec<&str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// The names that GitHub and mdBook give to a document's headings.
fn headings(text: &str) -> BTreeSet<String> {
    let (mut inside, mut names, mut used) = (false, BTreeSet::new(), BTreeMap::new());
    for line in text.lines() {
        inside ^= line.starts_with("```");
        let Some(title) = line.strip_prefix('#').filter(|_| !inside) else { continue };
        let title = title.trim_start_matches('#').trim().to_lowercase();
        let keep = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
        let name = title.chars().filter(keep).collect::<String>().replace(' ', "-");
        let before: &mut usize = used.entry(name.clone()).or_default();
        names.insert(if *before == 0 { name } else { format!("{name}-{before}") });
        *before += 1;
    }
    names
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        for link in links(&parts(&text).0) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if path.is_empty() { document.clone() } else { resolve(&document, path) };
            let there = Path::new(ROOT).join(&file);
            assert!(there.exists(), "{}: nothing is at {link}", document.display());
            if !heading.is_empty() {
                let known = headings(&read(&file));
                assert!(known.contains(heading), "{}: {link}: {known:?}", document.display());
            }
        }
    }
    assert!(count > 100, "only {count} links were found");
}

/// As the chapter on networks says.
#[test]
fn the_networks_are_short() {
    let example = |files: &[&str]| -> usize {
        files.iter().map(|file| read(format!("examples/{file}")).lines().count()).sum()
    };
    for files in [
        &["mlp.rs"][..],
        &["resnet20/main.rs", "resnet20/model.rs"],
        &["gpt/main.rs", "gpt/model.rs"],
    ] {
        assert!(example(files) < 150, "{files:?}: {} lines", example(files));
    }
}

#[test]
fn headings_are_named_as_they_are_linked() {
    let text =
        "# What *it* is: `x`, y_z\n\n```sh\n# no heading\n```\n## Two\n### Two\n## 張量 與 tape\n";
    let names = headings(text);
    assert_eq!(
        names.iter().map(String::as_str).collect::<Vec<_>>(),
        ["two", "two-1", "what-it-is-x-y_z", "張量-與-tape"]
    );
}

/// Before a block whose text is that of a file, or of the part of it between `ANCHOR: word` and
/// `ANCHOR_END: word`: `<!-- code: ../examples/notebook.rs:word -->`.
const CODE: &str = "<!-- code: ";

/// Where a block comes from, if `line` says so: the file from the root of the repository, and the
/// part of it.
fn origin(document: &Path, line: &str) -> Option<(PathBuf, Option<String>)> {
    let inner = line.strip_prefix(CODE)?.strip_suffix(" -->")?;
    let (file, part) = inner.split_once(':').map_or((inner, None), |(f, p)| (f, Some(p)));
    Some((resolve(document, file), part.map(str::to_owned)))
}

/// The text of a file, or of a part of it, without the marks of parts.
fn code(file: &Path, part: Option<&str>) -> String {
    let (text, what) = (read(file), file.display());
    let lines: Vec<_> = text.lines().collect();
    let line_of = |mark: String| {
        let found: Vec<_> =
            (0..lines.len()).filter(|&i| lines[i].trim_end().ends_with(&mark)).collect();
        assert_eq!(found.len(), 1, "{what} has no {mark}, or several");
        found[0]
    };
    let range = match part {
        Some(part) => {
            line_of(format!("ANCHOR: {part}")) + 1..line_of(format!("ANCHOR_END: {part}"))
        }
        None => 0..lines.len(),
    };
    let is_mark = |line: &&&str| line.contains("ANCHOR: ") || line.contains("ANCHOR_END: ");
    lines[range].iter().filter(|line| !is_mark(line)).map(|line| format!("{line}\n")).collect()
}

/// What a chapter takes from files.
fn includes(document: &Path, text: &str) -> Vec<(PathBuf, Option<String>)> {
    text.lines().filter_map(|line| origin(document, line)).collect()
}

/// `text` with the code as the files have it now, and how many blocks that are.
fn with_current_code(document: &Path, text: &str) -> (String, usize) {
    let (mut current, mut count) = (String::new(), 0);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        current += &format!("{line}\n");
        let Some((file, part)) = origin(document, line) else { continue };
        let fence = lines.next().unwrap_or_default();
        assert!(fence.starts_with("```"), "{}: no block follows {line}", document.display());
        let rest = lines.by_ref().find(|line| line.starts_with("```"));
        assert!(rest.is_some(), "{}: the block after {line} has no end", document.display());
        current += &format!("{fence}\n{}```\n", code(&file, part.as_deref()));
        count += 1;
    }
    (current, count)
}

/// With `UPDATE_BOOK=1` it writes them: `scripts/book-code`.
#[test]
fn code_in_the_book_is_that_of_the_files() {
    let mut count = 0;
    for document in BOOKS.iter().flat_map(|book| chapters(book)) {
        let text = read(&document);
        let (current, blocks) = with_current_code(&document, &text);
        count += blocks;
        if std::env::var_os("UPDATE_BOOK").is_some() {
            fs::write(Path::new(ROOT).join(&document), current).unwrap();
            continue;
        }
        let mut both = text.lines().zip(current.lines());
        if let Some((written, expected)) = both.find(|(a, b)| a != b) {
            let what = document.display();
            panic!("{what}:\n{written}\nis now\n{expected}\nrun scripts/book-code");
        }
        assert_eq!(text, current, "{}: run scripts/book-code", document.display());
    }
    assert!(count > 30, "only {count} blocks were found");
}

/// So it is compiled with the examples, the library or the kernels, and is there for readers of the
/// Markdown.
#[test]
fn code_in_the_book_comes_from_files() {
    for document in BOOKS.iter().flat_map(|book| chapters(book)) {
        let (text, what) = (read(&document), document.display());
        assert!(!text.contains("{{#"), "{what}: only mdBook shows what is included");
        let mut before = "";
        let mut inside = false;
        for line in text.lines() {
            if let Some(language) = line.strip_prefix("```") {
                let is_code = ["rust", "cpp", "diff"].contains(&language);
                assert!(inside || !is_code || before.starts_with(CODE), "{what}: after {before:?}");
                inside = !inside;
            }
            before = line;
        }
    }
}

#[test]
fn the_table_of_contents_has_every_chapter() {
    for book in BOOKS {
        let summary = Path::new(book).join("SUMMARY.md");
        let listed: Vec<PathBuf> = links(&parts(&read(&summary)).0)
            .into_iter()
            .map(|link| resolve(&summary, link))
            .collect();
        let unique: BTreeSet<_> = listed.iter().cloned().collect();
        assert_eq!(unique.len(), listed.len(), "{}: a chapter twice", summary.display());
        assert_eq!(unique, chapters(book).into_iter().collect(), "{}", summary.display());
    }
}

/// All blocks of a chapter.
fn shown(text: &str) -> Vec<(&str, String)> {
    parts(text).1.into_iter().map(|block| (block.language, block.text)).collect()
}

/// A chapter that is there in both languages shows the same code, and leads to the other.
#[test]
fn both_languages_show_the_same_code() {
    let [english, chinese] = BOOKS;
    let translated = chapters(chinese);
    assert!(translated.len() >= 3, "{translated:?}");
    for other in translated {
        let name = other.file_name().unwrap();
        let first = Path::new(english).join(name);
        let [a, b] = [&first, &other].map(read);
        assert_eq!(includes(&first, &a), includes(&other, &b), "{}", other.display());
        assert_eq!(shown(&a), shown(&b), "{}", other.display());
        for (document, text, to) in [(&first, &a, &other), (&other, &b, &first)] {
            let prose = parts(text).0;
            let there = links(&prose).iter().any(|link| &resolve(document, link) == to);
            assert!(there, "{} has no link to the other language", document.display());
        }
    }
}

/// The commands of all shell blocks: what they name exists.
#[test]
fn commands_name_what_exists() {
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        let blocks = parts(&text).1;
        let shell = blocks.iter().filter(|block| ["sh", "bash"].contains(&block.language));
        for line in shell.flat_map(|block| block.text.lines()) {
            let words: Vec<_> = line.split_whitespace().collect();
            let exists = |path: String| {
                // Of the engine, or of the program.
                let there =
                    ["", "program"].iter().any(|of| Path::new(ROOT).join(of).join(&path).exists());
                assert!(there, "{}: `{line}`: there is no {path}", document.display());
            };
            for (i, word) in words.iter().enumerate() {
                match (*word, words.get(i + 1)) {
                    ("--test", Some(name)) => exists(format!("tests/{name}/main.rs")),
                    ("--example", Some(name)) => {
                        let own = format!("examples/{name}/main.rs");
                        let is_folder = Path::new(ROOT).join(&own).exists();
                        exists(if is_folder { own } else { format!("examples/{name}.rs") });
                    }
                    (script, _) if script.starts_with("scripts/") => exists(script.to_owned()),
                    _ => continue,
                }
                count += 1;
            }
        }
    }
    assert!(count > 10, "only {count} were found");
}

#[needs::test(git)]
fn the_patches_of_the_chapter_apply() {
    for patch in ["docs/adding-an-op/mish.patch", "docs/adding-an-op/swiglu.patch"] {
        let git = Command::new("git").args(["apply", "--check", patch]).current_dir(ROOT).output();
        let output = git.expect("git was there when this was built");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{patch} no longer applies: {message}");
    }
}

/// As the chapter says, and as the tables of the family are for.
#[test]
fn a_function_of_one_number_is_a_few_lines() {
    let lines = code(Path::new("docs/adding-an-op/mish.patch"), Some("mish"));
    let added = lines.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++"));
    assert!((5..=10).contains(&added.count()), "{lines}");
}

/// An example, to be run.
fn example(name: &str) -> Command {
    // `cargo test` puts examples beside the tests' folder.
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    // Only `cargo test` of everything builds it before.
    if !path.exists() {
        let mut run = Command::new(env!("CARGO"));
        run.args(["run", "--quiet", "--example", name]).current_dir(ROOT);
        return run;
    }
    Command::new(path)
}

/// An example's output, as the book shows it; the other examples train, and their last digits depend
/// on the processor.
#[test]
fn the_tape_chapter_shows_what_its_example_prints() {
    let output = example("tape_step_by_step").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = read("docs/output/tape.txt");
    let shown: Vec<_> = shown.lines().filter(|line| !line.contains("ANCHOR")).collect();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown, printed.lines().collect::<Vec<_>>(), "run scripts/book-output");
}

/// For its first epoch, after which it would go on with others.
#[test]
fn the_network_to_copy_learns() {
    let mut run = example("custom_model").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _ = run.kill();
    run.wait().unwrap();
    let accuracy = line.trim_end().strip_prefix("epoch 0: accuracy ");
    let accuracy: f64 = accuracy.unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
    // One of 24 by chance.
    assert!(accuracy > 0.25, "{line}");
}
