//! Every kernel of every op on the CUDA device, against the CPU's: outputs, gradients overwritten
//! and added to, odd sizes, views that start anywhere, shapes large enough for each way in which a
//! sum is cut. Simulated, threads run in several orders and must leave the same bits; and a checked
//! run must find no race, no access out of bounds and no uninitialised read. On a GPU, several runs
//! must leave the same bits, and `compute-sanitizer` around the last test checks the same.

use crate::common::compare::{Tolerance, compare};
use crate::common::cuda::is_sim;
use crate::common::device::TestDevice;
use crate::device::{AnyBuffer, AnyView, AnyViewMut, Backend, Output};
use crate::dtype::{Element, Float};
use crate::nn::{AdaptiveAvgPool2d, AvgPool2d, MaxPool2d};
use crate::ops::adagrad::{AdagradGroup, AdagradKernels};
use crate::ops::adam::{AdamGroup, AdamKernels};
use crate::ops::augment::{AugmentGeometry, AugmentKernels};
use crate::ops::avg_pool2d::{AvgPool2dGeometry, AvgPool2dKernels};
use crate::ops::background::BackgroundKernels;
use crate::ops::batch_norm2d::{Affine, BatchNorm2dGradients, BatchNorm2dKernels, Running};
use crate::ops::binary::{Binary, BinaryKernels, Broadcast, Comparison, Operand, broadcast};
use crate::ops::clip_grad::ClipGradKernels;
use crate::ops::conv_block::{
    ConvBlockGeometry, ConvBlockGradients, ConvBlockInputs, ConvBlockKernels, Normaliser,
};
use crate::ops::conv2d::{Conv2dGeometry, Conv2dKernels, Conv2dOptions};
use crate::ops::copy::{CopyGeometry, CopyKernels, Layout};
use crate::ops::cross_entropy::{CrossEntropyGeometry, CrossEntropyKernels};
use crate::ops::cross_entropy_rows::{CrossEntropyRowsKernels, RowsGeometry};
use crate::ops::dropout::{DropoutGeometry, DropoutKernels, DropoutView};
use crate::ops::elementwise_loss::{ElementwiseLossKernels, LossGeometry, LossInputs, Repeat};
use crate::ops::end_step::EndStepKernels;
use crate::ops::gather::{GatherGeometry, GatherKernels};
use crate::ops::index::{IndexGeometry, IndexKernels};
use crate::ops::layer_norm::{LayerNormKernels, NormGeometry};
use crate::ops::lerp::LerpKernels;
use crate::ops::linear::{LinearGeometry, LinearGradients};
use crate::ops::linear_cross_entropy::{LinearCrossEntropyGeometry, LinearCrossEntropyKernels};
use crate::ops::linear_relu::LinearReluKernels;
use crate::ops::matmul::{MatmulGeometry, MatmulKernels, Plan};
use crate::ops::max_pool2d::{MaxPool2dGeometry, MaxPool2dKernels};
use crate::ops::nll_loss::{NllGeometry, NllInputs, NllLossKernels};
use crate::ops::random_filter::RandomFilterKernels;
use crate::ops::reduce::{Extreme, Member, ReduceGeometry, ReduceKernels};
use crate::ops::rmsprop::{RmspropGroup, RmspropKernels};
use crate::ops::sgd::{SgdGroup, SgdKernels};
use crate::ops::softmax::SoftmaxKernels;
use crate::ops::sum::{ChannelGeometry, SumKernels};
use crate::ops::unary::{Unary, UnaryKernels};
use crate::ops::{SomeImages, Update, UpdateTile};
use crate::optim::{AdagradOptions, AdamOptions, RmspropOptions, SgdOptions};
use crate::rng::Philox;
use crate::{Device, Shape};
use needs::test_on_cusim as test;
use std::collections::BTreeMap;
use std::ops::Range;

/// What a kernel wrote, by a name that says under which geometry.
#[derive(Default)]
struct Results(BTreeMap<String, Result>);

struct Result {
    values: Vec<f64>,
    distance: Distance,
}

/// How far a device may be from the CPU.
enum Distance {
    /// Not a rounding.
    None,
    /// The rounding of sums.
    Rounding,
    /// The rounding of larger terms, of which little is left.
    RoundingOfTerms,
}

/// How much to run: `Large` reaches every way of cutting a sum, `Small` is for the slow checks.
#[derive(Clone, Copy, PartialEq)]
enum Size {
    Small,
    Large,
}

/// Where views lie in their buffers.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// From this element on: 1 keeps them from being aligned to 16 bytes.
    From(usize),
    /// Up to the end of the memory that the device takes for a buffer, so that what a kernel
    /// accesses behind a view is out of bounds.
    ToTheEnd,
}

impl Place {
    /// The device rounds memory up to this many bytes.
    const GRANULE: usize = 256;

    /// Elements before a view of `n`.
    fn offset<E>(self, n: usize) -> usize {
        match self {
            Self::From(offset) => offset,
            Self::ToTheEnd => n.next_multiple_of(Self::GRANULE / size_of::<E>()) - n,
        }
    }
}

/// A device, and how buffers lie on it.
struct Bench<'a> {
    device: &'a Device,
    size: Size,
    place: Place,
}

/// A view's worth of elements inside a buffer.
struct Field<E: Element> {
    buffer: AnyBuffer<E>,
    offset: usize,
}

impl<E: Element> Field<E> {
    fn view(&self) -> AnyView<'_, E> {
        Device::slice(Device::view(&self.buffer), self.offset..Device::len(&self.buffer))
    }

    fn view_mut(&mut self) -> AnyViewMut<'_, E> {
        let range = self.offset..Device::len(&self.buffer);
        Device::slice_mut(Device::view_mut(&mut self.buffer), range)
    }

    fn output(&mut self, accumulate: bool) -> Output<'_, Device, E> {
        Output { view: self.view_mut(), accumulate }
    }
}

impl Bench<'_> {
    fn field<E: Element>(&self, values: &[E]) -> Field<E> {
        let offset = self.place.offset::<E>(values.len());
        let mut all = vec![E::default(); offset];
        all.extend_from_slice(values);
        let buffer = self.device.upload(&all).expect("there is memory");
        Field { buffer, offset }
    }

    /// Normal numbers around `mean`.
    fn normal<T: Float>(&self, n: usize, stream: u32, mean: f64) -> Field<T> {
        self.field(&normal(n, stream).iter().map(|x| T::of(x + mean)).collect::<Vec<_>>())
    }

    /// What an output holds before: numbers to add to, or NaN, which must vanish.
    fn before<T: Float>(&self, n: usize, accumulate: bool) -> Field<T> {
        if accumulate { self.normal(n, 99, 0.0) } else { self.field(&vec![T::nan(); n]) }
    }

    fn zeros<E: Element>(&self, n: usize) -> Field<E> {
        self.field(&vec![E::default(); n])
    }

    fn values<T: Float>(&self, field: &Field<T>) -> Vec<f64> {
        let values = self.device.read(field.view()).expect("the kernels ran");
        values.into_iter().map(T::as_f64).collect()
    }

    fn integers(&self, field: &Field<i32>) -> Vec<f64> {
        let values = self.device.read(field.view()).expect("the kernels ran");
        values.into_iter().map(f64::from).collect()
    }

    fn counts(&self, field: &Field<u64>) -> Vec<f64> {
        let values = self.device.read(field.view()).expect("the kernels ran");
        values.into_iter().map(|count| count as f64).collect()
    }
}

fn normal(n: usize, stream: u32) -> Vec<f64> {
    let mut random = Philox::new(42).sequence(stream, 0);
    // Exact in f32, so that both precisions see the same numbers.
    (0..n).map(|_| f64::from(random.normal() as f32)).collect()
}

impl Results {
    fn close(&mut self, name: impl Into<String>, values: Vec<f64>) {
        self.put(name.into(), values, Distance::Rounding);
    }

    fn close_to_terms(&mut self, name: impl Into<String>, values: Vec<f64>) {
        self.put(name.into(), values, Distance::RoundingOfTerms);
    }

    fn exact(&mut self, name: impl Into<String>, values: Vec<f64>) {
        self.put(name.into(), values, Distance::None);
    }

    fn put(&mut self, name: String, values: Vec<f64>, distance: Distance) {
        let known = self.0.insert(name.clone(), Result { values, distance });
        assert!(known.is_none(), "{name} came twice");
    }
}

/// Lists the functions that run an op's kernels, and makes a test of each against the CPU.
macro_rules! ops {
    ($($op:ident),* $(,)?) => {
        fn all_ops<T: Float>(bench: &Bench<'_>, results: &mut Results) {
            $($op::<T>(bench, results);)*
        }

        mod agrees_with_the_cpu {
            use needs::test_on_cusim as test;


            $(
                #[test]
                fn $op() {
                    super::compare_with_cpu::<f64>(super::$op::<f64>);
                    super::compare_with_cpu::<f32>(super::$op::<f32>);
                }
            )*

            /// The kernels that measure a GPU's peaks, whose results the measurement itself checks.
            #[test]
            fn peak() {
                let cuda = super::TestDevice::Cuda.open();
                let peaks = crate::bench::peaks(&cuda, crate::bench::Effort::Quick).unwrap();
                assert!(peaks.bytes_per_second > 0.0 && peaks.flops_per_second > 0.0, "{peaks:?}");
            }
        }
    };
}

ops! {
    adagrad, adam, augment, avg_pool2d, background, batch_norm2d, batched_matmul, binary, clip_grad,
    conv2d, conv_block, copy, cross_entropy, cross_entropy_rows, dropout, elementwise_loss, end_step,
    gather, index, layer_norm, lerp, linear_cross_entropy, linear_relu, matmul, max_pool2d, nll_loss,
    random_filter, reduce, rmsprop, sgd, softmax, sum, unary,
}

