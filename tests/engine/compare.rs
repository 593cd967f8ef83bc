//! The comparer itself: what it lets through, what it does not, and what it says.

use crate::common;

use common::compare::{Tolerance, compare};
use common::fixture::Fixture;
use common::host::{HostTensor, values};
use signet::ops::conv2d::{Conv2dOptions, conv2d};
use signet::{Cpu, Device, Tensor};

/// The loosest tolerance of an op.
fn loosest() -> Tolerance {
    Tolerance::of::<f32>()
}

#[test]
fn equal_values_pass_nan_and_infinity_included() {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.5];
    assert_eq!(compare(&special, &special, Tolerance::default()).unwrap().share, 0.0);
}

#[test]
fn nothing_else_equals_nan_or_infinity() {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0];
    let generous = Tolerance::absolute(1e300);
    for a in special {
        for b in special.into_iter().filter(|b| a.to_bits() != b.to_bits()) {
            assert!(compare(&[a], &[b], generous).is_err(), "{a} and {b}");
        }
    }
}

#[test]
fn another_length_fails() {
    assert!(compare(&[1.0], &[1.0, 1.0], loosest()).is_err());
}

#[test]
fn the_tolerance_is_a_bound_and_the_failure_names_the_worst() {
    let expected = [1.0, -200.0, 4.0];
    let tolerance = Tolerance { absolute: 0.1, relative: 0.01, of_scale: 0.001 };
    // 0.1 + 0.01 * 4 + 0.001 * 200 = 0.34 for the last.
    let worst = compare(&[1.0, -200.0, 4.33], &expected, tolerance).unwrap();
    assert!(worst.index == 2 && (worst.share - 0.33 / 0.34).abs() < 1e-9, "{worst}");
    let message = compare(&[1.2, -200.0, 4.68], &expected, tolerance).unwrap_err();
    assert_eq!(message, "element 2: 4.68e0, expected 4e0, 2.000 of the tolerance");
}

/// 1 % more in any gradient of any op, and 1 % more in its largest element alone.
#[test]
fn a_gradient_too_large_by_a_hundredth_fails() {
    let files = [
        "adaptive_avg_pool2d",
        "add",
        "avg_pool2d",
        "batch_norm2d",
        "conv2d",
        "conv2d_groups",
        "cross_entropy",
        "flatten",
        "linear",
        "matmul",
        "max_pool2d",
        "mean",
        "mul",
        "relu",
        "reshape",
        "sum",
    ];
    let mut altered = 0;
    for file in files {
        let fixture = Fixture::load(file);
        for (key, gradient) in fixture.tensors().iter().filter(|(key, _)| key.contains("/grad_")) {
            let right = &gradient.values;
            compare(right, right, loosest()).unwrap();
            let size = |i: &usize| if right[*i].is_finite() { right[*i].abs() } else { 0.0 };
            let largest = (0..right.len()).max_by(|a, b| size(a).total_cmp(&size(b)));
            // None where all targets are ignored, and of an empty batch.
            let Some(largest) = largest.filter(|largest| size(largest) > 0.0) else { continue };
            let all: Vec<f64> = right.iter().map(|g| 1.01 * g).collect();
            let mut one = right.clone();
            one[largest] *= 1.01;
            assert!(compare(&all, right, loosest()).is_err(), "{file} {key}");
            assert!(compare(&one, right, loosest()).is_err(), "{file} {key}");
            altered += 1;
        }
    }
    assert!(altered > 200, "only {altered} gradients were altered");
}

/// A border that is nearly zero is not zero.
#[test]
fn a_wrong_padding_term_fails() {
    let device = Device::from(Cpu::new(Some(1)).unwrap());
    let cases = Fixture::cases("conv2d");
    let case = cases.iter().find(|case| case.name == "conv2d/k3_p1_b3").unwrap();
    let unpadded = |border: f64| {
        let input: Tensor<f64> = bordered(case.tensor("input"), border).on(&device);
        let [weight, bias] = ["weight", "bias"].map(|name| case.tensor(name).on(&device));
        values(&conv2d(&input, &weight, Some(&bias), &Conv2dOptions::default()).unwrap())
    };
    let expected = &case.tensor("output").values;
    compare(&unpadded(0.0), expected, loosest()).unwrap();
    compare(&unpadded(1e-3), expected, loosest()).unwrap_err();
}

/// `[N, C, H, W]` with one row and column of `value` on each side.
fn bordered(images: &HostTensor, value: f64) -> HostTensor {
    let [n, c, h, w] = images.shape[..].try_into().expect("images");
    let mut planes = vec![value; n * c * (h + 2) * (w + 2)];
    for (i, row) in images.values.chunks_exact(w).enumerate() {
        let (plane, y) = (i / h, i % h);
        planes[(plane * (h + 2) + y + 1) * (w + 2) + 1..][..w].copy_from_slice(row);
    }
    HostTensor { shape: vec![n, c, h + 2, w + 2], values: planes }
}

/// The variance that normalises is not the one that is tracked.
#[test]
fn a_biased_running_variance_fails() {
    let (mut in_f64, mut in_f32) = (0, 0);
    for case in Fixture::cases("batch_norm2d") {
        let (Some(before), Some(after)) =
            (case.get("running_var_before"), case.get("running_var_after"))
        else {
            continue;
        };
        if !case.flag("training") {
            continue;
        }
        let shape = &case.tensor("input").shape;
        let count = (shape[0] * shape[2] * shape[3]) as f64;
        let tracked = case.tensor("num_batches_tracked_after").values[0];
        let momentum = case.attribute("momentum").as_f64().unwrap_or(1.0 / tracked);
        let biased: Vec<f64> = before
            .values
            .iter()
            .zip(&after.values)
            .map(|(before, after)| {
                let kept = (1.0 - momentum) * before;
                kept + (after - kept) * (count - 1.0) / count
            })
            .collect();
        let fails = |tolerance| compare(&biased, &after.values, tolerance).is_err();
        assert!(fails(Tolerance::of::<f64>()), "{}", case.name);
        in_f64 += 1;
        in_f32 += u32::from(fails(loosest()));
    }
    // One case has inputs so small that f32 cannot tell.
    assert!(in_f32 + 1 >= in_f64 && in_f32 > 8, "{in_f32} of {in_f64}");
}
