//! Values that a backward pass needs, and whether they are still the same.

use crate::dtype::Element;
use crate::tensor::{Reading, Tensor};
use crate::{Error, Result, Shape};

/// A tensor as a forward pass found it, for its backward pass to read: see [`Tensor::save`].
pub struct SavedTensor<E: Element = f32> {
    tensor: Tensor<E>,
    version: u64,
    op: &'static str,
    role: &'static str,
}

impl<E: Element> Tensor<E> {
    /// Keeps it for the backward pass of `op`, to which it is its `role` ("weight"). The memory is
    /// shared; [`SavedTensor::tensor`] is an error should it have been written meanwhile.
    pub fn save(&self, op: &'static str, role: &'static str) -> SavedTensor<E> {
        SavedTensor { tensor: self.detach(), version: self.version(), op, role }
    }
}

impl<E: Element> SavedTensor<E> {
    /// The tensor, as a constant.
    ///
    /// # Errors
    /// [`Error::Autograd`], naming it, when it was written since it was saved.
    pub fn tensor(&self) -> Result<&Tensor<E>> {
        if self.tensor.version() == self.version {
            return Ok(&self.tensor);
        }
        let Self { tensor, op, role, .. } = self;
        let name = tensor.name().map_or(String::new(), |name| format!("{name}, "));
        Err(Error::Autograd(format!(
            "the backward pass of {op} needs its {role} ({name}{}) as the forward pass found it, and \
             it was changed since, as by an optimizer's step, `set` or `load_state_dict`: call \
             `backward` before that, or run the forward pass again",
            tensor.shape()
        )))
    }

    /// Its shape.
    pub(crate) fn shape(&self) -> &Shape {
        self.tensor.shape()
    }

    /// The number of its elements.
    pub fn numel(&self) -> usize {
        self.tensor.numel()
    }

    /// Borrows it for a kernel.
    pub(crate) fn read(&self) -> Result<Reading<'_, E>> {
        Ok(self.tensor()?.read())
    }

    /// Borrows it for a kernel that takes it, and reads it where it is `needed`.
    pub(crate) fn read_if(&self, needed: bool) -> Result<Reading<'_, E>> {
        if needed { self.read() } else { Ok(self.tensor.read()) }
    }
}
