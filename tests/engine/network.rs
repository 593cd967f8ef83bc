//! The whole network: its gradients, its bits, and its state dict.

use crate::common;
use crate::on_every_device;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::host::{Fill, HostTensor, values};
use common::models::{
    BIASES_BEFORE_BATCH_NORM, Batch, forward, gradients, named_state, narrow, parameters,
    training_bits,
};
use signet::dtype::Float;
use signet::nn::{
    BatchNorm2d, Conv2d, Flatten, Forward, Init, Layer, Linear, LinearModule, Module, ReLU,
    Sequential, StateDict, Value, Values, asl,
};
use signet::{Cpu, Device, Error, Result, Shape, Tensor, layers, modules};

on_every_device! {
    the_narrow_networks_gradients_agree_with_differences,
    the_full_networks_gradients_agree_with_differences,
    the_same_seed_gives_the_same_bits,
    another_seed_gives_other_bits,
    a_step_set_again_draws_the_same_masks,
    fused_layers_compute_what_the_plain_ones_do,
    a_state_dict_goes_round,
    a_state_dict_of_another_model_changes_nothing,
}

const DROPOUT: [f64; 2] = [0.2, 0.3];

/// A network and its batch, as a function of parameters and pixels that can be moved.
struct Landscape {
    model: Sequential<f64>,
    batch: Batch,
}

impl Landscape {
    /// The loss in training mode, dropout's masks the same in each call.
    fn loss(&self, pixels: &Tensor<f64>) -> Tensor<f64> {
        self.model.context().set_step(1).unwrap();
        forward(&self.model, pixels, &self.batch.labels).unwrap().loss
    }

    /// The central difference of the loss as `tensor`, which `pixels` may be, moves by `eps` along
    /// `direction`.
    fn difference(
        &self,
        tensor: &Tensor<f64>,
        pixels: &Tensor<f64>,
        direction: &[f64],
        eps: f64,
    ) -> f64 {
        let start = values(tensor);
        let at = |distance: f64| {
            let moved = start.iter().zip(direction).map(|(x, v)| x + distance * v);
            tensor.set(&moved.collect::<Vec<f64>>()).unwrap();
            self.loss(pixels).item().unwrap()
        };
        let difference = (at(eps) - at(-eps)) / (2.0 * eps);
        tensor.set(&start).unwrap();
        difference
    }
}

/// Along random directions of every parameter and of the pixels. Where a relu changes its sign or
/// a window its maximum in between, the difference depends on the step: such directions are left
/// out, and there may be few of them.
fn check_directions(on: TestDevice, layers: Vec<Layer>, batch: usize, directions: u64) {
    let device = on.open();
    let model = Sequential::<f64>::new(&device, 3, layers).unwrap();
    let landscape = Landscape { model, batch: Batch::random(batch, 8) };
    let pixels: Tensor<f64> = landscape.batch.pixels.on(&device);
    let leaf = pixels.detach().requires_grad(true).unwrap();
    landscape.loss(&leaf).backward().unwrap();

    let of_pixels = leaf.grad().unwrap().unwrap();
    let mut checked = vec![("pixels".to_string(), pixels.clone(), of_pixels)];
    for (key, parameter) in parameters(&landscape.model) {
        let gradient = parameter.grad().unwrap().unwrap();
        checked.push((key, parameter, gradient));
    }
    let mut left_out = Vec::new();
    for (key, tensor, gradient) in &checked {
        let gradient = values(gradient);
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        for seed in 0..directions {
            let direction = Fill::Normal(1.0).draw(tensor.dims(), seed, 0).values;
            let length = norm(&direction);
            let direction: Vec<f64> = direction.iter().map(|v| v / length).collect();
            let numeric = landscape.difference(tensor, &pixels, &direction, 1e-6);
            let nearer = landscape.difference(tensor, &pixels, &direction, 5e-7);
            // Rounding of the loss over the step, and a share of what a unit vector can do.
            let allowed = 5e-9 + 1e-6 * norm(&gradient);
            if (numeric - nearer).abs() > allowed {
                left_out.push(key.clone());
                continue;
            }
            let analytic: f64 = gradient.iter().zip(&direction).map(|(g, v)| g * v).sum();
            let what = format!("{key}, direction {seed}");
            assert_close(what, &[analytic], &[numeric], Tolerance::absolute(2.0 * allowed));
        }
        let is_zero = BIASES_BEFORE_BATCH_NORM.contains(&key.as_str());
        assert_eq!(norm(&gradient) < 1e-12, is_zero, "{key}: {}", norm(&gradient));
    }
    let all = checked.len() as u64 * directions;
    assert!(left_out.len() as u64 * 4 <= all, "{} of {all}: {left_out:?}", left_out.len());
}

