use crate::device::Backend;
use crate::dtype::Float;
use crate::nn::{Context, Forward, Init, Module, State};
use crate::ops::batch_norm2d::{
    Statistics, Tracked, batch_norm2d, batch_norm2d_add_relu, batch_norm2d_relu, check_eps,
};
use crate::ops::index32;
use crate::{Error, Result, Shape, Tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// `torch.nn.BatchNorm2d`.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::{Device, Tensor, layers};
/// use signet::nn::{BatchNorm2d, Forward, Sequential};
///
/// let device = Device::cpu()?;
/// let model = Sequential::<f32>::new(&device, 0, layers![BatchNorm2d::new(25)])?;
/// let x = Tensor::zeros(&device, [8, 25, 14, 14])?;
/// assert_eq!(model.forward(&x)?.dims(), [8, 25, 14, 14]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm2d {
    /// Channels of the input.
    pub num_features: usize,
    /// Added to the variance.
    pub eps: f64,
    /// The share of a new batch in the running statistics; `None` averages all batches alike.
    pub momentum: Option<f64>,
    /// Whether a scale and a shift are learned.
    pub affine: bool,
    /// Whether a shift is learned beside the scale; without `affine`, neither is.
    pub bias: bool,
    /// Whether running statistics are kept; without them a batch's own serve in evaluation too.
    pub track_running_stats: bool,
}

impl BatchNorm2d {
    /// Batch normalisation with eps 1e-5, momentum 0.1, a scale and a shift.
    pub fn new(num_features: usize) -> Self {
        Self {
            num_features,
            eps: 1e-5,
            momentum: Some(0.1),
            affine: true,
            bias: true,
            track_running_stats: true,
        }
    }

    /// Added to the variance.
    pub fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// The share of a new batch in the running statistics; `None` averages all batches alike.
    pub fn momentum(self, momentum: impl Into<Option<f64>>) -> Self {
        Self { momentum: momentum.into(), ..self }
    }

    /// Whether a scale and a shift are learned.
    pub fn affine(self, affine: bool) -> Self {
        Self { affine, ..self }
    }

    /// Whether a shift is learned beside the scale; without [`BatchNorm2d::affine`], neither is.
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// Whether running statistics are kept.
    pub fn track_running_stats(self, track_running_stats: bool) -> Self {
        Self { track_running_stats, ..self }
    }

    /// Scale and running variance start at 1, shift and running mean at 0.
    ///
    /// # Errors
    /// [`Error::Argument`] for an eps that is not positive and a momentum that is no number,
    /// [`Error::Shape`] for more channels than kernels index, and when the device fails.
    pub fn build<T: Float>(&self, init: &Init<T>) -> Result<BatchNorm2dModule<T>> {
        check_eps(self.eps)?;
        if let Some(momentum) = self.momentum.filter(|momentum| !momentum.is_finite()) {
            let message = format!("must be a number, got {momentum}");
            return Err(Error::argument("momentum", message));
        }
        index32("batch_norm2d", self.num_features)?;
        let shape = [self.num_features];
        let weight = self.affine.then(|| init.constant(1.0, shape)).transpose()?;
        let bias = (self.affine && self.bias).then(|| init.constant(0.0, shape)).transpose()?;
        let buffer = |value| {
            let values = vec![T::of(value); self.num_features];
            let tensor = || Tensor::from_slice(init.device(), &values, shape);
            self.track_running_stats.then(tensor).transpose()
        };
        Ok(BatchNorm2dModule {
            weight,
            bias,
            running_mean: buffer(0.0)?,
            running_var: buffer(1.0)?,
            num_batches_tracked: self.track_running_stats.then(Arc::default),
            momentum: self.momentum,
            eps: self.eps,
            context: init.context().clone(),
        })
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        match input.expect("batch_norm2d", "[N, C, H, W]")? {
            [_, channels, _, _] if channels == self.num_features => Ok(input.clone()),
            _ => {
                let message = format!("input {input} for num_features = {}", self.num_features);
                Err(Error::shape("batch_norm2d", message))
            }
        }
    }
}

