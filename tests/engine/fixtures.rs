//! What PyTorch answers, op by op: `tests/fixtures`, in f64 and in f32.

use crate::common;
use crate::on_every_device;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::fixture::{Fixture, FixtureCase};
use common::host::{Fill, HostTensor, values};
use common::models::{named_state, state_dict};
use common::registry::Op;
use common::registry::reductions::Reduce;
use signet::dtype::Float;
use signet::nn::{
    AdaptiveAvgPool2d, AvgPool2d, BatchNorm2d, Conv2d, Dropout, Forward, Layer, Linear, MaxPool2d,
    Module, Sequential,
};
use signet::ops::conv2d::{Conv2dOptions, Padding};
use signet::ops::cross_entropy::{CrossEntropyOptions, Reduction, cross_entropy};
use signet::ops::cross_entropy_rows::cross_entropy_rows;
use signet::ops::gather::{gather, gather_batch};
use signet::ops::max_pool2d::max_pool2d;
use signet::optim::{
    Adagrad, AdagradOptions, Adam, AdamOptions, Anneal, Optimizer, PlateauMode, PlateauOptions,
    ReduceLROnPlateau, Rmsprop, RmspropOptions, Schedule, Sgd, SgdOptions, Threshold,
    clip_grad_norm_, clip_grad_value_,
};
use signet::{Arena, Device, Result, Tensor, layers};

on_every_device! {
    conv2d_agrees_with_pytorch,
    batch_norm2d_agrees_with_pytorch,
    relu_agrees_with_pytorch,
    max_pool2d_agrees_with_pytorch,
    avg_pool2d_agrees_with_pytorch,
    linear_agrees_with_pytorch,
    cross_entropy_agrees_with_pytorch,
    cross_entropy_rows_agree_with_cross_entropy,
    add_mul_and_matmul_agree_with_pytorch,
    sum_and_mean_agree_with_pytorch,
    flatten_and_reshape_agree_with_pytorch,
    dropout_that_draws_nothing_agrees_with_pytorch,
    optimizers_agree_with_pytorch,
    clipped_gradients_agree_with_pytorch,
    gather_picks_and_scales_as_the_fixtures_do,
    parameters_start_inside_pytorchs_bounds,
}

/// Runs a case's inputs (those of `names` that it has) through `function`, and compares the output
/// and, under the case's upstream gradient, the gradient of each input.
pub fn check<T: Float>(
    device: &Device,
    case: &FixtureCase,
    names: &[&str],
    tolerance: Tolerance,
    function: impl Fn(&[Tensor<T>]) -> Result<Tensor<T>>,
) {
    let what = |part: &str| format!("{} {part} in {}", case.name, T::NAME);
    let leaf = |name| Some(case.get(name)?.on::<T>(device).requires_grad(true).unwrap());
    let (names, inputs): (Vec<_>, Vec<_>) =
        names.iter().filter_map(|&name| Some((name, leaf(name)?))).unzip();
    let output = function(&inputs).unwrap_or_else(|e| panic!("{}: {e}", what("output")));
    let expected = case.tensor("output");
    assert_eq!(output.dims(), expected.shape, "{}", what("output"));
    assert_close(what("output"), &values(&output), &expected.values, tolerance);
    output.backward_with(&case.tensor("grad_output").on(device)).unwrap();
    for (name, input) in names.iter().zip(&inputs) {
        let name = format!("grad_{name}");
        let gradient = input.grad().unwrap().unwrap_or_else(|| panic!("{}", what(&name)));
        assert_close(what(&name), &values(&gradient), &case.tensor(&name).values, tolerance);
    }
}

/// All cases of a file, in both precisions.
pub(crate) fn check_file(
    on: TestDevice,
    file: &str,
    names: &[&str],
    op: impl Fn(&FixtureCase) -> Op,
) {
    let device = on.open();
    for case in Fixture::cases(file) {
        let op = op(&case);
        check(&device, &case, names, Tolerance::of::<f64>(), |x| op.run::<f64>(x));
        check(&device, &case, names, Tolerance::of::<f32>(), |x| op.run::<f32>(x));
    }
}

