//! What a vector of `f32` or `f64` can do, whatever its length.

use pulp::Simd;

/// A number of which vector registers hold several.
pub trait Lanes: Copy {
    /// One register of them.
    type Vector<S: Simd>: Copy;

    /// Every lane `value`.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;

    /// `a * b + c`, fused where the instruction set can.
    fn fma<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;

    /// The sum of all lanes.
    fn reduce<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;

    /// A slice as vectors, as many as are whole; it need not be aligned.
    fn vectors<S: Simd>(slice: &[Self]) -> &[Self::Vector<S>];

    /// [`Lanes::vectors`], to write.
    fn vectors_mut<S: Simd>(slice: &mut [Self]) -> &mut [Self::Vector<S>];
}

macro_rules! lanes {
    ($type:ty, $vector:ident, $splat:ident, $mul_add:ident, $sum:ident, $slice:ident, $slice_mut:ident) => {
        impl Lanes for $type {
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }

            #[inline(always)]
            fn fma<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$mul_add(a, b, c)
            }

            #[inline(always)]
            fn reduce<S: Simd>(simd: S, a: S::$vector) -> Self {
                simd.$sum(a)
            }

            #[inline(always)]
            fn vectors<S: Simd>(slice: &[Self]) -> &[S::$vector] {
                S::$slice(slice).0
            }

            #[inline(always)]
            fn vectors_mut<S: Simd>(slice: &mut [Self]) -> &mut [S::$vector] {
                S::$slice_mut(slice).0
            }
        }
    };
}

lanes!(f32, f32s, splat_f32s, mul_add_e_f32s, reduce_sum_f32s, as_simd_f32s, as_mut_simd_f32s);
lanes!(f64, f64s, splat_f64s, mul_add_e_f64s, reduce_sum_f64s, as_simd_f64s, as_mut_simd_f64s);
