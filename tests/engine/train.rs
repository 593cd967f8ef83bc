//! The trainer as a library: interrupted, with and without graphs, and what a validation measures.

use crate::common;
use crate::on_every_device;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::models::narrow;
use signet::checkpoint::{self, Metadata};
use signet::data::{DataLoader, synthetic};
use signet::dtype::Float;
use signet::nn::{Forward, Linear, Module, Sequential, Value, Values, asl};
use signet::ops::cross_entropy::cross_entropy;
use signet::optim::OptimizerState;
use signet::train::{Config, OptimizerKind, Outcome, TrainState, Trainer, evaluate};
use signet::{Device, Error, Shape, Tensor, layers};

on_every_device! {
    graphs_change_no_bit,
    a_run_goes_on_with_the_same_bits_wherever_it_stopped,
    a_loss_that_is_no_number_stops_the_run_soon,
    the_first_layer_that_is_not_finite_is_named,
    the_first_gradient_that_is_not_finite_is_named,
    a_step_that_is_not_finite_names_a_parameter,
    a_loss_that_is_not_finite_of_finite_outputs_is_named,
    an_evaluation_sums_the_means_of_its_batches,
    too_few_outputs_are_refused,
}

/// Three steps an epoch, the last of a smaller batch.
fn trainer(on: TestDevice, optimizer: OptimizerKind, graphs: bool) -> Trainer {
    let config = Config { batch_size: 4, epochs: 3, optimizer, ..Config::default() };
    let mut trainer = Trainer::new(&on.open(), config, &synthetic(3, 11, 5)).unwrap();
    trainer.use_graphs(graphs);
    trainer.on_notice(|line| panic!("{line}"));
    trainer
}

/// Trains to the end, or in `epoch` up to `step`.
fn run(trainer: &mut Trainer, stop: Option<(u64, usize)>) {
    while trainer.epoch() < 3 {
        let outcome = trainer.run_epoch(|at| stop != Some((at.epoch, at.step))).unwrap();
        if outcome == Outcome::Interrupted {
            return;
        }
    }
    assert_eq!(stop, None);
}

/// That two states differ in nothing but times.
#[track_caller]
fn assert_same(what: &str, one: &TrainState, other: &TrainState) {
    assert!(one.model == other.model, "{what}: models");
    assert!(one.best_model == other.best_model, "{what}: best models");
    assert!(one.optimizer == other.optimizer, "{what}: optimizers");
    let losses = |state: &TrainState| -> Vec<[f64; 4]> {
        let epochs = state.history.iter();
        epochs.map(|m| [m.train_loss, m.train_accuracy, m.valid_loss, m.valid_accuracy]).collect()
    };
    assert_eq!(losses(one), losses(other), "{what}");
}

fn graphs_change_no_bit(on: TestDevice) {
    for (optimizer, fuse) in [(OptimizerKind::Adam, true), (OptimizerKind::Sgd, false)] {
        let [graphs, eager] = [true, false].map(|graphs| {
            let mut trainer = trainer(on, optimizer, graphs);
            trainer.model().fuse(fuse);
            run(&mut trainer, None);
            trainer.state().unwrap()
        });
        assert_same(&format!("{optimizer:?}, fused: {fuse}"), &graphs, &eager);
        // Every batch was counted, replayed or not.
        let count = graphs.model.get("1.num_batches_tracked").unwrap().values.to_float::<f64>();
        assert_eq!(count, [9.0]);
        assert!(graphs.optimizer.steps.iter().all(|&steps| steps == 9), "each of every parameter");
    }
}

fn a_run_goes_on_with_the_same_bits_wherever_it_stopped(on: TestDevice) {
    let whole = {
        let mut trainer = trainer(on, OptimizerKind::Adam, true);
        run(&mut trainer, None);
        trainer.state().unwrap()
    };
    // Before anything is captured, and when everything is; on with graphs or without.
    for (stop, graphs) in [((0, 1), false), ((2, 1), true)] {
        let mut first = trainer(on, OptimizerKind::Adam, true);
        run(&mut first, Some(stop));
        let state = first.state().unwrap();
        let mut second = trainer(on, OptimizerKind::Adam, graphs);
        second.restore(&state).unwrap();
        run(&mut second, None);
        assert_same(&format!("stopped at {stop:?}"), &second.state().unwrap(), &whole);
        // The one that was interrupted can go on too.
        run(&mut first, None);
        assert_same(&format!("paused at {stop:?}"), &first.state().unwrap(), &whole);
    }
}

