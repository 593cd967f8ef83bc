//! ONNX files: what is in them, and that another runtime computes the same.

use crate::common;

use common::host::{Fill, values};
use common::models::{Batch, Training, named_state};
use common::root::{python, root};
use prost::Message;
use signet::nn::{
    AdaptiveAvgPool2d, AvgPool2d, BatchNorm2d, Conv2d, Flatten, Layer, Linear, MaxPool2d, Module,
    ReLU, Sequential, asl,
};
use signet::onnx::{export, fold_batch_norms, proto};
use signet::ops::conv2d::Padding;
use signet::{Cpu, Device, Tensor, layers};

const IMAGE: [usize; 3] = [1, 28, 28];

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class {class}")).collect()
}

/// Geometries that the course's network has not.
fn geometries() -> Vec<Layer> {
    layers![
        Conv2d::new(1, 6, [4, 3]).padding(Padding::Same),
        Conv2d::new(6, 12, 3).groups(3).stride(2).padding([[1, 0], [2, 1]]),
        Conv2d::new(12, 12, 3).groups(12).dilation(2).padding(2).bias(false),
        BatchNorm2d::new(12),
        ReLU,
        MaxPool2d::new(2).stride(1).padding(1).dilation([2, 3]),
        AvgPool2d::new(3).stride(2).padding(1).count_include_pad(false).ceil_mode(true),
        AvgPool2d::new(2).padding(1),
        AdaptiveAvgPool2d::new(1),
        Flatten,
        Linear::new(12, 24),
    ]
}

/// A model of `layers` whose running statistics have seen something.
fn trained(device: &Device, layers: Vec<Layer>) -> Sequential {
    let mut training = Training::new(device, 5, layers);
    for step in 0..3 {
        training.model.context().set_step(step).unwrap();
        training.step(&Batch::random(9, step));
    }
    training.model.eval();
    training.model
}

fn decode(file: &[u8]) -> proto::Graph {
    let model = proto::Model::decode(file).unwrap();
    assert_eq!((model.ir_version, model.opset_import[0].version), (7, 13));
    assert_eq!(model.metadata_props[0].value.lines().count(), 24);
    model.graph.unwrap()
}

#[test]
fn the_graph_is_the_chain_of_layers() {
    let device = Device::from(Cpu::new(Some(1)).unwrap());
    let dict = trained(&device, asl(24)).state_dict().unwrap();
    let graph = decode(&export(&asl(24), &dict, IMAGE, &names(24), false).unwrap());
    let ops: Vec<_> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
    let block = ["Conv", "BatchNormalization", "Relu", "MaxPool"];
    let head = ["Flatten", "Gemm", "Relu", "Gemm"];
    assert_eq!(ops, [&block[..], &block, &block, &head].concat());
    // A chain: each reads what the one before wrote.
    let mut last = "images";
    for node in &graph.node {
        assert_eq!(node.input[0], last, "{}", node.name);
        last = &node.output[0];
    }
    assert_eq!(last, "logits");
    // Everything else that is read is there, with the model's values.
    let state = named_state(&trained(&device, asl(24)));
    for name in graph.node.iter().flat_map(|node| &node.input[1..]) {
        let tensor = graph.initializer.iter().find(|t| t.name == *name).expect("it is there");
        let dims: Vec<usize> = tensor.dims.iter().map(|&size| size as usize).collect();
        let values: Vec<f64> = tensor
            .raw_data
            .chunks(4)
            .map(|x| f64::from(f32::from_le_bytes(x.try_into().unwrap())))
            .collect();
        assert_eq!(
            (dims, values),
            (state[name].shape.clone(), state[name].values.clone()),
            "{name}"
        );
    }
}

#[test]
fn folding_computes_the_same() {
    let device = Device::from(Cpu::new(Some(1)).unwrap());
    for layers in [asl(24), geometries()] {
        folding_computes_the_same_of(&device, layers);
    }
}

