//! What holds for the backward pass of every op, whatever its numbers.

use crate::common;
use crate::on_every_device;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::host::{bits, values};
use common::registry::cases::sample;
use common::registry::pass::{Pass, upstream};
use signet::dtype::Float;
use signet::{Arena, Cpu, Device, Tensor};

on_every_device! {
    single_precision_agrees_with_double_on_the_cpu,
    backward_twice_gives_the_same_bits,
    one_gradient_alone_has_the_same_bits,
    gradients_accumulate_until_zero_grad,
    a_gradient_is_added_to_what_is_there,
}

/// Outputs and gradients in f32 on this device against f64 on the CPU.
fn single_precision_agrees_with_double_on_the_cpu(on: TestDevice) {
    let (device, cpu) = (on.open(), TestDevice::Cpu.open());
    for case in sample() {
        let single = Pass::of_case::<f32>(&case, &device);
        let double = Pass::of_case::<f64>(&case, &cpu);
        let tolerance = Tolerance::of::<f32>();
        assert_close(case.name(), &single.output, &double.output, tolerance);
        for (i, (single, double)) in single.gradients.iter().zip(&double.gradients).enumerate() {
            let (single, double) = (single.as_ref().unwrap(), double.as_ref().unwrap());
            // Batch norm's gradient is what is left of terms of this size.
            let tolerance = tolerance.plus(1e-5);
            assert_close(format!("{} by input {i}", case.name()), single, double, tolerance);
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    fn check<T: Float>() {
        let devices = [1, 2, 3].map(|threads| Device::from(Cpu::new(Some(threads)).unwrap()));
        for case in sample() {
            let [one, two, three] = devices.each_ref().map(|d| Pass::of_case::<T>(&case, d).bits());
            assert!(one == two && two == three, "{} in {}", case.name(), T::NAME);
        }
    }
    check::<f32>();
    check::<f64>();
}

fn backward_twice_gives_the_same_bits(on: TestDevice) {
    let device = on.open();
    for case in sample() {
        let pass = || Pass::of_case::<f32>(&case, &device).bits();
        assert_eq!(pass(), pass(), "{}", case.name());
    }
}

/// Leaving out a gradient that nobody needs changes no other.
fn one_gradient_alone_has_the_same_bits(on: TestDevice) {
    let device = on.open();
    for case in sample().into_iter().filter(|case| case.inputs.len() > 1) {
        let inputs: Vec<Tensor<f64>> = case.draw(&device, 2);
        let all = Pass::new(&case, &inputs, |_| true);
        for i in 0..inputs.len() {
            let mut expected = all.clone();
            expected
                .gradients
                .iter_mut()
                .enumerate()
                .filter(|(j, _)| *j != i)
                .for_each(|(_, g)| *g = None);
            let alone = Pass::new(&case, &inputs, |watched| watched == i);
            assert_eq!(alone.bits(), expected.bits(), "{} by input {i}", case.name());
        }
    }
}

/// As in PyTorch: a second backward pass adds, one after `zero_grad` overwrites.
fn gradients_accumulate_until_zero_grad(on: TestDevice) {
    let device = on.open();
    for case in sample() {
        let arena = Arena::new(&device).unwrap();
        let drawn: Vec<Tensor<f64>> = case.draw(&device, 2);
        let parameters: Vec<_> = drawn
            .iter()
            .map(|x| arena.parameter(&x.to_vec().unwrap(), x.dims()).unwrap())
            .collect();
        let backward = || {
            let output = case.op.run(&parameters).unwrap();
            output.backward_with(&upstream(&output)).unwrap();
            parameters
                .iter()
                .map(|parameter| parameter.grad().unwrap().expect("backward ran"))
                .collect::<Vec<_>>()
        };
        let (once, twice) = (backward(), backward());
        arena.zero_grad();
        assert!(parameters.iter().all(|p| p.grad().unwrap().is_none()), "{}", case.name());
        let again = backward();
        for (i, once) in once.iter().enumerate() {
            let double: Vec<f64> = values(once).iter().map(|g| 2.0 * g).collect();
            let what = format!("{} by input {i}, twice", case.name());
            assert_close(what, &values(&twice[i]), &double, Tolerance::scale(1e-14));
            assert_eq!(bits(&again[i]), bits(once), "{} by input {i}", case.name());
        }
    }
}

/// An op adds to the gradient of an input that another use of it wrote before.
fn a_gradient_is_added_to_what_is_there(on: TestDevice) {
    let device = on.open();
    for case in sample() {
        let inputs: Vec<Tensor<f64>> = case.draw(&device, 2);
        let alone = Pass::new(&case, &inputs, |_| true);
        let leaf = |input: &Tensor<f64>| input.detach().requires_grad(true).unwrap();
        let inputs: Vec<_> = inputs.iter().map(leaf).collect();
        let output = case.op.run(&inputs).unwrap();
        let mut total = output.mul(&upstream(&output)).unwrap().sum().unwrap();
        // Used after the op, and so before it on the way back.
        let factors: Vec<_> = inputs.iter().map(upstream).collect();
        for (input, factor) in inputs.iter().zip(&factors) {
            total = total.add(&input.mul(factor).unwrap().sum().unwrap()).unwrap();
        }
        total.backward().unwrap();
        for (i, input) in inputs.iter().enumerate() {
            let own = alone.gradients[i].as_ref().unwrap();
            let sum: Vec<f64> = own.iter().zip(values(&factors[i])).map(|(a, b)| a + b).collect();
            let gradient = values(&input.grad().unwrap().unwrap());
            let what = format!("{} by input {i}, added", case.name());
            assert_close(what, &gradient, &sum, Tolerance::of::<f64>());
        }
    }
}
