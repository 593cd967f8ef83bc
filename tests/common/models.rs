//! The network in its full and its narrow size, and training it.

use super::compare::Tolerance;
use super::fixture::Fixture;
use super::host::{HostTensor, bits, values};
use signet::dtype::Float;
use signet::nn::{
    BatchNorm2d, Conv2d, Dropout, Flatten, Forward, Layer, Linear, MaxPool2d, Module, ReLU,
    Sequential, State, StateDict, Value, Values,
};
use signet::ops::cross_entropy::{CrossEntropyOptions, cross_entropy};
use signet::optim::{Adam, AdamOptions, Optimizer};
use signet::rng::Philox;
use signet::{Device, Result, Shape, Tensor, layers};
use std::collections::BTreeMap;

/// The ASL network with 5, 7 and 9 channels and 32 hidden units: the same layers and keys.
pub fn narrow(dropout: [f64; 2]) -> Vec<Layer> {
    layers![
        Conv2d::new(1, 5, 3).padding(1),
        BatchNorm2d::new(5),
        ReLU,
        MaxPool2d::new(2),
        Conv2d::new(5, 7, 3).padding(1),
        BatchNorm2d::new(7),
        ReLU,
        Dropout::new(dropout[0]),
        MaxPool2d::new(2),
        Conv2d::new(7, 9, 3).padding(1),
        BatchNorm2d::new(9),
        ReLU,
        MaxPool2d::new(2),
        Flatten,
        Linear::new(81, 32),
        Dropout::new(dropout[1]),
        ReLU,
        Linear::new(32, 24),
    ]
}

/// Pictures `[N, 1, 28, 28]` and their labels `[N]`.
#[derive(Debug, Clone)]
pub struct Batch {
    /// From 0 to 1.
    pub pixels: HostTensor,
    /// From 0 to 23.
    pub labels: HostTensor,
}

impl Batch {
    /// Noise.
    pub fn random(size: usize, seed: u64) -> Self {
        let mut random = Philox::new(seed).sequence(0, 0);
        let mut draw = |n: usize, below| -> Vec<f64> {
            (0..n).map(|_| f64::from(random.below(below))).collect()
        };
        let pixels = HostTensor { shape: vec![size, 1, 28, 28], values: draw(size * 784, 256) };
        let labels = HostTensor { shape: vec![size], values: draw(size, 24) };
        Self { pixels: pixels.scaled(), labels }
    }
}

/// What one forward pass gives.
pub struct Answer<T: Float> {
    /// `[N, 24]`.
    pub logits: Tensor<T>,
    /// The mean cross-entropy.
    pub loss: Tensor<T>,
    /// How many are right.
    pub correct: i32,
}

/// Runs `model` on pixels and labels.
pub fn forward<T: Float>(
    model: &Sequential<T>,
    pixels: &Tensor<T>,
    labels: &HostTensor,
) -> Result<Answer<T>> {
    let logits = model.forward(pixels)?;
    let labels = labels.labels_on(pixels.device());
    let (loss, correct) = cross_entropy(&logits, &labels, &CrossEntropyOptions::default())?;
    Ok(Answer { logits, loss, correct: correct.item()? })
}

/// A model with Adam(1e-3), as the notebook trains it.
pub struct Training<T: Float> {
    /// The model.
    pub model: Sequential<T>,
    /// Its optimizer.
    pub adam: Adam<T>,
}

impl<T: Float> Training<T> {
    /// A new model.
    pub fn new(device: &Device, seed: u64, layers: Vec<Layer>) -> Self {
        let model = Sequential::new(device, seed, layers).expect("the layers can be built");
        let adam = Adam::new(model.arena(), AdamOptions::adam(1e-3)).expect("good options");
        Self { model, adam }
    }

    /// One step; the gradients stay to be looked at.
    pub fn step(&mut self, batch: &Batch) -> Answer<T> {
        let pixels = batch.pixels.on(self.model.arena().device());
        let answer = forward(&self.model, &pixels, &batch.labels).expect("the batch fits");
        self.adam.zero_grad();
        answer.loss.backward().expect("a scalar that was recorded");
        self.adam.step().expect("the device works");
        answer
    }

