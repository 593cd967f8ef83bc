//! The windows of one plane, there and back. They lie apart and inside the plane.

use crate::dtype::Float;
use crate::ops::max_pool2d::MaxPool2dGeometry;

/// The maximum of each window of `activated`, where in the window it lies (row-major), and what
/// `convolved` holds there. Ties and NaN as in `max_pool2d`: the first maximum, the last NaN.
#[inline(always)]
pub(super) fn forward<T: Float>(
    geometry: &MaxPool2dGeometry,
    activated: &[T],
    convolved: &[T],
    output: &mut [T],
    codes: &mut [u8],
    peaks: &mut [T],
) {
    if geometry.kernel_size == [2, 2] && geometry.stride == [2, 2] {
        return forward_2x2(geometry, activated, convolved, output, codes, peaks);
    }
    let width = geometry.width as usize;
    for_each_window(geometry, |i, start| {
        let mut best = (activated[start], 0, start);
        for_each_place(geometry, |code, offset| {
            let value = activated[start + offset];
            if value > best.0 || value.is_nan() {
                best = (value, code, start + offset);
            }
        });
        (output[i], codes[i], peaks[i]) = (best.0, best.1, convolved[best.2]);
    });
    debug_assert!(activated.len().is_multiple_of(width));
}

#[inline(always)]
fn forward_2x2<T: Float>(
    geometry: &MaxPool2dGeometry,
    activated: &[T],
    convolved: &[T],
    output: &mut [T],
    codes: &mut [u8],
    peaks: &mut [T],
) {
    let (width, out_width) = (geometry.width as usize, geometry.out_width as usize);
    for row in 0..geometry.out_height as usize {
        let pairs = |plane, row: usize| pairs(plane, row * width, out_width);
        let (upper, lower) = (pairs(activated, 2 * row), pairs(activated, 2 * row + 1));
        let (upper_x, lower_x) = (pairs(convolved, 2 * row), pairs(convolved, 2 * row + 1));
        let here = row * out_width..(row + 1) * out_width;
        let output = &mut output[here.clone()];
        let (codes, peaks) = (&mut codes[here.clone()], &mut peaks[here]);
        for i in 0..out_width {
            let ([a, b], [c, d]) = (upper[i], lower[i]);
            let ([ax, bx], [cx, dx]) = (upper_x[i], lower_x[i]);
            let first = (a, ax, 0);
            let second = later(first, (b, bx, 1));
            let third = later(second, (c, cx, 2));
            let (best, peak, code) = later(third, (d, dx, 3));
            (output[i], codes[i], peaks[i]) = (best, code, peak);
        }
    }
}

/// Of two places `(value, convolved, code)` the one that a maximum takes, without a branch.
#[inline(always)]
fn later<T: Float>(best: (T, T, u8), other: (T, T, u8)) -> (T, T, u8) {
    let wins = (other.0 > best.0) | other.0.is_nan();
    let choose = |a, b| if wins { b } else { a };
    (choose(best.0, other.0), choose(best.1, other.1), if wins { other.2 } else { best.2 })
}

/// Adds each window's value at the place that its code says. `spread` has room for four values a
/// window.
#[inline(always)]
pub(super) fn backward<T: Float>(
    geometry: &MaxPool2dGeometry,
    codes: &[u8],
    values: &[T],
    spread: &mut [T],
    plane: &mut [T],
) {
    if geometry.kernel_size == [2, 2] && geometry.stride == [2, 2] {
        return backward_2x2(geometry, codes, values, spread, plane);
    }
    let (width, columns) = (geometry.width as usize, geometry.kernel_size[1] as usize);
    for_each_window(geometry, |i, start| {
        let code = codes[i] as usize;
        plane[start + code / columns * width + code % columns] += values[i];
    });
}

/// First every window of the plane becomes two pixels of its upper row and two of its lower one, in
/// one loop: the rows by themselves are too short for vectors. Then the rows are added.
#[inline(always)]
fn backward_2x2<T: Float>(
    geometry: &MaxPool2dGeometry,
    codes: &[u8],
    values: &[T],
    spread: &mut [T],
    plane: &mut [T],
) {
    let (width, out_width) = (geometry.width as usize, geometry.out_width as usize);
    let (upper, lower) = spread[..4 * values.len()].split_at_mut(2 * values.len());
    let pairs = upper.as_chunks_mut::<2>().0.iter_mut().zip(lower.as_chunks_mut::<2>().0);
    for ((upper, lower), (&value, &code)) in pairs.zip(values.iter().zip(codes)) {
        let at = |place| if code == place { value } else { T::zero() };
        *upper = [at(0), at(1)];
        *lower = [at(2), at(3)];
    }
    let rows = upper.chunks_exact(2 * out_width).zip(lower.chunks_exact(2 * out_width));
    for (pair, (upper, lower)) in plane.chunks_exact_mut(2 * width).zip(rows) {
        let (above, below) = pair.split_at_mut(width);
        above.iter_mut().zip(upper).for_each(|(pixel, &value)| *pixel += value);
        below.iter_mut().zip(lower).for_each(|(pixel, &value)| *pixel += value);
    }
}

/// `count` pairs of a plane from `start` on.
#[inline(always)]
fn pairs<T>(plane: &[T], start: usize, count: usize) -> &[[T; 2]] {
    plane[start..start + 2 * count].as_chunks::<2>().0
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

/// Calls `each` for every place in a window, with its code and its offset from the window's start.
#[inline(always)]
fn for_each_place(geometry: &MaxPool2dGeometry, mut each: impl FnMut(u8, usize)) {
    let [rows, columns] = geometry.kernel_size.map(|size| size as usize);
    for code in 0..rows * columns {
        each(code as u8, code / columns * geometry.width as usize + code % columns);
    }
}
