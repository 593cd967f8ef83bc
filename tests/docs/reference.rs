//! Every call that `docs/reference.md` names, as it is printed there: compiled here, and run.

use signet::data::{DataLoader, read_cifar10, synthetic};
use signet::nn::{
    AdaptiveAvgPool2d, Approximate, AvgPool2d, BatchNorm2d, Conv2d, Conv2dModule, Dropout, ELU,
    Embedding, Flatten, Forward, GELU, GroupNorm, Hardsigmoid, Hardswish, Hardtanh, Init,
    LayerNorm, LeakyReLU, Linear, LogSigmoid, LogSoftmax, MaxPool2d, Model, Module, ReLU, ReLU6,
    Sequential, SiLU, Sigmoid, Softmax, Softplus, Tanh, generate_square_subsequent_mask,
};
use signet::ops::augment::{AugmentOptions, augment};
use signet::ops::conv2d::Padding;
use signet::ops::cross_entropy::{
    CrossEntropyOptions, Reduction, cross_entropy, cross_entropy_loss,
};
use signet::ops::elementwise_loss::{
    binary_cross_entropy_with_logits, huber_loss, l1_loss, mse_loss, smooth_l1_loss,
};
use signet::ops::embedding::embedding;
use signet::ops::index::PadMode;
use signet::ops::layer_norm::{group_norm, layer_norm};
use signet::ops::nll_loss::nll_loss;
use signet::optim::{
    Adagrad, AdagradOptions, Adam, AdamOptions, Ema, Optimizer, PlateauOptions, ReduceLROnPlateau,
    Rmsprop, RmspropOptions, Schedule, Sgd, SgdOptions, clip_grad_norm_, clip_grad_value_,
};
use signet::rng::{Philox, Sequence};
use signet::train::{FitEpoch, FitOptions, TrainStep, evaluate, fit};
use signet::{
    Cpu, Device, GradcheckOptions, Gradients, NodeId, Result, Tensor, checkpoint, gradcheck,
    layers, modules, no_grad,
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
    for result in [x.add(&y)?, x.sub(&y)?, x.mul(&y)?, x.div(&y)?, x.matmul(&y)?, x.softmax(1)?, x.log_softmax(-1)?, x.maximum(&y)?, x.minimum(&y)?, x.pow_tensor(&y)?] {
        assert_eq!(result.dims(), shape);
    }
    let masks = [x.eq(&y)?, x.ne(&y)?, x.lt(&y)?, x.le(&y)?, x.gt(&y)?, x.ge(&y)?];
    let mask: &Tensor<u8> = &masks[0];
    assert_eq!(mask.where_cond(&x, &y)?.dims(), shape);
    for result in [
        x.add_scalar(2.0)?, x.mul_scalar(2.0)?, x.pow(2.0)?, x.clamp(Some(-1.0), None)?,
        x.neg()?, x.abs()?, x.square()?, x.reciprocal()?, x.sqrt()?, x.rsqrt()?,
        x.exp()?, x.expm1()?, x.log()?, x.log1p()?, x.sin()?, x.cos()?, x.tanh()?, x.erf()?,
        x.floor()?, x.ceil()?, x.round()?, x.trunc()?,
        x.relu()?, x.sigmoid()?, x.logsigmoid()?, x.silu()?,
        x.leaky_relu(0.01)?, x.elu(1.0)?, x.softplus(1.0, 20.0)?,
        x.gelu(Approximate::None)?, x.gelu(Approximate::Tanh)?,
        x.hardsigmoid()?, x.hardswish()?, x.hardtanh(-1.0, 1.0)?,
    ] {
        assert_eq!(result.dims(), shape);
    }
    assert_eq!([x.sum()?.item()?, x.mean()?.item()?], [10.0, 2.5]);
    assert_eq!(x.reshape(shape)?.to_vec()?, x.flatten(1)?.to_vec()?);
    {
        let x = Tensor::<f32>::zeros(&d, [2, 3, 4])?;
        for result in [
            x.sum_dim(&[0, 2], true)?, x.mean_dim(&[1], false)?, x.var_dim(&[1], 1, false)?,
            x.amax(&[1], false)?, x.amin(&[1], false)?, x.norm(2.0, &[1], false)?,
        ] {
            assert_eq!(result.to_vec()?, vec![0.0; result.numel()]);
        }
        assert_eq!(x.logsumexp(&[1], false)?.dims(), [2, 4]);
        let _ = (x.max_dim(1, false)?, x.min_dim(1, false)?);
        let _ = (x.argmax(1, false)?, x.argmin(1, false)?);
        let y = x.select(0, -1)?;
        let shape = [7, 3, 4];
        for (result, sizes) in [
            (x.flatten_dims(0, 1)?, &[6, 4][..]), (x.reshape([2, -1])?, &[2, 12]), (x.squeeze(0)?, &[2, 3, 4]),
            (x.unsqueeze(0)?, &[1, 2, 3, 4]), (x.permute(&[0, 2, 1])?, &[2, 4, 3]),
            (x.transpose(0, 1)?, &[3, 2, 4]), (y.t()?, &[4, 3]), (x.flip(&[1])?, &[2, 3, 4]),
            (x.narrow(1, 0, 2)?, &[2, 2, 4]), (Tensor::cat(&[&x, &x], 1)?, &[2, 6, 4]),
            (Tensor::stack(&[&x, &x], 0)?, &[2, 2, 3, 4]), (y.expand(&[5, -1, -1])?, &[5, 3, 4]),
            (y.broadcast_to(shape)?, &[7, 3, 4]), (x.pad(&[1, 1, 0, 2], 0.0)?, &[2, 5, 6]),
            (x.pad_mode(&[1, 1, 0, 2], PadMode::Reflect)?, &[2, 5, 6]),
            (x.pad_mode(&[1, 1], PadMode::Replicate)?, &[2, 3, 6]), (x.pad_mode(&[1, 1], PadMode::Circular)?, &[2, 3, 6]),
        ] {
            assert_eq!(result.dims(), sizes);
        }
        assert_eq!([x.split(2, 0)?.len(), x.chunk(2, 1)?.len()], [1, 2]);
        let index = Tensor::from_slice(&d, &[1], [1, 1, 1])?;
        let (weight, ids) = (y.clone(), Tensor::from_slice(&d, &[1], [1])?);
        assert_eq!([x.gather(1, &index)?.numel(), x.index_select(0, &ids)?.numel()], [1, 12]);
        assert_eq!(embedding(&weight, &ids, None)?.dims(), [1, 4]);
    }
    let (seed, stream, step, weights) = (0, 0, 0, [0.0_f32, 2.0]);
    let mut random: Sequence = Philox::new(seed).sequence(stream, step);
    assert_eq!(random.multinomial(&weights)?, 1);
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
        LayerNorm::new([512]), GroupNorm::new(5, 25), Softmax::new(1), LogSoftmax::new(1),
        Sigmoid, Tanh, SiLU, GELU::default(), ReLU6, LogSigmoid, Hardsigmoid, Hardswish,
        LeakyReLU::new(0.01), ELU::new(1.0), Softplus::new(1.0, 20.0), Hardtanh::new(-1.0, 1.0),
        Conv2d::new(32, 32, 3).padding(Padding::Same).groups(32),
        AvgPool2d::new(3).stride(2).padding(1), AdaptiveAvgPool2d::new(1),
    ];
    let _ = Embedding::new(1000, 64).padding_idx(0);
    let n = 3;
    let mask: Tensor = generate_square_subsequent_mask(&device, n)?;
    assert_eq!(mask.dims(), [n, n]);
    let (a, b) = (Flatten, Linear::new(784, 24));
    let model: Sequential = Sequential::new(&device, seed, layers![a, b])?;
    {
        #[derive(Module)]
        struct Own {
            conv: Conv2dModule,
            #[module(parameter)]
            scale: Tensor,
            #[module(buffer)]
            mean: Tensor,
            #[module(skip)]
            times: usize,
        }
        impl Forward for Own {
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                (0..self.times).try_fold(input.clone(), |x, _| self.conv.forward(&x))
            }
        }
        let init = Init::new(&device, seed)?;
        let conv = Conv2d::new(1, 1, 1).build(&init)?;
        let (scale, mean) = (init.constant(1.0, [1])?, Tensor::zeros(&device, [1])?);
        let own = Own { conv, scale, mean, times: 2 };
        let model = Sequential::of(&init, modules![own, ReLU]);
        let x = Tensor::zeros(&device, [1, 1, 2, 2])?;
        assert_eq!(model.forward(&x)?.dims(), x.dims());
        let blocks = vec![model];
        assert_eq!(blocks.forward(&x)?.dims(), x.dims());
        let keys: Vec<_> = blocks[0].state().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["0.conv.weight", "0.conv.bias", "0.scale", "0.mean"]);
        let layers = layers![ReLU, layers![a, ReLU]];
        let nested: Sequential = Sequential::new(&device, seed, layers)?;
        assert_eq!(nested.modules()[1].name(), "Sequential");
    }
    let shape = [32, 1, 28, 28];
    assert!(model.summary(shape)?.to_string().contains("Linear"));
    model.train();
    model.eval();
    model.fuse(true);
    let d = model.state_dict()?;
    model.load_state_dict(&d)?;
    let _ = (checkpoint::save, checkpoint::load);

    let folder = "no such folder";
    assert!(read_cifar10(folder).is_err());
    let data = synthetic(0, 40, 8).train;
    {
        let (loader, classes) = (DataLoader::new(&device, &data, 32, None)?, 24);
        assert_eq!(evaluate(&model, model.context(), &loader, classes)?.losses.len(), 40);
    }
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