fn conv2d_agrees_with_pytorch(on: TestDevice) {
    check_file(on, "conv2d", &["input", "weight", "bias"], |case| {
        assert_eq!(case.flag("bias"), case.get("bias").is_some(), "{}", case.name);
        assert_eq!(case.tensor("weight").shape[2..], case.pair("kernel"), "{}", case.name);
        Op::Conv2d(Conv2dOptions {
            stride: case.pair("stride"),
            padding: case.pair("padding").into(),
            dilation: case.pair("dilation"),
            groups: 1,
        })
    });
    check_file(on, "conv2d_groups", &["input", "weight", "bias"], |case| {
        let padding = match case.attribute("padding") {
            serde_json::Value::String(word) if word == "same" => Padding::Same,
            serde_json::Value::String(word) if word == "valid" => Padding::Valid,
            sides => serde_json::from_value::<[[usize; 2]; 2]>(sides.clone()).unwrap().into(),
        };
        Op::Conv2d(Conv2dOptions {
            stride: case.pair("stride"),
            padding,
            dilation: case.pair("dilation"),
            groups: case.number("groups") as usize,
        })
    });
}

fn relu_agrees_with_pytorch(on: TestDevice) {
    check_file(on, "relu", &["input"], |_| Op::Unary("relu".into(), [0.0; 2]));
}

fn linear_agrees_with_pytorch(on: TestDevice) {
    check_file(on, "linear", &["input", "weight", "bias"], |_| Op::Linear);
}

fn add_mul_and_matmul_agree_with_pytorch(on: TestDevice) {
    check_file(on, "add", &["a", "b"], |_| Op::Binary("add".into()));
    check_file(on, "mul", &["a", "b"], |_| Op::Binary("mul".into()));
    check_file(on, "matmul", &["a", "b"], |_| Op::Matmul);
}

fn flatten_and_reshape_agree_with_pytorch(on: TestDevice) {
    check_file(on, "flatten", &["input"], |case| Op::Flatten(case.number("start_dim") as usize));
    check_file(on, "reshape", &["input"], |case| Op::Reshape(case.sizes("shape")));
}

/// Of all elements, and over some dimensions.
fn sum_and_mean_agree_with_pytorch(on: TestDevice) {
    for (file, all, some) in [("sum", Op::Sum, Reduce::Sum), ("mean", Op::Mean, Reduce::Mean)] {
        check_file(on, file, &["input"], |case| match case.attribute("dims").is_null() {
            true => all.clone(),
            false => {
                let dims = case.sizes("dims").into_iter().map(|dim| dim as isize).collect();
                Op::Reduce(some, dims, case.flag("keepdim"))
            }
        });
    }
}

fn cross_entropy_agrees_with_pytorch(on: TestDevice) {
    check_file(on, "cross_entropy", &["input"], |case| Op::CrossEntropy {
        target: case.tensor("target").integers(),
        options: CrossEntropyOptions {
            ignore_index: case.number("ignore_index") as i32,
            reduction: reduction(case),
            label_smoothing: case.number("label_smoothing"),
        },
    });
}

pub(crate) fn reduction(case: &FixtureCase) -> Reduction {
    match case.word("reduction") {
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        other => panic!("{}: {other}", case.name),
    }
}

fn pool(case: &FixtureCase) -> MaxPool2d {
    MaxPool2d::new(case.pair("kernel"))
        .stride(case.pair("stride"))
        .padding(case.pair("padding"))
        .ceil_mode(case.flag("ceil_mode"))
}

