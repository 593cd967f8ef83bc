//! Flat arenas: all parameters of a model in one buffer, all their gradients in another.
//!
//! An optimizer then updates a whole model in one pass (one launch on a GPU), and a checkpoint of
//! its moments is one tensor.

use super::graph::{Leaf, Origin};
use crate::device::{AnyBuffer, Backend, Device};
use crate::dtype::Element;
use crate::tensor::{Identity, SharedBuffer, Tensor};
use crate::{Error, Result, Shape};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Every parameter starts at a multiple of this many bytes: a cache line, and more than any load.
const ALIGNMENT: usize = 64;

/// The parameters of a model and their gradients, each in one flat buffer. Clones share both.
pub struct Arena<E: Element = f32>(Arc<Inner<E>>);

struct Inner<E: Element> {
    device: Device,
    values: SharedBuffer<E>,
    gradients: RwLock<AnyBuffer<E>>,
    slots: RwLock<Vec<ArenaSlot>>,
}

struct ArenaSlot {
    range: Range<usize>,
    /// Whether the gradient holds something: `zero_grad` clears this and no memory, and the next
    /// writer overwrites.
    has_grad: bool,
    identity: Arc<Identity>,
}

/// A parameter's place in its arena.
pub(crate) struct Parameter<E: Element> {
    pub(crate) arena: Arena<E>,
    pub(crate) index: usize,
}

impl<E: Element> Arena<E> {
    /// An empty arena on `device`.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device fails.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            device: device.clone(),
            values: Arc::new(RwLock::new(device.alloc(0)?)),
            gradients: RwLock::new(device.alloc(0)?),
            slots: RwLock::default(),
        })))
    }

    /// Appends a parameter that starts as `values`; what is computed from it can be differentiated.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the values do not fill the shape, and
    /// [`Error::Device`](crate::Error::Device) without memory.
    pub fn parameter(&self, values: &[E], shape: impl Into<Shape>) -> Result<Tensor<E>> {
        let shape = shape.into();
        let inner = &*self.0;
        // Whoever adds another at once waits.
        let mut slots = inner.slots.write();
        let start = used::<E>(&slots);
        let end = start + values.len();
        let capacity = end.next_multiple_of(ALIGNMENT / size_of::<E>());
        {
            let mut old = inner.values.write();
            if Device::len(&old) < capacity {
                // Doubling keeps the copying of a whole model linear.
                let len = capacity.max(2 * Device::len(&old));
                let gradients = &mut *self.gradients_mut()?;
                *old = inner.device.grown(&old, len)?;
                *gradients = inner.device.grown(gradients, len)?;
            }
        }
        let index = slots.len();
        let identity = Identity::named(format!("parameter {index}"));
        let tensor = Tensor::from_shared(&inner.device, Arc::clone(&inner.values), start, shape);
        let tensor = tensor.with_identity(Arc::clone(&identity));
        tensor.set(values)?;
        slots.push(ArenaSlot { range: start..end, has_grad: false, identity });
        let parameter = Parameter { arena: self.clone(), index };
        Ok(tensor.with_origin(Origin::Leaf(Leaf::parameter(parameter))))
    }

    /// The device that holds it.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// The length of the flat buffers in use, padding included.
    pub fn len(&self) -> usize {
        used::<E>(&self.0.slots.read())
    }

    /// Whether it holds no parameter.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the gradients, as `optimizer.zero_grad(set_to_none=True)`: the next backward pass
    /// overwrites them.
    pub fn zero_grad(&self) {
        self.0.slots.write().iter_mut().for_each(|slot| slot.has_grad = false);
    }

    /// How many parameters it holds.
    pub(crate) fn parameters(&self) -> usize {
        self.0.slots.read().len()
    }

    /// The number of `tensor` among them, if it is one of them.
    pub(crate) fn index_of(&self, tensor: &Tensor<E>) -> Option<usize> {
        let Origin::Leaf(leaf) = tensor.origin() else { return None };
        leaf.as_parameter().filter(|parameter| parameter.arena.is(self)).map(|p| p.index)
    }

    /// The elements of a parameter in the flat buffers.
    pub(crate) fn range_of(&self, parameter: usize) -> Range<usize> {
        self.0.slots.read()[parameter].range.clone()
    }

    /// The runs of neighbouring parameters that have a gradient: what an optimizer updates. One run for
    /// a whole model, as a rule.
    pub(crate) fn runs_with_grad(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let slots = self.0.slots.read();
        for (i, _) in slots.iter().enumerate().filter(|(_, slot)| slot.has_grad) {
            match runs.last_mut() {
                Some(run) if run.end == i => run.end = i + 1,
                _ => runs.push(i..i + 1),
            }
        }
        runs
    }

    /// Says that these parameters were written.
    pub(crate) fn changed(&self, parameters: Range<usize>) {
        self.0.slots.read()[parameters].iter().for_each(|slot| slot.identity.changed());
    }

    pub(crate) fn values_mut(&self) -> RwLockWriteGuard<'_, AnyBuffer<E>> {
        self.0.values.write()
    }

    pub(crate) fn gradients(&self) -> Result<RwLockReadGuard<'_, AnyBuffer<E>>> {
        self.0.gradients.try_read().ok_or_else(in_use)
    }

    pub(crate) fn gradients_mut(&self) -> Result<RwLockWriteGuard<'_, AnyBuffer<E>>> {
        self.0.gradients.try_write().ok_or_else(in_use)
    }

    /// Whether two handles are the same arena.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<E: Element> Parameter<E> {
    /// Its elements in the flat buffers.
    pub(super) fn range(&self) -> Range<usize> {
        self.arena.0.slots.read()[self.index].range.clone()
    }

    pub(super) fn has_grad(&self) -> bool {
        self.arena.0.slots.read()[self.index].has_grad
    }

    pub(super) fn set_has_grad(&self, has_grad: bool) {
        self.arena.0.slots.write()[self.index].has_grad = has_grad;
    }
}

/// The elements that `slots` take, padding included.
fn used<E>(slots: &[ArenaSlot]) -> usize {
    slots.last().map_or(0, |slot| slot.range.end.next_multiple_of(ALIGNMENT / size_of::<E>()))
}

/// A backward pass writes the gradients, and has something done that wants them.
fn in_use() -> Error {
    Error::Autograd(
        "gradients are being computed; look at them when `backward` has returned".into(),
    )
}

impl<E: Element> fmt::Debug for Arena<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({} {}, {})", self.len(), E::NAME, self.device().name())
    }
}

impl<E: Element> Clone for Arena<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
