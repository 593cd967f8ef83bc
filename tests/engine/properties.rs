//! Random geometries: every op is its definition, and whatever does not fit is an error.

use crate::common;
use crate::on_every_device;

use common::compare::{Tolerance, compare};
use common::device::TestDevice;
use common::host::{Fill, HostTensor, values};
use common::registry::{Op, Then};
use proptest::array::uniform2;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseResult, TestRunner};
use signet::nn::{
    AdaptiveAvgPool2d, AvgPool2d, BatchNorm2d, Conv2d, Dropout, Flatten, Forward, Layer, Linear,
    MaxPool2d, ReLU, Sequential,
};
use signet::ops::augment::{AugmentOptions, Draw, augment};
use signet::ops::background::{Backdrop, background};
use signet::ops::batch_norm2d::{Statistics, Tracked, batch_norm2d};
use signet::ops::conv2d::Conv2dOptions;
use signet::ops::cross_entropy::{CrossEntropyOptions, cross_entropy};
use signet::ops::dropout::DropoutGeometry;
use signet::ops::random_filter::{RandomFilter, random_filter};
use signet::rng::{Philox, stream};
use signet::{Device, GradcheckOptions, Shape, Tensor, gradcheck};
use std::fmt::Debug;

on_every_device! {
    a_convolution_is_its_definition,
    a_pooling_is_its_definition,
    an_average_is_its_definition,
    a_batch_norm_is_its_definition,
    a_linear_layer_is_its_definition,
    a_dropout_is_its_definition,
    augmented_images_are_their_definition,
    filtered_images_are_their_definition,
    replaced_backgrounds_are_their_definition,
    augmentation_by_nothing_changes_nothing,
    a_right_answer_is_the_first_largest_logit,
    gradients_of_random_geometries_agree_with_differences,
    what_does_not_fit_is_an_error_and_never_a_panic,
    images_without_pixels_are_errors,
    huge_attributes_are_errors,
    a_layer_knows_the_shape_of_its_output,
    reshape_and_flatten_go_round,
}

/// Runs `test` on random values and shows the simplest that fails.
#[track_caller]
fn for_all<S: Strategy<Value: Debug>>(
    cases: u32,
    strategy: S,
    test: impl Fn(S::Value) -> TestCaseResult,
) {
    let known = FileFailurePersistence::Direct("tests/properties.proptest-regressions");
    let config = Config { cases, failure_persistence: Some(Box::new(known)), ..Config::default() };
    if let Err(error) = TestRunner::new(config).run(&strategy, test) {
        panic!("{error}");
    }
}

/// Fails the case unless the values agree as one op in f64 must.
fn expect_close(actual: &[f64], expected: &[f64]) -> TestCaseResult {
    compare(actual, expected, Tolerance::of::<f64>().plus(1e-13))
        .map(|_| ())
        .map_err(TestCaseError::fail)
}

/// Runs `op` and compares it with its definition, which is `None` where the shapes do not fit.
fn expect_definition(
    device: &Device,
    op: &Op,
    inputs: &[HostTensor],
    definition: Option<HostTensor>,
) -> TestCaseResult {
    let inputs: Vec<Tensor<f64>> = inputs.iter().map(|input| input.on(device)).collect();
    match (op.run(&inputs), definition) {
        (Ok(output), Some(expected)) => {
            prop_assert_eq!(output.dims(), &expected.shape[..]);
            expect_close(&values(&output), &expected.values)
        }
        (Err(_), None) => Ok(()),
        (Ok(output), None) => Err(TestCaseError::fail(format!("{output:?} of what does not fit"))),
        (Err(error), Some(_)) => Err(TestCaseError::fail(format!("it fits: {error}"))),
    }
}

// --- convolution ---

#[derive(Debug, Clone)]
struct Convolution {
    options: Conv2dOptions,
    /// Input, weight, bias or none.
    inputs: Vec<HostTensor>,
}

fn convolutions(size: std::ops::Range<usize>) -> impl Strategy<Value = Convolution> {
    let geometry = (1..4usize, 1..4usize, 1..6usize, uniform2(size), uniform2(1..5usize));
    let sides = uniform2(uniform2(0..4usize));
    let groups = prop_oneof![Just(1usize), 2..4usize];
    let options = (uniform2(1..4usize), sides, uniform2(1..4usize), groups);
    let drawn = (geometry, options, any::<bool>(), any::<u64>());
    drawn.prop_map(|((n, c, filters, [h, w], [kh, kw]), options, bias, seed)| {
        let (stride, sides, dilation, groups) = options;
        let (c, filters) = (c * groups, filters * groups);
        let draw = |shape: &[usize], i| Fill::Normal(1.0).draw(shape, seed, i);
        let mut inputs = vec![draw(&[n, c, h, w], 0), draw(&[filters, c / groups, kh, kw], 1)];
        inputs.extend(bias.then(|| draw(&[filters], 2)));
        let options = Conv2dOptions { stride, padding: sides.into(), dilation, groups };
        Convolution { options, inputs }
    })
}