/// A [`BatchNorm2d`] with its parameters and running statistics, `[num_features]` each.
#[derive(Debug)]
pub struct BatchNorm2dModule<T: Float = f32> {
    /// The learned scale.
    pub weight: Option<Tensor<T>>,
    /// The learned shift.
    pub bias: Option<Tensor<T>>,
    /// The running mean.
    pub running_mean: Option<Tensor<T>>,
    /// The running unbiased variance.
    pub running_var: Option<Tensor<T>>,
    num_batches_tracked: Option<Arc<AtomicU64>>,
    momentum: Option<f64>,
    eps: f64,
    context: Context,
}

impl<T: Float> BatchNorm2dModule<T> {
    /// Added to the variance.
    pub(crate) fn eps(&self) -> f64 {
        self.eps
    }

    /// What a forward pass in the present mode normalises with.
    ///
    /// # Errors
    /// While a graph is captured, without a momentum: each batch has another share then.
    pub(crate) fn statistics(&self) -> Result<Statistics<'_, T>> {
        let running = self.running_mean.as_ref().zip(self.running_var.as_ref());
        Ok(match (self.context.training(), running) {
            (false, Some((mean, var))) => Statistics::Running(mean, var),
            (true, Some((mean, var))) => {
                let batches =
                    self.num_batches_tracked.as_ref().map_or(0, |n| n.load(Ordering::Relaxed) + 1);
                let momentum = match self.momentum {
                    Some(momentum) => momentum,
                    None => {
                        let what = "batch normalisation that averages all batches alike";
                        mean.device().refuse_in_graph(what)?;
                        1.0 / batches as f64
                    }
                };
                Statistics::Batch { running: Some(Tracked { mean, var, momentum }) }
            }
            (_, None) => Statistics::Batch { running: None },
        })
    }

    /// `forward(input).relu()` in one pass. A [`Sequential`](crate::nn::Sequential) does so by itself.
    ///
    /// # Errors
    /// As [`Forward::forward`].
    pub fn forward_relu(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        self.normalise(|weight, bias, statistics| {
            batch_norm2d_relu(input, weight, bias, statistics, self.eps)
        })
    }

    /// `forward(input).add(residual).relu()` in one pass: the end of a residual block.
    ///
    /// # Errors
    /// As [`Forward::forward`], and [`Error::Shape`] for a residual that is not of the input's shape.
    pub fn forward_add_relu(&self, input: &Tensor<T>, residual: &Tensor<T>) -> Result<Tensor<T>> {
        self.normalise(|weight, bias, statistics| {
            batch_norm2d_add_relu(input, weight, bias, statistics, self.eps, residual)
        })
    }

    /// What `op` makes of scale, shift and statistics; the batch is counted.
    fn normalise(
        &self,
        op: impl FnOnce(Option<&Tensor<T>>, Option<&Tensor<T>>, Statistics<'_, T>) -> Result<Tensor<T>>,
    ) -> Result<Tensor<T>> {
        let output = op(self.weight.as_ref(), self.bias.as_ref(), self.statistics()?)?;
        self.count_batch();
        Ok(output)
    }

    /// Counts a batch that the running statistics saw.
    pub(crate) fn count_batch(&self) {
        if let Some(batches) = self.num_batches_tracked.as_ref().filter(|_| self.context.training())
        {
            batches.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<T: Float> Module<T> for BatchNorm2dModule<T> {
    fn state(&self) -> Vec<(String, State<T>)> {
        let mut state =
            State::parameters([("weight", self.weight.as_ref()), ("bias", self.bias.as_ref())]);
        let buffers = [("running_mean", &self.running_mean), ("running_var", &self.running_var)];
        for (name, buffer) in buffers {
            state
                .extend(buffer.as_ref().map(|buffer| (name.into(), State::Buffer(buffer.clone()))));
        }
        let count = self.num_batches_tracked.as_ref();
        state.extend(count.map(|n| ("num_batches_tracked".into(), State::Count(Arc::clone(n)))));
        state
    }
}

impl<T: Float> Forward<T> for BatchNorm2dModule<T> {
    fn forward(&self, input: &Tensor<T>) -> Result<Tensor<T>> {
        self.normalise(|weight, bias, statistics| {
            batch_norm2d(input, weight, bias, statistics, self.eps)
        })
    }
}