#[test]
#[rustfmt::skip]
fn losses_and_norms() -> Result<()> {
    let (d, n, groups, b) = (Device::cpu()?, 4, 2, 0.5);
    let x = Tensor::from_slice(&d, &[0.0_f32, 1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 0.0], [2, n])?;
    let (t, weight, bias) = (x.detach(), Tensor::from_slice(&d, &[1.0_f32; 4], [n])?, Tensor::zeros(&d, [n])?);
    let y = Tensor::from_slice(&d, &[3, 0], [2])?;
    let loss = cross_entropy_loss(&x, &y, Some(&weight), &Default::default())?;
    let log_p = x.log_softmax(1)?;
    {
        let x = log_p;
        let ones = nll_loss(&x, &y, None, 0, Reduction::Mean)?;
        assert!((loss.item()? - ones.item()?).abs() < 1e-6);
    }
    for nothing in [
        mse_loss(&x, &t, Reduction::Mean)?, l1_loss(&x, &t, Reduction::Sum)?,
        smooth_l1_loss(&x, &t, Reduction::Mean, b)?, huber_loss(&x, &t, Reduction::Mean, b)?,
    ] {
        assert_eq!(nothing.item()?, 0.0);
    }
    let each = binary_cross_entropy_with_logits(&x, &t, Some(&weight), Reduction::None, None)?;
    assert_eq!(each.dims(), x.dims());
    let rows = layer_norm(&x, [n], Some(&weight), Some(&bias), 1e-5)?;
    assert!(rows.sum()?.item()?.abs() < 1e-5);
    assert!(group_norm(&x, groups, None, None, 1e-5)?.sum()?.item()?.abs() < 1e-5);
    Ok(())
}

