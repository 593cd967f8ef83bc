//! The floors of the house: a folder uses what is below it, and nothing above. Read from the paths in the
//! code itself, of the engine and of the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A package, and the order of its rooms: the folders and files of `src`.
struct House {
    source: &'static str,
    /// From the top down; rooms of one floor do not use each other.
    floors: &'static [&'static [&'static str]],
    /// Arrows that run up, and why they may.
    exceptions: &'static [(&'static str, &'static str, &'static str)],
}

const ENGINE: House = House {
    source: "src",
    floors: &[
        &["bench"],
        &["train"],
        &["data", "io"],
        &["nn"],
        &["optim"],
        &["ops"],
        &["autograd"],
        &["tensor"],
        &["device"],
        &["rng"],
        &["dtype"],
        &["files"],
        &["error"],
        &["metrics", "support"],
    ],
    exceptions: &[
        (
            "tensor",
            "autograd",
            "a tensor holds its place in what was recorded, which holds tensors",
        ),
        (
            "autograd",
            "ops",
            "a second gradient for a tensor is added to the first by a kernel of `binary`",
        ),
    ],
};

const PROGRAM: House = House {
    source: "program/src",
    floors: &[
        &["cli"],
        &["report", "serve"],
        &["predict"],
        &["runs"],
        &["data"],
        &["photo"],
        &["picture", "recipes", "words"],
    ],
    exceptions: &[],
};

/// One use of another room.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrow {
    from: String,
    to: String,
    /// `file:line`.
    place: String,
}

/// `path`, a file of a package's source, as a path of modules: `["ops", "relu", "cpu"]`.
fn module(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    parts.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
    parts
}

