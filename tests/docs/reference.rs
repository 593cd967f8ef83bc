//! Every call that `docs/reference.md` names, as it is printed there: compiled here, and run.

use signet::data::{DataLoader, synthetic};
use signet::nn::{
    AdaptiveAvgPool2d, AvgPool2d, BatchNorm2d, Conv2d, Conv2dModule, Dropout, Flatten, Init,
    Linear, MaxPool2d, Module, ReLU, Sequential, State,
};
use signet::ops::augment::{AugmentOptions, augment};
use signet::ops::conv2d::Padding;
use signet::ops::cross_entropy::{CrossEntropyOptions, cross_entropy};
use signet::optim::{
    Adagrad, AdagradOptions, Adam, AdamOptions, Optimizer, PlateauOptions, ReduceLROnPlateau,
    Rmsprop, RmspropOptions, Schedule, Sgd, SgdOptions, clip_grad_norm_, clip_grad_value_,
};
use signet::{
    Cpu, Device, GradcheckOptions, Gradients, NodeId, Result, Tensor, checkpoint, gradcheck,
    layers, no_grad,
};

/// The calls of the tables of the first section, but for flags of the program.
fn printed() -> Vec<String> {
    let text = include_str!("../../docs/reference.md");
    let section = text.split("\n## ").find(|section| section.starts_with("PyTorch's names"));
    let rows = section.expect("there is a section").lines().filter(|line| line.starts_with('|'));
    // A bar within a cell stands as `\|`.
    let cells = rows.filter_map(|row| {
        let row = row.replace("\\|", "\u{1}");
        row.split('|').nth(2).map(|cell| cell.replace('\u{1}', "|"))
    });
    let code = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    code.filter(|code| !code.starts_with("--") && !code.starts_with("signet ")).collect()
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_call_is_compiled_as_printed() {
    // What stands behind this test is what compiles; the calls themselves stand in no string here.
    let here = include_str!("reference.rs");
    let compiled = squeezed(here.split("// The calls.").last().unwrap_or_default());
    let printed = printed();
    assert!(printed.len() > 60, "only {} calls were found", printed.len());
    for call in printed {
        assert!(
            compiled.contains(&squeezed(&call)),
            "`{call}` of docs/reference.md is not compiled"
        );
    }
}

// The calls.

#[test]
#[rustfmt::skip]
fn tensors() -> Result<()> {
    let (d, values, shape, n) = (Device::cpu()?, [1.0_f32, 2.0, 3.0, 4.0], [2, 2], 2);
    let two = Device::from(Cpu::new(Some(n))?);
    assert_eq!(two.as_cpu().map(Cpu::threads), Some(n));
    // There may be no GPU.
    let _ = (Device::auto(), Device::cpu(), Device::cuda(0));
    d.synchronize()?;
    let zeros: Tensor<f64> = Tensor::zeros(&d, shape)?;
    assert_eq!(zeros.to_vec()?, [0.0_f64; 4]);
    let x = Tensor::from_slice(&d, &values, shape)?;
    let y = x.detach();
    assert_eq!((x.shape(), x.dims()), (y.shape(), &shape[..]));
    assert_eq!(x.device().name(), "cpu");
    for result in [x.add(&y)?, x.mul(&y)?, x.matmul(&y)?, x.relu()?] {
        assert_eq!(result.dims(), shape);
    }
    assert_eq!([x.sum()?.item()?, x.mean()?.item()?], [10.0, 2.5]);
    assert_eq!(x.reshape(shape)?.to_vec()?, x.flatten(1)?.to_vec()?);
    let x = x.sum()?;
    assert_eq!(x.item()?, 10.0);
    assert_eq!(x.to_vec()?, [10.0]);
    fn same<T>(_: fn(&T), _: fn(&T)) {}
    same(|_: &Tensor| (), |_: &Tensor<f32>| ());
    let labels: Tensor<i32> = Tensor::from_slice(&d, &[2], [1])?;
    assert_eq!(labels.item()?, 2);
    Ok(())
}

#[test]
#[rustfmt::skip]
fn gradients() -> Result<()> {
    let d = Device::cpu()?;
    let x = Tensor::from_slice(&d, &[1.0, 2.0], [2])?;
    let x = x.requires_grad(true)?;
    x.mul(&x)?.sum()?.backward()?;
    assert_eq!(x.grad()?.expect("backward ran").to_vec()?, [2.0, 4.0]);
    let loss = x.mul(&x)?.sum()?;
    loss.backward()?;
    assert_eq!(x.grad()?.expect("backward ran").to_vec()?, [4.0, 8.0]);
    x.zero_grad();
    let y = x.mul(&x)?;
    let gradient = Tensor::from_slice(&d, &[1.0, 10.0], [2])?;
    y.backward_with(&gradient)?;
    assert_eq!(x.grad()?.expect("backward ran").to_vec()?, [2.0, 40.0]);
    let y = no_grad(|| x.mul(&x))?;
    let _ = no_grad(|| ..);
    assert_eq!(x.save("op", "role").tensor()?.to_vec()?, [1.0, 2.0]);
    assert!(!y.needs_grad() && !x.detach().needs_grad() && x.needs_grad());

    let arena = signet::Arena::new(&d)?;
    let p = arena.parameter(&[3.0], [1])?;
    Tensor::from_slice(&d, &[2.0], [1])?.mul(&p)?.sum()?.backward()?;
    assert_eq!(p.grad()?.expect("it has one").to_vec()?, [2.0]);
    p.requires_grad(false)?;
    assert!(!p.needs_grad());
    let layers = layers![Linear::new(1, 1)];
    let model: Sequential = Sequential::new(&d, 0, layers)?;
    model.requires_grad(false)?;
    assert!(model.parameters().iter().all(|p| !p.needs_grad()));

    // The identity, as an op of one's own.
    let function = |inputs: &[Tensor<f64>]| {
        let (inputs, output) = ([Some(&inputs[0])], inputs[0].detach());
        fn closure(_: [Option<NodeId>; 1], _: Tensor<f64>, _: &mut Gradients<'_, f64>) -> Result<()> {
            Ok(())
        }
        Ok(output.with_grad_fn(inputs, closure))
    };
    let (inputs, options) = ([x.detach()], GradcheckOptions::default());
    // Its gradient is missing.
    assert!(gradcheck(function, &inputs, &options).is_err());
    Ok(())
}

#[test]
#[rustfmt::skip]
fn layers_losses_and_optimizers() -> Result<()> {
    let (device, seed, s, lr) = (Device::cpu()?, 0, 0.1, 0.01);
    let _ = layers![
        Conv2d::new(1, 25, 3).padding(1).bias(false), BatchNorm2d::new(25), ReLU, Flatten,
        Dropout::new(0.2), MaxPool2d::new(2).stride(2), Linear::new(675, 512),
        Conv2d::new(32, 32, 3).padding(Padding::Same).groups(32),
        AvgPool2d::new(3).stride(2).padding(1), AdaptiveAvgPool2d::new(1),
    ];
    let (a, b) = (Flatten, Linear::new(784, 24));
    let model: Sequential = Sequential::new(&device, seed, layers![a, b])?;
    {
        struct Own {
            conv: Conv2dModule,
        }
        impl Module for Own {
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                self.conv.forward(input)
            }
            fn state(&self) -> Vec<(String, State)> {
                State::of_parts([("conv", &self.conv)])
            }
        }
        let init = Init::new(&device, seed)?;
        let blocks = vec![Own { conv: Conv2d::new(1, 1, 1).build(&init)? }];
        let x = Tensor::zeros(&device, [1, 1, 2, 2])?;
        assert_eq!(blocks.forward(&x)?.dims(), x.dims());
        assert!(blocks.state_dict()?.get("0.conv.weight").is_some());
    }
    let shape = [32, 1, 28, 28];
    assert!(model.summary(shape)?.to_string().contains("Linear"));
    model.train();
    model.eval();
    model.fuse(true);
    let d = model.state_dict()?;
    model.load_state_dict(&d)?;
    let _ = (checkpoint::save, checkpoint::load);

    let data = synthetic(0, 40, 8).train;
    let loader = DataLoader::new(&device, &data, 32, Some(seed))?;
    let (x, y) = loader.epoch(0, 0)?.next().expect("it has a batch")?;
    let (options, step) = (AugmentOptions::course(), Tensor::from_slice(&device, &[0], [1])?);
    let x = augment(&x, &options, seed, &step)?;
    let output = model.forward(&x)?;
    {
        let (x, shape, y) = (vec![0.5_f32; 6], [3, 2], vec![0, 1, 1000]);
        assert_eq!(DataLoader::from_values(&device, x, shape, y, 32, None)?.batches(), 1);
    }
    let (loss, _) = cross_entropy(&output, &y, &CrossEntropyOptions { label_smoothing: s, ..Default::default() })?;
    assert!(loss.item()?.is_finite());

    let arena = model.arena();
    Adam::new(arena, AdamOptions::adam(lr))?;
    let mut optimizer = Adam::new(arena, AdamOptions::adamw(lr))?;
    let (p, options) = (model.parameters(), AdamOptions::adam(lr));
    optimizer.add_param_group(&p, options)?;
    optimizer.set_group_lr(1, lr)?;
    Sgd::new(arena, SgdOptions::new(lr))?;
    Rmsprop::new(arena, RmspropOptions::new(lr))?;
    Adagrad::new(arena, AdagradOptions::new(lr))?;
    assert!(clip_grad_norm_(arena, 1.0, 2.0)?.item()?.is_finite());
    clip_grad_value_(arena, 0.5)?;
    let (mut plateau, total_steps) = (ReduceLROnPlateau::new(PlateauOptions::default())?, 10);
    {
        let loss = 1.0;
        assert!(!plateau.step(loss, &mut optimizer)?);
    }
    Schedule::one_cycle(total_steps).check()?;
    let (max_lr, one_cycle) = (lr, Schedule::one_cycle(total_steps));
    let _ = |step| one_cycle.lr(max_lr, step);
    for schedule in [
        Schedule::Step { step_size: 1, gamma: 0.5 },
        Schedule::Cosine { warmup: 0, start_factor: 1.0, epochs: 9, eta_min: 0.0 },
    ] {
        schedule.check()?;
    }
    Ok(())
}
