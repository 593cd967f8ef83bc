//! The whole network on the CUDA device: the same training as on the CPU, the same bits however
//! the threads are scheduled, memory that comes back, and nothing that cusim's checks would report.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::common;
use needs::test_on_cusim as test;

use common::compare::{Tolerance, assert_close, compare};
use common::cuda::is_sim;
use common::device::TestDevice;
use common::host::values;
use common::models::{
    BIASES_BEFORE_BATCH_NORM, Batch, Training, after_adam, gradients, moment, named_state, narrow,
    training_bits,
};
use cusim::{Order, Sim};
use signet::data::synthetic;
use signet::nn::{Layer, Module, asl};
use signet::optim::Optimizer;
use signet::train::{Config, Outcome, Trainer};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

const DROPOUT: [f64; 2] = [0.2, 0.3];

/// The batch of a step; every eighth is smaller, as the last of an epoch is.
fn batch(step: u64, size: usize) -> Batch {
    Batch::random(if step % 8 == 7 { size / 2 + 1 } else { size }, step)
}

/// What a training leaves behind.
struct Trained {
    losses: Vec<f64>,
    correct: Vec<i32>,
    /// Parameters and buffers.
    state: BTreeMap<String, Vec<f64>>,
    /// Adam's.
    moments: BTreeMap<String, Vec<f64>>,
}

/// Trains with dropout on, whose masks are the same on every device: Philox draws them.
fn train(on: TestDevice, layers: Vec<Layer>, steps: u64, size: usize) -> Trained {
    let mut training = Training::<f64>::new(&on.open(), 7, layers);
    let (mut losses, mut correct) = (Vec::new(), Vec::new());
    for step in 0..steps {
        training.model.context().set_step(step).unwrap();
        let answer = training.step(&batch(step, size));
        losses.extend(values(&answer.loss));
        correct.push(answer.correct);
    }
    let state = named_state(&training.model).into_iter().map(|(key, x)| (key, x.values));
    let moments = ["exp_avg", "exp_avg_sq"].into_iter().flat_map(|name| {
        let named = move |(key, values)| (format!("{key} {name}"), values);
        moment(&training, name).into_iter().map(named)
    });
    Trained { losses, correct, state: state.collect(), moments: moments.collect() }
}

/// Thirty steps, each from where the one before ended. In f64 two ways to round stay together: a
/// relu or a maximum that tips over would need two values within 1e-15 of each other.
fn thirty_steps_agree(layers: fn() -> Vec<Layer>, size: usize) {
    let [cuda, cpu] =
        [TestDevice::Cuda, TestDevice::Cpu].map(|device| train(device, layers(), 30, size));
    let tight = Tolerance::scale(1e-9);
    assert_close("losses", &cuda.losses, &cpu.losses, Tolerance::relative(1e-9));
    assert_eq!(cuda.correct, cpu.correct);
    assert!(cuda.state.keys().eq(cpu.state.keys()) && cuda.moments.keys().eq(cpu.moments.keys()));
    // First, as Adam hides a gradient's scale.
    for (key, values) in &cuda.moments {
        // Those gradients are rounding and nothing else.
        let is_rounding = BIASES_BEFORE_BATCH_NORM.iter().any(|bias| key.starts_with(bias));
        let tolerance = if is_rounding { Tolerance::absolute(1e-15) } else { tight };
        assert_close(key, values, &cpu.moments[key], tolerance);
    }
    for (key, values) in &cuda.state {
        assert_close(key, values, &cpu.state[key], after_adam::<f64>(key, 30, tight));
    }
}

#[test]
fn thirty_steps_of_the_narrow_network_agree_in_f64() {
    thirty_steps_agree(|| narrow(DROPOUT), 9);
}

#[test]
fn thirty_steps_of_the_full_network_agree_in_f64() {
    thirty_steps_agree(|| asl(24), 3);
}

