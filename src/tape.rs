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

use crate::arena::{Arena, Parameter};
use crate::device::{Device, Memory, Output};
use crate::dtype::{Element, Float};
use crate::tensor::{Origin, Tensor};
use crate::{Error, Result, Shape};
use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

/// A place on a tape whose gradient somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeId(usize);

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

/// An arena and its gradients, to write.
type BorrowedArena<'a, D, E> = (&'a Arena<D, E>, RefMut<'a, <D as Memory>::Buffer<E>>);

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
        let Some(tape) = inputs.iter().flatten().find_map(|input| match input.origin() {
            Origin::Recorded { tape, .. } if !tape.0.paused.get() => Some(tape),
            _ => None,
        }) else {
            return Ok(output);
        };
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
        let device = self.device();
        let parameters = tape.0.parameters.take();
        // One borrow per arena, cut into the slices of its parameters.
        let mut arenas: Vec<BorrowedArena<'_, D, T>> = Vec::new();
        for (parameter, _) in &parameters {
            if !arenas.iter().any(|(arena, _)| parameter.arena.is(arena)) {
                arenas.push((&parameter.arena, parameter.arena.gradients_mut()));
            }
        }
        let mut gradients = Gradients {
            device: device.clone(),
            slots: (0..tape.0.nodes.get()).map(|_| Slot::Empty).collect(),
        };
        for (arena, buffer) in &mut arenas {
            let mut own: Vec<_> = parameters.iter().filter(|(p, _)| p.arena.is(arena)).collect();
            own.sort_by_key(|(parameter, _)| parameter.index);
            let (mut rest, mut start) = (D::view_mut(&mut **buffer), 0);
            for (parameter, node) in own {
                let range = parameter.range();
                let (head, tail) = D::split_at(rest, range.end - start);
                let view = D::slice_mut(head, range.start - start..range.end - start);
                let written = parameter.has_grad();
                gradients.slots[node.0] = Slot::Parameter { view, written };
                (rest, start) = (tail, range.end);
            }
        }

        gradients.slots[root.0] = Slot::Owned(gradient.copy_buffer()?);
        for entry in tape.0.entries.take().into_iter().rev() {
            if let Slot::Owned(gradient) = gradients.slots[entry.output.0].take() {
                (entry.backward)(gradient, &mut gradients)?;
            }
        }

        let mut watched = Vec::new();
        let Gradients { slots, .. } = gradients;
        for (node, slot) in slots.into_iter().enumerate() {
            match slot {
                Slot::Empty => {}
                Slot::Owned(gradient) => watched.push((NodeId(node), gradient)),
                Slot::Parameter { written: false, .. } => {}
                Slot::Parameter { written: true, .. } => {
                    parameters
                        .iter()
                        .filter(|(_, n)| n.0 == node)
                        .for_each(|(p, _)| p.set_has_grad());
                }
            }
        }
        let gradients = watched
            .into_iter()
            .map(|(node, buffer)| {
                let shape = Shape::from([D::len(&buffer)]);
                (node, Tensor::from_buffer(device, buffer, shape))
            })
            .collect();
        Ok(Watched { tape: tape.clone(), gradients })
    }

    /// A copy of the values in memory of its own.
    fn copy_buffer(&self) -> Result<D::Buffer<T>> {
        let mut copy = self.device().alloc(self.numel())?;
        self.device().copy(self.read().view(), D::view_mut(&mut copy))?;
        Ok(copy)
    }
}

/// The gradients of a backward pass under way. An op's backward closure writes its inputs'
/// gradients through it.
pub struct Gradients<'a, D: Memory, E: Element> {
    device: D,
    slots: Vec<Slot<'a, D, E>>,
}

enum Slot<'a, D: Memory, E: Element> {
    Empty,
    Owned(D::Buffer<E>),
    Parameter { view: D::ViewMut<'a, E>, written: bool },
}

impl<D: Memory, E: Element> Slot<'_, D, E> {
    /// Takes a gradient that lives in the pass; a parameter's stays in its arena.
    fn take(&mut self) -> Self {
        match self {
            Self::Owned(_) => std::mem::replace(self, Self::Empty),
            _ => Self::Empty,
        }
    }

    /// Where to write this gradient of `len` elements, allocated for the first writer.
    fn output(&mut self, device: &D, len: usize) -> Result<Output<'_, D, E>> {
        let accumulate = match self {
            Self::Empty => {
                *self = Self::Owned(device.alloc(len)?);
                false
            }
            Self::Owned(_) => true,
            Self::Parameter { written, .. } => std::mem::replace(written, true),
        };
        let view = match self {
            Self::Owned(buffer) => D::view_mut(buffer),
            Self::Parameter { view, .. } => D::reborrow(view),
            Self::Empty => unreachable!("filled above"),
        };
        Ok(Output { view, accumulate })
    }
}

impl<D: Memory, E: Element> Gradients<'_, D, E> {
    /// Where an op writes the gradient of its input `node`, of `len` elements; `None` when nobody
    /// needs it.
    ///
    /// # Errors
    /// [`Error::Device`] without memory.
    pub fn output(&mut self, node: Option<NodeId>, len: usize) -> Result<Option<Output<'_, D, E>>> {
        node.map(|node| self.slots[node.0].output(&self.device, len)).transpose()
    }

    /// [`Gradients::output`] for several inputs whose gradients one kernel writes together.
    ///
    /// # Errors
    /// [`Error::Autograd`] when two of them are the same tensor; [`Error::Device`] without memory.
    pub fn outputs<const N: usize>(
        &mut self,
        nodes: [(Option<NodeId>, usize); N],
    ) -> Result<[Option<Output<'_, D, E>>; N]> {
        let mut outputs = [const { None }; N];
        let mut wanted: Vec<_> =
            (0..N).filter_map(|i| nodes[i].0.map(|node| (node.0, i))).collect();
        wanted.sort_unstable();
        let (mut rest, mut start) = (&mut self.slots[..], 0);
        for (node, i) in wanted {
            if node < start {
                return Err(Error::Autograd(
                    "one tensor was given as two parameters of an op; give a copy".into(),
                ));
            }
            let (head, tail) = rest.split_at_mut(node + 1 - start);
            let len = nodes[i].1;
            outputs[i] = Some(head[node - start].output(&self.device, len)?);
            (rest, start) = (tail, node + 1);
        }
        Ok(outputs)
    }
}

impl<D: Device<T>, T: Float> Gradients<'_, D, T> {
    /// Hands on a gradient that needs no change: moved for the first writer, added for others.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails.
    pub fn pass(&mut self, node: Option<NodeId>, gradient: D::Buffer<T>) -> Result<()> {
        let Some(node) = node else { return Ok(()) };
        if let slot @ Slot::Empty = &mut self.slots[node.0] {
            *slot = Slot::Owned(gradient);
            return Ok(());
        }
        let output = self.slots[node.0].output(&self.device, D::len(&gradient))?;
        self.device.accumulate(D::view(&gradient), output)
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