fn max_pool2d_agrees_with_pytorch(on: TestDevice) {
    check_file(on, "max_pool2d", &["input"], |case| Op::MaxPool2d(pool(case)));
    let dilated = |case: &FixtureCase| pool(case).dilation(case.pair("dilation"));
    check_file(on, "max_pool2d_dilated", &["input"], |case| Op::MaxPool2d(dilated(case)));
    let device = on.open();
    let cases = Fixture::cases("max_pool2d").into_iter().map(|case| (pool(&case), case));
    let more = Fixture::cases("max_pool2d_dilated").into_iter().map(|case| (dilated(&case), case));
    for (pool, case) in cases.chain(more) {
        let input: Tensor = case.tensor("input").on(&device);
        let (_, indices) = max_pool2d(&input, &pool).unwrap();
        assert_eq!(indices.to_vec().unwrap(), case.tensor("indices").integers(), "{}", case.name);
    }
}

fn avg_pool2d_agrees_with_pytorch(on: TestDevice) {
    check_file(on, "avg_pool2d", &["input"], |case| {
        Op::AvgPool2d(
            AvgPool2d::new(case.pair("kernel"))
                .stride(case.pair("stride"))
                .padding(case.pair("padding"))
                .ceil_mode(case.flag("ceil_mode"))
                .count_include_pad(case.flag("count_include_pad"))
                .divisor_override(case.attribute("divisor_override").as_u64().map(|d| d as usize)),
        )
    });
    check_file(on, "adaptive_avg_pool2d", &["input"], |case| {
        let size = case.attribute("output_size").clone();
        let output_size: [Option<usize>; 2] = serde_json::from_value(size).unwrap();
        Op::AdaptiveAvgPool2d(AdaptiveAvgPool2d::new(output_size))
    });
}

fn dropout_that_draws_nothing_agrees_with_pytorch(on: TestDevice) {
    fn one<T: Float>(device: &Device, case: &FixtureCase) {
        let layers = layers![Dropout::new(case.number("p"))];
        let model = Sequential::<T>::new(device, 1, layers).unwrap();
        model.context().train(case.flag("training"));
        check(device, case, &["input"], Tolerance::of::<T>(), |x| model.forward(&x[0]));
    }
    let device = on.open();
    for case in Fixture::cases("dropout") {
        one::<f64>(&device, &case);
        one::<f32>(&device, &case);
    }
}

fn batch_norm2d_agrees_with_pytorch(on: TestDevice) {
    let device = on.open();
    for case in Fixture::cases("batch_norm2d") {
        check_batch_norm2d::<f64>(&device, &case);
        check_batch_norm2d::<f32>(&device, &case);
    }
}

/// The layer, with its running statistics before and after. `check` watches weight and bias: the
/// layer's own parameters are set to the same values and get the same gradients.
fn check_batch_norm2d<T: Float>(device: &Device, case: &FixtureCase) {
    let channels = case.tensor("input").shape[1];
    let layer = BatchNorm2d::new(channels)
        .eps(case.number("eps"))
        .momentum(case.attribute("momentum").as_f64())
        .affine(case.flag("affine"))
        .track_running_stats(case.flag("track_running_stats"));
    let model = Sequential::<T>::new(device, 1, layers![layer]).unwrap();
    let before = |key: &str| {
        case.get(key).or_else(|| case.get(&format!("{key}_before"))).expect("a value before")
    };
    let keys: Vec<String> = named_state(&model).into_keys().collect();
    let start = keys.iter().map(|key| (key.as_str(), before(&key["0.".len()..])));
    model.load_state_dict(&state_dict(start)).unwrap();
    model.context().train(case.flag("training"));

    // Around a mean of 1000, f32 holds the inputs themselves to 3e-5.
    let tolerance = match (T::NAME, case.name.contains("mean_1000")) {
        ("float32", true) => Tolerance::scale(1e-4),
        ("float64", true) => Tolerance::scale(1e-11),
        _ => Tolerance::of::<T>(),
    };
    check(device, case, &["input"], tolerance, |x| model.forward(&x[0]));
    for (key, tensor) in common::models::parameters(&model) {
        let name = format!("grad_{}", &key["0.".len()..]);
        let gradient = tensor.grad().unwrap().expect("backward ran");
        let what = format!("{} {name} in {}", case.name, T::NAME);
        assert_close(what, &values(&gradient), &case.tensor(&name).values, tolerance);
    }
    for (key, actual) in named_state(&model) {
        let Some(after) = case.get(&format!("{}_after", &key["0.".len()..])) else { continue };
        let what = format!("{} {key} after in {}", case.name, T::NAME);
        assert_close(what, &actual.values, &after.values, tolerance);
    }
}

