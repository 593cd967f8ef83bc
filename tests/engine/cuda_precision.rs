//! Products whose operands are rounded to tf32 and bf16, on cusim or on a GPU: which rounding it is,
//! to the bit; that nothing is off by more than the format explains; that f64 knows nothing of it.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::common;
use needs::test_on_cusim as test;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::host::{Fill, HostTensor, values};
use common::models::{BIASES_BEFORE_BATCH_NORM, Batch, Training, gradients, narrow};
use common::orders::{alone, in_every_order};
use common::registry::cases::sample;
use common::registry::{Case, Op};
use half::bf16;
use signet::device::{Precision, Precisions};
use signet::dtype::Float;
use signet::ops::conv2d::Conv2dOptions;
use signet::{Device, Tensor};

const ROUNDED: [Precision; 2] = [Precision::Tf32, Precision::Bf16];

fn cuda(precisions: impl Into<Precisions>) -> Device {
    let device = TestDevice::Cuda.open();
    device.set_precisions(precisions).expect("the tests' device has tensor cores");
    device
}

/// `x` rounded, by arithmetic on its value: ties of tf32 go away from zero, those of bf16 to even.
fn rounded(precision: Precision, x: f32) -> f32 {
    match precision {
        Precision::F32 => x,
        Precision::Bf16 => bf16::from_f32(x).to_f32(),
        Precision::Tf32 if !x.is_finite() => x,
        Precision::Tf32 => {
            // The last of the bits that stay weighs 2^-10 of the leading one; subnormal numbers have
            // the exponent of the smallest normal one.
            let exponent = (f64::from(x).abs().log2().floor() as i32).max(-126);
            let last = 2_f64.powi(exponent - 10);
            // `round` takes ties away from zero.
            ((f64::from(x) / last).round() * last) as f32
        }
    }
}

/// Numbers around the ties of both formats, of every sign and size.
fn numbers() -> Vec<f32> {
    let mut numbers = vec![0.0, 1.0, f32::MIN_POSITIVE, 1e-40, f32::INFINITY, 3e38, 1.0 / 3.0];
    // The bits that are cut off: none, one, just below, at and above a tie, all.
    for kept in [13, 16] {
        let half = 1_u32 << (kept - 1);
        for low in [0, 1, half - 1, half, half + 1, 2 * half - 1] {
            for leading in [0x3f80_0000_u32, 0x3f81_0000, 0x4049_2000, 0x0102_0000, 0x7e7f_0000] {
                let odd = leading + (1 << kept);
                numbers.extend([leading, odd].map(|bits| f32::from_bits(bits + low)));
            }
        }
    }
    let negative: Vec<f32> = numbers.iter().map(|x| -x).collect();
    numbers.extend(negative);
    numbers
}

/// A product with 1 is the other operand as it was rounded.
#[test]
fn each_operand_is_rounded_to_nearest() {
    let numbers = numbers();
    for precision in [Precision::F32, Precision::Tf32, Precision::Bf16] {
        let device = cuda(precision);
        let n = numbers.len();
        let column = Tensor::from_slice(&device, &numbers, [n, 1]).unwrap();
        let row = Tensor::from_slice(&device, &numbers, [1, n]).unwrap();
        let one = Tensor::from_slice(&device, &[1_f32], [1, 1]).unwrap();
        for product in [column.matmul(&one).unwrap(), one.matmul(&row).unwrap()] {
            for (&x, actual) in numbers.iter().zip(product.to_vec().unwrap()) {
                let expected = rounded(precision, x);
                assert_eq!(actual, expected, "{x:e} ({:#010x}) in {precision}", x.to_bits());
            }
        }
        let nan = Tensor::from_slice(&device, &[f32::NAN, f32::from_bits(0x7fff_ffff)], [2, 1]);
        let product = nan.unwrap().matmul(&one).unwrap().to_vec().unwrap();
        assert!(product.iter().all(|x| x.is_nan()), "{precision}: {product:?}");
    }
}

/// What `case` gives on these inputs under this upstream gradient: the output, then the gradients.
fn run<T: Float>(
    case: &Case,
    device: &Device,
    inputs: &[HostTensor],
    upstream: impl Fn(&[usize]) -> HostTensor,
) -> Vec<Vec<f64>> {
    let leaf = |x: &HostTensor| x.on::<T>(device).requires_grad(true).unwrap();
    let inputs: Vec<_> = inputs.iter().map(leaf).collect();
    let output = case.op.run(&inputs).unwrap_or_else(|e| panic!("{}: {e}", case.name()));
    output.backward_with(&upstream(output.dims()).on(device)).unwrap();
    let gradients =
        inputs.iter().map(|input| values(&input.grad().unwrap().expect("it is a leaf")));
    std::iter::once(values(&output)).chain(gradients).collect()
}

fn map(tensor: &HostTensor, f: impl Fn(f64) -> f64) -> HostTensor {
    HostTensor { values: tensor.values.iter().map(|&x| f(x)).collect(), ..tensor.clone() }
}

