//! Flat arenas: all parameters of a model in one buffer, all their gradients in another.
//!
//! An optimizer then updates a whole model in one pass (one launch on a GPU), and a checkpoint of
//! its moments is one tensor.
#![forbid(unsafe_code)]

use crate::device::Memory;
use crate::dtype::Element;
use crate::tensor::{Origin, Shared, Tensor};
use crate::{Result, Shape};
use std::cell::{Ref, RefCell, RefMut};
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

/// Every parameter starts at a multiple of this many bytes: a cache line, and more than any load.
const ALIGNMENT: usize = 64;

/// The parameters of a model and their gradients, each in one flat buffer. Clones share both.
pub struct Arena<D: Memory, E: Element>(Rc<Inner<D, E>>);

struct Inner<D: Memory, E: Element> {
    device: D,
    values: Shared<D, E>,
    gradients: RefCell<D::Buffer<E>>,
    slots: RefCell<Vec<ArenaSlot>>,
}

#[derive(Debug, Clone)]
struct ArenaSlot {
    range: Range<usize>,
    /// Whether the gradient holds something: `zero_grad` clears this and no memory, and the next
    /// writer overwrites.
    has_grad: bool,
}

/// A parameter's place in its arena.
pub struct Parameter<D: Memory, E: Element> {
    pub(crate) arena: Arena<D, E>,
    pub(crate) index: usize,
}

impl<D: Memory, E: Element> Arena<D, E> {
    /// An empty arena on `device`.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device fails.
    pub fn new(device: &D) -> Result<Self> {
        Ok(Self(Rc::new(Inner {
            device: device.clone(),
            values: Rc::new(RefCell::new(device.alloc(0)?)),
            gradients: RefCell::new(device.alloc(0)?),
            slots: RefCell::default(),
        })))
    }

    /// Appends a parameter that starts as `values`; what is computed from it can be differentiated.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when the values do not fill the shape, and
    /// [`Error::Device`](crate::Error::Device) without memory.
    pub fn parameter(&self, values: &[E], shape: impl Into<Shape>) -> Result<Tensor<D, E>> {
        let shape = shape.into();
        let inner = &*self.0;
        let start = self.len();
        let end = start + values.len();
        let capacity = end.next_multiple_of(ALIGNMENT / size_of::<E>());
        {
            let mut old = inner.values.borrow_mut();
            if D::len(&old) < capacity {
                // Doubling keeps the copying of a whole model linear.
                let mut grown = inner.device.alloc(capacity.max(2 * D::len(&old)))?;
                inner.device.zero(D::view_mut(&mut grown))?;
                let head = D::slice_mut(D::view_mut(&mut grown), 0..start);
                inner.device.copy(D::slice(D::view(&old), 0..start), head)?;
                *old = grown;
                let mut gradients = inner.device.alloc(D::len(&old))?;
                inner.device.zero(D::view_mut(&mut gradients))?;
                let head = D::slice_mut(D::view_mut(&mut gradients), 0..start);
                let before = &mut *inner.gradients.borrow_mut();
                inner.device.copy(D::slice(D::view(before), 0..start), head)?;
                *before = gradients;
            }
        }
        let tensor = Tensor::from_shared(&inner.device, Rc::clone(&inner.values), start, shape);
        tensor.set(values)?;
        let mut slots = inner.slots.borrow_mut();
        slots.push(ArenaSlot { range: start..end, has_grad: false });
        let parameter = Parameter { arena: self.clone(), index: slots.len() - 1 };
        Ok(tensor.with_origin(Origin::Parameter(parameter)))
    }

    /// The device that holds it.
    pub fn device(&self) -> &D {
        &self.0.device
    }

    /// The length of the flat buffers in use, padding included.
    pub fn len(&self) -> usize {
        let slots = self.0.slots.borrow();
        slots.last().map_or(0, |slot| slot.range.end.next_multiple_of(ALIGNMENT / size_of::<E>()))
    }

    /// Whether it holds no parameter.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the gradients, as `optimizer.zero_grad(set_to_none=True)`: the next backward pass
    /// overwrites them.
    pub fn zero_grad(&self) {
        self.0.slots.borrow_mut().iter_mut().for_each(|slot| slot.has_grad = false);
    }

    /// The runs of the flat buffers whose parameters have a gradient: what an optimizer updates.
    /// One run for a whole model, as a rule.
    pub(crate) fn runs_with_grad(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let slots = self.0.slots.borrow();
        for (i, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.has_grad) {
            let end = slots.get(i + 1).map_or_else(|| self.len(), |next| next.range.start);
            match runs.last_mut() {
                Some(run) if run.end == slot.range.start => run.end = end,
                _ => runs.push(slot.range.start..end),
            }
        }
        runs
    }

    pub(crate) fn values_mut(&self) -> RefMut<'_, D::Buffer<E>> {
        self.0.values.borrow_mut()
    }

    pub(crate) fn gradients(&self) -> Ref<'_, D::Buffer<E>> {
        self.0.gradients.borrow()
    }

    pub(crate) fn gradients_mut(&self) -> RefMut<'_, D::Buffer<E>> {
        self.0.gradients.borrow_mut()
    }

    /// Whether two handles are the same arena.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<D: Memory, E: Element> Parameter<D, E> {
    /// Its elements in the flat buffers.
    pub(crate) fn range(&self) -> Range<usize> {
        self.arena.0.slots.borrow()[self.index].range.clone()
    }

    pub(crate) fn has_grad(&self) -> bool {
        self.arena.0.slots.borrow()[self.index].has_grad
    }

    pub(crate) fn set_has_grad(&self) {
        self.arena.0.slots.borrow_mut()[self.index].has_grad = true;
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.index == other.index && self.arena.is(&other.arena)
    }
}

impl<D: Memory, E: Element> Tensor<D, E> {
    /// A copy of a parameter's accumulated gradient; `None` after `zero_grad` and for other tensors.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when the device fails.
    pub fn grad(&self) -> Result<Option<Tensor<D, E>>> {
        let Origin::Parameter(parameter) = self.origin() else { return Ok(None) };
        if !parameter.has_grad() {
            return Ok(None);
        }
        let mut copy = self.device().alloc(self.numel())?;
        let gradients = parameter.arena.gradients();
        let source = D::slice(D::view(&gradients), parameter.range());
        self.device().copy(source, D::view_mut(&mut copy))?;
        Ok(Some(Tensor::from_buffer(self.device(), copy, self.shape().clone())))
    }
}

impl<D: Memory, E: Element> fmt::Debug for Arena<D, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({} {}, {})", self.len(), E::NAME, self.device().name())
    }
}

impl<D: Memory, E: Element> Clone for Arena<D, E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<D: Memory, E: Element> Clone for Parameter<D, E> {
    fn clone(&self) -> Self {
        Self { arena: self.arena.clone(), index: self.index }
    }
}
