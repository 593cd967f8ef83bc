//! Optimizers beyond their arithmetic, which `fixtures.rs` checks: what they leave alone, resuming,
//! and what they refuse.

use crate::common;
use crate::on_every_device;

use common::device::TestDevice;
use common::host::{Fill, values};
use signet::ops::end_step::end_step;
use signet::optim::{
    Adagrad, AdagradOptions, Adam, AdamOptions, Ema, Optimizer, OptimizerState, PlateauOptions,
    ReduceLROnPlateau, Rmsprop, RmspropOptions, Schedule, Sgd, SgdOptions, Threshold,
    clip_grad_norm_, clip_grad_value_,
};
use signet::{Arena, Device, Error, Result, Tensor};

on_every_device! {
    a_resumed_optimizer_goes_on_with_the_same_bits,
    the_state_of_another_optimizer_changes_nothing,
    a_parameter_without_a_gradient_stays_as_it_is,
    a_parameter_whose_gradient_comes_late_starts_then,
    groups_have_options_of_their_own,
    parameters_freeze_and_thaw_in_the_middle,
    a_parameter_that_is_added_later_joins,
    groups_are_of_parameters_of_the_arena,
    groups_are_resumed,
    the_state_of_other_groups_changes_nothing,
    one_number_of_steps_stands_for_all,
    dampening_spares_the_first_step,
    the_learning_rate_can_be_set,
    moments_below_the_smallest_normal_number_are_zero,
    not_a_number_is_not_hidden,
    a_growing_arena_keeps_values_and_gradients,
    hyper_parameters_outside_their_range_are_errors,
    steps_are_counted_once_whatever_has_a_gradient,
    a_step_that_ends_moves_the_clock_on,
    an_average_follows_the_parameters,
    a_state_from_before_an_option_was_there_is_taken,
    gradients_in_several_runs_have_one_norm,
}

/// Makes an optimizer of an arena.
type Make = fn(&Arena) -> Box<dyn Optimizer>;

fn all_optimizers() -> [Make; 8] {
    [
        |arena| Box::new(Adam::new(arena, AdamOptions::adam(0.01)).unwrap()),
        |arena| {
            let options = AdamOptions { amsgrad: true, ..AdamOptions::adamw(0.01) };
            Box::new(Adam::new(arena, options).unwrap())
        },
        |arena| Box::new(Sgd::new(arena, SgdOptions::new(0.1)).unwrap()),
        |arena| {
            let options = SgdOptions { momentum: 0.9, dampening: 0.5, ..SgdOptions::new(0.1) };
            Box::new(Sgd::new(arena, options).unwrap())
        },
        |arena| Box::new(Rmsprop::new(arena, RmspropOptions::new(0.01)).unwrap()),
        |arena| {
            let options =
                RmspropOptions { momentum: 0.9, centered: true, ..RmspropOptions::new(0.01) };
            Box::new(Rmsprop::new(arena, options).unwrap())
        },
        |arena| {
            let options = RmspropOptions { momentum: 0.9, ..RmspropOptions::new(0.01) };
            Box::new(Rmsprop::new(arena, options).unwrap())
        },
        |arena| {
            let options = AdagradOptions {
                lr_decay: 0.1,
                initial_accumulator_value: 0.5,
                ..AdagradOptions::new(0.1)
            };
            Box::new(Adagrad::new(arena, options).unwrap())
        },
    ]
}

fn parameter(device: &Device) -> (Arena, Tensor) {
    let arena = Arena::new(device).unwrap();
    let start: Tensor = Fill::Normal(1.0).draw(&[37], 1, 0).on(device);
    let parameter = arena.parameter(&start.to_vec().unwrap(), [37]).unwrap();
    (arena, parameter)
}

/// Adds `gradient` to the gradient of `parameter`.
fn give(parameter: &Tensor, gradient: &Tensor) {
    let product = gradient.mul(parameter).unwrap();
    product.sum().unwrap().backward().unwrap();
}

/// Steps `from..to` with a gradient that depends on the step.
fn steps(optimizer: &mut dyn Optimizer, parameter: &Tensor, range: std::ops::Range<u64>) {
    for step in range {
        let gradient = Fill::Normal(1.0).draw(parameter.dims(), step, 1);
        optimizer.zero_grad();
        give(parameter, &gradient.on(parameter.device()));
        optimizer.step().unwrap();
    }
}

fn a_resumed_optimizer_goes_on_with_the_same_bits(on: TestDevice) {
    let device = on.open();
    for make in all_optimizers() {
        let (arena, whole) = parameter(&device);
        steps(&mut *make(&arena), &whole, 0..8);

        let (arena, first) = parameter(&device);
        let mut optimizer = make(&arena);
        steps(&mut *optimizer, &first, 0..5);
        let state = optimizer.state().unwrap();
        let (arena, second) = parameter(&device);
        second.set(&first.to_vec().unwrap()).unwrap();
        let mut optimizer = make(&arena);
        optimizer.load_state(&state).unwrap();
        assert_eq!(optimizer.state().unwrap(), state);
        steps(&mut *optimizer, &second, 5..8);
        assert_eq!(second.to_vec().unwrap(), whole.to_vec().unwrap());
        // Without the moments it would not: they matter to what is compared here.
        let has_moments = !state.moments.is_empty();
        let (arena, third) = parameter(&device);
        third.set(&first.to_vec().unwrap()).unwrap();
        steps(&mut *make(&arena), &third, 5..8);
        assert_eq!(third.to_vec().unwrap() != whole.to_vec().unwrap(), has_moments);
    }
}

