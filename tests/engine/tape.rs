//! What the tape promises: what is recorded, who gets a gradient, what is not computed, and how
//! misuse fails. The values are PyTorch's.

use crate::common;
use crate::on_every_device;

use common::device::TestDevice;
use common::host::{Fill, bits, values};
use signet::nn::{Conv2d, Flatten, Forward, Linear, Module, ReLU, Sequential};
use signet::ops::batch_norm2d::{Statistics, batch_norm2d};
use signet::ops::linear::linear;
use signet::optim::{Optimizer, Sgd, SgdOptions};
use signet::{Arena, Device, Error, GradcheckOptions, Result, Tensor, gradcheck, layers, no_grad};
use std::collections::BTreeMap;

on_every_device! {
    a_tensor_used_twice_gets_both_gradients,
    a_shared_parameter_gets_both_gradients,
    leaves_and_parameters_share_a_pass,
    what_the_result_does_not_depend_on_has_no_gradient,
    no_grad_records_nothing,
    no_grad_ends_with_what_it_runs,
    a_network_under_no_grad_records_nothing,
    backward_needs_a_scalar,
    backward_needs_a_leaf,
    backward_runs_once,
    losses_that_share_a_trunk_are_added,
    leaves_of_any_kind_meet,
    one_tensor_as_two_parameters_of_a_kernel_is_refused,
    the_upstream_gradient_has_the_shape_of_the_result,
    a_closures_gradient_has_the_size_of_the_input,
    parameters_alone_are_recorded,
    a_product_of_parameters_is_recorded,
    an_embedding_of_parameters_is_recorded,
    gradients_of_leaves_accumulate_until_zero_grad,
    a_leaf_is_its_own_result,
    a_result_that_needs_a_gradient_stays_so,
    a_value_that_is_needed_may_not_change,
    a_value_that_is_not_needed_may_change,
    an_optimizers_step_between_forward_and_backward_is_an_error,
    what_changed_is_named,
    frozen_parameters_are_constants,
    a_frozen_stem_can_be_thawed,
    freezing_after_the_forward_pass_spares_the_gradient,
}

fn tensor(device: &Device, values: &[f64]) -> Tensor<f64> {
    Tensor::from_slice(device, values, [values.len()]).unwrap()
}

fn leaf(device: &Device, values: &[f64]) -> Tensor<f64> {
    tensor(device, values).requires_grad(true).unwrap()
}

fn grad(of: &Tensor<f64>) -> Option<Vec<f64>> {
    of.grad().unwrap().map(|gradient| values(&gradient))
}

type Function = fn(&Tensor<f64>) -> Result<Tensor<f64>>;

#[track_caller]
fn assert_autograd_error<R>(result: Result<R>, part: &str) {
    match result.map(|_| "a result") {
        Err(Error::Autograd(message)) => assert!(message.contains(part), "{message}"),
        other => panic!("expected an autograd error, got {other:?}"),
    }
}

fn a_tensor_used_twice_gets_both_gradients(on: TestDevice) {
    let device = on.open();
    let gradient = |function: Function| {
        let x = leaf(&device, &[2.0, -3.0]);
        function(&x).unwrap().sum().unwrap().backward().unwrap();
        grad(&x).unwrap()
    };
    assert_eq!(gradient(|x| x.mul(x)), [4.0, -6.0]);
    assert_eq!(gradient(|x| x.add(x)), [2.0, 2.0]);
    assert_eq!(gradient(|x| x.mul(x)?.mul(x)), [12.0, 27.0]);
    // The first use passes its gradient on as it is, the second must add to it, not to `y`'s.
    assert_eq!(gradient(|x| x.add(&x.reshape([2])?)?.add(&x.relu()?)), [3.0, 2.0]);
    // Used first by what comes last: a walk that is not in the order of the ops takes h too early.
    let early = |x: &Tensor<f64>| {
        let h = x.mul(x)?;
        let late = h.mul(x)?.mul(x)?;
        h.add(&late)
    };
    assert_eq!(gradient(early), [2.0 * 2.0 + 4.0 * 8.0, -6.0 - 4.0 * 27.0]);

    let square = Fill::Normal(1.0).draw(&[5, 5], 1, 0).on(&device);
    let twice = |x: &[Tensor<f64>]| x[0].matmul(&x[0])?.add(&x[0])?.mul(&x[0]);
    gradcheck(twice, &[square], &GradcheckOptions::default()).unwrap();
}