type Run = fn(&Bench<'_>, &mut Results);

fn compare_with_cpu<T: Float>(op: Run) {
    let (cuda, cpu) = (TestDevice::Cuda.open(), TestDevice::Cpu.open());
    for place in [Place::From(0), Place::From(1)] {
        let (mut actual, mut expected) = (Results::default(), Results::default());
        op(&Bench { device: &cuda, size: Size::Large, place }, &mut actual);
        op(&Bench { device: &cpu, size: Size::Large, place }, &mut expected);
        assert!(actual.0.keys().eq(expected.0.keys()));
        let mut worst = (0.0, "");
        for (name, Result { values, distance }) in &actual.0 {
            let rounding = Tolerance::of::<T>();
            let tolerance = match distance {
                Distance::None => Tolerance::default(),
                Distance::Rounding => rounding,
                Distance::RoundingOfTerms => rounding.plus(1e4 * T::epsilon().as_f64()),
            };
            let share = compare(values, &expected.0[name].values, tolerance)
                .unwrap_or_else(|e| panic!("{name}, {}, {place:?}: {e}", T::NAME))
                .share;
            if share > worst.0 {
                worst = (share, name);
            }
        }
        println!("{}, {place:?}: at most {:.4} of the tolerance: {}", T::NAME, worst.0, worst.1);
    }
}

/// The bits of everything, so that NaN can be compared too.
fn bits<T: Float>(size: Size) -> BTreeMap<String, Vec<u64>> {
    let cuda = TestDevice::Cuda.open();
    let mut results = Results::default();
    all_ops::<T>(&Bench { device: &cuda, size, place: Place::From(0) }, &mut results);
    let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect();
    results.0.into_iter().map(|(name, result)| (name, bits(result.values))).collect()
}

#[test]
fn the_order_of_threads_changes_no_bit() {
    // In a process of its own, whose order no other test sets.
    let Some(child) = cusim::in_child("ops::cuda_tests::the_order_of_threads_changes_no_bit", &[])
    else {
        let sim = is_sim().then(|| cusim::Sim::load().expect("cusim was built with this test"));
        let in_orders = |run: fn() -> BTreeMap<String, Vec<u64>>| {
            let [forward, others @ ..] = cusim::Order::ALL.map(|order| {
                // A GPU has no setting: it runs as it likes each time.
                if let Some(sim) = sim {
                    sim.set_order(order);
                }
                run()
            });
            for other in others {
                for (name, bits) in &forward {
                    assert_eq!(bits, &other[name], "{name}");
                }
            }
        };
        in_orders(|| bits::<f32>(Size::Large));
        in_orders(|| bits::<f64>(Size::Small));
        return;
    };
    assert!(child.success, "{}", child.output);
}

#[test]
fn checks_have_nothing_to_report() {
    let every_kernel = || {
        let cuda = TestDevice::Cuda.open();
        for place in [Place::From(0), Place::ToTheEnd] {
            let bench = Bench { device: &cuda, size: Size::Small, place };
            all_ops::<f32>(&bench, &mut Results::default());
            all_ops::<f64>(&bench, &mut Results::default());
        }
    };
    if !is_sim() {
        // In this very process, where `compute-sanitizer` looks.
        every_kernel();
        return;
    }
    let checked = [("CUSIM_CHECK", "1")];
    let Some(child) = cusim::in_child("ops::cuda_tests::checks_have_nothing_to_report", &checked)
    else {
        every_kernel();
        return;
    };
    assert!(child.reports.is_empty(), "{:#?}", child.reports);
    assert!(child.success, "{}", child.output);
}

fn conv2d<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let plain = Conv2dOptions::default();
    let padded = Conv2dOptions { padding: 1.into(), ..plain };
    let strided = Conv2dOptions { stride: [2, 3], padding: [2, 1].into(), ..plain };
    let dilated = Conv2dOptions { padding: [2, 1].into(), dilation: [2, 3], ..plain };
    let all = Conv2dOptions { stride: [3, 2], padding: [1, 4].into(), dilation: [2, 2], ..plain };
    let sides = Conv2dOptions { padding: [[0, 2], [3, 1]].into(), ..plain };
    let small: &[([usize; 4], [usize; 3], Conv2dOptions)] = &[
        ([1, 1, 5, 7], [3, 3, 3], padded),
        ([3, 2, 6, 5], [5, 1, 3], strided),
        ([2, 3, 7, 8], [33, 3, 2], all),
        ([3, 34, 4, 4], [2, 3, 3], padded),
        ([2, 1, 8, 10], [2, 3, 3], plain),
        ([2, 5, 6, 7], [10, 3, 2], Conv2dOptions { groups: 5, ..strided }),
        ([2, 6, 5, 6], [4, 3, 3], Conv2dOptions { groups: 2, ..sides }),
        ([2, 4, 5, 6], [18, 3, 3], Conv2dOptions { groups: 2, ..sides }),
    ];
    let large: &[([usize; 4], [usize; 3], Conv2dOptions)] = &[
        ([33, 1, 28, 28], [25, 3, 3], padded),
        ([5, 17, 9, 13], [70, 5, 3], dilated),
        ([33, 5, 7, 7], [40, 3, 3], padded),
        ([3, 65, 6, 9], [130, 3, 1], strided),
        ([1, 3, 31, 20], [64, 7, 5], all),
        ([4, 40, 8, 8], [33, 1, 1], plain),
        ([0, 2, 4, 4], [3, 3, 3], padded),
        // Sums in one piece and in several, in several groups.
        ([17, 12, 17, 19], [12, 3, 3], Conv2dOptions { groups: 12, ..padded }),
        ([1, 6, 9, 11], [6, 3, 3], Conv2dOptions { groups: 3, ..dilated }),
        ([33, 24, 7, 7], [80, 3, 3], Conv2dOptions { groups: 2, ..padded }),
        ([3, 100, 5, 6], [20, 1, 1], Conv2dOptions { groups: 2, ..plain }),
        ([0, 4, 4, 4], [4, 3, 3], Conv2dOptions { groups: 4, ..padded }),
        ([0, 18, 4, 4], [18, 3, 3], Conv2dOptions { groups: 2, ..padded }),
    ];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &(input, [o, kh, kw], options) in small.iter().chain(more) {
        let weight = [o, input[1] / options.groups, kh, kw];
        let (input, weight) = (Shape::from(input), Shape::from(weight));
        let g = Conv2dGeometry::new(&input, &weight, &options).unwrap();
        let output = g.output_shape().numel();
        let what = format!("conv2d of {input} by {weight}, {options:?}");
        let x = bench.normal::<T>(input.numel(), 0, 0.0);
        let w = bench.normal::<T>(weight.numel(), 1, 0.0);
        let b = bench.normal::<T>(o, 2, 0.0);
        for (bias, name) in [(Some(b.view()), "with bias"), (None, "without bias")] {
            let mut y = bench.before::<T>(output, false);
            bench.device.conv2d_forward(&g, x.view(), w.view(), bias, y.view_mut()).unwrap();
            results.close(format!("{what}: output {name}"), bench.values(&y));
        }
        let dy = bench.normal::<T>(output, 3, 0.0);
        for accumulate in [false, true] {
            let mut dx = bench.before::<T>(input.numel(), accumulate);
            let out = dx.output(accumulate);
            bench.device.conv2d_backward_input(&g, dy.view(), w.view(), out).unwrap();
            results.close(format!("{what}: grad_input, {accumulate}"), bench.values(&dx));
            let mut dw = bench.before::<T>(weight.numel(), accumulate);
            let out = dw.output(accumulate);
            bench.device.conv2d_backward_weight(&g, x.view(), dy.view(), out).unwrap();
            results.close(format!("{what}: grad_weight, {accumulate}"), bench.values(&dw));
        }
    }
}

/// Small whole numbers: a convolution of them is exact, so that both devices see the same maxima,
/// ties among them, and nothing near the rectifier's kink by rounding alone.
fn whole<T: Float>(n: usize, stream: u32) -> Vec<T> {
    normal(n, stream).iter().map(|x| T::of(x.round())).collect()
}

/// A mask that drops 0.3 of the elements.
fn some_dropped() -> DropoutGeometry {
    DropoutGeometry::new(0.3, 0x1234_5678_9abc_def0, 7).expect("it is in 0..=1")
}

fn conv_block<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let plain = Conv2dOptions::default();
    let padded = Conv2dOptions { padding: 1.into(), ..plain };
    let all = Conv2dOptions { stride: [3, 2], padding: [1, 4].into(), dilation: [2, 2], ..plain };
    let two = MaxPool2d::new(2);
    type Sizes = ([usize; 4], [usize; 3], Conv2dOptions, MaxPool2d);
    let small: &[Sizes] = &[
        ([3, 1, 8, 6], [5, 3, 3], padded, two),
        ([2, 3, 7, 8], [33, 3, 2], all, MaxPool2d::new([1, 2])),
        ([1, 2, 9, 7], [4, 3, 3], padded, two.stride([3, 4])),
        // A channel's pooled elements are for two blocks.
        ([2, 1, 23, 23], [2, 1, 1], plain, MaxPool2d::new(1)),
        // Places in a window that no byte holds.
        ([2, 1, 22, 42], [2, 3, 3], plain, MaxPool2d::new([20, 40])),
    ];
    let large: &[Sizes] = &[
        ([9, 1, 28, 28], [25, 3, 3], padded, two),
        ([17, 7, 14, 14], [50, 3, 3], padded, two),
        ([3, 17, 9, 13], [130, 5, 3], padded, MaxPool2d::new([2, 3])),
        ([1, 40, 8, 8], [3, 1, 1], plain, MaxPool2d::new(1)),
        ([0, 2, 4, 4], [3, 3, 3], padded, two),
    ];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &(input, [o, kh, kw], options, pool) in small.iter().chain(more) {
        let weight = [o, input[1], kh, kw];
        let (input, weight) = (Shape::from(input), Shape::from(weight));
        let conv = Conv2dGeometry::new(&input, &weight, &options).unwrap();
        let (pool, output) = MaxPool2dGeometry::new(&pool, &conv.output_shape()).unwrap();
        let g = ConvBlockGeometry { conv, pool };
        let what = format!("conv_block of {input} by {weight}, {options:?}, {pool:?}");
        let x = bench.field(&whole::<T>(input.numel(), 0));
        let w = bench.field(&whole::<T>(weight.numel(), 1));
        let b = bench.field(&whole::<T>(o, 2));
        let (scale, shift) = (bench.normal::<T>(o, 3, 1.0), bench.normal::<T>(o, 4, 0.0));
        let dy = bench.normal::<T>(output.numel(), 5, 0.25);
        let (step, dropout) = (bench.field(&[1u64 << 33]), some_dropped());
        for case in 0..8 {
            if input.numel() > 1_000 && case > 3 {
                continue;
            }
            // An empty batch has no statistics.
            let batch = case % 4 != 3 && input.numel() > 0;
            let tracked = case % 2 == 0;
            let drop =
                (case % 3 == 1).then(|| DropoutView { geometry: dropout, step: step.view() });
            let inputs = || ConvBlockInputs {
                input: x.view(),
                weight: w.view(),
                bias: (case != 2).then(|| b.view()),
                affine: Affine {
                    weight: (case != 1).then(|| scale.view()),
                    bias: (case != 4).then(|| shift.view()),
                },
            };
            let mut mean = bench.normal::<T>(o, 6, 0.0);
            let mut var = bench.field(&vec![T::of(5.0); o]);
            let normaliser = if !batch {
                Normaliser::Running { mean: mean.view(), var: var.view() }
            } else {
                Normaliser::Batch(tracked.then(|| Running {
                    mean: mean.view_mut(),
                    var: var.view_mut(),
                    momentum: T::of(0.1),
                }))
            };
            let mut y = bench.before::<T>(output.numel(), false);
            let keep = case != 7;
            let saved = bench
                .device
                .conv_block_forward(&g, T::of(1e-3), inputs(), normaliser, drop, y.view_mut(), keep)
                .unwrap();
            results.close(format!("{what}, {case}: output"), bench.values(&y));
            results.close(format!("{what}, {case}: running mean"), bench.values(&mean));
            results.close(format!("{what}, {case}: running var"), bench.values(&var));
            if !keep {
                continue;
            }
            let accumulate = case % 2 == 1;
            let mut dx = bench.before::<T>(input.numel(), accumulate);
            let mut dw = bench.before::<T>(weight.numel(), !accumulate);
            let mut db = bench.before::<T>(o, accumulate);
            let mut dscale = bench.before::<T>(o, accumulate);
            let mut dshift = bench.before::<T>(o, !accumulate);
            let gradients = ConvBlockGradients {
                // Each must work without the others.
                input: (case < 5).then(|| dx.output(accumulate)),
                weight: (case < 4).then(|| dw.output(!accumulate)),
                bias: (case != 0 && case != 6).then(|| db.output(accumulate)),
                scale: (case != 3 && case != 5).then(|| dscale.output(accumulate)),
                shift: (case != 2 && case != 5).then(|| dshift.output(!accumulate)),
            };
            let drop =
                (case % 3 == 1).then(|| DropoutView { geometry: dropout, step: step.view() });
            let (y, dy) = (y.view(), dy.view());
            let saved = saved.expect("it was to be kept");
            bench.device.conv_block_backward(&g, inputs(), drop, saved, y, dy, gradients).unwrap();
            for (name, field) in [
                ("input", &dx),
                ("weight", &dw),
                ("bias", &db),
                ("scale", &dscale),
                ("shift", &dshift),
            ] {
                results.close_to_terms(format!("{what}, {case}: {name}"), bench.values(field));
            }
        }
    }
}