fn optimizers_agree_with_pytorch(on: TestDevice) {
    let device = on.open();
    let cases = ["optim", "optim_more"].map(Fixture::cases);
    for case in cases.into_iter().flatten() {
        check_optimizer::<f64>(&device, &case, 1e-13);
        check_optimizer::<f32>(&device, &case, 1e-4);
    }
}

/// Ten steps on given gradients. The tolerance is a share of each element: their magnitudes run
/// over eleven decades. f32 needs room where weight decay cancels a gradient.
fn check_optimizer<T: Float>(device: &Device, case: &FixtureCase, relative: f64) {
    let arena = Arena::new(device).unwrap();
    let start: Tensor<T> = case.tensor("start").on(device);
    let parameter = arena.parameter(&start.to_vec().unwrap(), start.dims()).unwrap();
    let mut optimizer = optimizer(&arena, case);
    let (grads, expected) = (case.tensor("grads"), case.tensor("values"));
    for step in 0..10 {
        // The gradient of `sum(g * p)` by `p` is `g`.
        let g: Tensor<T> = grads.rows(step..step + 1).on(device);
        let product = g.mul(&parameter).unwrap();
        optimizer.zero_grad();
        product.sum().unwrap().backward().unwrap();
        optimizer.step().unwrap();
        let what = format!("{} after step {} in {}", case.name, step + 1, T::NAME);
        let expected = expected.rows(step..step + 1).values;
        let tolerance = Tolerance { relative, absolute: relative, ..Tolerance::default() };
        assert_close(what, &values(&parameter), &expected, tolerance);
    }
    let state = optimizer.state().unwrap();
    assert_eq!(state.steps, [10], "{}", case.name);
    let names = [
        "exp_avg",
        "exp_avg_sq",
        "max_exp_avg_sq",
        "momentum_buffer",
        "square_avg",
        "grad_avg",
        "sum",
    ];
    for name in names {
        let moment = state.moments.iter().find(|(known, _)| known == name);
        let expected = case.get(name);
        assert_eq!(moment.is_some(), expected.is_some(), "{} {name}", case.name);
        if let (Some((_, moment)), Some(expected)) = (moment, expected) {
            let moment: Vec<f64> = moment[..37].iter().map(|x| x.as_f64()).collect();
            let what = format!("{} {name} in {}", case.name, T::NAME);
            assert_close(what, &moment, &expected.values, Tolerance::relative(relative));
        }
    }
}

fn optimizer<T: Float>(arena: &Arena<T>, case: &FixtureCase) -> Box<dyn Optimizer<T>> {
    let (lr, weight_decay) = (case.number("lr"), case.number("weight_decay"));
    let maximize = case.name.starts_with("optim_more/") && case.flag("maximize");
    let adam = |options: AdamOptions| {
        let betas = case.attribute("betas");
        Box::new(
            Adam::new(
                arena,
                AdamOptions {
                    betas: (betas[0].as_f64().unwrap(), betas[1].as_f64().unwrap()),
                    eps: case.number("eps"),
                    weight_decay,
                    amsgrad: case.flag("amsgrad"),
                    maximize,
                    ..options
                },
            )
            .unwrap(),
        )
    };
    match case.word("kind") {
        "Adam" => adam(AdamOptions::adam(lr)),
        "AdamW" => adam(AdamOptions::adamw(lr)),
        "SGD" => Box::new(
            Sgd::new(
                arena,
                SgdOptions {
                    lr,
                    momentum: case.number("momentum"),
                    dampening: case.number("dampening"),
                    weight_decay,
                    nesterov: case.flag("nesterov"),
                    maximize,
                },
            )
            .unwrap(),
        ),
        "RMSprop" => {
            let options = RmspropOptions {
                lr,
                alpha: case.number("alpha"),
                eps: case.number("eps"),
                weight_decay,
                momentum: case.number("momentum"),
                centered: case.flag("centered"),
                maximize,
            };
            Box::new(Rmsprop::new(arena, options).unwrap())
        }
        "Adagrad" => {
            let options = AdagradOptions {
                lr,
                lr_decay: case.number("lr_decay"),
                weight_decay,
                initial_accumulator_value: case.number("initial_accumulator_value"),
                eps: case.number("eps"),
                maximize,
            };
            Box::new(Adagrad::new(arena, options).unwrap())
        }
        other => panic!("{}: {other}", case.name),
    }
}