/// A weight that two layers share, once as a leaf of its own and once as a parameter.
fn a_shared_parameter_gets_both_gradients(on: TestDevice) {
    let device = on.open();
    let [x, w] = [0, 1].map(|i| Fill::Normal(1.0).draw(&[4, 4], 3, i).on(&device));
    let net = |x: &Tensor<f64>, w: &Tensor<f64>| linear(&linear(x, w, None)?, w, None);
    let function = |inputs: &[Tensor<f64>]| net(&inputs[0], &inputs[1]);
    gradcheck(function, &[x.clone(), w.clone()], &GradcheckOptions::default()).unwrap();

    let alone = w.detach().requires_grad(true).unwrap();
    net(&x, &alone).unwrap().sum().unwrap().backward().unwrap();
    let arena = Arena::new(&device).unwrap();
    let parameter = arena.parameter(&w.to_vec().unwrap(), [4, 4]).unwrap();
    net(&x, &parameter).unwrap().sum().unwrap().backward().unwrap();
    let expected = alone.grad().unwrap().unwrap();
    assert_eq!(bits(&parameter.grad().unwrap().unwrap()), bits(&expected));
}

fn leaves_and_parameters_share_a_pass(on: TestDevice) {
    let device = on.open();
    let arenas = [0, 1].map(|_| Arena::new(&device).unwrap());
    let [a, b] = [0, 1].map(|i| arenas[i].parameter(&[2.0, 3.0], [2]).unwrap());
    let x = leaf(&device, &[5.0, 7.0]);
    // x a b, the parameters of two arenas.
    let y = x.mul(&a).unwrap().mul(&b).unwrap().sum().unwrap();
    y.backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [4.0, 9.0]);
    assert_eq!(grad(&a).unwrap(), [10.0, 21.0]);
    assert_eq!(grad(&b).unwrap(), [10.0, 21.0]);
}

fn what_the_result_does_not_depend_on_has_no_gradient(on: TestDevice) {
    let device = on.open();
    let arena = Arena::new(&device).unwrap();
    let [used, unused] = [0, 1].map(|_| arena.parameter(&[1.0, 1.0], [2]).unwrap());
    let [x, side] = [0, 1].map(|_| leaf(&device, &[1.0, 2.0]));
    let input = tensor(&device, &[1.0, 2.0]);
    side.mul(&unused).unwrap();
    let y = x.mul(&used).unwrap().add(&input).unwrap();
    y.sum().unwrap().backward().unwrap();
    assert!(grad(&x).is_some() && grad(&used).is_some());
    assert!(grad(&side).is_none() && grad(&input).is_none());
    assert!(grad(&unused).is_none() && grad(&y).is_none());
}

fn no_grad_records_nothing(on: TestDevice) {
    let device = on.open();
    let x = leaf(&device, &[2.0, 3.0]);
    let constant = no_grad(|| x.mul(&x)).unwrap();
    assert_autograd_error(constant.sum().unwrap().backward(), "nothing was recorded");
    // Outside it goes on, and takes what was computed inside for a constant.
    let y = x.mul(&constant).unwrap().sum().unwrap();
    y.backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [4.0, 9.0]);
}

fn no_grad_ends_with_what_it_runs(on: TestDevice) {
    let x = leaf(&on.open(), &[2.0]);
    let records = || x.mul(&x).unwrap().needs_grad();
    no_grad(|| {
        no_grad(|| assert!(!records()));
        assert!(!records(), "the outer one goes on");
    });
    assert!(records());
    let panics = || no_grad(|| panic!("on purpose"));
    std::panic::catch_unwind(panics).unwrap_err();
    assert!(records());
}

fn a_network_under_no_grad_records_nothing(on: TestDevice) {
    let device = on.open();
    let model = Sequential::<f64>::new(&device, 1, layers![Linear::new(2, 1)]).unwrap();
    let x = Tensor::from_slice(&device, &[1.0, 2.0], [1, 2]).unwrap();
    let y = no_grad(|| model.forward(&x)).unwrap();
    assert_autograd_error(y.backward(), "nothing was recorded");
    assert_eq!(bits(&y), bits(&model.forward(&x).unwrap()), "the same result either way");
}

