//! A training step of any model, run by the device as one thing.

use super::repeated::{Graphs, Repeated};
use crate::autograd::Arena;
use crate::device::{Backend, Device, KernelRun, Output};
use crate::dtype::{Element, Float};
use crate::nn::{Context, Module};
use crate::ops::binary::BinaryKernels;
use crate::optim::{Ema, Optimizer, clip_grad_norm_};
use crate::{Error, Result, Shape, Tensor};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A training step of any model: loss, gradients, update. On a GPU it is one CUDA graph: the first step of a
/// shape runs as it is, which also compiles its kernels, the second is captured, and from then on one launch
/// does all of it, with the same results to the last bit. It is to a training loop what `torch.compile`
/// is.
///
/// ```
/// # fn main() -> signet::Result<()> {
/// use signet::nn::{Forward, Linear, ReLU, Sequential};
/// use signet::ops::cross_entropy::cross_entropy;
/// use signet::optim::{Adam, AdamOptions};
/// use signet::train::TrainStep;
/// use signet::{Device, Tensor, layers};
///
/// let device = Device::auto()?;
/// let model = Sequential::new(&device, 0, layers![Linear::new(2, 16), ReLU, Linear::new(16, 2)])?;
/// let optimizer = Adam::new(model.arena(), AdamOptions::adam(0.05))?;
/// let mut step = TrainStep::new(&model, model.context(), optimizer, |(x, y): &(Tensor, Tensor<i32>)| {
///     Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
/// })?;
/// // Exclusive or.
/// let x = Tensor::from_slice(&device, &[0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [4, 2])?;
/// let y = Tensor::from_slice(&device, &[0, 1, 1, 0], [4])?;
/// let batch = (x, y);
/// for _ in 0..100 {
///     step.run(&batch)?;
/// }
/// assert!(step.run(&batch)?.item()? < 0.05);
/// # Ok(()) }
/// ```
///
/// What changes from step to step must lie in device memory for that: the batch, which is copied to where
/// the graph reads it, the number of the step, which dropout draws its masks by, and the learning rate. A
/// loss that reads values on the host, as [`Tensor::item`] does, cannot be captured: the steps then run
/// one by one, and [`TrainStep::eager_because`] says why.
pub struct TrainStep<'a, I: Inputs, T: Float = f32> {
    model: Box<dyn Module<T> + 'a>,
    context: Context,
    optimizer: Box<dyn Optimizer<T> + 'a>,
    average: Option<&'a mut Ema<T>>,
    /// Whose gradients are kept within which norm.
    clip: Option<(Arena<T>, f64)>,
    loss: Box<Loss<'a, I, T>>,
    /// The number of the step, `[1]`.
    number: Tensor<u64>,
    /// The gradient of a batch's loss, a scalar: 1, or the batch's share of an update.
    share: Tensor<T>,
    /// Batches of an update, and how many of the next one's are done.
    accumulate: (usize, usize),
    /// The sum of all losses that [`TrainStep::mean_loss`] has not told yet, a scalar, and their number.
    total: Tensor<T>,
    losses: u64,
    graphs: Graphs,
    steps: HashMap<Kind, Step<I, T>>,
}

/// Steps that are one graph: the shapes of their inputs, and whether they begin and whether they end an
/// update.
type Kind = (Vec<Shape>, bool, bool);

type Loss<'a, I, T> = dyn FnMut(&I) -> Result<Tensor<T>> + 'a;

/// A step of one kind. Its addresses stay, as a graph knows them.
struct Step<I, T: Float> {
    inputs: I,
    loss: Tensor<T>,
    repeated: Repeated,
}