/// It has one number of steps for all parameters, and says nothing of groups.
#[test]
fn a_state_of_an_older_version_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let flat = |name: &str, values: Vec<f32>| {
        let shape = Shape::from([values.len()]);
        (name.to_owned(), Value { shape, values: Values::F32(values) })
    };
    let tensors = [
        flat("optimizer.exp_avg", vec![0.5, 0.25]),
        flat("epoch.losses", vec![]),
        flat("model.w", vec![1.0]),
    ];
    let words = r#"{"record": null, "optimizer_step": 27, "moments": ["exp_avg"], "history": [],
        "correct": 0, "seconds": 0.0}"#;
    let metadata = Metadata::from([("signet.state".to_owned(), words.to_owned())]);
    checkpoint::save(&path, &tensors.into_iter().collect(), Some(metadata)).unwrap();
    let (state, ()) = TrainState::load(&path).unwrap();
    let moments = vec![("exp_avg".to_owned(), vec![0.5, 0.25])];
    let expected = OptimizerState { steps: vec![27], moments, param_groups: vec![] };
    assert_eq!(state.optimizer, expected);
}

fn a_loss_that_is_no_number_stops_the_run_soon(on: TestDevice) {
    let config = Config { batch_size: 1, epochs: 1, lr: 1e30, ..Config::default() };
    let mut trainer = Trainer::new(&on.open(), config, &synthetic(3, 90, 1)).unwrap();
    let mut steps = 0;
    let outcome = trainer.run_epoch(|progress| {
        steps = progress.step;
        true
    });
    let Err(Error::NonFinite(text)) = outcome else { panic!("{outcome:?}") };
    assert!(text.contains(" at step 1 of epoch 0"), "{text}");
    assert!(steps < 64, "only after {steps} steps");
}

/// The host of a GPU that lags does not run ahead: it shows a loss, stops at one that is no number, and
/// stops when asked, within 64 steps.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[needs::test_on_cusim]
fn the_host_does_not_run_ahead_of_a_gpu_that_lags() {
    use common::cuda::{is_sim, load_sim};

    let name = "train::the_host_does_not_run_ahead_of_a_gpu_that_lags";
    if !is_sim() {
        eprintln!("SKIPPED: of the stand-in alone, which can lag as far as there is");
        return;
    }
    let Some(child) = cusim::in_child(name, &[("CUSIM_LATE_EVENTS", "1")]) else {
        load_sim();
        a_loss_that_is_no_number_stops_the_run_soon(TestDevice::Cuda);

        let config = Config { batch_size: 1, epochs: 1, ..Config::default() };
        let mut trainer =
            Trainer::new(&TestDevice::Cuda.open(), config, &synthetic(3, 200, 1)).unwrap();
        let (mut changes, mut last) = (Vec::new(), f64::NAN);
        let outcome = trainer.run_epoch(|at| {
            if !at.loss.is_nan() && at.loss != last {
                (changes, last) = ([&changes[..], &[at.step]].concat(), at.loss);
            }
            at.step < 100
        });
        assert_eq!(outcome.unwrap(), Outcome::Interrupted);
        // After 64 steps the losses of 32 are known, after every 32 more those of as many more.
        assert_eq!(changes, [64, 96]);
        return;
    };
    assert!(child.success, "{}", child.output);
}

