//! Leaves and nodes: what a tensor was computed from.

use super::arena::Parameter;
use super::gradients::{Gradients, NodeId};
use super::records;
use crate::device::AnyBuffer;
use crate::dtype::{Element, Float};
use crate::tensor::Tensor;
use crate::{Error, Result, Shape};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where a tensor came from, which decides who is told its gradient.
pub(crate) enum Origin<E: Element> {
    /// No op that was recorded.
    Leaf(Arc<Leaf<E>>),
    /// An op that was.
    Op(Arc<Node<E>>),
}

/// A tensor that no recorded op made: a parameter, an input, a constant.
pub(crate) struct Leaf<E: Element> {
    /// Whether its gradient is wanted.
    pub(super) requires_grad: AtomicBool,
    pub(super) gradient: LeafGradient<E>,
}

/// Where a leaf's gradient accumulates.
pub(super) enum LeafGradient<E: Element> {
    /// In a buffer of its own, which the first gradient makes.
    Own(Mutex<Option<AnyBuffer<E>>>),
    /// In its arena.
    Parameter(Parameter<E>),
}

/// An op that was recorded. The tensor that it made owns it, and it owns the nodes of its inputs:
/// what nobody can reach any more is freed, and nothing that it frees points back to it.
pub(crate) struct Node<E: Element> {
    /// Greater than the numbers of all its inputs.
    pub(super) number: u64,
    /// Of what it made, and so of its gradient.
    pub(super) shape: Shape,
    /// `None`: an input whose gradient nobody wants.
    pub(super) inputs: Vec<Option<Origin<E>>>,
    /// `None` once it has run.
    pub(super) backward: Mutex<Option<Box<Backward<E>>>>,
}

/// Given the slots of an op's inputs and the gradient of its output, tells its inputs theirs.
type Backward<E> =
    dyn FnOnce(&[Option<usize>], Tensor<E>, &mut Gradients<'_, E>) -> Result<()> + Send;

impl<E: Element> Leaf<E> {
    /// Nobody wants its gradient yet.
    pub(crate) fn constant() -> Arc<Self> {
        let gradient = LeafGradient::Own(Mutex::new(None));
        Arc::new(Self { requires_grad: AtomicBool::new(false), gradient })
    }

    pub(super) fn parameter(parameter: Parameter<E>) -> Arc<Self> {
        let gradient = LeafGradient::Parameter(parameter);
        Arc::new(Self { requires_grad: AtomicBool::new(true), gradient })
    }
}

impl<E: Element> Origin<E> {
    /// Whether a backward pass has something to do here.
    pub(super) fn needs_grad(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.requires_grad.load(Ordering::Relaxed),
            Self::Op(_) => true,
        }
    }

    /// Tells it from all others.
    pub(super) fn address(&self) -> *const () {
        match self {
            Self::Leaf(leaf) => Arc::as_ptr(leaf).cast(),
            Self::Op(node) => Arc::as_ptr(node).cast(),
        }
    }
}

/// The number of the next node.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Whether an op on `inputs` is recorded: what only its backward pass needs need not be made
/// otherwise.
pub(crate) fn is_recorded<E: Element>(inputs: &[Option<&Tensor<E>>]) -> bool {
    records() && inputs.iter().flatten().any(|input| input.needs_grad())
}

impl<E: Element> Tensor<E> {
    /// Whether what is computed from it is recorded, for a backward pass to compute its gradient or
    /// that of a tensor it was computed from: PyTorch's `requires_grad`.
    pub fn needs_grad(&self) -> bool {
        self.origin().needs_grad()
    }