/// In f32 two trainings part company: a relu whose input is within rounding of zero, or two nearly
/// equal values under a max-pool, pass a gradient on one device and not on the other, and Adam
/// makes steps of the full learning rate of the smallest gradients. After ten steps the losses
/// differ in the third digit. So every step starts from the CPU's state, along the CPU's path:
///
/// - Losses and statistics are continuous in what tips over: rounding is all that may differ.
/// - A gradient may have a few terms more or less, one in a hundred of its size each. That is rare:
///   some of the 630,000 inputs of the first relu lie within 1e-7 of zero in one step of ten. So
///   every gradient stays within a tenth of its scale, and within rounding in most steps.
/// - A parameter moves by up to the learning rate in either direction.
#[test]
fn every_step_of_the_full_network_agrees_in_f32() {
    let (steps, size) = (12, 8);
    let mut cuda = Training::<f32>::new(&TestDevice::Cuda.open(), 7, asl(24));
    let mut cpu = Training::<f32>::new(&TestDevice::Cpu.open(), 7, asl(24));
    let mut tipped = BTreeMap::<String, u64>::new();
    for step in 0..steps {
        cuda.model.load_state_dict(&cpu.model.state_dict().unwrap()).unwrap();
        cuda.adam.load_state(&cpu.adam.state().unwrap()).unwrap();
        let batch = batch(step, size);
        cuda.model.context().set_step(step).unwrap();
        cpu.model.context().set_step(step).unwrap();
        let (answer, expected) = (cuda.step(&batch), cpu.step(&batch));
        let what = |name: &str| format!("step {step}: {name}");
        let rounding = Tolerance::scale(1e-5);
        assert_close(what("loss"), &values(&answer.loss), &values(&expected.loss), rounding);
        assert_close(what("logits"), &values(&answer.logits), &values(&expected.logits), rounding);
        for (key, expected) in gradients(&cpu.model) {
            if BIASES_BEFORE_BATCH_NORM.contains(&&*key) {
                continue;
            }
            let actual = &gradients(&cuda.model)[&key];
            assert_close(what(&key), actual, &expected, Tolerance::scale(0.1));
            let is_rounding = compare(actual, &expected, Tolerance::scale(1e-4)).is_ok();
            *tipped.entry(key).or_default() += u64::from(!is_rounding);
        }
        let state = named_state(&cpu.model);
        for (key, actual) in named_state(&cuda.model) {
            let tolerance =
                if key.contains("running") { rounding } else { Tolerance::absolute(2.1e-3) };
            assert_close(what(&key), &actual.values, &state[&key].values, tolerance);
        }
    }
    assert!(tipped.values().all(|&steps_tipped| 2 * steps_tipped < steps), "{tipped:?}");
}

/// Runs the rest of the calling test in a process of its own, whose counters, order of threads and
/// checks are no other test's: `true` in the parent, where all is done. A GPU has none of them.
#[track_caller]
fn in_parent(test: &str, variables: &[(&str, &str)]) -> bool {
    if !is_sim() {
        eprintln!("SKIPPED: {test}, which needs cusim");
        return true;
    }
    let Some(child) = cusim::in_child(&format!("cuda_network::{test}"), variables) else {
        return false;
    };
    assert!(child.success, "{}", child.output);
    assert_eq!(child.reports, []);
    true
}

fn sim() -> &'static Sim {
    Sim::load().expect("cusim was built with this test")
}

/// Everything that a few steps leave behind, of both precisions.
fn bits() -> [Vec<u64>; 2] {
    let bits = [
        training_bits::<f32>(&TestDevice::Cuda.open(), 7, asl(24), 3, 9),
        training_bits::<f64>(&TestDevice::Cuda.open(), 7, narrow(DROPOUT), 3, 9),
    ];
    // One NaN is as good as another.
    assert!(bits.iter().flatten().all(|&bits| f64::from_bits(bits).is_finite()));
    bits
}

#[track_caller]
fn assert_same_bits(what: &str, one: &[Vec<u64>; 2], other: &[Vec<u64>; 2]) {
    for (one, other) in one.iter().zip(other) {
        let difference = one.iter().zip(other).position(|(one, other)| one != other);
        assert_eq!(difference, None, "{what}: the first of {} values that differs", one.len());
    }
}

