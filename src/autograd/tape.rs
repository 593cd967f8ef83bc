//! The autograd tape.
//!
//! An op that reads a recorded tensor leaves an [`Entry`] on that tensor's tape: which node it
//! made, and a closure that turns the node's gradient into gradients of the op's inputs. Ops run
//! in an order that computes inputs first, so walking the entries once in reverse meets every
//! node after all its uses: that is back-propagation.
//!
//! ```
//! # use signet::{Cpu, Tape, Tensor};
//! # fn main() -> signet::Result<()> {
//! let device = Cpu::new(None)?;
//! let tape = Tape::new();
//! let x = tape.watch(&Tensor::from_slice(&device, &[2.0_f64, 3.0], [2])?);
//! let y = x.mul(&x)?.sum()?; // x0^2 + x1^2
//! let gradients = y.backward()?;
//! assert_eq!(gradients.of(&x).expect("x is watched").to_vec()?, [4.0, 6.0]);
//! # Ok(()) }
//! ```
//!
//! There is no global switch: a tensor that is on no tape records nothing, so inference needs no
//! `no_grad`. [`Tape::no_grad`] exists for the middle of a recorded computation.
#![forbid(unsafe_code)]

use crate::arena::Parameter;
use crate::autograd::gradients::{Gradients, borrow_arenas};
use crate::device::{Device, Memory};
use crate::dtype::{Element, Float};
use crate::tensor::{Origin, Tensor};
use crate::{Error, Result};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A place on a tape whose gradient somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeId(pub(crate) usize);

/// A recording of ops, from which one backward pass can be run. Clones share it.
pub struct Tape<D: Memory, E: Element>(Rc<Recording<D, E>>);

struct Recording<D: Memory, E: Element> {
    entries: RefCell<Vec<Entry<D, E>>>,
    nodes: Cell<usize>,
    /// The parameters that were read, and their nodes.
    parameters: RefCell<Vec<(Parameter<D, E>, NodeId)>>,
    paused: Cell<bool>,
    spent: Cell<bool>,
}

/// One op that ran.
struct Entry<D: Memory, E: Element> {
    output: NodeId,
    backward: Box<Backward<D, E>>,
}

