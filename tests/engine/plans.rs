//! What a training step launches: [`TrainStep::plan`], and the table in `docs/networks.md`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::common;
use crate::networks::{Plan, gpt, mlp, resnet20};
use crate::on_every_device;

use common::device::TestDevice;
use common::root::root;
use signet::device::KernelRun;
use signet::nn::{Conv2d, Dropout, Flatten, Forward, Linear, Module, ReLU, Sequential};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::{Adam, AdamOptions};
use signet::train::TrainStep;
use signet::{Device, Error, Tensor, layers};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;

on_every_device! {
    a_plan_is_what_a_graph_is_made_of,
}

/// What the second of four steps launched, and the plan that is the third, if it is one; then the bits of the
/// parameters, and how often the loss was computed.
fn planned(device: &Device, plan: bool) -> ([Vec<KernelRun>; 2], Vec<u32>, usize) {
    let conv = Conv2d::new(1, 3, 3);
    let layers = layers![conv, ReLU, Flatten, Dropout::new(0.5), Linear::new(3 * 16, 4)];
    let model = Sequential::<f32>::new(device, 3, layers).unwrap();
    let adam = Adam::new(model.arena(), AdamOptions::adam(0.01)).unwrap();
    let calls = Cell::new(0);
    let loss = |(x, y): &(Tensor, Tensor<i32>)| {
        calls.set(calls.get() + 1);
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    };
    let mut step = TrainStep::new(&model, model.context(), adam, loss).unwrap();
    let x: Vec<f32> = (0..5 * 36).map(|i| (i as f32).sin()).collect();
    let x = Tensor::from_slice(device, &x, [5, 1, 6, 6]).unwrap();
    let batch = (x, Tensor::from_slice(device, &[0, 1, 2, 3, 0], [5]).unwrap());
    step.run(&batch).unwrap();
    // Where there are graphs, this one becomes one.
    device.start_trace();
    step.run(&batch).unwrap();
    let launched = device.take_trace();
    let planned = if plan {
        step.plan(&batch).unwrap()
    } else {
        step.run(&batch).unwrap();
        Vec::new()
    };
    step.run(&batch).unwrap();
    assert_eq!(step.eager_because(), None);
    drop(step);
    let values = model.parameters().into_iter().flat_map(|p| p.to_vec().unwrap());
    ([launched, planned], values.map(f32::to_bits).collect(), calls.get())
}

fn a_plan_is_what_a_graph_is_made_of(on: TestDevice) {
    let device = on.open();
    let ([launched, plan], bits, calls) = planned(&device, true);
    assert!(plan.iter().any(|kernel| kernel.name.contains("adam")), "{plan:?}");
    assert_eq!(plan, launched);
    assert_eq!(plan[0].launch.is_some(), on != TestDevice::Cpu);
    // It is a step like any other, and those behind it are the graph again.
    let (_, expected, _) = planned(&device, false);
    assert_eq!(bits, expected);
    assert_eq!(calls, if on == TestDevice::Cpu { 4 } else { 3 });
}

/// The networks of the examples, with the batches that these take.
const NETWORKS: [(&str, usize); 3] = [("MLP", 64), ("ResNet-20", 128), ("GPT", 8)];

/// Rows of a table: the kernels of each network's step, how many there are, and what they cost.
fn table(plans: &[Vec<KernelRun>]) -> String {
    let cells = |of: &dyn Fn(&[KernelRun]) -> String| {
        plans.iter().map(|plan| format!(" {} |", of(plan))).collect::<String>()
    };
    let sum = |plan: &[KernelRun], of: fn(&KernelRun) -> u64| plan.iter().map(of).sum::<u64>();
    let names: String =
        NETWORKS.iter().map(|(name, batch)| format!(" {name}, {batch} |")).collect();
    let mut rows = format!("| |{names}\n|---|--:|--:|--:|\n");
    rows += &format!("| kernels |{}\n", cells(&|plan| plan.len().to_string()));
    let flops = |plan: &[KernelRun]| format!("{:.2}", sum(plan, |run| run.cost.flops) as f64 / 1e9);
    rows += &format!("| GFLOP |{}\n", cells(&flops));
    let bytes = |plan: &[KernelRun]| format!("{:.0}", sum(plan, |run| run.cost.bytes) as f64 / 1e6);
    rows += &format!("| MB |{}\n", cells(&bytes));
    let mut calls = BTreeMap::new();
    for run in plans.iter().flatten() {
        *calls.entry(run.name).or_insert(0) += 1;
    }
    for name in calls.keys() {
        let count = |plan: &[KernelRun]| match plan.iter().filter(|run| run.name == *name).count() {
            0 => String::new(),
            count => count.to_string(),
        };
        rows += &format!("| `{name}` |{}\n", cells(&count).replace("  ", " "));
    }
    rows
}

/// `UPDATE_PLANS=1` writes the table anew.
#[needs::test_on_cusim]
fn the_plans_in_the_docs_are_current() {
    let device = TestDevice::Cuda.open();
    let Device::Cuda(cuda) = &device else { unreachable!("it is one") };
    let mut plans = Vec::new();
    // Steps of these sizes would take minutes here; which kernels they launch, a rehearsal tells. The error keeps
    // it from compiling them.
    let rehearsed = cuda.rehearse(|| {
        plans.push(mlp(&device, NETWORKS[0].1, Plan)?);
        plans.push(resnet20(&device, NETWORKS[1].1, Plan)?);
        plans.push(gpt(&device, NETWORKS[2].1, Plan)?);
        Err(Error::argument("rehearsal", "done"))
    });
    assert!(matches!(rehearsed, Err(Error::Argument { name: "rehearsal", .. })), "{rehearsed:?}");
    let (path, table) = (root().join("docs/networks.md"), table(&plans));
    let text = fs::read_to_string(&path).unwrap();
    let start = text.find("| | MLP").expect("docs/networks.md has the table");
    let end = start + text[start..].find("\n\n").expect("and text behind it") + 1;
    if std::env::var_os("UPDATE_PLANS").is_some() {
        fs::write(&path, format!("{}{table}{}", &text[..start], &text[end..])).unwrap();
        return;
    }
    let hint = "run UPDATE_PLANS=1 cargo test --test engine the_plans";
    assert!(text[start..end] == table, "docs/networks.md is not current: {hint}\n{table}");
}
