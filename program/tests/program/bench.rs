//! `signet bench` and `signet train --explain`: that they run, and that what they say fits together.
//! No time is held against another: what is slow here is not slow everywhere.

use crate::common;

use common::program::{run, stderr, stdout};
use common::root::root;
use serde_json::Value;
use std::fs;
use std::process::Output;

#[track_caller]
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_str(&stdout(output)).unwrap_or_else(|e| panic!("{e}: {}", stdout(output)))
}

/// The rows of a document, each of which must fit itself and the peaks.
#[track_caller]
fn rows(document: &Value) -> &Vec<Value> {
    let peak = |name: &str| document["peaks"][name].as_f64().unwrap();
    let (bandwidth, arithmetic) = (peak("bytes_per_second"), peak("flops_per_second"));
    assert!(bandwidth > 0.0 && arithmetic > 0.0 && peak("launch_seconds") >= 0.0, "{document}");
    let rows = document["rows"].as_array().unwrap();
    for row in rows {
        let number = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name} of {row}"));
        let median = number("median_seconds");
        assert!(number("p10_seconds") <= median && median <= number("p90_seconds"), "{row}");
        assert!(median > 0.0 && number("flops") > 0.0 && number("bytes") > 0.0, "{row}");
        assert!((number("gflops") * median * 1e9 / number("flops") - 1.0).abs() < 1e-9, "{row}");
        let floor = (number("flops") / arithmetic).max(number("bytes") / bandwidth);
        assert!(number("roofline_seconds") >= floor * (1.0 - 1e-9), "{row}");
        let share = 100.0 * number("roofline_seconds") / median;
        assert!((number("percent_of_roofline") / share - 1.0).abs() < 1e-9, "{row}");
    }
    rows
}

fn named<'a>(rows: &'a [Value], name: &str) -> &'a Value {
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("there is no row {name}"))
}

/// The rows that every device has.
const EVERYWHERE: [&str; 14] = [
    "conv2d_forward/conv1/4",
    "conv2d_backward_input/conv2/4",
    "conv2d_backward_weight/conv3/4",
    "batch_norm2d_forward/conv1/4",
    "relu_backward/conv2/4",
    "max_pool2d_backward/conv3/4",
    "linear_backward_weight/linear1/4",
    "dropout/conv2/4",
    "cross_entropy_forward/4",
    "adam/404099",
    "conv_block_backward/conv2/4",
    "linear_cross_entropy_forward/linear2/4",
    "step/4",
    "epoch/4",
];

/// What no device can change: FLOP of the second convolution at batch 4, bytes of an update.
#[track_caller]
fn check_costs(rows: &[Value]) {
    for name in EVERYWHERE {
        named(rows, name);
    }
    for pass in ["forward", "backward_input", "backward_weight"] {
        let row = named(rows, &format!("conv2d_{pass}/conv2/4"));
        let own = 2.0 * 4.0 * 196.0 * 50.0 * 225.0;
        let flops = row["flops"].as_f64().unwrap();
        // A GPU may add partial sums besides.
        assert!((own..1.1 * own).contains(&flops), "{row}");
    }
    let adam = named(rows, "adam/404099");
    assert_eq!(
        (adam["bytes"].as_f64(), adam["kernels"].as_u64()),
        (Some(7.0 * 4.0 * 404_099.0), Some(1))
    );
    // About 26.4 MFLOP an image, of which the first convolution's input gradient is none.
    let step = named(rows, "step/4")["flops"].as_f64().unwrap() / 4.0;
    assert!((26e6..29e6).contains(&step), "{step} FLOP an image");
    let epoch = named(rows, "epoch/4")["flops"].as_f64().unwrap() / 13.0;
    assert!((epoch / step - 1.0).abs() < 1e-9, "{epoch} FLOP an image, and in a step {step}");
}

#[test]
fn the_cpu_is_measured() {
    let document = json(&run(&["bench", "--device", "cpu", "--threads", "2", "--quick", "--json"]));
    assert_eq!((&document["device"], &document["threads"]), (&"cpu (2 threads)".into(), &2.into()));
    assert_eq!(document["quick"], true);
    check_costs(rows(&document));
}

#[test]
fn the_table_has_a_line_for_each_row_and_nothing_else_is_on_stdout() {
    let args =
        ["bench", "--device", "cpu", "--threads", "1", "--quick", "--filter", "relu_forward/conv"];
    let output = run(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.starts_with("cpu (1 thread) on "), "{text}");
    let lines: Vec<_> = text.lines().skip_while(|line| !line.starts_with("row ")).collect();
    assert_eq!(lines.len(), 4, "{text}");
    for (line, layer) in lines[1..].iter().zip(["conv1", "conv2", "conv3"]) {
        assert!(line.starts_with(&format!("relu_forward/{layer}/4 ")), "{line}");
    }
    // What a mark says stands beside the table.
    let is_marked = lines.iter().any(|line| line.contains("%*"));
    let explained =
        stderr(&output).contains("\n* above 100 %: the machine was busier at the start");
    assert_eq!(is_marked, explained, "{text}{}", stderr(&output));
}