fn the_narrow_networks_gradients_agree_with_differences(on: TestDevice) {
    check_directions(on, narrow(DROPOUT), 5, 8);
}

fn the_full_networks_gradients_agree_with_differences(on: TestDevice) {
    check_directions(on, asl(24), 3, 3);
}

fn the_same_seed_gives_the_same_bits(on: TestDevice) {
    let run = || training_bits::<f32>(&on.open(), 7, narrow(DROPOUT), 4, 33);
    assert!(run() == run());
}

fn another_seed_gives_other_bits(on: TestDevice) {
    let device = on.open();
    let run = |seed| training_bits::<f32>(&device, seed, narrow(DROPOUT), 1, 3);
    assert!(run(7) != run(8));
}

/// Loss, hits and every gradient of a training step, and the logits of an evaluation, with the
/// fused ops and with the plain ones.
fn fused_layers_compute_what_the_plain_ones_do(on: TestDevice) {
    let device = on.open();
    let run = |fuse| {
        let model = Sequential::<f64>::new(&device, 3, asl(24)).unwrap();
        model.fuse(fuse);
        let batch = Batch::random(5, 8);
        let pixels: Tensor<f64> = batch.pixels.on(&device);
        let labels = batch.labels.labels_on(&device);
        model.context().set_step(7).unwrap();
        let (loss, correct) = model.cross_entropy(&pixels, &labels, &Default::default()).unwrap();
        loss.backward().unwrap();
        let mut all = gradients(&model);
        all.insert("loss".into(), values(&loss));
        all.insert("correct".into(), vec![f64::from(correct.item().unwrap())]);
        all.extend(
            named_state(&model).into_iter().map(|(key, x)| (format!("{key} after"), x.values)),
        );
        model.eval();
        all.insert("evaluation".into(), values(&model.forward(&pixels).unwrap()));
        all
    };
    let (fused, plain) = (run(true), run(false));
    assert!(fused.keys().eq(plain.keys()));
    for (key, values) in &fused {
        assert_close(key, values, &plain[key], Tolerance::absolute(1e-10));
    }
}

/// The full network at the notebook's batch: what is split between threads is split by shape.
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let run = |threads| {
        let device = Device::from(Cpu::new(Some(threads)).unwrap());
        training_bits::<f32>(&device, 7, asl(24), 4, 32)
    };
    let one = run(1);
    for threads in [2, 3] {
        let difference = one.iter().zip(run(threads)).position(|(&a, b)| a != b);
        assert_eq!(difference, None, "{threads} threads");
    }
}

/// The same with batches and channels that fit no split.
#[test]
#[ignore = "long: run by scripts/full"]
fn any_number_of_threads_gives_the_same_bits_at_every_batch() {
    for batch in [2, 5, 17, 33, 64] {
        let run = |threads| {
            let device = Device::from(Cpu::new(Some(threads)).unwrap());
            training_bits::<f32>(&device, 7, asl(24), 3, batch)
        };
        let one = run(1);
        for threads in 2..=8 {
            assert!(one == run(threads), "batch {batch}, {threads} threads");
        }
    }
}

fn a_step_set_again_draws_the_same_masks(on: TestDevice) {
    let device = on.open();
    let model = Sequential::<f32>::new(&device, 3, narrow(DROPOUT)).unwrap();
    let batch = Batch::random(3, 1);
    let pixels: Tensor = batch.pixels.on(&device);
    let logits = || values(&model.forward(&pixels).unwrap());
    let at = |step| {
        model.context().set_step(step).unwrap();
        logits()
    };
    let first = at(4);
    assert_eq!(at(4), first);
    assert_ne!(at(5), first);
    assert_eq!(at(4), first);
    assert_ne!(logits(), first, "nobody set a step: the next forward pass draws new masks");
}