impl Convolution {
    fn definition(&self) -> Option<HostTensor> {
        let Conv2dOptions { stride, dilation, groups, .. } = self.options;
        let [n, all, h, w] = dims(&self.inputs[0]);
        let [filters, c, kh, kw] = dims(&self.inputs[1]);
        let padding = self.options.sides([kh, kw]).unwrap();
        let size = |axis: usize, size: usize, kernel: usize| {
            let reach = dilation[axis] * (kernel - 1) + 1;
            let [before, after] = padding[axis];
            Some((before + size + after).checked_sub(reach)? / stride[axis] + 1)
        };
        let (oh, ow) = (size(0, h, kh)?, size(1, w, kw)?);
        let (input, weight) = (&self.inputs[0].values, &self.inputs[1].values);
        let values = positions([n, filters, oh, ow]).map(|[image, filter, y, x]| {
            let taps = positions([1, c, kh, kw]).filter_map(|[_, channel, i, j]| {
                let row = (y * stride[0] + i * dilation[0]).checked_sub(padding[0][0])?;
                let column = (x * stride[1] + j * dilation[1]).checked_sub(padding[1][0])?;
                let inside = row < h && column < w;
                let seen = filter / (filters / groups) * c + channel;
                let pixel = ((image * all + seen) * h + row) * w + column;
                let tap = ((filter * c + channel) * kh + i) * kw + j;
                inside.then(|| input[pixel] * weight[tap])
            });
            let bias = self.inputs.get(2).map_or(0.0, |bias| bias.values[filter]);
            taps.sum::<f64>() + bias
        });
        Some(HostTensor { values: values.collect(), shape: vec![n, filters, oh, ow] })
    }
}

fn dims<const N: usize>(tensor: &HostTensor) -> [usize; N] {
    tensor.shape[..].try_into().expect("the drawn rank")
}

