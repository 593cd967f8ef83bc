//! Every call into the driver and into NVRTC may fail, and each such failure must end the program
//! with an error that says what failed: never with a panic, never in a wait without end, and with
//! everything given back that can be.
//!
//! The run is as short as it can be with everything in it: compiling, two steps (the last with a
//! smaller batch), validation, a checkpoint, a profile, the end; then one with graphs, and an
//! evaluation. Each fault is a process of its own. `cargo test` fails each function's first and last
//! call and some in between; `scripts/full` fails them all.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::common;
use needs::test_on_cusim as test;

use common::machine::Machine;
use common::program::{FILES_OF_A_RUN, Place, run, stderr, stdout};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fmt, fs};

const MODEL: &str = "model.safetensors";
/// The run whose model is evaluated.
const TRAINED: &str = "trained";

/// Call number `call` of `function`, counted from 1, fails with `error`.
#[derive(Debug, Clone, PartialEq)]
struct Fault {
    function: String,
    call: usize,
    /// Whether all later calls fail too.
    onwards: bool,
    error: &'static str,
}

impl fmt::Display for Fault {
    /// As `CUSIM_FAULT` wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, call, onwards, error } = self;
        write!(f, "{function}:{call}{}:{error}", if *onwards { "+" } else { "" })
    }
}

/// The ways in which a call of the driver fails: one that may be gone the next time, one that says
/// nothing, one that no header lists, one after which the context is lost, and one after which the
/// GPU is.
const DRIVER_ERRORS: [&str; 5] = [
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUDA_ERROR_OPERATING_SYSTEM",
    "917",
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_DEVICE_UNAVAILABLE",
];

/// The same of NVRTC.
const NVRTC_ERRORS: [&str; 3] = ["NVRTC_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_COMPILATION", "917"];

fn errors_of(function: &str) -> &'static [&'static str] {
    if function.starts_with("nvrtc") { &NVRTC_ERRORS } else { &DRIVER_ERRORS }
}

/// Whether every later call fails too.
fn is_lasting(error: &str) -> bool {
    ["CUDA_ERROR_LAUNCH_FAILED", "CUDA_ERROR_DEVICE_UNAVAILABLE"].contains(&error)
}

/// What the program makes of a failure of one function.
enum Answer {
    /// The program ends with an error that says one of these.
    Says(&'static [&'static str]),
    /// The program goes on as if nothing had happened; should it end for what follows, any error
    /// of a device will do.
    Forgiven,
}

/// What is answered to each function that the program calls. A function that is not here fails the
/// test: whoever adds a call says what its failure means.
fn answer(function: &str) -> Answer {
    use Answer::{Forgiven, Says};
    match function {
        "cuInit"
        | "cuDeviceGetCount"
        | "cuDeviceGet"
        | "cuDeviceGetName"
        | "cuDeviceTotalMem_v2"
        | "cuDeviceGetAttribute" => Says(&["the CUDA driver does not work", "cannot open cuda:0"]),
        "cuDevicePrimaryCtxRetain" | "cuStreamCreate" => Says(&["cannot open cuda:0"]),
        "cuCtxGetCurrent" | "cuCtxSetCurrent" => {
            Says(&["choosing the device", "cannot open cuda:0"])
        }
        "cuModuleLoadData" => Says(&["loading "]),
        "cuModuleGetFunction" | "cuFuncGetAttribute" => Says(&["finding "]),
        "cuMemAlloc_v2" => Says(&["allocating ", "out of memory"]),
        "cuMemcpyHtoDAsync_v2" => Says(&["copying to the device"]),
        "cuMemcpyDtoHAsync_v2" => Says(&["copying from the device"]),
        "cuMemcpyDtoDAsync_v2" => Says(&["copying on the device"]),
        "cuMemsetD8Async" => Says(&["filling a fresh buffer", "zeroing "]),
        "cuLaunchKernel" => Says(&["launching "]),
        "cuStreamSynchronize" => Says(&["waiting for the device"]),
        "cuEventCreate" | "cuEventRecord" => {
            Says(&["marking a point in time", "marking the end of a copy"])
        }
        "cuEventQuery" => Says(&["asking for the end of a copy"]),
        "cuEventSynchronize" => Says(&["waiting for the device"]),
        "cuMemHostAlloc" => Says(&["allocating "]),
        "cuGraphLaunch" => Says(&["launching a graph"]),
        // Then there are no graphs, and the same results.
        BEGIN_CAPTURE | "cuStreamEndCapture" | "cuGraphInstantiateWithFlags" => Forgiven,
        "cuEventElapsedTime_v2" => Says(&["reading kernel times"]),
        "nvrtcVersion" | "nvrtcGetNumSupportedArchs" | "nvrtcGetSupportedArchs" => {
            Says(&["NVRTC, which compiles the kernels, does not work"])
        }
        "nvrtcCreateProgram" | "nvrtcCompileProgram" | "nvrtcGetCUBINSize" | "nvrtcGetCUBIN" => {
            Says(&["cannot compile "])
        }
        // Only for a message that is there without it.
        "nvrtcGetProgramLogSize" | "nvrtcGetProgramLog" => Forgiven,
        // Only to find mistakes of our own before the launch.
        "cuFuncGetParamInfo" => Forgiven,
        // Nobody can do anything about what does not go away.
        "cuMemFree_v2"
        | "cuMemFreeHost"
        | "cuGraphDestroy"
        | "cuGraphExecDestroy"
        | "cuModuleUnload"
        | "cuEventDestroy_v2"
        | "cuStreamDestroy_v2"
        | "cuDevicePrimaryCtxRelease_v2"
        | "nvrtcDestroyProgram" => Forgiven,
        other => panic!("what does a failure of {other} mean? Say it here"),
    }
}

