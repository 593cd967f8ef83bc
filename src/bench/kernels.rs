//! The plain kernels at the sizes of the ASL network.

use super::training::{CLASSES, IMAGES};
use super::{Case, Effort, Plan, plan};
use crate::data::{Dataset, synthetic};
use crate::device::{Device, Output};
use crate::nn::MaxPool2d;
use crate::ops;
use crate::ops::adam::{AdamGroup, AdamKernels};
use crate::ops::batch_norm2d::{Affine, BatchNorm2dGradients, BatchNorm2dKernels};
use crate::ops::conv2d::{Conv2dGeometry, Conv2dKernels, Conv2dOptions};
use crate::ops::dropout::{DropoutGeometry, DropoutKernels, DropoutMask};
use crate::ops::gather::gather;
use crate::ops::linear::LinearGeometry;
use crate::ops::matmul::{MatmulGeometry, MatmulKernels};
use crate::ops::max_pool2d::{MaxPool2dGeometry, MaxPool2dKernels, max_pool2d};
use crate::ops::sum::ChannelGeometry;
use crate::ops::unary::{Unary, UnaryKernels};
use crate::ops::{Update, UpdateTile};
use crate::optim::AdamOptions;
use crate::rng::{Philox, stream};
use crate::{Result, Shape, Tensor};
use std::rc::Rc;

/// A convolution of the network, 3x3 with padding 1, and the images it sees.
#[derive(Clone, Copy)]
struct Conv {
    name: &'static str,
    channels: [usize; 2],
    side: usize,
}

const CONVS: [Conv; 3] = [
    Conv { name: "conv1", channels: [1, 25], side: 28 },
    Conv { name: "conv2", channels: [25, 50], side: 14 },
    Conv { name: "conv3", channels: [50, 75], side: 7 },
];

/// A fully connected layer: its name, features in and out.
type Layer = (&'static str, usize, usize);

const LINEARS: [Layer; 2] = [("linear1", 675, 512), ("linear2", 512, CLASSES)];

/// Parameters of the network.
const PARAMETERS: usize = 404_099;

const SEED: u64 = 0;

impl Conv {
    fn input(&self, batch: usize) -> Shape {
        Shape::from([batch, self.channels[0], self.side, self.side])
    }

    fn weight(&self) -> Shape {
        Shape::from([self.channels[1], self.channels[0], 3, 3])
    }

    fn output(&self, batch: usize) -> Shape {
        Shape::from([batch, self.channels[1], self.side, self.side])
    }

    fn geometry(&self, batch: usize) -> Result<Conv2dGeometry> {
        let options = Conv2dOptions { padding: 1.into(), ..Default::default() };
        Conv2dGeometry::new(&self.input(batch), &self.weight(), &options)
    }

    fn channel_geometry(&self, batch: usize) -> ChannelGeometry {
        let inner = (self.side * self.side) as u32;
        ChannelGeometry { outer: batch as u32, channels: self.channels[1] as u32, inner }
    }
}

/// The rows of single kernels: all at the first batch, of the others the second convolution, what
/// follows it, and the first fully connected layer.
pub(super) fn plans(effort: Effort) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (i, &batch) in effort.batches().iter().enumerate() {
        for conv in CONVS.into_iter().filter(|conv| i == 0 || conv.name == "conv2") {
            plans.extend(convolution(conv, batch));
            plans.extend(around_convolution(conv, batch));
        }
        for linear in LINEARS.into_iter().filter(|linear| i == 0 || linear.0 == "linear1") {
            plans.extend(products(linear, batch));
        }
        plans.push(plan(format!("dropout/conv2/{batch}"), move |d: &Device| {
            dropout(d, CONVS[1].output(batch))
        }));
        plans
            .push(plan(format!("cross_entropy_forward/{batch}"), move |d| cross_entropy(d, batch)));
        plans.push(plan(format!("gather/{batch}"), move |d| gathering(d, batch)));
    }
    plans.push(plan(format!("adam/{PARAMETERS}"), adam));
    plans
}