/// All positions of a four-dimensional tensor, row-major.
fn positions([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = [usize; 4]> {
    (0..a * b * c * d).map(move |i| [i / d / c / b, i / d / c % b, i / d % c, i % d])
}

fn a_convolution_is_its_definition(on: TestDevice) {
    let device = on.open();
    for_all(256, convolutions(1..10), |drawn| {
        let op = Op::Conv2d(drawn.options);
        expect_definition(&device, &op, &drawn.inputs, drawn.definition())
    });
}

// --- pooling ---

fn pools() -> impl Strategy<Value = MaxPool2d> {
    let options = (uniform2(1..5usize), uniform2(1..4usize), uniform2(0..3usize), any::<bool>());
    let dilation = prop_oneof![Just([1, 1]), uniform2(1..4usize)];
    (options, dilation).prop_map(|((kernel_size, stride, padding, ceil_mode), dilation)| {
        MaxPool2d { kernel_size, stride, padding, dilation, ceil_mode }
    })
}

fn averages() -> impl Strategy<Value = AvgPool2d> {
    (pools(), any::<bool>(), proptest::option::of(1..5usize)).prop_map(
        |(MaxPool2d { kernel_size, stride, padding, ceil_mode, .. }, include, divisor)| {
            let pool = AvgPool2d::new(kernel_size).stride(stride).padding(padding);
            pool.ceil_mode(ceil_mode).count_include_pad(include).divisor_override(divisor)
        },
    )
}

fn images(size: std::ops::Range<usize>, fill: Fill) -> impl Strategy<Value = HostTensor> {
    let drawn = (1..4usize, 1..4usize, uniform2(size), any::<u64>());
    drawn.prop_map(move |(n, c, [h, w], seed)| fill.draw(&[n, c, h, w], seed, 0))
}

/// The output's size along one axis, as PyTorch's documentation says it.
fn pooled_size(pool: &MaxPool2d, axis: usize, size: usize) -> Option<usize> {
    let (kernel, stride, padding) = (pool.kernel_size[axis], pool.stride[axis], pool.padding[axis]);
    if padding > kernel / 2 {
        return None;
    }
    let span = (size + 2 * padding).checked_sub((kernel - 1) * pool.dilation[axis] + 1)?;
    let windows = if pool.ceil_mode { span.div_ceil(stride) } else { span / stride } + 1;
    // Windows that would start in the padding beyond the end are left out.
    Some((0..windows).filter(|window| window * stride < size + padding).count())
}

fn pooled(pool: &MaxPool2d, input: &HostTensor) -> Option<HostTensor> {
    let [n, c, h, w] = dims(input);
    let (oh, ow) = (pooled_size(pool, 0, h)?, pooled_size(pool, 1, w)?);
    let [kh, kw] = pool.kernel_size;
    let values = positions([n, c, oh, ow]).map(|[image, channel, y, x]| {
        let window = positions([1, 1, kh, kw]).filter_map(|[_, _, i, j]| {
            let (i, j) = (i * pool.dilation[0], j * pool.dilation[1]);
            let row = (y * pool.stride[0] + i).checked_sub(pool.padding[0])?;
            let column = (x * pool.stride[1] + j).checked_sub(pool.padding[1])?;
            let pixel = ((image * c + channel) * h + row) * w + column;
            (row < h && column < w).then(|| input.values[pixel])
        });
        window.fold(f64::NEG_INFINITY, f64::max)
    });
    Some(HostTensor { values: values.collect(), shape: vec![n, c, oh, ow] })
}

fn a_pooling_is_its_definition(on: TestDevice) {
    let device = on.open();
    for_all(256, (pools(), images(1..9, Fill::Normal(1.0))), |(pool, input)| {
        let definition = pooled(&pool, &input);
        expect_definition(&device, &Op::MaxPool2d(pool), &[input], definition)
    });
}

/// The mean over `rows` and `columns` of an output element, `count` of them.
fn averaged(
    input: &HostTensor,
    [oh, ow]: [usize; 2],
    window: impl Fn(usize, usize) -> (std::ops::Range<usize>, std::ops::Range<usize>, f64),
) -> HostTensor {
    let [n, c, h, w] = dims(input);
    let values = positions([n, c, oh, ow]).map(|[image, channel, y, x]| {
        let (rows, columns, count) = window(y, x);
        let at = |row: usize, column| ((image * c + channel) * h + row) * w + column;
        let sum: f64 = rows
            .flat_map(|row| columns.clone().map(move |column| (row, column)))
            .map(|(row, column)| input.values[at(row, column)])
            .sum();
        sum / count
    });
    HostTensor { values: values.collect(), shape: vec![n, c, oh, ow] }
}

fn an_average_is_its_definition(on: TestDevice) {
    let device = on.open();
    for_all(256, (averages(), images(1..9, Fill::Normal(1.0))), |(pool, input)| {
        let AvgPool2d { kernel_size, stride, padding, ceil_mode, .. } = pool;
        let windows = MaxPool2d { kernel_size, stride, padding, dilation: [1, 1], ceil_mode };
        let [_, _, h, w] = dims(&input);
        let size = (pooled_size(&windows, 0, h), pooled_size(&windows, 1, w));
        let axis = |axis: usize, size: usize, out: usize| {
            let start = out * stride[axis];
            let end = (start + kernel_size[axis]).min(size + 2 * padding[axis]);
            let inside = |at: usize| at.saturating_sub(padding[axis]).min(size);
            (inside(start)..inside(end), end - start)
        };
        let definition = size.0.zip(size.1).map(|(oh, ow)| {
            averaged(&input, [oh, ow], |y, x| {
                let ((rows, down), (columns, right)) = (axis(0, h, y), axis(1, w, x));
                let within = rows.len() * columns.len();
                let count = if pool.count_include_pad { down * right } else { within };
                let count = pool.divisor_override.unwrap_or(count.max(1));
                (rows, columns, count as f64)
            })
        });
        expect_definition(&device, &Op::AvgPool2d(pool), &[input], definition)
    });
    let sizes = uniform2(proptest::option::of(0..12usize));
    for_all(256, (sizes, images(1..9, Fill::Normal(1.0))), |(output_size, input)| {
        let [_, _, h, w] = dims(&input);
        let out = [output_size[0].unwrap_or(h), output_size[1].unwrap_or(w)];
        let definition = averaged(&input, out, |y, x| {
            let rows = y * h / out[0]..((y + 1) * h).div_ceil(out[0]);
            let columns = x * w / out[1]..((x + 1) * w).div_ceil(out[1]);
            let count = (rows.len() * columns.len()) as f64;
            (rows, columns, count)
        });
        let op = Op::AdaptiveAvgPool2d(AdaptiveAvgPool2d { output_size });
        expect_definition(&device, &op, &[input], Some(definition))
    });
}

// --- batch normalisation ---

/// The mean and the biased variance of each channel.
fn moments(input: &HostTensor) -> (Vec<f64>, Vec<f64>) {
    let [n, c, h, w] = dims(input);
    let channel = |channel: usize| {
        positions([n, c, h, w]).zip(&input.values).filter(move |(at, _)| at[1] == channel)
    };
    let count = (n * h * w) as f64;
    let mean = |c| channel(c).map(|(_, x)| x).sum::<f64>() / count;
    let var = |c| channel(c).map(|(_, x)| (x - mean(c)).powi(2)).sum::<f64>() / count;
    ((0..c).map(mean).collect(), (0..c).map(var).collect())
}

fn normalised(input: &HostTensor, mean: &[f64], var: &[f64], eps: f64) -> Vec<f64> {
    let channels = positions(dims(input)).map(|[_, channel, ..]| channel);
    channels.zip(&input.values).map(|(c, x)| (x - mean[c]) / (var[c] + eps).sqrt()).collect()
}

fn a_batch_norm_is_its_definition(on: TestDevice) {
    let device = on.open();
    let drawn = (images(1..7, Fill::Normal(2.0)), 1e-5..1e-2f64, 0.0..1.0f64, any::<u64>());
    for_all(128, drawn, |(input, eps, momentum, seed)| {
        let c = input.shape[1];
        let on = |values: &[f64]| Tensor::<f64>::from_slice(&device, values, [c]).unwrap();
        let random = |stream| Fill::Normal(1.0).draw(&[c], seed, stream).values;
        let (weight, bias, mean) = (random(1), random(2), random(3));
        let var: Vec<f64> = random(4).iter().map(|x| 0.5 + x.abs()).collect();
        let affine = |normal: Vec<f64>| -> Vec<f64> {
            let channels = positions(dims(&input)).map(|[_, channel, ..]| channel);
            channels.zip(normal).map(|(c, x)| x * weight[c] + bias[c]).collect()
        };
        let (x, running_mean, running_var) = (input.on(&device), on(&mean), on(&var));
        let run =
            |statistics| batch_norm2d(&x, Some(&on(&weight)), Some(&on(&bias)), statistics, eps);

        let evaluated = run(Statistics::Running(&running_mean, &running_var)).unwrap();
        expect_close(&values(&evaluated), &affine(normalised(&input, &mean, &var, eps)))?;

        let tracked = Tracked { mean: &running_mean, var: &running_var, momentum };
        let trained = run(Statistics::Batch { running: Some(tracked) });
        let count = (input.values.len() / c) as f64;
        if count == 1.0 {
            prop_assert!(trained.is_err(), "one value has no variance");
            return Ok(());
        }
        let (batch_mean, batch_var) = moments(&input);
        let expected = affine(normalised(&input, &batch_mean, &batch_var, eps));
        expect_close(&values(&trained.unwrap()), &expected)?;
        let moved = |before: &[f64], batch: &[f64], scale: f64| -> Vec<f64> {
            let pairs = before.iter().zip(batch);
            pairs.map(|(old, new)| old + momentum * (new * scale - old)).collect()
        };
        expect_close(&values(&running_mean), &moved(&mean, &batch_mean, 1.0))?;
        let unbiased = count / (count - 1.0);
        expect_close(&values(&running_var), &moved(&var, &batch_var, unbiased))
    });
}

// --- linear ---

fn a_linear_layer_is_its_definition(on: TestDevice) {
    let device = on.open();
    let drawn = (0..40usize, 0..40usize, 1..40usize, any::<bool>(), any::<u64>());
    for_all(128, drawn, |(rows, n_in, n_out, bias, seed)| {
        let draw = |shape: &[usize], i| Fill::Normal(1.0).draw(shape, seed, i);
        let mut inputs = vec![draw(&[rows, n_in], 0), draw(&[n_out, n_in], 1)];
        inputs.extend(bias.then(|| draw(&[n_out], 2)));
        let values = positions([1, 1, rows, n_out]).map(|[_, _, row, column]| {
            let x = &inputs[0].values[row * n_in..][..n_in];
            let w = &inputs[1].values[column * n_in..][..n_in];
            let product: f64 = x.iter().zip(w).map(|(x, w)| x * w).sum();
            product + inputs.get(2).map_or(0.0, |bias| bias.values[column])
        });
        let definition = HostTensor { values: values.collect(), shape: vec![rows, n_out] };
        expect_definition(&device, &Op::Linear, &inputs, Some(definition))
    });
}

// --- dropout ---

/// Word `i % 4` of Philox block `i / 4` decides over element `i`: the same bits on every device.
fn a_dropout_is_its_definition(on: TestDevice) {
    let device = on.open();
    let drawn = (0.0..1.0f64, any::<u64>(), any::<u64>(), 0..9u32, 1..3000usize);
    for_all(128, drawn, |(p, seed, step, stream, n)| {
        let op = Op::Dropout(DropoutGeometry::new(p, seed, stream).unwrap(), step);
        let input = Fill::OffZero.draw(&[n], seed, 0);
        let philox = Philox::new(seed);
        let kept = |i: usize| {
            let word = philox.block(stream, step, (i / 4) as u32)[i % 4];
            f64::from(word) >= (p * 2f64.powi(32)).floor()
        };
        let values = input.values.iter().enumerate();
        let values: Vec<f64> =
            values.map(|(i, x)| if kept(i) { x / (1.0 - p) } else { 0.0 }).collect();
        let dropped = values.iter().filter(|&&x| x == 0.0).count() as f64;
        let spread = 6.0 * (p * (1.0 - p) * n as f64).sqrt() + 6.0;
        prop_assert!((dropped - p * n as f64).abs() < spread, "{dropped} of {n} at {p}");
        let definition = HostTensor { shape: vec![n], values };
        expect_definition(&device, &op, &[input], Some(definition))
    });
}

// --- cross-entropy ---

fn a_right_answer_is_the_first_largest_logit(on: TestDevice) {
    let device = on.open();
    let answer = |logits: &[f64], target: i32| {
        let logits = Tensor::<f64>::from_slice(&device, logits, [1, logits.len()]).unwrap();
        let target = Tensor::from_slice(&device, &[target], [1]).unwrap();
        let options = CrossEntropyOptions { ignore_index: -1, ..CrossEntropyOptions::default() };
        let (loss, correct) = cross_entropy(&logits, &target, &options)?;
        Ok::<_, signet::Error>((loss.item()?, correct.item()?))
    };
    let right = |logits: &[f64], target: i32| answer(logits, target).unwrap().1;
    assert_eq!(right(&[1.0, 3.0, 2.0], 1), 1);
    assert_eq!(right(&[1.0, 3.0, 2.0], 2), 0);
    assert_eq!(right(&[3.0, 1.0, 3.0], 0), 1, "the first of two");
    assert_eq!(right(&[3.0, 1.0, 3.0], 2), 0, "the second of two");
    assert_eq!(right(&[3.0, f64::NAN, 5.0], 1), 1, "NaN is the largest");
    assert_eq!(right(&[1.0, 3.0, 2.0], -1), 0, "ignored");
    for target in [-2, 3, i32::MAX, i32::MIN] {
        // A kernel cannot raise an error.
        let shown = answer(&[1.0, 3.0, 2.0], target).map_or(true, |(loss, _)| loss.is_nan());
        assert!(shown, "{target} is no class");
    }
}

// --- gradients ---

fn gradients_of_random_geometries_agree_with_differences(on: TestDevice) {
    let device = on.open();
    let check = |op: &Op, inputs: &[HostTensor]| {
        let inputs: Vec<Tensor<f64>> = inputs.iter().map(|input| input.on(&device)).collect();
        if op.run(&inputs).is_err() {
            return Err(TestCaseError::reject("does not fit"));
        }
        let options = GradcheckOptions { eps: 1e-5, ..GradcheckOptions::default() };
        let worst = gradcheck(|inputs| op.run(inputs), &inputs, &options);
        worst.map(|_| ()).map_err(|error| TestCaseError::fail(error.to_string()))
    };
    for_all(48, convolutions(1..6), |drawn| check(&Op::Conv2d(drawn.options), &drawn.inputs));
    for_all(48, (pools(), images(1..7, Fill::Distinct)), |(pool, input)| {
        // A dilation can leave a window nothing, and minus infinity has no differences.
        let pool = pool.dilation(1);
        check(&Op::MaxPool2d(pool), &[input])
    });
    for_all(24, images(2..5, Fill::Normal(1.0)), |input| {
        let c = input.shape[1];
        let affine = [1, 2].map(|stream| Fill::Normal(1.0).draw(&[c], 9, stream));
        let [weight, bias] = affine;
        let op = Op::BatchNorm2d { eps: 1e-3, running: None, then: Then::Nothing };
        check(&op, &[input, weight, bias])
    });
}

// --- what does not fit ---

/// Images and matrices more often than the rest: most ops refuse the rest.
fn any_shape() -> impl Strategy<Value = Vec<usize>> {
    let size = 0..4usize;
    prop_oneof![4 => vec(size.clone(), 4), 2 => vec(size.clone(), 2), 1 => vec(size, 0..6)]
}

fn any_op() -> impl Strategy<Value = Op> {
    let options = (uniform2(0..3usize), uniform2(0..3usize), uniform2(0..3usize));
    let convolution = options.prop_map(|(stride, padding, dilation)| {
        Op::Conv2d(Conv2dOptions { stride, padding: padding.into(), dilation, groups: 1 })
    });
    let pool = (uniform2(0..4usize), uniform2(0..3usize), uniform2(0..3usize), any::<bool>())
        .prop_map(|(kernel_size, stride, padding, ceil_mode)| {
            Op::MaxPool2d(MaxPool2d { kernel_size, stride, padding, dilation: [1, 1], ceil_mode })
        });
    let average = (uniform2(0..4usize), uniform2(0..3usize), uniform2(0..3usize), 0..3usize)
        .prop_map(|(kernel_size, stride, padding, divisor)| {
            let pool = AvgPool2d::new(kernel_size).stride(stride).padding(padding);
            Op::AvgPool2d(pool.divisor_override((divisor < 2).then_some(divisor)))
        });
    let adaptive = uniform2(proptest::option::of(0..4usize))
        .prop_map(|size| Op::AdaptiveAvgPool2d(AdaptiveAvgPool2d { output_size: size }));
    let eval = vec(0.5..2.0f64, 0..4).prop_map(|var| Op::BatchNorm2d {
        eps: 1e-5,
        running: Some([vec![0.0; var.len()], var]),
        then: Then::Nothing,
    });
    let batch = Op::BatchNorm2d { eps: 1e-5, running: None, then: Then::AddRelu };
    let loss = vec(-2..4i32, 0..4).prop_map(|target| Op::CrossEntropy {
        target,
        options: CrossEntropyOptions { ignore_index: -1, ..CrossEntropyOptions::default() },
    });
    prop_oneof![
        average,
        adaptive,
        Just(Op::Binary("add".into())),
        Just(Op::Binary("mul".into())),
        Just(Op::Matmul),
        Just(Op::Linear),
        Just(Op::Unary("relu".into(), [0.0; 2])),
        Just(Op::Sum),
        Just(Op::Mean),
        any_shape().prop_map(Op::Reshape),
        (0..5usize).prop_map(Op::Flatten),
        convolution,
        pool,
        Just(batch),
        eval,
        loss,
        Just(Op::Dropout(DropoutGeometry::new(0.5, 1, 3).unwrap(), 2)),
    ]
}

// --- augmentation ---

/// Values from 0 to 1.
fn greys(shape: [usize; 4], seed: u64) -> HostTensor {
    let drawn = Fill::Normal(1.0).draw(&shape, seed, 0);
    HostTensor {
        values: drawn.values.iter().map(|x| x.abs().min(1.0)).collect(),
        shape: drawn.shape,
    }
}

/// Pixel by pixel, from the random words: `augment` as `AugmentKernels` puts it into words.
fn augmented_images_are_their_definition(on: TestDevice) {
    let device = on.open();
    let sizes = (1..4usize, 1..3usize, 1..12usize, 1..12usize);
    let geometric = (0.0..180.0, 0.0..0.5, uniform2(0.3..3.0));
    let drawn = (sizes, geometric, vec(0.0..1.0, 6), any::<(u64, u64)>());
    for_all(96, drawn, |((n, c, h, w), (rotation, shift, [a, b]), light, (seed, step))| {
        let zoom = [f64::min(a, b), f64::max(a, b)];
        let [brightness, contrast, light, flip, shear, aspect] = light.try_into().unwrap();
        let (shear, aspect) = (60.0 * shear, aspect / 2.0);
        let (background, filter) = (0.0, 0.0);
        let options = AugmentOptions {
            rotation,
            shift,
            zoom,
            flip,
            brightness,
            contrast,
            light,
            shear,
            aspect,
            background,
            filter,
        };
        let input = greys([n, c, h, w], seed);

        let mut expected = Vec::new();
        for (i, image) in input.values.chunks(c * h * w).enumerate() {
            let block = |j| Philox::new(seed).block(stream::AUGMENT, step, 3 * i as u32 + j);
            let draw = Draw::<f64>::new([block(0), block(1), block(2)]);
            let angle = rotation.to_radians() * draw.rotation;
            let zoom = zoom[0] + (zoom[1] - zoom[0]) * draw.zoom;
            let mirrored = f64::from(draw.flip) < (flip * 2f64.powi(32)).floor();
            let toward = std::f64::consts::TAU * draw.direction;
            let (middle_x, middle_y) = ((w as f64 - 1.0) / 2.0, (h as f64 - 1.0) / 2.0);
            let mut changed = Vec::new();
            for channel in image.chunks(h * w) {
                let pixel = |x: f64, y: f64| {
                    let x = (x.max(0.0) as usize).min(w - 1);
                    channel[(y.max(0.0) as usize).min(h - 1) * w + x]
                };
                for (row, column) in (0..h).flat_map(|row| (0..w).map(move |column| (row, column)))
                {
                    let (x, y) = (column as f64 - middle_x, row as f64 - middle_y);
                    let from = if mirrored { -x } else { x };
                    let wide = 1.0 + aspect * draw.aspect;
                    let from = wide * (from + (shear.to_radians() * draw.shear).tan() * y);
                    let high = y / wide;
                    let at_x = (angle.cos() * from - angle.sin() * high) / zoom
                        + middle_x
                        + shift * w as f64 * draw.shift[0];
                    let at_y = (angle.sin() * from + angle.cos() * high) / zoom
                        + middle_y
                        + shift * h as f64 * draw.shift[1];
                    let at_x = at_x.clamp(0.0, w as f64 - 1.0);
                    let at_y = at_y.clamp(0.0, h as f64 - 1.0);
                    // The four pixels around, each by the area of the opposite corner.
                    let (u, v) = (at_x - at_x.floor(), at_y - at_y.floor());
                    let value = pixel(at_x, at_y) * (1.0 - u) * (1.0 - v)
                        + pixel(at_x + 1.0, at_y) * u * (1.0 - v)
                        + pixel(at_x, at_y + 1.0) * (1.0 - u) * v
                        + pixel(at_x + 1.0, at_y + 1.0) * u * v;
                    let side =
                        toward.cos() * x / middle_x.max(1.0) + toward.sin() * y / middle_y.max(1.0);
                    let lit = value
                        * (1.0 + brightness * draw.brightness)
                        * (1.0 + light * draw.light * side);
                    changed.push(lit.clamp(0.0, 1.0));
                }
            }
            let mean = changed.iter().sum::<f64>() / changed.len() as f64;
            let factor = 1.0 + contrast * draw.contrast;
            expected.extend(changed.iter().map(|x| (mean + (x - mean) * factor).clamp(0.0, 1.0)));
        }
        let step = Tensor::from_slice(&device, &[step], [1]).unwrap();
        let output = augment::<f64>(&input.on(&device), &options, seed, &step).unwrap();
        expect_close(&values(&output), &expected)
    });
}

/// Pixel by pixel, as `RandomFilterKernels` puts it into words.
fn filtered_images_are_their_definition(on: TestDevice) {
    let device = on.open();
    let sizes = (1..6usize, 1..3usize, 1..9usize, 1..9usize);
    for_all(96, (sizes, 0.0..1.0, any::<(u64, u64)>()), |((n, c, h, w), p, (seed, step))| {
        let input = greys([n, c, h, w], seed);
        let mut expected = Vec::new();
        for (i, image) in input.values.chunks(c * h * w).enumerate() {
            let block = |j| Philox::new(seed).block(stream::FILTER, step, 8 * i as u32 + j);
            let filter = RandomFilter::<f64>::new(block);
            if f64::from(block(0)[0]) >= p * 2f64.powi(32) {
                expected.extend_from_slice(image);
                continue;
            }
            let reach = (filter.size / 2) as isize;
            let mut convolved = Vec::new();
            for channel in image.chunks(h * w) {
                for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                    let around =
                        (-reach..=reach).flat_map(|v| (-reach..=reach).map(move |u| (v, u)));
                    let near = around.map(|(v, u)| {
                        let y = y.saturating_add_signed(v).min(h - 1);
                        channel[y * w + x.saturating_add_signed(u).min(w - 1)]
                    });
                    convolved.push(near.zip(filter.weights).map(|(x, weight)| x * weight).sum());
                }
            }
            let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
            let spread = |of: &[f64]| {
                let mean = mean(of);
                (of.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / of.len() as f64).sqrt()
            };
            let gain = match spread(&convolved) {
                flat if flat <= 1e-3 => 0.0,
                its => spread(image) / its,
            };
            let (own, its) = (mean(image), mean(&convolved));
            let both = image.iter().zip(&convolved);
            expected.extend(
                both.map(|(x, y)| filter.kept * x + (1.0 - filter.kept) * (own + (y - its) * gain)),
            );
        }
        let step = Tensor::from_slice(&device, &[step], [1]).unwrap();
        let output = random_filter::<f64>(&input.on(&device), p, seed, &step).unwrap();
        expect_close(&values(&output), &expected)
    });
}

/// Pixel by pixel, as `BackgroundKernels` puts it into words.
fn replaced_backgrounds_are_their_definition(on: TestDevice) {
    let device = on.open();
    let sizes = (1..4usize, 1..3usize, 1..12usize, 1..12usize);
    for_all(96, (sizes, 0.0..1.5, any::<(u64, u64)>()), |((n, c, h, w), p, (seed, step))| {
        // Few greys, most of them alike: winding backgrounds.
        let drawn = greys([n, c, h, w], seed);
        let few = [0.5, 0.5 + 5.0 / 255.0, 0.5 - 3.0 / 255.0, 0.5 + 6.0 / 255.0, 0.9];
        let grey = |x: &f64| few[(x * 5.0).min(4.0) as usize];
        let values_: Vec<f64> = drawn.values.iter().map(grey).collect();
        let input = HostTensor { values: values_, shape: drawn.shape };
        let mut expected = input.values.clone();
        for (i, image) in expected.chunks_mut(c * h * w).enumerate() {
            let block = |j| Philox::new(seed).block(stream::BACKGROUND, step, 3 * i as u32 + j);
            let backdrop = Backdrop::<f64>::new([block(0), block(1), block(2)]);
            if f64::from(block(0)[0]) >= p * 2f64.powi(32) {
                continue;
            }
            let alike = |a: usize, b: usize| {
                image.chunks(h * w).all(|channel| (channel[a] - channel[b]).abs() < 5.7 / 255.0)
            };
            let mut found = vec![false; h * w];
            (found[0], found[w - 1]) = (true, true);
            for _ in 0..h * w {
                for at in 0..h * w {
                    let beside = [
                        (at % w > 0).then(|| at - 1),
                        (at % w + 1 < w).then_some(at + 1),
                        at.checked_sub(w),
                        (at + w < h * w).then_some(at + w),
                    ];
                    let mut near = beside.into_iter().flatten();
                    found[at] = found[at] || near.any(|near| found[near] && alike(at, near));
                }
            }
            let from_middle =
                |at: usize, n: usize| if n > 1 { at as f64 / (n as f64 - 1.0) - 0.5 } else { 0.0 };
            for (at, value) in image.iter_mut().enumerate() {
                let at = at % (h * w);
                if found[at] {
                    *value = backdrop.at(from_middle(at % w, w), from_middle(at / w, h));
                }
            }
        }
        let step = Tensor::from_slice(&device, &[step], [1]).unwrap();
        let output = background::<f64>(&input.on(&device), p, seed, &step).unwrap();
        expect_close(&values(&output), &expected)
    });
}

fn augmentation_by_nothing_changes_nothing(on: TestDevice) {
    let device = on.open();
    let nothing = AugmentOptions::NONE;
    let values01: Vec<f32> = (0..2 * 5 * 7).map(|i| (i * 37 % 101) as f32 / 100.0).collect();
    let images: Tensor = Tensor::from_slice(&device, &values01, [2, 1, 5, 7]).unwrap();
    let step = Tensor::from_slice(&device, &[3], [1]).unwrap();
    let run = |options| augment(&images, &options, 1, &step).map(|x| x.to_vec().unwrap());
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close(&run(nothing).unwrap(), &values01));
    let mirrored = run(AugmentOptions { flip: 1.0, ..nothing }).unwrap();
    let by_hand: Vec<f32> = values01.chunks(7).flat_map(|row| row.iter().rev().copied()).collect();
    assert!(close(&mirrored, &by_hand));
    for wrong in [
        AugmentOptions { rotation: -1.0, ..nothing },
        AugmentOptions { zoom: [1.2, 1.1], ..nothing },
        AugmentOptions { light: f64::NAN, ..nothing },
        AugmentOptions { aspect: 0.6, ..nothing },
        AugmentOptions { background: 1.1, ..nothing },
    ] {
        assert!(run(wrong).is_err());
    }
    // Background, then filter, then the rest.
    let some = AugmentOptions { background: 0.7, filter: 0.7, flip: 0.5, ..nothing };
    let behind = background(&images, 0.7, 1, &step).unwrap();
    let sharp = random_filter(&behind, 0.7, 1, &step).unwrap();
    let by_hand = augment(&sharp, &AugmentOptions { flip: 0.5, ..nothing }, 1, &step).unwrap();
    assert_eq!(run(some).unwrap(), by_hand.to_vec().unwrap());
    let large = Tensor::<f32>::zeros(&device, [1, 1, 129, 128]).unwrap();
    assert!(background(&large, 0.5, 1, &step).unwrap_err().to_string().contains("129 x 128"));
    assert!(augment(&images.flatten(1).unwrap(), &nothing, 1, &step).is_err());
}

