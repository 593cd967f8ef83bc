use super::{LayerNormKernels, NormGeometry};
use crate::Result;
use crate::device::cpu::{BLOCK, LaneSums, lane_sum, put};
use crate::device::{Cpu, Output};
use crate::dtype::Float;
use crate::ops::batch_norm2d::Affine;
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
        let Affine { weight, bias } = affine;
        let (width, count) = (geometry.width().max(1), geometry.width() as f64);
        self.kernel("layer_norm_forward", geometry.forward_cost::<T>(), || {
            let rows = y.par_chunks_mut(width).zip(x.par_chunks(width)).zip(mean).zip(invstd);
            let rows = rows.with_min_len(BLOCK.div_ceil(width)).enumerate();
            rows.for_each(|(row, (((y, x), mean), invstd))| {
                // Rounded to T, and the squares around it: the difference of E[x^2] and mean^2
                // cancels for a mean far from 0. What the rounding took comes back as `left`.
                let around = T::of(lane_sum(x, x, |x, _| x) / count);
                let left = lane_sum(x, x, |x, _| x - around) / count;
                let squares = lane_sum(x, x, |x, _| (x - around) * (x - around)) / count;
                *mean = T::of(around.as_f64() + left);
                *invstd = T::one() / (T::of(squares - left * left) + eps).sqrt();
                let (mean, invstd) = (*mean, *invstd);
                let one = |c: usize, y: &mut T, x: T| {
                    let scale = weight.map_or(invstd, |weight| weight[c] * invstd);
                    *y = (x - mean) * scale + bias.map_or(T::zero(), |bias| bias[c]);
                };
                let channels = channels(geometry, row);
                if geometry.inner == 1 {
                    let elements = channels.zip(y.iter_mut().zip(x));
                    elements.for_each(|(c, (y, &x))| one(c, y, x));
                    return;
                }
                let runs = y.chunks_mut(inner(geometry)).zip(x.chunks(inner(geometry)));
                for (c, (y, x)) in channels.zip(runs) {
                    y.iter_mut().zip(x).for_each(|(y, &x)| one(c, y, x));
                }
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
        let (width, count) = (geometry.width().max(1), geometry.width() as f64);
        let writes = usize::from(grad_x.is_some()) + usize::from(products.is_some());
        self.kernel("layer_norm_backward", geometry.backward_cost::<T>(writes), || {
            let rows = || x.par_chunks(width).zip(grad_y.par_chunks(width)).zip(mean).zip(invstd);
            let rows_per_task = BLOCK.div_ceil(width);
            if let Some(products) = products {
                let products = products.par_chunks_mut(width).zip(rows());
                products.with_min_len(rows_per_task).for_each(
                    |(products, (((x, grad_y), &mean), &invstd))| {
                        for ((product, &x), &grad) in products.iter_mut().zip(x).zip(grad_y) {
                            *product = grad * (x - mean) * invstd;
                        }
                    },
                );
            }
            let Some(Output { view, accumulate }) = grad_x else { return };
            let rows = view.par_chunks_mut(width).zip(rows());
            let rows = rows.with_min_len(rows_per_task).enumerate();
            rows.for_each(|(row, (grad_x, (((x, grad_y), &mean), &invstd)))| {
                let inner = inner(geometry);
                let channels = channels(geometry, row);
                let weight = weight.map(|weight| &weight[channels.clone()]);
                let runs = || {
                    let scales = (0..channels.len()).map(|c| weight.map_or(T::one(), |w| w[c]));
                    scales.zip(x.chunks(inner).zip(grad_y.chunks(inner)))
                };
                let (mut sum, mut dot) = (0.0, 0.0);
                match weight {
                    // Sums of one element each would be slow.
                    Some(weight) if inner == 1 => {
                        sum = lane_sum(weight, grad_y, |w, grad| w * grad);
                        let mut sums = LaneSums::default();
                        sums.add_products(weight, grad_y, x, |w, grad, x| w * grad * (x - mean));
                        dot = sums.total();
                    }
                    Some(_) => {
                        for (w, (x, grad)) in runs() {
                            sum += w.as_f64() * lane_sum(grad, grad, |grad, _| grad);
                            dot += w.as_f64() * lane_sum(grad, x, |grad, x| grad * (x - mean));
                        }
                    }
                    None => {
                        sum = lane_sum(grad_y, grad_y, |grad, _| grad);
                        dot = lane_sum(grad_y, x, |grad, x| grad * (x - mean));
                    }
                }
                let from_mean = T::of(sum / count);
                let from_var = T::of(dot / count) * invstd * invstd;
                let one = |grad_x: &mut T, w: T, x: T, grad: T| {
                    let value = invstd * (w * grad - from_mean - (x - mean) * from_var);
                    put(grad_x, value, accumulate);
                };
                match weight {
                    Some(weight) if inner == 1 => {
                        let elements = grad_x.iter_mut().zip(weight).zip(x.iter().zip(grad_y));
                        elements.for_each(|((to, &w), (&x, &grad))| one(to, w, x, grad));
                    }
                    Some(_) => {
                        for (grad_x, (w, (x, grad))) in grad_x.chunks_mut(inner).zip(runs()) {
                            let elements = grad_x.iter_mut().zip(x.iter().zip(grad));
                            elements.for_each(|(to, (&x, &grad))| one(to, w, x, grad));
                        }
                    }
                    None => {
                        let elements = grad_x.iter_mut().zip(x.iter().zip(grad_y));
                        elements.for_each(|(to, (&x, &grad))| one(to, T::one(), x, grad));
                    }
                }
            });
        });
        Ok(())
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
