//! The walk: all nodes that a result was computed from, from the highest number down.

use super::gradients::{Gradients, NodeId};
use super::graph::{Leaf, Node, Origin};
use super::no_grad;
use crate::dtype::{Element, Float};
use crate::tensor::Tensor;
use crate::{Error, Result};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

impl<T: Float> Tensor<T> {
    /// Back-propagates from this scalar: its gradient by every parameter and every other
    /// [leaf](Tensor::requires_grad) that it was computed from is added to what that has, for
    /// [`Tensor::grad`] and optimizers.
    ///
    /// # Errors
    /// [`Error::Autograd`] when it is no scalar, needs no gradient, was computed by ops through which
    /// a backward pass has gone before, or from values that were changed since.
    pub fn backward(&self) -> Result<()> {
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
    pub fn backward_with(&self, gradient: &Self) -> Result<()> {
        if gradient.shape() != self.shape() {
            let message = format!("a gradient {} for a tensor {}", gradient.shape(), self.shape());
            return Err(Error::shape("backward", message));
        }
        if !self.needs_grad() {
            return Err(Error::Autograd(
                "nothing was recorded: this was computed inside of `no_grad`, or from constants and \
                 frozen parameters alone; `requires_grad(true)` before the forward pass says whose \
                 gradient is wanted"
                    .into(),
            ));
        }
        let reachable = Reachable::from(self.origin())?;
        let mut arenas = reachable.borrow_arenas()?;
        let mut gradients = Gradients::new(self.device(), reachable.nodes.len());
        gradients.add_leaves(&reachable.leaves, &mut arenas);
        let root = reachable.slot(self.origin());
        let root = root.map(|slot| NodeId { slot, numel: self.numel() });
        gradients.pass(root, gradient.detach())?;
        let result = no_grad(|| reachable.walk(&mut gradients));
        gradients.finish(&reachable.leaves);
        result
    }
}

/// What a result was computed from, as far as gradients are wanted.
pub(super) struct Reachable<E: Element> {
    /// From the highest number down.
    nodes: Vec<Arc<Node<E>>>,
    pub(super) leaves: Vec<Arc<Leaf<E>>>,
    /// Of their gradients: nodes first, then leaves.
    slots: HashMap<*const (), usize>,
}

impl<E: Element> Reachable<E> {
    fn from(root: &Origin<E>) -> Result<Self> {
        let (mut nodes, mut leaves, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        let mut open = vec![root.clone()];
        while let Some(origin) = open.pop() {
            // A leaf may have been frozen since.
            if !origin.needs_grad() || !seen.insert(origin.address()) {
                continue;
            }
            match origin {
                Origin::Leaf(leaf) => leaves.push(leaf),
                Origin::Op(node) if node.backward.lock().is_none() => {
                    return Err(Error::Autograd(
                        "backward already ran through some of what this was computed from, and what \
                         it needs is freed: run the forward pass again, or add losses that share it \
                         before one `backward`"
                            .into(),
                    ));
                }
                Origin::Op(node) => {
                    open.extend(node.inputs.iter().flatten().cloned());
                    nodes.push(node);
                }
            }
        }
        nodes.sort_unstable_by_key(|node| Reverse(node.number));
        let nodes_first = nodes.iter().cloned().map(Origin::Op);
        let all = nodes_first.chain(leaves.iter().cloned().map(Origin::Leaf)).enumerate();
        let slots = all.map(|(i, origin)| (origin.address(), i)).collect();
        Ok(Self { nodes, leaves, slots })
    }

    fn slot(&self, origin: &Origin<E>) -> Option<usize> {
        self.slots.get(&origin.address()).copied()
    }

    fn walk(&self, gradients: &mut Gradients<'_, E>) -> Result<()> {
        for (i, node) in self.nodes.iter().enumerate() {
            // An op may have had no gradient to give.
            let Some(gradient) = gradients.take(i, &node.shape) else { continue };
            let backward = node.backward.lock().take();
            let Some(backward) = backward else { continue };
            let of = |input: &Option<Origin<E>>| input.as_ref().and_then(|x| self.slot(x));
            let inputs: Vec<_> = node.inputs.iter().map(of).collect();
            backward(&inputs, gradient, gradients)?;
        }
        Ok(())
    }
}