/// Any op on any three shapes, empty ones too: an error, or a whole result (a test build fills
/// fresh memory with NaN, so that a hole shows) whose backward pass runs.
fn what_does_not_fit_is_an_error_and_never_a_panic(on: TestDevice) {
    let device = on.open();
    for_all(20_000, (any_op(), uniform2(any_shape()), any_shape()), |(op, [a, b], c)| {
        let shapes = [a, b, c].into_iter().enumerate();
        let inputs: Vec<Tensor<f64>> = shapes
            .map(|(i, shape)| Fill::Normal(1.0).draw(&shape, 1, i as u32).on(&device))
            .map(|drawn: Tensor<f64>| drawn.requires_grad(true).unwrap())
            .collect();
        let Ok(output) = op.run(&inputs) else { return Ok(()) };
        // A target that is no class is NaN where a device cannot raise an error.
        if let Op::CrossEntropy { target, options } = &op {
            let classes = 0..inputs[0].dims()[1] as i32;
            if target.iter().any(|t| *t != options.ignore_index && !classes.contains(t)) {
                prop_assert!(values(&output)[0].is_nan(), "{output:?}");
                return Ok(());
            }
        }
        // The mean of nothing.
        let nan = matches!(op, Op::Mean | Op::CrossEntropy { .. });
        prop_assert!(nan || values(&output).iter().all(|y| y.is_finite()), "{output:?}");
        let upstream = Fill::Normal(1.0).draw(output.dims(), 1, 9).on(&device);
        output.backward_with(&upstream).unwrap();
        for gradient in inputs.iter().filter_map(|input| input.grad().unwrap()) {
            prop_assert!(values(&gradient).iter().all(|g| g.is_finite()), "{gradient:?}");
        }
        Ok(())
    });
}