#[test]
fn a_second_training_has_the_same_bits() {
    assert_same_bits("again", &bits(), &bits());
}

#[test]
fn the_order_of_threads_changes_no_bit() {
    if in_parent("the_order_of_threads_changes_no_bit", &[]) {
        return;
    }
    let [forward, reverse, shuffled] = Order::ALL.map(|order| {
        sim().set_order(order);
        bits()
    });
    assert_same_bits("reverse", &forward, &reverse);
    assert_same_bits("shuffled", &forward, &shuffled);
}

/// Every function of the driver that sets something up.
const ASKING: [&str; 9] = [
    "cuMemAlloc",
    "cuMemAllocAsync",
    "cuMemAllocHost",
    "cuMemHostAlloc",
    "cuMemFree",
    "cuEventCreate",
    "cuStreamCreate",
    "cuModuleLoadData",
    "cuGraphInstantiateWithFlags",
];

/// How often each was called so far.
fn asked() -> HashMap<&'static str, u64> {
    ASKING.iter().map(|&function| (function, sim().calls(function))).collect()
}

/// Four epochs of the real trainer: nine steps and a smaller one each, validation, a checkpoint.
/// Steps run as they are in the first, the rest of which is captured by the second.
#[test]
fn a_step_asks_for_no_memory_and_all_of_it_comes_back() {
    let leaks = [("CUSIM_LEAKS", "1")];
    if in_parent("a_step_asks_for_no_memory_and_all_of_it_comes_back", &leaks) {
        return;
    }
    let device = TestDevice::Cuda.open();
    let config = Config { batch_size: 2, epochs: 4, ..Config::default() };
    let mut trainer = Trainer::new(&device, config, &synthetic(3, 19, 5)).unwrap();
    let mut after_step = Vec::new();
    let mut epoch = |trainer: &mut Trainer| {
        let outcome = trainer.run_epoch(|_| {
            after_step.push(asked());
            true
        });
        assert!(matches!(outcome, Ok(Outcome::Finished(_))));
        trainer.state().unwrap();
        asked()
    };
    let first = epoch(&mut trainer);
    assert!(first["cuMemAlloc"] > 10 && first["cuModuleLoadData"] > 5, "{first:?}");
    let second = epoch(&mut trainer);
    // Whole steps, the smaller last one, the validation.
    assert_eq!(second["cuGraphInstantiateWithFlags"], 3);
    assert_eq!(epoch(&mut trainer), second, "the third epoch");
    assert_eq!(epoch(&mut trainer), second, "the fourth epoch");
    for step in 2..9 {
        assert_eq!(after_step[step], after_step[1], "step {}", step + 1);
    }
    drop(trainer);
    let in_use = device.as_cuda().unwrap().memory_use().in_use;
    assert_eq!(in_use, 0, "a buffer outlives the training");
    drop(device);
    assert_eq!((sim().allocated_bytes(), sim().allocations()), (0, 0));
    assert_eq!(sim().calls("cuMemHostAlloc"), sim().calls("cuMemFreeHost"));
    assert_eq!(sim().calls("cuGraphInstantiateWithFlags"), sim().calls("cuGraphExecDestroy"));
}

/// All that a step in the middle of an epoch may ask the driver for, beside the launch of its graph:
/// the current context, and a copy of losses that nobody waits for.
const OF_A_STEP: [&str; 6] = [
    "cuGraphLaunch",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuEventQuery",
    "cuEventRecord",
    "cuMemcpyDtoHAsync",
];

