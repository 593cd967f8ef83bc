//! What PyTorch answers for products of many matrices, softmax, normalisation of rows, and losses; and
//! which shapes and numbers are refused.

use crate::common;
use crate::fixtures::{check, check_file, reduction};
use crate::on_every_device;

use common::compare::Tolerance;
use common::device::TestDevice;
use common::fixture::{Fixture, FixtureCase};
use common::host::values;
use common::registry::{ElementwiseLoss, Op};
use signet::dtype::Float;
use signet::nn::{
    Forward, GroupNorm, LayerNorm, Linear, LogSoftmax, Module, ReLU, Sequential, Softmax,
};
use signet::ops::cross_entropy::{
    CrossEntropyOptions, Reduction, Target, cross_entropy, cross_entropy_loss,
};
use signet::ops::elementwise_loss::{
    binary_cross_entropy_with_logits, huber_loss, mse_loss, smooth_l1_loss,
};
use signet::ops::layer_norm::{group_norm, layer_norm};
use signet::ops::nll_loss::nll_loss;
use signet::{Device, Error, Tensor, layers};

on_every_device! {
    softmax_agrees_with_pytorch,
    layer_norm_agrees_with_pytorch,
    group_norm_agrees_with_pytorch,
    batched_products_agree_with_pytorch,
    nll_loss_agrees_with_pytorch,
    cross_entropy_loss_agrees_with_pytorch,
    elementwise_losses_agree_with_pytorch,
    layers_are_their_ops,
    one_tensor_may_be_both_operands,
    what_does_not_fit_is_an_error,
    numbers_that_no_loss_can_use_are_errors,
    many_matrices_are_multiplied_alike,
}

fn softmax_agrees_with_pytorch(on: TestDevice) {
    check_file(on, "softmax", &["input"], |case| Op::Softmax {
        dim: case.number("dim") as isize,
        log: case.flag("log"),
    });
}

/// The cases of `file`; around a mean of 1000, f32 holds the inputs themselves to 3e-5.
fn check_norms(on: TestDevice, file: &str, op: impl Fn(&FixtureCase) -> Op) {
    fn one<T: Float>(device: &Device, case: &FixtureCase, op: &Op) {
        let tolerance = match (T::NAME, case.name.contains("mean_1000")) {
            ("float32", true) => Tolerance::scale(1e-4),
            ("float64", true) => Tolerance::scale(1e-11),
            // PyTorch's gradient is what is left of larger terms; it should be 0.
            _ if case.name.contains("one_value") => {
                Tolerance::absolute(1e4 * T::epsilon().as_f64())
            }
            _ => Tolerance::of::<T>(),
        };
        check(device, case, &["input", "weight", "bias"], tolerance, |x| op.run::<T>(x));
    }
    let device = on.open();
    for case in Fixture::cases(file) {
        // A bias alone is no list of inputs of the op's.
        if case.get("weight").is_none() && case.get("bias").is_some() {
            let (x, bias): (Tensor, Tensor) =
                (case.tensor("input").on(&device), case.tensor("bias").on(&device));
            let y = match op(&case) {
                Op::LayerNorm { normalized_shape, eps } => {
                    layer_norm(&x, &normalized_shape[..], None, Some(&bias), eps)
                }
                Op::GroupNorm { num_groups, eps } => {
                    group_norm(&x, num_groups, None, Some(&bias), eps)
                }
                other => panic!("{other:?}"),
            };
            let expected = &case.tensor("output").values;
            let tolerance = Tolerance::of::<f32>();
            common::compare::assert_close(&case.name, &values(&y.unwrap()), expected, tolerance);
            continue;
        }
        one::<f64>(&device, &case, &op(&case));
        one::<f32>(&device, &case, &op(&case));
    }
}

fn layer_norm_agrees_with_pytorch(on: TestDevice) {
    check_norms(on, "layer_norm", |case| Op::LayerNorm {
        normalized_shape: case.sizes("normalized_shape"),
        eps: case.number("eps"),
    });
}

fn group_norm_agrees_with_pytorch(on: TestDevice) {
    check_norms(on, "group_norm", |case| Op::GroupNorm {
        num_groups: case.number("num_groups") as usize,
        eps: case.number("eps"),
    });
}

fn batched_products_agree_with_pytorch(on: TestDevice) {
    check_file(on, "matmul_batched", &["a", "b"], |_| Op::Matmul);
    check_file(on, "linear_batched", &["input", "weight", "bias"], |_| Op::Linear);
}