/// Padding makes no image of nothing, though a filter would fit into it; a batch may be empty.
fn images_without_pixels_are_errors(on: TestDevice) {
    let device = on.open();
    let run = |op: &Op, shape: [usize; 4]| {
        let weight = Fill::Normal(1.0).draw(&[2, 1, 3, 3], 1, 0);
        let inputs = [Fill::Normal(1.0).draw(&shape, 1, 0), weight].map(|x| x.on::<f64>(&device));
        op.run(&inputs).map(|output| output.shape().clone())
    };
    let options = Conv2dOptions { padding: 2.into(), ..Conv2dOptions::default() };
    let ops = [Op::Conv2d(options), Op::MaxPool2d(MaxPool2d::new(2).stride(1).padding(1))];
    for op in ops {
        for shape in [[1, 1, 0, 4], [1, 1, 4, 0], [0, 1, 0, 0]] {
            assert!(run(&op, shape).is_err(), "{op:?} of {shape:?}");
        }
        assert_eq!(run(&op, [0, 1, 4, 4]).unwrap().numel(), 0, "{op:?}");
    }
}

/// Sizes that no kernel can index are refused, not wrapped.
fn huge_attributes_are_errors(on: TestDevice) {
    let device = on.open();
    let huge = || prop_oneof![Just(1usize << 31), Just(1 << 32), Just(usize::MAX)];
    let one_huge = (0..6usize, huge(), any::<bool>());
    for_all(200, one_huge, |(which, size, ceil_mode)| {
        let mut attributes = [[1; 2], [0; 2], [1; 2]];
        attributes[which / 2][which % 2] = size;
        let [stride, padding, dilation] = attributes;
        let [x, w] = [[1, 2, 5, 5], [3, 2, 2, 2]]
            .map(|shape| Fill::Normal(1.0).draw(&shape, 1, 0).on::<f64>(&device));
        let conv = Conv2dOptions { stride, padding: padding.into(), dilation, groups: 1 };
        let op = Op::Conv2d(conv);
        prop_assert!(op.run(&[x.clone(), w.clone()]).is_err(), "{op:?}");
        let op = Op::Conv2d(Conv2dOptions { groups: size, ..Conv2dOptions::default() });
        prop_assert!(op.run(&[x.clone(), w]).is_err(), "{op:?}");
        let pool = MaxPool2d { kernel_size: dilation, stride, padding, dilation, ceil_mode };
        prop_assert!(Op::MaxPool2d(pool).run(std::slice::from_ref(&x)).is_err(), "{pool:?}");
        let average = AvgPool2d::new(dilation).stride(stride).padding(padding);
        prop_assert!(Op::AvgPool2d(average).run(std::slice::from_ref(&x)).is_err(), "{average:?}");
        let adaptive = Op::AdaptiveAvgPool2d(AdaptiveAvgPool2d::new([Some(size), None]));
        prop_assert!(adaptive.run(std::slice::from_ref(&x)).is_err());
        let reshaped = x.reshape([size, 2, 25]);
        prop_assert!(reshaped.is_err() && x.flatten(size).is_err());
        prop_assert!(Tensor::from_slice(&device, &[1.0f64], [size, size]).is_err());
        Ok(())
    });
}

