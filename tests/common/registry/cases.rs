//! The cases: batches of 1, 3 and 33, height and width that differ, odd sizes, channels that are
//! no multiple of any tile, rows left over by a stride.

use super::{Case, ElementwiseLoss, Op, Then, copies, indexing, reductions};
use crate::common::host::Fill;
use signet::nn::{AdaptiveAvgPool2d, AvgPool2d, MaxPool2d};
use signet::ops::conv_block::ConvBlockOptions;
use signet::ops::conv2d::{Conv2dOptions, Padding};
use signet::ops::cross_entropy::{CrossEntropyOptions, Reduction};
use signet::ops::dropout::DropoutGeometry;

const BATCHES: [usize; 3] = [1, 3, 33];

/// A fixed choice that touches every op and every attribute: small enough to check each element.
pub fn sample() -> Vec<Case> {
    let mut cases = elementwise();
    cases.extend(products());
    cases.extend(shapes_and_sums());
    cases.extend(dropouts());
    cases.extend(losses(&[1, 3, 33], &[1, 7]));
    cases.extend(batch_norms(&[[1, 5, 3, 4], [3, 7, 1, 1], [33, 3, 2, 3]]));
    cases.extend(convolutions());
    cases.extend(pools());
    cases.extend(averages());
    cases.extend(blocks());
    cases.extend(hidden_layers());
    cases.extend(last_layers(&[1, 3, 33], &[1, 7]));
    cases.extend(families());
    cases
}

/// Every combination: more than [`sample`] by two orders of magnitude.
pub fn grid() -> Vec<Case> {
    let mut cases = elementwise();
    cases.extend(products());
    cases.extend(shapes_and_sums());
    cases.extend(dropouts());
    cases.extend(losses(&BATCHES, &[1, 2, 24, 65]));
    let channels = [1, 5, 17, 33];
    let sizes = [[1, 2], [4, 7], [9, 5]];
    let inputs: Vec<_> = BATCHES
        .iter()
        .flat_map(|&n| channels.iter().flat_map(move |&c| sizes.map(|[h, w]| [n, c, h, w])))
        .collect();
    cases.extend(batch_norms(&inputs));
    cases.extend(convolution_grid());
    cases.extend(pool_grid());
    cases.extend(averages());
    cases.extend(block_grid());
    cases.extend(hidden_layers());
    cases.extend(last_layers(&BATCHES, &[1, 2, 24, 65]));
    cases.extend(families());
    cases
}

/// Those of which the sample is all there is.
fn families() -> Vec<Case> {
    [
        batched_products(),
        softmaxes(),
        row_norms(),
        class_losses(),
        elementwise_losses(),
        copies::cases(),
        reductions::cases(),
        indexing::cases(),
    ]
    .concat()
}

fn case(op: Op, inputs: impl Into<Vec<(Vec<usize>, Fill)>>) -> Case {
    Case { op, inputs: inputs.into() }
}

fn normal(shape: &[usize]) -> (Vec<usize>, Fill) {
    (shape.to_vec(), Fill::Normal(1.0))
}

fn elementwise() -> Vec<Case> {
    let mut cases = super::binary::cases();
    cases.extend(super::unary::cases());
    cases
}

/// `[rows, inner, columns]`, as matrix products and as linear layers.
fn products() -> Vec<Case> {
    let sizes =
        [[1, 1, 1], [1, 7, 5], [3, 17, 13], [33, 9, 24], [7, 1, 5], [33, 19, 1], [16, 16, 16]];
    let matmul = sizes.map(|[m, k, n]| case(Op::Matmul, [normal(&[m, k]), normal(&[k, n])]));
    let linear = sizes.iter().flat_map(|&[m, k, n]| {
        let (x, w, b) = (normal(&[m, k]), normal(&[n, k]), normal(&[n]));
        [case(Op::Linear, [x.clone(), w.clone(), b]), case(Op::Linear, [x, w])]
    });
    matmul.into_iter().chain(linear).collect()
}