fn backward_needs_a_scalar(on: TestDevice) {
    let x = leaf(&on.open(), &[2.0, 3.0]);
    let y = x.mul(&x).unwrap();
    assert_autograd_error(y.backward(), "scalar");
    // The refusal did not use the graph up.
    y.sum().unwrap().backward().unwrap();
}

fn backward_needs_a_leaf(on: TestDevice) {
    let x = tensor(&on.open(), &[2.0]);
    assert_autograd_error(x.backward(), "nothing was recorded");
    assert_autograd_error(x.mul(&x).unwrap().backward(), "requires_grad(true)");
}

fn backward_runs_once(on: TestDevice) {
    let x = leaf(&on.open(), &[2.0]);
    let y = x.mul(&x).unwrap();
    y.backward().unwrap();
    assert_autograd_error(y.backward(), "already ran");
    assert_autograd_error(y.mul(&x).unwrap().backward(), "run the forward pass again");
    assert_eq!(grad(&x).unwrap(), [4.0], "a refusal changes nothing");
    // A leaf is no part of what was freed.
    x.mul(&x).unwrap().backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [8.0]);
}

fn losses_that_share_a_trunk_are_added(on: TestDevice) {
    let x = leaf(&on.open(), &[2.0]);
    let trunk = x.mul(&x).unwrap();
    let [one, two] = [0, 1].map(|_| trunk.mul(&x).unwrap());
    one.backward().unwrap();
    assert_autograd_error(two.backward(), "add losses that share it");
    let trunk = x.mul(&x).unwrap();
    let [one, two] = [0, 1].map(|_| trunk.mul(&x).unwrap());
    x.zero_grad();
    one.add(&two).unwrap().backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [24.0]);
}

/// There is one graph, whatever it grew from.
fn leaves_of_any_kind_meet(on: TestDevice) {
    let device = on.open();
    let [x, y] = [2.0, 3.0].map(|value| leaf(&device, &[value]));
    x.mul(&y).unwrap().backward().unwrap();
    assert_eq!((grad(&x).unwrap(), grad(&y).unwrap()), (vec![3.0], vec![2.0]));
    x.mul(&y.detach()).unwrap().backward().unwrap();
    assert_eq!((grad(&x).unwrap(), grad(&y).unwrap()), (vec![6.0], vec![2.0]));
}

/// One kernel writes both gradients of batch norm, and they cannot be one memory.
fn one_tensor_as_two_parameters_of_a_kernel_is_refused(on: TestDevice) {
    let device = on.open();
    let x: Tensor<f64> = Fill::Normal(1.0).draw(&[3, 2, 2, 2], 1, 0).on(&device);
    let w = leaf(&device, &[2.0, 3.0]);
    let statistics = Statistics::Batch { running: None };
    let y = batch_norm2d(&x, Some(&w), Some(&w), statistics, 1e-5).unwrap();
    assert_autograd_error(y.sum().unwrap().backward(), "two parameters");
}

fn the_upstream_gradient_has_the_shape_of_the_result(on: TestDevice) {
    let device = on.open();
    let x = leaf(&device, &[2.0, 3.0]);
    let error = x.relu().unwrap().backward_with(&tensor(&device, &[1.0])).err();
    assert!(matches!(error, Some(Error::Shape { op: "backward", .. })), "{error:?}");
}