/// The gradients of a fully connected layer, each wanted or not, added or not.
fn linear_gradients<T: Float>(
    bench: &Bench<'_>,
    results: &mut Results,
    what: &str,
    g: &LinearGeometry,
    run: impl Fn(LinearGradients<'_, Device, T>),
) {
    let [rows, inner, columns] = [g.rows, g.in_features, g.out_features].map(|n| n as usize);
    for case in 0..5 {
        let accumulate = case % 2 == 1;
        let mut dx = bench.before::<T>(rows * inner, accumulate);
        let mut dw = bench.before::<T>(columns * inner, !accumulate);
        let mut db = bench.before::<T>(columns, accumulate);
        run(LinearGradients {
            input: (case != 2).then(|| dx.output(accumulate)),
            weight: (case != 3).then(|| dw.output(!accumulate)),
            bias: (case != 4).then(|| db.output(accumulate)),
        });
        results.close(format!("{what}: input, {case}"), bench.values(&dx));
        results.close(format!("{what}: weight, {case}"), bench.values(&dw));
        results.close(format!("{what}: bias, {case}"), bench.values(&db));
    }
}

fn linear_relu<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[[usize; 3]] = &[[1, 1, 1], [3, 200, 5], [33, 17, 66], [2, 600, 3], [4, 0, 8]];
    // Sums in more slices than one block adds, forward and backward.
    let large: &[[usize; 3]] =
        &[[32, 675, 512], [33, 1500, 24], [700, 31, 70], [3, 40, 900], [0, 3, 4], [5, 4, 0]];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &[rows, inner, columns] in small.iter().chain(more) {
        let [rows32, in_features, out_features] = [rows, inner, columns].map(|n| n as u32);
        let g = LinearGeometry { rows: rows32, in_features, out_features };
        let x = bench.field(&whole::<T>(rows * inner, 0));
        let w = bench.field(&whole::<T>(columns * inner, 1));
        let b = bench.field(&whole::<T>(columns, 2));
        let dy = bench.normal::<T>(rows * columns, 3, 0.0);
        let (step, dropout) = (bench.field(&[1u64 << 33]), some_dropped());
        for (with_bias, dropped) in [(false, true), (true, true), (true, false)] {
            let what = format!("linear_relu {g:?}, {with_bias}, {dropped}");
            let bias = with_bias.then(|| b.view());
            let drop = dropped.then(|| DropoutView { geometry: dropout, step: step.view() });
            let scale = if dropped { T::of(dropout.scale) } else { T::one() };
            let mut y = bench.before::<T>(rows * columns, false);
            let (x, w) = (x.view(), w.view());
            bench.device.linear_relu_forward(&g, x, w, bias, drop, y.view_mut()).unwrap();
            results.close(format!("{what}: output"), bench.values(&y));
            linear_gradients(bench, results, &what, &g, |gradients| {
                let (y, dy) = (y.view(), dy.view());
                bench.device.linear_relu_backward(&g, scale, x, w, y, dy, gradients).unwrap();
            });
        }
    }
}

fn linear_cross_entropy<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[[usize; 3]] = &[[1, 1, 1], [3, 6, 7], [33, 130, 24], [0, 3, 5], [2, 0, 3]];
    let large: &[[usize; 3]] = &[[32, 512, 24], [1100, 9, 3], [9, 70, 1000], [4, 1500, 65]];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &[rows, inner, classes] in small.iter().chain(more) {
        // Whole numbers: two largest logits are not a rounding apart, but equal now and then.
        let x = bench.field(&whole::<T>(rows * inner, 0));
        let w = bench.field(&whole::<T>(classes * inner, 1));
        let b = bench.field(&whole::<T>(classes, 2));
        for case in 0..5 {
            let ignored = |row| case == 4 || case > 1 && row % 4 == 1;
            let target: Vec<i32> = (0..rows)
                .map(|row| if ignored(row) { -100 } else { ((row * 5 + 1) % classes) as i32 })
                .collect();
            let t = bench.field(&target);
            let loss = CrossEntropyGeometry {
                batch: rows as u32,
                classes: classes as u32,
                ignore_index: -100,
                mean: case % 2,
                label_smoothing: [0.0, 0.0, 0.1, 0.3, 0.0][case as usize],
            };
            let g = LinearCrossEntropyGeometry::new(loss, inner as u32);
            let what = format!("linear_cross_entropy {g:?}, {case}");
            let mut loss = bench.before::<T>(1, false);
            let mut saved = bench.before::<T>(rows * classes, false);
            let mut correct = bench.zeros(1);
            bench
                .device
                .linear_cross_entropy_forward(
                    &g,
                    x.view(),
                    w.view(),
                    (case != 1).then(|| b.view()),
                    t.view(),
                    loss.view_mut(),
                    saved.view_mut(),
                    correct.view_mut(),
                )
                .unwrap();
            results.close(format!("{what}: loss"), bench.values(&loss));
            results.close(format!("{what}: saved"), bench.values(&saved));
            results.exact(format!("{what}: correct"), bench.integers(&correct));
            let upstream = bench.normal::<T>(1, 4, 0.0);
            let linear = g.linear();
            linear_gradients(bench, results, &what, &linear, |gradients| {
                let (x, w, saved) = (x.view(), w.view(), saved.view());
                bench
                    .device
                    .linear_cross_entropy_backward(&g, x, w, saved, upstream.view(), gradients)
                    .unwrap();
            });
        }
    }
}

fn matmul<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[[usize; 3]] = &[[1, 1, 1], [3, 5, 200], [33, 66, 17], [4, 8, 0]];
    let large: &[[usize; 3]] =
        &[[32, 512, 675], [33, 24, 512], [65, 129, 31], [130, 7, 1000], [0, 3, 4], [5, 0, 4]];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &[m, n, k] in small.iter().chain(more) {
        let (a, b) = (bench.normal::<T>(m * k, 0, 0.0), bench.normal::<T>(k * n, 1, 0.0));
        let bias = bench.normal::<T>(n, 2, 0.0);
        for form in 0..4 {
            let (transpose_a, transpose_b) = (form & 1, form >> 1);
            let g = MatmulGeometry::new("test", m, n, k).unwrap();
            let g = MatmulGeometry { transpose_a, transpose_b, ..g };
            for (with_bias, accumulate) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let bias = with_bias.then(|| bias.view());
                let mut c = bench.before::<T>(m * n, accumulate);
                let out = c.output(accumulate);
                bench.device.matmul(&g, a.view(), b.view(), bias, out).unwrap();
                results.close(format!("{g:?}, {with_bias}, {accumulate}"), bench.values(&c));
            }
        }
    }
}

/// Batches of a, b and c, and `[m, n, k]`: with and without terms to sum, in slices and whole.
fn batched_matmul<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    type Batches<'a> = [&'a [usize]; 3];
    let small: &[(Batches<'_>, [usize; 3])] = &[
        ([&[3], &[3], &[3]], [1, 1, 1]),
        ([&[2, 1], &[3], &[2, 3]], [5, 3, 7]),
        ([&[2, 3], &[3], &[2, 1]], [33, 4, 5]),
        ([&[2, 3, 2], &[2, 3, 2], &[3, 1]], [4, 65, 17]),
        ([&[1], &[2], &[2]], [3, 4, 0]),
        ([&[0], &[1], &[1]], [3, 4, 5]),
    ];
    let large: &[(Batches<'_>, [usize; 3])] = &[
        ([&[3], &[3], &[3]], [33, 70, 600]),
        ([&[5, 2], &[5, 2], &[5, 1]], [65, 33, 130]),
        ([&[70], &[70], &[70]], [3, 5, 9]),
        ([&[40, 2], &[40, 2], &[2]], [7, 9, 33]),
    ];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &(dims, [m, n, k]) in small.iter().chain(more) {
        let [of_a, of_b, of_c] = dims.map(|dims| dims.iter().product::<usize>());
        let (a, b) =
            (bench.normal::<T>(of_a * m * k, 0, 0.0), bench.normal::<T>(of_b * k * n, 1, 0.0));
        for (transpose_a, transpose_b) in [(0, 0), (0, 1), (1, 0)] {
            let g = MatmulGeometry::new("test", m, n, k).unwrap();
            let g = MatmulGeometry { transpose_a, transpose_b, ..g };
            let Plan::Batched(g) = Plan::new("test", g, dims).unwrap() else {
                continue; // `matmul` has it.
            };
            for accumulate in [false, true] {
                let mut c = bench.before::<T>(of_c * m * n, accumulate);
                let out = c.output(accumulate);
                bench.device.batched_matmul(&g, a.view(), b.view(), out).unwrap();
                results.close(format!("{dims:?}, {g:?}, {accumulate}"), bench.values(&c));
            }
        }
    }
}

fn softmax<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[[u32; 3]] =
        &[[1, 1, 1], [9, 7, 1], [2, 1030, 1], [3, 5, 33], [0, 3, 1], [2, 0, 3]];
    let large: &[[u32; 3]] = &[[300, 65, 1], [3, 70_001, 1], [2, 300, 70]];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &[outer, channels, inner] in small.iter().chain(more) {
        let g = ChannelGeometry { outer, channels, inner };
        let mut values = normal(g.numel(), 0);
        // What cannot be, and a row far from 0.
        values.iter_mut().skip(3).step_by(29).for_each(|x| *x = f64::NEG_INFINITY);
        values.iter_mut().take(channels as usize).for_each(|x| *x += 1e4);
        let x = bench.field(&values.iter().map(|&x| T::of(x)).collect::<Vec<_>>());
        // An output that is one: positive, and below 1.
        let saved = normal(g.numel(), 1).iter().map(|x| T::of(x.abs() / 8.0)).collect::<Vec<_>>();
        let (saved, dy) = (bench.field(&saved), bench.normal::<T>(g.numel(), 2, 0.0));
        for log in [false, true] {
            let mut y = bench.before::<T>(g.numel(), false);
            bench.device.softmax_forward(&g, log, x.view(), y.view_mut()).unwrap();
            results.close(format!("{g:?}, {log}: y"), bench.values(&y));
            for accumulate in [false, true] {
                let mut dx = bench.before::<T>(g.numel(), accumulate);
                let out = dx.output(accumulate);
                bench.device.softmax_backward(&g, log, saved.view(), dy.view(), out).unwrap();
                results.close(format!("{g:?}, {log}, {accumulate}: dx"), bench.values(&dx));
            }
        }
    }
}