fn shapes_and_sums() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [&[usize]; 4] = [&[], &[1, 3, 5, 4], &[3, 2, 5, 7], &[33, 7]];
    for shape in shapes {
        cases.push(case(Op::Sum, [normal(shape)]));
        cases.push(case(Op::Mean, [normal(shape)]));
    }
    let flatten: [(&[usize], usize); 3] =
        [(&[1, 3, 2, 5], 1), (&[33, 2, 1, 3], 1), (&[3, 2, 5], 0)];
    cases.extend(flatten.map(|(shape, start)| case(Op::Flatten(start), [normal(shape)])));
    let reshape: [(&[usize], &[usize]); 2] =
        [(&[3, 5, 2, 7], &[3, 70]), (&[33, 6], &[33, 1, 2, 3])];
    cases.extend(reshape.map(|(from, to)| case(Op::Reshape(to.to_vec()), [normal(from)])));
    cases
}

fn dropouts() -> Vec<Case> {
    let shapes: [&[usize]; 3] = [&[1, 3], &[3, 2, 5, 7], &[33, 5]];
    let one = |p, shape| {
        let geometry = DropoutGeometry::new(p, 11, 2).expect("p is a probability");
        case(Op::Dropout(geometry, 3), [normal(shape)])
    };
    [0.0, 0.2, 0.5, 1.0].iter().flat_map(|&p| shapes.map(|shape| one(p, shape))).collect()
}

fn losses(batches: &[usize], classes: &[usize]) -> Vec<Case> {
    let mut cases = Vec::new();
    for &batch in batches {
        for &classes in classes {
            for reduction in [Reduction::Mean, Reduction::Sum] {
                for (label_smoothing, ignored) in [(0.0, 0), (0.1, 0), (0.0, 2), (0.25, 2)] {
                    let ignore_index = -100;
                    let mut target: Vec<i32> =
                        (0..batch).map(|row| ((row * 5 + 1) % classes) as i32).collect();
                    target.iter_mut().step_by(2).take(ignored).for_each(|t| *t = ignore_index);
                    if target.iter().all(|&t| t == ignore_index) {
                        continue; // NaN by definition: the fixtures' case.
                    }
                    let options = CrossEntropyOptions { ignore_index, reduction, label_smoothing };
                    let op = Op::CrossEntropy { target, options };
                    cases.push(case(op, [normal(&[batch, classes])]));
                }
            }
        }
    }
    cases
}

/// Batch and running statistics, affine or not.
fn batch_norms(inputs: &[[usize; 4]]) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in inputs {
        let c = shape[1];
        let (mean, var) = (0..c).map(|c| (0.1 * c as f64, 0.5 + 0.25 * c as f64)).unzip();
        for running in [None, Some([mean, var])] {
            if running.is_none() && shape[0] * shape[2] * shape[3] == 1 {
                continue; // One value has no variance.
            }
            let eps = if running.is_none() { 1e-3 } else { 1e-5 };
            let x = (shape.to_vec(), Fill::Normal(2.0));
            for then in [Then::Nothing, Then::Relu, Then::AddRelu] {
                let op = Op::BatchNorm2d { eps, running: running.clone(), then };
                let mut inputs = vec![x.clone()];
                inputs.extend((then == Then::AddRelu).then(|| normal(shape)));
                cases.push(case(op.clone(), inputs.clone()));
                cases.push(case(op, [inputs, vec![normal(&[c]), normal(&[c])]].concat()));
            }
        }
    }
    cases
}

/// A convolution of `[N, C, H, W]` by `filters` of `kernel`; `None` when it does not fit.
fn convolution(
    input: [usize; 4],
    filters: usize,
    kernel: [usize; 2],
    options: Conv2dOptions,
    bias: bool,
) -> Option<Case> {
    let [_, channels, height, width] = input;
    let sides = options.sides(kernel).expect("the padding fits the stride");
    for (axis, size) in [height, width].into_iter().enumerate() {
        let reach = options.dilation[axis] * (kernel[axis] - 1) + 1;
        if size + sides[axis].iter().sum::<usize>() < reach {
            return None;
        }
    }
    let of_group = channels / options.groups;
    let weight = (vec![filters, of_group, kernel[0], kernel[1]], Fill::Normal(0.5));
    let mut inputs = vec![normal(&input), weight];
    inputs.extend(bias.then(|| normal(&[filters])));
    Some(case(Op::Conv2d(options), inputs))
}