/// What is made, and what takes it away.
const PAIRS: [[&str; 2]; 9] = [
    ["cuMemAlloc_v2", "cuMemFree_v2"],
    ["cuMemHostAlloc", "cuMemFreeHost"],
    ["cuStreamEndCapture", "cuGraphDestroy"],
    ["cuGraphInstantiateWithFlags", "cuGraphExecDestroy"],
    ["cuModuleLoadData", "cuModuleUnload"],
    ["cuStreamCreate", "cuStreamDestroy_v2"],
    ["cuEventCreate", "cuEventDestroy_v2"],
    ["cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2"],
    ["nvrtcCreateProgram", "nvrtcDestroyProgram"],
];

/// The run, and what it is like when nothing fails.
struct Bench {
    place: Place,
    /// How to train; `None` evaluates.
    settings: Option<&'static [&'static str]>,
    /// Every call of an undisturbed run, in order.
    calls: Vec<String>,
    /// The model, or what an evaluation prints.
    result: Vec<u8>,
}

const BEGIN_CAPTURE: &str = "cuStreamBeginCapture_v2";

/// Everything but graphs, which are not timed.
const PROFILED: &[&str] = &["--epochs", "1", "--profile", "--no-report"];
/// The first epoch runs as it is, the second is captured, the third replayed.
const REPLAYED: &[&str] = &["--epochs", "3", "--no-report"];