fn convolution(conv: Conv, batch: usize) -> Vec<Plan> {
    let forward = move |device: &Device| {
        let (d, g) = (device.clone(), conv.geometry(batch)?);
        let (x, w) = (random(device, conv.input(batch))?, random(device, conv.weight())?);
        let y = random(device, conv.output(batch))?;
        repeat(move || {
            let (x, w) = (x.read(), w.read());
            d.conv2d_forward(&g, x.view(), w.view(), None, y.write().view_mut())
        })
    };
    let backward_input = move |device: &Device| {
        let (d, g) = (device.clone(), conv.geometry(batch)?);
        let (dy, w) = (random(device, conv.output(batch))?, random(device, conv.weight())?);
        let dx = random(device, conv.input(batch))?;
        repeat(move || {
            let (dy, w, mut dx) = (dy.read(), w.read(), dx.write());
            let dx = Output { view: dx.view_mut(), accumulate: false };
            d.conv2d_backward_input(&g, dy.view(), w.view(), dx)
        })
    };
    let backward_weight = move |device: &Device| {
        let (d, g) = (device.clone(), conv.geometry(batch)?);
        let (x, dy) = (random(device, conv.input(batch))?, random(device, conv.output(batch))?);
        let dw = random(device, conv.weight())?;
        repeat(move || {
            let (x, dy, mut dw) = (x.read(), dy.read(), dw.write());
            let dw = Output { view: dw.view_mut(), accumulate: false };
            d.conv2d_backward_weight(&g, x.view(), dy.view(), dw)
        })
    };
    let name = |kernel: &str| format!("{kernel}/{}/{batch}", conv.name);
    vec![
        plan(name("conv2d_forward"), forward),
        plan(name("conv2d_backward_input"), backward_input),
        plan(name("conv2d_backward_weight"), backward_weight),
    ]
}