fn layer_norm<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[[u32; 4]] =
        &[[1, 1, 1, 1], [9, 1, 7, 1], [6, 3, 2, 5], [2, 1, 1030, 1], [0, 2, 3, 1]];
    let large: &[[u32; 4]] = &[[300, 1, 65, 1], [4, 2, 3, 784], [3, 1, 20_001, 1]];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &[rows, groups, channels, inner] in small.iter().chain(more) {
        let g = NormGeometry { rows, groups, channels, inner };
        let (n, c, rows) = (g.numel(), (groups * channels) as usize, rows as usize);
        // A mean far from 0 shows a variance that cancels.
        let x = bench.normal::<T>(n, 0, 100.0);
        let (w, b) = (bench.normal::<T>(c, 1, 1.0), bench.normal::<T>(c, 2, 0.0));
        let dy = bench.normal::<T>(n, 3, 0.25);
        for with in 0..4 {
            let (weight, bias) =
                ((with & 1 == 1).then(|| w.view()), (with & 2 == 2).then(|| b.view()));
            let what = format!("{g:?}, {with}");
            let mut y = bench.before::<T>(n, false);
            let (mut mean, mut invstd) =
                (bench.before::<T>(rows, false), bench.before::<T>(rows, false));
            let (mean_out, invstd_out) = (mean.view_mut(), invstd.view_mut());
            let affine = Affine { weight, bias };
            let (device, eps) = (bench.device, T::of(1e-5));
            device
                .layer_norm_forward(&g, eps, x.view(), affine, y.view_mut(), mean_out, invstd_out)
                .unwrap();
            // One value is its own mean, up to the rounding of that.
            results.close(format!("{what}: mean"), bench.values(&mean));
            results.close(format!("{what}: invstd"), bench.values(&invstd));
            if g.width() > 1 {
                results.close_to_terms(format!("{what}: y"), bench.values(&y));
            }
            // The same statistics on both devices from here on.
            let (mean, invstd) =
                (bench.normal::<T>(rows, 7, 100.0), bench.normal::<T>(rows, 8, 4.0));
            for case in 0..4 {
                let (wants_x, wants_products, accumulate) = (case != 1, case != 0, case == 3);
                let mut dx = bench.before::<T>(n, accumulate);
                let mut products = bench.before::<T>(n, false);
                device
                    .layer_norm_backward(
                        &g,
                        x.view(),
                        mean.view(),
                        invstd.view(),
                        weight,
                        dy.view(),
                        wants_x.then(|| dx.output(accumulate)),
                        wants_products.then(|| products.view_mut()),
                    )
                    .unwrap();
                if wants_x {
                    results.close_to_terms(format!("{what}, {case}: dx"), bench.values(&dx));
                }
                if wants_products {
                    results.close(format!("{what}, {case}: products"), bench.values(&products));
                }
            }
        }
    }
}

/// Classes and probabilities, with every attribute.
fn nll_loss<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[[u32; 3]] = &[[1, 1, 1], [9, 7, 1], [3, 5, 33], [0, 3, 1]];
    let large: &[[u32; 3]] = &[[300, 65, 1], [3, 1000, 1], [2, 21, 400]];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &[outer, classes, inner] in small.iter().chain(more) {
        for case in 0..6 {
            let label_smoothing = [0.0, 0.1][case % 2];
            let g = NllGeometry { outer, classes, inner, ignore_index: -100, label_smoothing };
            let what = format!("{g:?}, {case}");
            let class =
                |i: usize| if i % 4 == 1 { -100 } else { (i * 5 % classes as usize) as i32 };
            let target: Vec<i32> = (0..g.positions()).map(class).collect();
            let (target, x) = (bench.field(&target), bench.normal::<T>(g.numel(), 0, -3.0));
            let (q, w) =
                (bench.normal::<T>(g.numel(), 1, 0.5), bench.normal::<T>(classes as usize, 2, 2.0));
            let soft = case > 3;
            let inputs = || NllInputs {
                log_p: x.view(),
                target: (!soft).then(|| target.view()),
                probabilities: soft.then(|| q.view()),
                weight: (case > 1).then(|| w.view()),
            };
            let mut losses = bench.before::<T>(g.positions(), false);
            let mut weights = bench.before::<T>(g.positions(), false);
            let (losses_out, weights_out) = (losses.view_mut(), weights.view_mut());
            bench.device.nll_forward(&g, inputs(), losses_out, weights_out).unwrap();
            results.close(format!("{what}: losses"), bench.values(&losses));
            results.exact(format!("{what}: weights"), bench.values(&weights));
            let (divisor, each) =
                (bench.normal::<T>(1, 3, 5.0), bench.normal::<T>(g.positions().max(1), 4, 0.0));
            for (one, accumulate) in [(false, false), (true, true)] {
                let (mut dx, mut dq) = (
                    bench.before::<T>(g.numel(), accumulate),
                    bench.before::<T>(g.numel(), accumulate),
                );
                bench
                    .device
                    .nll_backward(
                        &g,
                        inputs(),
                        one.then(|| divisor.view()),
                        one,
                        each.view(),
                        Some(dx.output(accumulate)),
                        soft.then(|| dq.output(accumulate)),
                    )
                    .unwrap();
                results.close(format!("{what}, {one}: dx"), bench.values(&dx));
                if soft {
                    results.close(format!("{what}, {one}: dq"), bench.values(&dq));
                }
            }
        }
    }
    let (sum, divisor) = (bench.normal::<T>(1, 0, 9.0), bench.normal::<T>(1, 1, 5.0));
    let mut mean = bench.before::<T>(1, false);
    bench.device.nll_mean(sum.view(), divisor.view(), mean.view_mut()).unwrap();
    results.close("mean", bench.values(&mean));
}

fn elementwise_loss<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[usize] = &[0, 1, 7, 300];
    let more: &[usize] = if bench.size == Size::Large { &[3001] } else { &[] };
    for &n in small.iter().chain(more) {
        let (x, t) = (bench.normal::<T>(n, 0, 0.0), bench.normal::<T>(n, 1, 0.0));
        let (w, p) = (bench.normal::<T>(5, 2, 2.0), bench.normal::<T>(3, 3, 2.0));
        for kind in 0..5 {
            let g = LossGeometry {
                n: n as u32,
                kind,
                weight: Repeat { count: 5, inner: 3 },
                pos_weight: Repeat { count: 3, inner: 2 },
                parameter: 0.75,
            };
            for with in 0..4 {
                let what = format!("{g:?}, {with}");
                let inputs = || LossInputs {
                    input: x.view(),
                    target: t.view(),
                    weight: (with & 1 == 1).then(|| w.view()),
                    pos_weight: (with & 2 == 2).then(|| p.view()),
                };
                let mut losses = bench.before::<T>(n, false);
                bench.device.elementwise_loss_forward(&g, inputs(), losses.view_mut()).unwrap();
                results.close(format!("{what}: losses"), bench.values(&losses));
                let each = bench.normal::<T>(n.max(1), 4, 0.0);
                for (one, accumulate) in [(false, false), (true, true)] {
                    let (mut dx, mut dt) =
                        (bench.before::<T>(n, accumulate), bench.before::<T>(n, accumulate));
                    let (to_x, to_t) = (Some(dx.output(accumulate)), Some(dt.output(accumulate)));
                    let scale = T::of(0.5);
                    bench
                        .device
                        .elementwise_loss_backward(
                            &g,
                            scale,
                            inputs(),
                            one,
                            each.view(),
                            to_x,
                            to_t,
                        )
                        .unwrap();
                    results.close(format!("{what}, {one}: dx"), bench.values(&dx));
                    results.close(format!("{what}, {one}: dt"), bench.values(&dt));
                }
            }
        }
    }
}

fn batch_norm2d<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[[u32; 3]] = &[[1, 5, 12], [3, 7, 1], [33, 3, 6], [3, 2, 1600]];
    let large: &[[u32; 3]] = &[[33, 25, 784], [2, 1, 70_001], [700, 9, 7], [9000, 3, 1]];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &[outer, channels, inner] in small.iter().chain(more) {
        let g = ChannelGeometry { outer, channels, inner };
        let c = channels as usize;
        let what = format!("{g:?}");
        // A mean far from 0 shows a variance that cancels.
        let x = bench.normal::<T>(g.numel(), 0, 100.0);
        let (w, b) = (bench.normal::<T>(c, 1, 1.0), bench.normal::<T>(c, 2, 0.0));
        let dy = bench.normal::<T>(g.numel(), 3, 0.25);
        let eps = T::of(1e-5);
        let (mut mean, mut invstd) = (bench.before::<T>(c, false), bench.before::<T>(c, false));
        for tracked in [false, true] {
            let (mut running_mean, mut running_var) =
                (bench.normal::<T>(c, 4, 0.0), bench.normal::<T>(c, 5, 3.0));
            let running = tracked.then(|| Running {
                mean: running_mean.view_mut(),
                var: running_var.view_mut(),
                momentum: T::of(0.1),
            });
            let device = bench.device;
            device
                .batch_norm2d_statistics(
                    &g,
                    eps,
                    x.view(),
                    mean.view_mut(),
                    invstd.view_mut(),
                    running,
                )
                .unwrap();
            results.close(format!("{what}: mean, {tracked}"), bench.values(&mean));
            results.close(format!("{what}: invstd, {tracked}"), bench.values(&invstd));
            results.close(format!("{what}: running mean, {tracked}"), bench.values(&running_mean));
            results.close(format!("{what}: running var, {tracked}"), bench.values(&running_var));
        }
        // From here on the same statistics on both devices: what the last bit of a mean changes
        // below would be no error.
        let (mean, invstd) = (bench.normal::<T>(c, 7, 100.0), bench.normal::<T>(c, 8, 4.0));
        let var = bench.normal::<T>(c, 6, 5.0);
        let mut of_var = bench.before::<T>(c, false);
        bench.device.batch_norm2d_invstd(eps, var.view(), of_var.view_mut()).unwrap();
        results.close(format!("{what}: invstd of var"), bench.values(&of_var));
        let residual = bench.normal::<T>(g.numel(), 9, 0.0);
        for with in 0..8 {
            let weight = (with & 1 == 1).then(|| w.view());
            let bias = (with & 2 == 2).then(|| b.view());
            // Each of the two alone, both and neither, though not with each of the above.
            let (added, relu) = (with & 4 == 4, [0, 3, 5, 6].contains(&with));
            let mut y = bench.before::<T>(g.numel(), false);
            let affine = Affine { weight, bias };
            bench
                .device
                .batch_norm2d_normalize(
                    &g,
                    x.view(),
                    mean.view(),
                    invstd.view(),
                    affine,
                    added.then(|| residual.view()),
                    relu,
                    y.view_mut(),
                )
                .unwrap();
            results.close(format!("{what}: output, {with}"), bench.values(&y));
        }
        // An output that let half of the gradient through, with zeros in it.
        let y: Vec<T> = normal(g.numel(), 10).into_iter().map(|y| T::of(y.max(0.0))).collect();
        let y = bench.field(&y);
        for with in 0..16 {
            let (accumulate, affine, batch) = (with & 1 == 1, with & 2 == 2, with & 4 == 4);
            let rectified = with & 8 == 8;
            let mut dx = bench.before::<T>(g.numel(), accumulate);
            let mut dr = bench.before::<T>(g.numel(), !accumulate);
            let (mut dw, mut db) =
                (bench.before::<T>(c, accumulate), bench.before::<T>(c, !accumulate));
            let gradients = BatchNorm2dGradients {
                // Each must work without the others.
                input: (with % 8 != 3).then(|| dx.output(accumulate)),
                weight: (with != 5).then(|| dw.output(accumulate)),
                bias: (with != 6).then(|| db.output(!accumulate)),
                residual: (with % 5 != 0).then(|| dr.output(!accumulate)),
            };
            bench
                .device
                .batch_norm2d_backward(
                    &g,
                    batch,
                    x.view(),
                    mean.view(),
                    invstd.view(),
                    affine.then(|| w.view()),
                    rectified.then(|| y.view()),
                    dy.view(),
                    gradients,
                )
                .unwrap();
            results.close(format!("{what}: grad_input, {with}"), bench.values(&dx));
            results.close(format!("{what}: grad_weight, {with}"), bench.values(&dw));
            results.close(format!("{what}: grad_bias, {with}"), bench.values(&db));
            results.close(format!("{what}: grad_residual, {with}"), bench.values(&dr));
        }
    }
}

