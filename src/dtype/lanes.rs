//! What a vector of `f32` or `f64` can do, whatever its length.

use pulp::Simd;

/// A number of which vector registers hold several.
pub trait Lanes: Copy + Sized {
    /// One register of them.
    type Vector<S: Simd>: Copy;

    /// A yes or no for each lane.
    type Mask<S: Simd>: Copy;

    /// All bits set.
    const ALL: Self;

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
    #[inline(always)]
    fn vnan<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Mask<S> {
        Self::not(simd, Self::equal(simd, a, a))
    }

    /// Where one of both is yes.
    fn or<S: Simd>(simd: S, a: Self::Mask<S>, b: Self::Mask<S>) -> Self::Mask<S>;

    /// The opposite.
    fn not<S: Simd>(simd: S, a: Self::Mask<S>) -> Self::Mask<S>;

    /// Lane by lane `yes` or `no`.
    fn select<S: Simd>(
        simd: S,
        mask: Self::Mask<S>,
        yes: Self::Vector<S>,
        no: Self::Vector<S>,
    ) -> Self::Vector<S>;

    /// `a` where `mask` is [`Lanes::ALL`], 0 where it is 0.
    fn keep<S: Simd>(simd: S, a: Self::Vector<S>, mask: Self::Vector<S>) -> Self::Vector<S>;

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

/// What `pulp` calls all this.
macro_rules! lanes {
    (
        $type:ty, $vector:ident, $mask:ident, $splat:ident, $sum:ident, $slice:ident, $slice_mut:ident,
        $($name:ident($($argument:ident: $of:ident),+) -> $result:ident = $method:ident),+
    ) => {
        impl Lanes for $type {
            type Vector<S: Simd> = S::$vector;
            type Mask<S: Simd> = S::$mask;
            const ALL: Self = Self::from_bits(!0);

            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
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

            $(
                #[inline(always)]
                fn $name<S: Simd>(simd: S, $($argument: Self::$of<S>),+) -> Self::$result<S> {
                    simd.$method($($argument),+)
                }
            )+
        }
    };
}

lanes!(
    f32, f32s, m32s, splat_f32s, reduce_sum_f32s, as_simd_f32s, as_mut_simd_f32s,
    fma(a: Vector, b: Vector, c: Vector) -> Vector = mul_add_e_f32s,
    vadd(a: Vector, b: Vector) -> Vector = add_f32s,
    vsub(a: Vector, b: Vector) -> Vector = sub_f32s,
    vmul(a: Vector, b: Vector) -> Vector = mul_f32s,
    keep(a: Vector, mask: Vector) -> Vector = and_f32s,
    equal(a: Vector, b: Vector) -> Mask = equal_f32s,
    less_than(a: Vector, b: Vector) -> Mask = less_than_f32s,
    less_or_equal(a: Vector, b: Vector) -> Mask = less_than_or_equal_f32s,
    or(a: Mask, b: Mask) -> Mask = or_m32s,
    not(a: Mask) -> Mask = not_m32s,
    select(mask: Mask, yes: Vector, no: Vector) -> Vector = select_f32s
);

lanes!(
    f64, f64s, m64s, splat_f64s, reduce_sum_f64s, as_simd_f64s, as_mut_simd_f64s,
    fma(a: Vector, b: Vector, c: Vector) -> Vector = mul_add_e_f64s,
    vadd(a: Vector, b: Vector) -> Vector = add_f64s,
    vsub(a: Vector, b: Vector) -> Vector = sub_f64s,
    vmul(a: Vector, b: Vector) -> Vector = mul_f64s,
    keep(a: Vector, mask: Vector) -> Vector = and_f64s,
    equal(a: Vector, b: Vector) -> Mask = equal_f64s,
    less_than(a: Vector, b: Vector) -> Mask = less_than_f64s,
    less_or_equal(a: Vector, b: Vector) -> Mask = less_than_or_equal_f64s,
    or(a: Mask, b: Mask) -> Mask = or_m64s,
    not(a: Mask) -> Mask = not_m64s,
    select(mask: Mask, yes: Vector, no: Vector) -> Vector = select_f64s
);
