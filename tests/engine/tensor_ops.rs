//! Copies, reductions and picking by index: what PyTorch answers, what has no elements, and what is
//! refused.

use crate::common;
use crate::fixtures::{check, check_file};
use crate::on_every_device;

use common::compare::Tolerance;
use common::device::TestDevice;
use common::fixture::{Fixture, FixtureCase};
use common::registry::Op;
use common::registry::copies::Copies;
use common::registry::indexing::Pick;
use common::registry::reductions::Reduce;
use signet::dtype::Float;
use signet::nn::{Embedding, Init, Module};
use signet::ops::embedding::embedding;
use signet::ops::index::PadMode;
use signet::{Cpu, Device, Error, Result, Tensor};

on_every_device! {
    copies_agree_with_pytorch,
    reductions_agree_with_pytorch,
    what_does_not_fit_is_an_error,
    sums_over_dimensions_are_exact,
    counts_of_what_is_not_zero,
    picking_agrees_with_pytorch,
    an_embedding_is_a_table,
}

fn integers(values: &serde_json::Value) -> Vec<isize> {
    serde_json::from_value(values.clone()).expect("a list of integers")
}

fn copy_of(case: &FixtureCase) -> Op {
    let args = case.attribute("args");
    let number = |i: usize| args[i].as_i64().expect("an integer") as isize;
    let size = |i: usize| usize::try_from(number(i)).expect("a size");
    Op::Copies(match case.word("op") {
        "permute" => Copies::Permute(integers(&args[0])),
        "transpose" => Copies::Transpose(number(0), number(1)),
        "flip" => Copies::Flip(integers(&args[0])),
        "narrow" => Copies::Narrow(number(0), number(1), size(2)),
        "select" => Copies::Select(number(0), number(1)),
        "pad" => {
            let padding = integers(&args[0]);
            match args[1].as_str().expect("a mode") {
                "constant" => Copies::Pad(padding, args[2].as_f64().expect("a number")),
                "reflect" => Copies::PadMode(padding, PadMode::Reflect),
                "replicate" => Copies::PadMode(padding, PadMode::Replicate),
                "circular" => Copies::PadMode(padding, PadMode::Circular),
                other => panic!("{}: {other}", case.name),
            }
        }
        "cat" => Copies::Cat(number(0)),
        "stack" => Copies::Stack(number(0)),
        "expand" => return Op::Expand(integers(&args[0])),
        other => panic!("{}: {other}", case.name),
    })
}

fn copies_agree_with_pytorch(on: TestDevice) {
    fn one<T: Float>(device: &Device, case: &FixtureCase) {
        let args = case.attribute("args");
        let number = |i: usize| args[i].as_i64().expect("an integer") as isize;
        let shaped = |x: &Tensor<T>| -> Option<Result<Tensor<T>>> {
            Some(match case.word("op") {
                "squeeze" => x.squeeze(number(0)),
                "unsqueeze" => x.unsqueeze(number(0)),
                "reshape" => x.reshape(integers(&args[0])),
                "flatten" => x.flatten_dims(number(0), number(1)),
                _ => return None,
            })
        };
        check(device, case, &["input", "a", "b", "c"], Tolerance::of::<T>(), |x| {
            shaped(&x[0]).unwrap_or_else(|| copy_of(case).run(x))
        });
    }
    let device = on.open();
    for case in Fixture::cases("copies") {
        one::<f64>(&device, &case);
        one::<f32>(&device, &case);
    }
}

