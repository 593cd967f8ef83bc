//! The gradients of a backward pass: one slot for each node of the tape.
#![forbid(unsafe_code)]

use crate::arena::{Arena, Parameter};
use crate::device::{Device, Memory, Output};
use crate::dtype::{Element, Float};
use crate::tape::NodeId;
use crate::tensor::Tensor;
use crate::{Error, Result, Shape};
use std::cell::RefMut;

/// An arena and its gradients, to write.
type BorrowedArena<'a, D, E> = (&'a Arena<D, E>, RefMut<'a, <D as Memory>::Buffer<E>>);

/// The arenas of some parameters, each borrowed once.
pub(crate) fn borrow_arenas<D: Memory, E: Element>(
    parameters: &[(Parameter<D, E>, NodeId)],
) -> Vec<BorrowedArena<'_, D, E>> {
    let mut arenas: Vec<BorrowedArena<'_, D, E>> = Vec::new();
    for (parameter, _) in parameters {
        if !arenas.iter().any(|(arena, _)| parameter.arena.is(arena)) {
            arenas.push((&parameter.arena, parameter.arena.gradients_mut()));
        }
    }
    arenas
}

/// The gradients of a backward pass under way. An op's backward closure writes its inputs'
/// gradients through it.
pub struct Gradients<'a, D: Memory, E: Element> {
    device: D,
    slots: Vec<Slot<'a, D, E>>,
}

enum Slot<'a, D: Memory, E: Element> {
    /// Nobody has written it yet.
    Empty,
    /// An intermediate gradient, freed as soon as it was used.
    Owned(D::Buffer<E>),
    /// A parameter's gradient, which stays in its arena; `written` in this pass or before.
    Parameter { view: D::ViewMut<'a, E>, written: bool },
}

impl<D: Memory, E: Element> Slot<'_, D, E> {
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

impl<'a, D: Memory, E: Element> Gradients<'a, D, E> {
    /// Empty slots for `nodes` nodes.
    pub(crate) fn new(device: &D, nodes: usize) -> Self {
        Self { device: device.clone(), slots: (0..nodes).map(|_| Slot::Empty).collect() }
    }

    /// Gives each parameter its slice of its arena.
    pub(crate) fn add_parameters(
        &mut self,
        parameters: &[(Parameter<D, E>, NodeId)],
        arenas: &'a mut [BorrowedArena<'_, D, E>],
    ) {
        for (arena, buffer) in arenas {
            let mut own: Vec<_> = parameters.iter().filter(|(p, _)| p.arena.is(arena)).collect();
            own.sort_by_key(|(parameter, _)| parameter.index);
            let (mut rest, mut start) = (D::view_mut(&mut **buffer), 0);
            for (parameter, node) in own {
                let range = parameter.range();
                let (head, tail) = D::split_at(rest, range.end - start);
                let view = D::slice_mut(head, range.start - start..range.end - start);
                self.slots[node.0] = Slot::Parameter { view, written: parameter.has_grad() };
                (rest, start) = (tail, range.end);
            }
        }
    }

    /// Sets the gradient that the pass starts from.
    pub(crate) fn start(&mut self, root: NodeId, gradient: D::Buffer<E>) {
        self.slots[root.0] = Slot::Owned(gradient);
    }

    /// Takes the gradient of a node that an op made, if anything wrote it.
    pub(crate) fn take(&mut self, node: NodeId) -> Option<D::Buffer<E>> {
        match std::mem::replace(&mut self.slots[node.0], Slot::Empty) {
            Slot::Owned(gradient) => Some(gradient),
            Slot::Empty | Slot::Parameter { .. } => None,
        }
    }

    /// Tells the arenas which gradients they hold now; what is left are those of watched tensors.
    pub(crate) fn finish(
        self,
        parameters: &[(Parameter<D, E>, NodeId)],
    ) -> Vec<(NodeId, Tensor<D, E>)> {
        for (parameter, node) in parameters {
            if let Slot::Parameter { written: true, .. } = self.slots[node.0] {
                parameter.set_has_grad();
            }
        }
        let slots = self.slots.into_iter().enumerate();
        slots
            .filter_map(|(node, slot)| {
                let Slot::Owned(buffer) = slot else { return None };
                let shape = Shape::from([D::len(&buffer)]);
                Some((NodeId(node), Tensor::from_buffer(&self.device, buffer, shape)))
            })
            .collect()
    }

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