fn convolutions() -> Vec<Case> {
    let options = |stride, padding: [usize; 2], dilation| Conv2dOptions {
        stride,
        padding: padding.into(),
        dilation,
        groups: 1,
    };
    let square = |stride, padding, dilation| {
        options([stride, stride], [padding, padding], [dilation, dilation])
    };
    let own = options([2, 1], [2, 1], [1, 2]);
    let cases = [
        convolution([1, 3, 7, 6], 5, [3, 3], square(1, 1, 1), true),
        convolution([3, 5, 6, 9], 7, [3, 3], square(1, 1, 1), true),
        convolution([33, 2, 5, 4], 3, [3, 3], square(1, 1, 1), true),
        convolution([3, 3, 5, 7], 4, [3, 3], square(1, 0, 1), false),
        convolution([3, 2, 5, 6], 5, [3, 3], square(1, 2, 1), true),
        convolution([1, 1, 9, 11], 25, [3, 3], square(1, 1, 1), true),
        convolution([3, 17, 3, 4], 9, [3, 3], square(1, 1, 1), false),
        convolution([3, 5, 1, 1], 4, [3, 3], square(1, 1, 1), true),
        convolution([3, 3, 8, 7], 5, [3, 3], square(2, 1, 1), true),
        convolution([33, 2, 6, 5], 3, [3, 3], square(2, 0, 1), false),
        convolution([3, 3, 7, 6], 4, [3, 3], square(1, 2, 2), true),
        convolution([1, 3, 9, 10], 5, [3, 3], square(2, 1, 2), true),
        convolution([33, 7, 3, 2], 9, [1, 1], square(1, 0, 1), true),
        convolution([3, 5, 7, 6], 3, [1, 1], square(2, 1, 1), false),
        convolution([3, 3, 7, 9], 4, [5, 5], square(1, 2, 1), true),
        convolution([3, 3, 6, 7], 5, [3, 5], options([1, 1], [1, 2], [1, 1]), true),
        convolution([33, 2, 3, 5], 3, [1, 3], options([1, 1], [0, 1], [1, 1]), true),
        convolution([3, 3, 9, 8], 4, [3, 2], own, true),
    ];
    let cases = cases.into_iter().chain(grouped());
    cases.map(|case| case.expect("the filter fits")).collect()
}

/// Groups of few channels and of many, and padding that differs between the sides.
fn grouped() -> Vec<Option<Case>> {
    let groups =
        |groups, padding: Padding| Conv2dOptions { padding, groups, ..Conv2dOptions::default() };
    let strided = |stride, options| Conv2dOptions { stride, ..options };
    let dilated = |dilation, options| Conv2dOptions { dilation, ..options };
    let sides = Padding::Sides([[2, 0], [1, 3]]);
    vec![
        // Depthwise, with one filter a channel and with several.
        convolution([3, 5, 6, 7], 5, [3, 3], groups(5, 1.into()), true),
        convolution([2, 3, 7, 6], 6, [3, 2], strided([2, 3], groups(3, sides)), true),
        convolution([3, 4, 8, 7], 4, [2, 3], dilated([2, 1], groups(4, Padding::Same)), false),
        convolution([33, 3, 3, 4], 9, [1, 1], groups(3, 0.into()), true),
        // A few channels a group, and so many that each is a matrix product.
        convolution([3, 6, 5, 6], 4, [3, 3], strided([1, 2], groups(2, [0, 1].into())), true),
        convolution([2, 6, 5, 4], 18, [3, 3], groups(2, 1.into()), true),
        convolution([3, 16, 4, 5], 4, [3, 2], strided([2, 1], groups(2, sides)), false),
        convolution([2, 18, 4, 3], 20, [1, 1], groups(2, Padding::Valid), true),
        // One group.
        convolution([3, 3, 6, 5], 4, [4, 2], groups(1, Padding::Same), true),
        convolution([3, 2, 6, 5], 3, [3, 3], strided([2, 2], groups(1, sides)), true),
        convolution([2, 3, 4, 5], 4, [1, 1], groups(1, [[0, 1], [0, 0]].into()), true),
    ]
}

fn convolution_grid() -> Vec<Case> {
    let mut cases = convolutions();
    for batch in BATCHES {
        for [channels, filters] in [[1, 25], [3, 4], [17, 33]] {
            for [height, width] in [[5, 4], [6, 9], [1, 7]] {
                for kernel in [[1, 1], [3, 3], [5, 5], [3, 5], [2, 1]] {
                    for stride in [1, 2] {
                        for padding in 0..3 {
                            for dilation in [1, 2] {
                                let options = Conv2dOptions {
                                    stride: [stride; 2],
                                    padding: padding.into(),
                                    dilation: [dilation; 2],
                                    groups: 1,
                                };
                                let input = [batch, channels, height, width];
                                let bias = (padding + stride) % 2 == 0;
                                cases.extend(convolution(input, filters, kernel, options, bias));
                            }
                        }
                    }
                }
            }
        }
    }
    cases
}