fn reductions_agree_with_pytorch(on: TestDevice) {
    let number = |case: &FixtureCase| match case.number("number") {
        large if large.abs() == 1e300 => large * f64::INFINITY,
        number => number,
    };
    let op = |case: &FixtureCase| {
        let reduce = match case.word("op") {
            "sum" => Reduce::Sum,
            "mean" => Reduce::Mean,
            "amax" => Reduce::Amax,
            "amin" => Reduce::Amin,
            "max" => Reduce::Max,
            "min" => Reduce::Min,
            "logsumexp" => Reduce::LogSumExp,
            "norm" => Reduce::Norm(number(case)),
            "var" => Reduce::Var(number(case) as usize),
            other => panic!("{}: {other}", case.name),
        };
        Op::Reduce(reduce, integers(case.attribute("dims")), case.flag("keepdim"))
    };
    let device = on.open();
    for case in Fixture::cases("reductions") {
        let op = op(&case);
        // Around a mean of 1000, f32 holds the mean itself to 3e-5.
        let is_far = case.name.contains("far_from_zero");
        let near = if is_far { Tolerance::scale(1e-4) } else { Tolerance::of::<f32>() };
        check(&device, &case, &["input"], near, |x| op.run::<f32>(x));
        let near = if is_far { Tolerance::scale(1e-11) } else { Tolerance::of::<f64>() };
        check(&device, &case, &["input"], near, |x| op.run::<f64>(x));
        let Some(indices) = case.get("indices") else { continue };
        let input: Tensor = case.tensor("input").on(&device);
        let (dim, keepdim) = (integers(case.attribute("dims"))[0], case.flag("keepdim"));
        let (pair, alone) = match case.word("op") {
            "max" => (input.max_dim(dim, keepdim), input.argmax(dim, keepdim)),
            _ => (input.min_dim(dim, keepdim), input.argmin(dim, keepdim)),
        };
        for found in [pair.unwrap().1, alone.unwrap()] {
            assert_eq!(found.dims(), indices.shape, "{}", case.name);
            assert_eq!(found.to_vec().unwrap(), indices.integers(), "{}", case.name);
        }
    }
}

fn what_does_not_fit_is_an_error(on: TestDevice) {
    let device = on.open();
    let zeros = |shape: &[usize]| Tensor::<f32>::zeros(&device, shape).unwrap();
    let (x, nothing, scalar) = (zeros(&[2, 3]), zeros(&[3, 0]), zeros(&[]));
    let huge = isize::MAX;
    let refused = [
        x.permute(&[0]),
        x.permute(&[0, 0]),
        x.permute(&[0, 2]),
        x.transpose(0, -3),
        x.transpose(isize::MIN, huge),
        zeros(&[2, 3, 4]).t(),
        x.flip(&[1, -1]),
        x.narrow(0, 1, 2),
        x.narrow(0, huge, 1),
        x.narrow(0, 0, usize::MAX),
        x.narrow(0, isize::MIN, 1),
        x.select(1, 3),
        x.select(1, -4),
        scalar.select(0, 0),
        x.expand(&[3]),
        x.expand(&[4, 3]),
        x.expand(&[-1, 2, 3]),
        x.expand(&[2, -2]),
        x.expand(&[huge, huge, 2, 3]),
        x.broadcast_to([3]),
        Tensor::cat(&[], 0),
        Tensor::cat(&[&x, &zeros(&[3, 2])], 0),
        Tensor::cat(&[&x, &zeros(&[2])], 0),
        Tensor::cat(&[&scalar], 0),
        Tensor::stack(&[&x, &nothing], 0),
        Tensor::stack(&[&x], 3),
        x.pad(&[1], 0.0),
        x.pad(&[0; 6], 0.0),
        x.pad(&[-2, -2], 0.0),
        x.pad(&[huge, huge], 0.0),
        x.pad_mode(&[1], PadMode::Replicate),
        x.pad_mode(&[0; 6], PadMode::Replicate),
        x.pad_mode(&[3, 0], PadMode::Reflect),
        x.pad_mode(&[0, 4], PadMode::Circular),
        x.pad_mode(&[-2, -2], PadMode::Circular),
        x.pad_mode(&[huge, huge], PadMode::Replicate),
        x.pad_mode(&[huge, 0], PadMode::Replicate),
        nothing.pad_mode(&[1, 0], PadMode::Replicate),
        x.squeeze(2),
        x.unsqueeze(4),
        x.reshape([-1, -1]),
        x.reshape([-2, 3]),
        x.reshape([4, -1]),
        nothing.reshape([0, -1]),
        x.flatten_dims(1, 0),
        x.sum_dim(&[2], false),
        x.sum_dim(&[0, -2], false),
        scalar.sum_dim(&[1], false),
        nothing.amax(&[1], false),
        nothing.amin(&[], false),
        nothing.max_dim(1, false).map(|(values, _)| values),
        nothing.norm(f64::INFINITY, &[1], true),
    ];
    for (i, result) in refused.into_iter().enumerate() {
        match result {
            Err(Error::Shape { message, .. }) => assert!(!message.is_empty()),
            other => panic!("number {i}: {other:?}"),
        }
    }
    assert!(matches!(x.split(0, 0), Err(Error::Argument { .. })));
    assert!(matches!(x.chunk(0, 0), Err(Error::Argument { .. })));
    // PyTorch's answers at the edges.
    let sizes = |parts: Vec<Tensor>, dim: usize| -> Vec<usize> {
        parts.iter().map(|part| part.dims()[dim]).collect()
    };
    assert_eq!(sizes(nothing.split(0, 1).unwrap(), 1), [0]);
    assert_eq!(sizes(nothing.split(2, 1).unwrap(), 1), [0]);
    assert_eq!(sizes(nothing.chunk(3, 1).unwrap(), 1), [0, 0, 0]);
    assert_eq!(sizes(zeros(&[5, 1]).chunk(4, 0).unwrap(), 0), [2, 2, 1]);
    assert_eq!(scalar.sum_dim(&[-1], true).unwrap().dims(), [0_usize; 0]);
    assert_eq!(scalar.flatten_dims(0, -1).unwrap().dims(), [1]);
    assert_eq!(nothing.amax(&[0], false).unwrap().dims(), [0]);
}