fn clipped_gradients_agree_with_pytorch(on: TestDevice) {
    fn one<T: Float>(device: &Device, case: &FixtureCase) {
        let arena = Arena::<T>::new(device).unwrap();
        // One that has no gradient lies between.
        let parameter = |shape: &[usize]| {
            let zeros = vec![T::zero(); shape.iter().product()];
            arena.parameter(&zeros, shape).unwrap()
        };
        let mut parameters = Vec::new();
        for i in 0..3 {
            let gradient = case.tensor(&format!("grad_{i}"));
            let p = parameter(&gradient.shape);
            p.mul(&gradient.on(device)).unwrap().sum().unwrap().backward().unwrap();
            parameters.push(p);
            if i == 1 {
                parameter(&[5]);
            }
        }
        let what = |part: &str| format!("{} {part} in {}", case.name, T::NAME);
        let (limit, tolerance) = (case.number("limit"), Tolerance::of::<T>());
        let norm_type = match case.attribute("norm_type") {
            serde_json::Value::String(_) => Some(f64::INFINITY),
            number => number.as_f64(),
        };
        match norm_type {
            Some(p) => {
                let norm = clip_grad_norm_(&arena, limit, p).unwrap();
                assert_eq!(norm.dims(), [0; 0]);
                assert_close(what("norm"), &values(&norm), &case.tensor("norm").values, tolerance);
            }
            None => clip_grad_value_(&arena, limit).unwrap(),
        }
        for (i, p) in parameters.iter().enumerate() {
            let name = format!("clipped_{i}");
            let gradient = values(&p.grad().unwrap().expect("it has one"));
            assert_close(what(&name), &gradient, &case.tensor(&name).values, tolerance);
        }
    }
    let device = on.open();
    for case in Fixture::cases("clip_grad") {
        one::<f64>(&device, &case);
        one::<f32>(&device, &case);
    }
}

#[test]
fn one_cycles_and_plateaus_agree_with_pytorch() {
    for case in Fixture::cases("schedules_more") {
        let (lr, steps) = (case.number("lr"), case.number("steps") as u64);
        let rates: Vec<f64> = if case.word("kind") == "one_cycle" {
            let schedule = Schedule::OneCycle {
                total_steps: steps,
                pct_start: case.number("pct_start"),
                anneal_strategy: match case.word("anneal_strategy") {
                    "cos" => Anneal::Cos,
                    _ => Anneal::Linear,
                },
                div_factor: case.number("div_factor"),
                final_div_factor: case.number("final_div_factor"),
                three_phase: case.flag("three_phase"),
            };
            schedule.check().unwrap();
            (0..steps).map(|t| schedule.lr(lr, t)).collect()
        } else {
            let by = case.number("threshold");
            let options = PlateauOptions {
                mode: match case.word("mode") {
                    "min" => PlateauMode::Min,
                    _ => PlateauMode::Max,
                },
                factor: case.number("factor"),
                patience: case.number("patience") as u64,
                threshold: match case.word("threshold_mode") {
                    "rel" => Threshold::Rel(by),
                    _ => Threshold::Abs(by),
                },
                cooldown: case.number("cooldown") as u64,
                min_lr: case.number("min_lr"),
                eps: case.number("eps"),
            };
            let arena = Arena::<f32>::new(&Device::cpu().unwrap()).unwrap();
            let mut optimizer: Box<dyn Optimizer> =
                Box::new(Sgd::new(&arena, SgdOptions::new(lr)).unwrap());
            let mut schedule = ReduceLROnPlateau::new(options).unwrap();
            let metrics = &case.tensor("metrics").values;
            let step = |&metric: &f64| {
                let lr = optimizer.param_groups()[0].options[0].1;
                schedule.step(metric, &mut *optimizer).unwrap();
                // Its state goes through a file and comes back.
                let saved = serde_json::to_string(&schedule).unwrap();
                schedule = serde_json::from_str(&saved).unwrap();
                lr
            };
            metrics.iter().map(step).collect()
        };
        let tolerance = Tolerance::relative(1e-12).plus(1e-17);
        assert_close(&case.name, &rates, &case.tensor("lr").values, tolerance);
    }
}