/// The code of a file without comments and the tests at its end.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    let without = |line: &str| line.find("//").map_or(line, |at| &line[..at]).to_owned();
    text[..end].lines().map(without).collect::<Vec<_>>().join("\n")
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The first names of `{a::b, c::{d, e}, F}`, or of `a::b`.
fn first_names(path: &str) -> Vec<&str> {
    let Some(inner) = path.strip_prefix('{') else { return vec![identifier(path)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(identifier(inner[start..at].trim()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What stands at the root of the crate and is named in the code of a file, with its line.
fn names_of_root(code: &str, module: &[String]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut add = |at: usize, path: &str| {
        let line = code[..at].matches('\n').count() + 1;
        found.extend(first_names(path).into_iter().map(|name| (name.to_owned(), line)));
    };
    let is_start = |at: usize| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        !before.is_alphanumeric() && before != '_' && before != ':'
    };
    for (at, word) in code.match_indices("crate::") {
        if is_start(at) {
            add(at, &code[at + word.len()..]);
        }
    }
    // As many `super` as lead out of the file's modules.
    let way_out = "super::".repeat(module.len());
    for (at, _) in code.match_indices(&way_out).filter(|_| !module.is_empty()) {
        let rest = &code[at + way_out.len()..];
        if is_start(at) && !rest.starts_with("super::") {
            add(at, rest);
        }
    }
    found
}

/// The names that the crate's root gives to what lies in a room: `Tensor` for `tensor::Tensor`.
fn names_in_root(lib: &str) -> BTreeMap<String, String> {
    let mut rooms = BTreeMap::new();
    for statement in code(lib).split(';').filter_map(|part| part.rsplit_once("use ")) {
        let Some((room, names)) = statement.1.trim().split_once("::") else { continue };
        for name in first_names(names.trim()) {
            rooms.insert(name.to_owned(), room.to_owned());
        }
    }
    rooms
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "tests" || name.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

impl House {
    fn level(&self, room: &str) -> Option<usize> {
        self.floors.iter().position(|floor| floor.contains(&room))
    }

    fn arrows(&self) -> Vec<Arrow> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.source);
        let mut files = Vec::new();
        sources(&root, &mut files);
        let files: Vec<(PathBuf, String)> = files
            .into_iter()
            .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
            .collect();
        let mut rooms = names_in_root(&fs::read_to_string(root.join("lib.rs")).unwrap());
        for (path, text) in &files {
            // Macros for everybody stand at the root, wherever they are written.
            for (_, rest) in text
                .match_indices("#[macro_export]\nmacro_rules! ")
                .map(|(at, word)| (at, &text[at + word.len()..]))
            {
                let room = module(path.strip_prefix(&root).unwrap())[0].clone();
                rooms.insert(identifier(rest).to_owned(), room);
            }
        }
        let mut arrows = Vec::new();
        for (path, text) in &files {
            let module = module(path.strip_prefix(&root).unwrap());
            // The root itself is the roof.
            let Some(from) = module.first() else { continue };
            for (name, line) in names_of_root(&code(text), &module) {
                let to = rooms.get(&name).cloned().unwrap_or(name);
                if *from != to {
                    let place = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path);
                    let place = format!("{}:{line}", place.display());
                    arrows.push(Arrow { from: from.clone(), to, place });
                }
            }
        }
        arrows
    }

    /// Arrows that do not run down, but for the exceptions; rooms on no floor; exceptions in vain.
    fn faults(&self, arrows: &[Arrow]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut met = BTreeSet::new();
        for Arrow { from, to, place } in arrows {
            let (Some(above), Some(below)) = (self.level(from), self.level(to)) else {
                faults.push(format!("{place}: {from} or {to} is on no floor"));
                continue;
            };
            let exception = |(a, b, _): &&(&str, &str, &str)| (*a, *b) == (from, to);
            match self.exceptions.iter().find(exception) {
                Some(known) => drop(met.insert(*known)),
                None if above >= below => {
                    faults.push(format!("{place}: {from} uses {to}, which is not below it"));
                }
                None => {}
            }
        }
        for exception in self.exceptions.iter().filter(|known| !met.contains(known)) {
            faults.push(format!("{}: there is no arrow {exception:?} any more", self.source));
        }
        faults
    }
}

#[test]
fn every_arrow_runs_down() {
    for house in [ENGINE, PROGRAM] {
        let arrows = house.arrows();
        assert!(arrows.len() > 50, "{}: only {} arrows were found", house.source, arrows.len());
        let faults = house.faults(&arrows);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn an_arrow_that_runs_up_is_seen() {
    let seen = |text: &str, path: &str| names_of_root(&code(text), &module(Path::new(path)));
    let names = |text: &str| -> Vec<String> {
        seen(text, "ops/unary/cpu.rs").into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names("use crate::nn::Init;"), ["nn"]);
    assert_eq!(
        names("pub(crate) use crate::{\n    Result,\n    nn::{Init, Module},\n};"),
        ["Result", "nn"]
    );
    assert_eq!(names("fn f() { crate::train::evaluate() }"), ["train"]);
    assert_eq!(names("use super::super::super::data::Split;"), ["data"]);
    assert_eq!(names("use super::super::sum::X; use super::Y;"), [""; 0]);
    assert_eq!(names("/// [`Init`](crate::nn::Init)\n// crate::nn"), [""; 0]);
    assert_eq!(names("#[cfg(test)]\nmod tests { use crate::nn::Init; }"), [""; 0]);
    assert_eq!(seen("\n\nuse crate::nn;", "device/mod.rs"), [("nn".to_owned(), 3)]);
    let root = names_in_root("mod io;\npub use tensor::{Shape, Tensor};\npub use io::onnx;\n");
    assert_eq!(root["Shape"], "tensor");
    assert_eq!(root["onnx"], "io");

    let arrow = |from: &str, to: &str| Arrow {
        from: from.to_owned(),
        to: to.to_owned(),
        place: "src/x.rs:1".to_owned(),
    };
    let faults = |from, to| {
        let mut arrows: Vec<Arrow> =
            ENGINE.exceptions.iter().map(|(a, b, _)| arrow(a, b)).collect();
        arrows.push(arrow(from, to));
        ENGINE.faults(&arrows)
    };
    assert_eq!(faults("nn", "ops"), [""; 0]);
    assert_eq!(faults("ops", "nn"), ["src/x.rs:1: ops uses nn, which is not below it"]);
    assert_eq!(faults("data", "io"), ["src/x.rs:1: data uses io, which is not below it"]);
    assert_eq!(faults("attic", "io"), ["src/x.rs:1: attic or io is on no floor"]);
    assert_eq!(ENGINE.faults(&[]).len(), ENGINE.exceptions.len());
}
