//! Tensors without elements, layers without inputs, shapes that no memory holds, and numbers outside
//! their range: what PyTorch makes of them, or an error.

use crate::common;
use crate::on_every_device;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use signet::nn::{
    BatchNorm2d, Conv2d, Forward, Layer, Linear, MaxPool2d, Module, ReLU, Sequential, State,
    Values, asl,
};
use signet::ops::cross_entropy::cross_entropy;
use signet::{Device, Error, Result, Tensor, layers};

on_every_device! {
    sums_and_products_of_nothing_are_nothing,
    layers_without_inputs_start_at_zero,
    an_empty_batch_is_normalised_to_nothing,
    one_value_has_no_variance,
    an_empty_batch_passes_through_the_whole_network,
    a_batch_norm_may_have_a_scale_alone,
    shapes_that_no_memory_holds_are_errors,
    numbers_that_no_batch_norm_can_use_are_errors,
}

fn tensor(device: &Device, values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(device, values, shape).unwrap()
}

/// The parameters of a model with their gradients.
fn gradients(model: &Sequential) -> Vec<(String, Vec<f32>)> {
    let mut gradients = Vec::new();
    for (name, state) in model.state() {
        if let State::Parameter(parameter) = state {
            let gradient = parameter.grad().unwrap().unwrap_or_else(|| panic!("none of {name}"));
            gradients.push((name, gradient.to_vec().unwrap()));
        }
    }
    gradients
}

fn sums_and_products_of_nothing_are_nothing(on: TestDevice) {
    let device = on.open();
    // PyTorch's shapes: `torch.zeros(a) + torch.ones(b)`.
    let shapes: [(&[usize], &[usize]); 10] = [
        (&[0], &[0]),
        (&[0], &[]),
        (&[0, 3], &[3]),
        (&[0, 3], &[0, 3]),
        (&[2, 0], &[0]),
        (&[2, 0], &[2, 0]),
        (&[3, 0, 2], &[0, 2]),
        (&[0, 2, 0], &[0]),
        (&[4, 0, 5], &[]),
        (&[3, 0, 2], &[4, 1, 1, 2]),
    ];
    for (a_shape, b_shape) in shapes {
        for product in [false, true] {
            let ones = vec![1.0; b_shape.iter().product()];
            let (a, b) = (tensor(&device, &[], a_shape), tensor(&device, &ones, b_shape));
            let (a, b) = (a.requires_grad(true).unwrap(), b.requires_grad(true).unwrap());
            let y = if product { a.mul(&b) } else { a.add(&b) }.unwrap();
            assert!(y.dims().ends_with(a_shape), "{:?}", y.dims());
            assert_eq!(y.numel(), 0);
            let sum = y.sum().unwrap();
            assert_eq!(sum.item().unwrap(), 0.0);
            sum.backward().unwrap();
            assert_eq!(a.grad().unwrap().unwrap().to_vec().unwrap(), [0.0; 0]);
            let of_b = b.grad().unwrap().unwrap().to_vec().unwrap();
            assert_eq!(of_b, vec![0.0; ones.len()], "{a_shape:?} {b_shape:?} {product}");
        }
    }
    // What does not fit still does not.
    for (a, b) in [(&[0, 3][..], &[2][..]), (&[2, 0], &[0, 2]), (&[2], &[0])] {
        let ones = |shape: &[usize]| vec![1.0; shape.iter().product()];
        let [a, b] = [a, b].map(|shape| tensor(&device, &ones(shape), shape));
        assert!(matches!(a.add(&b), Err(Error::Shape { op: "add", .. })), "{a:?} {b:?}");
    }
    assert!(tensor(&device, &[], &[0]).mean().unwrap().item().unwrap().is_nan());
}

fn layers_without_inputs_start_at_zero(on: TestDevice) {
    let device = on.open();
    let layers = layers![Linear::new(0, 3)];
    let model = Sequential::<f32>::new(&device, 0, layers).unwrap();
    let x = tensor(&device, &[], &[2, 0]);
    let y = model.forward(&x).unwrap();
    // `torch.nn.Linear(0, 3)(torch.zeros(2, 0))`
    assert_eq!((y.dims(), y.to_vec().unwrap()), (&[2, 3][..], vec![0.0; 6]));
    y.sum().unwrap().backward().unwrap();
    let expected = [("0.weight".to_owned(), vec![]), ("0.bias".to_owned(), vec![2.0; 3])];
    assert_eq!(gradients(&model), expected);

    let convolution = layers![Conv2d::new(0, 3, 3)];
    let model = Sequential::<f32>::new(&device, 0, convolution).unwrap();
    let bias = model.state_dict().unwrap().get("0.bias").unwrap().values.clone();
    assert_eq!(bias, Values::F32(vec![0.0; 3]));
    // One without outputs.
    let model = Sequential::<f32>::new(&device, 0, layers![Linear::new(3, 0)]).unwrap();
    let y = model.forward(&tensor(&device, &[1.0; 6], &[2, 3])).unwrap();
    assert_eq!((y.dims(), y.to_vec().unwrap()), (&[2, 0][..], vec![]));
}

