//! The registry of ops on the CUDA device, simulated, in every order of its threads.
//!
//! The order is a setting of the whole process, so each test runs in a process of its own.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::common;
use needs::test_on_cusim as test;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::orders::{alone, in_every_order};
use common::registry::Case;
use common::registry::cases::{grid, sample};
use common::registry::pass::Pass;
use signet::dtype::Float;
use signet::{Cpu, Cuda, Device, GradcheckOptions, gradcheck};

/// The same bits in every order, and the CPU's values to rounding.
fn agrees<T: Float>(cuda: &Cuda, cpu: &Cpu, case: &Case)
where
    Cuda: Device<T>,
    Cpu: Device<T>,
{
    let name = format!("{} in {}", case.name(), T::NAME);
    let mut passes = Vec::new();
    in_every_order(|| passes.push(Pass::of_case::<Cuda, T>(case, cuda)));
    let [first, others @ ..] = &passes[..] else { panic!("there are orders") };
    assert!(
        others.iter().all(|other| other.bits() == first.bits()),
        "{name}: an order has other bits"
    );

    let expected = Pass::of_case::<Cpu, T>(case, cpu);
    // Batch norm's gradient is what is left of larger terms.
    let tolerance = Tolerance::of::<T>();
    let of_gradients = tolerance.plus(1e4 * T::epsilon().as_f64());
    assert_close(&name, &first.output, &expected.output, tolerance);
    for (i, (actual, expected)) in first.gradients.iter().zip(&expected.gradients).enumerate() {
        let (actual, expected) = (actual.as_ref().unwrap(), expected.as_ref().unwrap());
        assert_close(format!("{name} by input {i}"), actual, expected, of_gradients);
    }
}

fn all_agree(cases: Vec<Case>) {
    let (cuda, cpu) = (<Cuda as TestDevice>::open(), <Cpu as TestDevice>::open());
    for case in cases {
        agrees::<f32>(&cuda, &cpu, &case);
        agrees::<f64>(&cuda, &cpu, &case);
    }
}

#[test]
fn every_op_has_the_same_bits_in_every_order() {
    alone("cuda_registry::every_op_has_the_same_bits_in_every_order", &[], || all_agree(sample()));
}

#[test]
#[ignore = "long: run by scripts/full"]
fn the_whole_grid_has_the_same_bits_in_every_order() {
    alone("cuda_registry::the_whole_grid_has_the_same_bits_in_every_order", &[], || {
        all_agree(grid())
    });
}

#[test]
fn gradients_agree_with_differences_in_every_order() {
    let options = GradcheckOptions { eps: 1e-5, rtol: 1e-6, atol: 1e-8, seed: 5 };
    alone("cuda_registry::gradients_agree_with_differences_in_every_order", &[], || {
        let device = <Cuda as TestDevice>::open();
        // Values are the same in every order, so the smallest case of each op will do.
        for case in smallest_of_each_op() {
            in_every_order(|| {
                let inputs = case.draw::<Cuda, f64>(&device, 1);
                if let Err(error) = gradcheck(|inputs| case.op.run(inputs), &inputs, &options) {
                    panic!("{}: {error}", case.name());
                }
            });
        }
    });
}

#[test]
fn the_checks_find_nothing_in_any_op() {
    alone("cuda_registry::the_checks_find_nothing_in_any_op", &[("CUSIM_CHECK", "1")], || {
        let device = <Cuda as TestDevice>::open();
        for case in sample() {
            Pass::of_case::<Cuda, f32>(&case, &device);
            Pass::of_case::<Cuda, f64>(&case, &device);
        }
    });
}

/// Kernels that know their sizes at compile time compute the same in the same order, and one module
/// does for every batch size.
#[test]
fn specialised_kernels_have_the_bits_of_the_generic_ones() {
    fn check<T: Float>(cases: &[&Case], modules: [u64; 2])
    where
        Cuda: Device<T>,
    {
        let (generic, specialised) = (<Cuda as TestDevice>::open(), <Cuda as TestDevice>::open());
        specialised.set_specialise(true);
        let loaded = |device: &Cuda| {
            let statistics = device.kernel_statistics();
            statistics.compiled + statistics.cached
        };
        let before = [&generic, &specialised].map(loaded);
        for case in cases {
            let mut small = (*case).clone();
            small.inputs[0].0[0] -= 1;
            for case in [(*case).clone(), small] {
                let bits = |device| Pass::of_case::<Cuda, T>(&case, device).bits();
                assert!(bits(&specialised) == bits(&generic), "{} in {}", case.name(), T::NAME);
            }
        }
        let after = [&generic, &specialised].map(loaded);
        assert_eq!([after[0] - before[0], after[1] - before[1]], modules, "{}", T::NAME);
    }
    let cases = sample();
    let of = |folder: &str| -> Vec<&Case> {
        let of_folder = |case: &&Case| case.op.folder() == folder && case.inputs[0].0[0] == 3;
        cases.iter().filter(of_folder).collect()
    };
    let (convolutions, blocks) = (of("conv2d"), of("conv_block"));
    // One with odd strides and dilations is the last.
    let last = convolutions[convolutions.len() - 1];
    // conv2d, conv_block and sum; or the first of these for two geometries.
    check::<f32>(&[convolutions[0], last, blocks[0]], [3, 4]);
    check::<f64>(&[last], [2, 2]);
}

fn smallest_of_each_op() -> Vec<Case> {
    let mut cases = sample();
    cases.sort_by_key(|case| (case.op.folder(), case.numel()));
    cases.dedup_by_key(|case| case.op.folder());
    cases
}
