//! ONNX files: what is in them, and that another runtime computes the same.

use crate::common;

use common::host::{Fill, values};
use common::models::{Batch, Training, named_state};
use common::root::{python, root};
use prost::Message;
use signet::nn::{
    Approximate, BatchNorm2d, Conv2d, ELU, GELU, Hardsigmoid, Hardswish, Hardtanh, Layer,
    LeakyReLU, LogSigmoid, Module, ReLU, ReLU6, Sequential, SiLU, Sigmoid, Softplus, Tanh, asl,
};
use signet::onnx::{export, fold_batch_norms, proto};
use signet::{Cpu, Device, Tensor, layers};

const IMAGE: [usize; 3] = [1, 28, 28];

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class {class}")).collect()
}

/// A model whose running statistics have seen something.
fn trained(device: &Device) -> Sequential {
    let mut training = Training::new(device, 5, asl(24));
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
    let dict = trained(&device).state_dict().unwrap();
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
    let state = named_state(&trained(&device));
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

/// Each activation alone, with its nodes run here: one that reads what no node before it wrote, or another
/// formula, fails.
#[test]
fn activations_become_nodes_that_compute_them() {
    let device = Device::from(Cpu::new(Some(1)).unwrap());
    let layers = layers![
        ReLU,
        ReLU6,
        Hardtanh::new(-0.5, 0.75),
        Sigmoid,
        LogSigmoid,
        Tanh,
        SiLU,
        Hardsigmoid,
        Hardswish,
        GELU::new(Approximate::None),
        GELU::new(Approximate::Tanh),
        LeakyReLU::new(0.2),
        ELU::new(1.5),
        Softplus::new(2.0, 20.0),
    ];
    let images: Tensor = Fill::Normal(3.0).draw(&[1, 1, 5, 9], 1, 0).on(&device);
    for layer in layers {
        let model = Sequential::<f32>::new(&device, 0, vec![layer.clone()]).unwrap();
        let dict = model.state_dict().unwrap();
        let graph =
            graph_of(&export(std::slice::from_ref(&layer), &dict, [1, 5, 9], &[], false).unwrap());
        let expected = values(&model.forward(&images).unwrap());
        for (computed, expected) in run(&graph, &values(&images)).iter().zip(&expected) {
            assert!((computed - expected).abs() < 1e-5, "{layer:?}: {computed} for {expected}");
        }
    }
}

fn graph_of(file: &[u8]) -> proto::Graph {
    proto::Model::decode(file).unwrap().graph.unwrap()
}

/// What the nodes make of `images`, by the definitions of the operator set.
fn run(graph: &proto::Graph, images: &[f64]) -> Vec<f64> {
    let mut known = std::collections::HashMap::from([("images", images.to_vec())]);
    for tensor in &graph.initializer {
        assert!(tensor.dims.is_empty(), "{}: a scalar", tensor.name);
        let value = f32::from_le_bytes(tensor.raw_data[..].try_into().unwrap());
        known.insert(&tensor.name, vec![f64::from(value); images.len()]);
    }
    for node in &graph.node {
        let input: Vec<_> = node.input.iter().map(|name| known[name.as_str()].clone()).collect();
        let attribute = |name: &str| {
            let found = node.attribute.iter().find(|attribute| attribute.name == name);
            f64::from(found.and_then(|attribute| attribute.f).unwrap_or_else(|| panic!("{name}")))
        };
        let one = |i: usize| {
            let (x, y) = (input[0][i], || input[1][i]);
            match node.op_type.as_str() {
                "Relu" => x.max(0.0),
                "Clip" => x.max(y()).min(input[2][i]),
                "Sigmoid" => 1.0 / (1.0 + (-x).exp()),
                "Softplus" => x.exp().ln_1p(),
                "Neg" => -x,
                "Tanh" => x.tanh(),
                "Erf" => erf(x),
                "HardSigmoid" => (attribute("alpha") * x + attribute("beta")).clamp(0.0, 1.0),
                "LeakyRelu" => {
                    if x < 0.0 {
                        attribute("alpha") * x
                    } else {
                        x
                    }
                }
                "Elu" => {
                    if x < 0.0 {
                        attribute("alpha") * x.exp_m1()
                    } else {
                        x
                    }
                }
                "Mul" => x * y(),
                "Div" => x / y(),
                "Add" => x + y(),
                "Pow" => x.powf(y()),
                other => panic!("{other}"),
            }
        };
        let output = (0..images.len()).map(one).collect();
        known.insert(&node.output[0], output);
    }
    known["logits"].clone()
}

/// By the tensor's own method, which other tests compare with PyTorch's.
fn erf(x: f64) -> f64 {
    let device = Device::from(Cpu::new(Some(1)).unwrap());
    Tensor::from_slice(&device, &[x], [1]).unwrap().erf().unwrap().item().unwrap()
}

#[test]
fn folding_computes_the_same() {
    let device = Device::from(Cpu::new(Some(1)).unwrap());
    let model = trained(&device);
    let named: Vec<(usize, Layer)> = asl(24).into_iter().enumerate().collect();
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
    let other = Sequential::<f32>::new(&device, 0, layers).unwrap();
    other.load_state_dict(&renamed.into_iter().collect()).unwrap();
    other.eval();
    let images: Tensor = Fill::Normal(1.0).draw(&[7, 1, 28, 28], 1, 0).on(&device);
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
}

/// 256 images through onnxruntime, folded or not, to 1e-5 of the largest logit.
#[needs::test(onnxruntime)]
fn onnxruntime_computes_the_same() {
    let device = Device::from(Cpu::new(Some(2)).unwrap());
    let model = trained(&device);
    let images: Tensor = Fill::Normal(1.0).draw(&[256, 1, 28, 28], 1, 0).on(&device);
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
        std::fs::write(&file, export(&asl(24), &dict, IMAGE, &names(24), fold).unwrap()).unwrap();
        let script = root().join("docs/interop/check_onnx.py");
        let run = python().arg(script).arg(&file).arg(&examples).output().unwrap();
        let output = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{output}{}", String::from_utf8_lossy(&run.stderr));
        println!("fold {fold}: {output}");
    }
}
