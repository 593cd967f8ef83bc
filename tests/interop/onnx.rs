//! ONNX files: what is in them, and that another runtime computes the same.

use crate::common;

use common::host::{Fill, values};
use common::models::{Batch, Training, named_state};
use common::root::{python, root};
use prost::Message;
use signet::nn::{
    AdaptiveAvgPool2d, Approximate, AvgPool2d, BatchNorm2d, Conv2d, ELU, Embedding, Flatten,
    Forward, GELU, GroupNorm, Hardsigmoid, Hardswish, Hardtanh, Init, Layer, LayerNorm, LeakyReLU,
    Linear, LogSigmoid, LogSoftmax, MaxPool2d, Module, ReLU, ReLU6, Sequential, SiLU, Sigmoid,
    Softmax, Softplus, StateDict, Tanh, Value, Values, asl,
};
use signet::onnx::{export, export_ids, fold_batch_norms, proto};
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
    for layers in [asl(24), geometries()] {
        folding_computes_the_same_of(&device, layers);
    }
}

fn folding_computes_the_same_of(device: &Device, layers: Vec<Layer>) {
    let model = trained(device, layers.clone());
    let named = layers.into_iter().enumerate();
    let named: Vec<_> = named.map(|(i, layer)| (i.to_string(), layer)).collect();
    let (folded, dict) = fold_batch_norms(&named, &model.state_dict().unwrap()).unwrap();
    assert!(folded.iter().all(|(_, layer)| layer.name() != "BatchNorm2d"));
    // The same keys as a model whose layers are numbered anew.
    let renamed = dict.iter().map(|(key, value)| {
        let (index, name) = key.split_once('.').unwrap();
        let place = folded.iter().position(|(place, _)| place == index).unwrap();
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
        let model = trained(&device, layers.clone());
        let images: Tensor = Fill::Normal(1.0).draw(&[256, 1, 28, 28], 1, 0).on(&device);
        let (folder, dict) = (tempfile::tempdir().unwrap(), model.state_dict().unwrap());
        for fold in [false, true] {
            let file = export(&layers, &dict, IMAGE, &names(24), fold).unwrap();
            agrees(&folder, &format!("fold {fold}"), &file, &model, &images);
        }
    }
}

/// Runs `file` on `images`, and compares with the model.
fn agrees(
    folder: &tempfile::TempDir,
    what: &str,
    file: &[u8],
    model: &Sequential,
    images: &Tensor,
) {
    let logits = model.forward(images).unwrap();
    agrees_on(folder, what, file, "images", floats(images), &logits);
}

fn floats(tensor: &Tensor) -> Value {
    Value { shape: tensor.shape().clone(), values: Values::F32(tensor.to_vec().unwrap()) }
}

/// Runs `file` on `input`, which it calls `name`, and compares with `logits`.
fn agrees_on(
    folder: &tempfile::TempDir,
    what: &str,
    file: &[u8],
    name: &str,
    input: Value,
    logits: &Tensor,
) {
    let [examples, onnx] =
        ["examples.safetensors", "model.onnx"].map(|name| folder.path().join(name));
    let pairs = [(name.to_string(), input), ("logits".to_string(), floats(logits))];
    let dict = pairs.into_iter().collect();
    signet::checkpoint::save(&examples, &dict, None).unwrap();
    std::fs::write(&onnx, file).unwrap();
    let script = root().join("docs/interop/check_onnx.py");
    let run = python().arg(script).arg(&onnx).arg(&examples).output().unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{what}: {output}{}", String::from_utf8_lossy(&run.stderr));
    println!("{what}: {output}");
}

/// Layers with which an image `[2, 3, 4]` goes to 5 classes, and the nodes they become.
fn normalised() -> [(Vec<Layer>, &'static str); 3] {
    let head = || layers![Flatten, Linear::new(24, 5)];
    let mut rows = layers![LayerNorm::new([3, 4]), Linear::new(4, 4), Softmax::new(-2)];
    rows.extend(head());
    let mut groups = layers![GroupNorm::new(2, 2), GroupNorm::new(1, 2).affine(false).eps(0.1)];
    groups.extend(head());
    groups.extend(layers![LogSoftmax::new(1)]);
    let scale = LayerNorm::new([4]).bias(false);
    let mut bare =
        layers![scale, LayerNorm::new([2, 3, 4]).elementwise_affine(false), Softmax::new(1)];
    bare.extend(head());
    let instance = "Reshape InstanceNormalization Reshape";
    let groups_become: &'static str = Box::leak(
        format!("{instance} Mul Add {instance} Flatten Gemm LogSoftmax").into_boxed_str(),
    );
    [
        (rows, "LayerNormalization MatMul Add Softmax Flatten Gemm"),
        (groups, groups_become),
        (bare, "LayerNormalization LayerNormalization Softmax Flatten Gemm"),
    ]
}

fn exported(layers: &[Layer]) -> (Sequential, Vec<u8>) {
    let device = Device::from(Cpu::new(Some(1)).unwrap());
    let model = Sequential::<f32>::new(&device, 3, layers.to_vec()).unwrap();
    // No scale is 1 and no shift is 0.
    for (i, parameter) in model.parameters().into_iter().enumerate() {
        let values = Fill::Normal(1.0).draw(parameter.dims(), 8, i as u32).on::<f32>(&device);
        parameter.set(&values.to_vec().unwrap()).unwrap();
    }
    let dict = model.state_dict().unwrap();
    let file = export(layers, &dict, [2, 3, 4], &names(5), true).unwrap();
    (model, file)
}

#[test]
fn what_normalises_becomes_nodes_that_are_a_chain() {
    for (layers, expected) in normalised() {
        let model = proto::Model::decode(&exported(&layers).1[..]).unwrap();
        let graph = model.graph.unwrap();
        let ops: Vec<_> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
        assert_eq!(ops.join(" "), expected);
        // LayerNormalization came with ONNX 1.12.
        let late = expected.contains("LayerNorm");
        let versions = (model.opset_import[0].version, model.ir_version);
        assert_eq!(versions, if late { (17, 8) } else { (13, 7) });
        let mut last = "images";
        for node in &graph.node {
            assert_eq!(node.input[0], last, "{}", node.name);
            last = &node.output[0];
            for value in &node.input[1..] {
                let values = graph.initializer.iter().filter(|tensor| tensor.name == *value);
                assert_eq!(values.count(), 1, "{value}");
            }
        }
        assert_eq!(last, "logits");
    }
}

#[needs::test(onnxruntime)]
fn onnxruntime_normalises_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (layers, what) in normalised() {
        let (model, file) = exported(&layers);
        let images = Fill::Normal(1.0).draw(&[33, 2, 3, 4], 1, 0);
        let device = Device::from(Cpu::new(Some(1)).unwrap());
        agrees(&folder, what, &file, &model, &images.on(&device));
    }
}