#[test]
fn the_network_has_the_notebooks_size() {
    let model = Sequential::<f32>::new(&TestDevice::Cpu.open(), 1, asl(24)).unwrap();
    let summary = model.summary([32, 1, 28, 28]).unwrap();
    assert_eq!(summary.parameters(), 404_099);
    assert_eq!(summary.rows.last().unwrap().output, Shape::from([32, 24]));
    let counted: usize = parameters(&model).iter().map(|(_, tensor)| tensor.numel()).sum();
    assert_eq!(counted, 404_099);
    let table = summary.to_string();
    assert!(table.contains("Total parameters: 404,099"), "{table}");
}

#[test]
fn state_dict_keys_are_pytorchs() {
    let conv_and_norm = |conv: usize, norm: usize| {
        let conv = ["weight", "bias"].map(|name| format!("{conv}.{name}"));
        let norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
            .map(|name| format!("{norm}.{name}"));
        conv.into_iter().chain(norm)
    };
    let linear = |layer: usize| ["weight", "bias"].map(|name| format!("{layer}.{name}"));
    let expected: Vec<String> = conv_and_norm(0, 1)
        .chain(conv_and_norm(4, 5))
        .chain(conv_and_norm(9, 10))
        .chain(linear(14))
        .chain(linear(17))
        .collect();
    for layers in [asl(24), narrow(DROPOUT)] {
        let model = Sequential::<f32>::new(&TestDevice::Cpu.open(), 1, layers).unwrap();
        let dict = model.state_dict().unwrap();
        let keys: Vec<_> = dict.iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(keys, expected);
    }
    let fixture = common::fixture::Fixture::load("model_pytorch");
    let mut stored: Vec<_> = fixture.tensors().keys().cloned().collect();
    let mut expected = expected;
    stored.sort();
    expected.sort();
    assert_eq!(stored, expected);
}

fn a_state_dict_goes_round(on: TestDevice) {
    let device = on.open();
    let [one, other] =
        [1, 2].map(|seed| Sequential::<f32>::new(&device, seed, narrow(DROPOUT)).unwrap());
    forward(&one, &Batch::random(3, 1).pixels.on(&device), &Batch::random(3, 1).labels).unwrap();
    let dict = one.state_dict().unwrap();
    assert_ne!(other.state_dict().unwrap(), dict);
    other.load_state_dict(&dict).unwrap();
    assert_eq!(other.state_dict().unwrap(), dict);
    assert_eq!(named_state(&other)["1.num_batches_tracked"].values, [1.0]);
}

/// Each of these differs in one thing from what fits, and everything else has new values.
fn a_state_dict_of_another_model_changes_nothing(on: TestDevice) {
    let device = on.open();
    let [model, other] =
        [1, 2].map(|seed| Sequential::<f32>::new(&device, seed, narrow(DROPOUT)).unwrap());
    let fits = other.state_dict().unwrap();
    let with = |key: &str, value: Option<Value>| -> StateDict {
        let rest = fits.iter().filter(|(known, _)| *known != key);
        let rest = rest.map(|(key, value)| (key.to_string(), value.clone()));
        rest.chain(value.map(|value| (key.to_string(), value))).collect()
    };
    let value = |shape: &[usize], values| Value { shape: Shape::from(shape), values };
    let cases = [
        ("17.bias [24] is missing", with("17.bias", None)),
        ("18.bias [1] is unexpected", with("18.bias", Some(value(&[1], Values::F32(vec![1.0]))))),
        (
            "17.bias is [23], the model has [24]",
            with("17.bias", Some(value(&[23], Values::F32(vec![1.0; 23])))),
        ),
        ("17.bias", with("17.bias", Some(value(&[24], Values::F32(vec![1.0; 23]))))),
        (
            "10.num_batches_tracked",
            with("10.num_batches_tracked", Some(value(&[], Values::I64(vec![-1])))),
        ),
    ];
    let before = model.state_dict().unwrap();
    for (part, dict) in cases {
        assert_shape_error(model.load_state_dict(&dict), part);
        assert_eq!(model.state_dict().unwrap(), before, "{part}");
    }
    model.load_state_dict(&fits).unwrap();
}

#[track_caller]
fn assert_shape_error(result: Result<()>, part: &str) {
    match result {
        Err(Error::Shape { op: "load_state_dict", message }) => {
            assert!(message.contains(part), "expected {part}, got {message}");
        }
        other => panic!("expected a shape error with {part}, got {other:?}"),
    }
}