fn upstream(shape: &[usize]) -> HostTensor {
    Fill::Normal(1.0).draw(shape, 3, 50)
}

/// The products of the registry, and some that fill several tiles and slices.
fn products() -> Vec<Case> {
    let normal = |shape: &[usize]| (shape.to_vec(), Fill::Normal(1.0));
    let mut cases = sample();
    cases.retain(|case| match &case.op {
        // Groups of few channels are no products of matrices, and are not rounded.
        Op::Conv2d(Conv2dOptions { groups, .. }) => {
            let weight = &case.inputs[1].0;
            *groups == 1 || weight[1].max(weight[0] / groups) >= 8
        }
        Op::Matmul | Op::Linear => true,
        _ => false,
    });
    let conv2d = Op::Conv2d(Conv2dOptions { padding: 1.into(), ..Conv2dOptions::default() });
    cases.extend([
        Case { op: Op::Matmul, inputs: vec![normal(&[70, 133]), normal(&[133, 90])] },
        Case { op: Op::Linear, inputs: vec![normal(&[35, 200]), normal(&[66, 200])] },
        Case { op: conv2d, inputs: vec![normal(&[5, 35, 6, 7]), normal(&[40, 35, 3, 3])] },
    ]);
    cases
}

/// Every element of a product is a sum of `n` products, `sum a b`. Rounding its operands moves each
/// product by at most `(2 u + u^2) |a b|` (`Precision::unit_roundoff`). Every addition in f32, which
/// tensor cores may truncate, moves the sum by at most 2^-23 of what was added up, and so do, once
/// more, the additions of slices. All told:
///
/// `|error| <= (2 u + u^2 + 2 n 2^-23) sum |a b|`
///
/// The sums of absolute products and the `n` are those of the same op on absolute inputs, and on ones.
fn assert_within_the_bound(case: &Case, precision: Precision, actual: &[Vec<f64>]) {
    let cpu = TestDevice::Cpu.open();
    let inputs = drawn(case);
    let expected = run::<f64>(case, &cpu, &inputs, upstream);
    let absolute: Vec<_> = inputs.iter().map(|x| map(x, f64::abs)).collect();
    let sums = run::<f64>(case, &cpu, &absolute, |shape| map(&upstream(shape), f64::abs));
    let ones: Vec<_> = inputs.iter().map(|x| map(x, |_| 1.0)).collect();
    let counts = run::<f64>(case, &cpu, &ones, |shape| map(&upstream(shape), |_| 1.0));
    for (i, actual) in actual.iter().enumerate() {
        // Third among the inputs is the bias, whose gradient is a sum without products.
        let u = if i == 3 { 0.0 } else { precision.unit_roundoff() };
        for (j, &actual) in actual.iter().enumerate() {
            let (sum, n) = (sums[i][j], counts[i][j]);
            let allowed = (2.0 * u + u * u + 2.0 * n * 2_f64.powi(-23)) * sum;
            let error = (actual - expected[i][j]).abs();
            assert!(
                error <= allowed,
                "{} in {precision}: element {j} of result {i} is off by {error:e}, allowed {allowed:e}",
                case.name()
            );
        }
    }
}

fn drawn(case: &Case) -> Vec<HostTensor> {
    let inputs = case.inputs.iter().enumerate();
    inputs.map(|(i, (shape, fill))| fill.draw(shape, 2, i as u32)).collect()
}

#[test]
fn products_are_within_the_formats_bound_in_every_order() {
    alone("cuda_precision::products_are_within_the_formats_bound_in_every_order", &[], || {
        for precision in ROUNDED {
            let device = cuda(precision);
            for case in products() {
                let mut results = Vec::new();
                in_every_order(|| {
                    results.push(run::<f32>(&case, &device, &drawn(&case), upstream));
                });
                let name = format!("{} in {precision}", case.name());
                assert!(results.iter().all(|r| r == &results[0]), "{name}: other bits");
                assert_within_the_bound(&case, precision, &results[0]);
            }
        }
    });
}

#[test]
fn the_checks_find_nothing_in_any_precision() {
    alone(
        "cuda_precision::the_checks_find_nothing_in_any_precision",
        &[("CUSIM_CHECK", "1")],
        || {
            for precision in ROUNDED {
                let device = cuda(precision);
                for case in products() {
                    run::<f32>(&case, &device, &drawn(&case), upstream);
                }
            }
        },
    );
}

