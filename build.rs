//! Puts the CUDA kernels into the binary.
//!
//! Everything in `kernels/` becomes two tables, `SOURCES` (`*.cu`) and `HEADERS` (`*.cuh`), each
//! entry with its name, its path and its text. Nothing is compiled here: NVRTC does that at run
//! time, so building needs no CUDA.
//!
//! `SIGNET_OPT_LEVEL` says how much the library is optimised.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

const FOLDER: &str = "kernels";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FOLDER}");
    println!("cargo::rustc-env=SIGNET_OPT_LEVEL={}", env::var("OPT_LEVEL")?);
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets this")?);
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(FOLDER))? {
        files.push(entry?.path());
    }
    // The order of a folder is the file system's; the binary must not depend on it.
    files.sort();

    let mut sources = String::new();
    let mut headers = String::new();
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        let (Some(stem), Some(name)) = (text(file.file_stem()), text(file.file_name())) else {
            continue;
        };
        let content = format!("include_str!({:?})", file.display().to_string());
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("cu") => writeln!(
                sources,
                "    Source {{ name: {stem:?}, file: \"{FOLDER}/{name}\", text: {content} }},"
            )?,
            Some("cuh") => {
                writeln!(headers, "    Header {{ name: {name:?}, text: {content} }},")?;
            }
            _ => {}
        }
    }
    let table = format!(
        "static SOURCES: &[Source] = &[\n{sources}];\nstatic HEADERS: &[Header] = &[\n{headers}];\n"
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets this")?);
    fs::write(out.join("kernels.rs"), table)?;
    Ok(())
}

fn text(name: Option<&std::ffi::OsStr>) -> Option<&str> {
    name?.to_str()
}