/// An L2 penalty, whose gradient is 2 w: with that of x w, 2 + 6.
/// Of a leaf, a parameter and an intermediate result.
fn a_closures_gradient_has_the_size_of_the_input(on: TestDevice) {
    let device = on.open();
    let parameter = Arena::new(&device).unwrap().parameter(&[1.0, 2.0], [2]).unwrap();
    let product = parameter.mul(&parameter).unwrap();
    for input in [leaf(&device, &[1.0, 2.0]), parameter.clone(), product] {
        let backward = |gradient: Tensor<f64>| {
            let output = tensor(&device, &[3.0]);
            let output = output.with_grad_fn([Some(&input)], move |[input], _, gradients| {
                gradients.pass(input, gradient)
            });
            output.backward()
        };
        for wrong in [&[5.0][..], &[5.0, 6.0, 7.0]] {
            match backward(tensor(&device, wrong)) {
                Err(Error::Shape { message, .. }) => {
                    let expected =
                        format!("a gradient [{}] for an input of 2 elements", wrong.len());
                    assert_eq!(message, expected);
                }
                other => panic!("{wrong:?}: {other:?}"),
            }
        }
        backward(tensor(&device, &[5.0, 6.0])).unwrap();
    }
}

fn parameters_alone_are_recorded(on: TestDevice) {
    let device = on.open();
    let w = Arena::new(&device).unwrap().parameter(&[3.0], [1]).unwrap();
    let loss = tensor(&device, &[2.0]).mul(&w).unwrap().sum().unwrap();
    let penalty = w.mul(&w).unwrap().sum().unwrap();
    loss.add(&penalty).unwrap().backward().unwrap();
    assert_eq!(grad(&w).unwrap(), [8.0]);
    w.zero_grad();
    w.mul(&w).unwrap().sum().unwrap().backward().unwrap();
    assert_eq!(grad(&w).unwrap(), [6.0]);
}

/// Weight normalisation, factors of low rank.
fn a_product_of_parameters_is_recorded(on: TestDevice) {
    let device = on.open();
    let arena = Arena::new(&device).unwrap();
    let [w, s, b] = [3.0, 5.0, 0.0].map(|value| arena.parameter(&[value], [1]).unwrap());
    let scaled = w.mul(&s).unwrap();
    let y = tensor(&device, &[2.0]).mul(&scaled).unwrap().add(&b).unwrap();
    y.sum().unwrap().backward().unwrap();
    assert_eq!([&w, &s, &b].map(|p| grad(p).unwrap()[0]), [10.0, 6.0, 1.0]);
}

/// Rows of a table of parameters, picked by one-hot rows.
fn an_embedding_of_parameters_is_recorded(on: TestDevice) {
    let device = on.open();
    let arena = Arena::new(&device).unwrap();
    let table = arena.parameter(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2]).unwrap();
    let one_hot = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    let ids = Tensor::from_slice(&device, &one_hot, [3, 3]).unwrap();
    ids.matmul(&table).unwrap().sum().unwrap().backward().unwrap();
    assert_eq!(grad(&table).unwrap(), [1.0, 1.0, 0.0, 0.0, 2.0, 2.0]);
}

fn gradients_of_leaves_accumulate_until_zero_grad(on: TestDevice) {
    let device = on.open();
    let x = leaf(&device, &[3.0]);
    let before = x.clone();
    for (factor, expected) in [(2.0, 2.0), (5.0, 7.0)] {
        tensor(&device, &[factor]).mul(&x).unwrap().backward().unwrap();
        assert_eq!(grad(&x).unwrap(), [expected]);
        assert_eq!(grad(&before).unwrap(), [expected], "a clone is the same leaf");
    }
    assert!(grad(&x.detach()).is_none(), "a detached one is another");
    x.zero_grad();
    assert!(grad(&x).is_none());
    tensor(&device, &[4.0]).mul(&x).unwrap().backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [4.0]);
}

fn a_leaf_is_its_own_result(on: TestDevice) {
    let device = on.open();
    let x = leaf(&device, &[3.0]);
    x.backward().unwrap();
    x.backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [2.0]);
    let w = Arena::new(&device).unwrap().parameter(&[3.0, 4.0], [2]).unwrap();
    w.backward_with(&tensor(&device, &[5.0, 6.0])).unwrap();
    assert_eq!(grad(&w).unwrap(), [5.0, 6.0]);
}

fn a_result_that_needs_a_gradient_stays_so(on: TestDevice) {
    let x = leaf(&on.open(), &[3.0]);
    let y = x.mul(&x).unwrap();
    assert_autograd_error(y.requires_grad(false), "detach");
    y.requires_grad(true).unwrap().backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [6.0]);
    // What is a constant no more is recorded, its clones too.
    let (constant, other) = (x.detach(), x.detach());
    let clone = constant.clone();
    constant.requires_grad(true).unwrap();
    clone.mul(&other).unwrap().backward().unwrap();
    assert_eq!(grad(&constant).unwrap(), [3.0]);
    constant.requires_grad(false).unwrap();
    assert!(!clone.mul(&other).unwrap().needs_grad());
}

