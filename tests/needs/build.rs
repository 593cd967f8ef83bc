//! Looks for the tools that some tests need, and tells the macros which are missing.
//!
//! A tool that is installed later must be noticed, and one that is there must cost nothing: what
//! was found is watched itself; where something is missing, the folders are watched in which it
//! would appear.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use libloading::Library;

/// The names by which Signet looks for NVRTC.
const NVRTC_NAMES: &[&str] = &include!("nvrtc_names.rs");

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets this"));
    // What the macros leave out is listed here by each crate anew: all are built after this.
    let list = out.join("left-out");
    let _ = fs::remove_dir_all(&list);
    fs::create_dir_all(&list).expect("OUT_DIR can be written");
    println!("cargo::rustc-env=NEEDS_LIST={}", list.display());
    // `target/debug/build/needs-0123456789abcdef/out`
    let target = out.ancestors().nth(4).expect("OUT_DIR is in the target folder");

    let missing = [
        ("cc", on_path("cc", "needs a C compiler (Debian, Ubuntu: apt-get install gcc)")),
        ("cxx", cxx()),
        ("git", on_path("git", "needs git (Debian, Ubuntu: apt-get install git)")),
        ("nvrtc", nvrtc(target)),
        ("pinned_nvrtc", pinned_nvrtc(target)),
        ("nvdisasm", nvdisasm(target)),
        ("onnxruntime", onnxruntime(target)),
        ("mount", mount(&out)),
        ("python", on_path("python3", "needs Python 3 (Debian, Ubuntu: apt-get install python3)")),
    ];
    for (tool, missing) in missing {
        println!("cargo::rustc-env=NEEDS_{tool}={}", missing.unwrap_or_default());
    }
}

/// Why there is none, or nothing.
type Missing = Option<String>;

fn has(variable: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={variable}");
    env::var(variable).ok().filter(|value| !value.is_empty())
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// A program, by its name or its path.
fn on_path(program: &str, remedy: &str) -> Missing {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).filter(|folder| folder.is_dir()).collect();
    let mut candidates = folders.iter().map(|folder| folder.join(program));
    if let Some(found) = candidates.find(|path| path.is_file()) {
        watch(&found);
        return None;
    }
    println!("cargo::rerun-if-env-changed=PATH");
    folders.iter().for_each(|folder| watch(folder));
    Some(remedy.to_owned())
}

/// cusim compiles kernels with it; a GPU needs none.
fn cxx() -> Missing {
    let compiler = has("CUSIM_CXX").unwrap_or_else(|| "g++".to_owned());
    let remedy = format!("needs {compiler} (Debian, Ubuntu: apt-get install g++)");
    let missing = on_path(&compiler, &remedy)?;
    (has("SIGNET_TEST_CUDA").as_deref() != Some("real")).then_some(missing)
}

/// A folder that `script` fills. It is made, so that it can be watched.
fn fetched(target: &Path, name: &str) -> PathBuf {
    let folder = target.join(name);
    let _ = fs::create_dir_all(&folder);
    watch(&folder);
    folder
}

/// Found where the test looks for it (tests/interop/nvrtc.rs): the one that is named, the one that was
/// fetched, or what the dynamic linker finds.
fn nvrtc(target: &Path) -> Missing {
    if has("SIGNET_NVRTC_LIB").is_some() {
        return None;
    }
    let folders = fs::read_dir(fetched(target, "nvrtc").join("nvidia"));
    let folders = folders.into_iter().flatten().filter_map(|folder| Some(folder.ok()?.path()));
    let files = folders.filter_map(|folder| fs::read_dir(folder.join("lib")).ok()).flatten();
    let is_nvrtc =
        |file: fs::DirEntry| file.file_name().to_string_lossy().starts_with("libnvrtc.so");
    if files.flatten().any(is_nvrtc) || NVRTC_NAMES.iter().any(|name| is_real_nvrtc(name)) {
        return None;
    }
    // Where one would appear. Cargo adds folders of its own, which change with every build.
    if let Some(search) = has("LD_LIBRARY_PATH") {
        let folders = env::split_paths(&search);
        folders
            .filter(|folder| folder.is_dir() && !folder.starts_with(target))
            .for_each(|folder| watch(&folder));
    }
    let cache = Path::new("/etc/ld.so.cache");
    if cache.is_file() {
        watch(cache);
    }
    Some("needs NVRTC (run scripts/fetch-nvrtc)".to_owned())
}

/// Whether the dynamic linker finds NVIDIA's library, not cusim's, under this name.
fn is_real_nvrtc(name: &str) -> bool {
    // SAFETY: it is the library that every program here loads under this name, and loading NVRTC does
    // nothing else. The functions are not called.
    unsafe {
        Library::new(name).is_ok_and(|library| {
            let has = |function: &[u8]| library.get::<unsafe extern "C" fn()>(function).is_ok();
            has(b"nvrtcVersion") && !has(b"cusim_nvrtc_calls")
        })
    }
}

/// The version that docs/kernels.md was made with.
fn pinned_nvrtc(target: &Path) -> Missing {
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets this");
    let script = Path::new(&package).join("../../scripts/fetch-nvrtc");
    watch(&script);
    let text = fs::read_to_string(script).unwrap_or_default();
    let version = text.lines().find_map(|line| line.strip_prefix("version="));
    let wheel = format!("nvidia_cuda_nvrtc-{}.dist-info", version.unwrap_or_default());
    let found = has("SIGNET_NVRTC_LIB").is_none() && fetched(target, "nvrtc").join(wheel).is_dir();
    (!found).then(|| "needs the NVRTC of the table (run scripts/fetch-nvrtc)".to_owned())
}

fn nvdisasm(target: &Path) -> Missing {
    let found = fetched(target, "nvrtc").join("nvidia/cu13/bin/nvdisasm").is_file();
    (!found).then(|| "needs nvdisasm (run scripts/fetch-nvrtc)".to_owned())
}

fn onnxruntime(target: &Path) -> Missing {
    let folder = fetched(target, "onnxruntime");
    let mut python = Command::new("python3");
    python.args(["-c", "import onnxruntime, safetensors.numpy"]);
    if folder.join("onnxruntime").is_dir() {
        python.env("PYTHONPATH", folder);
    }
    let found = python.output().is_ok_and(|run| run.status.success());
    (!found).then(|| "needs onnxruntime (run scripts/fetch-onnxruntime)".to_owned())
}

/// Whether a user may mount a file system that only its own processes see.
fn mount(out: &Path) -> Missing {
    let remedy = "needs mounts in a namespace of one's own (unshare, of util-linux, and leave to \
                  make namespaces)";
    if let Some(missing) = on_path("unshare", remedy) {
        return Some(missing);
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs"]).arg(out);
    let found = unshare.output().is_ok_and(|run| run.status.success());
    (!found).then(|| remedy.to_owned())
}
