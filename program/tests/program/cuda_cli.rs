//! The program on a GPU, which cusim plays, and on machines where something of it is missing.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::common;
use needs::test_on_cusim as test;

use common::machine::Machine;
use common::program::{Place, check_printed, finish, signet, start, stderr, stdout};
use std::fs;
use std::path::Path;
use std::process::Output;

/// A run that is as short as can be, with a last batch that is smaller.
const SHORT: [&str; 4] = ["--epochs", "1", "--batch-size", "4"];

fn place() -> Place {
    Place::new(6, 3)
}

fn with<'a>(device: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--device", device], more].concat()
}

/// The lines on stderr that begin with `start`.
fn lines(output: &Output, start: &str) -> Vec<String> {
    stderr(output).lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

/// What a run's record says of its device.
fn recorded_device(place: &Place, name: &str) -> String {
    let record: serde_json::Value =
        serde_json::from_slice(&place.file(name, "config.json")).unwrap();
    record["device"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_on_a_gpu_prints_the_notebooks_lines_and_fills_its_folder() {
    let (machine, place) = (Machine::new(), Place::new(20, 7));
    let settings = ["--epochs", "2", "--batch-size", "8"];
    let on_gpu = machine.run_clean(&place.train("gpu", &with("cuda", &settings)));
    place.check_run("gpu", 2, &on_gpu);
    assert!(recorded_device(&place, "gpu").starts_with("cuda:0 (cusim"), "{}", stderr(&on_gpu));
    // Compiling takes a moment, which is said once and comes once.
    assert_eq!(lines(&on_gpu, "compiling kernels for sm_86, cached for next time").len(), 1);
    assert!(machine.calls().iter().any(|call| call == "nvrtcCompileProgram"));
    machine.forget();

    // `auto`, which is also what no `--device` means, takes the GPU and says so in one line.
    let chosen = machine.run_clean(&place.train("auto", &settings));
    let devices = lines(&chosen, "device: ");
    assert!(devices.len() == 1 && devices[0].starts_with("device: cuda:0 (cusim"), "{devices:?}");
    assert_eq!(lines(&chosen, "compiling"), [""; 0]);
    assert!(!machine.calls().iter().any(|call| call == "nvrtcCompileProgram"));
    for file in ["model.safetensors", "best.safetensors"] {
        assert!(place.file("gpu", file) == place.file("auto", file), "{file}");
    }
    assert_eq!(place.metrics("gpu"), place.metrics("auto"));

    // The CPU learns the same, rounded elsewhere: what that makes of later steps is looked at in
    // `cuda_network.rs`.
    machine.run_clean(&place.train("cpu", &with("cpu", &settings)));
    for (gpu, cpu) in place.metrics("gpu").iter().zip(place.metrics("cpu")) {
        for key in ["train_loss", "valid_loss"] {
            let [gpu, cpu] = [gpu, &cpu].map(|metrics| metrics[key].as_f64().unwrap());
            assert!((gpu - cpu).abs() < 2e-2 * cpu, "{key}: {gpu} and {cpu}");
        }
    }
}

#[test]
fn results_go_to_stdout_and_kernels_into_the_profile() {
    let (machine, place) = (Machine::new(), place());
    let args = place.train("a", &with("cuda", &SHORT));
    let output = machine.run_clean(&[&args[..], &["--json", "--profile"]].concat());
    let text = stdout(&output);
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    for kernel in ["conv_block_conv", "conv_block_weight", "gather", "adam"] {
        assert!(stderr(&output).contains(kernel), "{}", stderr(&output));
    }
    let said = "measured: each kernel with each grid, repeated back to back in a CUDA graph";
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
    // What was repeated for its time has left no trace.
    machine.run_clean(&place.train("c", &with("cuda", &SHORT)));
    assert!(place.file("a", "model.safetensors") == place.file("c", "model.safetensors"));
    let quiet = machine.run_clean(&place.train("b", &with("cuda", &["--epochs", "1", "--quiet"])));
    assert_eq!(stderr(&quiet), "");
}

#[test]
fn a_run_resumed_on_a_gpu_has_the_bits_of_an_uninterrupted_one() {
    let (machine, place) = (Machine::new(), place());
    let train = |name, epochs| {
        let settings = ["--device", "cuda", "--batch-size", "4", "--epochs", epochs];
        machine.run_clean(&place.train(name, &settings));
    };
    train("whole", "3");
    train("parts", "1");
    let folder = place.run_folder("parts");
    let resume = ["train", "--resume", folder.to_str().unwrap(), "--epochs", "3"];
    let rest = machine.run_clean(&[&resume[..], &["--device", "cuda"]].concat());
    assert_eq!(lines(&rest, "going on in epoch 1").len(), 1, "{}", stderr(&rest));
    for file in ["model.safetensors", "best.safetensors"] {
        assert!(place.file("whole", file) == place.file("parts", file), "{file}");
    }
    assert_eq!(place.metrics("whole"), place.metrics("parts"));
}

/// The precisions that a run's record holds, and what it said of them.
fn precisions(place: &Place, name: &str, output: &Output) -> (String, [String; 2]) {
    let record: serde_json::Value =
        serde_json::from_slice(&place.file(name, "config.json")).unwrap();
    let of = |kind: &str| record["precisions"][kind].as_str().unwrap().to_owned();
    let said = lines(output, "precision: ").remove(0);
    (said, [of("convolution"), of("matmul")])
}

#[test]
fn a_precision_is_said_recorded_and_kept() {
    let (machine, place) = (Machine::new(), place());
    let train = |name, more: &[&str]| {
        let output = machine.run_clean(&place.train(name, &with("cuda", &[&SHORT, more].concat())));
        let (said, recorded) = precisions(&place, name, &output);
        (said, recorded, place.file(name, "model.safetensors"))
    };
    let (said, recorded, as_pytorch) = train("default", &[]);
    assert_eq!(said, "precision: tf32 in convolutions, f32 in matrix products");
    assert_eq!(recorded, ["tf32", "f32"]);
    let mut models = vec![as_pytorch];
    for precision in ["f32", "tf32", "bf16"] {
        let (said, recorded, model) = train(precision, &["--precision", precision]);
        assert_eq!(said, format!("precision: {precision}"));
        assert_eq!(recorded, [precision; 2]);
        assert!(!models.contains(&model), "{precision} has the bits of another precision");
        models.push(model);
    }

    // A resumed run goes on in its own precision.
    machine.run_clean(&place.train(
        "whole",
        &with("cuda", &["--epochs", "2", "--batch-size", "4", "--precision", "bf16"]),
    ));
    let folder = place.run_folder("bf16");
    let resume = ["train", "--resume", folder.to_str().unwrap(), "--epochs", "2"];
    let rest = machine.run_clean(&[&resume[..], &["--device", "cuda"]].concat());
    let expected = ("precision: bf16".to_owned(), ["bf16".to_owned(), "bf16".to_owned()]);
    assert_eq!(precisions(&place, "bf16", &rest), expected);
    let file = "model.safetensors";
    assert!(place.file("whole", file) == place.file("bf16", file));
}

#[test]
fn a_precision_that_the_device_lacks_is_refused() {
    let place = place();
    let refused = |machine: Machine, device, says: &[&str]| {
        let args = with(device, &[&SHORT[..], &["--precision", "tf32"]].concat());
        let output = machine.run(&place.train("refused", &args));
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let [error] = &lines(&output, "error: ")[..] else { panic!("{}", stderr(&output)) };
        for part in says {
            assert!(error.contains(part), "{error}");
        }
        assert!(!place.run_folder("refused").exists());
    };
    refused(Machine::new(), "cpu", &["--precision", "CPU", "f32", "tf32"]);
    let old = || Machine::new().with("CUSIM_CC", "7.5");
    refused(old(), "cuda", &["--precision", "tf32", "cusim", "7.5", "8.0", "use f32"]);
    // Without a word it computes in what it has.
    let output = old().run_clean(&place.train("old", &with("cuda", &SHORT)));
    let expected = ("precision: f32".to_owned(), ["f32".to_owned(), "f32".to_owned()]);
    assert_eq!(precisions(&place, "old", &output), expected);
}

#[test]
fn graphs_and_fusion_can_be_left_out() {
    let (machine, place) = (Machine::new(), place());
    let settings = ["--device", "cuda", "--batch-size", "4", "--epochs", "3", "-q"];
    let graph_launches = || machine.calls().iter().filter(|call| *call == "cuGraphLaunch").count();
    machine.run_clean(&place.train("graph", &settings));
    // One of both steps and of the validation in the second epoch, and again in the third.
    assert_eq!(graph_launches(), 6);
    machine.forget();
    machine.run_clean(&place.train("eager", &[&settings[..], &["--no-graph"]].concat()));
    assert_eq!(graph_launches(), 0);
    for file in ["model.safetensors", "best.safetensors"] {
        assert!(place.file("graph", file) == place.file("eager", file), "{file}");
    }
    assert_eq!(place.metrics("graph"), place.metrics("eager"));
    // They are no part of what a run is: one begun without them goes on with them.
    let folder = place.run_folder("eager");
    let resume = ["train", "--resume", folder.to_str().unwrap(), "--epochs", "4", "-q"];
    machine.run_clean(&[&resume[..], &["--device", "cuda", "--no-fuse"]].concat());
    let plain = machine.run_clean(&place.train("plain", &[&settings[..], &["--no-fuse"]].concat()));
    assert_eq!(stderr(&plain), "");
    let [fused, plain] =
        ["graph", "plain"].map(|name| place.metrics(name)[0]["train_loss"].as_f64());
    assert!((fused.unwrap() - plain.unwrap()).abs() < 1e-3, "{fused:?} and {plain:?}");
}

#[test]
fn a_driver_without_graphs_is_a_line_on_stderr() {
    let fault = "cuStreamBeginCapture:1+:CUDA_ERROR_NOT_SUPPORTED";
    let (machine, place) = (Machine::new().with("CUSIM_FAULT", fault), place());
    let settings = ["--device", "cuda", "--batch-size", "4", "--epochs", "3"];
    let output = machine.run_clean(&place.train("a", &settings));
    let notices = lines(&output, "going on without CUDA graphs");
    assert!(notices.len() == 1 && notices[0].contains("CUDA_ERROR_NOT_SUPPORTED"), "{notices:?}");
    check_printed(&output, 3);
}

#[test]
fn a_run_moves_between_devices() {
    let (machine, place) = (Machine::new(), place());
    machine.run_clean(&place.train("a", &with("cpu", &SHORT)));
    let first = place.metrics("a");
    assert!(recorded_device(&place, "a").starts_with("cpu ("));
    let folder = place.run_folder("a");
    for (device, epochs, done) in [("cuda", "2", 1), ("cpu", "3", 2)] {
        let resume = ["train", "--resume", folder.to_str().unwrap(), "--epochs", epochs];
        let output = machine.run_clean(&[&resume[..], &["--device", device]].concat());
        let devices = lines(&output, "device: ");
        assert!(devices[0].starts_with(&format!("device: {device}")), "{devices:?}");
        assert!(recorded_device(&place, "a").starts_with(device));
        assert_eq!(lines(&output, &format!("going on in epoch {done}")).len(), 1);
        check_printed(&output, 1);
        place.check_folder("a", done + 1);
    }
    assert_eq!(place.metrics("a")[..1], first);
}

/// A machine on which something is wrong with the GPU.
struct Case {
    machine: Machine,
    /// What the reason says, and what to do about it.
    says: &'static [&'static str],
    /// Whether `auto` says no more than that, as on a machine that is meant to have no GPU.
    plain: bool,
}

fn case(machine: Machine, says: &'static [&'static str]) -> Case {
    Case { machine, says, plain: false }
}

/// `auto` computes on the CPU and says why; `cuda` says why, exits with 2 and leaves nothing;
/// `signet devices` says why; and `cpu` does not even look.
fn check(Case { machine, says, plain }: Case) {
    let place = place();
    let names_all = |text: &str| says.iter().all(|part| text.contains(part));
    let report = machine.run(&["devices"]);
    assert_eq!(report.status.code(), Some(0), "{}", stderr(&report));
    let report = stdout(&report);
    if plain && !names_all(&report) {
        eprintln!("SKIPPED: this machine has CUDA where every program finds it: {report}");
        return;
    }
    assert!(report.contains("--device auto takes cpu (") && names_all(&report), "{report}");

    let auto = machine.run(&place.train("auto", &SHORT));
    place.check_run("auto", 1, &auto);
    let [device] = &lines(&auto, "device: ")[..] else { panic!("{}", stderr(&auto)) };
    let recorded = recorded_device(&place, "auto");
    let reason = device.strip_prefix(&format!("device: {recorded}, as there is no "));
    let Some(reason) = reason else { panic!("{device}, recorded as {recorded}") };
    assert!(
        recorded.starts_with("cpu (") && (plain && reason == "CUDA driver" || names_all(reason))
    );

    let refused = machine.run(&place.train("refused", &with("cuda", &SHORT)));
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    let [error] = &lines(&refused, "error: ")[..] else { panic!("{}", stderr(&refused)) };
    assert!(error.contains("cuda:0") && names_all(error), "{error}");
    assert_eq!(stdout(&refused), "");
    assert!(!place.run_folder("refused").exists(), "a run that could not begin left a folder");

    machine.forget();
    let cpu = machine.run(&place.train("cpu", &with("cpu", &SHORT)));
    place.check_run("cpu", 1, &cpu);
    assert_eq!(machine.calls(), [""; 0]);
    assert_eq!(place.metrics("cpu"), place.metrics("auto"));
}

#[test]
fn a_machine_without_a_driver_computes_on_its_cpu() {
    let machine = Machine::new().without("libcuda").without("libnvrtc");
    check(Case { machine, says: &["no CUDA driver was found", "install"], plain: true });
}

#[test]
fn a_driver_that_is_no_library_is_no_driver() {
    let machine = Machine::new().with_broken("libcuda").with_broken("libnvrtc");
    check(Case { machine, says: &["no CUDA driver was found", "install"], plain: true });
}

#[test]
fn a_driver_that_does_not_start_is_named() {
    let machine = Machine::new().with("CUSIM_FAULT", "cuInit:1+:CUDA_ERROR_STUB_LIBRARY");
    check(case(machine, &["does not work", "cuInit", "CUDA_ERROR_STUB_LIBRARY", "GPU access"]));
}

#[test]
fn a_driver_that_sees_no_gpu_is_named() {
    let machine = Machine::new().with("CUSIM_FAULT", "cuInit:1+:CUDA_ERROR_NO_DEVICE");
    check(case(machine, &["CUDA_ERROR_NO_DEVICE"]));
}

#[test]
fn a_missing_nvrtc_is_named() {
    let machine = Machine::new().without("libnvrtc");
    check(case(machine, &["NVRTC", "was not found", "pip install nvidia-cuda-nvrtc"]));
}

#[test]
fn an_nvrtc_that_compiles_nothing_is_named() {
    let fault = "nvrtcCompileProgram:1+:NVRTC_ERROR_BUILTIN_OPERATION_FAILURE";
    let machine = Machine::new().with("CUSIM_FAULT", fault);
    check(case(machine, &["cannot compile", "sm_86", "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE"]));
}

#[test]
fn a_gpu_that_is_too_old_is_named() {
    let machine = Machine::new().with("CUSIM_CC", "7.0");
    check(case(machine, &["cusim", "compute capability 7.0", "7.5", "Turing"]));
}

#[test]
fn a_gpu_that_runs_no_kernel_is_named() {
    let fault = "cuLaunchKernel:1+:CUDA_ERROR_LAUNCH_FAILED";
    let machine = Machine::new().with("CUSIM_FAULT", fault);
    check(case(machine, &["launching probe", "CUDA_ERROR_LAUNCH_FAILED"]));
}

#[test]
fn a_gpu_with_too_little_memory_says_what_would_help() {
    let (machine, place) = (Machine::new().with("CUSIM_MEMORY", "2M"), place());
    let output = machine.run(&place.train("refused", &with("cuda", &SHORT)));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    for part in ["error: ", "out of memory", "bytes", "smaller batch", "not even a batch size of 1"]
    {
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    assert!(!place.run_folder("refused").exists());
    assert_eq!(machine.reports(), []);
}

#[test]
fn a_gpu_that_is_not_there_is_refused() {
    let (machine, place) = (Machine::new(), place());
    let output = machine.run(&place.train("refused", &with("cuda:7", &SHORT)));
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let [error] = &lines(&output, "error: ")[..] else { panic!("{}", stderr(&output)) };
    for part in ["cuda:7", "the driver sees 1", "cuda:0"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!place.run_folder("refused").exists());
}

/// Not by its calls alone: the dynamic linker is not even asked for the libraries.
#[test]
fn the_cpu_loads_no_cuda() {
    let (machine, place) = (Machine::new(), place());
    let asks_for_cuda = |device| {
        // One file a process, as `auto` starts compilers.
        let folder = tempfile::tempdir().unwrap();
        let args = place.train(device, &with(device, &SHORT));
        let mut command = machine.signet(&args);
        command.env("LD_DEBUG", "files").env("LD_DEBUG_OUTPUT", folder.path().join("log"));
        let output = finish(start(&mut command));
        assert!(output.status.success(), "{}", stderr(&output));
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let log: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
        ["libcuda", "libnvrtc"].map(|library| log.contains(library))
    };
    assert_eq!(asks_for_cuda("cpu"), [false, false]);
    assert_eq!(asks_for_cuda("auto"), [true, true], "the dynamic linker tells nothing");
}

/// Building the tests puts cusim's libraries into `target/<profile>/deps`, and cargo puts that on
/// the search path of `cargo run`: the next run must not take them for a GPU.
#[test]
fn a_run_after_the_tests_sees_no_gpu() {
    let binary = Path::new(env!("CARGO_BIN_EXE_signet"));
    let folder = binary.parent().unwrap();
    let path = std::env::join_paths([folder.to_owned(), folder.join("deps")]).unwrap();
    let there = |name: &str| {
        let entries = fs::read_dir(folder.join("deps")).unwrap();
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains(name))
    };
    assert!(there("cusim_driver") && there("cusim_nvrtc"), "cusim is elsewhere: test that place");
    let place = place();
    let run = |args: &[&str]| {
        let mut command = signet(args);
        command.env("LD_LIBRARY_PATH", &path).env("SIGNET_KERNEL_CACHE", place.out.path());
        let output = finish(start(&mut command));
        [stdout(&output), stderr(&output)].concat()
    };
    for text in [
        run(&["devices"]),
        run(&place.train("auto", &SHORT)),
        run(&place.train("cuda", &with("cuda", &SHORT))),
    ] {
        assert!(!text.contains("cusim"), "{text}");
    }
}

/// A cache that was damaged (a full disk, a crash) costs time and nothing else.
#[test]
fn broken_files_in_the_kernel_cache_are_compiled_again() {
    let (machine, place) = (Machine::new(), place());
    machine.run_clean(&place.train("first", &with("cuda", &SHORT)));
    let entries = || {
        let paths = fs::read_dir(machine.kernel_cache()).unwrap().map(|e| e.unwrap().path());
        let mut entries: Vec<_> = paths.map(|path| (fs::read(&path).unwrap(), path)).collect();
        entries.sort();
        entries
    };
    let whole = entries();
    assert!(whole.len() > 8, "{} files", whole.len());
    for (number, (bytes, path)) in whole.iter().enumerate() {
        let broken = match number % 4 {
            0 => Vec::new(),
            1 => bytes[..bytes.len() / 2].to_vec(),
            2 => bytes.iter().map(|byte| byte ^ 0x20).collect(),
            // Left as it is.
            _ => bytes.clone(),
        };
        fs::write(path, broken).unwrap();
    }
    machine.forget();
    let again = machine.run_clean(&place.train("again", &with("cuda", &SHORT)));
    let compiled = machine.calls().iter().filter(|call| *call == "nvrtcCompileProgram").count();
    assert_eq!(compiled, whole.len() - whole.len() / 4);
    assert_eq!(lines(&again, "compiling kernels").len(), 1);
    let model = "model.safetensors";
    assert!(place.file("first", model) == place.file("again", model));
    assert_eq!(entries(), whole, "the cache is whole again");
}
