//! Optimizers beyond their arithmetic, which `fixtures.rs` checks: what they leave alone, resuming,
//! and what they refuse.

use crate::common;
use crate::on_every_device;

use common::device::TestDevice;
use common::host::{Fill, values};
use signet::ops::record::record;
use signet::optim::{Adam, AdamOptions, Optimizer, Schedule, Sgd, SgdOptions};
use signet::{Arena, Device, Error, Result, Tape, Tensor};

on_every_device! {
    a_resumed_optimizer_goes_on_with_the_same_bits,
    the_state_of_another_optimizer_changes_nothing,
    a_parameter_without_a_gradient_stays_as_it_is,
    dampening_spares_the_first_step,
    the_learning_rate_can_be_set,
    moments_below_the_smallest_normal_number_are_zero,
    not_a_number_is_not_hidden,
    a_growing_arena_keeps_values_and_gradients,
    hyper_parameters_outside_their_range_are_errors,
    steps_are_counted_once_whatever_has_a_gradient,
    a_recorded_step_moves_the_clock_on,
}

/// Makes an optimizer of an arena.
type Make<D> = fn(&Arena<D, f32>) -> Box<dyn Optimizer<D, f32>>;

fn all_optimizers<D: TestDevice>() -> [Make<D>; 4] {
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
    ]
}

fn parameter<D: Device<f32>>(device: &D) -> (Arena<D, f32>, Tensor<D, f32>) {
    let arena = Arena::new(device).unwrap();
    let start: Tensor<D, f32> = Fill::Normal(1.0).draw(&[37], 1, 0).on(device);
    let parameter = arena.parameter(&start.to_vec().unwrap(), [37]).unwrap();
    (arena, parameter)
}

/// Adds `gradient` to the gradient of `parameter`.
fn give<D: Device<f32>>(parameter: &Tensor<D, f32>, gradient: &Tensor<D, f32>) {
    let product = Tape::new().input(gradient).mul(parameter).unwrap();
    product.sum().unwrap().backward().unwrap();
}

/// Steps `from..to` with a gradient that depends on the step.
fn steps<D: Device<f32>>(
    optimizer: &mut dyn Optimizer<D, f32>,
    parameter: &Tensor<D, f32>,
    range: std::ops::Range<u64>,
) {
    for step in range {
        let gradient = Fill::Normal(1.0).draw(parameter.dims(), step, 1);
        optimizer.zero_grad();
        give(parameter, &gradient.on(parameter.device()));
        optimizer.step().unwrap();
    }
}

fn a_resumed_optimizer_goes_on_with_the_same_bits<D: TestDevice>() {
    let device = D::open();
    for make in all_optimizers::<D>() {
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

fn the_state_of_another_optimizer_changes_nothing<D: TestDevice>() {
    let device = D::open();
    let makes = all_optimizers::<D>();
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
fn a_parameter_without_a_gradient_stays_as_it_is<D: TestDevice>() {
    let device = D::open();
    for make in all_optimizers::<D>() {
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

/// A gap in the arena makes two updates of a step; without any gradient there is none.
fn steps_are_counted_once_whatever_has_a_gradient<D: TestDevice>() {
    let device = D::open();
    for make in all_optimizers::<D>() {
        let arena = Arena::new(&device).unwrap();
        let parameters = [5usize, 40, 3].map(|n| arena.parameter(&vec![1.5f32; n], [n]).unwrap());
        let mut optimizer = make(&arena);
        for (given, expected) in [(&[0, 1, 2][..], 1), (&[0, 2], 2), (&[], 2), (&[1], 3)] {
            optimizer.zero_grad();
            for p in given.iter().map(|&i| &parameters[i]) {
                give(p, &Tensor::from_slice(&device, &vec![1.0; p.numel()], p.dims()).unwrap());
            }
            optimizer.step().unwrap();
            assert_eq!(optimizer.state().unwrap().step, expected, "gradients of {given:?}");
        }
    }
}

fn a_recorded_step_moves_the_clock_on<D: TestDevice>() {
    let device = D::open();
    let records = Tensor::from_slice(&device, &[-1.0f32; 6], [6]).unwrap();
    let clock = Tensor::from_slice(&device, &[40_u64, 1], [2]).unwrap();
    for (loss, correct) in [(0.5f32, 7), (0.25, 9), (9.0, 9)] {
        let loss = Tensor::from_slice(&device, &[loss], [1]).unwrap();
        let correct = Tensor::from_slice(&device, &[correct], [1]).unwrap();
        record(&loss, &correct, &records, &clock).unwrap();
    }
    // The third step is beyond what there is room for.
    assert_eq!(records.to_vec().unwrap(), [-1.0, -1.0, 0.5, 7.0, 0.25, 9.0]);
    assert_eq!(clock.to_vec().unwrap(), [43, 4]);
    let correct = Tensor::from_slice(&device, &[1, 2], [2]).unwrap();
    let refused = record(&records, &correct, &records, &clock);
    assert!(matches!(refused, Err(Error::Shape { op: "record", .. })), "{refused:?}");
}

/// The velocity starts as the gradient itself; PyTorch's fixtures have no dampening.
fn dampening_spares_the_first_step<D: TestDevice>() {
    let (arena, parameter) = parameter(&D::open());
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

fn the_learning_rate_can_be_set<D: TestDevice>() {
    let device = D::open();
    for make in all_optimizers::<D>() {
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
fn moments_below_the_smallest_normal_number_are_zero<D: TestDevice>() {
    let device = D::open();
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

fn not_a_number_is_not_hidden<D: TestDevice>() {
    let device = D::open();
    for make in all_optimizers::<D>() {
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
fn a_growing_arena_keeps_values_and_gradients<D: TestDevice>() {
    let device = D::open();
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

#[track_caller]
fn assert_argument_error<R>(result: Result<R>, argument: &str) {
    match result.map(|_| "a result") {
        Err(Error::Argument { name, .. }) => assert_eq!(name, argument),
        other => panic!("expected an error of {argument}, got {other:?}"),
    }
}

fn hyper_parameters_outside_their_range_are_errors<D: TestDevice>() {
    let (arena, _) = parameter(&D::open());
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
    let mut optimizer = Adam::new(&arena, adam).unwrap();
    for lr in [f64::NAN, f64::INFINITY, -1e-3] {
        assert_argument_error(Optimizer::<D, f32>::set_lr(&mut optimizer, lr), "lr");
    }
    // PyTorch takes these.
    Optimizer::<D, f32>::set_lr(&mut optimizer, 0.0).unwrap();
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
