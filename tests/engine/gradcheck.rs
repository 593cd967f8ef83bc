//! Every op's gradient against finite differences, in f64 and under a random upstream gradient.

use crate::common;
use crate::on_every_device;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::host::{Fill, values};
use common::registry::cases::{grid, sample};
use common::registry::pass::Pass;
use common::registry::{Case, WITHOUT_GRADIENT};
use signet::{Device, GradcheckOptions, Result, Tensor, gradcheck};
use std::collections::BTreeSet;

on_every_device! {
    gradients_agree_with_differences,
    a_wrong_gradient_is_found,
}

/// The inputs are of the order of 1 and clear of kinks by more than this.
const OPTIONS: GradcheckOptions = GradcheckOptions { eps: 1e-5, rtol: 1e-6, atol: 1e-8, seed: 5 };

#[test]
fn every_op_has_a_gradient_check() {
    let ops = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ops");
    let entries = std::fs::read_dir(ops).expect("the ops are there").map(|entry| entry.unwrap());
    let folders: BTreeSet<String> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("a name in UTF-8"))
        .collect();
    let checked = sample().into_iter().map(|case| case.op.folder());
    let without = WITHOUT_GRADIENT.map(|(folder, _)| folder);
    let known: BTreeSet<String> = checked.chain(without).map(String::from).collect();
    assert_eq!(folders, known, "left: src/ops; right: tests/common/registry");
}

#[test]
fn what_has_no_gradient_has_its_own_test() {
    for (op, place) in WITHOUT_GRADIENT {
        let (file, test) = place.split_once(": ").expect("file: test");
        let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("the named file exists");
        assert!(text.contains(&format!("fn {test}(")), "{op}: {file} has no {test}");
    }
}

fn gradients_agree_with_differences(on: TestDevice) {
    let device = on.open();
    for (i, case) in sample().into_iter().enumerate() {
        if case.numel() <= on.each_element() {
            check_elements(&device, &case);
        } else {
            (0..3).for_each(|direction| check_direction(&device, &case, 3 * i as u64 + direction));
        }
    }
}

/// All geometries, by `scripts/full`.
#[test]
#[ignore = "long: run by scripts/full"]
fn gradients_agree_on_the_whole_grid() {
    let device = TestDevice::Cpu.open();
    for (i, case) in grid().into_iter().enumerate() {
        check_direction(&device, &case, i as u64);
        if case.numel() < 1000 {
            check_elements(&device, &case);
        }
    }
}

fn check_elements(device: &Device, case: &Case) {
    let inputs: Vec<Tensor<f64>> = case.draw(device, 1);
    if let Err(error) = gradcheck(|inputs| case.op.run(inputs), &inputs, &OPTIONS) {
        panic!("{}: {error}", case.name());
    }
}

/// `<J^T u, v>` against `<u, (f(x + eps v) - f(x - eps v)) / (2 eps)>` for a random `u` and a
/// random direction `v` of each input: as good as all elements at the price of two evaluations.
fn check_direction(device: &Device, case: &Case, seed: u64) {
    let eps = 1e-6;
    let inputs: Vec<Tensor<f64>> = case.draw(device, seed);
    let pass = Pass::new(case, &inputs, |_| true);
    for (i, input) in inputs.iter().enumerate() {
        let direction = Fill::Normal(1.0).draw(input.dims(), seed, 100).values;
        let at = |distance: f64| {
            let moved = values(input).into_iter().zip(&direction).map(|(x, v)| x + distance * v);
            let moved: Vec<f64> = moved.collect();
            let mut all = inputs.clone();
            all[i] = Tensor::from_slice(device, &moved, input.dims()).unwrap();
            dot(&values(&case.op.run(&all).unwrap()), &pass.upstream)
        };
        let numeric = (at(eps) - at(-eps)) / (2.0 * eps);
        let gradient = pass.gradients[i].as_ref().expect("watched");
        let analytic = dot(gradient, &direction);
        let tolerance = Tolerance::absolute(1e-7 * (1.0 + dot(gradient, gradient).sqrt()));
        let what = format!("{} by input {i}", case.name());
        assert_close(what, &[analytic], &[numeric], tolerance);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The check itself is checked: a gradient that is 1 % too large fails.
fn a_wrong_gradient_is_found(on: TestDevice) {
    let device = on.open();
    let x: Tensor<f64> = Fill::Normal(1.0).draw(&[3, 5], 1, 0).on(&device);
    let too_large = |inputs: &[Tensor<f64>]| -> Result<Tensor<f64>> {
        let x = &inputs[0];
        let y = x.mul(x)?;
        // Its value is that of `y`, its gradient 1.01 times as large.
        let hundredth = Tensor::from_slice(x.device(), &[0.01], [])?;
        let surplus = y.mul(&hundredth)?;
        let minus = Tensor::from_slice(x.device(), &[-1.0], [])?;
        y.add(&surplus)?.add(&surplus.detach().mul(&minus)?)
    };
    let honest = |inputs: &[Tensor<f64>]| inputs[0].mul(&inputs[0]);
    gradcheck(honest, std::slice::from_ref(&x), &OPTIONS).expect("x * x is right");
    let error = gradcheck(too_large, &[x], &OPTIONS).expect_err("1 % is too much").to_string();
    assert!(error.contains("wrong gradient: input 0 element"), "{error}");
    assert!(error.contains("of the tolerance"), "{error}");
}