/// What follows a convolution: batch normalisation, rectifier and pooling.
fn around_convolution(conv: Conv, batch: usize) -> Vec<Plan> {
    let shape = move || conv.output(batch);
    let channels = move || Shape::from([conv.channels[1]]);
    let geometry = conv.channel_geometry(batch);
    let normalise = move |device: &Device| {
        let (d, x, y) = (device.clone(), random(device, shape())?, random(device, shape())?);
        let [mean, invstd, weight, bias] = four(|| random(device, channels()))?;
        repeat(move || {
            let x = x.read();
            {
                let (mut m, mut s) = (mean.write(), invstd.write());
                let (m, s) = (m.view_mut(), s.view_mut());
                d.batch_norm2d_statistics(&geometry, 1e-5, x.view(), m, s, None)?;
            }
            let (weight, bias, m, s) = (weight.read(), bias.read(), mean.read(), invstd.read());
            let affine = Affine { weight: Some(weight.view()), bias: Some(bias.view()) };
            let mut y = y.write();
            let (x, m, s, y) = (x.view(), m.view(), s.view(), y.view_mut());
            d.batch_norm2d_normalize(&geometry, x, m, s, affine, None, false, y)
        })
    };
    let normalise_backward = move |device: &Device| {
        let (d, x, dy) = (device.clone(), random(device, shape())?, random(device, shape())?);
        let dx = random(device, shape())?;
        let [mean, invstd, weight, dw] = four(|| random(device, channels()))?;
        let db = random(device, channels())?;
        repeat(move || {
            let (mut dx, mut dw, mut db) = (dx.write(), dw.write(), db.write());
            let gradients = BatchNorm2dGradients {
                input: Some(Output { view: dx.view_mut(), accumulate: false }),
                weight: Some(Output { view: dw.view_mut(), accumulate: false }),
                bias: Some(Output { view: db.view_mut(), accumulate: false }),
                residual: None,
            };
            let (x, dy) = (x.read(), dy.read());
            let (mean, invstd, weight) = (mean.read(), invstd.read(), weight.read());
            let [x, m, s, w] = [x.view(), mean.view(), invstd.view(), weight.view()];
            d.batch_norm2d_backward(&geometry, true, x, m, s, Some(w), None, dy.view(), gradients)
        })
    };
    let relu = move |device: &Device| {
        let (d, x, y) = (device.clone(), random(device, shape())?, random(device, shape())?);
        repeat(move || {
            d.unary_forward(Unary::relu, [0.0; 2], x.read().view(), y.write().view_mut())
        })
    };
    let relu_backward = move |device: &Device| {
        let (d, y, dy) = (device.clone(), random(device, shape())?, random(device, shape())?);
        let dx = random(device, shape())?;
        repeat(move || {
            let mut dx = dx.write();
            let dx = Output { view: dx.view_mut(), accumulate: false };
            d.unary_backward(Unary::relu, [0.0; 2], y.read().view(), dy.read().view(), dx)
        })
    };
    let pool = move |device: &Device| {
        let (g, pooled) = MaxPool2dGeometry::new(&MaxPool2d::new(2), &shape())?;
        let (d, x, y) = (device.clone(), random(device, shape())?, random(device, pooled.clone())?);
        let argmax = Tensor::<i32>::zeros(device, pooled)?;
        repeat(move || {
            let (mut y, mut argmax) = (y.write(), argmax.write());
            d.max_pool2d_forward(&g, x.read().view(), y.view_mut(), argmax.view_mut())
        })
    };
    let pool_backward = move |device: &Device| {
        let (g, pooled) = MaxPool2dGeometry::new(&MaxPool2d::new(2), &shape())?;
        let d = device.clone();
        let (x, dy) = (random(device, shape())?, random(device, pooled.clone())?);
        let (_, argmax) = max_pool2d(&x, &MaxPool2d::new(2))?;
        repeat(move || {
            // The input is not needed any more: its memory takes the gradient.
            let mut dx = x.write();
            let dx = Output { view: dx.view_mut(), accumulate: false };
            d.max_pool2d_backward(&g, argmax.read().view(), dy.read().view(), dx)
        })
    };
    let name = |kernel: &str| format!("{kernel}/{}/{batch}", conv.name);
    vec![
        plan(name("batch_norm2d_forward"), normalise),
        plan(name("batch_norm2d_backward"), normalise_backward),
        plan(name("relu_forward"), relu),
        plan(name("relu_backward"), relu_backward),
        plan(name("max_pool2d_forward"), pool),
        plan(name("max_pool2d_backward"), pool_backward),
    ]
}

/// The three products of a fully connected layer.
fn products((layer, inputs, outputs): Layer, batch: usize) -> Vec<Plan> {
    let sizes = [batch, inputs, outputs].map(|size| size as u32);
    let [rows, in_features, out_features] = sizes;
    let geometry = LinearGeometry { rows, in_features, out_features };
    let product = move |which: &str, g: MatmulGeometry| {
        let make = move |device: &Device| {
            let d = device.clone();
            let matrix =
                |rows: u32, cols: u32| random(device, Shape::from([rows as usize, cols as usize]));
            let (a, b, c) = (matrix(g.m, g.k)?, matrix(g.k, g.n)?, matrix(g.m, g.n)?);
            repeat(move || {
                let mut c = c.write();
                let c = Output { view: c.view_mut(), accumulate: false };
                d.matmul(&g, a.read().view(), b.read().view(), None, c)
            })
        };
        plan(format!("linear_{which}/{layer}/{batch}"), make)
    };
    vec![
        product("forward", geometry.forward()),
        product("backward_input", geometry.backward_input()),
        product("backward_weight", geometry.backward_weight()),
    ]
}