fn counts_of_what_is_not_zero(on: TestDevice) {
    let device = on.open();
    let x = Tensor::from_slice(&device, &[0.0, -3.0, f64::NAN, 0.0, 0.0, 2.0], [2, 3]).unwrap();
    let x = x.requires_grad(true).unwrap();
    let count = x.norm(0.0, &[1], false).unwrap();
    assert_eq!(count.to_vec().unwrap(), [2.0, 1.0]);
    count.sum().unwrap().backward().unwrap();
    assert_eq!(x.grad().unwrap().unwrap().to_vec().unwrap(), [0.0; 6]);
}

fn picking_agrees_with_pytorch(on: TestDevice) {
    check_file(on, "indexing", &["input"], |case| {
        let dim = case.number("arg") as isize;
        let pick = match case.word("op") {
            "gather" => Pick::Gather(dim),
            "index_select" => Pick::IndexSelect(dim),
            "embedding" => {
                Pick::Embedding(case.attribute("padding_idx").as_u64().map(|row| row as usize))
            }
            other => panic!("{}: {other}", case.name),
        };
        let index = case.tensor("index");
        Op::Pick(pick, (index.integers(), index.shape.clone()))
    });
    let device = on.open();
    let x = Tensor::from_slice(&device, &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], [3, 2]).unwrap();
    let index =
        |values: &[i32], shape: &[usize]| Tensor::from_slice(&device, values, shape).unwrap();
    for refused in [
        x.gather(0, &index(&[0], &[1])),
        x.gather(0, &index(&[0; 3], &[1, 3])),
        x.gather(2, &index(&[0], &[1, 1])),
        x.index_select(0, &index(&[0], &[1, 1])),
        x.index_select(-3, &index(&[0], &[1])),
        embedding(&x.flatten(0).unwrap(), &index(&[0], &[1]), None),
    ] {
        assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
    }
    assert!(matches!(embedding(&x, &index(&[0], &[1]), Some(3)), Err(Error::Argument { .. })));
    // An index that is not there: an error that names it, or NaN where none can be raised.
    for wrong in [3, -1, i32::MIN] {
        let x = x.detach().requires_grad(true).unwrap();
        let rows = [1, wrong, 0];
        let picked = [
            x.gather(0, &index(&[1, 0, wrong, 0, 0, 0], &[3, 2])),
            x.index_select(0, &index(&rows, &[3])),
            embedding(&x, &index(&rows, &[3]), None),
        ];
        for picked in picked {
            match (on, picked) {
                (TestDevice::Cpu, Err(Error::Argument { message, .. })) => {
                    assert!(message.contains(&wrong.to_string()), "{message}");
                }
                (TestDevice::Cuda, Ok(picked)) => {
                    let values = picked.to_vec().unwrap();
                    assert_eq!((values[0], values[2].is_nan()), (3.0, true), "{values:?}");
                    picked.sum().unwrap().backward().unwrap();
                }
                (_, other) => panic!("{wrong}: {other:?}"),
            }
        }
    }
}