/// Ids of 7 words, 4 at a time, through a table, a norm of each row and a linear layer to 5 classes.
struct Words {
    embedding: Embedding,
    head: Vec<Layer>,
    dict: StateDict,
    /// `[9, 4]`.
    ids: Tensor<i32>,
    /// `[9, 5]`.
    logits: Tensor,
}

fn words() -> Words {
    let device = Device::from(Cpu::new(Some(1)).unwrap());
    let init = Init::new(&device, 4).unwrap();
    let embedding = Embedding::new(7, 6).padding_idx(2);
    let table = embedding.build(&init).unwrap();
    let head = layers![LayerNorm::new([6]), Flatten, Linear::new(24, 5)];
    let layers = head.iter().map(|layer| layer.build(&init).unwrap()).collect();
    let model = Sequential::of(&init, layers);
    // Every id, the last one and that of padding too.
    let ids: Vec<i32> = (0..36).map(|i| i * 5 % 7).collect();
    assert!((0..7).all(|id| ids.contains(&id)));
    let ids = Tensor::from_slice(&device, &ids, [9, 4]).unwrap();
    let logits = model.forward(&table.forward(&ids).unwrap()).unwrap();
    let state = [("words", table.state_dict().unwrap()), ("head", model.state_dict().unwrap())];
    let state = state.iter().flat_map(|(part, dict)| {
        dict.iter().map(move |(key, value)| (format!("{part}.{key}"), value.clone()))
    });
    Words { embedding, head, dict: state.collect(), ids, logits }
}

#[test]
fn an_embedding_becomes_rows_by_their_ids() {
    let Words { embedding, head, dict, .. } = words();
    fn export(embedding: &Embedding, head: &[Layer], dict: &StateDict) -> signet::Result<Vec<u8>> {
        export_ids(("words", embedding), ("head", head), dict, 4, &names(5))
    }
    let graph = graph_of(&export(&embedding, &head, &dict).unwrap());
    let ops: Vec<_> = graph.node.iter().map(|node| node.op_type.as_str()).collect();
    assert_eq!(ops, ["Gather", "LayerNormalization", "Flatten", "Gemm"]);
    assert_eq!(graph.node[0].input, ["words.weight", "ids"]);
    assert_eq!(graph.node[1].input[0], graph.node[0].output[0]);
    let info = graph.input[0].r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    assert_eq!((&*graph.input[0].name, info.elem_type), ("ids", proto::INT64));
    assert_eq!(info.shape.as_ref().unwrap().dim.len(), 2);

    let refused = |embedding: &Embedding, dict: &StateDict, says: &str| {
        let error = export(embedding, &head, dict).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(&Embedding::new(8, 6), &dict, "words.weight is [7, 6], expected [8, 6]");
    let rest = dict.iter().filter(|(key, _)| key.starts_with("head."));
    let rest = rest.map(|(key, value)| (key.to_owned(), value.clone())).collect();
    refused(&embedding, &rest, "Embedding needs words.weight, which is missing");
}

#[needs::test(onnxruntime)]
fn onnxruntime_takes_the_same_rows() {
    let Words { embedding, head, dict, ids, logits } = words();
    let file = export_ids(("words", &embedding), ("head", &head), &dict, 4, &names(5)).unwrap();
    let values = ids.to_vec().unwrap().into_iter().map(i64::from).collect();
    let input = Value { shape: ids.shape().clone(), values: Values::I64(values) };
    agrees_on(&tempfile::tempdir().unwrap(), "ids", &file, "ids", input, &logits);
}