fn pool(input: [usize; 4], pool: MaxPool2d) -> Case {
    case(Op::MaxPool2d(pool), [(input.to_vec(), Fill::Distinct)])
}

fn pools() -> Vec<Case> {
    vec![
        pool([1, 3, 6, 8], MaxPool2d::new(2)),
        pool([3, 5, 7, 5], MaxPool2d::new(2)),
        pool([33, 3, 5, 4], MaxPool2d::new(2)),
        pool([3, 3, 5, 6], MaxPool2d::new(3).stride(1).padding(1)),
        pool([3, 3, 8, 7], MaxPool2d::new(3).stride(2).padding(1)),
        pool([3, 2, 7, 6], MaxPool2d::new([3, 2]).stride([2, 1]).padding([1, 0])),
        pool([3, 2, 8, 7], MaxPool2d::new(2).stride(3)),
        pool([3, 3, 5, 4], MaxPool2d::new([5, 4])),
        pool([3, 3, 7, 5], MaxPool2d::new(2).ceil_mode(true)),
        pool([3, 2, 8, 6], MaxPool2d::new(3).stride(2).padding(1).ceil_mode(true)),
        pool([3, 2, 5, 8], MaxPool2d::new(2).stride(3).padding(1).ceil_mode(true)),
        pool([33, 1, 4, 5], MaxPool2d::new(5).stride(2).padding(2)),
        pool([3, 2, 7, 6], MaxPool2d::new(2).stride(1).dilation([2, 3])),
        pool([3, 2, 9, 8], MaxPool2d::new(3).stride(2).padding(1).dilation(2).ceil_mode(true)),
    ]
}

fn averages() -> Vec<Case> {
    let pool = |input: [usize; 4], pool| case(Op::AvgPool2d(pool), [normal(&input)]);
    let adaptive = |input: [usize; 4], size| {
        case(Op::AdaptiveAvgPool2d(AdaptiveAvgPool2d { output_size: size }), [normal(&input)])
    };
    let overlapping = AvgPool2d::new(3).stride(2).padding(1);
    vec![
        pool([1, 3, 6, 8], AvgPool2d::new(2)),
        pool([33, 3, 5, 4], AvgPool2d::new(2)),
        pool([3, 3, 8, 7], overlapping),
        pool([3, 3, 8, 7], overlapping.count_include_pad(false)),
        pool([3, 2, 8, 6], overlapping.ceil_mode(true)),
        pool([3, 2, 8, 6], overlapping.ceil_mode(true).count_include_pad(false)),
        pool([3, 2, 7, 6], AvgPool2d::new([3, 2]).stride([2, 1]).padding([1, 0])),
        pool([3, 2, 8, 7], AvgPool2d::new(2).stride(3).divisor_override(3)),
        pool([3, 4, 5, 6], AvgPool2d::new([5, 6])),
        pool([3, 4, 5, 6], AvgPool2d::new([5, 6]).divisor_override(7)),
        adaptive([3, 5, 7, 6], [Some(1), Some(1)]),
        adaptive([3, 2, 7, 8], [Some(3), Some(5)]),
        adaptive([33, 2, 3, 4], [Some(5), Some(2)]),
        adaptive([3, 2, 4, 9], [None, Some(4)]),
    ]
}

fn pool_grid() -> Vec<Case> {
    let mut cases = pools();
    for batch in BATCHES {
        for [height, width] in [[5, 6], [8, 7], [12, 5]] {
            for kernel in [[1, 1], [2, 2], [3, 3], [3, 2], [5, 5]] {
                for stride in 1..4 {
                    for padding in 0..=2 {
                        for ceil_mode in [false, true] {
                            if kernel.iter().any(|&size| padding > size / 2) {
                                continue;
                            }
                            let layer = MaxPool2d::new(kernel).stride(stride).padding(padding);
                            let input = [batch, 3, height, width];
                            cases.push(pool(input, layer.ceil_mode(ceil_mode)));
                        }
                    }
                }
            }
        }
    }
    cases
}

