//! The wrappers of `kernels/mma.cuh` by themselves.

use crate::Cuda;
use crate::common::cuda::device;
use crate::device::Backend;
use crate::rng::Philox;
use needs::test_on_cusim as test;

const FILE: &str = "test_mma";
const WARPS: usize = 3;

/// Integers of few bits, which both formats hold.
fn integers(n: usize, stream: u32) -> Vec<f32> {
    let mut random = Philox::new(5).sequence(stream, 0);
    (0..n).map(|_| random.below(201) as f32 - 100.0).collect()
}

/// `c + a b` of every warp; `b` lies transposed, `[8, k]`.
fn expected(a: &[f32], b: &[f32], c: &[f32], k: usize) -> Vec<f32> {
    let element = |i: usize| {
        let (warp, row, col) = (i / 128, i / 8 % 16, i % 8);
        let (a, b) = (&a[warp * 16 * k + row * k..][..k], &b[warp * 8 * k + col * k..][..k]);
        c[i] + a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>()
    };
    (0..c.len()).map(element).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn multiply(device: &Cuda, kernel: &'static str, a: &[u32], b: &[u32], c: &[f32]) -> Vec<f32> {
    let (a, b, mut c) =
        (device.upload(a).unwrap(), device.upload(b).unwrap(), device.upload(c).unwrap());
    device
        .kernel::<f32>(FILE, kernel)
        .unwrap()
        .input(Cuda::view(&a))
        .input(Cuda::view(&b))
        .output(Cuda::view_mut(&mut c))
        .launch([1, 1, 1], [32 * WARPS as u32, 1, 1])
        .unwrap();
    device.read(Cuda::view(&c)).unwrap()
}

#[test]
fn tf32_multiplies_matrices_and_ignores_the_lower_bits() {
    let Some(device) = device() else { return };
    let (a, b, c) =
        (integers(WARPS * 16 * 8, 0), integers(WARPS * 8 * 8, 1), integers(WARPS * 16 * 8, 2));
    let expected = expected(&a, &b, &c, 8);
    // From `[8, k]` to `[k, 8]`.
    let b: Vec<f32> = (0..b.len()).map(|i| b[i / 64 * 64 + i % 8 * 8 + i / 8 % 8]).collect();
    for lower in [0, 1, 0x1fff] {
        let with_lower = |values: &[f32]| -> Vec<u32> {
            bits(values).into_iter().map(|bits| bits | lower).collect()
        };
        let product = multiply(&device, "tf32", &with_lower(&a), &with_lower(&b), &c);
        assert_eq!(product, expected, "lower bits {lower:#x}");
    }
}

#[test]
fn bf16_multiplies_matrices() {
    let Some(device) = device() else { return };
    let (a, b, c) =
        (integers(WARPS * 16 * 16, 3), integers(WARPS * 8 * 16, 4), integers(WARPS * 16 * 8, 5));
    let product = multiply(&device, "bf16", &bits(&a), &bits(&b), &c);
    assert_eq!(product, expected(&a, &b, &c, 16));
}

/// Ties, the numbers beside them, and those at the ends of the range.
#[test]
fn operands_are_rounded_to_nearest() {
    let Some(device) = device() else { return };
    // The float, the tf32, the bf16.
    let cases: [[u32; 3]; 16] = [
        [0x3f80_0fff, 0x3f80_0000, 0x3f80_0000],
        [0x3f80_1000, 0x3f80_2000, 0x3f80_0000], // a tie of tf32: away from zero
        [0x3f80_3000, 0x3f80_4000, 0x3f80_0000], // and from an odd one
        [0x3f80_1001, 0x3f80_2000, 0x3f80_0000],
        [0xbf80_1000, 0xbf80_2000, 0xbf80_0000],
        [0x3f80_7fff, 0x3f80_8000, 0x3f80_0000],
        [0x3f80_8000, 0x3f80_8000, 0x3f80_0000], // a tie of bf16: to the even one below
        [0x3f81_8000, 0x3f81_8000, 0x3f82_0000], // and above
        [0x3f80_8001, 0x3f80_8000, 0x3f81_0000],
        [0x3fff_ffff, 0x4000_0000, 0x4000_0000],
        [0x7f7f_ffff, 0x7f80_0000, 0x7f80_0000], // to infinity
        [0xff80_0000, 0xff80_0000, 0xff80_0000],
        [0x0000_1000, 0x0000_2000, 0x0000_0000], // subnormal
        [0x0000_8001, 0x0000_8000, 0x0001_0000],
        [0x8000_0000, 0x8000_0000, 0x8000_0000],
        [0, 0, 0],
    ];
    let x = device.upload(&cases.map(|[x, ..]| f32::from_bits(x))).unwrap();
    let [mut as_tf32, mut as_bf16] = [(); 2].map(|()| device.alloc::<u32>(cases.len()).unwrap());
    device
        .kernel::<f32>(FILE, "round_both")
        .unwrap()
        .input(Cuda::view(&x))
        .output(Cuda::view_mut(&mut as_tf32))
        .output(Cuda::view_mut(&mut as_bf16))
        .launch([1, 1, 1], [cases.len() as u32, 1, 1])
        .unwrap();
    let (as_tf32, as_bf16) =
        (device.read(Cuda::view(&as_tf32)).unwrap(), device.read(Cuda::view(&as_bf16)).unwrap());
    for (i, [x, tf32, bf16]) in cases.into_iter().enumerate() {
        // Hardware may leave anything in the bits that are no part of a tf32.
        assert_eq!(as_tf32[i] & !0x1fff, tf32, "{x:#010x} in tf32");
        assert_eq!(as_bf16[i], bf16, "{x:#010x} in bf16");
    }
}