fn any_layer() -> impl Strategy<Value = Layer> {
    let convolution = (0..3usize, 1..3usize, uniform2(0..4usize), uniform2(0..3usize)).prop_map(
        |(c, filters, kernel, options)| {
            Conv2d::new(c, filters, kernel).stride(options[0]).padding(options[1]).into()
        },
    );
    prop_oneof![
        convolution,
        (1..4usize).prop_map(|c| BatchNorm2d::new(c).into()),
        pools().prop_map(Layer::from),
        averages().prop_map(Layer::from),
        uniform2(proptest::option::of(0..4usize))
            .prop_map(|output_size| AdaptiveAvgPool2d { output_size }.into()),
        (0..4usize, 1..4usize).prop_map(|(n_in, n_out)| Linear::new(n_in, n_out).into()),
        Just(Layer::from(ReLU)),
        Just(Layer::from(Flatten)),
        Just(Layer::from(Dropout::new(0.5))),
    ]
}

/// What `output_shape` says without running is what running gives, errors included.
fn a_layer_knows_the_shape_of_its_output(on: TestDevice) {
    let device = on.open();
    for_all(2000, (any_layer(), any_shape()), |(layer, shape)| {
        let model = Sequential::<f64>::new(&device, 1, vec![layer.clone()]).unwrap();
        model.eval();
        let input = Fill::Normal(1.0).draw(&shape, 1, 0).on(&device);
        let output = model.forward(&input).map(|output| output.shape().clone()).ok();
        prop_assert_eq!(layer.output_shape(&Shape::from(shape)).ok(), output);
        Ok(())
    });
}

fn reshape_and_flatten_go_round(on: TestDevice) {
    let device = on.open();
    for_all(256, (vec(1..5usize, 1..5), 0..4usize, any::<u64>()), |(shape, start, seed)| {
        let x: Tensor<f64> = Fill::Normal(1.0).draw(&shape, seed, 0).on(&device);
        let turned: Vec<usize> = shape.iter().rev().copied().collect();
        let back = x.reshape(turned).unwrap().reshape(&shape[..]).unwrap();
        prop_assert_eq!(values(&back), values(&x));
        match x.flatten(start) {
            Ok(flat) => {
                prop_assert_eq!(flat.shape().rank(), start + 1);
                prop_assert_eq!(&flat.dims()[..start], &shape[..start]);
                prop_assert_eq!(values(&flat.reshape(&shape[..]).unwrap()), values(&x));
            }
            Err(_) => prop_assert!(start >= shape.len()),
        }
        Ok(())
    });
}