#[test]
fn schedules_agree_with_pytorch() {
    for case in Fixture::cases("schedules") {
        let steps = case.number("steps") as u64;
        let schedule = match case.word("kind") {
            "constant" => Schedule::Constant,
            "step" => Schedule::Step {
                step_size: case.number("step_size") as u64,
                gamma: case.number("gamma"),
            },
            "warmup_cosine" => Schedule::Cosine {
                warmup: case.number("warmup") as u64,
                start_factor: case.number("start_factor"),
                epochs: steps,
                eta_min: case.number("min_lr"),
            },
            other => panic!("{}: {other}", case.name),
        };
        schedule.check().unwrap();
        let rates: Vec<f64> = (0..=steps).map(|t| schedule.lr(case.number("lr"), t)).collect();
        // PyTorch multiplies step by step, which moves the last bits.
        let tolerance = Tolerance::relative(1e-12).plus(1e-17);
        assert_close(&case.name, &rates, &case.tensor("lr").values, tolerance);
    }
}

/// Drawn values fill the interval and never leave it: with `n` of them the largest is near the
/// bound, the mean near 0 and the mean square near a third of the bound's.
fn parameters_start_inside_pytorchs_bounds(on: TestDevice) {
    let device = on.open();
    let cases = Fixture::cases("init");
    for case in &cases {
        let shape = case.sizes("shape");
        let layer: Layer = match case.word("kind") {
            "conv2d" => Conv2d::new(shape[1], shape[0], [shape[2], shape[3]]).into(),
            "linear" => Linear::new(shape[1], shape[0]).into(),
            other => panic!("{}: {other}", case.name),
        };
        let fan_in: usize = shape[1..].iter().product();
        assert_eq!(fan_in, case.number("fan_in") as usize, "{}", case.name);
        for name in ["weight", "bias"] {
            let bound = case.number(&format!("{name}_bound"));
            // Over many seeds, so that few values are enough to tell.
            let drawn: Vec<f64> = (0..64)
                .take_while(|seed| *seed == 0 || shape.iter().product::<usize>() < 10_000)
                .flat_map(|seed| {
                    let model = Sequential::<f64>::new(&device, seed, vec![layer.clone()]).unwrap();
                    named_state(&model)[&format!("0.{name}")].values.clone()
                })
                .collect();
            let n = drawn.len() as f64;
            let mean = drawn.iter().sum::<f64>() / n;
            let square = drawn.iter().map(|x| x * x).sum::<f64>() / n;
            let (low, high) =
                drawn.iter().fold((0.0f64, 0.0f64), |(l, h), &x| (l.min(x), h.max(x)));
            let what = format!("{} {name}: {low} to {high}, bound {bound}", case.name);
            assert!(-bound <= low && high <= bound, "{what}");
            // The chance that the largest of n is below 1 - 12/n of the range is e^-12.
            let gap = 24.0 * bound / n;
            assert!(low <= gap - bound && bound - gap <= high, "{what}");
            // Five standard deviations of the mean and of the mean square.
            assert!(mean.abs() < 5.0 * bound / (3.0 * n).sqrt(), "{what}, mean {mean}");
            let spread = 5.0 * bound * bound * (4.0 / 45.0 / n).sqrt();
            assert!((square - bound * bound / 3.0).abs() < spread, "{what}, mean square {square}");
        }
    }
}