/// Given the gradient of an op's output, tells its inputs theirs.
type Backward<D, E> = dyn FnOnce(<D as Memory>::Buffer<E>, &mut Gradients<'_, D, E>) -> Result<()>;

impl<D: Memory, E: Element> Tape<D, E> {
    /// An empty tape.
    pub fn new() -> Self {
        Self(Rc::new(Recording {
            entries: RefCell::default(),
            nodes: Cell::new(0),
            parameters: RefCell::default(),
            paused: Cell::new(false),
            spent: Cell::new(false),
        }))
    }

    /// `tensor`, from where recording starts; its own gradient is not computed. For the input of a
    /// network.
    pub fn input(&self, tensor: &Tensor<D, E>) -> Tensor<D, E> {
        tensor.detach().with_origin(Origin::Recorded { tape: self.clone(), node: None })
    }

    /// `tensor`, from where recording starts, its own gradient wanted.
    pub fn watch(&self, tensor: &Tensor<D, E>) -> Tensor<D, E> {
        let node = Some(self.node());
        tensor.detach().with_origin(Origin::Recorded { tape: self.clone(), node })
    }

    /// Runs `work` without recording what it computes.
    pub fn no_grad<R>(&self, work: impl FnOnce() -> R) -> R {
        let before = self.0.paused.replace(true);
        let result = work();
        self.0.paused.set(before);
        result
    }

    fn node(&self) -> NodeId {
        NodeId(self.0.nodes.replace(self.0.nodes.get() + 1))
    }

    /// The node of `tensor` on this tape, if its gradient is needed.
    fn node_of(&self, tensor: &Tensor<D, E>) -> Result<Option<NodeId>> {
        match tensor.origin() {
            Origin::Constant => Ok(None),
            Origin::Recorded { tape, node } if Rc::ptr_eq(&tape.0, &self.0) => Ok(*node),
            Origin::Recorded { .. } => Err(Error::Autograd(
                "an op got tensors of two tapes; start both from one `Tape`".into(),
            )),
            Origin::Parameter(parameter) => {
                let mut parameters = self.0.parameters.borrow_mut();
                if let Some((_, node)) = parameters.iter().find(|(known, _)| known.is(parameter)) {
                    return Ok(Some(*node));
                }
                let node = self.node();
                parameters.push((parameter.clone(), node));
                Ok(Some(node))
            }
        }
    }

    /// Whether an op on `inputs` would be recorded: what only its backward pass needs need not be
    /// made otherwise.
    pub fn is_recording<const N: usize>(inputs: [Option<&Tensor<D, E>>; N]) -> bool {
        Self::recording(inputs).is_some()
    }

    /// The tape that records an op on `inputs`.
    fn recording<const N: usize>(inputs: [Option<&Tensor<D, E>>; N]) -> Option<&Self> {
        inputs.into_iter().flatten().find_map(|input| match input.origin() {
            Origin::Recorded { tape, .. } if !tape.0.paused.get() => Some(tape),
            _ => None,
        })
    }

    /// Records that an op made `output` from `inputs` (`None`: an optional one that was left out).
    ///
    /// `backward` gets the inputs' nodes (`None`: nobody needs that gradient) with the gradient of
    /// the output. It must hold inputs only as [`Tensor::detach`]ed clones, or the tape would hold
    /// itself. When no input is recorded, or none needs a gradient, nothing is kept.
    ///
    /// # Errors
    /// [`Error::Autograd`] when the inputs are on different tapes or the tape was already used.
    pub fn record<const N: usize>(
        inputs: [Option<&Tensor<D, E>>; N],
        output: Tensor<D, E>,
        backward: impl FnOnce([Option<NodeId>; N], D::Buffer<E>, &mut Gradients<'_, D, E>) -> Result<()>
        + 'static,
    ) -> Result<Tensor<D, E>> {
        let Some(tape) = Self::recording(inputs) else { return Ok(output) };
        if tape.0.spent.get() {
            return Err(Error::Autograd(
                "backward already ran on this tape; a new step needs a new `Tape`".into(),
            ));
        }
        let mut nodes = [None; N];
        for (node, input) in nodes.iter_mut().zip(inputs) {
            *node = input.map_or(Ok(None), |input| tape.node_of(input))?;
        }
        let mut node = None;
        if nodes.iter().any(Option::is_some) {
            let output = tape.node();
            node = Some(output);
            let backward =
                Box::new(move |gradient: D::Buffer<E>, gradients: &mut Gradients<'_, D, E>| {
                    backward(nodes, gradient, gradients)
                });
            tape.0.entries.borrow_mut().push(Entry { output, backward });
        }
        Ok(output.with_origin(Origin::Recorded { tape: tape.clone(), node }))
    }
}

impl<D: Device<T>, T: Float> Tensor<D, T> {
    /// Back-propagates from this scalar: the gradients of all parameters it was computed from are
    /// added to their arenas, those of watched tensors are returned.
    ///
    /// # Errors
    /// [`Error::Autograd`] when it is no scalar, is on no tape, or the tape was already used.
    pub fn backward(&self) -> Result<Watched<D, T>> {
        crate::support::unoptimised::notice();
        if self.numel() != 1 {
            let message = format!(
                "backward starts from a scalar, this is {}; reduce it with `sum` or `mean`, or use `backward_with`",
                self.shape()
            );
            return Err(Error::Autograd(message));
        }
        self.backward_with(&Tensor::from_slice(self.device(), &[T::one()], self.shape().clone())?)
    }

    /// Back-propagates `gradient`, of this tensor's shape, from this tensor.
    ///
    /// # Errors
    /// As [`Tensor::backward`]; [`Error::Shape`] when the shapes differ.
    pub fn backward_with(&self, gradient: &Tensor<D, T>) -> Result<Watched<D, T>> {
        if gradient.shape() != self.shape() {
            let message = format!("a gradient {} for a tensor {}", gradient.shape(), self.shape());
            return Err(Error::shape("backward", message));
        }
        let Origin::Recorded { tape, node: Some(root) } = self.origin() else {
            return Err(Error::Autograd(
                "nothing was recorded: start the computation from `tape.input(..)` or `tape.watch(..)`".into(),
            ));
        };
        if tape.0.spent.replace(true) {
            return Err(Error::Autograd("backward already ran on this tape".into()));
        }
        let parameters = tape.0.parameters.take();
        let mut arenas = borrow_arenas(&parameters);
        let mut gradients = Gradients::new(self.device(), tape.0.nodes.get());
        gradients.add_parameters(&parameters, &mut arenas);
        gradients.start(*root, gradient.copy_buffer()?);
        for entry in tape.0.entries.take().into_iter().rev() {
            // A node that the result does not depend on has no gradient.
            if let Some(gradient) = gradients.take(entry.output) {
                (entry.backward)(gradient, &mut gradients)?;
            }
        }
        Ok(Watched { tape: tape.clone(), gradients: gradients.finish(&parameters) })
    }

    /// A copy of the values in memory of its own.
    fn copy_buffer(&self) -> Result<D::Buffer<T>> {
        let mut copy = self.device().alloc(self.numel())?;
        self.device().copy(self.read().view(), D::view_mut(&mut copy))?;
        Ok(copy)
    }
}

/// The gradients of the tensors that were watched.
pub struct Watched<D: Memory, E: Element> {
    tape: Tape<D, E>,
    gradients: Vec<(NodeId, Tensor<D, E>)>,
}

impl<D: Memory, E: Element> Watched<D, E> {
    /// The gradient of a tensor that [`Tape::watch`] returned; `None` when the result does not
    /// depend on it.
    pub fn of(&self, tensor: &Tensor<D, E>) -> Option<Tensor<D, E>> {
        let Origin::Recorded { tape, node: Some(node) } = tensor.origin() else { return None };
        let (_, gradient) = self.gradients.iter().find(|(known, _)| known == node)?;
        Rc::ptr_eq(&tape.0, &self.tape.0).then(|| gradient.detach_as(tensor.shape().clone()))
    }
}

impl<D: Memory, E: Element> Clone for Tape<D, E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<D: Memory, E: Element> Default for Tape<D, E> {
    fn default() -> Self {
        Self::new()
    }
}