#[test]
fn a_step_is_one_launch_of_a_graph_and_nothing_that_waits() {
    if in_parent("a_step_is_one_launch_of_a_graph_and_nothing_that_waits", &[]) {
        return;
    }
    let config = Config { batch_size: 1, epochs: 2, ..Config::default() };
    let device = TestDevice::Cuda.open();
    let mut trainer = Trainer::new(&device, config, &synthetic(3, 40, 2)).unwrap();
    let calls = || {
        let named = OF_A_STEP.map(|function| sim().calls(function));
        (sim().calls("*"), named)
    };
    for epoch in 0..2 {
        let mut after_step = Vec::new();
        let outcome = trainer.run_epoch(|_| {
            after_step.push(calls());
            true
        });
        assert!(matches!(outcome, Ok(Outcome::Finished(_))));
        // The first two steps of a run prepare; an epoch's last waits for the losses.
        let steady = &after_step[if epoch == 0 { 1 } else { 0 }..39];
        let mut copies = 0;
        for (step, pair) in steady.windows(2).enumerate() {
            let [(all_before, before), (all_after, after)] = pair else { unreachable!() };
            let new: Vec<u64> =
                after.iter().zip(before).map(|(after, before)| after - before).collect();
            assert_eq!(new[0], 1, "graphs in step {step} of those of epoch {epoch}");
            assert_eq!(
                new.iter().sum::<u64>(),
                all_after - all_before,
                "other calls in step {step}"
            );
            copies += new[5];
        }
        assert_eq!(copies, 1, "one for each 32 steps");
    }
}

/// The most kernels that a fused step may launch.
const MOST_LAUNCHES: u64 = 24;

/// How many kernels the graph of a step at batch 32 has.
fn launches_of_a_step(fuse: bool) -> u64 {
    let config = Config { epochs: 1, ..Config::default() };
    let device = TestDevice::Cuda.open();
    let mut trainer = Trainer::new(&device, config, &synthetic(3, 64, 1)).unwrap();
    trainer.model().fuse(fuse);
    let mut after_step = Vec::new();
    let outcome = trainer.run_epoch(|_| {
        after_step.push(["cuLaunchKernel", "cuGraphLaunch"].map(|function| sim().calls(function)));
        true
    });
    assert!(matches!(outcome, Ok(Outcome::Finished(_))));
    // The second step is collected, not run, and launched as a whole.
    let [[kernels, graphs], [kernels_then, graphs_then]] = after_step[..] else {
        panic!("two steps")
    };
    assert_eq!(graphs_then - graphs, 1);
    kernels_then - kernels
}

#[test]
fn a_fused_step_launches_few_kernels() {
    if in_parent("a_fused_step_launches_few_kernels", &[]) {
        return;
    }
    let [fused, plain] = [true, false].map(launches_of_a_step);
    println!("kernels of a step: {fused} fused, {plain} plain");
    assert!(fused <= MOST_LAUNCHES, "{fused} launches in a fused step");
    assert!(fused <= plain, "{fused} launches fused, {plain} plain");
}

/// What a short run leaves behind, bit by bit, and the notices that it gave. `fault` is armed after
/// the first step.
fn short_run(graphs: bool, fault: &str) -> (Vec<Vec<f64>>, Vec<String>) {
    let config = Config { batch_size: 3, epochs: 2, ..Config::default() };
    let device = TestDevice::Cuda.open();
    let mut trainer = Trainer::new(&device, config, &synthetic(3, 8, 2)).unwrap();
    trainer.use_graphs(graphs);
    let notices = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&notices);
    trainer.on_notice(move |line| kept.lock().unwrap().push(line.to_owned()));
    for _ in 0..2 {
        let outcome = trainer.run_epoch(|progress| {
            if (progress.epoch, progress.step) == (0, 1) {
                sim().arm(fault);
            }
            true
        });
        assert!(matches!(outcome, Ok(Outcome::Finished(_))), "{fault}: {outcome:?}");
    }
    sim().arm("");
    let state = trainer.state().unwrap();
    let mut values: Vec<_> = state.model.iter().map(|(_, value)| value.values.to_float()).collect();
    let moments = state.optimizer.moments.iter();
    values.extend(moments.map(|(_, values)| values.iter().map(|&x| f64::from(x)).collect()));
    values.push(state.history.iter().map(|epoch| epoch.train_loss + epoch.valid_loss).collect());
    let notices = notices.lock().unwrap().clone();
    (values, notices)
}