/// Small integers are in every format, and so are their products and sums: nothing is rounded then,
/// whatever the order. Other numbers show that something is.
#[test]
fn only_what_a_format_has_no_room_for_is_changed() {
    let exact = cuda(Precision::F32);
    for precision in ROUNDED {
        let device = cuda(precision);
        for case in products() {
            let name = format!("{} in {precision}", case.name());
            let inputs = drawn(&case);
            let integers: Vec<_> = inputs.iter().map(|x| map(x, |x| (4.0 * x).round())).collect();
            let of_integers = |shape: &[usize]| map(&upstream(shape), |x| (4.0 * x).round());
            let expected = run::<f32>(&case, &exact, &integers, of_integers);
            let actual = run::<f32>(&case, &device, &integers, of_integers);
            assert_eq!(actual, expected, "{name}: integers");
            let expected = run::<f32>(&case, &exact, &inputs, upstream);
            let actual = run::<f32>(&case, &device, &inputs, upstream);
            for i in 0..3 {
                assert_ne!(actual[i], expected[i], "{name}: result {i} is not rounded");
            }
        }
    }
}

/// Each kind of product follows its own setting, and f64 none.
#[test]
fn the_setting_is_one_of_the_device_and_of_a_kind_of_product() {
    let cases = products();
    let find = |op: fn(&Op) -> bool| cases.iter().find(|case| op(&case.op)).expect("it is there");
    let conv2d = find(|op| matches!(op, Op::Conv2d(_)));
    let linear = cases.iter().rfind(|case| case.op == Op::Linear).expect("it is there");
    let device = TestDevice::Cuda.open();
    let bits = |precisions: Precisions| {
        device.set_precisions(precisions).unwrap();
        assert_eq!(device.precisions(), precisions);
        [conv2d, linear].map(|case| run::<f32>(case, &device, &drawn(case), upstream))
    };
    let doubles = || [conv2d, linear].map(|case| run::<f64>(case, &device, &drawn(case), upstream));
    let [f32_conv, f32_linear] = bits(Precision::F32.into());
    let exact = doubles();
    for precision in ROUNDED {
        let [rounded_conv, rounded_linear] = bits(precision.into());
        assert!(rounded_conv != f32_conv && rounded_linear != f32_linear, "{precision}");
        assert_eq!(doubles(), exact, "f64 under {precision}");
        let mixed = bits(Precisions { convolution: precision, matmul: Precision::F32 });
        assert_eq!(mixed, [rounded_conv.clone(), f32_linear.clone()], "{precision}");
        let mixed = bits(Precisions { convolution: Precision::F32, matmul: precision });
        assert_eq!(mixed, [f32_conv.clone(), rounded_linear], "{precision}");
    }
    // A clone of a handle is the same device.
    device.clone().set_precisions(Precision::F32).unwrap();
    assert_eq!(device.precisions(), Precision::F32.into());
}

/// A whole step, and ten. With `d = 2 u`, every product is off by `d` of its terms or less. To first
/// order, of the input of the first rectifier and max-pool that is `d` of the values, of the second
/// `2 d`, and so on up to `4 d` before the last rectifier.
///
/// - The loss is continuous in that: it moves by five products' worth.
/// - A gradient is not. A rectifier whose input lies within that distance of zero, or a window with a
///   rival so near its maximum (one of three), may pass what it should not: at each layer a share of
///   the distance for the rectifier and of three times that for the pool, `(1 + 2 + 3) 4 d + 4 d = 28 d`
///   in all. Each is as large as any other term, so the gradient moves by the root of that. Pixels are
///   not centred: batch norm takes away the larger half of the terms of the first layer, but not of
///   their errors. So twice that is allowed.
#[test]
fn the_network_learns_in_every_precision() {
    let batch = Batch::random(9, 0);
    let train = |precision: Precision| {
        let mut training = Training::<f32>::new(&cuda(precision), 7, narrow([0.0, 0.0]));
        let mut losses = Vec::new();
        let mut first = None;
        for _ in 0..10 {
            losses.push(values(&training.step(&batch).loss)[0]);
            first.get_or_insert_with(|| gradients(&training.model));
        }
        (losses, first.expect("there was a step"))
    };
    let norm = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (expected, exact) = train(Precision::F32);
    for precision in ROUNDED {
        let d = 2.0 * precision.unit_roundoff();
        let (losses, rounded) = train(precision);
        let loss = Tolerance::relative(5.0 * d);
        assert_close(format!("{precision}: loss"), &losses[..1], &expected[..1], loss);
        let shares = exact.iter().map(|(key, exact)| {
            let difference: Vec<f64> =
                rounded[key].iter().zip(exact).map(|(rounded, exact)| rounded - exact).collect();
            (key, norm(&difference) / norm(exact))
        });
        // The true gradients of these are 0, and what is there is rounding.
        let shares: Vec<_> =
            shares.filter(|(key, _)| !BIASES_BEFORE_BATCH_NORM.contains(&key.as_str())).collect();
        let allowed = (2.0 * 28.0 * d).sqrt();
        let within = |&(_, share): &(_, f64)| share > 0.0 && share <= allowed;
        assert!(shares.iter().all(within), "{precision}: {shares:?}, allowed {allowed}");
        let [learned, should] = [&losses, &expected].map(|losses| losses[0] - losses[9]);
        assert!(should > 0.1, "f32 learns nothing: {expected:?}");
        assert!((learned - should).abs() < 0.2 * should, "{precision}: {losses:?}, {expected:?}");
    }
}