fn options(case: &FixtureCase) -> CrossEntropyOptions {
    CrossEntropyOptions {
        ignore_index: case.number("ignore_index") as i32,
        reduction: reduction(case),
        label_smoothing: case.number("label_smoothing"),
    }
}

fn class_weight(case: &FixtureCase) -> Option<Vec<f64>> {
    case.get("class_weight").map(|weight| weight.values.clone())
}

fn nll_loss_agrees_with_pytorch(on: TestDevice) {
    check_file(on, "nll_loss", &["input"], |case| Op::NllLoss {
        target: case.tensor("target").integers(),
        weight: class_weight(case),
        options: options(case),
    });
}

fn cross_entropy_loss_agrees_with_pytorch(on: TestDevice) {
    check_file(on, "cross_entropy_loss", &["input", "probabilities"], |case| {
        Op::CrossEntropyLoss {
            target: case.get("target").map(|target| target.integers()),
            weight: class_weight(case),
            options: options(case),
        }
    });
}

fn elementwise_losses_agree_with_pytorch(on: TestDevice) {
    check_file(on, "elementwise_loss", &["input", "target"], |case| {
        let factor =
            |name| case.get(name).map(|factor| (factor.shape.clone(), factor.values.clone()));
        Op::ElementwiseLoss(ElementwiseLoss {
            kind: case.word("kind").to_owned(),
            reduction: reduction(case),
            parameter: case.number("parameter"),
            factors: [factor("factor"), factor("pos_factor")],
        })
    });
}

fn tensor(device: &Device, shape: &[usize]) -> Tensor {
    let n = shape.iter().product::<usize>();
    let values: Vec<f32> = (0..n).map(|i| (i * 7 % 11) as f32 / 4.0 - 1.0).collect();
    Tensor::from_slice(device, &values, shape).unwrap()
}

fn layers_are_their_ops(on: TestDevice) {
    let device = on.open();
    let x = tensor(&device, &[3, 4, 6]);
    let run = |layers| {
        let model = Sequential::<f32>::new(&device, 0, layers).unwrap();
        for layer in model.layers() {
            assert_eq!(layer.output_shape(x.shape()).unwrap(), *x.shape(), "{layer:?}");
        }
        let state = model.state().into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ");
        (state, model.forward(&x).unwrap().to_vec().unwrap())
    };
    let (none, both) = (String::new(), "0.weight 0.bias".to_owned());
    let op = |y: signet::Result<Tensor>| y.unwrap().to_vec().unwrap();
    let normal = op(layer_norm(&x, [4, 6], None, None, 1e-5));
    assert_eq!(run(layers![LayerNorm::new([4, 6])]), (both.clone(), normal.clone()));
    let plain = LayerNorm::new([4, 6]).elementwise_affine(false);
    assert_eq!(run(layers![plain]), (none.clone(), normal.clone()));
    let scale = LayerNorm::new([4, 6]).bias(false);
    assert_eq!(run(layers![scale]), ("0.weight".to_owned(), normal));
    let loose = LayerNorm::new([6]).eps(0.1);
    assert_eq!(run(layers![loose]), (both.clone(), op(layer_norm(&x, [6], None, None, 0.1))));
    let normal = op(group_norm(&x, 2, None, None, 1e-5));
    assert_eq!(run(layers![GroupNorm::new(2, 4)]), (both, normal.clone()));
    assert_eq!(run(layers![GroupNorm::new(2, 4).affine(false)]), (none.clone(), normal));
    let loose = GroupNorm::new(2, 4).affine(false).eps(0.1);
    assert_eq!(run(layers![loose]), (none.clone(), op(group_norm(&x, 2, None, None, 0.1))));
    assert_eq!(run(layers![Softmax::new(-2)]), (none.clone(), op(x.softmax(1))));
    assert_eq!(run(layers![LogSoftmax::new(2)]), (none, op(x.log_softmax(-1))));

    // A linear layer of rows in more than one dimension, as one op with its rectifier or not.
    let model = Sequential::<f32>::new(&device, 0, layers![Linear::new(6, 5), ReLU]).unwrap();
    assert_eq!(model.layers()[0].output_shape(x.shape()).unwrap().dims(), [3, 4, 5]);
    let fused = model.forward(&x).unwrap();
    model.fuse(false);
    let plain = model.forward(&x).unwrap();
    assert_eq!((fused.dims(), plain.dims()), (&[3, 4, 5][..], &[3, 4, 5][..]));
    let flat = model.forward(&x.reshape([12, 6]).unwrap()).unwrap();
    assert_eq!(plain.to_vec().unwrap(), flat.to_vec().unwrap());
    common::compare::assert_close(
        "fused",
        &values(&fused),
        &values(&plain),
        Tolerance::of::<f32>(),
    );
}