/// Both factors of a product, the output of a rectifier.
fn a_value_that_is_needed_may_not_change(on: TestDevice) {
    let device = on.open();
    let arena = Arena::new(&device).unwrap();
    let [u, w] = [1.0, 3.0].map(|value| arena.parameter(&[value], [1]).unwrap());
    let y = tensor(&device, &[2.0]).mul(&u).unwrap().mul(&w).unwrap().sum().unwrap();
    w.set(&[100.0]).unwrap();
    assert_autograd_error(y.backward(), "mul needs its second operand (parameter 1, [1])");
    // A view of the memory, another name for the same, is no way around.
    let y = u.mul(&w).unwrap();
    w.detach().reshape([1, 1]).unwrap().set(&[100.0]).unwrap();
    assert_autograd_error(y.backward(), "changed since");
    let y = u.relu().unwrap();
    y.set(&[-1.0]).unwrap();
    assert_autograd_error(y.backward(), "relu needs its output ([1])");
    // Set before the forward pass, it is what is meant.
    u.zero_grad();
    u.mul(&w).unwrap().backward().unwrap();
    assert_eq!(grad(&u).unwrap(), [100.0]);
}

/// As in PyTorch, which saves nothing of a sum, and of a product with a constant only that.
fn a_value_that_is_not_needed_may_change(on: TestDevice) {
    let device = on.open();
    let arena = Arena::new(&device).unwrap();
    let [u, w] = [1.0, 3.0].map(|value| arena.parameter(&[value], [1]).unwrap());
    let sum = u.add(&w).unwrap();
    let product = tensor(&device, &[2.0]).mul(&w).unwrap();
    let layer = linear(&Tensor::zeros(&device, [1, 1]).unwrap(), &w.reshape([1, 1]).unwrap(), None);
    [&u, &w].iter().for_each(|p| p.set(&[7.0]).unwrap());
    sum.add(&product)
        .unwrap()
        .add(&layer.unwrap().reshape([1]).unwrap())
        .unwrap()
        .backward()
        .unwrap();
    assert_eq!((grad(&u).unwrap(), grad(&w).unwrap()), (vec![1.0], vec![3.0]));
}

/// Two losses, a step between their backward passes, as in training a GAN.
fn an_optimizers_step_between_forward_and_backward_is_an_error(on: TestDevice) {
    let device = on.open();
    let layers = || layers![Linear::new(1, 1).bias(false), Linear::new(1, 1).bias(false)];
    let model = Sequential::<f64>::new(&device, 0, layers()).unwrap();
    model.parameters().iter().for_each(|p| p.set(&[2.0]).unwrap());
    let mut optimizer = Sgd::new(model.arena(), SgdOptions::new(1.0)).unwrap();
    let x = Tensor::from_slice(&device, &[1.0], [1, 1]).unwrap();
    let [one, two] = [0, 1].map(|_| model.forward(&x).unwrap().sum().unwrap());
    one.backward().unwrap();
    optimizer.step().unwrap();
    optimizer.zero_grad();
    assert_autograd_error(two.backward(), "linear needs its weight (1.weight, [1, 1])");
    // The other model's step is no change of this one.
    let other = Sequential::<f64>::new(&device, 0, layers()).unwrap();
    let mut others = Sgd::new(other.arena(), SgdOptions::new(1.0)).unwrap();
    let [one, two] = [&model, &other].map(|model| model.forward(&x).unwrap().sum().unwrap());
    two.backward().unwrap();
    others.step().unwrap();
    one.backward().unwrap();
}