fn unary<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let special = [T::nan(), T::zero(), -T::zero(), T::infinity(), T::neg_infinity()];
    let parameters = |function| match function {
        Unary::pow => [2.5, 0.0],
        Unary::clamp => [-0.5, 0.75],
        Unary::softplus => [1.5, 2.0],
        _ => [0.25, 0.0],
    };
    for &function in Unary::ALL {
        let parameters = parameters(function).map(T::of);
        for n in if function == Unary::relu { &[0, 1, 7, 1025][..] } else { &[0, 17] } {
            let what = format!("{function:?} of {n}");
            let mut values: Vec<T> = normal(*n, 0).into_iter().map(T::of).collect();
            values.iter_mut().zip(special).for_each(|(value, special)| *value = special);
            let (x, dy) = (bench.field(&values), bench.normal::<T>(*n, 1, 0.0));
            let mut y = bench.before::<T>(*n, false);
            bench.device.unary_forward(function, parameters, x.view(), y.view_mut()).unwrap();
            results.close(what.clone(), bench.values(&y));
            // As if it were what was saved, whether it is or not.
            for accumulate in [false, true] {
                let mut dx = bench.before::<T>(*n, accumulate);
                let (out, saved) = (dx.output(accumulate), x.view());
                bench.device.unary_backward(function, parameters, saved, dy.view(), out).unwrap();
                results.close(format!("{what}: gradient, {accumulate}"), bench.values(&dx));
            }
        }
    }
}

fn binary<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let shapes: [[&[usize]; 2]; 10] = [
        [&[0], &[1]],
        [&[7], &[7]],
        [&[1026], &[]],
        [&[5], &[3, 5]],
        [&[3, 8], &[8]],
        [&[3, 5, 7], &[5, 1]],
        [&[9, 1, 5], &[4, 1]],
        [&[2, 1, 3, 1, 5], &[1, 4, 1, 3, 1]],
        [&[3, 1], &[1, 600]],
        [&[2, 3, 2, 1, 2, 3, 2], &[1, 3, 1, 2, 1, 3, 1]],
    ];
    for [a, b] in shapes {
        let what = format!("{a:?} and {b:?}");
        let (a, b) = (Shape::from(a), Shape::from(b));
        let shape = broadcast("test", &[&a, &b]).unwrap();
        let g = Broadcast::new("test", &shape, [&a, &b, &shape]).unwrap();
        let n = shape.numel();
        // Whole numbers, of which some are equal, and NaN.
        let some = |shape: &Shape, stream, at| {
            let mut values = whole::<T>(shape.numel(), stream);
            values.iter_mut().skip(at).step_by(13).for_each(|x| *x = T::nan());
            bench.field(&values)
        };
        let (x, y, dy) = (some(&a, 0, 3), some(&b, 1, 4), bench.normal::<T>(n, 2, 0.0));
        for &function in Binary::ALL {
            let mut out = bench.before::<T>(n, false);
            let target = out.view_mut();
            bench.device.binary_forward(function, &g, x.view(), y.view(), target).unwrap();
            results.close(format!("{function:?} of {what}"), bench.values(&out));
            if matches!(function, Binary::add | Binary::sub) {
                continue;
            }
            for (by, accumulate) in [(Operand::A, false), (Operand::A, true), (Operand::B, false)] {
                let mut grad = bench.before::<T>(n, accumulate);
                let (out, x, y) = (grad.output(accumulate), x.view(), y.view());
                bench.device.binary_backward(function, by, &g, x, y, dy.view(), out).unwrap();
                // Added to, a product may be fused with the sum.
                let name = format!("{function:?} of {what} by {by:?}, {accumulate}");
                results.close(name, bench.values(&grad));
            }
        }
        for &comparison in Comparison::ALL {
            let mut mask = bench.field(&vec![7_u8; n]);
            bench.device.compare(comparison, &g, x.view(), y.view(), mask.view_mut()).unwrap();
            let mask = bench.device.read(mask.view()).unwrap();
            let mask = mask.into_iter().map(f64::from).collect();
            results.exact(format!("{comparison:?} of {what}"), mask);
        }
        // The second shape is the mask's too.
        let mask: Vec<u8> = (0..b.numel()).map(|i| (i % 3) as u8).collect();
        let mask = bench.field(&mask);
        let g = Broadcast::new("test", &shape, [&a, &b, &b]).unwrap();
        let mut out = bench.before::<T>(n, false);
        let target = out.view_mut();
        bench.device.where_forward(&g, mask.view(), x.view(), y.view(), target).unwrap();
        results.exact(format!("where of {what}"), bench.values(&out));
        let g = Broadcast::new("test", &shape, [&shape, &shape, &b]).unwrap();
        for (by, accumulate) in [(Operand::A, false), (Operand::B, true)] {
            let mut grad = bench.before::<T>(n, accumulate);
            let (out, mask) = (grad.output(accumulate), mask.view());
            bench.device.where_backward(by, &g, mask, dy.view(), out).unwrap();
            results.exact(format!("where of {what} by {by:?}"), bench.values(&grad));
        }
        for accumulate in [false, true] {
            let mut y = bench.before::<T>(n, accumulate);
            bench.device.accumulate(dy.view(), y.output(accumulate)).unwrap();
            results.exact(format!("accumulate of {what}, {accumulate}"), bench.values(&y));
        }
    }
}

fn augment<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let all = AugmentGeometry {
        seed: 0x1234_5678_9abc_def0,
        rotation: 0.5,
        shift: 0.2,
        zoom: 0.7,
        zoom_range: 0.8,
        brightness: 0.4,
        contrast: 0.6,
        light: 0.5,
        shear: 0.4,
        aspect: 0.3,
        flip: 1 << 31,
        stream: 9,
        batch: 0,
        channels: 0,
        height: 0,
        width: 0,
    };
    let step = bench.field(&[1u64 << 33]);
    for [batch, channels, height, width] in
        [[0, 1, 3, 3], [3, 1, 28, 28], [2, 3, 7, 11], [1, 2, 1, 1], [2, 1, 1, 40]]
    {
        let g = AugmentGeometry { batch, channels, height, width, ..all };
        let n = (batch * channels * height * width) as usize;
        let values: Vec<T> = normal(n, 0).iter().map(|x| T::of(x.abs() % 1.0)).collect();
        let x = bench.field(&values);
        let mut y = bench.before::<T>(n, false);
        bench.device.augment(&g, step.view(), x.view(), y.view_mut()).unwrap();
        results.close(format!("augment {g:?}"), bench.values(&y));
    }
}

/// `[N, C, H, W]` of images that another background or a filter is for.
const IMAGES: [[u32; 4]; 6] =
    [[0, 1, 3, 3], [9, 1, 28, 28], [6, 3, 7, 11], [4, 2, 1, 1], [4, 1, 1, 40], [2, 1, 128, 128]];

/// Of the bytes 0, 3, 6, ...: some neighbours are alike.
fn greys<T: Float>(bench: &Bench<'_>, sizes: [u32; 4]) -> Field<T> {
    let n = sizes.iter().product::<u32>() as usize;
    let greys = normal(n, 0).into_iter().map(|x| T::of((x.abs() * 4.0).floor() * 3.0 / 255.0));
    bench.field(&greys.collect::<Vec<T>>())
}

/// What an op that changes some of these images makes of them.
fn some_images<T: Float>(
    bench: &Bench<'_>,
    results: &mut Results,
    op: &str,
    change: impl Fn(&Device, &SomeImages, AnyView<'_, u64>, AnyView<'_, T>, AnyViewMut<'_, T>),
) {
    let step = bench.field(&[1u64 << 33]);
    for sizes @ [_, channels, height, width] in IMAGES {
        let (seed, threshold, stream) = (0x1234_5678_9abc_def0, 0.75 * 2f64.powi(32), 9);
        let g = SomeImages { seed, threshold, stream, channels, height, width };
        let x = greys::<T>(bench, sizes);
        let mut y = bench.before::<T>(sizes.iter().product::<u32>() as usize, false);
        change(bench.device, &g, step.view(), x.view(), y.view_mut());
        results.close(format!("{op} {sizes:?}"), bench.values(&y));
    }
}

fn background<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    some_images::<T>(bench, results, "background", |device, g, step, x, y| {
        device.background(g, step, x, y).unwrap();
    });
}

fn random_filter<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    some_images::<T>(bench, results, "random_filter", |device, g, step, x, y| {
        device.random_filter(g, step, x, y).unwrap();
    });
}

fn dropout<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    for n in [0, 1, 6, 1027] {
        let x = bench.normal::<T>(n, 0, 0.0);
        let geometry =
            |p| DropoutGeometry::new(p, 0x1234_5678_9abc_def0, 7).expect("it is in 0..=1");
        let step = bench.field(&[1u64 << 33]);
        let half = geometry(0.5);
        // An element whose word is the very threshold is kept.
        let [threshold, ..] = Philox::new(half.seed).block(half.stream, 1 << 33, 0);
        let edge = DropoutGeometry { threshold, ..half };
        for g in [geometry(0.0), geometry(0.2), half, geometry(1.0), edge] {
            let p = f64::from(g.threshold) / 2f64.powi(32);
            let mut y = bench.before::<T>(n, false);
            bench.device.dropout(&g, step.view(), x.view(), y.output(false)).unwrap();
            results.exact(format!("dropout of {n} by {p}"), bench.values(&y));
            let mut y = bench.before::<T>(n, true);
            bench.device.dropout(&g, step.view(), x.view(), y.output(true)).unwrap();
            results.close(format!("dropout of {n} by {p}, added"), bench.values(&y));
        }
    }
}

