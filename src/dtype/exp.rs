//! `e^x` in `f32`, as a formula without branches: a compiler makes vectors of a loop over it.

/// `e^x`, to one unit in the last place where the result is no smaller than normal numbers.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Added and taken away, it rounds to a whole number, which is then in the last bits of the sum.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    // Beyond, the result is infinite or 0 anyway. NaN is neither more nor less, and stays.
    let x = if x > 89.0 { 89.0 } else { x };
    // 0 is not computed: of numbers below the normal ones a processor takes a hundred times as long, and a
    // masked softmax is half of them.
    let vanishes = x < -104.0;
    let x = if vanishes { 0.0 } else { x };
    // e^x = 2^n e^r, where r is at most log(2) / 2. n log(2) is taken off in two parts, of which the
    // first has so few bits that its products are exact.
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4;
    let r = r - n * -2.121_944_4e-4;
    // The polynomial of `expf` in Moshier's Cephes library.
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p * r + c;
    }
    let y = p * (r * r) + r + 1.0;
    // 2^n in two factors, as n may be beyond the exponents of normal numbers.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let y = y * power(half) * power(n.wrapping_sub(half));
    if vanishes { 0.0 } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_exact_to_a_unit_in_the_last_place() {
        let mut worst: (f64, f32) = (0.0, 0.0);
        for x in (0..=u32::MAX).step_by(10_007).map(f32::from_bits).filter(|x| x.abs() < 88.7) {
            let exact = f64::from(x).exp();
            let nearest = exact as f32;
            if nearest >= f32::MIN_POSITIVE {
                let unit = f64::from(nearest.next_up()) - f64::from(nearest);
                let error = (f64::from(exp(x)) - exact).abs() / unit;
                worst = if error > worst.0 { (error, x) } else { worst };
            }
        }
        assert!(worst.0 < 1.0, "{worst:?}");
        let denormal = f64::from(exp(-100.0)) - (-100.0_f64).exp();
        assert!(denormal.abs() < f64::from(f32::from_bits(1)));
        assert_eq!(
            [exp(0.0), exp(-0.0), exp(f32::INFINITY), exp(89.5)],
            [1.0, 1.0, f32::INFINITY, f32::INFINITY]
        );
        assert_eq!([exp(f32::NEG_INFINITY), exp(-200.0)], [0.0, 0.0]);
        assert!(exp(f32::NAN).is_nan() && exp(-f32::NAN).is_nan());
    }
}