/// Row by row, to the last bit.
fn cross_entropy_rows_agree_with_cross_entropy(on: TestDevice) {
    pub fn check<T: Float>(device: &Device) {
        let logits = Fill::Normal(3.0).draw(&[9, 7], 4, 0);
        let target: Vec<i32> = (0..9).map(|row| row * 5 % 7).collect();
        let targets = Tensor::from_slice(device, &target, [9]).unwrap();
        let losses = Tensor::<T>::zeros(device, [9]).unwrap();
        let predicted = Tensor::zeros(device, [9]).unwrap();
        let on_device: Tensor<T> = logits.on(device);
        cross_entropy_rows(&on_device, &targets, &losses, &predicted).unwrap();
        let (losses, predicted) = (losses.to_vec().unwrap(), predicted.to_vec().unwrap());
        let mut hits = 0;
        for row in 0..9 {
            let one = logits.rows(row..row + 1).on(device);
            let expected = Tensor::from_slice(device, &target[row..row + 1], [1]).unwrap();
            let (loss, correct) = cross_entropy::<T>(&one, &expected, &Default::default()).unwrap();
            assert_eq!(losses[row], loss.item().unwrap(), "row {row}");
            let correct = correct.item().unwrap();
            assert_eq!(i32::from(predicted[row] == target[row]), correct, "row {row}");
            hits += correct;
        }
        assert!(0 < hits && hits < 9, "{hits} tell nothing");
        let refused = cross_entropy_rows(&on_device, &targets, &on_device, &targets);
        assert!(refused.is_err(), "losses of another shape");
    }
    let device = on.open();
    check::<f64>(&device);
    check::<f32>(&device);
}

/// The pixels of a fixture out of order, some of them twice.
fn gather_picks_and_scales_as_the_fixtures_do(on: TestDevice) {
    fn one<T: Float>(device: &Device, pixels: &HostTensor, labels: &HostTensor) {
        let bytes: Vec<u8> = pixels.values.iter().map(|&x| x as u8).collect();
        let data = Tensor::from_slice(device, &bytes, &pixels.shape[..]).unwrap();
        let order = [4, 0, 6, 6, 2];
        let rows = Tensor::from_slice(device, &order, [5]).unwrap();
        let (images, targets) = gather::<T>(&data, &labels.labels_on(device), &rows).unwrap();
        assert_eq!(images.dims(), [5, 1, 28, 28]);
        let picked = |t: &HostTensor| -> Vec<f64> {
            let rows = order.iter().map(|&row| row as usize);
            rows.flat_map(|row| t.rows(row..row + 1).values).collect()
        };
        let expected: Vec<f64> =
            picked(pixels).into_iter().map(|byte| (T::of(byte) / T::of(255.0)).as_f64()).collect();
        assert_eq!(values(&images), expected);
        let targets = targets.to_vec().unwrap().into_iter().map(f64::from);
        let picked_labels = picked(labels);
        assert_eq!(targets.collect::<Vec<_>>(), picked_labels);
        // The last batch of two is the last row.
        let (batch, labels) =
            (Tensor::from_slice(device, &[2], [1]).unwrap(), labels.labels_on(device));
        let (last, target) = gather_batch::<T>(&data, &labels, &rows, &batch, [1, 2]).unwrap();
        assert_eq!(values(&last), expected[4 * 784..]);
        assert_eq!(target.to_vec().unwrap(), [picked_labels[4] as i32]);
        assert!(gather_batch::<T>(&data, &labels, &rows, &batch, [6, 6]).is_err());
    }
    let (device, fixture) = (on.open(), Fixture::load("narrow_step"));
    one::<f64>(&device, fixture.tensor("pixels"), fixture.tensor("labels"));
    one::<f32>(&device, fixture.tensor("pixels"), fixture.tensor("labels"));
}