#[test]
fn a_reference_is_set_beside_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reference.json");
    let text = r#"{"reference": "another", "rows": [{"name": "gather/4", "median_seconds": 2.0}]}"#;
    fs::write(&file, text).unwrap();
    let vs = ["--filter", "gather", "--json", "--vs", file.to_str().unwrap()];
    let document = json(&run(&[&["bench", "--device", "cpu", "--quick"][..], &vs].concat()));
    assert_eq!(document["reference"], "another");
    let row = &rows(&document)[0];
    let ratio = row["ratio"].as_f64().unwrap();
    assert!((ratio * row["median_seconds"].as_f64().unwrap() - 2.0).abs() < 1e-9, "{row}");

    fs::write(&file, "[]").unwrap();
    let output = run(&["bench", "--device", "cpu", "--vs", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--vs: expected"), "{}", stderr(&output));
}

#[test]
fn an_unknown_row_is_an_error_that_lists_the_rows() {
    let output = run(&["bench", "--device", "cpu", "--quick", "--filter", "convolution"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    let message = stderr(&output);
    assert!(message.contains("no row is called \"convolution\""), "{message}");
    assert!(message.contains("conv2d_forward/conv1/4"), "{message}");
}

/// A line of a plan: the kernel, its FLOP and bytes.
fn plan(output: &Output) -> Vec<(String, u64, u64)> {
    assert!(output.status.success(), "{}", stderr(output));
    let text = stdout(output);
    let lines = text.lines().skip_while(|line| !line.starts_with("kernel ")).skip(1);
    lines
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            // Behind FLOP and bytes comes the time, which alone has a point.
            let time = words.iter().position(|word| word.contains('.')).expect(line);
            let number =
                |i: usize| words[i].replace(',', "").parse().unwrap_or_else(|_| panic!("{line}"));
            (words[0].to_owned(), number(time - 2), number(time - 1))
        })
        .collect()
}

/// A plan whose kernels all have a cost, and whose last line adds them.
#[track_caller]
fn check_plan(plan: &[(String, u64, u64)]) {
    let (sum, kernels) = plan.split_last().unwrap();
    let free: Vec<_> = kernels.iter().filter(|(_, _, bytes)| *bytes == 0).collect();
    assert!(free.is_empty(), "kernels without a cost: {free:?}");
    let flops: u64 = kernels.iter().map(|(_, flops, _)| flops).sum();
    let bytes: u64 = kernels.iter().map(|(_, _, bytes)| bytes).sum();
    assert_eq!(*sum, ("sum".to_owned(), flops, bytes));
    assert_eq!(kernels[0].0, "gather");
    let [.., update, end] = kernels else { panic!("{kernels:?}") };
    assert_eq!([&*update.0, &*end.0], ["adam", "end_step"]);
}

#[test]
fn a_step_on_the_cpu_is_explained_and_nothing_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs");
    let args = ["train", "--device", "cpu", "--threads", "2", "--batch-size", "3", "--explain"];
    let output = run(&[&args[..], &["--out", out.to_str().unwrap()]].concat());
    check_plan(&plan(&output));
    let text = stdout(&output);
    assert!(text.starts_with("One training step, batch 3: "), "{text}");
    // Each kernel has its layers, forward and backward; the optimizer belongs to none.
    let lines = |layer: &str| text.lines().filter(|line| line.ends_with(layer)).count();
    let layers = ["0 Conv2d to 3 MaxPool2d", "4 Conv2d to 8 MaxPool2d", "9 Conv2d to 12 MaxPool2d"];
    for layer in [&layers[..], &["14 Linear to 16 ReLU", "17 Linear"]].concat() {
        assert!(lines(&format!("  {layer}")) >= 2, "{layer}: {text}");
    }
    for outside in ["gather", "adam", "end_step"] {
        let line = text.lines().find(|line| line.starts_with(outside)).expect(outside);
        assert!(!line.contains("Conv2d") && !line.contains("Linear"), "{line}");
    }
    assert!(!out.exists());
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod on_cusim {
    use super::*;
    use common::cuda::device;
    use common::machine::Machine;
    use needs::test_on_cusim as test;
    use signet::Device;
    use signet::bench::trace_step;
    use signet::data::synthetic;
    use signet::train::{Config, Outcome, Trainer};

    /// `bench` and `--explain` show the kernels that a training launches: compiled for their sizes.
    #[test]
    fn what_is_traced_is_what_a_training_launches() {
        let config = Config { batch_size: 4, ..Config::default() };
        let modules_of = |work: &dyn Fn(&Device)| {
            let device = device().expect("these tests have a device");
            work(&device.clone().into());
            let statistics = device.kernel_statistics();
            statistics.compiled + statistics.cached
        };
        let step = |device: &Device| {
            let split = synthetic(config.seed, 8, 1);
            let mut trainer = Trainer::new(device, config.clone(), &split).unwrap();
            assert_eq!(trainer.run_epoch(|_| false).unwrap(), Outcome::Interrupted);
        };
        let traced = modules_of(&|device| _ = trace_step(device, &config, true).unwrap());
        let generic = modules_of(&step);
        let trained = modules_of(&|device| {
            device.as_cuda().unwrap().set_specialise(true);
            step(device);
        });
        assert_eq!(traced, trained);
        assert!(trained > generic, "{trained} and {generic} modules");
    }

    #[test]
    fn a_gpu_is_measured() {
        let machine = Machine::new();
        let args = ["bench", "--device", "cuda", "--quick", "--json"];
        let document = json(&machine.run_clean(&args));
        let device = document["device"].as_str().unwrap();
        assert!(device.starts_with("cuda:0 (cusim"), "{device}");
        assert_eq!(document["threads"], Value::Null);
        assert!(document["nvrtc"].is_string() && document["cuda_driver"].is_string());
        check_costs(rows(&document));
    }

    #[test]
    fn a_step_on_a_gpu_is_explained_launch_by_launch() {
        let machine = Machine::new();
        let args = ["train", "--device", "cuda", "--batch-size", "4", "--explain"];
        let output = machine.run_clean(&args);
        let plan = plan(&output);
        check_plan(&plan);
        let text = stdout(&output);
        let head = format!("One training step, batch 4: {} kernels, in order", plan.len() - 1);
        assert!(text.starts_with(&head), "{text}");
        // The update: a thread for four elements, 256 of them in a block, and each parameter begins a
        // block of its own.
        let adam = text.lines().find(|line| line.starts_with("adam")).unwrap();
        let words: Vec<_> = adam.split_whitespace().collect();
        assert_eq!(words[..3], ["adam", "406", "256"], "{adam}");
    }

    /// `conv2d_forward | 98 x 256 | 1 | 2` of each kernel: grid, block, FLOP and bytes.
    fn lines_of(plan: &Value) -> Vec<String> {
        let dimensions = |sizes: &Value| {
            let sizes: Vec<_> = sizes.as_array().unwrap().iter().map(Value::to_string).collect();
            let used = sizes.iter().rposition(|size| size != "1").map_or(1, |last| last + 1);
            sizes[..used].join("x")
        };
        let line = |run: &Value| {
            let launch = ["grid", "block"].map(|which| dimensions(&run["launch"][which]));
            let (name, cost) = (run["name"].as_str().unwrap(), &run["cost"]);
            format!("`{name}` | {} | {} | {}", launch.join(" x "), cost["flops"], cost["bytes"])
        };
        plan["kernels"].as_array().unwrap().iter().map(line).collect()
    }

    /// With `SIGNET_PLAN=folder` it leaves there the plan and what its kernels touch, from which
    /// `scripts/kernel-table` writes that part of the document.
    #[test]
    fn the_plan_in_the_docs_is_current() {
        let args = ["train", "--device", "cuda", "--explain", "--json"];
        if let Some(folder) = std::env::var_os("SIGNET_PLAN") {
            let folder = std::path::Path::new(&folder);
            let touched = folder.join("touched.jsonl");
            let machine = Machine::new()
                .with("CUSIM_CHECK", "1")
                .with("CUSIM_TOUCHED", touched.to_str().unwrap());
            let output = common::program::finish_late(machine.signet(&args));
            fs::write(folder.join("plan.json"), json(&output).to_string()).unwrap();
            return;
        }
        let plan = json(&Machine::new().run_clean(&args));
        let text = fs::read_to_string(root().join("docs/kernels.md")).unwrap();
        let (_, table) =
            text.split_once("## The plan of a training step").expect("it has the plan");
        let rows: Vec<_> = table.lines().filter_map(|line| line.strip_prefix("| `")).collect();
        let expected = lines_of(&plan);
        for (row, expected) in rows.iter().zip(&expected) {
            let row = format!("`{row}");
            let current = row.starts_with(&format!("{expected} |"));
            assert!(
                current,
                "docs/kernels.md says\n{row}\nand it is\n{expected}; run scripts/kernel-table"
            );
        }
        assert_eq!(rows.len(), expected.len(), "docs/kernels.md: run scripts/kernel-table");
        for row in rows {
            // What a kernel declares is what it was seen to touch, but for single values per channel,
            // and the rows and columns that pooling leaves out.
            let cells: Vec<_> = row.split(" | ").collect();
            let [declared, touched] = [3, 4].map(|i| cells[i].parse::<f64>().unwrap());
            assert!((declared - touched).abs() <= 0.25 * touched + 2048.0, "{row}");
        }
    }
}