fn max_pool2d<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let pool = |kernel_size, stride, padding, ceil_mode| {
        let mut pool = MaxPool2d::new(1);
        pool.kernel_size = kernel_size;
        pool.stride = stride;
        pool.padding = padding;
        pool.ceil_mode = ceil_mode;
        pool
    };
    let pools = [
        pool([2, 2], [2, 2], [0, 0], false),
        pool([2, 2], [2, 2], [0, 0], true),
        pool([3, 3], [1, 1], [1, 1], false),
        pool([3, 2], [2, 1], [1, 0], false),
        pool([1, 5], [3, 2], [0, 2], true),
        pool([2, 3], [3, 4], [1, 1], false),
        pool([3, 2], [2, 1], [1, 1], true).dilation([2, 3]),
        // One place of a window is in the padding, and none in the input.
        pool([2, 2], [1, 1], [1, 1], false).dilation([9, 7]),
    ];
    for (pool, shape) in pools.iter().zip([1, 3, 33, 2, 3, 1, 2, 2].map(|n| [n, 3, 9, 7])) {
        let (g, output) = MaxPool2dGeometry::new(pool, &Shape::from(shape)).unwrap();
        let n = shape.iter().product();
        // Whole numbers have ties; some are NaN.
        let mut values: Vec<T> = normal(n, 0).iter().map(|x| T::of((2.0 * x).round())).collect();
        values.iter_mut().step_by(17).for_each(|x| *x = T::nan());
        values.iter_mut().skip(5).step_by(23).for_each(|x| *x = T::neg_infinity());
        let x = bench.field(&values);
        let mut y = bench.before::<T>(output.numel(), false);
        let mut argmax = bench.zeros(output.numel());
        let device = bench.device;
        device.max_pool2d_forward(&g, x.view(), y.view_mut(), argmax.view_mut()).unwrap();
        let what = format!("{g:?}");
        results.exact(format!("{what}: output"), bench.values(&y));
        results.exact(format!("{what}: argmax"), bench.integers(&argmax));
        let dy = bench.normal::<T>(output.numel(), 1, 0.0);
        for accumulate in [false, true] {
            let mut dx = bench.before::<T>(n, accumulate);
            let out = dx.output(accumulate);
            device.max_pool2d_backward(&g, argmax.view(), dy.view(), out).unwrap();
            results.exact(format!("{what}: gradient, {accumulate}"), bench.values(&dx));
        }
    }
}

fn avg_pool2d<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let overlapping = AvgPool2d::new(3).stride(2).padding(1).ceil_mode(true);
    let pools = [
        AvgPool2d::new(2),
        overlapping,
        overlapping.count_include_pad(false),
        AvgPool2d::new([3, 2]).stride([4, 1]).padding([1, 0]).divisor_override(5),
    ];
    let sizes = [[Some(4), Some(3)], [Some(1), Some(5)], [None, Some(9)], [Some(0), None]];
    let shape = |n| Shape::from([n, 3, 9, 7]);
    let pools = pools.iter().zip([1, 3, 33, 2]).map(|(pool, n)| {
        let (g, output) = AvgPool2dGeometry::new(pool, &shape(n)).unwrap();
        (g, output, shape(n))
    });
    let adaptive = sizes.into_iter().zip([1, 33, 3, 2]).map(|(output_size, n)| {
        let pool = AdaptiveAvgPool2d { output_size };
        let (g, output) = AvgPool2dGeometry::adaptive(&pool, &shape(n)).unwrap();
        (g, output, shape(n))
    });
    for (g, output, input) in pools.chain(adaptive) {
        let (what, device) = (format!("{g:?}"), bench.device);
        let x = bench.normal::<T>(input.numel(), 0, 0.0);
        let mut y = bench.before::<T>(output.numel(), false);
        device.avg_pool2d_forward(&g, x.view(), y.view_mut()).unwrap();
        results.close(format!("{what}: output"), bench.values(&y));
        let dy = bench.normal::<T>(output.numel(), 1, 0.0);
        for accumulate in [false, true] {
            let mut dx = bench.before::<T>(input.numel(), accumulate);
            let out = dx.output(accumulate);
            device.avg_pool2d_backward(&g, dy.view(), out).unwrap();
            results.close(format!("{what}: gradient, {accumulate}"), bench.values(&dx));
        }
    }
}

fn cross_entropy<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[[usize; 2]] = &[[1, 1], [3, 7], [33, 24], [70, 65], [0, 5]];
    let more: &[[usize; 2]] =
        if bench.size == Size::Large { &[[300, 10], [4200, 3], [9, 1000]] } else { &[] };
    for &[batch, classes] in small.iter().chain(more) {
        let mut logits: Vec<T> =
            normal(batch * classes, 0).iter().map(|x| T::of(4.0 * x)).collect();
        if classes > 1 {
            // Ties, a class that cannot be, and one row far from 0.
            logits.iter_mut().step_by(11).for_each(|x| *x = T::of(3.0));
            logits.iter_mut().skip(1).step_by(29).for_each(|x| *x = T::neg_infinity());
            logits.iter_mut().take(classes).for_each(|x| *x += T::of(1e4));
        }
        // Two largest logits, of which the first counts as the row's: the target is one or the other.
        let ends = [0, classes - 1];
        let tied = |row: usize| (row % 3 == 2).then_some(ends[row / 3 % 2]);
        for row in (2..batch).step_by(3) {
            for class in ends {
                logits[row * classes + class] = T::of(40.0);
            }
        }
        // Never a class that cannot be, whose loss is infinite.
        let possible = |row: usize, class: usize| logits[row * classes + class].is_finite();
        let target: Vec<i32> = (0..batch)
            .map(|row| {
                let from = row * 5 + 1;
                let first = (from..).map(|c| c % classes).find(|&c| possible(row, c));
                let class = tied(row).or(first);
                if row % 4 == 1 { -100 } else { class.expect("some class can be") as i32 }
            })
            .collect();
        for case in 0..6 {
            let (mean, smoothing) = (case % 2, [0.0, 0.0, 0.1, 0.3, 0.0, 0.0][case as usize]);
            let target = if case > 3 { vec![-100; batch] } else { target.clone() };
            let g = CrossEntropyGeometry {
                batch: batch as u32,
                classes: classes as u32,
                ignore_index: -100,
                mean,
                label_smoothing: smoothing,
            };
            let what = format!("{g:?}, {case}");
            let (x, t) = (bench.field(&logits), bench.field(&target));
            let mut loss = bench.before::<T>(1, false);
            let mut saved = bench.before::<T>(batch * classes, false);
            let mut correct = bench.zeros(1);
            let device = bench.device;
            device
                .cross_entropy_forward(
                    &g,
                    x.view(),
                    t.view(),
                    loss.view_mut(),
                    saved.view_mut(),
                    correct.view_mut(),
                )
                .unwrap();
            results.close(format!("{what}: loss"), bench.values(&loss));
            results.close(format!("{what}: saved"), bench.values(&saved));
            results.exact(format!("{what}: correct"), bench.integers(&correct));
            let upstream = bench.normal::<T>(1, 1, 0.0);
            for accumulate in [false, true] {
                let mut dx = bench.before::<T>(batch * classes, accumulate);
                let out = dx.output(accumulate);
                device.cross_entropy_backward(saved.view(), upstream.view(), out).unwrap();
                results.close(format!("{what}: gradient, {accumulate}"), bench.values(&dx));
            }
        }
    }
}

fn sum<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[[u32; 3]] =
        &[[1, 1, 1], [3, 5, 7], [300, 33, 1], [2, 3, 2100], [1, 1, 0], [0, 4, 3], [0, 4, 1]];
    let large: &[[u32; 3]] = &[
        [32, 512, 1],
        [33, 25, 784],
        [1, 1, 100_003],
        [2000, 7, 3],
        // More than fits 1024 pieces of one unit.
        [1, 1, 5_000_000],
        [300_000, 2, 1],
    ];
    let more = if bench.size == Size::Large { large } else { &[] };
    for &[outer, channels, inner] in small.iter().chain(more) {
        let g = ChannelGeometry { outer, channels, inner };
        let (n, c) = (g.numel(), channels as usize);
        let (x, scale) = (bench.normal::<T>(n, 0, 0.5), T::of(0.75));
        for accumulate in [false, true] {
            let mut sums = bench.before::<T>(c, accumulate);
            let out = sums.output(accumulate);
            bench.device.channel_sum(&g, scale, x.view(), out).unwrap();
            results.close(format!("sum of {g:?}, {accumulate}"), bench.values(&sums));
            if n > 1_000_000 {
                continue;
            }
            let values = bench.normal::<T>(c, 1, 0.0);
            let mut x = bench.before::<T>(n, accumulate);
            let out = x.output(accumulate);
            bench.device.channel_expand(&g, scale, values.view(), out).unwrap();
            results.close(format!("expand to {g:?}, {accumulate}"), bench.values(&x));
        }
    }
}

fn gather<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    for width in [1, 7, 256, 784] {
        let rows = 11;
        let pixels: Vec<u8> = (0..rows * width).map(|i| (i * 89 % 256) as u8).collect();
        let labels: Vec<i32> = (0..rows as i32).map(|row| row * 3).collect();
        for order in [&[][..], &[10], &[3, 0, 10, 3, 7]] {
            // All of it, and batches of two, the last of which has one row.
            let whole = (order.len(), 0, None);
            let batches =
                (0..order.len().div_ceil(2)).map(|b| (2.min(order.len() - 2 * b), 2, Some(b)));
            for (count, batch_size, number) in std::iter::once(whole).chain(batches) {
                let g = GatherGeometry { rows: count as u32, width: width as u32, batch_size };
                let pixels = bench.field::<u8>(&pixels);
                let labels = bench.field::<i32>(&labels);
                let picked = bench.field::<u32>(order);
                let batch = number.map(|number| bench.field::<u64>(&[number as u64]));
                let mut images = bench.before::<T>(count * width, false);
                let mut targets = bench.zeros(count);
                bench
                    .device
                    .gather(
                        &g,
                        pixels.view(),
                        labels.view(),
                        picked.view(),
                        batch.as_ref().map(Field::view),
                        images.view_mut(),
                        targets.view_mut(),
                    )
                    .unwrap();
                let what = format!("{g:?}, {order:?}, {number:?}");
                results.exact(format!("{what}: images"), bench.values(&images));
                results.exact(format!("{what}: targets"), bench.integers(&targets));
            }
        }
    }
}

