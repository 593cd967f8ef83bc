use super::{LayerNormKernels, NormGeometry};
use crate::Result;
use crate::device::cpu::{BLOCK, LaneSums, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use crate::ops::batch_norm2d::{Affine, Moments};
use rayon::prelude::*;

impl<T: Float> LayerNormKernels<T> for Cpu {
    fn layer_norm_forward(
        &self,
        geometry: &NormGeometry,
        eps: T,
        x: &[T],
        affine: Affine<'_, Self, T>,
        y: &mut [T],
        mean: &mut [T],
        invstd: &mut [T],
    ) -> Result<()> {
        let width = geometry.width().max(1);
        self.kernel("layer_norm_forward", geometry.forward_cost::<T>(), || {
            let rows = y.par_chunks_mut(width).zip(x.par_chunks(width)).zip(mean).zip(invstd);
            let rows = rows.with_min_len(BLOCK.div_ceil(width)).enumerate();
            let simd = self.simd();
            rows.for_each(|(row, (((y, x), mean), invstd))| {
                simd.vectorize(
                    #[inline(always)]
                    || {
                        let moments = Moments::of(std::iter::once(x));
                        *mean = T::of(moments.mean);
                        *invstd = T::one() / (T::of(moments.squares / moments.count) + eps).sqrt();
                        let channels = channels(geometry, row);
                        let [weight, bias] = [affine.weight, affine.bias]
                            .map(|of_all| of_all.map(|of_all| &of_all[channels.clone()]));
                        normalise(geometry, x, [*mean, *invstd], weight, bias, y);
                    },
                );
            });
        });
        Ok(())
    }

    fn layer_norm_backward(
        &self,
        geometry: &NormGeometry,
        x: &[T],
        mean: &[T],
        invstd: &[T],
        weight: Option<&[T]>,
        grad_y: &[T],
        grad_x: Option<Output<'_, Self, T>>,
        products: Option<&mut [T]>,
    ) -> Result<()> {
        let width = geometry.width().max(1);
        let writes = usize::from(grad_x.is_some()) + usize::from(products.is_some());
        self.kernel("layer_norm_backward", geometry.backward_cost::<T>(writes), || {
            let rows = || x.par_chunks(width).zip(grad_y.par_chunks(width)).zip(mean).zip(invstd);
            let rows_per_task = BLOCK.div_ceil(width);
            let simd = self.simd();
            if let Some(products) = products {
                let products = products.par_chunks_mut(width).zip(rows());
                products.with_min_len(rows_per_task).for_each(
                    |(products, (((x, grad_y), &mean), &invstd))| {
                        simd.vectorize(
                            #[inline(always)]
                            || {
                                let pairs = x.iter().zip(grad_y);
                                for (product, (&x, &grad)) in products.iter_mut().zip(pairs) {
                                    *product = grad * (x - mean) * invstd;
                                }
                            },
                        );
                    },
                );
            }
            let Some(Output { view, accumulate }) = grad_x else { return };
            let rows = view.par_chunks_mut(width).zip(rows());
            let rows = rows.with_min_len(rows_per_task).enumerate();
            rows.for_each(|(row, (grad_x, (((x, grad_y), &mean), &invstd)))| {
                let weight = weight.map(|weight| &weight[channels(geometry, row)]);
                let row = Row { x, mean, invstd, weight, grad_y, inner: inner(geometry) };
                simd.vectorize(
                    #[inline(always)]
                    || row.backward(grad_x, accumulate),
                );
            });
        });
        Ok(())
    }
}

/// What the gradient of one row is made of.
struct Row<'a, T> {
    x: &'a [T],
    mean: T,
    invstd: T,
    /// Of the row's channels.
    weight: Option<&'a [T]>,
    grad_y: &'a [T],
    /// Elements of a channel.
    inner: usize,
}

impl<T: Float> Row<'_, T> {
    /// The gradient of one element, of which mean and variance take their shares.
    #[inline(always)]
    fn element(&self, w: T, x: T, grad: T, [from_mean, from_var]: [T; 2]) -> T {
        self.invstd * (w * grad - from_mean - (x - self.mean) * from_var)
    }

    #[inline(always)]
    fn backward(&self, grad_x: &mut [T], accumulate: bool) {
        let &Self { x, mean, invstd, weight, grad_y, inner } = self;
        let (mut sum, mut dot) = (LaneSums::default(), LaneSums::default());
        match weight {
            // Sums of one element each would be slow.
            Some(weight) if inner == 1 => {
                sum.add(
                    weight,
                    grad_y,
                    #[inline(always)]
                    |w, grad| w * grad,
                );
                dot.add_products(
                    weight,
                    grad_y,
                    x,
                    #[inline(always)]
                    |w, grad, x| w * grad * (x - mean),
                );
            }
            _ => {
                for (c, (x, grad)) in x.chunks(inner).zip(grad_y.chunks(inner)).enumerate() {
                    let w = weight.map_or(T::one(), |weight| weight[c]);
                    sum.add(
                        grad,
                        grad,
                        #[inline(always)]
                        |grad, _| w * grad,
                    );
                    dot.add(
                        grad,
                        x,
                        #[inline(always)]
                        |grad, x| w * grad * (x - mean),
                    );
                }
            }
        }
        let count = x.len() as f64;
        let shares = [T::of(sum.total() / count), T::of(dot.total() / count) * invstd * invstd];
        if inner == 1
            && let Some(weight) = weight
        {
            let elements = weight.iter().zip(x.iter().zip(grad_y));
            for (to, (&w, (&x, &grad))) in grad_x.iter_mut().zip(elements) {
                put(to, self.element(w, x, grad, shares), accumulate);
            }
            return;
        }
        let runs = x.chunks(inner).zip(grad_y.chunks(inner)).enumerate();
        for (grad_x, (c, (x, grad))) in grad_x.chunks_mut(inner).zip(runs) {
            let w = weight.map_or(T::one(), |weight| weight[c]);
            for (to, (&x, &grad)) in grad_x.iter_mut().zip(x.iter().zip(grad)) {
                put(to, self.element(w, x, grad, shares), accumulate);
            }
        }
    }
}

/// `y = (x - mean) invstd weight + bias` of one row.
#[inline(always)]
fn normalise<T: Float>(
    geometry: &NormGeometry,
    x: &[T],
    [mean, invstd]: [T; 2],
    weight: Option<&[T]>,
    bias: Option<&[T]>,
    y: &mut [T],
) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = (x - mean) * invstd;
    }
    if geometry.inner == 1 {
        if let Some(weight) = weight {
            y.iter_mut().zip(weight).for_each(|(y, &weight)| *y *= weight);
        }
        if let Some(bias) = bias {
            y.iter_mut().zip(bias).for_each(|(y, &bias)| *y += bias);
        }
        return;
    }
    for (c, run) in y.chunks_mut(inner(geometry)).enumerate() {
        let (weight, bias) = (weight.map_or(T::one(), |w| w[c]), bias.map_or(T::zero(), |b| b[c]));
        run.iter_mut().for_each(|y| *y = *y * weight + bias);
    }
}

/// The channels of a row.
fn channels(geometry: &NormGeometry, row: usize) -> std::ops::Range<usize> {
    let channels = geometry.channels as usize;
    let first = row % geometry.groups as usize * channels;
    first..first + channels
}

/// Elements of a channel in a row, as chunks take them.
fn inner(geometry: &NormGeometry) -> usize {
    geometry.inner.max(1) as usize
}
