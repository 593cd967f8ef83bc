//! What PyTorch answers for the whole network in its narrow size: one step, twenty steps, and a
//! stored model.

use crate::common;
use crate::on_every_device;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::fixture::{Fixture, path};
use common::host::{HostTensor, values};
use common::models::{
    BIASES_BEFORE_BATCH_NORM, Batch, Training, after_adam, forward, gradients, load, moment,
    named_state, narrow,
};
use signet::dtype::Float;
use signet::nn::{Forward, Module, Sequential, StateDict};
use signet::{Device, checkpoint};

on_every_device! {
    one_step_agrees_in_f64,
    one_step_agrees_in_f32,
    twenty_steps_agree_in_f64,
    twenty_steps_agree_in_f32,
    a_stored_model_answers_as_pytorch,
}

/// The fixtures have dropout at p = 0, so that PyTorch's random numbers do not matter.
const NO_DROPOUT: [f64; 2] = [0.0, 0.0];

fn one_step_agrees_in_f64(on: TestDevice) {
    one_step::<f64>(on, Tolerance::scale(1e-12));
}

fn one_step_agrees_in_f32(on: TestDevice) {
    one_step::<f32>(on, Tolerance::scale(2e-5));
}

/// Logits, loss, every gradient, and what Adam makes of them.
fn one_step<T: Float>(on: TestDevice, tolerance: Tolerance) {
    let fixture = Fixture::load("narrow_step");
    let mut training = Training::<T>::new(&on.open(), 1, narrow(NO_DROPOUT));
    load(&training.model, &fixture, "before").unwrap();
    let batch = batch(&fixture, 0..8);
    let answer = training.step(&batch);
    assert_close("logits", &values(&answer.logits), &fixture.tensor("logits").values, tolerance);
    assert_close("loss", &values(&answer.loss), &fixture.tensor("loss").values, tolerance);
    let gradients = gradients(&training.model);
    assert_eq!(gradients.len(), 16);
    for (key, gradient) in &gradients {
        let expected = &fixture.tensor(&format!("grad/{key}")).values;
        assert_close(format!("grad/{key}"), gradient, expected, of_gradient(key, tolerance));
    }
    for name in ["exp_avg", "exp_avg_sq"] {
        for (key, moment) in moment(&training, name) {
            let expected = &fixture.tensor(&format!("{name}/{key}")).values;
            assert_close(format!("{name}/{key}"), &moment, expected, of_gradient(&key, tolerance));
        }
    }
    check_state::<T>(&training, &fixture, 1, tolerance);
}

/// The gradients of biases before a batch norm are rounding and nothing else.
fn of_gradient(key: &str, tolerance: Tolerance) -> Tolerance {
    if BIASES_BEFORE_BATCH_NORM.contains(&key) {
        return Tolerance::absolute(tolerance.of_scale);
    }
    tolerance
}

fn check_state<T: Float>(training: &Training<T>, fixture: &Fixture, steps: u32, usual: Tolerance) {
    let expected = fixture.group("after");
    let state = named_state(&training.model);
    assert!(state.keys().map(String::as_str).eq(expected.keys().copied()), "other keys");
    for (key, actual) in state {
        let tolerance = after_adam::<T>(&key, steps, usual);
        assert_close(format!("after/{key}"), &actual.values, &expected[&*key].values, tolerance);
    }
}

fn batch(fixture: &Fixture, rows: std::ops::Range<usize>) -> Batch {
    Batch {
        pixels: fixture.tensor("pixels").rows(rows.clone()).scaled(),
        labels: fixture.tensor("labels").rows(rows),
    }
}

fn twenty_steps_agree_in_f64(on: TestDevice) {
    let exact = Tolerance::scale(1e-12);
    twenty_steps::<f64>(on, exact, exact, Tolerance::absolute(1e-7));
}

fn twenty_steps_agree_in_f32(on: TestDevice) {
    twenty_steps::<f32>(
        on,
        Tolerance::scale(1e-6),
        // Adam's steps of the smallest gradients carry their rounding: of the 0.02 that twenty steps
        // can move a parameter, this is about a thousandth.
        Tolerance::scale(1e-3),
        // What the biases before batch norms and the running means they move make of it.
        Tolerance::absolute(0.05),
    );
}

/// Batches of 16 in the order stored and a last one of 11.
fn twenty_steps<T: Float>(
    on: TestDevice,
    of_losses: Tolerance,
    of_state: Tolerance,
    of_eval_logits: Tolerance,
) {
    let (device, fixture) = (on.open(), Fixture::load("narrow_trajectory"));
    let mut training = Training::<T>::new(&device, 1, narrow(NO_DROPOUT));
    load(&training.model, &fixture, "before").unwrap();
    let rows = fixture.tensor("labels").values.len();
    let (mut losses, mut correct) = (Vec::new(), Vec::new());
    for start in (0..rows).step_by(16) {
        let answer = training.step(&batch(&fixture, start..rows.min(start + 16)));
        losses.extend(values(&answer.loss));
        correct.push(answer.correct);
    }
    assert_close("losses", &losses, &fixture.tensor("loss").values, of_losses);
    assert_eq!(correct, fixture.tensor("correct").integers());
    check_state::<T>(&training, &fixture, 20, of_state);

    training.model.eval();
    let first = batch(&fixture, 0..16);
    let answer = forward(&training.model, &first.pixels.on(&device), &first.labels).unwrap();
    let expected = &fixture.tensor("eval_logits").values;
    assert_close("eval_logits", &values(&answer.logits), expected, of_eval_logits);
}

/// A file that `safetensors.torch.save_file` wrote, as a user would load it.
fn a_stored_model_answers_as_pytorch(on: TestDevice) {
    let (dict, _) = checkpoint::load(&path("model_pytorch")).unwrap();
    let (device, fixture) = (on.open(), Fixture::load("model_pytorch_eval"));
    let pixels = fixture.tensor("pixels").scaled();
    fn check<T: Float>(
        device: &Device,
        dict: &StateDict,
        pixels: &HostTensor,
        expected: &[f64],
        tolerance: Tolerance,
    ) {
        let model = Sequential::<T>::new(device, 1, narrow(NO_DROPOUT)).unwrap();
        model.load_state_dict(dict).unwrap();
        model.eval();
        let logits = model.forward(&pixels.on(device)).unwrap();
        assert_close(format!("logits in {}", T::NAME), &values(&logits), expected, tolerance);
        assert_eq!(named_state(&model)["1.num_batches_tracked"].values, [3.0]);
    }
    let double = &fixture.tensor("logits_f64").values;
    check::<f64>(&device, &dict, &pixels, double, Tolerance::scale(1e-12));
    let single = &fixture.tensor("logits").values;
    check::<f32>(&device, &dict, &pixels, single, Tolerance::scale(1e-5));
}
