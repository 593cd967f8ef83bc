//! `signet devices` as a user runs it: without a driver, with cusim in its place, with parts missing,
//! and with a driver and an NVRTC that answer anything at all.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::common::program::signet;
use crate::common::root::root;
use signet::data::synthetic;
use signet::device::cuda::KernelCache;
use signet::device::{Device, DeviceChoice, choose};
use signet::train::{Config, Trainer};
use signet::{Cuda, Tensor};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// `signet devices` with a kernel cache of its own.
fn devices(library_path: Option<&OsStr>, cache: &Path, arguments: &[&str]) -> (String, String) {
    let mut command = signet(&["devices"]);
    command.args(arguments).env("SIGNET_KERNEL_CACHE", cache);
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

/// A folder with `program/tests/stub/libraries.c` under the names of the real libraries. The functions that
/// `without` names are not in them.
fn stub(without: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("stub.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-O1", "-shared", "-fPIC", "tests/stub/libraries.c", "-o"]);
    compiler.arg(&library).args(without.iter().map(|name| format!("-D{name}=no_{name}")));
    assert!(compiler.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    for name in ["libcuda.so", "libcuda.so.1", "libnvrtc.so", "libnvrtc.so.13"] {
        symlink(&library, folder.path().join(name)).unwrap();
    }
    folder
}

/// What is asked for first, before there is a device, and what opening one asks for.
const FIRST: [&str; 4] =
    ["cuInit", "cuDeviceGetCount", "cuDevicePrimaryCtxRetain", "cuMemAlloc_v2"];

/// Some of the driver's own errors, numbers between them, and numbers that no header lists.
const SOME: [i32; 17] =
    [1, 2, 3, 34, 99, 100, 101, 222, 302, 600, 700, 719, 803, 917, 999, 12345, -1];

/// The boundary to a library in `src/device/cuda`: the functions that it declares.
fn declared(file: &str) -> Vec<String> {
    let path = root().join("src/device/cuda").join(file);
    let text = fs::read_to_string(path).unwrap();
    let name = |line: &str| {
        let kinds = ["required fn ", "optional fn ", "unlisted fn "];
        let rest = kinds.iter().find_map(|kind| line.trim().strip_prefix(kind))?;
        Some(rest.split('(').next()?.to_owned())
    };
    text.lines().filter_map(name).collect()
}

fn all_functions() -> Vec<String> {
    [declared("driver.rs"), declared("nvrtc.rs")].concat()
}

/// Opens the GPU and asks the driver for everything that is ever asked for.
fn use_the_gpu() -> Result<(), String> {
    let gpu = Cuda::open(0, KernelCache::none()).map_err(|reason| reason.to_string())?;
    let work = || -> signet::Result<()> {
        gpu.l2_bytes()?;
        let device = Device::from(gpu);
        let x = Tensor::from_slice(&device, &[1.0_f32; 4], [4])?.requires_grad(true)?;
        x.relu()?.sum()?.backward()?;
        x.grad()?;
        // Steps that are captured and replayed, and losses that arrive later.
        let config = Config { batch_size: 1, epochs: 1, ..Config::default() };
        Trainer::new(&device, config, &synthetic(3, 4, 1))?.run_epoch(|_| true)?;
        device.start_profile();
        x.relu()?;
        device.profile()?;
        x.to_vec().map(drop)
    };
    work().map_err(|error| error.to_string())
}

/// In a process that loaded the stub: each of `functions` answers each of `codes`.
fn answer_everything(functions: &[String], codes: &[i32]) {
    let set = |function: &str, code: i32| {
        // SAFETY: this process runs one test, and so does nothing else at this moment.
        unsafe {
            std::env::set_var("STUB_FUNCTION", function);
            std::env::set_var("STUB_CODE", code.to_string());
        }
    };
    set("", 0);
    assert_eq!(use_the_gpu(), Ok(()), "nothing fails");
    for function in functions {
        for &code in codes {
            set(function, code);
            let result = use_the_gpu();
            if !FIRST.contains(&function.as_str()) {
                continue;
            }
            let said = result.expect_err("there is no GPU");
            let number = format!("error {code} (unknown error)");
            let is_said = match code {
                917 | 12345 | -1 => said.contains(&number),
                2 => said.contains("OUT_OF_MEMORY") || said.contains("out of memory"),
                _ => said.contains(&number) || said.contains("CUDA_ERROR_"),
            };
            assert!(is_said, "{function} answers {code}: {said}");
            if code == 917 {
                let chosen = choose(DeviceChoice::Auto, Some(1)).unwrap();
                assert!(matches!(chosen.device, Device::Cpu(_)));
                assert!(chosen.to_string().contains(&number), "{chosen}");
            }
        }
    }
}

/// Runs `answer_everything` in a process of its own, which must end well.
fn answered(test: &str, functions: &[String], codes: &[i32]) {
    let folder = stub(&[]);
    let path = folder.path().to_str().unwrap();
    let Some(child) =
        cusim::in_child(&format!("cli_devices::{test}"), &[("LD_LIBRARY_PATH", path)])
    else {
        answer_everything(functions, codes);
        return;
    };
    assert!(child.success, "{}", child.output);
}

/// Every number is an error with that number, whichever function answers it: no signal, no panic.
#[needs::test(cc)]
fn any_answer_of_the_libraries_is_no_more_than_an_error() {
    let test = "any_answer_of_the_libraries_is_no_more_than_an_error";
    answered(test, &all_functions(), &SOME);
}

#[needs::test(cc)]
fn any_first_answer_is_no_more_than_an_error() {
    let codes: Vec<i32> = (1..=1000).chain([12345, i32::MAX, i32::MIN, -1]).collect();
    answered("any_first_answer_is_no_more_than_an_error", &FIRST.map(str::to_owned), &codes);
}

#[needs::test(cc)]
#[ignore = "long: run by scripts/full"]
fn every_answer_of_the_libraries_is_no_more_than_an_error() {
    let codes: Vec<i32> = (1..=1000).chain([12345, i32::MAX, i32::MIN, -1]).collect();
    let test = "every_answer_of_the_libraries_is_no_more_than_an_error";
    answered(test, &all_functions(), &codes);
}

/// The program says why it takes the CPU.
#[needs::test(cc)]
fn a_number_that_no_header_lists_is_a_reason_to_take_the_cpu() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), stub(&[]));
    for function in [&FIRST[..], &["nvrtcVersion", "nvrtcCompileProgram"]].concat() {
        let mut command = signet(&["devices", "--json"]);
        command.env("SIGNET_KERNEL_CACHE", cache.path());
        command.env("LD_LIBRARY_PATH", folder.path());
        let output = command.envs([("STUB_FUNCTION", function), ("STUB_CODE", "917")]).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{function}: {}: {text}", output.status);
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(report["auto"].as_str().unwrap().starts_with("cpu ("), "{report}");
        let reason = report["no_gpu"].as_str().unwrap();
        assert!(reason.contains("917 (unknown error)"), "{function}: {reason}");
    }
}

