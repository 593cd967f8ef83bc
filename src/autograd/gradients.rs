//! The gradients of a backward pass: one slot for each node that it goes through.

use super::arena::{Arena, Parameter};
use super::backward::Reachable;
use super::graph::{Leaf, LeafGradient, Origin};
use crate::device::{AnyBuffer, AnyView, AnyViewMut, Backend, Device, Output, elsewhere};
use crate::dtype::{Element, Float};
use crate::ops::binary::BinaryKernels;
use crate::tensor::Tensor;
use crate::{Error, Result, Shape};
use parking_lot::RwLockWriteGuard;
use std::sync::Arc;

/// Where a backward pass keeps the gradient of an op's input, if somebody wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId {
    pub(super) slot: usize,
    /// The number of the gradient's elements.
    pub(super) numel: usize,
}

/// An arena and its gradients, to write.
pub(super) type BorrowedArena<'a, E> = (&'a Arena<E>, RwLockWriteGuard<'a, AnyBuffer<E>>);

impl<E: Element> Leaf<E> {
    pub(super) fn as_parameter(&self) -> Option<&Parameter<E>> {
        match &self.gradient {
            LeafGradient::Parameter(parameter) => Some(parameter),
            LeafGradient::Own(_) => None,
        }
    }
}

impl<E: Element> Reachable<E> {
    /// The arenas of the parameters, each borrowed once.
    pub(super) fn borrow_arenas(&self) -> Result<Vec<BorrowedArena<'_, E>>> {
        let mut arenas: Vec<BorrowedArena<'_, E>> = Vec::new();
        for parameter in self.leaves.iter().filter_map(|leaf| leaf.as_parameter()) {
            if !arenas.iter().any(|(arena, _)| parameter.arena.is(arena)) {
                arenas.push((&parameter.arena, parameter.arena.gradients_mut()?));
            }
        }
        Ok(arenas)
    }
}

/// The gradients of a backward pass under way, through which an op's backward closure hands on those of
/// its inputs: see [`Tensor::with_grad_fn`].
pub struct Gradients<'a, E: Element> {
    device: Device,
    slots: Vec<Slot<'a, E>>,
}

enum Slot<'a, E: Element> {
    /// Nobody has written it yet.
    Empty,
    /// An intermediate gradient, freed as soon as it was used.
    Owned(AnyBuffer<E>),
    /// A parameter's gradient, which stays in its arena; `written` in this pass or before.
    Parameter { view: AnyViewMut<'a, E>, written: bool },
}

impl<E: Element> Slot<'_, E> {
    /// Where to write this gradient of `len` elements, allocated for the first writer.
    fn output(&mut self, device: &Device, len: usize) -> Result<Output<'_, Device, E>> {
        let accumulate = match self {
            Self::Empty => {
                *self = Self::Owned(device.alloc(len)?);
                false
            }
            Self::Owned(_) => true,
            Self::Parameter { written, .. } => std::mem::replace(written, true),
        };
        let view = match self {
            Self::Owned(buffer) => Device::view_mut(buffer),
            Self::Parameter { view, .. } => Device::reborrow(view),
            Self::Empty => unreachable!("filled above"),
        };
        Ok(Output { view, accumulate })
    }
}

impl<'a, E: Element> Gradients<'a, E> {
    /// Empty slots for `nodes` nodes.
    pub(super) fn new(device: &Device, nodes: usize) -> Self {
        Self { device: device.clone(), slots: (0..nodes).map(|_| Slot::Empty).collect() }
    }