fn one_tensor_may_be_both_operands(on: TestDevice) {
    let device = on.open();
    let x = tensor(&device, &[2, 3, 3]).requires_grad(true).unwrap();
    x.matmul(&x).unwrap().sum().unwrap().backward().unwrap();
    // Of x_ij: the sum of row j and that of column i.
    let (v, grad) = (x.to_vec().unwrap(), x.grad().unwrap().unwrap().to_vec().unwrap());
    for (place, grad) in grad.into_iter().enumerate() {
        let (m, i, j) = (place / 9, place / 3 % 3, place % 3);
        let row: f32 = (0..3).map(|c| v[m * 9 + j * 3 + c]).sum();
        let column: f32 = (0..3).map(|r| v[m * 9 + r * 3 + i]).sum();
        assert!((grad - row - column).abs() < 1e-5, "{place}: {grad}, {row} + {column}");
    }
    x.zero_grad();
    mse_loss(&x, &x, Reduction::Sum).unwrap().backward().unwrap();
    assert_eq!(x.grad().unwrap().unwrap().to_vec().unwrap(), [0.0; 18]);
    x.zero_grad();
    // `-sum of x log softmax(x)` by both.
    cross_entropy_loss(&x, &x, None, &Default::default()).unwrap().backward().unwrap();
    assert_eq!(x.grad().unwrap().unwrap().dims(), [2, 3, 3]);
}

#[track_caller]
fn refused<T>(result: signet::Result<T>, expected: &str) {
    match result.map(|_| ()) {
        Err(error @ (Error::Shape { .. } | Error::Argument { .. })) => {
            let message = error.to_string();
            assert!(message.contains(expected), "{message}");
        }
        other => panic!("{expected}: {other:?}"),
    }
}

fn what_does_not_fit_is_an_error(on: TestDevice) {
    let device = on.open();
    let t = |shape: &[usize]| tensor(&device, shape);
    let classes = |shape: &[usize]| Tensor::<i32>::zeros(&device, shape).unwrap();
    refused(t(&[3, 4]).softmax(2), "dimension 2 of [3, 4]: dim must be from -2 to 1");
    refused(t(&[3, 4]).log_softmax(-3), "dimension -3 of [3, 4]");
    refused(t(&[]).softmax(1), "must be from -1 to 0");

    refused(t(&[2, 3, 4]).matmul(&t(&[3, 3])), "4 columns meet 3 rows");
    refused(t(&[2, 3, 4]).matmul(&t(&[3, 4, 3])), "batch dimensions 2 and 3 do not fit");
    refused(t(&[]).matmul(&t(&[3])), "scalar");
    refused(t(&[3]).matmul(&t(&[])), "scalar");
    refused(t(&[3]).matmul(&t(&[4])), "3 columns meet 4 rows");

    let x = t(&[2, 4, 3]);
    refused(layer_norm(&x, [4], None, None, 1e-5), "expected the input's last dimensions");
    refused(layer_norm(&x, [1, 2, 4, 3], None, None, 1e-5), "last dimensions");
    let nothing: [usize; 0] = [];
    refused(layer_norm(&x, nothing, None, None, 1e-5), "at least one");
    refused(layer_norm(&x, [3], Some(&t(&[4])), None, 1e-5), "weight [4]");
    refused(layer_norm(&x, [3], None, Some(&t(&[4])), 1e-5), "bias [4]");
    refused(group_norm(&t(&[3]), 1, None, None, 1e-5), "expected an input [N, C, ..]");
    refused(group_norm(&x, 3, None, None, 1e-5), "4 channels are no multiple of 3 groups");
    refused(group_norm(&x, 0, None, None, 1e-5), "num_groups");
    refused(group_norm(&t(&[1, 3]), 3, None, None, 1e-5), "one value per group");
    refused(group_norm(&x, 2, Some(&t(&[3])), None, 1e-5), "weight [3]");
    let groups = layers![GroupNorm::new(2, 6)];
    let model = Sequential::<f32>::new(&device, 0, groups).unwrap();
    refused(model.layers()[0].output_shape(x.shape()), "num_channels = 6");
    refused(model.forward(&x), "weight [6] for 4 channels");

    let none = CrossEntropyOptions { reduction: Reduction::None, ..Default::default() };
    refused(cross_entropy(&t(&[2, 4]), &classes(&[2]), &none), "cross_entropy_loss gives them");
    let loss = |shape: &[usize], of: &[usize]| {
        cross_entropy_loss(&t(shape), &classes(of), Some(&t(&[4])), &none)
    };
    refused(loss(&[2, 4, 3], &[2]), "target [2]");
    refused(loss(&[2, 4, 3], &[2, 4]), "target [2, 4]");
    refused(loss(&[], &[]), "input []");
    refused(loss(&[2, 3], &[2]), "weight [4] for 3 classes");
    refused(loss(&[2, 0], &[2]), "a class at least");
    let probabilities = Target::Probabilities(&x);
    refused(cross_entropy_loss(&t(&[2, 4]), probabilities, None, &none), "[N, C, d1..]");
    let of_four = t(&[2, 4]);
    let wrong = nll_loss(&of_four, &classes(&[3]), None, -100, Reduction::Mean);
    refused(wrong, "target [3]");
    refused(mse_loss(&x, &t(&[3]), Reduction::Mean), "expected one shape");
    for shape in [&[4][..], &[2, 4], &[2, 1, 3], &[1, 1, 1, 1], &[5, 1]] {
        let weight = t(shape);
        let bce = binary_cross_entropy_with_logits(&x, &x, Some(&weight), Reduction::Sum, None);
        refused(bce, "weight ");
        let bce = binary_cross_entropy_with_logits(&x, &x, None, Reduction::Sum, Some(&weight));
        refused(bce, "pos_weight ");
    }
    if device.as_cpu().is_some() {
        let target = Tensor::from_slice(&device, &[1, 4], [2]).unwrap();
        let wrong = nll_loss(&of_four, &target, None, -100, Reduction::Mean);
        refused(wrong, "target 4 of place 1 is no class");
    } else {
        // A GPU cannot raise an error: the loss and the row's gradient are NaN.
        let x = of_four.requires_grad(true).unwrap();
        let target = Tensor::from_slice(&device, &[1, 4], [2]).unwrap();
        let loss = nll_loss(&x, &target, None, -100, Reduction::Sum).unwrap();
        assert!(loss.item().unwrap().is_nan());
        loss.backward().unwrap();
        let gradient = x.grad().unwrap().unwrap().to_vec().unwrap();
        assert!(gradient[..4].iter().all(|x| x.is_finite()), "{gradient:?}");
        assert!(gradient[4..].iter().all(|x| x.is_nan()), "{gradient:?}");
    }
}