fn copy<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let layout = |offset, strides: &[i64]| Layout { offset, strides: strides.to_vec() };
    // Sizes, and how they lie in the source and in the target.
    let small: Vec<(&[usize], Layout, Layout)> = vec![
        (&[1], layout(0, &[1]), layout(0, &[1])),
        (&[1027], layout(3, &[1]), layout(1, &[1])),
        (&[7, 5], layout(0, &[5, 1]), layout(0, &[1, 7])),
        (&[3, 4, 5], layout(2, &[31, 6, 1]), layout(1, &[20, 5, 1])),
        (&[3, 9], layout(8, &[9, -1]), layout(4, &[12, 1])),
        (&[5, 6], layout(0, &[0, 1]), layout(0, &[6, 1])),
        (&[2, 3, 2, 3, 2], layout(0, &[1, 2, 6, 12, 36]), layout(5, &[36, 12, 6, 2, 1])),
        (&[4, 0], layout(0, &[1, 1]), layout(0, &[1, 1])),
    ];
    let large: Vec<(&[usize], Layout, Layout)> = vec![
        (&[300, 70], layout(0, &[1, 300]), layout(0, &[70, 1])),
        (&[2, 40_000], layout(0, &[40_000, 1]), layout(1, &[40_002, 1])),
        (&[40_000], layout(0, &[2]), layout(0, &[1])),
    ];
    let large = if bench.size == Size::Large { large } else { Vec::new() };
    for (sizes, from, to) in small.iter().chain(&large) {
        let g = CopyGeometry::new("test", sizes, from, to).unwrap();
        let end = |layout: &Layout| -> usize {
            let ends = layout.strides.iter().zip(*sizes);
            let ends = ends.map(|(&stride, &size)| stride.max(0) * (size as i64 - 1).max(0));
            (layout.offset + ends.sum::<i64>()) as usize + 1
        };
        let x = bench.normal::<T>(end(from), 0, 0.0);
        for accumulate in [false, true] {
            // What is not written stays.
            let mut y = bench.normal::<T>(end(to), 1, 0.0);
            bench.device.copy_strided(&g, x.view(), y.output(accumulate)).unwrap();
            results.exact(format!("copy {sizes:?} {from:?} {to:?} {accumulate}"), bench.values(&y));
        }
    }
    for n in [0, 1, 7, 1025] {
        let mut y = bench.before::<T>(n, false);
        bench.device.fill(T::of(1.5), y.view_mut()).unwrap();
        results.exact(format!("fill {n}"), bench.values(&y));
    }
}

fn reduce<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    let small: &[[u32; 4]] = &[
        [1, 1, 1, 1],
        [1, 1, 3, 5],
        [1, 1, 2, 70],
        [1, 9, 37, 1],
        [2, 70, 33, 1],
        [3, 2, 5, 7],
        [3, 4, 5, 1],
        [1, 0, 3, 1],
        [1, 1, 0, 1],
    ];
    let large: &[[u32; 4]] =
        &[[1, 1, 3, 5000], [1, 1, 1, 20_003], [1, 600, 40, 1], [2, 30, 3, 100], [300, 3, 5, 2]];
    let more = if bench.size == Size::Large { large } else { &[] };
    let members = [
        Member::Sum { scale: 0.75 },
        Member::Norm { p: 0.0 },
        Member::Norm { p: 1.0 },
        Member::Norm { p: 2.0 },
        Member::Norm { p: 2.5 },
        Member::Variance { scale: 0.5 },
        Member::LogSumExp,
        Member::Ties { magnitude: false },
        Member::Ties { magnitude: true },
    ];
    for &[k1, r1, k2, r2] in small.iter().chain(more) {
        let g = ReduceGeometry { k1, r1, k2, r2 };
        // Few values, so that there are ties.
        let n = g.numel();
        let halves = |stream| -> Vec<T> {
            normal(n, stream).into_iter().map(|x| T::of((2.0 * x).round() / 2.0)).collect()
        };
        let x = bench.field(&halves(0));
        let mut largest = bench.before::<T>(g.results(), false);
        for (smallest, magnitude) in [(false, false), (true, false), (false, true), (true, true)] {
            if g.length() == 0 {
                continue;
            }
            let mut values = bench.before::<T>(g.results(), false);
            let mut indices = bench.zeros(g.results());
            let extreme = Extreme { smallest, magnitude };
            bench
                .device
                .reduce_extreme(&g, extreme, x.view(), values.view_mut(), indices.view_mut())
                .unwrap();
            results.exact(format!("{extreme:?} of {g:?}"), bench.values(&values));
            results.exact(format!("place of {extreme:?} of {g:?}"), bench.integers(&indices));
            if !smallest && !magnitude {
                largest = values;
            }
            let dy = bench.normal::<T>(g.results(), 2, 0.0);
            for accumulate in [false, true] {
                let mut dx = bench.before::<T>(n, accumulate);
                let out = dx.output(accumulate);
                bench.device.reduce_pick_backward(&g, indices.view(), dy.view(), out).unwrap();
                results.exact(
                    format!("gradient of {extreme:?} {g:?} {accumulate}"),
                    bench.values(&dx),
                );
            }
        }
        // Large ones are about how sums are cut, which members do not change.
        let members = if n > 3000 { &members[4..7] } else { &members[..] };
        for &member in members {
            // An extreme, a mean, or what stands for one.
            let of_extreme = matches!(member, Member::Ties { .. } | Member::LogSumExp);
            let own = if of_extreme { &largest } else { &bench.normal::<T>(g.results(), 3, 1.0) };
            if of_extreme && g.length() == 0 {
                continue;
            }
            let c =
                (!matches!(member, Member::Sum { .. } | Member::Norm { .. })).then(|| own.view());
            let dy = bench.normal::<T>(g.results(), 2, 0.0);
            for accumulate in [false, true] {
                let mut y = bench.before::<T>(g.results(), accumulate);
                let out = y.output(accumulate);
                bench.device.reduce_sum(&g, member, x.view(), c, out).unwrap();
                results.close(format!("{member:?} of {g:?} {accumulate}"), bench.values(&y));
                let mut dx = bench.before::<T>(n, accumulate);
                let shares = bench.normal::<T>(g.results(), 4, 5.0);
                let (shares, out) = (Some(shares.view()), dx.output(accumulate));
                bench
                    .device
                    .reduce_sum_backward(
                        &g,
                        member,
                        Some(x.view()),
                        Some(own.view()),
                        shares.filter(|_| of_extreme),
                        dy.view(),
                        out,
                    )
                    .unwrap();
                let name = format!("gradient of {member:?} of {g:?} {accumulate}");
                results.close_to_terms(name, bench.values(&dx));
            }
        }
    }
}

fn index<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    for [outer, size, count, inner] in
        [[1, 5, 3, 1], [1, 7, 70, 5], [3, 4, 9, 2], [2, 3, 40, 150], [1, 3, 0, 4], [1, 1, 1, 1]]
    {
        for by_row in [0, 1] {
            let g = IndexGeometry { outer, size, count, inner, by_row };
            let numbers = (0..g.indices() as u32).map(|i| (i * i % 11 % size) as i32);
            let index = bench.field::<i32>(&numbers.collect::<Vec<_>>());
            let x = bench.normal::<T>(g.numel(), 0, 0.0);
            let mut y = bench.before::<T>(g.picked(), false);
            bench.device.index_pick(&g, x.view(), index.view(), y.view_mut()).unwrap();
            results.exact(format!("pick {g:?}"), bench.values(&y));
            let dy = bench.normal::<T>(g.picked(), 1, 0.0);
            for skipped in [None, Some(size as usize - 1)] {
                if by_row == 0 && skipped.is_some() {
                    continue;
                }
                for accumulate in [false, true] {
                    let mut dx = bench.before::<T>(g.numel(), accumulate);
                    let out = dx.output(accumulate);
                    bench.device.index_add(&g, index.view(), skipped, dy.view(), out).unwrap();
                    let name = format!("gradient of pick {g:?} {skipped:?} {accumulate}");
                    results.close(name, bench.values(&dx));
                }
            }
        }
    }
}

fn lerp<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    for n in [0, 1, 5, 1030] {
        let end = bench.normal::<T>(n, 0, 0.0);
        let mut x = bench.before::<T>(n, true);
        bench.device.lerp(T::of(0.3), end.view(), x.view_mut()).unwrap();
        results.close(format!("{n}"), bench.values(&x));
    }
}

fn end_step<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    // Into the middle, the last place, and none.
    for batch in [1, 2, 3] {
        let loss = bench.normal::<T>(1, 0, 0.0);
        let correct = bench.field::<i32>(&[29]);
        let mut losses = bench.before::<T>(6, true);
        let mut clock = bench.field::<u64>(&[u64::from(u32::MAX), batch]);
        bench
            .device
            .end_step(loss.view(), correct.view(), losses.view_mut(), clock.view_mut())
            .unwrap();
        results.exact(format!("batch {batch}: losses"), bench.values(&losses));
        results.exact(format!("batch {batch}: clock"), bench.counts(&clock));
    }
}

fn cross_entropy_rows<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    for [rows, classes] in [[1, 1], [3, 7], [33, 24], [9, 70], [0, 5]] {
        let mut logits: Vec<T> = normal(rows * classes, 0).iter().map(|x| T::of(4.0 * x)).collect();
        // Ties, and one row far from 0, where the sum must not be rounded away.
        logits.iter_mut().step_by(5).for_each(|x| *x = T::of(9.0));
        logits.iter_mut().take(classes).for_each(|x| *x += T::of(1e4));
        let mut target: Vec<i32> = (0..rows).map(|row| (row * 5 % classes) as i32).collect();
        if rows > 4 {
            // No class, and a row whose largest logit is NaN.
            (target[2], target[3]) = (classes as i32, -1);
            logits[4 * classes + 1] = T::nan();
        }
        let (x, t) = (bench.field(&logits), bench.field(&target));
        let mut losses = bench.before::<T>(rows, false);
        let mut predicted = bench.zeros(rows);
        let g = RowsGeometry { rows: rows as u32, classes: classes as u32 };
        bench
            .device
            .cross_entropy_rows(&g, x.view(), t.view(), losses.view_mut(), predicted.view_mut())
            .unwrap();
        results.close(format!("{g:?}: losses"), bench.values(&losses));
        results.exact(format!("{g:?}: predicted"), bench.integers(&predicted));
    }
}

/// What an optimizer's kernel is told: four parameters in two groups, of which some are updated.
struct Told {
    tiles: Field<u32>,
    groups: Field<f64>,
    steps: Field<u64>,
    parameters: Range<u32>,
    count: usize,
    elements: usize,
}

impl Told {
    /// Of `n` elements in all; `parameters` are updated.
    fn new<T>(bench: &Bench<'_>, n: usize, groups: &[f64], parameters: Range<u32>) -> Self {
        // Where a pack does not begin, too, which no arena does.
        let at = |parameter: u32| (n * parameter as usize / 4) as u32;
        let of = |p: u32| UpdateTile::of::<T>(at(p)..at(p + 1), p, p % 2);
        let tiles: Vec<UpdateTile> = parameters.clone().flat_map(of).collect();
        Self {
            tiles: bench.field(bytemuck::cast_slice(&tiles)),
            groups: bench.field(groups),
            steps: bench.field(&[7, 0, 250, 1]),
            count: tiles.len(),
            elements: (at(parameters.end) - at(parameters.start)) as usize,
            parameters,
        }
    }

    fn update(&mut self) -> Update<'_, Device> {
        Update {
            tiles: self.tiles.view(),
            groups: self.groups.view(),
            steps: self.steps.view_mut(),
            parameters: self.parameters.clone(),
            count: self.count,
            elements: self.elements,
        }
    }
}

/// All parameters, and those in the middle.
const UPDATED: [Range<u32>; 2] = [0..4, 1..3];

