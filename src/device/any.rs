//! The memory of a [`Device`]: that of whichever device it is.
#![forbid(unsafe_code)]

use super::cuda::{CudaBuffer, CudaGraph, CudaPending, CudaView, CudaViewMut};
use super::{Backend, Cpu, CpuBuffer, Cuda, Device, On, Pending};
use crate::dtype::Element;
use crate::{Error, Result};
use std::ops::Range;

/// A [`Backend::Buffer`] of either device.
pub(crate) enum AnyBuffer<E: Element> {
    /// On the CPU.
    Cpu(CpuBuffer<E>),
    /// On a GPU.
    Cuda(CudaBuffer<E>),
}

/// A [`Backend::View`] of either device.
#[derive(Clone, Copy)]
pub(crate) enum AnyView<'a, E: Element> {
    /// On the CPU.
    Cpu(&'a [E]),
    /// On a GPU.
    Cuda(CudaView<'a, E>),
}

/// A [`Backend::ViewMut`] of either device.
pub(crate) enum AnyViewMut<'a, E: Element> {
    /// On the CPU.
    Cpu(&'a mut [E]),
    /// On a GPU.
    Cuda(CudaViewMut<'a, E>),
}

/// A [`Backend::Graph`]: only GPUs have such a thing.
pub(crate) struct AnyGraph(CudaGraph);

/// A [`Backend::Pending`] of either device.
pub(crate) enum AnyPending<E: Element> {
    /// On the CPU: it is there.
    Cpu(Vec<E>),
    /// From a GPU.
    Cuda(CudaPending<E>),
}

/// The same for either device: `either!(Device(self), device => ..)`; with `as AnyView` the result is of
/// the same device.
macro_rules! either {
    ($what:ident($value:expr), $name:ident => $work:expr) => {
        match $value {
            $what::Cpu($name) => $work,
            $what::Cuda($name) => $work,
        }
    };
    ($what:ident($value:expr) as $result:ident, $name:ident => $work:expr) => {
        match $value {
            $what::Cpu($name) => $result::Cpu($work),
            $what::Cuda($name) => $result::Cuda($work),
        }
    };
    // `$of` is the device, for what needs no handle of it.
    ($what:ident($value:expr) as $result:ident, $name:ident of $of:ident => $work:expr) => {
        match $value {
            $what::Cpu($name) => {
                type $of = Cpu;
                $result::Cpu($work)
            }
            $what::Cuda($name) => {
                type $of = Cuda;
                $result::Cuda($work)
            }
        }
    };
}

/// That work on `device` was given a tensor on `other`.
pub(crate) fn elsewhere(device: &str, other: &str) -> Error {
    let message = format!(
        "a tensor on {other} was given to work on {device}: all tensors of an op must be on one device; \
         make it there, by `Tensor::from_slice`"
    );
    Error::Device { device: device.into(), message }
}

impl Backend for Device {
    type Buffer<E: Element> = AnyBuffer<E>;
    type View<'a, E: Element> = AnyView<'a, E>;
    type ViewMut<'a, E: Element> = AnyViewMut<'a, E>;
    type Graph = AnyGraph;
    type Pending<E: Element> = AnyPending<E>;

    fn name(&self) -> String {
        either!(Device(self), device => device.name())
    }

    fn alloc<E: Element>(&self, len: usize) -> Result<AnyBuffer<E>> {
        Ok(either!(Device(self) as AnyBuffer, device => device.alloc(len)?))
    }

    fn write<E: Element>(&self, target: AnyViewMut<'_, E>, host: &[E]) -> Result<()> {
        either!(Device(self), device => device.write(target.on(device)?, host))
    }

    fn read<E: Element>(&self, source: AnyView<'_, E>) -> Result<Vec<E>> {
        either!(Device(self), device => device.read(source.on(device)?))
    }

    fn read_later<E: Element>(&self, source: AnyView<'_, E>) -> Result<AnyPending<E>> {
        Ok(either!(Device(self) as AnyPending, device => device.read_later(source.on(device)?)?))
    }

    fn copy<E: Element>(&self, source: AnyView<'_, E>, target: AnyViewMut<'_, E>) -> Result<()> {
        either!(Device(self), device => device.copy(source.on(device)?, target.on(device)?))
    }

    fn zero<E: Element>(&self, target: AnyViewMut<'_, E>) -> Result<()> {
        either!(Device(self), device => device.zero(target.on(device)?))
    }

    fn synchronize(&self) -> Result<()> {
        either!(Device(self), device => device.synchronize())
    }

    fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Option<AnyGraph>> {
        match self {
            Self::Cpu(_) => Ok(None),
            Self::Cuda(cuda) => Ok(cuda.capture(work)?.map(AnyGraph)),
        }
    }

    fn replay(&self, graph: &AnyGraph) -> Result<()> {
        match self {
            Self::Cpu(_) => Err(elsewhere("cpu", "a GPU")),
            Self::Cuda(cuda) => cuda.replay(&graph.0),
        }
    }

    fn refuse_in_graph(&self, what: &str) -> Result<()> {
        either!(Device(self), device => device.refuse_in_graph(what))
    }

    fn view_of<'a, E: Element>(&self, view: AnyView<'a, E>) -> Result<AnyView<'a, E>> {
        Ok(view)
    }

    fn view_mut_of<'a, E: Element>(&self, view: AnyViewMut<'a, E>) -> Result<AnyViewMut<'a, E>> {
        Ok(view)
    }

    fn len<E: Element>(buffer: &AnyBuffer<E>) -> usize {
        match buffer {
            AnyBuffer::Cpu(buffer) => Cpu::len(buffer),
            AnyBuffer::Cuda(buffer) => Cuda::len(buffer),
        }
    }

    fn view<E: Element>(buffer: &AnyBuffer<E>) -> AnyView<'_, E> {
        either!(AnyBuffer(buffer) as AnyView, buffer of D => D::view(buffer))
    }

    fn view_mut<E: Element>(buffer: &mut AnyBuffer<E>) -> AnyViewMut<'_, E> {
        either!(AnyBuffer(buffer) as AnyViewMut, buffer of D => D::view_mut(buffer))
    }

    fn slice<'a, E: Element>(view: Self::View<'a, E>, range: Range<usize>) -> Self::View<'a, E> {
        either!(AnyView(view) as AnyView, view of D => D::slice(view, range))
    }

    fn reborrow<'s, E: Element>(view: &'s mut AnyViewMut<'_, E>) -> AnyViewMut<'s, E> {
        either!(AnyViewMut(view) as AnyViewMut, view of D => D::reborrow(view))
    }

    fn split_at<'a, E: Element>(
        view: Self::ViewMut<'a, E>,
        at: usize,
    ) -> (Self::ViewMut<'a, E>, Self::ViewMut<'a, E>) {
        match view {
            AnyViewMut::Cpu(view) => {
                let (head, tail) = Cpu::split_at(view, at);
                (AnyViewMut::Cpu(head), AnyViewMut::Cpu(tail))
            }
            AnyViewMut::Cuda(view) => {
                let (head, tail) = Cuda::split_at(view, at);
                (AnyViewMut::Cuda(head), AnyViewMut::Cuda(tail))
            }
        }
    }
}

impl<E: Element> Pending<E> for AnyPending<E> {
    fn is_ready(&self) -> Result<bool> {
        either!(AnyPending(self), pending => pending.is_ready())
    }

    fn wait(self) -> Result<Vec<E>> {
        either!(AnyPending(self), pending => pending.wait())
    }
}
