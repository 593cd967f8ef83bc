//! Convolution as a matrix product of the filters `[O, C * KH * KW]` and the patches under them, none of
//! which is written out. Each group of channels is a product of its own.
//!
//! | file | subject |
//! |---|---|
//! | `implicit.rs` | the products, forward and backward |
//! | `layout.rs` | where the pixels lie for them: a filter tap is an offset |
//! | `narrow.rs` | loops for groups of few channels |
//! | `winograd.rs` | 3x3 of many channels, with fewer products |

mod implicit;
mod layout;
mod narrow;
mod winograd;

pub(crate) use layout::{Frame, Layout, Phase, Sight};

use super::{Conv2dGeometry, Conv2dKernels};
use crate::Result;
use crate::device::cpu::{BLOCK, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use rayon::prelude::*;

impl<T: Float> Conv2dKernels<T> for Cpu {
    fn conv2d_forward(
        &self,
        geometry: &Conv2dGeometry,
        input: &[T],
        weight: &[T],
        bias: Option<&[T]>,
        output: &mut [T],
    ) -> Result<()> {
        self.kernel("conv2d_forward", geometry.cost::<T>(), || {
            if geometry.is_narrow() {
                narrow::forward(geometry, input, weight, bias, output);
                return Ok(());
            }
            if winograd::suits(geometry) {
                return winograd::forward(self, geometry, input, weight, bias, output);
            }
            implicit::forward(self, geometry, input, weight, bias, output)
        })
    }

    fn conv2d_backward_input(
        &self,
        geometry: &Conv2dGeometry,
        grad_output: &[T],
        weight: &[T],
        grad_input: Output<'_, Self, T>,
    ) -> Result<()> {
        self.kernel("conv2d_backward_input", geometry.cost::<T>(), || {
            if geometry.is_narrow() {
                let Output { view, accumulate } = grad_input;
                narrow::backward_input(geometry, grad_output, weight, view, accumulate);
                return Ok(());
            }
            if winograd::suits(geometry) {
                return winograd::backward_input(self, geometry, grad_output, weight, grad_input);
            }
            implicit::backward_input(self, geometry, grad_output, weight, grad_input)
        })
    }

    fn conv2d_backward_weight(
        &self,
        geometry: &Conv2dGeometry,
        input: &[T],
        grad_output: &[T],
        grad_weight: Output<'_, Self, T>,
    ) -> Result<()> {
        self.kernel("conv2d_backward_weight", geometry.cost::<T>(), || {
            if geometry.is_narrow() {
                let Output { view, accumulate } = grad_weight;
                narrow::backward_weight(geometry, input, grad_output, view, accumulate);
                return Ok(());
            }
            if winograd::suits(geometry) {
                return winograd::backward_weight(self, geometry, input, grad_output, grad_weight);
            }
            implicit::backward_weight(self, geometry, input, grad_output, grad_weight)
        })
    }
}

/// Partial sums of the weight's gradient: as many whatever the number of threads.
const PARTIALS: usize = 16;

/// Of so many units, how many go to one partial sum, and how many sums that makes.
fn partial_sums(units: usize) -> [usize; 2] {
    let of_partial = units.div_ceil(PARTIALS).max(1);
    [of_partial, units.div_ceil(of_partial)]
}

/// The taps `filter(o, c)` with which a channel of the output, counted over all groups, looks at one of its
/// group's channels of the input.
fn filters_forward<'w, T: Float>(
    geometry: &Conv2dGeometry,
    weight: &'w [T],
) -> impl Fn(usize, usize) -> &'w [T] + Sync + use<'w, T> {
    let (channels, taps) = (geometry.in_channels as usize, geometry.filter_taps());
    move |o, c| &weight[(o * channels + c) * taps..][..taps]
}

/// The taps `filter(c, o)` with which a channel of the input, counted over all groups, is looked at by one of
/// its group's channels of the output.
fn filters_backward<'w, T: Float>(
    geometry: &Conv2dGeometry,
    weight: &'w [T],
) -> impl Fn(usize, usize) -> &'w [T] + Sync + use<'w, T> {
    let [inputs, outputs] = [geometry.in_channels, geometry.out_channels].map(|n| n as usize);
    let filter = filters_forward(geometry, weight);
    move |c, o| filter(c / inputs * outputs + o, c % inputs)
}

/// The gradient of the weight, the sum of its `partials` of so many `weights` in their order.
fn add_up<T: Float>(partials: &[T], weights: usize, grad_weight: Output<'_, Cpu, T>) {
    let Output { view, accumulate } = grad_weight;
    view.par_iter_mut().with_min_len(BLOCK).enumerate().for_each(|(i, grad_weight)| {
        let total = partials.iter().skip(i).step_by(weights).fold(T::zero(), |a, &b| a + b);
        put(grad_weight, total, accumulate);
    });
}