/// A driver that lacks any one function that is called, however late, is named before it is.
#[needs::test(cc)]
fn a_driver_or_compiler_that_lacks_a_function_is_no_panic() {
    let cache = tempfile::tempdir().unwrap();
    for missing in
        ["cuEventQuery", "cuStreamEndCapture", "cuGraphLaunch", "cuMemHostAlloc", "nvrtcGetCUBIN"]
    {
        let report = json(Some(stub(&[missing]).path().as_os_str()), cache.path());
        let reason = report["no_gpu"].as_str().unwrap();
        assert!(reason.contains(&format!("lacks {missing}")), "{reason}");
    }
    // These it can do without.
    let without = ["cuFuncGetParamInfo", "cuGetErrorName", "cuGetErrorString"];
    let report = json(Some(stub(&without).path().as_os_str()), cache.path());
    assert!(report["no_gpu"].is_null(), "{report}");
}

/// Every Rust file under a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The identifiers of a line that are called as NVIDIA's functions are, with what stands before them.
fn names(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = line
        .char_indices()
        .filter(move |&(at, c)| is_part(c) && !line[..at].chars().next_back().is_some_and(is_part));
    starts.filter_map(move |(at, _)| {
        let name = line[at..].split(|c| !is_part(c)).next()?;
        let rest = name.strip_prefix("nvrtc").or_else(|| name.strip_prefix("cu"))?;
        let is_function = rest.starts_with(|c: char| c.is_ascii_uppercase());
        is_function.then_some((&line[..at], name))
    })
}

/// What is looked for before the first call is all that is called: every call goes through the lists
/// of `driver.rs` and `nvrtc.rs`, and these hold nothing else.
#[test]
fn the_lists_of_functions_are_all_that_is_called() {
    let listed: BTreeSet<String> = all_functions().into_iter().collect();
    assert!(listed.len() > 50, "{listed:?}");
    let mut called = BTreeSet::new();
    for path in sources(&root().join("src")) {
        let file = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}: {line}", path.display(), number + 1);
            let code = line.split("//").next().unwrap();
            for (at, _) in code.match_indices("cudarc::") {
                let rest = &code[at + "cudarc::".len()..];
                let is_sys = rest.starts_with("driver::sys") || rest.starts_with("nvrtc::sys");
                assert!(is_sys, "cudarc's own calls answer with an enum: {place}");
            }
            for (before, name) in names(code) {
                if before.ends_with('"') || before.ends_with("fn ") {
                    continue;
                }
                let is_boundary = before.ends_with("driver::")
                    || (file == "nvrtc.rs" && !before.ends_with("sys::"))
                    || (file == "driver.rs" && !before.ends_with("sys::"));
                let is_type = name == "nvrtcProgram" || name == "nvrtcResult";
                assert!(is_boundary || is_type, "not by the list: {place}");
                if !is_type {
                    assert!(listed.contains(name), "not in the list: {place}");
                    called.insert(name.to_owned());
                }
            }
        }
    }
    assert_eq!(called, listed, "the lists name what is not called");
}