fn numbers_that_no_loss_can_use_are_errors(on: TestDevice) {
    let device = on.open();
    let x = tensor(&device, &[2, 3]);
    for wrong in [-1.0, f64::NAN, f64::INFINITY] {
        refused(layer_norm(&x, [3], None, None, wrong), "eps");
        refused(smooth_l1_loss(&x, &x, Reduction::Mean, wrong), "beta");
        refused(huber_loss(&x, &x, Reduction::Mean, wrong), "delta");
        let options = CrossEntropyOptions { label_smoothing: wrong, ..Default::default() };
        refused(cross_entropy_loss(&x, &x, None, &options), "label_smoothing");
        for layer in [LayerNorm::new([3]).eps(wrong).into(), GroupNorm::new(1, 3).eps(wrong).into()]
        {
            refused(Sequential::<f32>::new(&device, 0, vec![layer]).map(|_| ()), "eps");
        }
    }
    refused(huber_loss(&x, &x, Reduction::Mean, 0.0), "delta");
    let options = CrossEntropyOptions { ignore_index: 0, ..Default::default() };
    refused(cross_entropy_loss(&x, &x, None, &options), "ignore_index");
    // As PyTorch's.
    assert!(layer_norm(&x, [3], None, None, 0.0).is_ok());
}

/// One launch for all, and each has the bits that it has by itself.
fn many_matrices_are_multiplied_alike(on: TestDevice) {
    let device = on.open();
    let (a, b) = (tensor(&device, &[70, 3, 9]), tensor(&device, &[70, 9, 5]));
    let all = a.matmul(&b).unwrap().to_vec().unwrap();
    let (a, b) = (a.to_vec().unwrap(), b.to_vec().unwrap());
    for (i, expected) in all.chunks_exact(15).enumerate() {
        let a = Tensor::from_slice(&device, &a[i * 27..][..27], [3, 9]).unwrap();
        let b = Tensor::from_slice(&device, &b[i * 45..][..45], [9, 5]).unwrap();
        assert_eq!(a.matmul(&b).unwrap().to_vec().unwrap(), expected, "{i}");
    }
}