fn what_changed_is_named(on: TestDevice) {
    let device = on.open();
    let layers = layers![Linear::new(2, 2), ReLU, Linear::new(2, 2)];
    let model = Sequential::<f64>::new(&device, 0, layers).unwrap();
    let dict = model.state_dict().unwrap();
    let x = Tensor::from_slice(&device, &[1.0, -1.0], [1, 2]).unwrap();
    x.requires_grad(true).unwrap();
    for (fuse, part) in [
        (true, "linear_relu needs its weight (0.weight, [2, 2])"),
        (false, "linear needs its weight (2.weight, [2, 2])"),
    ] {
        model.fuse(fuse);
        let y = model.forward(&x).unwrap().sum().unwrap();
        if fuse {
            // Only the layer that it reaches last.
            model.parameters()[0].set(&[1.0; 4]).unwrap();
        } else {
            model.load_state_dict(&dict).unwrap();
        }
        assert_autograd_error(y.backward(), part);
    }
    let named = tensor(&device, &[1.0]);
    named.set_name("alpha");
    let y = named.mul(&leaf(&device, &[2.0])).unwrap();
    named.set(&[3.0]).unwrap();
    assert_autograd_error(y.backward(), "first operand (alpha, [1])");
}

fn frozen_parameters_are_constants(on: TestDevice) {
    let device = on.open();
    let layers = layers![Linear::new(2, 2), Linear::new(2, 2)];
    let model = Sequential::<f64>::new(&device, 0, layers).unwrap();
    let x = Tensor::from_slice(&device, &[1.0, 2.0], [1, 2]).unwrap();
    model.requires_grad(false).unwrap();
    assert!(!model.forward(&x).unwrap().needs_grad());
    assert_autograd_error(model.forward(&x).unwrap().sum().unwrap().backward(), "frozen");
    let bias = &model.parameters()[3];
    bias.requires_grad(true).unwrap();
    model.forward(&x).unwrap().sum().unwrap().backward().unwrap();
    let with_gradient: Vec<_> = model.parameters().iter().map(|p| grad(p).is_some()).collect();
    assert_eq!(with_gradient, [false, false, false, true]);
}

fn a_frozen_stem_can_be_thawed(on: TestDevice) {
    let device = on.open();
    let layers = layers![Linear::new(2, 2), Linear::new(2, 1)];
    let model = Sequential::<f64>::new(&device, 0, layers).unwrap();
    let mut sgd = Sgd::new(model.arena(), SgdOptions::new(0.1)).unwrap();
    let x = Tensor::from_slice(&device, &[1.0, 2.0], [1, 2]).unwrap();
    let stem = &model.parameters()[..2];
    let mut moved = Vec::new();
    for frozen in [false, true, false] {
        stem.iter().for_each(|p| drop(p.requires_grad(!frozen).unwrap()));
        let before: Vec<_> = model.parameters().iter().map(values).collect();
        sgd.zero_grad();
        model.forward(&x).unwrap().sum().unwrap().backward().unwrap();
        sgd.step().unwrap();
        let after = model.parameters();
        moved.push([0, 1, 2, 3].map(|i| values(&after[i]) != before[i]));
    }
    assert_eq!(moved, [[true; 4], [false, false, true, true], [true; 4]]);
}

/// PyTorch asks when it has the gradient, not when the op ran.
fn freezing_after_the_forward_pass_spares_the_gradient(on: TestDevice) {
    let device = on.open();
    let [x, y] = [2.0, 3.0].map(|value| leaf(&device, &[value]));
    let z = x.mul(&y).unwrap();
    x.requires_grad(false).unwrap();
    z.backward().unwrap();
    assert_eq!((grad(&x), grad(&y)), (None, Some(vec![2.0])));
}