impl<'a, I: Inputs, T: Float> TrainStep<'a, I, T> {
    /// The step that has `optimizer` make the scalar that `loss` makes of a batch smaller, for the
    /// parameters of `model`, whose layers are told of each step by `context`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(
        model: &'a impl Module<T>,
        context: &Context,
        optimizer: impl Optimizer<T> + 'a,
        loss: impl FnMut(&I) -> Result<Tensor<T>> + 'a,
    ) -> Result<Self> {
        let device = context.device();
        Ok(Self {
            model: Box::new(model),
            optimizer: Box::new(optimizer),
            average: None,
            clip: None,
            loss: Box::new(loss),
            number: Tensor::from_slice(&device, &[context.step()], [1])?,
            share: Tensor::from_slice(&device, &[T::one()], Shape::default())?,
            accumulate: (1, 0),
            total: Tensor::zeros(&device, Shape::default())?,
            losses: 0,
            context: context.clone(),
            graphs: Graphs { enabled: true, ..Graphs::default() },
            steps: HashMap::new(),
        })
    }

    /// Has `batches` batches make one update, by the mean of their gradients: as one of all their rows, with
    /// the memory of one. 1 from the start.
    ///
    /// # Errors
    /// [`Error::Argument`] for 0, and when the device fails.
    pub fn accumulate(&mut self, batches: usize) -> Result<()> {
        if batches == 0 {
            return Err(Error::argument("accumulate", "must be at least 1, got 0"));
        }
        self.accumulate = (batches, 0);
        self.share.set(&[T::one() / T::of(batches as f64)])
    }

    /// Scales the gradients of `arena` before each update, so that their 2-norm together is at most
    /// `max_norm`: see [`clip_grad_norm_`].
    pub fn clip_grad_norm(&mut self, arena: &Arena<T>, max_norm: f64) {
        self.clip = Some((arena.clone(), max_norm));
    }

    /// Has each update move `average` on too.
    pub fn average(&mut self, average: &'a mut Ema<T>) {
        self.average = Some(average);
    }

    /// Makes a step on `inputs` and returns its loss, a scalar that nobody has waited for. The next step of
    /// these shapes overwrites it.
    ///
    /// # Errors
    /// Those of the loss, of its gradients, which want a scalar, and of the optimizer.
    pub fn run(&mut self, inputs: &I) -> Result<Tensor<T>> {
        let device = self.context.device();
        let kind = self.kind(inputs);
        let (first, last) = (kind.1, kind.2);
        let step = match self.steps.entry(kind) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let loss = Tensor::zeros(&device, Shape::default())?;
                place.insert(Step { inputs: inputs.like()?, loss, repeated: Repeated::New })
            }
        };
        step.inputs.set(inputs)?;
        let number = self.context.step() + 1;
        self.number.set(&[number])?;
        let (context, optimizer, loss) = (&self.context, &mut self.optimizer, &mut self.loss);
        let average = &mut self.average;
        let Step { inputs, loss: result, repeated } = step;
        repeated.run(&device, &self.model, &mut self.graphs, || {
            context.follow(number, self.number.clone());
            let loss = loss(inputs)?;
            if first {
                optimizer.zero_grad();
            }
            loss.backward_with(&self.share)?;
            if last {
                if let Some((arena, max_norm)) = &self.clip {
                    clip_grad_norm_(arena, *max_norm, 2.0)?;
                }
                optimizer.step()?;
                average.as_mut().map_or(Ok(()), |average| average.update())?;
            }
            device.copy(loss.read().view(), result.write().view_mut())?;
            let mut total = self.total.write();
            let total = Output { view: total.view_mut(), accumulate: true };
            device.accumulate(loss.read().view(), total)
        })?;
        // A graph that runs again calls nothing on the host.
        self.context.follow(number, self.number.clone());
        let (batches, done) = &mut self.accumulate;
        *done = (*done + 1) % *batches;
        self.losses += 1;
        Ok(result.clone())
    }

    /// Makes a step on `inputs` as [`TrainStep::run`] does, kernel by kernel even where such steps are a graph, and
    /// returns the kernels in order: on a GPU those of the graph, with the grid of each. What they cost is what
    /// each declares. A trace that the caller has on the device ends.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::nn::{Forward, Linear, Sequential};
    /// use signet::ops::elementwise_loss::mse_loss;
    /// use signet::ops::cross_entropy::Reduction;
    /// use signet::optim::{Sgd, SgdOptions};
    /// use signet::train::TrainStep;
    /// use signet::{Device, Tensor, layers};
    ///
    /// let device = Device::auto()?;
    /// let model = Sequential::new(&device, 0, layers![Linear::new(2, 1)])?;
    /// let sgd = Sgd::new(model.arena(), SgdOptions::new(0.1))?;
    /// let mut step = TrainStep::new(&model, model.context(), sgd, |(x, y): &(Tensor, Tensor)| {
    ///     mse_loss(&model.forward(x)?, y, Reduction::Mean)
    /// })?;
    /// let batch = (Tensor::zeros(&device, [4, 2])?, Tensor::zeros(&device, [4, 1])?);
    /// for kernel in step.plan(&batch)? {
    ///     println!("{:24} {:6} FLOP, {:6} bytes", kernel.name, kernel.cost.flops, kernel.cost.bytes);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`TrainStep::run`].
    pub fn plan(&mut self, inputs: &I) -> Result<Vec<KernelRun>> {
        let device = self.context.device();
        let enabled = std::mem::replace(&mut self.graphs.enabled, false);
        let known = self.kind(inputs);
        // What was captured would be replayed, and a replay launches no kernel.
        let captured = self.steps.remove(&known);
        device.start_trace();
        let done = self.run(inputs);
        let kernels = device.take_trace();
        self.graphs.enabled = enabled;
        if let Some(captured) = captured {
            self.steps.insert(known, captured);
        }
        done.map(|_| kernels)
    }

    /// What a step on `inputs` would be.
    fn kind(&self, inputs: &I) -> Kind {
        let (batches, done) = self.accumulate;
        (inputs.shapes(), done == 0, done + 1 == batches)
    }

    /// The mean of the losses since it was last asked for; NaN without any. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Device`] when the device failed.
    pub fn mean_loss(&mut self) -> Result<f64> {
        let total = self.total.item()?;
        self.total.set(&[T::zero()])?;
        Ok(total.as_f64() / std::mem::take(&mut self.losses) as f64)
    }

    /// The model.
    pub fn model(&self) -> &(dyn Module<T> + 'a) {
        &*self.model
    }

    /// Training or evaluation mode, for all layers.
    pub(super) fn train(&self, mode: bool) {
        self.context.train(mode);
    }

    /// The optimizer, to set a learning rate or save its state.
    pub fn optimizer(&mut self) -> &mut (dyn Optimizer<T> + 'a) {
        &mut *self.optimizer
    }

    /// Whether steps are captured as graphs where the device has such, as they are from the start.
    pub fn use_graphs(&mut self, enabled: bool) {
        self.graphs.enabled = enabled;
    }

    /// Why steps run one by one on a device that has graphs; `None` where they do not.
    pub fn eager_because(&self) -> Option<&str> {
        self.graphs.gave_up.as_deref()
    }
}

