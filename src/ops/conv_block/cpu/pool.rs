//! The windows of one plane, there and back. They lie apart and inside the plane.
//!
//! The usual windows, 2 x 2 side by side, are taken in vectors along the rows. A row is seldom a
//! multiple of a vector: its last vector reaches over its end, into what the next row then
//! overwrites. So there are [`SLACK`] elements more behind all that is read or written in this way.

use crate::device::cpu::lanes;
use crate::dtype::Float;
use crate::ops::max_pool2d::MaxPool2dGeometry;
use pulp::Simd;

/// Elements by which a vector may reach over an end.
pub(super) const SLACK: usize = 16;

/// What happens to the pixels of a channel behind the convolution:
/// `relu((x - mean) * scale + shift) * factor`.
#[derive(Clone, Copy)]
pub(super) struct Activation<'a, T> {
    pub(super) mean: T,
    pub(super) scale: T,
    pub(super) shift: T,
    /// Of dropout, one for each pixel of the plane and [`SLACK`].
    pub(super) factors: Option<&'a [T]>,
}

impl<T: Float> Activation<'_, T> {
    /// The pixels from `at` on, of which `x` is what the convolution gave.
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, x: T::Vector<S>, at: usize) -> T::Vector<S> {
        let &Self { mean, scale, shift, factors } = self;
        let [mean, scale, shift, zero] = [mean, scale, shift, T::zero()].map(|x| T::splat(simd, x));
        let y = T::fma(simd, T::vsub(simd, x, mean), scale, shift);
        // `y <= 0` is false for NaN, which so stays.
        let y = T::select(simd, T::less_or_equal(simd, y, zero), zero, y);
        let Some(factors) = factors else { return y };
        // What is dropped is 0 whatever it was.
        let factor = T::load::<S>(factors, at);
        T::select(simd, T::equal(simd, factor, zero), zero, T::vmul(simd, y, factor))
    }
}

/// Of each window: the maximum, where in the window it lies (row-major), and what `convolved` holds
/// there.
pub(super) struct Maxima<'a, T> {
    pub(super) output: &'a mut [T],
    pub(super) argmax: &'a mut [u8],
    pub(super) peaks: &'a mut [T],
}

/// Elements of scratch memory that [`forward`] and [`backward`] want for a plane.
pub(super) fn scratch(geometry: &MaxPool2dGeometry) -> usize {
    let plane = (geometry.height * geometry.width) as usize;
    3 * (plane + SLACK)
}

/// The windows of the activated plane `convolved`, which has [`SLACK`] more. Ties and NaN as in
/// `max_pool2d`: the first maximum, the last NaN.
#[inline(always)]
pub(super) fn forward<S: Simd, T: Float>(
    simd: S,
    geometry: &MaxPool2dGeometry,
    convolved: &[T],
    activation: &Activation<'_, T>,
    scratch: &mut [T],
    maxima: Maxima<'_, T>,
) {
    if is_2x2(geometry) {
        return forward_2x2(simd, geometry, convolved, activation, scratch, maxima);
    }
    let pixels = (geometry.height * geometry.width) as usize;
    for at in (0..pixels).step_by(lanes::<S, T>()) {
        let y = activation.apply(simd, T::load::<S>(convolved, at), at);
        T::store::<S>(scratch, at, y);
    }
    let Maxima { output, argmax, peaks } = maxima;
    for_each_window(geometry, |i, start| {
        let mut best = (scratch[start], 0, start);
        for_each_place(geometry, |place, offset| {
            let value = scratch[start + offset];
            if value > best.0 || value.is_nan() {
                best = (value, place, start + offset);
            }
        });
        (output[i], argmax[i], peaks[i]) = (best.0, best.1, convolved[best.2]);
    });
}