/// A block of `filters` of `kernel` over `[N, C, H, W]`; `parts` parameters beside the weight (bias,
/// scale, shift); `None` when something does not fit.
fn block(
    input: [usize; 4],
    filters: usize,
    kernel: [usize; 2],
    (conv, pool): (Conv2dOptions, MaxPool2d),
    parts: usize,
    (eval, drop): (bool, Option<f64>),
) -> Option<Case> {
    let mut case = convolution(input, filters, kernel, conv, false)?;
    let mut pixels = 1;
    for axis in 0..2 {
        let reach = conv.dilation[axis] * (kernel[axis] - 1) + 1;
        let sides: usize = conv.sides(kernel).expect("it is square")[axis].iter().sum();
        let out = (input[2 + axis] + sides - reach) / conv.stride[axis] + 1;
        if out < pool.kernel_size[axis] {
            return None;
        }
        pixels *= out;
    }
    if !eval && input[0] * pixels == 1 {
        return None; // One value has no variance.
    }
    let running = eval.then(|| {
        let (mean, var) = (0..filters).map(|c| (0.1 * c as f64, 0.5 + 0.25 * c as f64)).unzip();
        [mean, var]
    });
    case.inputs.extend((0..parts).map(|_| normal(&[filters])));
    let options = ConvBlockOptions { conv, eps: 1e-3, pool };
    case.op = Op::ConvBlock { options, running, drop };
    Some(case)
}

fn blocks() -> Vec<Case> {
    let square = |stride, padding: usize, dilation| Conv2dOptions {
        stride: [stride; 2],
        padding: padding.into(),
        dilation: [dilation; 2],
        groups: 1,
    };
    let same = Conv2dOptions { padding: Padding::Same, ..Conv2dOptions::default() };
    let sides = Conv2dOptions { padding: [[1, 0], [1, 3]].into(), ..same };
    let usual = || (square(1, 1, 1), MaxPool2d::new(2));
    let (train, eval) = ((false, None), (true, None));
    let cases = [
        block([3, 1, 8, 6], 5, [3, 3], usual(), 3, train),
        block([1, 5, 7, 6], 7, [3, 3], usual(), 3, (false, Some(0.2))),
        block([33, 2, 5, 4], 3, [3, 3], usual(), 3, (false, Some(0.5))),
        block([3, 3, 5, 7], 4, [3, 3], usual(), 1, train),
        block([3, 3, 5, 7], 4, [3, 3], usual(), 0, train),
        block([3, 17, 3, 4], 9, [3, 3], usual(), 3, eval),
        block([3, 2, 6, 5], 18, [3, 3], usual(), 0, eval),
        block([3, 2, 6, 6], 3, [3, 3], usual(), 3, (true, Some(0.3))),
        block([3, 3, 7, 9], 4, [5, 5], (square(1, 2, 1), MaxPool2d::new(2)), 3, train),
        block([3, 3, 9, 8], 5, [3, 3], (square(2, 1, 1), MaxPool2d::new(2)), 3, train),
        block([3, 3, 9, 8], 4, [3, 3], (square(1, 0, 2), MaxPool2d::new([3, 2])), 2, train),
        block([3, 4, 6, 7], 5, [1, 1], (square(1, 0, 1), MaxPool2d::new(2).stride(3)), 3, train),
        block([3, 2, 7, 5], 3, [3, 3], (square(1, 1, 1), MaxPool2d::new(1)), 3, train),
        block([2, 3, 8, 8], 4, [3, 2], (square(1, 1, 1), MaxPool2d::new(2)), 3, train),
        block([3, 2, 6, 4], 4, [3, 3], (same, MaxPool2d::new(2)), 3, train),
        block([3, 2, 6, 4], 4, [3, 3], (sides, MaxPool2d::new(2)), 3, train),
        // More filters than a tile has rows, and more pixels than are summed in one piece.
        block([3, 1, 4, 2], 66, [1, 1], (square(1, 0, 1), MaxPool2d::new(2)), 3, train),
        block([37, 1, 4, 4], 3, [3, 3], usual(), 3, (false, Some(0.2))),
    ];
    cases.into_iter().map(|case| case.expect("the filter fits")).collect()
}

