//! What kernels cost, and a record of those that ran.
#![forbid(unsafe_code)]

use std::iter::Sum;
use std::ops::Add;

/// What one run of a kernel has to do at least.
///
/// FLOP are those of the formula: a fused multiply-add counts two, a product with a zero of the
/// padding counts too, integer arithmetic (addresses, random numbers) does not. Bytes are the
/// compulsory traffic: every value that the kernel reads or writes, once, whatever a cache makes of
/// it; single values per channel are left out where there are images beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Cost {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Cost {
    /// A kernel that handles `elements` of `T` one by one: it reads or writes `moved` tensors and
    /// makes `flops` operations an element.
    pub fn elementwise<T>(elements: usize, moved: u64, flops: u64) -> Self {
        Self { flops: flops * elements as u64, bytes: 0 }.moving::<T>(moved * elements as u64)
    }

    /// The same, and so many more elements of `E` read or written.
    pub fn moving<E>(self, elements: u64) -> Self {
        Self { bytes: self.bytes + elements * size_of::<E>() as u64, ..self }
    }
}

impl Add for Cost {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { flops: self.flops + other.flops, bytes: self.bytes + other.bytes }
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

/// Blocks, threads and shared memory of a launch on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
pub struct LaunchShape {
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory of a block.
    pub dynamic_shared: u32,
}

/// A kernel that ran while a trace was on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct KernelRun {
    /// The kernel, `conv2d_forward` say.
    pub name: &'static str,
    /// How it was launched; `None` on the CPU.
    pub launch: Option<LaunchShape>,
    /// What it had to do.
    pub cost: Cost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_count_with_their_size() {
        assert_eq!(Cost::elementwise::<f32>(10, 3, 2), Cost { flops: 20, bytes: 120 });
        assert_eq!(Cost::elementwise::<f64>(10, 3, 2).bytes, 240);
        assert_eq!(Cost::elementwise::<f32>(10, 3, 2).moving::<u8>(7).bytes, 127);
    }

    #[test]
    fn costs_add() {
        let costs = [Cost { flops: 1, bytes: 2 }, Cost { flops: 10, bytes: 20 }];
        assert_eq!(costs.into_iter().sum::<Cost>(), Cost { flops: 11, bytes: 22 });
    }
}
