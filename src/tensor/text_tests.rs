//! What PyTorch 2 prints of the same values, without its `tensor(` and what follows them.

#![expect(clippy::excessive_precision, reason = "the digits that PyTorch was given")]

use super::values_text;

/// The indent of the values behind `tensor(`.
const INDENT: usize = 7;

#[track_caller]
fn check<E: super::Element>(values: &[E], dims: &[usize], expected: &str) {
    assert_eq!(values_text(values, dims, INDENT), expected);
}

#[test]
fn whole_numbers_have_a_point_and_no_digits() {
    check(
        &[1.0_f32, 2.0, 3.0, 4.0],
        &[2, 2],
        r"[[1., 2.],
        [3., 4.]]",
    );
    check(
        &[0.0_f32, 0.0, 0.0, 0.0, 0.0, 0.0],
        &[2, 3],
        r"[[0., 0., 0.],
        [0., 0., 0.]]",
    );
    check(&[1.0_f32, f32::NAN, f32::NEG_INFINITY], &[3], r"[1., nan, -inf]");
    check(&[f32::INFINITY, f32::NAN], &[2], r"[inf, nan]");
}

#[test]
fn four_digits_stand_behind_the_point() {
    check(
        &[0.5_f32, -1.25, 100.125, 3.0],
        &[2, 2],
        r"[[  0.5000,  -1.2500],
        [100.1250,   3.0000]]",
    );
    check(&[3.141590118408203_f32], &[], r"3.1416");
    check(
        &[1.5_f32, f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
        &[4],
        r"[1.5000,    nan,    inf,   -inf]",
    );
    check(&[-0.0_f32, 1.5], &[2], r"[-0.0000, 1.5000]");
    check(&[0.1_f64, 0.25], &[2], r"[0.1000, 0.2500]");
    check(&[4.999999873689376e-05_f32, 0.0001500000071246177], &[2], r"[5.0000e-05, 1.5000e-04]");
}

#[test]
fn far_apart_or_tiny_numbers_have_exponents() {
    check(&[9.999999747378752e-06_f32, 0.5], &[2], r"[1.0000e-05, 5.0000e-01]");
    check(&[1.0_f32, 2000.5], &[2], r"[1.0000e+00, 2.0005e+03]");
    check(&[1000000000.0_f32, 1.0], &[2], r"[1.0000e+09, 1.0000e+00]");
}

#[test]
fn integers_are_as_they_are() {
    check(
        &[1_i32, -20, 300, 4],
        &[2, 2],
        r"[[  1, -20],
        [300,   4]]",
    );
    check(&[0_u8, 7, 255], &[3], r"[  0,   7, 255]");
}

#[test]
fn brackets_nest_and_lines_wrap() {
    let values: Vec<f32> = (0..12).map(|i| i as f32 / 8.0).collect();
    check(
        &values,
        &[2, 3, 2],
        r"[[[0.0000, 0.1250],
         [0.2500, 0.3750],
         [0.5000, 0.6250]],

        [[0.7500, 0.8750],
         [1.0000, 1.1250],
         [1.2500, 1.3750]]]",
    );
    let values: Vec<f32> = (0..8).map(|i| i as f32).collect();
    check(
        &values,
        &[2, 1, 2, 2],
        r"[[[[0., 1.],
          [2., 3.]]],


        [[[4., 5.],
          [6., 7.]]]]",
    );
    let values: Vec<f32> = (0..30).map(|i| i as f32 / 4.0).collect();
    check(
        &values,
        &[30],
        r"[0.0000, 0.2500, 0.5000, 0.7500, 1.0000, 1.2500, 1.5000, 1.7500, 2.0000,
        2.2500, 2.5000, 2.7500, 3.0000, 3.2500, 3.5000, 3.7500, 4.0000, 4.2500,
        4.5000, 4.7500, 5.0000, 5.2500, 5.5000, 5.7500, 6.0000, 6.2500, 6.5000,
        6.7500, 7.0000, 7.2500]",
    );
    check(&[0_f32; 0], &[0], r"[]");
}

#[test]
fn beyond_a_thousand_the_middle_is_left_out() {
    let values: Vec<f32> = (0..1001).map(|i| i as f32).collect();
    check(&values, &[1001], r"[   0.,    1.,    2.,  ...,  998.,  999., 1000.]");
    let values: Vec<f32> = (0..3000).map(|i| i as f32 / 16.0).collect();
    check(
        &values,
        &[100, 30],
        r"[[0.0000e+00, 6.2500e-02, 1.2500e-01,  ..., 1.6875e+00, 1.7500e+00,
         1.8125e+00],
        [1.8750e+00, 1.9375e+00, 2.0000e+00,  ..., 3.5625e+00, 3.6250e+00,
         3.6875e+00],
        [3.7500e+00, 3.8125e+00, 3.8750e+00,  ..., 5.4375e+00, 5.5000e+00,
         5.5625e+00],
        ...,
        [1.8188e+02, 1.8194e+02, 1.8200e+02,  ..., 1.8356e+02, 1.8362e+02,
         1.8369e+02],
        [1.8375e+02, 1.8381e+02, 1.8388e+02,  ..., 1.8544e+02, 1.8550e+02,
         1.8556e+02],
        [1.8562e+02, 1.8569e+02, 1.8575e+02,  ..., 1.8731e+02, 1.8738e+02,
         1.8744e+02]]",
    );
    let values: Vec<f32> = (0..1200).map(|i| i as f32).collect();
    check(
        &values,
        &[2, 4, 150],
        r"[[[0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 1.4700e+02,
          1.4800e+02, 1.4900e+02],
         [1.5000e+02, 1.5100e+02, 1.5200e+02,  ..., 2.9700e+02,
          2.9800e+02, 2.9900e+02],
         [3.0000e+02, 3.0100e+02, 3.0200e+02,  ..., 4.4700e+02,
          4.4800e+02, 4.4900e+02],
         [4.5000e+02, 4.5100e+02, 4.5200e+02,  ..., 5.9700e+02,
          5.9800e+02, 5.9900e+02]],

        [[6.0000e+02, 6.0100e+02, 6.0200e+02,  ..., 7.4700e+02,
          7.4800e+02, 7.4900e+02],
         [7.5000e+02, 7.5100e+02, 7.5200e+02,  ..., 8.9700e+02,
          8.9800e+02, 8.9900e+02],
         [9.0000e+02, 9.0100e+02, 9.0200e+02,  ..., 1.0470e+03,
          1.0480e+03, 1.0490e+03],
         [1.0500e+03, 1.0510e+03, 1.0520e+03,  ..., 1.1970e+03,
          1.1980e+03, 1.1990e+03]]]",
    );
}

#[test]
fn a_thousand_are_all_shown() {
    let values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    let text = values_text(&values, &[1000], INDENT);
    assert!(text.starts_with(
        "[  0.,   1.,   2.,   3.,   4.,   5.,   6.,   7.,   8.,   9.,  10.,  11.,\n         12.,"
    ));
    assert!(text.ends_with("\n        996., 997., 998., 999.]"));
}