    /// This tensor as what an op made of `inputs` (`None`: an optional one that was left out), as
    /// `torch.autograd.Function`: `backward` turns the gradient of the output into theirs.
    ///
    /// It gets the inputs' nodes (`None`: nobody needs that gradient), the gradient, and where to
    /// [pass](Gradients::pass) theirs; what it reads it holds as [`Tensor::save`]d. Inside of
    /// [`no_grad`](crate::no_grad), and where no input needs a gradient, nothing is kept. What it
    /// computes itself is not recorded: gradients of gradients there are none.
    ///
    /// ```
    /// # fn main() -> signet::Result<()> {
    /// use signet::{Device, Result, Tensor, gradcheck};
    ///
    /// /// `exp(x)`, on the host.
    /// fn exp(x: &Tensor<f64>) -> Result<Tensor<f64>> {
    ///     let values: Vec<_> = x.to_vec()?.into_iter().map(f64::exp).collect();
    ///     let y = Tensor::from_slice(x.device(), &values, x.dims())?;
    ///     let saved = y.save("exp", "output");
    ///     Ok(y.with_grad_fn([Some(x)], move |[x], gradient, gradients| {
    ///         // Its derivative is itself.
    ///         gradients.pass(x, gradient.mul(saved.tensor()?)?)
    ///     }))
    /// }
    ///
    /// let x = Tensor::from_slice(&Device::cpu()?, &[-1.0, 0.0, 2.0], [3])?;
    /// gradcheck(|x| exp(&x[0]), &[x], &Default::default())?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_grad_fn<const N: usize>(
        self,
        inputs: [Option<&Self>; N],
        backward: impl FnOnce([Option<NodeId>; N], Tensor<E>, &mut Gradients<'_, E>) -> Result<()>
        + Send
        + 'static,
    ) -> Self {
        self.with_grad_fn_of(&inputs, move |nodes, gradient, gradients| {
            backward(std::array::from_fn(|i| nodes[i]), gradient, gradients)
        })
    }

    /// [`Tensor::with_grad_fn`] for any number of inputs.
    #[must_use]
    pub(crate) fn with_grad_fn_of(
        self,
        inputs: &[Option<&Self>],
        backward: impl FnOnce(&[Option<NodeId>], Tensor<E>, &mut Gradients<'_, E>) -> Result<()>
        + Send
        + 'static,
    ) -> Self {
        if !is_recorded(inputs) {
            return self;
        }
        let of =
            |input: Option<&Self>| input.filter(|x| x.needs_grad()).map(|x| x.origin().clone());
        let numels: Vec<_> = inputs.iter().map(|input| input.map_or(0, Self::numel)).collect();
        let backward: Box<Backward<E>> = Box::new(move |slots, gradient, gradients| {
            let node =
                |(slot, &numel): (&Option<usize>, _)| slot.map(|slot| NodeId { slot, numel });
            let nodes: Vec<_> = slots.iter().zip(&numels).map(node).collect();
            backward(&nodes, gradient, gradients)
        });
        let shape = self.shape().clone();
        self.with_origin(Origin::Op(Arc::new(Node {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            shape,
            inputs: inputs.iter().copied().map(of).collect(),
            backward: Mutex::new(Some(backward)),
        })))
    }
}

impl<T: Float> Tensor<T> {
    /// Sets whether [`Tensor::backward`] computes the gradient of this tensor and all its clones, as
    /// PyTorch's `requires_grad_`, and returns it. A parameter wants its gradient from the start,
    /// until it is frozen with `false`; another tensor is a constant, until it is told `true`.
    ///
    /// # Errors
    /// [`Error::Autograd`] for `false` and a tensor that an op made: [`Tensor::detach`] gives one
    /// that needs no gradient.
    pub fn requires_grad(&self, requires_grad: bool) -> Result<Self> {
        match self.origin() {
            Origin::Leaf(leaf) => leaf.requires_grad.store(requires_grad, Ordering::Relaxed),
            Origin::Op(_) if requires_grad => {}
            Origin::Op(_) => {
                return Err(Error::Autograd(format!(
                    "this {} was computed from what needs a gradient, and so needs one; to go on \
                     without, use `detach`",
                    self.shape()
                )));
            }
        }
        Ok(self.clone())
    }
}

/// A long chain is let go of node by node: one that drops the next would use up the stack.
impl<E: Element> Drop for Node<E> {
    fn drop(&mut self) {
        let mut inputs = std::mem::take(&mut self.inputs);
        while let Some(input) = inputs.pop() {
            if let Some(Origin::Op(node)) = input
                && let Some(mut node) = Arc::into_inner(node)
            {
                inputs.append(&mut node.inputs);
            }
        }
    }
}

impl<E: Element> Clone for Origin<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(Arc::clone(leaf)),
            Self::Op(node) => Self::Op(Arc::clone(node)),
        }
    }
}
