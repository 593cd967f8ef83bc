//! What PyTorch answers to functions of one number and of two: `tests/fixtures/elementwise.py`.

use crate::common;
use crate::fixtures::check;
use crate::on_every_device;

use common::compare::Tolerance;
use common::device::TestDevice;
use common::fixture::{Fixture, FixtureCase};
use common::registry::Op;
use signet::dtype::Float;
use signet::{Device, Error, Tensor};

on_every_device! {
    functions_of_one_number_agree_with_pytorch,
    a_bound_or_two_must_be_given,
    functions_of_two_numbers_agree_with_pytorch,
    comparisons_and_choices_agree_with_pytorch,
    sums_over_repeated_operands_are_exact,
}

/// Among the special inputs are some so large that a share of them would say nothing of the others.
fn tolerance<T: Float>(case: &FixtureCase) -> Tolerance {
    let relative = if T::NAME == "float64" { 1e-12 } else { 1e-5 };
    // In f64, too, PyTorch's sixth is one of f32.
    let relative = if case.name.contains("hardsigmoid") { 1e-5 } else { relative };
    if case.name.contains("special") {
        Tolerance { relative, ..Tolerance::absolute(relative / 10.0) }
    } else {
        Tolerance::scale(relative)
    }
}

/// The parameters a and b of a case; 0 where it has none.
fn parameters(case: &FixtureCase) -> [f64; 2] {
    let words = case.attribute("parameters").as_array().expect("a list");
    let number =
        |i: usize| words.get(i).map_or(0.0, |word| word.as_str().unwrap().parse().unwrap());
    [number(0), number(1)]
}

fn functions_of_one_number_agree_with_pytorch(on: TestDevice) {
    let device = on.open();
    for case in Fixture::cases("unary") {
        let (name, parameters) = (case.word("name").to_owned(), parameters(&case));
        let op = Op::Unary(name, parameters);
        check(&device, &case, &["input"], tolerance::<f64>(&case), |x| op.run::<f64>(x));
        check(&device, &case, &["input"], tolerance::<f32>(&case), |x| op.run::<f32>(x));
    }
}

fn a_bound_or_two_must_be_given(on: TestDevice) {
    let x = signet::Tensor::from_slice(&on.open(), &[1.0_f32, f32::NAN], [2]).unwrap();
    let error = x.clamp(None, None).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
    let error = x.hardtanh(1.0, 0.0).unwrap_err().to_string();
    assert!(error.contains("must be at most max_val, got 1 and 0"), "{error}");
    let error = x.clamp(None, Some(f64::NAN)).unwrap_err().to_string();
    assert!(error.contains("max: must be a number, got NaN"), "{error}");
}

fn functions_of_two_numbers_agree_with_pytorch(on: TestDevice) {
    let device = on.open();
    for case in Fixture::cases("binary").iter().filter(|case| case.word("kind") == "function") {
        let op = Op::Binary(case.word("name").to_owned());
        check(&device, case, &["a", "b"], tolerance::<f64>(case), |x| op.run::<f64>(x));
        check(&device, case, &["a", "b"], tolerance::<f32>(case), |x| op.run::<f32>(x));
    }
}

fn comparisons_and_choices_agree_with_pytorch(on: TestDevice) {
    fn compare<T: Float>(device: &Device, case: &FixtureCase) {
        let [a, b]: [Tensor<T>; 2] = ["a", "b"].map(|name| case.tensor(name).on(device));
        let mask = match case.word("name") {
            "eq" => a.eq(&b),
            "ne" => a.ne(&b),
            "lt" => a.lt(&b),
            "le" => a.le(&b),
            "gt" => a.gt(&b),
            "ge" => a.ge(&b),
            other => panic!("{other}"),
        }
        .unwrap();
        let expected = case.tensor("output");
        assert_eq!(mask.dims(), expected.shape, "{}", case.name);
        let mask: Vec<f64> = mask.to_vec().unwrap().into_iter().map(f64::from).collect();
        assert_eq!(mask, expected.values, "{}", case.name);
    }
    let device = on.open();
    for case in &Fixture::cases("binary") {
        match case.word("kind") {
            "comparison" => {
                compare::<f64>(&device, case);
                compare::<f32>(&device, case);
            }
            "where" => {
                let mask = case.tensor("mask");
                let values = mask.values.iter().map(|&x| x as u8).collect();
                let op = Op::Where(values, mask.shape.clone());
                check(&device, case, &["a", "b"], Tolerance::default(), |x| op.run::<f64>(x));
                check(&device, case, &["a", "b"], Tolerance::of::<f32>(), |x| op.run::<f32>(x));
            }
            _ => {}
        }
    }
}

/// A gradient of an operand that is repeated along dimensions between others is a sum of many numbers.
fn sums_over_repeated_operands_are_exact(on: TestDevice) {
    let device = on.open();
    let [n, rows, columns] = [2, 3001, 3];
    let ones = Tensor::from_slice(&device, &vec![1.0_f32; n * rows * columns], [n, rows, columns]);
    let x = Tensor::from_slice(&device, &vec![0.1_f32; n * columns], [n, 1, columns]).unwrap();
    let x = x.requires_grad(true).unwrap();
    ones.unwrap().mul_scalar(0.1).unwrap().mul(&x).unwrap().sum().unwrap().backward().unwrap();
    for sum in x.grad().unwrap().unwrap().to_vec().unwrap() {
        let exact = rows as f64 * f64::from(0.1_f32);
        assert!((f64::from(sum) - exact).abs() <= 1e-6 * exact, "{sum} for {exact}");
    }
}