fn dropout(device: &Device, shape: Shape) -> Result<Case> {
    let (d, x, y) = (device.clone(), random(device, shape.clone())?, random(device, shape)?);
    let DropoutMask { geometry, step } =
        DropoutMask::new(device, DropoutGeometry::new(0.2, SEED, 0)?, 0)?;
    repeat(move || {
        let mut y = y.write();
        let y = Output { view: y.view_mut(), accumulate: false };
        d.dropout(&geometry, step.read().view(), x.read().view(), y)
    })
}

fn cross_entropy(device: &Device, batch: usize) -> Result<Case> {
    let logits = random(device, Shape::from([batch, CLASSES]))?;
    let target: Vec<i32> = (0..batch).map(|row| (row % CLASSES) as i32).collect();
    let target = Tensor::from_slice(device, &target, [batch])?;
    repeat(move || {
        ops::cross_entropy::cross_entropy(&logits, &target, &Default::default()).map(drop)
    })
}

/// A batch from a data set of the real size, or of a smaller one for a smaller batch.
fn gathering(device: &Device, batch: usize) -> Result<Case> {
    let rows = (64 * batch).min(IMAGES);
    let Dataset { pixels, labels, .. } = synthetic(SEED, rows, 0).train;
    let labels: Vec<i32> = labels.into_iter().map(i32::from).collect();
    let order = Philox::new(SEED).permutation(stream::SHUFFLE, 0, rows);
    let pixels = Tensor::from_slice(device, &pixels, [rows, 1, 28, 28])?;
    let labels = Tensor::from_slice(device, &labels, [rows])?;
    let order = Tensor::from_slice(device, &order[..batch], [batch])?;
    repeat(move || gather::<f32>(&pixels, &labels, &order).map(drop))
}

fn adam(device: &Device) -> Result<Case> {
    let d = device.clone();
    let [p, g, m, v] = four(|| random(device, Shape::from([PARAMETERS])))?;
    // Second moments are squares.
    v.set(&vec![1e-3; PARAMETERS])?;
    let group: AdamGroup = AdamOptions::adam(1e-3).into();
    let groups: &[f64] = bytemuck::cast_slice(std::slice::from_ref(&group));
    let groups = Tensor::from_slice(device, groups, [groups.len()])?;
    let tiles: Vec<UpdateTile> = UpdateTile::of::<f32>(0..PARAMETERS as u32, 0, 0).collect();
    let count = tiles.len();
    let tiles = Tensor::from_slice(device, bytemuck::cast_slice(&tiles), [4 * count])?;
    let steps = Tensor::from_slice(device, &[1], [1])?;
    repeat(move || {
        let (tiles, groups, mut steps) = (tiles.read(), groups.read(), steps.write());
        let update = Update {
            tiles: tiles.view(),
            groups: groups.view(),
            steps: steps.view_mut(),
            parameters: 0..1,
            count,
            elements: PARAMETERS,
        };
        let (mut p, mut m, mut v) = (p.write(), m.write(), v.write());
        d.adam(update, p.view_mut(), g.read().view(), m.view_mut(), v.view_mut(), None)
    })
}

/// The same work again and again.
fn repeat(work: impl Fn() -> Result<()> + 'static) -> Result<Case> {
    let work = Rc::new(work);
    Ok(Box::new(move || {
        let work = Rc::clone(&work);
        Ok(Box::new(move || work()))
    }))
}

/// Values from -1 to 1, the same for the same shape.
pub(super) fn random(device: &Device, shape: Shape) -> Result<Tensor> {
    let mut random = Philox::new(SEED).sequence(stream::INIT, shape.numel() as u64);
    let values: Vec<f32> = (0..shape.numel()).map(|_| random.range(-1.0, 1.0) as f32).collect();
    Tensor::from_slice(device, &values, shape)
}

/// Four of a kind.
fn four<V>(mut make: impl FnMut() -> Result<V>) -> Result<[V; 4]> {
    Ok([make()?, make()?, make()?, make()?])
}