/// Gradients that nobody needs are not computed: the kernels that ran tell.
#[test]
fn unneeded_gradients_are_not_computed() {
    let kernels = |of_input: bool, frozen: usize| -> BTreeMap<&str, u64> {
        let device = TestDevice::Cpu.open();
        let layers = layers![
            Conv2d::new(1, 3, 3),
            Conv2d::new(3, 2, 3),
            Flatten,
            Linear::new(8, 3),
            Linear::new(3, 2)
        ];
        let model = Sequential::<f64>::new(&device, 1, layers).unwrap();
        for parameter in &model.parameters()[..frozen] {
            parameter.requires_grad(false).unwrap();
        }
        let pixels: Tensor<f64> = Fill::Normal(1.0).draw(&[2, 1, 6, 6], 1, 0).on(&device);
        pixels.requires_grad(of_input).unwrap();
        let output = model.forward(&pixels).unwrap().sum().unwrap();
        device.start_profile();
        output.backward().unwrap();
        device.profile().unwrap().iter().map(|kernel| (kernel.name, kernel.calls)).collect()
    };
    let usual = kernels(false, 0);
    assert_eq!(usual["conv2d_backward_input"], 1, "of the second convolution alone: {usual:?}");
    assert_eq!(usual["conv2d_backward_weight"], 2, "{usual:?}");
    assert_eq!(usual["matmul"], 4, "two linear layers, by input and by weight: {usual:?}");
    assert_eq!(kernels(true, 0)["conv2d_backward_input"], 2);
    // Both convolutions frozen: nothing of them, and the first linear layer's weight alone.
    let stem = kernels(false, 4);
    assert_eq!(stem.keys().filter(|name| name.starts_with("conv")).count(), 0, "{stem:?}");
    assert_eq!(stem["matmul"], 3, "{stem:?}");
    // But through frozen layers the gradient goes on to who wants it.
    let through = kernels(true, 8);
    assert_eq!(through["conv2d_backward_input"], 2, "{through:?}");
    assert!(!through.contains_key("conv2d_backward_weight"), "{through:?}");
    assert_eq!(through["matmul"], 2, "{through:?}");
}

/// A constant weight costs nothing either.
#[test]
fn a_constant_weight_has_no_gradient_kernel() {
    let device = TestDevice::Cpu.open();
    let [x, w] = [0, 1].map(|i| Fill::Normal(1.0).draw(&[3, 3], 1, i).on::<f64>(&device));
    let x = x.requires_grad(true).unwrap();
    let y = linear(&x, &w, None).unwrap().sum().unwrap();
    device.start_profile();
    y.backward().unwrap();
    let calls = device.profile().unwrap().iter().find(|k| k.name == "matmul").map(|k| k.calls);
    assert_eq!(calls, Some(1));
}

/// What is recorded is owned by what was computed: when that is gone, so is all it kept.
#[test]
fn forgetting_no_grad_leaks_nothing() {
    let device = TestDevice::Cpu.open();
    let layers = layers![Linear::new(64, 64), ReLU, Linear::new(64, 64)];
    let model = Sequential::<f32>::new(&device, 1, layers).unwrap();
    let x: Tensor = Tensor::zeros(&device, [16, 64]).unwrap();
    let run = || drop(model.forward(&x).unwrap());
    run();
    let made = device.as_cpu().unwrap().allocations();
    (0..5).for_each(|_| run());
    assert_eq!(
        device.as_cpu().unwrap().allocations(),
        made,
        "each pass uses the memory of the one before"
    );
    let kept: Vec<_> = (0..5).map(|_| model.forward(&x).unwrap()).collect();
    assert!(
        device.as_cpu().unwrap().allocations() > made,
        "what was recorded lives with its result"
    );
    let most = device.as_cpu().unwrap().allocations();
    drop(kept);
    (0..5).map(|_| model.forward(&x).unwrap()).for_each(drop);
    assert_eq!(device.as_cpu().unwrap().allocations(), most);
    // A backward pass frees what it has used, though its result, one number, lives on.
    let step = || {
        let y = model.forward(&x).unwrap().sum().unwrap();
        y.backward().unwrap();
        y
    };
    drop(step());
    let before = device.as_cpu().unwrap().allocations();
    let results: Vec<_> = (0..20).map(|_| step()).collect();
    assert!(device.as_cpu().unwrap().allocations() - before <= results.len());
}

/// One node after the other, not each from within the last: a stack would not hold that.
#[test]
fn a_long_chain_is_walked_and_dropped() {
    let device = TestDevice::Cpu.open();
    let x = leaf(&device, &[1.0]);
    let chain = || {
        let mut y = x.add(&x).unwrap();
        // No kernel runs for these, forward or backward.
        (0..100_000).for_each(|_| y = y.reshape([1]).unwrap());
        y
    };
    drop(chain());
    chain().backward().unwrap();
    assert_eq!(grad(&x).unwrap(), [2.0]);
}
