//! What PyTorch answers to functions of one number and of two: `tests/fixtures/elementwise.py`.

use crate::common;
use crate::fixtures::check;
use crate::on_every_device;

use common::compare::Tolerance;
use common::device::TestDevice;
use common::fixture::{Fixture, FixtureCase};
use common::registry::Op;
use signet::Error;
use signet::dtype::Float;

on_every_device! {
    functions_of_one_number_agree_with_pytorch,
    a_bound_or_two_must_be_given,
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
