//! Folders that bring a split of their own: `train/` with `val/` or `test/` beside it.

use std::path::{Path, PathBuf};

use super::scan::{class_name, has_sub_folders, sub_folders};
use crate::words;
use signet::data::DataError;

/// How the images of a folder are divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    /// Where the classes to learn from are.
    pub train: PathBuf,
    /// Where those to measure on are; none where a fifth of the others is kept for it.
    pub valid: Option<PathBuf>,
    /// Folders that are not read, with the reason.
    pub ignored: Vec<String>,
}

/// What a folder is for, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Valid,
    Test,
}

impl Part {
    /// By the whole name.
    fn of(name: &str) -> Option<Self> {
        match name {
            "train" | "training" => Some(Self::Train),
            "val" | "valid" | "validation" => Some(Self::Valid),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }

    /// By the last word of the name, as in `asl_alphabet_train`.
    fn of_last_word(name: &str) -> Option<Self> {
        Self::of(name.rsplit(['_', '-', ' ', '.']).next()?)
    }
}

/// How `folder` is divided.
///
/// # Errors
/// If it cannot be read.
pub(super) fn parts(folder: &Path) -> Result<Parts, DataError> {
    let folders = sub_folders(folder)?;
    let name = |path: &PathBuf| class_name(path).to_lowercase();
    for by in [Part::of, Part::of_last_word] {
        let find = |part| {
            let mut found = folders.iter().filter(|path| by(&name(path)) == Some(part));
            // Two of a kind are no parts.
            found.next().filter(|_| found.next().is_none())
        };
        let Some(train) = find(Part::Train) else { continue };
        let (valid, test) = (find(Part::Valid), find(Part::Test));
        let is_alone = folders.len() == 1;
        // Names of several words may as well be those of classes: then images lie right in them.
        let is_sure = by(&name(train)) == Part::of(&name(train)) || has_sub_folders(train);
        if is_sure && (valid.is_some() || test.is_some() || is_alone) {
            return Ok(divided(&folders, train, valid, test));
        }
    }
    Ok(Parts { train: folder.to_path_buf(), valid: None, ignored: Vec::new() })
}

fn divided(
    folders: &[PathBuf],
    train: &Path,
    valid: Option<&PathBuf>,
    test: Option<&PathBuf>,
) -> Parts {
    // One line, whatever the names are.
    let shown = |path: &Path| words::line(&class_name(path)) + "/";
    let mut ignored = Vec::new();
    let chosen = match (valid, test) {
        (Some(valid), test) => {
            let (test, valid_shown) = (test.map(|test| shown(test)), shown(valid));
            ignored.extend(test.map(|test| format!("{test} ({valid_shown} is there too)")));
            Some(valid)
        }
        // Kaggle's tests have no labels: a few images, right in the folder.
        (None, Some(test)) if !has_sub_folders(test) => {
            let (test, train) = (shown(test), shown(train));
            ignored.push(format!(
                "{test} (it has no sub-folder per class; a fifth of {train} is measured on instead)"
            ));
            None
        }
        (None, test) => test,
    };
    let is_known = |path: &PathBuf| path == train || [valid, test].contains(&Some(path));
    ignored.extend(folders.iter().filter(|path| !is_known(path)).map(|path| shown(path)));
    Parts { train: train.to_path_buf(), valid: chosen.cloned(), ignored }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a folder with these is divided: `train < valid, ignored`.
    fn divided(folders: &[&str]) -> String {
        let root = tempfile::tempdir().unwrap();
        for folder in folders {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let parts = parts(root.path()).unwrap();
        let below = |path: PathBuf| path.strip_prefix(root.path()).unwrap().display().to_string();
        let valid = parts.valid.map_or_else(String::new, below);
        format!("{} | {valid} | {}", below(parts.train), parts.ignored.join(", "))
    }

    #[test]
    fn parts_are_told_by_their_names() {
        for (valid, other) in [("valid", "Valid"), ("val", "VAL"), ("validation", "Validation")] {
            assert_eq!(divided(&["train/a", &format!("{valid}/a")]), format!("train | {valid} | "));
            let upper = divided(&["Train/a", &format!("{other}/a")]);
            assert_eq!(upper, format!("Train | {other} | "));
        }
        assert_eq!(divided(&["train/a", "test/a"]), "train | test | ");
        assert_eq!(divided(&["training/a", "testing/a"]), "training | testing | ");
        assert_eq!(divided(&["asl_train/a", "asl_test/a"]), "asl_train | asl_test | ");
        assert_eq!(divided(&["train/a"]), "train |  | ");
    }

    #[test]
    fn what_is_not_read_is_named() {
        assert_eq!(
            divided(&["train/a", "val/a", "test/a", "models"]),
            "train | val | test/ (val/ is there too), models/"
        );
        assert_eq!(
            divided(&["asl_alphabet_train/A", "asl_alphabet_test"]),
            "asl_alphabet_train |  | asl_alphabet_test/ (it has no sub-folder per class; a fifth of \
             asl_alphabet_train/ is measured on instead)"
        );
    }

    #[test]
    fn classes_are_not_taken_for_parts() {
        assert_eq!(divided(&["a", "b"]), " |  | ");
        assert_eq!(divided(&["train", "bus", "car"]), " |  | ", "vehicles");
        assert_eq!(divided(&["steam train", "blood test"]), " |  | ");
        assert_eq!(divided(&["old_train/a", "new_train/a", "test/a"]), " |  | ");
    }
}