/// First the better of the two pixels of each column of a window, in vectors; then the better of the
/// two columns, all windows of the plane in one loop.
#[inline(always)]
fn forward_2x2<S: Simd, T: Float>(
    simd: S,
    geometry: &MaxPool2dGeometry,
    convolved: &[T],
    activation: &Activation<'_, T>,
    scratch: &mut [T],
    maxima: Maxima<'_, T>,
) {
    let [width, rows, columns] =
        [geometry.width, geometry.out_height, 2 * geometry.out_width].map(|x| x as usize);
    let (values, rest) = scratch.split_at_mut(rows * columns + SLACK);
    let (peaks, lower) = rest.split_at_mut(rows * columns + SLACK);
    for row in 0..rows {
        for column in (0..columns).step_by(lanes::<S, T>()) {
            let at = 2 * row * width + column;
            let x = [T::load::<S>(convolved, at), T::load::<S>(convolved, at + width)];
            let upper = activation.apply(simd, x[0], at);
            let below = activation.apply(simd, x[1], at + width);
            let wins = T::or::<S>(simd, T::less_than(simd, upper, below), T::vnan(simd, below));
            let at = row * columns + column;
            T::store::<S>(values, at, T::select(simd, wins, below, upper));
            T::store::<S>(peaks, at, T::select(simd, wins, x[1], x[0]));
            let [zero, one] = [T::zero(), T::one()].map(|x| T::splat(simd, x));
            T::store::<S>(lower, at, T::select(simd, wins, one, zero));
        }
    }
    let columns = |scratch| pairs(scratch, rows * columns);
    let columns = columns(values).iter().zip(columns(peaks)).zip(columns(lower));
    let Maxima { output, argmax, peaks } = maxima;
    let windows = output.iter_mut().zip(argmax).zip(peaks);
    for (((output, place), peak), ((&[a, b], &[ax, bx]), &[a_lower, b_lower])) in
        windows.zip(columns)
    {
        let [a_code, b_code] =
            [if a_lower == T::one() { 2 } else { 0 }, if b_lower == T::one() { 3 } else { 1 }];
        // The place that comes first in the window, of two alike: `a_code` may be the later one.
        let [a_nan, b_nan] = [a.is_nan(), b.is_nan()];
        let wins =
            (b > a) | ((b == a) & (b_code < a_code)) | (b_nan & (!a_nan | (b_code > a_code)));
        *output = if wins { b } else { a };
        *peak = if wins { bx } else { ax };
        *place = if wins { b_code } else { a_code };
    }
}

/// The gradient at the pixels of a channel: `constant + slope * (x - mean)`, and `at_maximum * g` more
/// where a window's maximum is.
#[derive(Clone, Copy)]
pub(super) struct Coefficients<T> {
    pub(super) mean: T,
    pub(super) at_maximum: T,
    pub(super) constant: T,
    pub(super) slope: T,
}

impl<T: Float> Coefficients<T> {
    /// What pixels get that are no maximum; `x` is what the convolution gave.
    #[inline(always)]
    fn everywhere<S: Simd>(&self, simd: S, x: T::Vector<S>) -> T::Vector<S> {
        let &Self { mean, constant, slope, .. } = self;
        let [mean, constant, slope] = [mean, constant, slope].map(|x| T::splat(simd, x));
        T::fma(simd, slope, T::vsub(simd, x, mean), constant)
    }
}

/// Of each window: the output, its gradient, and the place of the maximum.
#[derive(Clone, Copy)]
pub(super) struct Upstream<'a, T> {
    pub(super) output: &'a [T],
    pub(super) grad_output: &'a [T],
    pub(super) argmax: &'a [u8],
}

/// The gradient that gets through rectifier and dropout; a NaN lets it through.
#[inline(always)]
pub(super) fn through<T: Float>(output: T, gradient: T) -> T {
    if output <= T::zero() { T::zero() } else { gradient }
}

/// Writes the gradient at every pixel of a plane, which `convolved` holds; both have [`SLACK`] more.
#[inline(always)]
pub(super) fn backward<S: Simd, T: Float>(
    simd: S,
    geometry: &MaxPool2dGeometry,
    convolved: &[T],
    coefficients: &Coefficients<T>,
    upstream: Upstream<'_, T>,
    scratch: &mut [T],
    gradient: &mut [T],
) {
    if is_2x2(geometry) {
        return backward_2x2(simd, geometry, convolved, coefficients, upstream, scratch, gradient);
    }
    let (width, pixels) = (geometry.width as usize, (geometry.height * geometry.width) as usize);
    for at in (0..pixels).step_by(lanes::<S, T>()) {
        let y = coefficients.everywhere(simd, T::load::<S>(convolved, at));
        T::store::<S>(gradient, at, y);
    }
    let Upstream { output, grad_output, argmax } = upstream;
    let columns = geometry.kernel_size[1] as usize;
    for_each_window(geometry, |i, start| {
        let place = argmax[i] as usize;
        gradient[start + place / columns * width + place % columns] +=
            coefficients.at_maximum * through(output[i], grad_output[i]);
    });
}

