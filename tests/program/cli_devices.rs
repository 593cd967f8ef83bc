//! `signet devices` as a user runs it: without a driver, with cusim in its place, and with parts
//! missing.
#![cfg(all(feature = "cli", target_os = "linux", target_arch = "x86_64"))]

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// `signet devices` with a kernel cache of its own.
fn devices(library_path: Option<&OsStr>, cache: &Path, arguments: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signet"));
    command.arg("devices").args(arguments).env("SIGNET_KERNEL_CACHE", cache);
    if let Some(path) = library_path {
        command.env("LD_LIBRARY_PATH", path);
    }
    let output = command.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|t| String::from_utf8(t).unwrap());
    assert!(output.status.success(), "{stdout}{stderr}");
    (stdout, stderr)
}

fn json(library_path: Option<&OsStr>, cache: &Path) -> serde_json::Value {
    let (stdout, _) = devices(library_path, cache, &["--json"]);
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

/// Building the tests puts cusim's libraries where cargo makes programs look; it must not become
/// the GPU of the next `cargo run`.
#[test]
fn cusim_is_no_gpu_by_accident() {
    let cache = tempfile::tempdir().unwrap();
    let report = json(None, cache.path());
    assert!(!report.to_string().contains("cusim"), "{report}");
    assert!(report["cpu"]["cores"].as_u64().unwrap() > 0);
    if report["gpus"].as_array().unwrap().is_empty() {
        assert!(report["auto"].as_str().unwrap().starts_with("cpu ("), "{report}");
        assert!(!report["no_gpu"].as_str().unwrap().is_empty(), "{report}");
    }
}

#[needs::test(cxx)]
fn a_gpu_is_listed_and_taken() {
    let cache = tempfile::tempdir().unwrap();
    let links = cusim::LinkDir::new().unwrap();
    let path = links.search_path();
    let report = json(Some(&path), cache.path());
    assert!(report["auto"].as_str().unwrap().starts_with("cuda:0 ("), "{report}");
    assert!(report["no_gpu"].is_null(), "{report}");
    let [gpu] = &report["gpus"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!(gpu["device"], "cuda:0");
    assert_eq!(gpu["compute_capability"], "8.6");
    assert_eq!(gpu["precisions"], serde_json::json!(["f32", "tf32", "bf16"]));
    assert_eq!(gpu["memory_bytes"], 8_u64 << 30);
    assert!(report["nvrtc"]["targets"].as_array().unwrap().contains(&"sm_90".into()));

    // Opening the GPU tried a kernel out, which is cached now.
    assert_eq!(report["kernel_cache"]["folder"], cache.path().to_str().unwrap());
    assert_eq!(report["kernel_cache"]["files"], 1);
    let (stdout, stderr) = devices(Some(&path), cache.path(), &["--clear"]);
    assert!(stderr.contains("removed 1 file"), "{stderr}");
    for part in ["cuda:0 ", "8.0 GiB, compute capability 8.6", "NVRTC", "supports CUDA"] {
        assert!(stdout.contains(part), "no {part:?} in {stdout}");
    }
}

#[test]
fn a_missing_nvrtc_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let links = cusim::LinkDir::new().unwrap();
    for entry in std::fs::read_dir(links.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("nvrtc") {
            std::fs::remove_file(path).unwrap();
        }
    }
    // This folder alone: a machine's own NVRTC must not be found.
    let report = json(Some(links.path().as_os_str()), cache.path());
    if report["nvrtc"]["version"].is_string() {
        eprintln!("SKIPPED: this machine has an NVRTC where every program finds it");
        return;
    }
    assert_eq!(report["gpus"][0]["device"], "cuda:0");
    for error in [&report["nvrtc"]["error"], &report["no_gpu"]] {
        let error = error.as_str().unwrap();
        assert!(error.contains("NVRTC") && error.contains("install"), "{error}");
    }
    assert!(report["auto"].as_str().unwrap().starts_with("cpu ("), "{report}");
}

#[test]
fn a_library_that_is_none_is_no_panic() {
    let cache = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["libcuda.so", "libcuda.so.1", "libnvrtc.so", "libnvrtc.so.13"] {
        std::fs::write(folder.path().join(name), "no library").unwrap();
    }
    let report = json(Some(folder.path().as_os_str()), cache.path());
    assert!(!report["auto"].as_str().unwrap().is_empty());
}

/// Another library under the driver's name lacks every function of the driver.
#[test]
fn a_driver_without_functions_is_no_panic() {
    let cache = tempfile::tempdir().unwrap();
    let links = cusim::LinkDir::new().unwrap();
    let nvrtc = std::fs::canonicalize(links.path().join("libnvrtc.so.13")).unwrap();
    for name in ["libcuda.so", "libcuda.so.1"] {
        std::fs::remove_file(links.path().join(name)).unwrap();
        std::os::unix::fs::symlink(&nvrtc, links.path().join(name)).unwrap();
    }
    let report = json(Some(links.path().as_os_str()), cache.path());
    let reason = report["no_gpu"].as_str().unwrap();
    assert!(reason.contains("lacks cu") && reason.contains("stub"), "{reason}");
}
