//! The registry of ops on the CUDA device, simulated, in every order of its threads.
//!
//! The order is a setting of the whole process, so each test runs in a process of its own.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::common;
use needs::test_on_cusim as test;

use common::compare::{Tolerance, assert_close};
use common::device::TestDevice;
use common::host::Fill;
use common::orders::{alone, in_every_order};
use common::registry::cases::{grid, sample};
use common::registry::pass::{Pass, upstream};
use common::registry::{Case, Op, Then};
use signet::device::Precision;
use signet::dtype::Float;
use signet::nn::MaxPool2d;
use signet::ops::conv_block::ConvBlockOptions;
use signet::ops::conv2d::Conv2dOptions;
use signet::{Device, GradcheckOptions, Tensor, gradcheck};
use std::time::Instant;

/// The same bits in every order, and the CPU's values to rounding.
fn agrees<T: Float>(cuda: &Device, cpu: &Device, case: &Case) {
    let name = format!("{} in {}", case.name(), T::NAME);
    let mut passes = Vec::new();
    in_every_order(|| passes.push(Pass::of_case::<T>(case, cuda)));
    let [first, others @ ..] = &passes[..] else { panic!("there are orders") };
    assert!(
        others.iter().all(|other| other.bits() == first.bits()),
        "{name}: an order has other bits"
    );

    let expected = Pass::of_case::<T>(case, cpu);
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
    let (cuda, cpu) = (TestDevice::Cuda.open(), TestDevice::Cpu.open());
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
        let device = TestDevice::Cuda.open();
        // Values are the same in every order, so the smallest case of each op will do.
        for case in smallest_of_each_op() {
            in_every_order(|| {
                let inputs = case.draw::<f64>(&device, 1);
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
        let device = TestDevice::Cuda.open();
        for case in sample() {
            Pass::of_case::<f32>(&case, &device);
            Pass::of_case::<f64>(&case, &device);
        }
    });
}

/// Kernels that know their sizes at compile time compute the same in the same order, and one module
/// does for every batch size.
#[test]
fn specialised_kernels_have_the_bits_of_the_generic_ones() {
    fn check<T: Float>(cases: &[&Case], modules: [u64; 2]) {
        let (generic, specialised) = (TestDevice::Cuda.open(), TestDevice::Cuda.open());
        specialised.as_cuda().unwrap().set_specialise(true);
        let loaded = |device: &Device| {
            let statistics = device.as_cuda().unwrap().kernel_statistics();
            statistics.compiled + statistics.cached
        };
        let before = [&generic, &specialised].map(loaded);
        for case in cases {
            let mut small = (*case).clone();
            small.inputs[0].0[0] -= 1;
            for case in [(*case).clone(), small] {
                let bits = |device| Pass::of_case::<T>(&case, device).bits();
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

/// Work whose sums many blocks share and one of them adds up, and the inputs whose gradients are
/// compared: those that are small enough to be read back again and again.
fn shared_sums() -> Vec<(Case, &'static [usize])> {
    let block = |[n, c, h, w]: [usize; 4], o: usize| {
        let conv = Conv2dOptions { padding: 1.into(), ..Conv2dOptions::default() };
        let options = ConvBlockOptions { conv, eps: 1e-5, pool: MaxPool2d::new(2) };
        let normal = |shape: &[usize]| (shape.to_vec(), Fill::Normal(1.0));
        let shapes: [&[usize]; 5] = [&[n, c, h, w], &[o, c, 3, 3], &[o], &[o], &[o]];
        let op = Op::ConvBlock { options, running: None, drop: None };
        Case { op, inputs: shapes.map(normal).to_vec() }
    };
    let hidden = |rows: usize, inner: usize, columns: usize| {
        let inputs = [[rows, inner], [columns, inner]];
        let inputs = inputs.map(|shape| (shape.to_vec(), Fill::Normal(1.0))).to_vec();
        Case { op: Op::LinearRelu { drop: None }, inputs }
    };
    let plain = |op: Op, shapes: &[&[usize]]| {
        let normal = |shape: &&[usize]| (shape.to_vec(), Fill::Normal(1.0));
        Case { op, inputs: shapes.iter().map(normal).collect() }
    };
    let targets = (0..300).map(|row| row % 7).collect();
    vec![
        // The first convolution of the network: sums in three levels, for 25 filters.
        (block([8, 1, 28, 28], 25), &[1, 2, 3, 4]),
        // The last one on a few images: the output's sums and the input's.
        (block([3, 50, 7, 7], 75), &[0, 3]),
        (hidden(33, 1500, 24), &[]),
        // Two products in one launch.
        (hidden(300, 130, 24), &[0, 1]),
        (plain(Op::Matmul, &[&[40, 3000], &[3000, 70]]), &[]),
        (
            plain(Op::Conv2d(Conv2dOptions::default()), &[&[9, 5, 28, 28], &[40, 5, 3, 3], &[40]]),
            &[1],
        ),
        (plain(Op::Sum, &[&[300_001]]), &[]),
        // Sums of columns: what is added to every row.
        (plain(Op::Binary("add".into()), &[&[5000, 70], &[70]]), &[1]),
        // The statistics and the sums of the backward pass.
        (
            plain(
                Op::BatchNorm2d { eps: 1e-5, running: None, then: Then::Relu },
                &[&[33, 5, 28, 28], &[5], &[5]],
            ),
            &[1, 2],
        ),
        (
            plain(Op::CrossEntropy { target: targets, options: Default::default() }, &[&[300, 7]]),
            &[],
        ),
    ]
}

/// The same work again and again, with more of it under way than is looked at: a block that adds up
/// what others have not written yet gets other bits now and then, on a GPU. `SIGNET_STRESS` says how
/// often; 100000 takes a GPU a minute or two.
#[test]
fn sums_across_blocks_have_the_same_bits_every_time() {
    const UNDER_WAY: usize = 16;
    let times = match std::env::var("SIGNET_STRESS") {
        Ok(times) => times.parse().expect("SIGNET_STRESS is a number"),
        Err(_) => 2,
    };
    let device = TestDevice::Cuda.open();
    for (case, watched) in shared_sums() {
        let shapes: Vec<_> = case.inputs.iter().map(|(shape, _)| shape).collect();
        let name = format!("{} of {shapes:?}", case.op.folder());
        let inputs = case.draw::<f32>(&device, 2);
        let gradient = upstream(&case.op.run(&inputs).unwrap());
        // The results, on their way.
        let start = || -> Vec<Tensor> {
            let leaf = |i: usize| inputs[i].detach().requires_grad(watched.contains(&i)).unwrap();
            let inputs: Vec<_> = (0..inputs.len()).map(leaf).collect();
            let output = case.op.run(&inputs).unwrap();
            if watched.is_empty() {
                return vec![output];
            }
            output.backward_with(&gradient).unwrap();
            inputs.iter().filter_map(|input| input.grad().unwrap()).collect()
        };
        let bits = |results: &[Tensor]| -> Vec<Vec<u32>> {
            let values = results.iter().map(|result| result.to_vec().unwrap());
            values.map(|values| values.into_iter().map(f32::to_bits).collect()).collect()
        };
        for precision in [Precision::F32, Precision::Tf32] {
            if device.set_precisions(precision).is_err() {
                eprintln!("{precision} left out: this device has no tensor cores");
                continue;
            }
            let begin = Instant::now();
            let first = bits(&start());
            let mut done = 1;
            while done < times {
                let count = UNDER_WAY.min(times - done);
                let results: Vec<_> = (0..count).map(|_| start()).collect();
                for (i, results) in results.iter().enumerate() {
                    let time = done + i + 1;
                    for (which, (bits, first)) in bits(results).iter().zip(&first).enumerate() {
                        let other = bits.iter().zip(first).position(|(bits, first)| bits != first);
                        assert_eq!(
                            other, None,
                            "{name} in {precision}, time {time}: result {which} has other bits there"
                        );
                    }
                }
                done += count;
            }
            device.synchronize().unwrap();
            let seconds = begin.elapsed().as_secs_f64();
            println!("{name} in {precision}: {times} times in {seconds:.1} s");
        }
    }
}

fn smallest_of_each_op() -> Vec<Case> {
    let mut cases = sample();
    cases.sort_by_key(|case| (case.op.folder(), case.numel()));
    cases.dedup_by_key(|case| case.op.folder());
    cases
}