fn an_empty_batch_is_normalised_to_nothing(on: TestDevice) {
    let device = on.open();
    for shape in [[0, 2, 3, 3], [4, 2, 0, 3], [0, 2, 1, 1]] {
        for momentum in [Some(0.1), None] {
            let norm = BatchNorm2d::new(2).momentum(momentum);
            let model = Sequential::<f32>::new(&device, 0, layers![norm]).unwrap();
            let before = model.state_dict().unwrap();
            let x = tensor(&device, &[], &shape).requires_grad(true).unwrap();
            let y = model.forward(&x).unwrap();
            assert_eq!((y.dims(), y.to_vec().unwrap()), (&shape[..], vec![]));
            y.sum().unwrap().backward().unwrap();
            assert_eq!(x.grad().unwrap().unwrap().numel(), 0);
            assert_eq!(
                gradients(&model).into_iter().flat_map(|(_, g)| g).collect::<Vec<_>>(),
                [0.0; 4]
            );
            let after = model.state_dict().unwrap();
            for name in ["0.running_mean", "0.running_var"] {
                assert_eq!(after.get(name).unwrap().values, before.get(name).unwrap().values);
            }
            // PyTorch counts the batch all the same.
            let counted = &after.get("0.num_batches_tracked").unwrap().values;
            assert_eq!(*counted, Values::I64(vec![1]));
            model.eval();
            assert_eq!(model.forward(&x.detach()).unwrap().dims(), shape);
        }
    }
    let model = Sequential::<f32>::new(&device, 0, layers![BatchNorm2d::new(0)]).unwrap();
    assert_eq!(model.forward(&tensor(&device, &[], &[2, 0, 1, 1])).unwrap().dims(), [2, 0, 1, 1]);
}

fn one_value_has_no_variance(on: TestDevice) {
    let device = on.open();
    let model = Sequential::<f32>::new(&device, 0, layers![BatchNorm2d::new(2)]).unwrap();
    let refused = model.forward(&tensor(&device, &[1.0, 2.0], &[1, 2, 1, 1]));
    let message = refused.expect_err("PyTorch refuses it too").to_string();
    assert!(message.contains("one value per channel"), "{message}");
}

fn an_empty_batch_passes_through_the_whole_network(on: TestDevice) {
    let device = on.open();
    for fuse in [true, false] {
        let model = Sequential::<f32>::new(&device, 0, asl(24)).unwrap();
        model.fuse(fuse);
        for training in [true, false] {
            if !training {
                model.eval();
            }
            let x = tensor(&device, &[], &[0, 1, 28, 28]);
            let y = model.forward(&x).unwrap();
            assert_eq!(y.dims(), [0, 24], "{fuse} {training}");
            let labels = Tensor::from_slice(&device, &[], [0]).unwrap();
            let (loss, correct) = cross_entropy(&y, &labels, &Default::default()).unwrap();
            assert!(loss.item().unwrap().is_nan(), "the mean of nothing");
            assert_eq!(correct.item().unwrap(), 0);
            model.arena().zero_grad();
            y.sum().unwrap().backward().unwrap();
            for (name, gradient) in gradients(&model) {
                assert!(gradient.iter().all(|&g| g == 0.0), "{fuse} {training} {name}");
            }
        }
    }
}

/// Convolution, batch normalisation with `norm`, rectifier and pooling, on an image.
fn block(on: TestDevice, norm: BatchNorm2d, fuse: bool) -> (Sequential, Vec<Vec<f64>>) {
    let device = on.open();
    let layers: Vec<Layer> =
        layers![Conv2d::new(1, 2, 3).padding(1), norm, ReLU, MaxPool2d::new(2)];
    let model = Sequential::<f32>::new(&device, 0, layers).unwrap();
    model.fuse(fuse);
    let pixels: Vec<f32> = (0..2 * 36).map(|i| (i * 7 % 11) as f32 / 11.0).collect();
    let y = model.forward(&tensor(&device, &pixels, &[2, 1, 6, 6])).unwrap();
    y.mul(&y).unwrap().sum().unwrap().backward().unwrap();
    let mut results = vec![y.to_vec().unwrap()];
    results.extend(gradients(&model).into_iter().map(|(_, gradient)| gradient));
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
    (model, results.into_iter().map(wide).collect())
}

