//! What a vector of `f32` or `f64` can do, whatever its length.

use pulp::Simd;

/// A number of which vector registers hold several.
pub trait Lanes: Copy + Sized {
    /// One register of them.
    type Vector<S: Simd>: Copy;

    /// A yes or no for each lane.
    type Mask<S: Simd>: Copy;

    /// Every lane `value`.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;

    /// `a * b + c`, fused where the instruction set can.
    fn fma<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;

    /// `a + b`.
    fn vadd<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// `a - b`.
    fn vsub<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// `a * b`.
    fn vmul<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// `a == b`; no for NaN, as all comparisons.
    fn equal<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;

    /// `a < b`.
    fn less_than<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;

    /// `a <= b`.
    fn less_or_equal<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Mask<S>;

    /// Where `a` is NaN.
    fn vnan<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Mask<S>;

    /// Where one of both is yes.
    fn or<S: Simd>(simd: S, a: Self::Mask<S>, b: Self::Mask<S>) -> Self::Mask<S>;

    /// Lane by lane `yes` or `no`.
    fn select<S: Simd>(
        simd: S,
        mask: Self::Mask<S>,
        yes: Self::Vector<S>,
        no: Self::Vector<S>,
    ) -> Self::Vector<S>;

    /// The sum of all lanes.
    fn reduce<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;

    /// A slice as vectors, as many as are whole; it need not be aligned.
    fn vectors<S: Simd>(slice: &[Self]) -> &[Self::Vector<S>];

    /// [`Lanes::vectors`], to write.
    fn vectors_mut<S: Simd>(slice: &mut [Self]) -> &mut [Self::Vector<S>];

    /// The vector from `at` on.
    #[inline(always)]
    fn load<S: Simd>(slice: &[Self], at: usize) -> Self::Vector<S> {
        Self::vectors::<S>(&slice[at..at + lanes::<S, Self>()])[0]
    }

    /// [`Lanes::load`], to write.
    #[inline(always)]
    fn store<S: Simd>(slice: &mut [Self], at: usize, vector: Self::Vector<S>) {
        Self::vectors_mut::<S>(&mut slice[at..at + lanes::<S, Self>()])[0] = vector;
    }
}

/// Lanes of a vector.
pub(crate) const fn lanes<S: Simd, T: Lanes>() -> usize {
    size_of::<T::Vector<S>>() / size_of::<T>()
}

/// `f32` for the names of its methods in `pulp`, `[fma = mul_add_e_f32s, ..]` for methods that take
/// vectors and give one.
macro_rules! lanes {
    (
        $type:ty, $vector:ident, $mask:ident, $splat:ident, $sum:ident, $slice:ident, $slice_mut:ident,
        $fma:ident, $select:ident, $or:ident, $not:ident, [$($name:ident = $of:ident),*],
        [$($compare:ident = $compare_of:ident),*], $equal:ident
    ) => {
        impl Lanes for $type {
            type Vector<S: Simd> = S::$vector;
            type Mask<S: Simd> = S::$mask;

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }

            #[inline(always)]
            fn fma<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$fma(a, b, c)
            }

            $(
                #[inline(always)]
                fn $name<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                    simd.$of(a, b)
                }
            )*

            $(
                #[inline(always)]
                fn $compare<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$mask {
                    simd.$compare_of(a, b)
                }
            )*

            #[inline(always)]
            fn vnan<S: Simd>(simd: S, a: S::$vector) -> S::$mask {
                simd.$not(simd.$equal(a, a))
            }

            #[inline(always)]
            fn or<S: Simd>(simd: S, a: S::$mask, b: S::$mask) -> S::$mask {
                simd.$or(a, b)
            }

            #[inline(always)]
            fn select<S: Simd>(
                simd: S,
                mask: S::$mask,
                yes: S::$vector,
                no: S::$vector,
            ) -> S::$vector {
                simd.$select(mask, yes, no)
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

lanes!(
    f32,
    f32s,
    m32s,
    splat_f32s,
    reduce_sum_f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    mul_add_e_f32s,
    select_f32s,
    or_m32s,
    not_m32s,
    [vadd = add_f32s, vsub = sub_f32s, vmul = mul_f32s],
    [equal = equal_f32s, less_than = less_than_f32s, less_or_equal = less_than_or_equal_f32s],
    equal_f32s
);
lanes!(
    f64,
    f64s,
    m64s,
    splat_f64s,
    reduce_sum_f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    mul_add_e_f64s,
    select_f64s,
    or_m64s,
    not_m64s,
    [vadd = add_f64s, vsub = sub_f64s, vmul = mul_f64s],
    [equal = equal_f64s, less_than = less_than_f64s, less_or_equal = less_than_or_equal_f64s],
    equal_f64s
);