impl Bench {
    fn new(settings: &'static [&'static str]) -> Self {
        let place = Place::new(3, 2);
        let machine = machine();
        machine.run_clean(&arguments(&place, "undisturbed", settings));
        let (calls, result) = (machine.calls(), place.file("undisturbed", MODEL));
        calls.iter().for_each(|function| _ = answer(function));
        Self { place, settings: Some(settings), calls, result }
    }

    /// Of an evaluation.
    fn of_evaluation() -> Self {
        let place = Place::new(3, 2);
        let train = place.train(TRAINED, &["--epochs", "1", "--device", "cpu", "-q"]);
        assert!(run(&train).status.success());
        let mut bench = Self { place, settings: None, calls: Vec::new(), result: Vec::new() };
        let machine = machine();
        bench.result = bench.start(&machine, "").stdout;
        assert!(!bench.result.is_empty());
        bench.calls = machine.calls();
        bench.calls.iter().for_each(|function| _ = answer(function));
        bench
    }

    /// The run, under another name.
    fn start(&self, machine: &Machine, name: &str) -> Output {
        if let Some(settings) = self.settings {
            return machine.run(&arguments(&self.place, name, settings));
        }
        let model = self.place.run_folder(TRAINED);
        let (model, data) = (model.to_str().unwrap(), self.place.data.path().to_str().unwrap());
        machine.run(&["evaluate", model, "--data", data, "--device", "cuda", "--json"])
    }

    /// Where in the undisturbed run a call is.
    fn place_of(&self, fault: &Fault) -> usize {
        let of_function = self.calls.iter().enumerate().filter(|(_, f)| **f == fault.function);
        of_function.map(|(at, _)| at).nth(fault.call - 1).expect("it is one of the calls")
    }

    /// What is answered to a call. One that is part of a capture, or chooses the device for it, costs
    /// the graph and no more.
    fn answer(&self, fault: &Fault) -> Answer {
        let at = self.place_of(fault);
        let count = |function: &str| self.calls[..at].iter().filter(|f| *f == function).count();
        let is_in_capture = count(BEGIN_CAPTURE) > count("cuStreamEndCapture");
        if is_in_capture || self.is_before_capture(at) {
            return Answer::Forgiven;
        }
        answer(&fault.function)
    }

    /// Whether a capture begins with the next call.
    fn is_before_capture(&self, at: usize) -> bool {
        self.calls.get(at + 1).is_some_and(|next| next == BEGIN_CAPTURE)
    }

    /// Every call of the undisturbed run, as a fault. The errors take turns, from the one numbered
    /// `first` on.
    fn faults(&self, first: usize) -> Vec<Fault> {
        let mut counts = HashMap::<&str, usize>::new();
        let mut all = Vec::new();
        for (at, function) in self.calls.iter().enumerate() {
            let call = counts.entry(function).or_default();
            *call += 1;
            let errors = errors_of(function);
            let error = errors[(first + at) % errors.len()];
            all.push(Fault { function: function.clone(), call: *call, onwards: false, error });
        }
        all
    }

    /// Whether a call comes when all results are there and only taking down is left.
    fn is_over(&self, fault: &Fault) -> bool {
        let ends = ["cuEventElapsedTime_v2", "cuMemcpyDtoHAsync_v2"];
        let results = self.calls.iter().rposition(|call| ends.contains(&call.as_str()));
        Some(self.place_of(fault)) > results
    }

    /// Makes one call fail and looks at how the program takes it.
    fn check(&self, fault: &Fault) {
        let machine = machine().with("CUSIM_FAULT", &fault.to_string());
        let name = fault.to_string().replace([':', '+'], "-");
        let output = self.start(&machine, &name);
        let calls = machine.calls();
        let seen = calls.iter().filter(|call| **call == fault.function).count();
        assert!(seen >= fault.call, "{fault}: there were {seen} calls");
        self.check_ending(fault, &output);
        if self.settings.is_some() {
            self.check_folder(fault, &name, output.status.success());
        } else {
            let expected = if output.status.success() { &self.result[..] } else { b"" };
            assert_eq!(output.stdout, expected, "{fault}: {}", stdout(&output));
        }
        check_balance(fault, &calls);
        for report in machine.reports() {
            // What does not go away when it is told to stays.
            let is_due = report.kind == "leak" && fault.function == "cuMemFree_v2";
            assert!(is_due, "{fault}: {report:?}");
        }
    }

    /// An error that says what failed, or success where the failure could be made good.
    fn check_ending(&self, fault: &Fault, output: &Output) {
        let text = stderr(output);
        assert!(!text.contains("panicked"), "{fault}: {text}");
        let error = text.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        let is_out_of_memory = fault.error == "CUDA_ERROR_OUT_OF_MEMORY";
        let is_number = fault.error.parse::<u32>().is_ok();
        let name = if is_number {
            format!("error {} (unknown error)", fault.error)
        } else {
            fault.error.to_owned()
        };
        let names_error =
            text.contains(&name) || (is_out_of_memory && error.contains("out of memory"));
        match (self.answer(fault), output.status.code()) {
            (Answer::Says(any), Some(2)) => {
                assert!(
                    names_error && any.iter().any(|part| error.contains(part)),
                    "{fault}: {text}"
                );
            }
            (Answer::Says(_), Some(0)) => {
                // Asked a second time, once the pool has given back what it kept, there is memory.
                let is_asked_again = fault.function == "cuMemAlloc_v2" && is_out_of_memory;
                assert!(
                    self.is_over(fault) || (is_asked_again && !fault.onwards),
                    "{fault} passed"
                );
            }
            (Answer::Forgiven, Some(0)) => {}
            // The calls after it fail too.
            (Answer::Forgiven, Some(2)) => {
                assert!(is_lasting(fault.error) && names_error, "{fault}: {text}")
            }
            (_, code) => panic!("{fault}: it ended with {code:?}: {text}"),
        }
    }

    /// The whole result of the undisturbed run, or of its first epochs, or nothing at all.
    fn check_folder(&self, fault: &Fault, name: &str, success: bool) {
        let folder = self.place.run_folder(name);
        let Ok(entries) = fs::read_dir(&folder) else {
            assert!(!success, "{fault}: nothing was written");
            return;
        };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let beside = [".lock", "profile.json", "state.previous.safetensors"];
        let mut files: Vec<_> = names.filter(|name| !beside.contains(&name.as_str())).collect();
        files.sort();
        let mut expected = FILES_OF_A_RUN;
        expected.sort();
        assert_eq!(files, expected, "{fault}");
        let is_whole = success || self.settings == Some(PROFILED);
        let is_same = self.place.file(name, MODEL) == self.result;
        assert!(is_same || !is_whole, "{fault}: another model");
        fs::remove_dir_all(folder).unwrap();
    }
}