fn the_state_of_another_optimizer_changes_nothing(on: TestDevice) {
    let device = on.open();
    let makes = all_optimizers();
    for (i, make) in makes.iter().enumerate() {
        for (j, other) in makes.iter().enumerate().filter(|(j, _)| *j != i) {
            let [(arena, ours), (others, theirs)] = [0, 1].map(|_| parameter(&device));
            let (mut optimizer, mut other) = (make(&arena), other(&others));
            steps(&mut *optimizer, &ours, 0..2);
            steps(&mut *other, &theirs, 0..3);
            let before = optimizer.state().unwrap();
            let refused = optimizer.load_state(&other.state().unwrap());
            assert_argument_error(refused, "optimizer");
            assert_eq!(optimizer.state().unwrap(), before, "{i} and {j}");
        }
    }
}

/// Adam would move it by its moments, weight decay would shrink it.
fn a_parameter_without_a_gradient_stays_as_it_is(on: TestDevice) {
    let device = on.open();
    for make in all_optimizers() {
        let arena = Arena::new(&device).unwrap();
        let parameters = [5usize, 40, 3].map(|n| arena.parameter(&vec![1.5f32; n], [n]).unwrap());
        let mut optimizer = make(&arena);
        optimizer.step().unwrap();
        assert!(parameters.iter().all(|p| values(p).iter().all(|&x| x == 1.5)), "no gradient");
        for p in [&parameters[0], &parameters[2]] {
            give(p, &Tensor::from_slice(&device, &vec![1.0; p.numel()], p.dims()).unwrap());
        }
        optimizer.step().unwrap();
        assert!(values(&parameters[1]).iter().all(|&x| x == 1.5));
        for p in [&parameters[0], &parameters[2]] {
            assert!(values(p).iter().all(|&x| x < 1.5), "{:?}", values(p));
        }
    }
}

/// A gap in the arena makes two updates of a step; without any gradient there is none. Each parameter
/// counts its own.
fn steps_are_counted_once_whatever_has_a_gradient(on: TestDevice) {
    let device = on.open();
    for make in all_optimizers() {
        let arena = Arena::new(&device).unwrap();
        let parameters = [5usize, 0, 3].map(|n| arena.parameter(&vec![1.5f32; n], [n]).unwrap());
        let mut optimizer = make(&arena);
        for (given, expected) in [
            (&[0, 1, 2][..], [1, 1, 1]),
            (&[0, 2], [2, 1, 2]),
            (&[], [2, 1, 2]),
            (&[1], [2, 2, 2]),
            (&[1, 2], [2, 3, 3]),
        ] {
            optimizer.zero_grad();
            for p in given.iter().map(|&i| &parameters[i]) {
                give(p, &Tensor::from_slice(&device, &vec![1.0; p.numel()], p.dims()).unwrap());
            }
            optimizer.step().unwrap();
            assert_eq!(optimizer.state().unwrap().steps, expected, "gradients of {given:?}");
        }
    }
}

/// A scalar parameter for each of `values`.
fn scalars(device: &Device, values: &[f32]) -> (Arena, Vec<Tensor>) {
    let arena = Arena::new(device).unwrap();
    let parameter = |&value| arena.parameter(&[value], []).unwrap();
    let parameters = values.iter().map(parameter).collect();
    (arena, parameters)
}

/// A step with these gradients; `None`: the parameter takes no part.
fn step(optimizer: &mut dyn Optimizer, parameters: &[Tensor], gradients: &[Option<f32>]) {
    optimizer.zero_grad();
    for (parameter, gradient) in parameters.iter().zip(gradients) {
        let Some(gradient) = *gradient else { continue };
        give(parameter, &Tensor::from_slice(parameter.device(), &[gradient], []).unwrap());
    }
    optimizer.step().unwrap();
}

#[track_caller]
fn assert_values(what: &str, parameters: &[Tensor], expected: &[f64]) {
    let found: Vec<f64> = parameters.iter().flat_map(values).collect();
    let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-6);
    assert!(near && found.len() == expected.len(), "{what}: {found:?}, expected {expected:?}");
}