fn a_batch_norm_may_have_a_scale_alone(on: TestDevice) {
    let names = |model: &Sequential| {
        let names = model.state().into_iter().map(|(name, _)| name);
        names.filter(|name| name.starts_with("1.")).collect::<Vec<_>>()
    };
    let (with, both) = block(on, BatchNorm2d::new(2), false);
    let all = ["1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"];
    assert_eq!(names(&with), all);
    for fuse in [false, true] {
        let (without, alone) = block(on, BatchNorm2d::new(2).bias(false), fuse);
        let [weight, _, rest @ ..] = all;
        assert_eq!(names(&without), [&[weight][..], &rest].concat());
        // A shift starts at 0, so all else is the same: output, and gradients of the convolution's
        // weight and bias and of the scale.
        for (name, ours, theirs) in [("output", 0, 0), ("weight", 1, 1), ("scale", 3, 3)] {
            let tolerance = Tolerance { relative: 1e-4, absolute: 1e-5, of_scale: 1e-5 };
            assert_close(name, &alone[ours], &both[theirs], tolerance);
        }
        assert_eq!(alone.len(), 4);
    }
    let (neither, _) = block(on, BatchNorm2d::new(2).affine(false), true);
    assert_eq!(names(&neither), all[2..]);
    let (still, _) = block(on, BatchNorm2d::new(2).affine(false).bias(true), true);
    assert_eq!(names(&still), all[2..]);
}

fn shapes_that_no_memory_holds_are_errors(on: TestDevice) {
    let device = on.open();
    for shape in [&[1 << 32, 1 << 32][..], &[1 << 62], &[1 << 61], &[usize::MAX, 2], &[1 << 46]] {
        let error = Tensor::<f32>::zeros(&device, shape).expect_err("no machine has so much");
        assert!(matches!(error, Error::Device { .. }), "{shape:?}: {error}");
        assert!(Tensor::<f32>::from_slice(&device, &[], shape).is_err());
    }
    // Nothing is nothing, whatever it is repeated by.
    assert_eq!(Tensor::<f32>::zeros(&device, [0, usize::MAX, 2]).unwrap().numel(), 0);
    let layers: [Layer; 6] = [
        Linear::new(usize::MAX, 2).into(),
        Linear::new(1 << 20, 1 << 20).into(),
        Linear::new(0, usize::MAX).into(),
        Conv2d::new(usize::MAX, usize::MAX, 3).into(),
        Conv2d::new(1, 2, usize::MAX).into(),
        BatchNorm2d::new(usize::MAX).into(),
    ];
    for layer in layers {
        let what = format!("{layer:?}");
        let refused: Result<_> = Sequential::<f32>::new(&device, 0, vec![layer]);
        let error = refused.map(|_| ()).expect_err(&what);
        assert!(matches!(error, Error::Shape { .. }), "{what}: {error}");
    }
    // The device works on.
    assert_eq!(Tensor::<f32>::zeros(&device, [2]).unwrap().to_vec().unwrap(), [0.0; 2]);
}

fn numbers_that_no_batch_norm_can_use_are_errors(on: TestDevice) {
    let device = on.open();
    let wrong = [
        ("eps", BatchNorm2d::new(1).eps(0.0)),
        ("eps", BatchNorm2d::new(1).eps(-1.0)),
        ("eps", BatchNorm2d::new(1).eps(f64::NAN)),
        ("eps", BatchNorm2d::new(1).eps(f64::INFINITY)),
        ("momentum", BatchNorm2d::new(1).momentum(f64::NAN)),
        ("momentum", BatchNorm2d::new(1).momentum(f64::NEG_INFINITY)),
    ];
    for (expected, norm) in wrong {
        let what = format!("{norm:?}");
        match Sequential::<f32>::new(&device, 0, layers![norm]).map(|_| ()) {
            Err(Error::Argument { name, .. }) => assert_eq!(name, expected),
            other => panic!("{what}: {other:?}"),
        }
    }
    // PyTorch takes these, and so do we.
    for norm in [BatchNorm2d::new(1).momentum(0.0), BatchNorm2d::new(1).momentum(2.0)] {
        Sequential::<f32>::new(&device, 0, layers![norm]).unwrap();
    }
}