    /// Gives each leaf a slot with what has accumulated so far: a parameter its slice of its arena.
    pub(super) fn add_leaves(
        &mut self,
        leaves: &[Arc<Leaf<E>>],
        arenas: &'a mut [BorrowedArena<'_, E>],
    ) {
        let first = self.slots.len();
        self.slots.extend(leaves.iter().map(|leaf| match &leaf.gradient {
            LeafGradient::Own(gradient) => gradient.lock().take().map_or(Slot::Empty, Slot::Owned),
            LeafGradient::Parameter(_) => Slot::Empty,
        }));
        for (arena, buffer) in arenas {
            let parameters = leaves.iter().enumerate().filter_map(|(i, leaf)| {
                leaf.as_parameter().filter(|p| p.arena.is(arena)).map(|p| (first + i, p))
            });
            let mut own: Vec<_> = parameters.collect();
            own.sort_by_key(|(_, parameter)| parameter.index);
            let (mut rest, mut start) = (Device::view_mut(&mut **buffer), 0);
            for (slot, parameter) in own {
                let range = parameter.range();
                let (head, tail) = Device::split_at(rest, range.end - start);
                let view = Device::slice_mut(head, range.start - start..range.end - start);
                self.slots[slot] = Slot::Parameter { view, written: parameter.has_grad() };
                (rest, start) = (tail, range.end);
            }
        }
    }

    /// Takes the gradient in `slot`, of a node that an op made, if anything wrote it.
    pub(super) fn take(&mut self, slot: usize, shape: &Shape) -> Option<Tensor<E>> {
        match std::mem::replace(&mut self.slots[slot], Slot::Empty) {
            Slot::Owned(gradient) => {
                Some(Tensor::from_buffer(&self.device, gradient, shape.clone()))
            }
            Slot::Empty | Slot::Parameter { .. } => None,
        }
    }

    /// Hands the leaves, whose slots are the last ones, what they have now.
    pub(super) fn finish(mut self, leaves: &[Arc<Leaf<E>>]) {
        let slots = self.slots.split_off(self.slots.len() - leaves.len());
        for (leaf, slot) in leaves.iter().zip(slots) {
            match (&leaf.gradient, slot) {
                (LeafGradient::Own(gradient), Slot::Owned(buffer)) => {
                    *gradient.lock() = Some(buffer);
                }
                (LeafGradient::Parameter(parameter), Slot::Parameter { written: true, .. }) => {
                    parameter.set_has_grad(true);
                }
                _ => {}
            }
        }
    }

    /// Where an op writes the gradient of its input `node`, of `len` elements; `None` when nobody
    /// needs it.
    ///
    /// # Errors
    /// [`Error::Device`] without memory.
    pub(crate) fn output(
        &mut self,
        node: Option<NodeId>,
        len: usize,
    ) -> Result<Option<Output<'_, Device, E>>> {
        node.map(|node| self.slots[node.slot].output(&self.device, len)).transpose()
    }

    /// [`Gradients::output`] for several inputs whose gradients one kernel writes together.
    ///
    /// # Errors
    /// [`Error::Autograd`] when two of them are the same tensor; [`Error::Device`] without memory.
    pub(crate) fn outputs<const N: usize>(
        &mut self,
        nodes: [(Option<NodeId>, usize); N],
    ) -> Result<[Option<Output<'_, Device, E>>; N]> {
        let mut outputs = [const { None }; N];
        let mut wanted: Vec<_> =
            (0..N).filter_map(|i| nodes[i].0.map(|node| (node.slot, i))).collect();
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

impl<T: Float> Gradients<'_, T> {
    /// Hands `gradient` on to an input, which must have as many elements; several for one input are
    /// added. Where nobody needs it (`None`) it does nothing.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of elements; [`Error::Device`] when the device fails, or it lies
    /// on another one.
    pub fn pass(&mut self, node: Option<NodeId>, gradient: Tensor<T>) -> Result<()> {
        let Some(NodeId { slot, numel }) = node else { return Ok(()) };
        if gradient.numel() != numel {
            let message =
                format!("a gradient {} for an input of {numel} elements", gradient.shape());
            return Err(Error::shape("backward", message));
        }
        if !gradient.device().shares_memory(&self.device) {
            return Err(elsewhere(&self.device.name(), &gradient.device().name()));
        }
        if let empty @ Slot::Empty = &mut self.slots[slot] {
            *empty = Slot::Owned(gradient.into_buffer()?);
            return Ok(());
        }
        let output = self.slots[slot].output(&self.device, numel)?;
        self.device.accumulate(gradient.read().view(), output)
    }
}

impl<E: Element> Tensor<E> {
    /// A copy of its gradient, the sum of all backward passes since [`Tensor::zero_grad`]; `None`
    /// where there was none, and for what an op made.
    ///
    /// # Errors
    /// [`Error::Device`] when the device fails, [`Error::Autograd`] in the middle of a backward pass.
    pub fn grad(&self) -> Result<Option<Self>> {
        let Origin::Leaf(leaf) = self.origin() else { return Ok(None) };
        let copy_of = |gradient: AnyView<'_, E>| {
            let mut copy = self.device().alloc(self.numel())?;
            self.device().copy(gradient, Device::view_mut(&mut copy))?;
            Ok(Self::from_buffer(self.device(), copy, self.shape().clone()))
        };
        match &leaf.gradient {
            LeafGradient::Own(gradient) => {
                gradient.lock().as_ref().map(|own| copy_of(Device::view(own))).transpose()
            }
            LeafGradient::Parameter(parameter) if parameter.has_grad() => {
                let gradients = parameter.arena.gradients()?;
                copy_of(Device::slice(Device::view(&gradients), parameter.range())).map(Some)
            }
            LeafGradient::Parameter(_) => Ok(None),
        }
    }

    /// Forgets its gradient: the next backward pass starts anew.
    pub fn zero_grad(&self) {
        let Origin::Leaf(leaf) = self.origin() else { return };
        match &leaf.gradient {
            LeafGradient::Own(gradient) => drop(gradient.lock().take()),
            LeafGradient::Parameter(parameter) => parameter.set_has_grad(false),
        }
    }
}