/// PyTorch's values: its steps, and whether there is a velocity, are each parameter's own.
fn a_parameter_whose_gradient_comes_late_starts_then(on: TestDevice) {
    type Case = (&'static str, Make, fn(u64) -> bool, u64, [f64; 2]);
    let cases: [Case; 5] = [
        (
            "Adam",
            |arena| Box::new(Adam::new(arena, AdamOptions::adam(0.1)).unwrap()),
            |step| step >= 5,
            6,
            [0.4, 0.9],
        ),
        (
            "amsgrad",
            |arena| {
                let options = AdamOptions { amsgrad: true, ..AdamOptions::adam(0.1) };
                Box::new(Adam::new(arena, options).unwrap())
            },
            |step| step >= 5,
            6,
            [0.4, 0.9],
        ),
        (
            "AdamW",
            |arena| {
                let options = AdamOptions { weight_decay: 0.1, ..AdamOptions::adamw(0.1) };
                Box::new(Adam::new(arena, options).unwrap())
            },
            |step| step % 2 == 0,
            6,
            [0.3562816, 0.6732890],
        ),
        (
            "SGD with dampening",
            |arena| {
                let options = SgdOptions { momentum: 0.9, dampening: 0.5, ..SgdOptions::new(0.1) };
                Box::new(Sgd::new(arena, options).unwrap())
            },
            |step| step >= 1,
            3,
            [0.584, 0.76],
        ),
        (
            "SGD with nesterov",
            |arena| {
                let options = SgdOptions { momentum: 0.9, nesterov: true, ..SgdOptions::new(0.1) };
                Box::new(Sgd::new(arena, options).unwrap())
            },
            |step| step >= 1,
            3,
            [0.1951, 0.539],
        ),
    ];
    let device = on.open();
    for (name, make, has_gradient, steps, expected) in cases {
        let (arena, parameters) = scalars(&device, &[1.0, 1.0]);
        let mut optimizer = make(&arena);
        for i in 0..steps {
            let second = has_gradient(i).then_some(1.0);
            step(&mut *optimizer, &parameters, &[Some(1.0), second]);
        }
        assert_values(name, &parameters, &expected);
    }
}

/// Of three parameters in five steps.
const GRADIENTS: [[f32; 3]; 5] =
    [[1.0, -2.0, 3.0], [-0.5, 1.0, 2.0], [0.25, 4.0, -1.0], [2.0, 0.5, 0.5], [1.0, 1.0, -3.0]];
const START: [f32; 3] = [1.0, -2.0, 0.5];

/// All three options that differ, and a learning rate that changes; PyTorch's values.
fn groups_have_options_of_their_own(on: TestDevice) {
    let device = on.open();
    let run = |parameters: &[Tensor], optimizer: &mut dyn Optimizer| {
        for (i, gradients) in GRADIENTS.iter().enumerate() {
            if i == 3 {
                optimizer.set_group_lr(1, 0.05).unwrap();
            }
            step(optimizer, parameters, &gradients.map(Some));
        }
    };
    let (arena, parameters) = scalars(&device, &START);
    let mut adam = Adam::new(&arena, AdamOptions::adam(0.01)).unwrap();
    let second = AdamOptions { betas: (0.8, 0.99), weight_decay: 0.1, ..AdamOptions::adamw(0.1) };
    adam.add_param_group(&parameters[1..2], second).unwrap();
    let third =
        AdamOptions { eps: 1e-3, weight_decay: 0.2, amsgrad: true, ..AdamOptions::adam(0.05) };
    adam.add_param_group(&parameters[2..], third).unwrap();
    run(&parameters, &mut adam);
    assert_values("Adam", &parameters, &[0.9703465, -1.9073728, 0.3427700]);
    let groups = Optimizer::<f32>::param_groups(&adam);
    let params: Vec<_> = groups.iter().map(|group| group.params.clone()).collect();
    assert_eq!(params, [[0], [1], [2]]);
    assert_eq!(groups[1].options[0], ("lr".to_owned(), 0.05));

    let (arena, parameters) = scalars(&device, &START);
    let mut sgd = Sgd::new(&arena, SgdOptions::new(0.01)).unwrap();
    let second =
        SgdOptions { momentum: 0.9, dampening: 0.25, weight_decay: 0.01, ..SgdOptions::new(0.1) };
    sgd.add_param_group(&parameters[1..2], second).unwrap();
    let third =
        SgdOptions { momentum: 0.5, weight_decay: 0.1, nesterov: true, ..SgdOptions::new(0.05) };
    sgd.add_param_group(&parameters[2..], third).unwrap();
    run(&parameters, &mut sgd);
    assert_values("SGD", &parameters, &[0.9625, -2.1344741, 0.2761836]);
}

/// The first is frozen in step 0, the second in steps 1 and 2; PyTorch's values.
fn parameters_freeze_and_thaw_in_the_middle(on: TestDevice) {
    let device = on.open();
    let decay =
        SgdOptions { momentum: 0.9, dampening: 0.5, weight_decay: 0.01, ..SgdOptions::new(0.1) };
    for (is_adam, expected) in
        [(true, [1.0041017, -1.8483098, 0.1945095]), (false, [0.8916848, -1.5475517, -0.8357899])]
    {
        let (arena, parameters) = scalars(&device, &START);
        let mut optimizer: Box<dyn Optimizer> = if is_adam {
            Box::new(Adam::new(&arena, AdamOptions::adam(0.1)).unwrap())
        } else {
            Box::new(Sgd::new(&arena, decay).unwrap())
        };
        for (i, gradients) in GRADIENTS.iter().enumerate() {
            parameters[0].requires_grad(i != 0).unwrap();
            parameters[1].requires_grad(![1, 2].contains(&i)).unwrap();
            optimizer.zero_grad();
            let term = |(parameter, gradient): (&Tensor, &f32)| {
                Tensor::from_slice(&device, &[*gradient], []).unwrap().mul(parameter).unwrap()
            };
            let terms = parameters.iter().zip(gradients).map(term);
            terms.reduce(|a, b| a.add(&b).unwrap()).unwrap().backward().unwrap();
            optimizer.step().unwrap();
        }
        assert_values(if is_adam { "Adam" } else { "SGD" }, &parameters, &expected);
    }
}

/// It begins with its own first step, and the moments of the others stay.
fn a_parameter_that_is_added_later_joins(on: TestDevice) {
    let device = on.open();
    for make in all_optimizers() {
        let (arena, mut parameters) = scalars(&device, &[1.0]);
        let mut optimizer = make(&arena);
        let (alone_arena, alone) = scalars(&device, &[1.0]);
        let mut alone_optimizer = make(&alone_arena);
        for i in 0..6 {
            if i == 2 {
                // Large enough that the arena moves.
                let late = arena.parameter(&[1.0; 2000], [2000]).unwrap();
                parameters.push(late);
            }
            optimizer.zero_grad();
            alone_optimizer.zero_grad();
            for p in parameters.iter().chain(&alone) {
                give(p, &Tensor::from_slice(&device, &vec![1.0; p.numel()], p.dims()).unwrap());
            }
            optimizer.step().unwrap();
            alone_optimizer.step().unwrap();
        }
        assert_eq!(values(&parameters[0]), values(&alone[0]));
        assert_eq!(optimizer.state().unwrap().steps, [6, 4]);
        let (arena, parameters_of_four) = scalars(&device, &[1.0]);
        let mut optimizer = make(&arena);
        (0..4).for_each(|_| step(&mut *optimizer, &parameters_of_four, &[Some(1.0)]));
        assert_eq!(values(&parameters[1]), [values(&parameters_of_four[0])[0]; 2000]);
    }
}

fn groups_are_of_parameters_of_the_arena(on: TestDevice) {
    let device = on.open();
    let (arena, parameters) = scalars(&device, &START);
    let (_, others) = scalars(&device, &START);
    let options = AdamOptions::adam(0.1);
    let mut adam = Adam::new(&arena, options).unwrap();
    adam.add_param_group(&parameters[..1], options).unwrap();
    let constant = Tensor::from_slice(&device, &[1.0], [1]).unwrap();
    let product = parameters[1].mul(&parameters[2]).unwrap();
    for (wrong, part) in [
        (&others[..1], "parameter 0 is no parameter of this optimizer's arena"),
        (&[constant][..], "a tensor [1] is no parameter"),
        (&[product], "a tensor [] is no parameter"),
        (&parameters[..1], "parameter 0 is in two groups"),
        (&[parameters[1].clone(), parameters[1].clone()], "parameter 1 is in two groups"),
    ] {
        let before = Optimizer::<f32>::param_groups(&adam);
        let text = adam.add_param_group(wrong, options).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
        assert_eq!(Optimizer::<f32>::param_groups(&adam), before);
    }
    let wrong = AdamOptions { eps: -1.0, ..options };
    assert_argument_error(adam.add_param_group(&parameters[1..], wrong), "eps");
    assert_argument_error(Optimizer::<f32>::set_group_lr(&mut adam, 2, 0.1), "group");
    assert_argument_error(Optimizer::<f32>::set_group_lr(&mut adam, 1, -0.1), "lr");
}

/// Steps of each parameter and options of each group go on with the same bits.
fn groups_are_resumed(on: TestDevice) {
    let device = on.open();
    let make = |lr| {
        let (arena, parameters) = scalars(&device, &START);
        let mut adam = Adam::new(&arena, AdamOptions::adam(lr)).unwrap();
        let options = AdamOptions { amsgrad: true, ..AdamOptions::adamw(10.0 * lr) };
        adam.add_param_group(&parameters[1..], options).unwrap();
        (parameters, adam)
    };
    let run = |(parameters, adam): &mut (Vec<_>, Adam), steps: std::ops::Range<usize>| {
        for i in steps {
            let [a, b, c] = GRADIENTS[i];
            step(adam, parameters, &[(i % 2 == 1).then_some(a), Some(b), (i != 2).then_some(c)]);
        }
    };
    let mut whole = make(0.01);
    run(&mut whole, 0..5);
    let mut first = make(0.01);
    run(&mut first, 0..3);
    // Another learning rate, until it has the state's.
    let mut second = make(0.5);
    for (to, from) in second.0.iter().zip(&first.0) {
        to.set(&from.to_vec().unwrap()).unwrap();
    }
    let state = Optimizer::<f32>::state(&first.1).unwrap();
    assert_eq!(state.steps, [1, 3, 2]);
    second.1.load_state(&state).unwrap();
    assert_eq!(Optimizer::<f32>::state(&second.1).unwrap(), state);
    run(&mut second, 3..5);
    for (second, whole) in second.0.iter().zip(&whole.0) {
        assert_eq!(second.to_vec().unwrap(), whole.to_vec().unwrap());
    }
}

fn the_state_of_other_groups_changes_nothing(on: TestDevice) {
    let device = on.open();
    let (arena, parameters) = scalars(&device, &START);
    let options = AdamOptions::adam(0.1);
    let mut one = Adam::new(&arena, options).unwrap();
    step(&mut one, &parameters, &GRADIENTS[0].map(Some));
    let state = Optimizer::<f32>::state(&one).unwrap();
    let mut two = Adam::new(&arena, options).unwrap();
    two.add_param_group(&parameters[1..], options).unwrap();
    let before = Optimizer::<f32>::state(&two).unwrap();
    assert_argument_error(two.load_state(&state), "optimizer");
    let mut fewer = state.clone();
    fewer.steps.pop();
    assert_argument_error(one.load_state(&fewer), "optimizer");
    let mut renamed = state.clone();
    renamed.param_groups[0].options[1].0 = "momentum".into();
    assert_argument_error(one.load_state(&renamed), "optimizer");
    let mut negative = state.clone();
    negative.param_groups[0].options[0].1 = -1.0;
    assert_argument_error(one.load_state(&negative), "lr");
    assert_eq!(Optimizer::<f32>::state(&two).unwrap(), before);
    assert_eq!(Optimizer::<f32>::state(&one).unwrap(), state);
}

/// As in files of older versions, which say nothing of groups either.
fn one_number_of_steps_stands_for_all(on: TestDevice) {
    let device = on.open();
    let (arena, parameters) = scalars(&device, &START);
    let mut adam = Adam::new(&arena, AdamOptions::adam(0.1)).unwrap();
    step(&mut adam, &parameters, &GRADIENTS[0].map(Some));
    step(&mut adam, &parameters, &GRADIENTS[1].map(Some));
    let state = Optimizer::<f32>::state(&adam).unwrap();
    let old = OptimizerState { steps: vec![2], param_groups: vec![], ..state.clone() };
    let mut other = Adam::new(&arena, AdamOptions::adam(0.1)).unwrap();
    other.load_state(&old).unwrap();
    assert_eq!(Optimizer::<f32>::state(&other).unwrap(), state);
}

/// Groups and steps lie in tables: parameters that all have a gradient are updated together.
#[test]
fn one_update_suffices_for_all_groups() {
    let device = TestDevice::Cpu.open();
    let (arena, parameters) = scalars(&device, &START);
    let mut adam = Adam::new(&arena, AdamOptions::adam(0.1)).unwrap();
    adam.add_param_group(&parameters[1..2], AdamOptions::adamw(0.2)).unwrap();
    device.start_profile();
    let mut updates = |gradients: [Option<f32>; 3]| {
        step(&mut adam, &parameters, &gradients);
        let profile = device.profile().unwrap();
        profile.iter().find(|kernel| kernel.name == "adam").map_or(0, |kernel| kernel.calls)
    };
    // So far, in all.
    assert_eq!(updates([Some(1.0); 3]), 1);
    assert_eq!(updates([Some(1.0), None, Some(1.0)]), 3);
    assert_eq!(updates([None; 3]), 3);
}

fn a_step_that_ends_moves_the_clock_on(on: TestDevice) {
    let device = on.open();
    let losses = Tensor::from_slice(&device, &[-1.0f32; 6], [6]).unwrap();
    let clock = Tensor::from_slice(&device, &[40_u64, 1], [2]).unwrap();
    for (loss, correct) in [(0.5f32, 7), (0.25, 9), (9.0, 9)] {
        let loss = Tensor::from_slice(&device, &[loss], [1]).unwrap();
        let correct = Tensor::from_slice(&device, &[correct], [1]).unwrap();
        end_step(&loss, &correct, &losses, &clock).unwrap();
    }
    // The third step is beyond what there is room for.
    assert_eq!(losses.to_vec().unwrap(), [-1.0, -1.0, 0.5, 7.0, 0.25, 9.0]);
    assert_eq!(clock.to_vec().unwrap(), [43, 4]);
    let correct = Tensor::from_slice(&device, &[1, 2], [2]).unwrap();
    let refused = end_step(&losses, &correct, &losses, &clock);
    assert!(matches!(refused, Err(Error::Shape { op: "end_step", .. })), "{refused:?}");
}

/// The velocity starts as the gradient itself; PyTorch's fixtures have no dampening.
fn dampening_spares_the_first_step(on: TestDevice) {
    let (arena, parameter) = parameter(&on.open());
    let options = SgdOptions { momentum: 0.5, dampening: 0.25, ..SgdOptions::new(1.0) };
    let mut sgd = Sgd::new(&arena, options).unwrap();
    parameter.set(&[0.0; 37]).unwrap();
    let one = Tensor::from_slice(parameter.device(), &[1.0; 37], [37]).unwrap();
    // Velocities 1, 0.5 * 1 + 0.75 = 1.25, 0.5 * 1.25 + 0.75 = 1.375.
    for expected in [-1.0, -2.25, -3.625] {
        sgd.zero_grad();
        give(&parameter, &one);
        sgd.step().unwrap();
        assert_eq!(values(&parameter), [expected; 37]);
    }
}

fn the_learning_rate_can_be_set(on: TestDevice) {
    let device = on.open();
    for make in all_optimizers() {
        let (arena, parameter) = parameter(&device);
        let mut optimizer = make(&arena);
        let before = parameter.to_vec().unwrap();
        optimizer.set_lr(0.0).unwrap();
        steps(&mut *optimizer, &parameter, 0..2);
        assert_eq!(parameter.to_vec().unwrap(), before);
        optimizer.set_lr(0.1).unwrap();
        steps(&mut *optimizer, &parameter, 2..3);
        assert_ne!(parameter.to_vec().unwrap(), before);
    }
}

/// Subnormal numbers cost a CPU a hundred cycles each, and a GPU build may flush them anyway.
fn moments_below_the_smallest_normal_number_are_zero(on: TestDevice) {
    let device = on.open();
    let (arena, parameter) = parameter(&device);
    let mut adam = Adam::new(&arena, AdamOptions::adam(0.01)).unwrap();
    // 0.001 * g^2 is subnormal for the first and normal for the second.
    let mut gradient = vec![0.0f32; 37];
    (gradient[0], gradient[1], gradient[2]) = (1e-19, 1e-16, 1e-38);
    give(&parameter, &Tensor::from_slice(&device, &gradient, [37]).unwrap());
    adam.step().unwrap();
    let state = adam.state().unwrap();
    let [(_, m), (_, v)] = &state.moments[..] else { panic!("two moments") };
    assert_eq!((v[0], m[2]), (0.0, 0.0));
    assert!(m[0] != 0.0 && v[1] != 0.0, "{} {}", m[0], v[1]);
}

fn not_a_number_is_not_hidden(on: TestDevice) {
    let device = on.open();
    for make in all_optimizers() {
        let (arena, parameter) = parameter(&device);
        let mut optimizer = make(&arena);
        let mut gradient = vec![0.5f32; 37];
        gradient[7] = f32::NAN;
        for _ in 0..2 {
            optimizer.zero_grad();
            give(&parameter, &Tensor::from_slice(&device, &gradient, [37]).unwrap());
            optimizer.step().unwrap();
        }
        let nan: Vec<bool> = values(&parameter).iter().map(|x| x.is_nan()).collect();
        let only_the_seventh: Vec<bool> = (0..37).map(|i| i == 7).collect();
        assert_eq!(nan, only_the_seventh);
    }
}

/// Parameters that are added later move the others to other memory.
fn a_growing_arena_keeps_values_and_gradients(on: TestDevice) {
    let device = on.open();
    let arena = Arena::new(&device).unwrap();
    let mut parameters = Vec::new();
    for n in 1..40usize {
        let value = |i| (100 * n + i) as f32;
        let host: Vec<f32> = (0..n).map(value).collect();
        let parameter = arena.parameter(&host, [n]).unwrap();
        give(&parameter, &Tensor::from_slice(&device, &host, [n]).unwrap());
        parameters.push((parameter, host));
    }
    for (parameter, host) in &parameters {
        assert_eq!(&parameter.to_vec().unwrap(), host);
        assert_eq!(&parameter.grad().unwrap().unwrap().to_vec().unwrap(), host);
    }
    assert!(arena.parameter(&[1.0, 2.0], [3]).is_err());
}

/// Checkpoints of before `maximize`.
fn a_state_from_before_an_option_was_there_is_taken(on: TestDevice) {
    let device = on.open();
    let (arena, parameter) = parameter(&device);
    let mut adam = Adam::new(&arena, AdamOptions::adam(0.01)).unwrap();
    steps(&mut adam, &parameter, 0..2);
    let state: OptimizerState<f32> = adam.state().unwrap();
    let mut older = state.clone();
    assert_eq!(older.param_groups[0].options.pop(), Some(("maximize".to_owned(), 0.0)));
    adam.load_state(&older).unwrap();
    assert_eq!(adam.state().unwrap(), state);
}

/// Parameters without a gradient between others: what was left in their place does not count, and is
/// left alone.
fn gradients_in_several_runs_have_one_norm(on: TestDevice) {
    let device = on.open();
    let arena = Arena::<f32>::new(&device).unwrap();
    assert_eq!(clip_grad_norm_(&arena, 1.0, 2.0).unwrap().item().unwrap(), 0.0);
    clip_grad_value_(&arena, 1.0).unwrap();
    let parameters =
        [3usize, 5000, 0, 20_000].map(|n| arena.parameter(&vec![1.0; n], [n]).unwrap());
    let give_all = |value: f32, which: &[usize]| {
        for p in which.iter().map(|&i| &parameters[i]) {
            let gradient = vec![value; p.numel()];
            give(p, &Tensor::from_slice(&device, &gradient, p.dims()).unwrap());
        }
    };
    give_all(100.0, &[0, 1, 2, 3]);
    arena.zero_grad();
    give_all(0.5, &[0, 2, 3]);
    for (p, expected) in
        [(2.0, 0.5 * f64::from(20_003).sqrt()), (1.0, 0.5 * 20_003.0), (f64::INFINITY, 0.5)]
    {
        let norm = clip_grad_norm_(&arena, 1e9, p).unwrap().item().unwrap();
        assert!((f64::from(norm) - expected).abs() < 1e-6 * expected, "{p}: {norm}, {expected}");
    }
    let norm = clip_grad_norm_(&arena, 0.25, f64::INFINITY).unwrap().item().unwrap();
    assert_eq!(norm, 0.5);
    for i in [0, 3] {
        let gradient = parameters[i].grad().unwrap().unwrap().to_vec().unwrap();
        assert!(gradient.iter().all(|g| (g - 0.25).abs() < 1e-5), "{i}: {:?}", &gradient[..3]);
    }
    assert!(parameters[1].grad().unwrap().is_none());
    clip_grad_value_(&arena, 0.125).unwrap();
    assert_eq!(parameters[0].grad().unwrap().unwrap().to_vec().unwrap(), [0.125; 3]);
    for wrong in [-1.0, f64::NAN] {
        assert_argument_error(clip_grad_norm_(&arena, wrong, 2.0), "max_norm");
        assert_argument_error(clip_grad_norm_(&arena, 1.0, wrong), "norm_type");
        assert_argument_error(clip_grad_value_(&arena, wrong), "clip_value");
    }
}

#[track_caller]
fn assert_argument_error<R>(result: Result<R>, argument: &str) {
    match result.map(|_| "a result") {
        Err(Error::Argument { name, .. }) => assert_eq!(name, argument),
        other => panic!("expected an error of {argument}, got {other:?}"),
    }
}

fn hyper_parameters_outside_their_range_are_errors(on: TestDevice) {
    let (arena, _) = parameter(&on.open());
    let adam = AdamOptions::adam(1e-3);
    let wrong = [
        ("lr", AdamOptions { lr: -1.0, ..adam }),
        ("lr", AdamOptions { lr: f64::NAN, ..adam }),
        ("eps", AdamOptions { eps: -1e-8, ..adam }),
        ("eps", AdamOptions { eps: f64::NAN, ..adam }),
        ("betas", AdamOptions { betas: (0.9, f64::NAN), ..adam }),
        ("betas", AdamOptions { betas: (1.0, 0.999), ..adam }),
        ("betas", AdamOptions { betas: (0.9, -0.1), ..adam }),
        ("weight_decay", AdamOptions { weight_decay: f64::INFINITY, ..adam }),
    ];
    for (name, options) in wrong {
        assert_argument_error(Adam::new(&arena, options), name);
    }
    let sgd = SgdOptions::new(0.1);
    let wrong = [
        ("lr", SgdOptions { lr: -1.0, ..sgd }),
        ("momentum", SgdOptions { momentum: -0.1, ..sgd }),
        ("weight_decay", SgdOptions { weight_decay: -0.1, ..sgd }),
        ("dampening", SgdOptions { momentum: 0.9, dampening: f64::NAN, ..sgd }),
        ("dampening", SgdOptions { dampening: f64::INFINITY, ..sgd }),
        ("nesterov", SgdOptions { nesterov: true, ..sgd }),
        ("nesterov", SgdOptions { nesterov: true, momentum: 0.9, dampening: 0.1, ..sgd }),
    ];
    for (name, options) in wrong {
        assert_argument_error(Sgd::new(&arena, options), name);
    }
    let rmsprop = RmspropOptions::new(0.01);
    let wrong = [
        ("lr", RmspropOptions { lr: -1.0, ..rmsprop }),
        ("alpha", RmspropOptions { alpha: -0.1, ..rmsprop }),
        ("eps", RmspropOptions { eps: f64::NAN, ..rmsprop }),
        ("weight_decay", RmspropOptions { weight_decay: -0.1, ..rmsprop }),
        ("momentum", RmspropOptions { momentum: f64::INFINITY, ..rmsprop }),
    ];
    for (name, options) in wrong {
        assert_argument_error(Rmsprop::new(&arena, options), name);
    }
    let adagrad = AdagradOptions::new(0.01);
    let wrong = [
        ("lr", AdagradOptions { lr: -1.0, ..adagrad }),
        ("lr_decay", AdagradOptions { lr_decay: -0.1, ..adagrad }),
        ("weight_decay", AdagradOptions { weight_decay: f64::NAN, ..adagrad }),
        (
            "initial_accumulator_value",
            AdagradOptions { initial_accumulator_value: -1.0, ..adagrad },
        ),
        ("eps", AdagradOptions { eps: -1.0, ..adagrad }),
    ];
    for (name, options) in wrong {
        assert_argument_error(Adagrad::new(&arena, options), name);
    }
    let plateau = PlateauOptions::default();
    let wrong = [
        ("factor", PlateauOptions { factor: 1.0, ..plateau }),
        ("min_lr", PlateauOptions { min_lr: -1.0, ..plateau }),
        ("eps", PlateauOptions { eps: f64::NAN, ..plateau }),
        ("threshold", PlateauOptions { threshold: Threshold::Abs(f64::NAN), ..plateau }),
    ];
    for (name, options) in wrong {
        assert_argument_error(ReduceLROnPlateau::new(options), name);
    }
    for (name, schedule) in [
        ("total_steps", Schedule::one_cycle(0)),
        ("pct_start", one_cycle(1.5, 25.0, 1e4)),
        ("div_factor", one_cycle(0.3, 0.0, 1e4)),
        ("final_div_factor", one_cycle(0.3, 25.0, f64::NAN)),
    ] {
        assert_argument_error(schedule.check(), name);
    }
    // The whole way up, and the end of one that is over.
    assert_eq!(one_cycle(1.0, 25.0, 1e4).lr(0.1, 9), 0.1);
    assert_eq!(Schedule::one_cycle(10).lr(0.1, 99), Schedule::one_cycle(10).lr(0.1, 9));
    let mut optimizer = Adam::new(&arena, adam).unwrap();
    for lr in [f64::NAN, f64::INFINITY, -1e-3] {
        assert_argument_error(Optimizer::<f32>::set_lr(&mut optimizer, lr), "lr");
    }
    // PyTorch takes these.
    Optimizer::<f32>::set_lr(&mut optimizer, 0.0).unwrap();
    Adam::new(&arena, AdamOptions { eps: 0.0, ..adam }).unwrap();
    Sgd::new(&arena, SgdOptions { momentum: 0.9, dampening: -0.5, ..sgd }).unwrap();
    let cosine = |start_factor, eta_min| {
        Schedule::Cosine { warmup: 1, start_factor, epochs: 3, eta_min }.check()
    };
    for start_factor in [0.0, -0.5, 1.5, f64::NAN] {
        assert_argument_error(cosine(start_factor, 0.0), "start_factor");
    }
    for eta_min in [-1e-9, f64::NAN, f64::INFINITY] {
        assert_argument_error(cosine(0.5, eta_min), "eta_min");
    }
    cosine(1.0, 0.0).unwrap();
    assert_argument_error(Schedule::Step { step_size: 0, gamma: 0.5 }.check(), "step_size");
    assert_argument_error(Schedule::Step { step_size: 1, gamma: f64::NAN }.check(), "gamma");
}

/// PyTorch's `AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75))`, worked out by hand; its first
/// update copies, which is where this one starts.
fn an_average_follows_the_parameters(on: TestDevice) {
    let device = on.open();
    let arena = Arena::<f64>::new(&device).unwrap();
    let (a, b) = (arena.parameter(&[1.0, 2.0], [2]), arena.parameter(&[-4.0], [1]));
    let (a, b) = (a.unwrap(), b.unwrap());
    let mut ema = Ema::new(&arena, 0.75).unwrap();
    a.set(&[5.0, 2.0]).unwrap();
    ema.update().unwrap();
    a.set(&[6.0, 10.0]).unwrap();
    b.set(&[4.0]).unwrap();
    ema.update().unwrap();
    let later = arena.parameter(&[7.0], [1]).unwrap();
    let all = || [&a, &b, &later].map(|x| x.to_vec().unwrap()).concat();
    ema.swap().unwrap();
    assert_eq!(all(), [3.0, 4.0, -2.0, 7.0]);
    ema.swap().unwrap();
    assert_eq!(all(), [6.0, 10.0, 4.0, 7.0]);
    // A backward pass that needs the values as they were says so.
    let square = a.mul(&a).unwrap().sum().unwrap();
    ema.swap().unwrap();
    assert!(matches!(square.backward(), Err(Error::Autograd(_))));
    assert!(matches!(Ema::new(&arena, 1.5), Err(Error::Argument { .. })));
}

fn one_cycle(pct_start: f64, div_factor: f64, final_div_factor: f64) -> Schedule {
    let Schedule::OneCycle { anneal_strategy, three_phase, .. } = Schedule::one_cycle(10) else {
        unreachable!("it is one")
    };
    Schedule::OneCycle {
        total_steps: 10,
        pct_start,
        anneal_strategy,
        div_factor,
        final_div_factor,
        three_phase,
    }
}
