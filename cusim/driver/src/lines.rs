//! From an instruction to a line of the program, by the debug information g++ left.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashMap;

use addr2line::Loader;

/// A line of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub file: String,
    pub line: u32,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The line of the instruction `offset` bytes into the object at `path`.
pub fn find(path: &str, offset: u64) -> Option<Line> {
    thread_local! {
        static LOADERS: RefCell<HashMap<String, Option<Loader>>> = RefCell::default();
    }
    LOADERS.with_borrow_mut(|loaders| {
        let loader = loaders.entry(path.to_owned()).or_insert_with(|| Loader::new(path).ok());
        let mut frames = loader.as_ref()?.find_frames(offset).ok()?;
        let mut found = None;
        // Innermost first: the shim's inline functions are of no interest, their callers are.
        while let Ok(Some(frame)) = frames.next() {
            let Some(location) = frame.location else { continue };
            let (Some(file), Some(line)) = (location.file, location.line) else { continue };
            let file = file.trim_start_matches("./").to_owned();
            let ours = file.ends_with("cusim.h");
            found = Some(Line { file, line });
            if !ours {
                break;
            }
        }
        found
    })
}