fn folding_computes_the_same_of(device: &Device, layers: Vec<Layer>) {
    let model = trained(device, layers.clone());
    let named: Vec<(usize, Layer)> = layers.into_iter().enumerate().collect();
    let (folded, dict) = fold_batch_norms(&named, &model.state_dict().unwrap()).unwrap();
    assert!(folded.iter().all(|(_, layer)| layer.name() != "BatchNorm2d"));
    // The same keys as a model whose layers are numbered anew.
    let renamed = dict.iter().map(|(key, value)| {
        let (index, name) = key.split_once('.').unwrap();
        let place = folded.iter().position(|(i, _)| i.to_string() == index).unwrap();
        (format!("{place}.{name}"), value.clone())
    });
    let renamed: Vec<_> = renamed.collect();
    let layers = folded.iter().map(|(_, layer)| layer.clone()).collect();
    let other = Sequential::<f32>::new(device, 0, layers).unwrap();
    other.load_state_dict(&renamed.into_iter().collect()).unwrap();
    other.eval();
    let images: Tensor = Fill::Normal(1.0).draw(&[7, 1, 28, 28], 1, 0).on(device);
    let (a, b) = (model.forward(&images).unwrap(), other.forward(&images).unwrap());
    let scale = values(&a).iter().fold(0.0, |scale: f64, x| scale.max(x.abs()));
    for (a, b) in values(&a).iter().zip(values(&b)) {
        assert!((a - b).abs() <= 1e-5 * scale, "{a} {b}");
    }
}

#[test]
fn what_cannot_be_expressed_is_an_error() {
    let device = Device::from(Cpu::new(Some(1)).unwrap());
    let norm = BatchNorm2d { track_running_stats: false, ..BatchNorm2d::new(4) };
    let layers = layers![Conv2d::new(1, 4, 3), norm, ReLU];
    let dict = Sequential::<f32>::new(&device, 0, layers.clone()).unwrap().state_dict().unwrap();
    let refuse = |layers: &[Layer], fold, expected: &str| {
        let error = export(layers, &dict, IMAGE, &[], fold).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refuse(&layers, false, "without running statistics");
    refuse(&layers, true, "keeps no running statistics");
    refuse(
        &[Conv2d::new(1, 4, 3).into(), ReLU.into(), Conv2d::new(4, 4, 3).into()],
        false,
        "Conv2d needs 2.weight",
    );
    refuse(&[Conv2d::new(3, 4, 3).into()], false, "channels");
    refuse(&[AvgPool2d::new(2).divisor_override(3).into()], false, "divides by 3");
    refuse(&[AdaptiveAvgPool2d::new(2).into()], false, "to 1 alone");
    refuse(&[Conv2d::new(1, 4, 3).stride(2).padding(Padding::Same).into()], false, "stride");
}

/// 256 images through onnxruntime, folded or not, to 1e-5 of the largest logit.
#[needs::test(onnxruntime)]
fn onnxruntime_computes_the_same() {
    let device = Device::from(Cpu::new(Some(2)).unwrap());
    for layers in [asl(24), geometries()] {
        onnxruntime_computes_the_same_of(&device, &layers);
    }
}

fn onnxruntime_computes_the_same_of(device: &Device, layers: &[Layer]) {
    let model = trained(device, layers.to_vec());
    let images: Tensor = Fill::Normal(1.0).draw(&[256, 1, 28, 28], 1, 0).on(device);
    let logits = model.forward(&images).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let examples = folder.path().join("examples.safetensors");
    let example = |tensor: &Tensor| signet::nn::Value {
        shape: tensor.shape().clone(),
        values: signet::nn::Values::F32(tensor.to_vec().unwrap()),
    };
    let pairs = [("images", &images), ("logits", &logits)];
    let dict =
        pairs.into_iter().map(|(name, tensor)| (name.to_string(), example(tensor))).collect();
    signet::checkpoint::save(&examples, &dict, None).unwrap();
    for fold in [false, true] {
        let file = folder.path().join(format!("model-{fold}.onnx"));
        let dict = model.state_dict().unwrap();
        std::fs::write(&file, export(layers, &dict, IMAGE, &names(24), fold).unwrap()).unwrap();
        let script = root().join("docs/interop/check_onnx.py");
        let run = python().arg(script).arg(&file).arg(&examples).output().unwrap();
        let output = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{output}{}", String::from_utf8_lossy(&run.stderr));
        println!("fold {fold}: {output}");
    }
}