fn an_embedding_is_a_table(on: TestDevice) {
    let device = on.open();
    let init = Init::<f64>::new(&device, 3).unwrap();
    let words = Embedding::new(5, 400).padding_idx(1).build(&init).unwrap();
    let table = words.weight.to_vec().unwrap();
    assert_eq!(table[400..800], [0.0; 400]);
    let drawn = [&table[..400], &table[800..]].concat();
    let n = drawn.len() as f64;
    let mean = drawn.iter().sum::<f64>() / n;
    let square = drawn.iter().map(|x| x * x).sum::<f64>() / n;
    assert!(mean.abs() < 0.1 && (square - 1.0).abs() < 0.15, "{mean} {square}");

    let ids = Tensor::from_slice(&device, &[4, 1, 4, 0], [2, 2]).unwrap();
    let y = words.forward(&ids).unwrap();
    assert_eq!(y.dims(), [2, 2, 400]);
    y.sum().unwrap().backward().unwrap();
    let gradient = words.weight.grad().unwrap().unwrap().to_vec().unwrap();
    let firsts: Vec<_> = gradient.iter().step_by(400).copied().collect();
    assert_eq!(firsts, [1.0, 0.0, 0.0, 0.0, 2.0]);
    assert_eq!(words.parameters().len(), 1);
    assert!(Embedding::new(5, 4).padding_idx(5).build(&init).is_err());
}

fn sums_over_dimensions_are_exact(on: TestDevice) {
    let device = on.open();
    let shapes: [(&[usize], isize); 4] =
        [(&[300_001], 0), (&[100_003, 3], 0), (&[3, 100_003], 1), (&[2, 50_000, 3], 1)];
    for (shape, dim) in shapes {
        let n: usize = shape.iter().product();
        let x = Tensor::from_slice(&device, &vec![0.1_f32; n], shape).unwrap();
        let length = shape[usize::try_from(dim).unwrap()] as f64;
        let exact = length * f64::from(0.1_f32);
        for sum in x.sum_dim(&[dim], false).unwrap().to_vec().unwrap() {
            let error = (f64::from(sum) - exact) / exact;
            assert!(error.abs() <= 1e-6, "{shape:?}: {sum} for {exact}");
        }
        let far = Tensor::from_slice(&device, &[1000.0_f32, 1001.0].repeat(n / 2), [n / 2 * 2]);
        let var = far.unwrap().var_dim(&[], 0, false).unwrap().item().unwrap();
        assert!((var - 0.25).abs() <= 1e-6, "{n}: {var}");
    }
}

#[test]
fn forty_million_are_summed_as_exactly_as_forty_over_a_dimension() {
    let device = Device::from(Cpu::new(Some(2)).unwrap());
    let n = 40_000_000;
    let x = Tensor::from_slice(&device, &vec![0.1_f32; n], [1, n]).unwrap();
    for (shape, dim) in [([1, n], 1), ([n / 2, 2], 0)] {
        let sum = x.reshape(shape).unwrap().sum_dim(&[dim], false).unwrap().to_vec().unwrap()[0];
        let exact = shape[usize::try_from(dim).unwrap()] as f64 * f64::from(0.1_f32);
        assert!((f64::from(sum) - exact).abs() <= 1e-6 * exact, "{shape:?}: {sum} for {exact}");
    }
}

#[test]
fn any_number_of_threads_reduces_to_the_same_bits() {
    let values: Vec<f32> = (0..300_030).map(|i| (i as f32 * 0.7).sin()).collect();
    let cases: [(&[usize], &[isize]); 5] = [
        (&[300_030], &[0]),
        (&[100_010, 3], &[0]),
        (&[3, 100_010], &[1]),
        (&[2, 50_005, 3], &[1]),
        (&[6, 5, 10_001], &[0, 2]),
    ];
    let reductions =
        [Reduce::Sum, Reduce::Var(1), Reduce::LogSumExp, Reduce::Norm(2.0), Reduce::Amax];
    let bits = |threads| {
        let device = Device::from(Cpu::new(Some(threads)).unwrap());
        let mut bits = Vec::new();
        for (shape, dims) in cases {
            let x = Tensor::from_slice(&device, &values, shape).unwrap();
            for reduce in reductions {
                let y = reduce.run(&x, dims, false).unwrap().to_vec().unwrap();
                bits.extend(y.into_iter().map(f32::to_bits));
            }
        }
        bits
    };
    let one = bits(1);
    for threads in [2, 3] {
        assert_eq!(bits(threads), one, "{threads} threads");
    }
}