/// What a step is given: a tensor, or a tuple of up to three.
pub trait Inputs: Sized {
    /// Their shapes.
    fn shapes(&self) -> Vec<Shape>;

    /// Memory for as many.
    ///
    /// # Errors
    /// When the device fails.
    fn like(&self) -> Result<Self>;

    /// Overwrites the values with those of `other`, of the same shapes.
    ///
    /// # Errors
    /// When the device fails.
    fn set(&self, other: &Self) -> Result<()>;
}

impl<E: Element> Inputs for Tensor<E> {
    fn shapes(&self) -> Vec<Shape> {
        vec![self.shape().clone()]
    }

    fn like(&self) -> Result<Self> {
        Self::zeros(self.device(), self.shape().clone())
    }

    fn set(&self, other: &Self) -> Result<()> {
        Device::copy(self.device(), other.read().view(), self.write().view_mut())
    }
}

macro_rules! tuples {
    ($(($($name:ident $at:tt),*);)*) => {
        $(impl<$($name: Inputs),*> Inputs for ($($name,)*) {
            fn shapes(&self) -> Vec<Shape> {
                [$(self.$at.shapes()),*].concat()
            }

            fn like(&self) -> Result<Self> {
                Ok(($(self.$at.like()?,)*))
            }

            fn set(&self, other: &Self) -> Result<()> {
                $(self.$at.set(&other.$at)?;)*
                Ok(())
            }
        })*
    };
}
tuples! {
    (A 0, B 1);
    (A 0, B 1, C 2);
}