/// First each window's gradient and place twice, for its two columns, all windows of the plane in one
/// loop; then row by row in vectors, which take the gradient where the place is that of the place.
#[inline(always)]
fn backward_2x2<S: Simd, T: Float>(
    simd: S,
    geometry: &MaxPool2dGeometry,
    convolved: &[T],
    coefficients: &Coefficients<T>,
    upstream: Upstream<'_, T>,
    scratch: &mut [T],
    gradient: &mut [T],
) {
    let [height, width, rows, columns] =
        [geometry.height, geometry.width, geometry.out_height, 2 * geometry.out_width]
            .map(|x| x as usize);
    let (values, rest) = scratch.split_at_mut(rows * columns + SLACK);
    let (argmax, places) = rest.split_at_mut(rows * columns + SLACK);
    let at_maximum = coefficients.at_maximum;
    let windows = upstream.output.iter().zip(upstream.grad_output);
    let pairs = values[..rows * columns].as_chunks_mut::<2>().0;
    for (pair, (&output, &gradient)) in pairs.iter_mut().zip(windows) {
        *pair = [at_maximum * through(output, gradient); 2];
    }
    let pairs = argmax[..rows * columns].as_chunks_mut::<2>().0;
    for (pair, &place) in pairs.iter_mut().zip(upstream.argmax) {
        *pair = [T::of_u8(place); 2];
    }
    // Of the upper row; no place is 9, which stands where no window is.
    let places = &mut places[..width + SLACK];
    places.fill(T::of_u8(9));
    for pair in places[..columns].as_chunks_mut::<2>().0 {
        *pair = [T::zero(), T::one()];
    }

    let zero = T::splat(simd, T::zero());
    for row in 0..2 * rows {
        let first = T::splat(simd, T::of_u8(2 * (row % 2) as u8));
        for column in (0..width).step_by(lanes::<S, T>()) {
            let at = row * width + column;
            let window = row / 2 * columns + column;
            let place = T::vadd(simd, T::load::<S>(places, column), first);
            let here = T::equal(simd, T::load::<S>(argmax, window), place);
            let value = T::select(simd, here, T::load::<S>(values, window), zero);
            let y = coefficients.everywhere(simd, T::load::<S>(convolved, at));
            T::store::<S>(gradient, at, T::vadd(simd, y, value));
        }
    }
    for at in (2 * rows * width..height * width).step_by(lanes::<S, T>()) {
        let y = coefficients.everywhere(simd, T::load::<S>(convolved, at));
        T::store::<S>(gradient, at, y);
    }
}

fn is_2x2(geometry: &MaxPool2dGeometry) -> bool {
    geometry.kernel_size == [2, 2] && geometry.stride == [2, 2]
}

/// The first `count` elements in pairs.
#[inline(always)]
fn pairs<T>(elements: &[T], count: usize) -> &[[T; 2]] {
    elements[..count].as_chunks::<2>().0
}

/// Calls `each` for every window, with its number and where it starts.
#[inline(always)]
fn for_each_window(geometry: &MaxPool2dGeometry, mut each: impl FnMut(usize, usize)) {
    let (width, out_width) = (geometry.width as usize, geometry.out_width as usize);
    let [down, right] = geometry.stride.map(|stride| stride as usize);
    for row in 0..geometry.out_height as usize {
        for column in 0..out_width {
            each(row * out_width + column, row * down * width + column * right);
        }
    }
}

/// Calls `each` for every place in a window, with its place and its offset from the window's start.
#[inline(always)]
fn for_each_place(geometry: &MaxPool2dGeometry, mut each: impl FnMut(u8, usize)) {
    let [rows, columns] = geometry.kernel_size.map(|size| size as usize);
    for place in 0..rows * columns {
        each(place as u8, place / columns * geometry.width as usize + place % columns);
    }
}