/// Long lists of what is wrong are cut.
#[test]
fn a_state_dict_of_nothing_is_described_briefly() {
    let model = Sequential::<f32>::new(&TestDevice::Cpu.open(), 1, narrow(DROPOUT)).unwrap();
    let nothing = common::models::state_dict(std::iter::empty::<(&str, &HostTensor)>());
    let message = model.load_state_dict(&nothing).unwrap_err().to_string();
    assert!(message.ends_with("and 22 more"), "{message}");
    assert!(message.contains("0.weight [5, 1, 3, 3] is missing"), "{message}");
}

#[test]
fn lists_in_lists_have_keys_and_rows_of_their_own() {
    let device = TestDevice::Cpu.open();
    let inner = layers![Conv2d::new(3, 4, 3), layers![BatchNorm2d::new(4), ReLU]];
    let layers = layers![Conv2d::new(1, 3, 3), inner, Flatten, Linear::new(16, 2)];
    let model = Sequential::<f32>::new(&device, 0, layers).unwrap();
    let state = model.state();
    let keys: Vec<_> = state.iter().map(|(key, _)| &key[..]).collect();
    let norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
    let norm = norm.map(|name| format!("1.1.0.{name}"));
    let (conv, linear) = (["0.weight", "0.bias", "1.0.weight", "1.0.bias"], ["3.weight", "3.bias"]);
    let expected = conv.into_iter().chain(norm.iter().map(|key| &key[..])).chain(linear);
    assert_eq!(keys, expected.collect::<Vec<_>>());
    let summary = model.summary([5, 1, 6, 6]).unwrap();
    let rows = summary
        .rows
        .iter()
        .map(|row| (&row.place[..], &row.layer[..], row.output.dims().to_vec(), row.parameters));
    assert_eq!(
        rows.collect::<Vec<_>>(),
        [
            ("0", "Conv2d", vec![5, 3, 4, 4], 30),
            ("1", "Sequential", vec![5, 4, 2, 2], 120),
            ("1.0", "Conv2d", vec![5, 4, 2, 2], 112),
            ("1.1", "Sequential", vec![5, 4, 2, 2], 8),
            ("1.1.0", "BatchNorm2d", vec![5, 4, 2, 2], 8),
            ("1.1.1", "ReLU", vec![5, 4, 2, 2], 0),
            ("2", "Flatten", vec![5, 16], 0),
            ("3", "Linear", vec![5, 2], 34),
        ]
    );
    assert_eq!(summary.parameters(), 184);
}

/// A struct of one's own, with what a derived module may be made of.
#[derive(Module)]
struct Own<T: Float> {
    r#in: LinearModule<T>,
    blocks: Vec<LinearModule<T>>,
    extra: Option<Box<LinearModule<T>>>,
    none: Option<LinearModule<T>>,
    #[module(parameter)]
    token: Tensor<T>,
    #[module(parameter)]
    shift: Option<Tensor<T>>,
    #[module(buffer)]
    mean: Tensor<T>,
    #[module(skip)]
    _heads: usize,
}

impl<T: Float> Forward<T> for Own<T> {
    fn forward(&self, x: &Tensor<T>) -> Result<Tensor<T>> {
        self.blocks.forward(&self.r#in.forward(x)?)
    }
}

#[test]
fn a_derived_module_names_its_parts() {
    let init = Init::<f64>::new(&TestDevice::Cpu.open(), 0).unwrap();
    let linear = || Linear::new(2, 2).bias(false).build(&init).unwrap();
    let vector = || init.constant(1.0, [2]).unwrap();
    let own = Own {
        r#in: linear(),
        blocks: vec![linear(), linear()],
        extra: Some(Box::new(linear())),
        none: None,
        token: vector(),
        shift: Some(vector()),
        mean: Tensor::zeros(init.device(), [2]).unwrap(),
        _heads: 3,
    };
    let state = own.state();
    let keys: Vec<_> = state.iter().map(|(key, _)| &key[..]).collect();
    assert_eq!(
        keys,
        [
            "in.weight",
            "blocks.0.weight",
            "blocks.1.weight",
            "extra.weight",
            "token",
            "shift",
            "mean",
        ]
    );
    assert_eq!(own.parameters().len(), 6, "a buffer is none");
    // In a list, it is called by its name, and has the shape that it says when it runs.
    let model = Sequential::of(&init, modules![own]);
    let summary = model.summary([3, 2]).unwrap();
    assert_eq!((&summary.rows[0].layer[..], summary.rows[0].output.dims()), ("Own", &[3, 2][..]));
    assert!(model.context().training());
}