fn block_grid() -> Vec<Case> {
    let mut cases = blocks();
    for batch in BATCHES {
        for [channels, filters] in [[1, 25], [3, 4], [17, 33], [25, 50]] {
            for [height, width] in [[5, 4], [6, 9], [2, 2], [14, 14]] {
                for kernel in [[1, 1], [3, 3], [5, 5]] {
                    for (stride, padding) in [(1, 0), (1, 1), (1, 2), (2, 1)] {
                        for (window, mode) in
                            [(2, (false, None)), (2, (false, Some(0.4))), (3, (true, None))]
                        {
                            let conv = Conv2dOptions {
                                stride: [stride; 2],
                                padding: padding.into(),
                                ..Conv2dOptions::default()
                            };
                            let input = [batch, channels, height, width];
                            let geometry = (conv, MaxPool2d::new(window));
                            let parts = (height + padding) % 4;
                            cases.extend(block(input, filters, kernel, geometry, parts, mode));
                        }
                    }
                }
            }
        }
    }
    cases
}

/// `[rows, inner, columns]` as linear layers with a rectifier, dropout or not.
fn hidden_layers() -> Vec<Case> {
    let sizes =
        [[1, 7, 5], [3, 17, 13], [33, 9, 24], [7, 1, 5], [33, 19, 1], [32, 75, 66], [2, 600, 1]];
    let layer = |[m, k, n]: [usize; 3], drop| {
        let (x, w, b) = (normal(&[m, k]), normal(&[n, k]), normal(&[n]));
        let op = Op::LinearRelu { drop };
        [case(op.clone(), [x.clone(), w.clone(), b]), case(op, [x, w])]
    };
    let drops = [None, Some(0.3)];
    sizes.iter().flat_map(|&size| drops.map(|drop| layer(size, drop))).flatten().collect()
}

/// The losses, behind a linear layer of 5 inputs.
fn last_layers(batches: &[usize], classes: &[usize]) -> Vec<Case> {
    let layer = |(i, loss): (usize, Case)| {
        let Op::CrossEntropy { target, options } = loss.op else { unreachable!("losses") };
        let (rows, classes) = (loss.inputs[0].0[0], loss.inputs[0].0[1]);
        let mut inputs = vec![normal(&[rows, 5]), normal(&[classes, 5])];
        inputs.extend((i % 3 != 0).then(|| normal(&[classes])));
        case(Op::LinearCrossEntropy { target, options }, inputs)
    };
    losses(batches, classes).into_iter().enumerate().map(layer).collect()
}

/// Products of many matrices and of vectors, with each way in which one side repeats.
fn batched_products() -> Vec<Case> {
    let shapes: [(&[usize], &[usize]); 12] = [
        (&[3, 5, 7], &[3, 7, 4]),
        (&[3, 5, 7], &[7, 4]),
        (&[5, 7], &[3, 7, 4]),
        (&[2, 1, 5, 3], &[3, 3, 4]),
        (&[2, 1, 3, 2, 3], &[4, 1, 3, 2]),
        (&[1, 5, 7], &[3, 7, 2]),
        (&[2, 33, 17], &[2, 17, 3]),
        (&[7], &[7]),
        (&[7], &[2, 7, 3]),
        (&[2, 3, 7], &[7]),
        (&[33, 1, 3], &[33, 3, 1]),
        (&[2, 3, 1], &[1, 4]),
    ];
    let matmul = shapes.map(|(a, b)| case(Op::Matmul, [normal(a), normal(b)]));
    let linear = [
        case(Op::Linear, [normal(&[3, 5, 7]), normal(&[4, 7]), normal(&[4])]),
        case(Op::Linear, [normal(&[2, 3, 1, 5]), normal(&[6, 5])]),
        case(Op::LinearRelu { drop: None }, [normal(&[3, 2, 7]), normal(&[4, 7]), normal(&[4])]),
    ];
    matmul.into_iter().chain(linear).collect()
}

/// Rows of neighbours, short and long, and rows side by side.
fn softmaxes() -> Vec<Case> {
    let shapes: [(&[usize], isize); 7] = [
        (&[], 0),
        (&[3, 7], -1),
        (&[33, 5], 1),
        (&[33, 5], 0),
        (&[3, 2, 5, 7], 1),
        (&[2, 65, 3], -2),
        (&[1, 1030], 1),
    ];
    let one = |(shape, dim): (&[usize], isize)| {
        [false, true].map(|log| case(Op::Softmax { dim, log }, [normal(shape)]))
    };
    shapes.into_iter().flat_map(one).collect()
}