#[test]
#[rustfmt::skip]
fn steps_of_any_model() -> Result<()> {
    let (device, seed) = (Device::cpu()?, 0);
    let build = |init: &Init| Linear::new(2, 2).build(init);
    let model = Model::new(&device, seed, build)?;
    let x = Tensor::from_slice(&device, &[1.0, 2.0, 3.0, 4.0], [2, 2])?;
    let batch = (x, Tensor::from_slice(&device, &[0, 1], [2])?);
    let optimizer = Adam::new(model.arena(), AdamOptions::adam(0.01))?;
    let loss = |(x, y): &(Tensor, Tensor<i32>)| {
        Ok(cross_entropy(&model.forward(x)?, y, &Default::default())?.0)
    };
    let mut ema = Ema::new(model.arena(), 0.999)?;
    let mut step = TrainStep::new(&model, model.context(), optimizer, loss)?;
    step.accumulate(4)?;
    step.clip_grad_norm(model.arena(), 1.0);
    step.average(&mut ema);
    let first = step.run(&batch)?.item()?;
    assert!(!step.plan(&batch)?.is_empty());
    let batches = |_| Ok((0..4).map(|_| Ok(batch.clone())));
    let (mut least, watch) = (1.0, |_: &FitEpoch| true);
    let validate = || { least /= 2.0; Ok(least) };
    let done = fit(&mut step, batches, validate, &FitOptions::new(20).patience(3), watch)?;
    assert!(done.epochs[19].train_loss < f64::from(first));
    drop(step);
    ema.swap()?;
    Ok(())
}