/// What `result` says of numbers that are not finite.
#[track_caller]
fn non_finite<R>(result: signet::Result<R>) -> String {
    match result {
        Err(Error::NonFinite(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("all was finite"),
    }
}

fn the_first_layer_that_is_not_finite_is_named(on: TestDevice) {
    let device = on.open();
    let data = synthetic(5, 4, 1).train;
    let loader = DataLoader::<f32>::new(&device, &data, 4, None).unwrap();
    for (poisoned, layer) in [
        ("0.weight", "0 (Conv2d)"),
        ("5.weight", "5 (BatchNorm2d)"),
        ("9.bias", "9 (Conv2d)"),
        ("14.weight", "14 (Linear)"),
        ("17.weight", "17 (Linear)"),
    ] {
        for fuse in [true, false] {
            let model = Sequential::<f32>::new(&device, 0, asl(24)).unwrap();
            model.fuse(fuse);
            model.detect_anomaly(true);
            let attempt = || {
                let (images, targets) = loader.epoch(0, 0).unwrap().next().unwrap().unwrap();
                model.cross_entropy(&images, &targets, &Default::default())
            };
            attempt().unwrap();
            let state = model.state().into_iter().find(|(name, _)| name == poisoned);
            let Some((_, signet::nn::State::Parameter(parameter))) = state else { panic!() };
            let mut values = parameter.to_vec().unwrap();
            *values.last_mut().unwrap() = f32::INFINITY;
            parameter.set(&values).unwrap();
            let text = non_finite(attempt());
            let expected = format!("the output of layer {layer} is ");
            assert!(text.starts_with(&expected), "{poisoned}, fused: {fuse}: {text}");
        }
    }
}

fn the_first_gradient_that_is_not_finite_is_named(on: TestDevice) {
    let device = on.open();
    // The loss is finite, what goes back through the second layer is not; or, from there, the
    // gradient of the first layer's weight.
    for (x, first, second, expected) in [
        (
            1e-30,
            1.0,
            3e38,
            "the gradient for the output of layer 0 (Linear) is inf at [0, 0] of [1, 1]",
        ),
        (3e38, 1e-38, 2.0, "the gradient of 0.weight (Linear) is inf at [0, 0] of [1, 1]"),
    ] {
        let layers = layers![Linear::new(1, 1).bias(false), Linear::new(1, 2).bias(false)];
        let model = Sequential::<f32>::new(&device, 0, layers).unwrap();
        for (values, (_, state)) in [vec![first], vec![second, -second]].iter().zip(model.state()) {
            let signet::nn::State::Parameter(parameter) = state else { panic!() };
            parameter.set(values).unwrap();
        }
        model.detect_anomaly(true);
        let x = Tensor::from_slice(&device, &[x], [1, 1]).unwrap();
        let y = Tensor::from_slice(&device, &[1], [1]).unwrap();
        let (loss, _) = model.cross_entropy(&x, &y, &Default::default()).unwrap();
        let text = non_finite(loss.backward().and_then(|()| model.check_gradients()));
        assert_eq!(text, expected);
    }
}

fn a_step_that_is_not_finite_names_a_parameter(on: TestDevice) {
    let config =
        Config { batch_size: 2, lr: 1e39, optimizer: OptimizerKind::Sgd, ..Config::default() };
    let mut trainer = Trainer::new(&on.open(), config, &synthetic(3, 4, 1)).unwrap();
    trainer.detect_anomaly();
    let text = non_finite(trainer.run_epoch(|_| true));
    assert!(text.starts_with("after the step 0.weight (Conv2d) is "), "{text}");
    assert!(text.ends_with(" at step 0 of epoch 0"), "{text}");
}

/// The outputs are finite, the difference between them is not.
fn a_loss_that_is_not_finite_of_finite_outputs_is_named(on: TestDevice) {
    let device = on.open();
    for fuse in [true, false] {
        let layers = layers![Linear::new(1, 2).bias(false)];
        let model = Sequential::<f32>::new(&device, 0, layers).unwrap();
        let Some((_, signet::nn::State::Parameter(weight))) = model.state().pop() else { panic!() };
        weight.set(&[3e38, -3e38]).unwrap();
        model.fuse(fuse);
        model.detect_anomaly(true);
        let x = Tensor::from_slice(&device, &[1.0], [1, 1]).unwrap();
        let y = Tensor::from_slice(&device, &[1], [1]).unwrap();
        let text = non_finite(model.cross_entropy(&x, &y, &Default::default()));
        assert!(text.starts_with("the loss is inf at "), "fused: {fuse}: {text}");
        assert!(text.ends_with("all outputs are finite"), "fused: {fuse}: {text}");
    }
}

/// Against a loop as users write it, on more images than go through the model at once.
fn an_evaluation_sums_the_means_of_its_batches(on: TestDevice) {
    fn check<T: Float>(device: &Device, tolerance: f64) {
        let data = synthetic(5, 1, 300).valid;
        let model = Sequential::<T>::new(device, 3, narrow([0.2, 0.3])).unwrap();
        let loader = DataLoader::new(device, &data, 32, None).unwrap();
        let evaluation = evaluate(&model, model.context(), &loader, 24).unwrap();
        assert!(model.context().training(), "its mode is not that of before");
        model.eval();
        let (mut loss, mut hits) = (0.0, 0);
        for batch in loader.epoch(0, 0).unwrap() {
            let (images, targets) = batch.unwrap();
            let logits = model.forward(&images).unwrap();
            let (mean, correct) = cross_entropy(&logits, &targets, &Default::default()).unwrap();
            loss += mean.item().unwrap().as_f64();
            hits += correct.item().unwrap();
        }
        let measured = evaluation.measured;
        assert_close("loss", &[measured.loss], &[loss], Tolerance::relative(tolerance));
        assert_eq!(measured.accuracy, f64::from(hits) / 300.0);
        // Of each image its own: the means are of these losses, the hits of these classes.
        let sums = evaluation.losses.chunks(32).map(|x| x.iter().sum::<f64>() / x.len() as f64);
        assert_close("losses", &[sums.sum()], &[loss], Tolerance::relative(tolerance.max(1e-6)));
        let pairs = evaluation.predicted.iter().zip(&data.labels);
        let recognised = pairs.filter(|&(&guess, &label)| guess == usize::from(label)).count();
        assert_eq!((recognised, evaluation.predicted.len()), (hits as usize, 300));
        assert!(hits > 0, "nothing to count");
    }
    let device = on.open();
    check::<f64>(&device, 1e-12);
    check::<f32>(&device, 1e-6);
}

fn too_few_outputs_are_refused(on: TestDevice) {
    let device = on.open();
    let model = Sequential::<f32>::new(&device, 0, asl(3)).unwrap();
    let loader = DataLoader::new(&device, &synthetic(5, 1, 30).valid, 32, None).unwrap();
    let refused = evaluate(&model, model.context(), &loader, 24);
    assert!(matches!(&refused, Err(Error::Shape { op: "evaluate", .. })), "{refused:?}");
}
