//! Tests that are left out, for everybody to see, where a tool that they need is missing.
//!
//! ```ignore
//! #[needs::test(onnxruntime)]
//! fn computes_the_same() { .. }
//!
//! // Every test of this file compiles kernels.
//! use needs::test_on_cusim as test;
//! ```
//!
//! Where the tool is missing the test is `ignored`, with what to do about it, and
//! `tests/what_was_left_out.rs` counts it at the end of a run. One that is `#[ignore]` for being long
//! stays so, and `scripts/full`, which runs these, leaves it out with a line of its own. Which tools there are is decided when
//! the tests are built, by `build.rs`; installing one has them built anew.
//!
//! | tool | what needs it |
//! |---|---|
//! | `cc` | libraries in C that stand in for NVIDIA's |
//! | `cxx` | cusim, which compiles kernels with g++; not the tests on a GPU |
//! | `nvrtc`, `pinned_nvrtc`, `nvdisasm` | NVIDIA's compiler, the version of docs/kernels.md, the disassembler |
//! | `onnxruntime` | exported models elsewhere |
//! | `git`, `mount`, `python` | what they are called |

use proc_macro::{Span, TokenStream, TokenTree};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// Why a tool is missing; empty where it is there.
const TOOLS: [(&str, &str); 9] = [
    ("cc", env!("NEEDS_cc")),
    ("cxx", env!("NEEDS_cxx")),
    ("git", env!("NEEDS_git")),
    ("nvrtc", env!("NEEDS_nvrtc")),
    ("pinned_nvrtc", env!("NEEDS_pinned_nvrtc")),
    ("nvdisasm", env!("NEEDS_nvdisasm")),
    ("onnxruntime", env!("NEEDS_onnxruntime")),
    ("mount", env!("NEEDS_mount")),
    ("python", env!("NEEDS_python")),
];

/// `#[test]`, ignored where one of the named tools is missing.
#[proc_macro_attribute]
pub fn test(tools: TokenStream, item: TokenStream) -> TokenStream {
    let mut missing = None;
    for token in tools {
        let TokenTree::Ident(tool) = token else { continue };
        let tool = tool.to_string();
        let Some((_, why)) = TOOLS.iter().find(|(name, _)| *name == tool) else {
            return parsed(&format!("compile_error!(\"no tool is known as {tool}\");"));
        };
        missing = missing.or((!why.is_empty()).then_some(*why));
    }
    test_item(missing, item)
}

/// `#[test]` of what runs kernels on cusim: `#[needs::test(cxx)]` by a name of its own, which a file
/// imports as `test`.
#[proc_macro_attribute]
pub fn test_on_cusim(_: TokenStream, item: TokenStream) -> TokenStream {
    let why = env!("NEEDS_cxx");
    let missing = (!why.is_empty()).then_some(why);
    let mut test = test_item(missing, item);
    if missing.is_none() {
        // What this is compiled for, only the compiler knows.
        let elsewhere = "not(all(target_os = \"linux\", target_arch = \"x86_64\"))";
        let ignore = "ignore = \"needs Linux on x86-64\"";
        let mut both = parsed(&format!("#[cfg_attr({elsewhere}, {ignore})]"));
        both.extend(test);
        test = both;
    }
    test
}

/// The folder with a file per crate whose lines say why tests are left out, one for each test: why, its
/// function, whether it is `long` or `short`, and where it is.
#[proc_macro]
pub fn list(_: TokenStream) -> TokenStream {
    parsed(&format!("{:?}", env!("NEEDS_LIST")))
}

fn test_item(missing: Option<&str>, item: TokenStream) -> TokenStream {
    let mut test = parsed("#[::core::prelude::v1::test]");
    if let Some(why) = missing {
        let is_long = is_ignored(&item);
        note(why, &function(&item), is_long);
        if !is_long {
            test.extend(parsed(&format!("#[ignore = {why:?}]")));
        }
    }
    test.extend(item);
    test
}

fn parsed(code: &str) -> TokenStream {
    code.parse().expect("this is code")
}

/// Whether there is `#[ignore..]` before the function.
fn is_ignored(item: &TokenStream) -> bool {
    item.clone().into_iter().any(|token| match token {
        TokenTree::Group(group) => {
            let first = group.stream().into_iter().next();
            matches!(first, Some(TokenTree::Ident(name)) if name.to_string() == "ignore")
        }
        _ => false,
    })
}

/// The name of a function: what follows the word `fn`.
fn function(item: &TokenStream) -> String {
    let mut words = item.clone().into_iter().map(|token| token.to_string());
    words.find(|word| word == "fn");
    words.next().unwrap_or_default()
}

/// Adds a line to the list of this crate, which begins anew with each build.
fn note(why: &str, function: &str, is_long: bool) {
    static BEGIN: Once = Once::new();
    let name = |variable| std::env::var(variable).unwrap_or_default();
    let file: PathBuf = Path::new(env!("NEEDS_LIST")).join(format!(
        "{}-{}",
        name("CARGO_PKG_NAME"),
        name("CARGO_CRATE_NAME")
    ));
    BEGIN.call_once(|| _ = std::fs::remove_file(&file));
    let place = Span::call_site();
    let list = OpenOptions::new().create(true).append(true).open(file);
    // Without a list the tests are left out as well, and are `ignored` in what each binary says.
    let (at, line) = (place.file(), place.line());
    let kind = if is_long { "long" } else { "short" };
    let _ = list.and_then(|mut list| writeln!(list, "{why}\t{function}\t{kind}\t{at}:{line}"));
}