    /// Parameters, buffers and moments, bit by bit.
    pub fn state_bits(&self) -> Vec<u64> {
        let model = named_state(&self.model).into_values().flat_map(|x| x.values);
        let moments = self.adam.state().expect("the device works").moments;
        let moments = moments.into_iter().flat_map(|(_, x)| x).map(T::as_f64);
        model.chain(moments).map(f64::to_bits).collect()
    }
}

/// Everything that `steps` steps of training on noise leave behind, losses included, bit by bit.
/// The last batch is smaller, as the last of an epoch is.
pub fn training_bits<T: Float>(
    device: &Device,
    seed: u64,
    layers: Vec<Layer>,
    steps: u64,
    batch: usize,
) -> Vec<u64> {
    let mut training = Training::<T>::new(device, seed, layers);
    let mut all = Vec::new();
    for step in 0..steps {
        let size = if step + 1 == steps { batch - 1 } else { batch };
        training.model.context().set_step(step).expect("the device works");
        let answer = training.step(&Batch::random(size, step));
        all.extend(bits(&answer.loss));
    }
    all.extend(training.state_bits());
    all
}

/// The parameters of a model by PyTorch's keys, in order.
pub fn parameters<T: Float>(model: &Sequential<T>) -> Vec<(String, Tensor<T>)> {
    let parameter = |(name, state)| match state {
        State::Parameter(tensor) => Some((name, tensor)),
        State::Buffer(_) | State::Count(_) => None,
    };
    model.state().into_iter().filter_map(parameter).collect()
}

/// The gradients of a model by PyTorch's keys.
pub fn gradients<T: Float>(model: &Sequential<T>) -> BTreeMap<String, Vec<f64>> {
    let gradient = |tensor: &Tensor<T>| tensor.grad().expect("the device works");
    let parameters = parameters(model).into_iter();
    parameters.map(|(key, t)| (key, values(&gradient(&t).expect("backward ran")))).collect()
}

/// A model's values by PyTorch's keys.
pub fn named_state<T: Float>(model: &Sequential<T>) -> BTreeMap<String, HostTensor> {
    let dict = model.state_dict().expect("the device works");
    dict.iter()
        .map(|(key, value)| {
            let shape = value.shape.dims().to_vec();
            (key.to_string(), HostTensor { shape, values: value.values.to_float() })
        })
        .collect()
}

/// Loads the fixture's tensors under `prefix/` into a model.
pub fn load<T: Float>(model: &Sequential<T>, fixture: &Fixture, prefix: &str) -> Result<()> {
    model.load_state_dict(&state_dict(fixture.group(prefix)))
}

/// Host tensors as a state dict.
pub fn state_dict<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a HostTensor)>) -> StateDict {
    let value = |t: &HostTensor| Value {
        shape: Shape::from(&t.shape[..]),
        values: Values::F64(t.values.clone()),
    };
    tensors.into_iter().map(|(key, tensor)| (key.to_string(), value(tensor))).collect()
}

/// The moments of an optimizer by PyTorch's keys: an arena starts every parameter at a multiple of
/// 64 bytes.
pub fn moment<T: Float>(training: &Training<T>, name: &str) -> BTreeMap<String, Vec<f64>> {
    let state = training.adam.state().expect("the device works");
    let (_, flat) = state.moments.iter().find(|(known, _)| known == name).expect("Adam has it");
    let (mut start, step) = (0, 64 / size_of::<T>());
    let mut moments = BTreeMap::new();
    for (key, tensor) in parameters(&training.model) {
        let end = start + tensor.numel();
        moments.insert(key, flat[start..end].iter().map(|x| x.as_f64()).collect());
        start = end.next_multiple_of(step);
    }
    moments
}

/// The biases of the convolutions, each in front of a batch norm: their true gradient is zero, and
/// Adam turns the rounding that remains into steps of up to the learning rate.
pub const BIASES_BEFORE_BATCH_NORM: [&str; 3] = ["0.bias", "4.bias", "9.bias"];

/// How near the values of `key` must be after `steps` Adam(1e-3) steps: `usual` but for what the
/// rounding of those biases moves.
pub fn after_adam<T: Float>(key: &str, steps: u32, usual: Tolerance) -> Tolerance {
    let moved = BIASES_BEFORE_BATCH_NORM.contains(&key) || key.ends_with("running_mean");
    match (moved, T::NAME) {
        (false, _) => usual,
        (true, "float64") => Tolerance::absolute(1e-7),
        (true, _) => Tolerance::absolute(2e-3 * f64::from(steps)),
    }
}