fn machine() -> Machine {
    // Without a cache on disk each run compiles, which can fail too. Times are always the same, for a
    // profile repeats a kernel as often as its time asks for: one of 2 ms not at all.
    Machine::new().with("SIGNET_KERNEL_CACHE", "").with("CUSIM_EVENT_MS", "2")
}

fn arguments<'a>(place: &'a Place, name: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    place.train(name, &[&["--device", "cuda", "--batch-size", "2"], settings].concat())
}

/// What was made is taken away again, or at least told to go.
fn check_balance(fault: &Fault, calls: &[String]) {
    let mut open: BTreeMap<&str, i64> = BTreeMap::new();
    let (mut seen, mut is_lost) = (0, false);
    for call in calls {
        seen += usize::from(*call == fault.function);
        let is_due = seen == fault.call || (fault.onwards && seen > fault.call);
        let fails = (*call == fault.function && is_due) || (is_lost && call.starts_with("cu"));
        is_lost |= fails && is_lasting(fault.error);
        for [make, take] in PAIRS {
            if call == make && !fails {
                *open.entry(make).or_default() += 1;
            } else if call == take {
                *open.entry(make).or_default() -= 1;
            }
        }
    }
    open.retain(|_, left| *left > 0);
    assert!(open.is_empty(), "{fault}: left behind: {open:?}");
}

/// Checks every fault, several at a time, and all of them even where some are not taken well.
fn check_all(bench: &Bench, faults: &[Fault]) {
    let [next, failures] = [const { AtomicUsize::new(0) }; 2];
    let work = || {
        while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
            let check = catch_unwind(AssertUnwindSafe(|| bench.check(fault)));
            failures.fetch_add(usize::from(check.is_err()), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| _ = scope.spawn(work));
    });
    assert_eq!(failures.into_inner(), 0, "failures of {} faults, see above", faults.len());
}

/// From this call on there is no memory.
fn full_from(call: usize) -> Fault {
    let function = "cuMemAlloc_v2".to_owned();
    Fault { function, call, onwards: true, error: "CUDA_ERROR_OUT_OF_MEMORY" }
}

/// The first and the last call of every function, and some in between.
#[test]
fn some_failing_calls_end_the_program_with_an_error() {
    let bench = Bench::new(PROFILED);
    let all = bench.faults(0);
    let is_end = |(at, fault): &(usize, &Fault)| {
        let is_last = !all[at + 1..].iter().any(|later| later.function == fault.function);
        fault.call == 1 || is_last || at % 41 == 0
    };
    let mut some: Vec<Fault> =
        all.iter().enumerate().filter(is_end).map(|(_, fault)| fault.clone()).collect();
    some.extend([1, 30].map(full_from));
    assert!(some.len() > 60, "{} faults", some.len());
    check_all(&bench, &some);
}

/// What is called for graphs and for losses that come later, and some of what is captured.
#[test]
fn failing_calls_around_graphs_cost_the_graph_or_end_the_program_with_an_error() {
    let bench = Bench::new(REPLAYED);
    let all = bench.faults(0);
    let begins = bench.calls.iter().position(|call| call == BEGIN_CAPTURE);
    let begins = begins.expect("a graph is captured");
    let is_one = |(at, fault): &(usize, &Fault)| {
        let of_graphs = ["Graph", "Capture", "Host", "Event"];
        let is_last = !all[at + 1..].iter().any(|later| later.function == fault.function);
        let is_end = fault.call == 1 || is_last;
        let is_named = of_graphs.iter().any(|part| fault.function.contains(part));
        let is_before = bench.is_before_capture(*at);
        (is_named && is_end) || is_before || (*at > begins && at % 53 == 0)
    };
    let some: Vec<Fault> =
        all.iter().enumerate().filter(is_one).map(|(_, fault)| fault.clone()).collect();
    assert!(some.len() > 30, "{} faults", some.len());
    check_all(&bench, &some);
}