/// Layer and group normalisation, with all of scale and shift, the scale alone, and neither.
fn row_norms() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut all = |op: Op, shape: &[usize], parameters: &[usize]| {
        let x = (shape.to_vec(), Fill::Normal(2.0));
        for count in 0..3 {
            let mut inputs = vec![x.clone()];
            inputs.extend((0..count).map(|_| normal(parameters)));
            cases.push(case(op.clone(), inputs));
        }
    };
    let layers: [(&[usize], usize); 5] =
        [(&[3, 7], 1), (&[33, 5], 1), (&[3, 2, 5, 7], 2), (&[2, 3, 4], 3), (&[1, 1030], 1)];
    for (shape, normalized) in layers {
        let normalized_shape = shape[shape.len() - normalized..].to_vec();
        let op = Op::LayerNorm { normalized_shape: normalized_shape.clone(), eps: 1e-3 };
        all(op, shape, &normalized_shape);
    }
    let groups: [(&[usize], usize); 5] =
        [(&[3, 6, 5, 4], 3), (&[2, 5, 3], 1), (&[3, 5, 3], 5), (&[33, 4], 2), (&[1, 2, 26, 20], 1)];
    for (shape, num_groups) in groups {
        all(Op::GroupNorm { num_groups, eps: 1e-3 }, shape, &shape[1..2]);
    }
    cases
}

const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::None];

/// Classes and probabilities, with and without weights, smoothing and ignored targets.
fn class_losses() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [&[usize]; 4] = [&[3, 7], &[33, 5], &[3, 5, 4, 2], &[7]];
    for (i, shape) in shapes.into_iter().enumerate() {
        let (classes, all) = (shape[usize::from(shape.len() > 1)], shape.iter().product::<usize>());
        for (j, reduction) in REDUCTIONS.into_iter().enumerate() {
            let mut target: Vec<i32> =
                (0..all / classes).map(|place| (place * 5 % classes) as i32).collect();
            target.iter_mut().skip(1).step_by(3).for_each(|target| *target = -100);
            let weight =
                (i != j).then(|| (0..classes).map(|class| 0.5 + 0.25 * class as f64).collect());
            let smoothing = [0.0, 0.1][(i + j) % 2];
            let options =
                CrossEntropyOptions { ignore_index: -100, reduction, label_smoothing: smoothing };
            let op = Op::NllLoss { target: target.clone(), weight: weight.clone(), options };
            cases.push(case(op, [normal(shape)]));
            let soft = Op::CrossEntropyLoss { target: None, weight: weight.clone(), options };
            cases.push(case(soft, [normal(shape), (shape.to_vec(), Fill::Positive)]));
            let op = Op::CrossEntropyLoss { target: Some(target), weight, options };
            cases.push(case(op, [normal(shape)]));
        }
    }
    cases
}

/// Random differences: none is as near to a kink as finite differences step.
fn elementwise_losses() -> Vec<Case> {
    let shape = [3, 2, 5];
    let mut cases = Vec::new();
    let mut add = |kind: &str, parameter, reduction, factors: [Option<&[usize]>; 2]| {
        let drawn = |factor: Option<&[usize]>| {
            let values =
                |shape: &[usize]| (1..=shape.iter().product()).map(|i: usize| 0.3 * i as f64);
            factor.map(|shape| (shape.to_vec(), values(shape).collect()))
        };
        let factors = factors.map(drawn);
        let loss = ElementwiseLoss { kind: kind.to_owned(), reduction, parameter, factors };
        cases.push(case(Op::ElementwiseLoss(loss), [normal(&shape), normal(&shape)]));
    };
    for reduction in REDUCTIONS {
        for (kind, parameter) in [("mse", 0.0), ("l1", 0.0), ("smooth_l1", 0.6), ("huber", 0.6)] {
            add(kind, parameter, reduction, [None, None]);
        }
        add("bce", 0.0, reduction, [None, None]);
        add("bce", 0.0, reduction, [Some(&[5]), Some(&[2, 1])]);
        add("bce", 0.0, reduction, [Some(&[3, 2, 5]), Some(&[])]);
    }
    cases
}