#[test]
fn a_capture_that_fails_costs_the_graphs_and_nothing_else() {
    if in_parent("a_capture_that_fails_costs_the_graphs_and_nothing_else", &[]) {
        return;
    }
    let (eager, notices) = short_run(false, "");
    assert_eq!((sim().calls("cuStreamBeginCapture"), notices), (0, vec![]));
    let (replayed, notices) = short_run(true, "");
    assert_eq!(notices, [""; 0]);
    assert!(sim().calls("cuGraphLaunch") > 0 && replayed == eager);
    // What fails, what the notice says of it, and whether the driver collects all the same.
    for (fault, says) in [
        ("cuStreamBeginCapture:1:CUDA_ERROR_NOT_SUPPORTED", "beginning to capture a graph"),
        ("cuStreamEndCapture:1:CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "capturing a graph"),
        ("cuGraphInstantiateWithFlags:1:CUDA_ERROR_OUT_OF_MEMORY", "instantiating a graph"),
        ("cuLaunchKernel:1:CUDA_ERROR_NOT_SUPPORTED", "launching gather"),
        // In the backward pass, with half of the batches counted.
        ("cuLaunchKernel:15:CUDA_ERROR_NOT_SUPPORTED", "launching "),
    ] {
        let before = sim().calls("cuGraphLaunch");
        let (run, notices) = short_run(true, fault);
        let [notice] = &notices[..] else { panic!("{fault}: {notices:?}") };
        assert!(notice.contains("without CUDA graphs") && notice.contains(says), "{notice}");
        assert_eq!(sim().calls("cuGraphLaunch"), before, "{fault}: a graph all the same");
        assert!(run == eager, "{fault}: other results");
    }
}

#[test]
fn the_order_of_threads_changes_no_bit_of_a_replayed_run() {
    if in_parent("the_order_of_threads_changes_no_bit_of_a_replayed_run", &[]) {
        return;
    }
    let [forward, reverse, shuffled] = Order::ALL.map(|order| {
        sim().set_order(order);
        short_run(true, "").0
    });
    assert!(forward == reverse && forward == shuffled);
}

/// Forward, loss, backward and Adam: 3 blocks of 2 launches, 1 for the hidden layer, 1 for the last
/// one with the loss; 1 each for their gradients, 4 for a block's but 3 for the first, whose input
/// needs none; 1 for Adam.
#[test]
fn a_fused_step_takes_22_launches() {
    if in_parent("a_fused_step_takes_22_launches", &[]) {
        return;
    }
    let launches = |fuse| {
        let mut training = Training::<f32>::new(&TestDevice::Cuda.open(), 7, asl(24));
        training.model.fuse(fuse);
        let batch = Batch::random(32, 1);
        let device = training.model.arena().device().clone();
        let (pixels, labels) = (batch.pixels.on(&device), batch.labels.labels_on(&device));
        let before = sim().calls("cuLaunchKernel");
        let options = Default::default();
        let (loss, _) = training.model.cross_entropy(&pixels, &labels, &options).unwrap();
        training.adam.zero_grad();
        loss.backward().unwrap();
        training.adam.step().unwrap();
        sim().calls("cuLaunchKernel") - before
    };
    let plain = launches(false);
    println!("a plain step takes {plain} launches");
    assert_eq!(launches(true), 22);
    assert!(plain > 44, "{plain}");
}

#[test]
fn checks_have_nothing_to_report_on_a_training_step() {
    let checked = [("CUSIM_CHECK", "1"), ("CUSIM_LEAKS", "1")];
    if in_parent("checks_have_nothing_to_report_on_a_training_step", &checked) {
        return;
    }
    let device = TestDevice::Cuda.open();
    training_bits::<f32>(&device, 7, narrow(DROPOUT), 2, 3);
    training_bits::<f64>(&device, 7, narrow(DROPOUT), 2, 3);
    // The real one: gathering, counting, validation, all of it replayed in the third epoch.
    let config = Config { batch_size: 2, epochs: 3, ..Config::default() };
    let mut trainer = Trainer::new(&device, config, &synthetic(3, 3, 1)).unwrap();
    for _ in 0..3 {
        trainer.run_epoch(|_| true).unwrap();
    }
    assert_eq!(sim().calls("cuGraphLaunch"), 6);
}