/// An evaluation: each function's first and last call.
#[test]
fn failing_calls_end_an_evaluation_with_an_error() {
    let bench = Bench::of_evaluation();
    let all = bench.faults(0);
    let is_end = |(at, fault): &(usize, &Fault)| {
        fault.call == 1 || !all[at + 1..].iter().any(|later| later.function == fault.function)
    };
    let some: Vec<Fault> =
        all.iter().enumerate().filter(is_end).map(|(_, fault)| fault.clone()).collect();
    assert!(some.len() > 30, "{} faults", some.len());
    check_all(&bench, &some);
}

/// A GPU that is lost in the last epoch: what was known before is saved, the message says how to go
/// on, and going on gives the same bits.
#[test]
fn a_lost_device_ends_with_a_saved_checkpoint() {
    let bench = Bench::new(REPLAYED);
    let replays = bench.calls.iter().filter(|call| *call == "cuGraphLaunch").count();
    let fault = format!("cuGraphLaunch:{replays}:CUDA_ERROR_DEVICE_UNAVAILABLE");
    let output = bench.start(&machine().with("CUSIM_FAULT", &fault), "lost");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let folder = bench.place.run_folder("lost");
    let folder = folder.to_str().unwrap();
    let advice = format!("go on with: signet train --resume {folder}");
    assert!(stderr(&output).contains(&advice), "{}", stderr(&output));
    assert_eq!(bench.place.metrics("lost").len(), 2);
    machine().run_clean(&["train", "--resume", folder, "--device", "cuda", "-q"]);
    assert!(bench.place.file("lost", MODEL) == bench.result);
}

/// What is said to be the largest batch fits, and the next one does not.
#[test]
fn too_little_memory_names_the_largest_batch_that_fits() {
    let place = Place::new(8, 2);
    let run = |name: &str, batch: usize| {
        let machine = Machine::new().with("CUSIM_MEMORY", "12M");
        let batch = batch.to_string();
        let args = ["--device", "cuda", "--epochs", "3", "--batch-size", &batch, "-q"];
        let output = machine.run(&place.train(name, &args));
        assert_eq!(machine.reports(), [], "{}", stderr(&output));
        output
    };
    let output = run("large", 8);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let size = text.split("the largest batch size that fits is ").nth(1);
    let size: String = size.expect(&text).chars().take_while(char::is_ascii_digit).collect();
    let size: usize = size.parse().unwrap();
    assert!((1..8).contains(&size), "{text}");
    assert!(run("fits", size).status.success(), "{size}");
    let text = stderr(&run("next", size + 1));
    assert!(text.contains("out of memory"), "{size}: {text}");
}

#[test]
#[ignore = "a process for every call, a quarter of an hour: run by scripts/full"]
fn every_failing_call_of_a_replayed_run_ends_it_with_an_error() {
    let bench = Bench::new(REPLAYED);
    check_all(&bench, &bench.faults(0));
}

#[test]
#[ignore = "a process for every call, half a minute: run by scripts/full"]
fn every_failing_call_of_an_evaluation_ends_it_with_an_error() {
    let bench = Bench::of_evaluation();
    check_all(&bench, &bench.faults(0));
}

#[test]
#[ignore = "a process for every call, a quarter of an hour: run by scripts/full"]
fn every_failing_call_of_a_profiled_run_ends_it_with_an_error() {
    let bench = Bench::new(PROFILED);
    let mut all = bench.faults(0);
    // Compiling is little: fail it in every way.
    let other_way = bench.faults(1);
    all.extend(other_way.into_iter().filter(|fault| fault.function.starts_with("nvrtc")));
    let allocations = bench.calls.iter().filter(|call| *call == "cuMemAlloc_v2").count();
    all.extend((1..=allocations).map(full_from));
    check_all(&bench, &all);
}

/// The driver may not even be able to say what its error means.
#[test]
fn an_error_without_a_text_is_named() {
    let place = Place::new(3, 2);
    let faults =
        "cuLaunchKernel:50:CUDA_ERROR_LAUNCH_FAILED,cuGetErrorString:1+:CUDA_ERROR_UNKNOWN";
    let output = machine().with("CUSIM_FAULT", faults).run(&arguments(&place, "a", PROFILED));
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("failed: CUDA_ERROR_LAUNCH_FAILED; "), "{}", stderr(&output));
}