fn sgd<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    for n in [0, 1, 7, 1030, 5000] {
        for case in 0..5_u32 {
            let (plain, momentum) = (SgdOptions::new(0.1), 0.9);
            let group = SgdOptions {
                momentum: if case > 0 { momentum } else { 0.0 },
                dampening: if case == 2 { 0.25 } else { 0.0 },
                weight_decay: if case > 1 { 0.01 } else { 0.0 },
                nesterov: case == 3,
                maximize: case == 4,
                ..plain
            };
            let other = if case == 1 { plain } else { SgdOptions { lr: 0.02, ..group } };
            let groups: [SgdGroup; 2] = [group.into(), other.into()];
            for updated in UPDATED {
                let name = format!("sgd {case} of {n}, {updated:?}");
                let mut told = Told::new::<T>(bench, n, bytemuck::cast_slice(&groups), updated);
                let mut p = bench.normal::<T>(n, 0, 0.0);
                let g = bench.normal::<T>(n, 1, 0.0);
                // In a parameter's first step there is no velocity yet: whatever lies there must not
                // matter. It is the second that has made none.
                let mut velocity: Vec<T> = normal(n, 99).into_iter().map(T::of).collect();
                if case > 1 {
                    velocity[n / 4..n / 2].fill(T::nan());
                }
                let mut velocity = bench.field(&velocity);
                let wanted = (case > 0).then(|| velocity.view_mut());
                bench.device.sgd(told.update(), p.view_mut(), g.view(), wanted).unwrap();
                results.close(format!("{name}: parameters"), bench.values(&p));
                results.close(format!("{name}: velocity"), bench.values(&velocity));
                results.exact(format!("{name}: steps"), bench.counts(&told.steps));
            }
        }
    }
}

fn adam<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    for n in [0, 1, 7, 1030, 5000] {
        for case in 0..5_u64 {
            let group = AdamOptions {
                weight_decay: if case > 0 { 0.05 } else { 0.0 },
                decoupled_weight_decay: case == 2,
                amsgrad: case == 3,
                maximize: case == 4,
                ..AdamOptions::adam(1e-3)
            };
            let other = AdamOptions { lr: 2e-2, betas: (0.8, 0.99), eps: 1e-4, ..group };
            // Where one group has the largest second moments and the other not.
            let other = AdamOptions { amsgrad: false, ..other };
            let groups: [AdamGroup; 2] = [group.into(), other.into()];
            for updated in UPDATED {
                let name = format!("adam {case} of {n}, {updated:?}");
                let mut told = Told::new::<T>(bench, n, bytemuck::cast_slice(&groups), updated);
                let mut gradients: Vec<T> = normal(n, 1).into_iter().map(T::of).collect();
                let squares =
                    |stream| normal(n, stream).iter().map(|x| T::of(x * x)).collect::<Vec<_>>();
                let (mut first, mut second) = (squares(2), squares(3));
                // Moments that decay below the smallest normal number, and a NaN, which must reach
                // the largest second moment too.
                if n > 7 && (case == 0 || case == 3) {
                    (gradients[0], first[0], second[0]) =
                        (T::zero(), T::min_positive_value(), T::min_positive_value());
                    (gradients[1], first[1], second[1]) = (T::nan(), T::zero(), T::one());
                }
                let mut p = bench.normal::<T>(n, 0, 0.0);
                let g = bench.field(&gradients);
                let (mut m, mut v) = (bench.field(&first), bench.field(&second));
                let mut largest = bench.field(&squares(4));
                let wanted = (case == 3).then(|| largest.view_mut());
                bench
                    .device
                    .adam(told.update(), p.view_mut(), g.view(), m.view_mut(), v.view_mut(), wanted)
                    .unwrap();
                results.exact(format!("{name}: steps"), bench.counts(&told.steps));
                results.close(format!("{name}: parameters"), bench.values(&p));
                results.close(format!("{name}: exp_avg"), bench.values(&m));
                results.close(format!("{name}: exp_avg_sq"), bench.values(&v));
                results.close(format!("{name}: max"), bench.values(&largest));
            }
        }
    }
}

fn rmsprop<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    for n in [0, 1, 7, 1030, 5000] {
        for case in 0..4_u32 {
            let (centered, momentum) = (case % 2 == 1, if case > 1 { 0.9 } else { 0.0 });
            let plain = RmspropOptions { weight_decay: 0.01, ..RmspropOptions::new(0.01) };
            let group = RmspropOptions { centered, momentum, maximize: case == 3, ..plain };
            let other = RmspropOptions { alpha: 0.9, eps: 1e-3, ..plain };
            let groups: [RmspropGroup; 2] = [group.into(), other.into()];
            for updated in UPDATED {
                let name = format!("rmsprop {case} of {n}, {updated:?}");
                let mut told = Told::new::<T>(bench, n, bytemuck::cast_slice(&groups), updated);
                let mut p = bench.normal::<T>(n, 0, 0.0);
                let g = bench.normal::<T>(n, 1, 0.0);
                // A variance: the mean square is above the square of the mean.
                let mean = normal(n, 2);
                let squares: Vec<T> = mean.iter().map(|m| T::of(m * m + 0.5)).collect();
                let mut v = bench.field(&squares);
                let mut m = bench.normal::<T>(n, 2, 0.0);
                let mut b = bench.normal::<T>(n, 3, 0.0);
                let first = centered.then(|| m.view_mut());
                let velocity = (case > 1).then(|| b.view_mut());
                let update = told.update();
                bench
                    .device
                    .rmsprop(update, p.view_mut(), g.view(), v.view_mut(), first, velocity)
                    .unwrap();
                results.exact(format!("{name}: steps"), bench.counts(&told.steps));
                results.close(format!("{name}: parameters"), bench.values(&p));
                results.close(format!("{name}: square_avg"), bench.values(&v));
                results.close(format!("{name}: grad_avg"), bench.values(&m));
                results.close(format!("{name}: velocity"), bench.values(&b));
            }
        }
    }
}

fn adagrad<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    for n in [0, 1, 7, 1030, 5000] {
        for maximize in [false, true] {
            let plain = AdagradOptions { lr_decay: 0.1, maximize, ..AdagradOptions::new(0.1) };
            let group = AdagradOptions { weight_decay: 0.01, ..plain };
            let other = AdagradOptions { initial_accumulator_value: 0.5, eps: 1e-3, ..plain };
            let groups: [AdagradGroup; 2] = [group.into(), other.into()];
            for updated in UPDATED {
                let name = format!("adagrad {maximize} of {n}, {updated:?}");
                let mut told = Told::new::<T>(bench, n, bytemuck::cast_slice(&groups), updated);
                let mut p = bench.normal::<T>(n, 0, 0.0);
                let g = bench.normal::<T>(n, 1, 0.0);
                // In a parameter's first step there is no sum yet: whatever lies there must not
                // matter. It is the second that has made none.
                let mut sums: Vec<T> = normal(n, 2).iter().map(|x| T::of(x * x)).collect();
                sums[n / 4..n / 2].fill(T::nan());
                let mut sums = bench.field(&sums);
                bench
                    .device
                    .adagrad(told.update(), p.view_mut(), g.view(), sums.view_mut())
                    .unwrap();
                results.exact(format!("{name}: steps"), bench.counts(&told.steps));
                results.close(format!("{name}: parameters"), bench.values(&p));
                results.close(format!("{name}: sums"), bench.values(&sums));
            }
        }
    }
}

fn clip_grad<T: Float>(bench: &Bench<'_>, results: &mut Results) {
    // One block, several, and several tiles of each.
    let large: &[usize] = if bench.size == Size::Large { &[60_001, 4_500_000] } else { &[] };
    for &n in [0, 1, 7, 4097].iter().chain(large) {
        let x = bench.normal::<T>(n, 0, 0.0);
        for p in [1.0, 2.0, 2.5, f64::INFINITY] {
            if n > 100_000 && p != 2.0 {
                continue;
            }
            let mut total = bench.field(&[0.75_f64]);
            for accumulate in [false, true] {
                bench.device.grad_power(p, x.view(), total.output(accumulate)).unwrap();
                let name = format!("clip_grad: {p} of {n}, {accumulate}");
                results.close(name, bench.values(&total));
            }
            if n > 100_000 {
                continue;
            }
            for (most, with_norm) in [(0.5, true), (1e9, false)] {
                let (mut x, mut norm) = (bench.normal::<T>(n, 0, 0.0), bench.before::<T>(1, true));
                let wanted = with_norm.then(|| norm.view_mut());
                bench.device.grad_scale(p, most, total.view(), x.view_mut(), wanted).unwrap();
                let name = format!("clip_grad: {p} of {n} to {most}");
                results.close(format!("{name}: gradients"), bench.values(&x));
                results.close(format!("{name}: norm"), bench.values(&norm));
            }
        }
        if n > 100_000 {
            continue;
        }
        let mut x = bench.normal::<T>(n, 0, 0.0);
        bench.device.grad_clamp(T::of(0.5), x.view_mut()).unwrap();
        results.exact(format!("clip_grad: {n} clamped"), bench.values(&x));
    }
}

/// Where the CPU raises an error, a kernel can only say NaN.
#[test]
fn a_target_that_is_no_class_makes_the_loss_nan() {
    let cuda = TestDevice::Cuda.open();
    let bench = Bench { device: &cuda, size: Size::Small, place: Place::From(0) };
    for batch in [4, 70] {
        for wrong in [3, -1, i32::MAX] {
            let g = CrossEntropyGeometry {
                batch: batch as u32,
                classes: 3,
                ignore_index: -100,
                mean: 1,
                label_smoothing: 0.0,
            };
            let mut target = vec![1; batch];
            target[batch - 2] = wrong;
            let (x, t) = (bench.normal::<f32>(batch * 3, 0, 0.0), bench.field(&target));
            let mut loss = bench.field(&[0.0_f32]);
            let mut saved = bench.before::<f32>(batch * 3, false);
            let mut correct = bench.zeros(1);
            signet::ops::cross_entropy::CrossEntropyKernels::cross_entropy_forward(
                &cuda,
                &g,
                x.view(),
                t.view(),
                loss.view_mut(),
                saved.view_mut(),
                correct.view_mut(),
            )
            .unwrap();
            let found = |loss: &Field<f32>, saved: &Field<f32>| {
                let saved = bench.values(saved);
                let nan_rows = (0..batch).filter(|row| saved[row * 3].is_nan()).collect();
                (bench.values(loss)[0].is_nan(), nan_rows)
            };
            let expected: (bool, Vec<_>) = (true, vec![batch - 2]);
            assert_eq!(found(&loss, &saved), expected);

            let g = LinearCrossEntropyGeometry::new(g, 3);
            let mut loss = bench.field(&[0.0_f32]);
            let weight = bench.normal::<f32>(9, 1, 0.0);
            signet::ops::linear_cross_entropy::LinearCrossEntropyKernels::linear_cross_entropy_forward(
                &cuda,
                &g,
                x.view(),
                weight.view(),
                None,
                t.view(),
                loss.view_mut(),
                saved.view_mut(),
                correct.view_mut(),
            )
            .unwrap();
            assert_eq!(found(&loss, &saved), expected, "of the fused op");
        }
    }
}
