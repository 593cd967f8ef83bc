//! What a file may name. Whatever is not here is refused, by its name.

use super::object::Element;

/// Something that a pickle names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `OrderedDict()`, or of pairs.
    OrderedDict,
    /// `set(list)`.
    Set,
    /// `torch.Size(tuple)`.
    Size,
    /// A class of storages.
    Storage(Element),
    /// The classes of tensors.
    Tensor,
    /// `_rebuild_tensor(storage, offset, size, stride)`, and with more arguments behind.
    RebuildTensor,
    /// `_rebuild_parameter(tensor, requires_grad, hooks)`.
    RebuildParameter,
    /// `_rebuild_from_type_v2(function, type, arguments, state)`.
    RebuildFromType,
    /// A class of modules.
    Module,
    /// A function whose result nobody asks for.
    Ignored,
    /// A value that nobody asks for, such as `torch.float32`.
    Value,
}

/// Storages, which `torch` and `torch.cuda` have.
const STORAGES: [(&str, Element); 10] = [
    ("FloatStorage", Element::F32),
    ("DoubleStorage", Element::F64),
    ("HalfStorage", Element::F16),
    ("BFloat16Storage", Element::BF16),
    ("LongStorage", Element::I64),
    ("IntStorage", Element::I32),
    ("ShortStorage", Element::Other("int16", 2)),
    ("CharStorage", Element::Other("int8", 1)),
    ("ByteStorage", Element::Other("uint8", 1)),
    ("BoolStorage", Element::Other("bool", 1)),
];

const OTHERS: [(&str, &str, Global); 19] = [
    ("collections", "OrderedDict", Global::OrderedDict),
    ("builtins", "set", Global::Set),
    ("__builtin__", "set", Global::Set),
    ("torch", "Size", Global::Size),
    ("torch", "Tensor", Global::Tensor),
    ("torch._tensor", "Tensor", Global::Tensor),
    ("torch.nn.parameter", "Parameter", Global::Tensor),
    ("torch.nn.parameter", "Buffer", Global::Tensor),
    ("torch._utils", "_rebuild_tensor", Global::RebuildTensor),
    ("torch._utils", "_rebuild_tensor_v2", Global::RebuildTensor),
    ("torch._utils", "_rebuild_parameter", Global::RebuildParameter),
    ("torch._utils", "_rebuild_parameter_with_state", Global::RebuildParameter),
    ("torch._tensor", "_rebuild_from_type_v2", Global::RebuildFromType),
    ("torch", "device", Global::Ignored),
    ("_codecs", "encode", Global::Ignored),
    ("torch.nn.backends.thnn", "_get_thnn_function_backend", Global::Ignored),
    ("torch.nn.modules.module", "Module", Global::Module),
    // The block of the course's notebooks: a module with a Sequential in it.
    ("__main__", "MyConvBlock", Global::Module),
    ("utils", "MyConvBlock", Global::Module),
];

const DTYPES: [&str; 10] = [
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
];

/// The modules of `torch.nn`, by the files that they are in.
const MODULES: [(&str, &[&str]); 13] = [
    ("torch.nn.modules.container", &["Sequential", "ModuleList", "ModuleDict", "ParameterList"]),
    ("torch.nn.modules.conv", &["Conv1d", "Conv2d", "Conv3d", "ConvTranspose2d"]),
    ("torch.nn.modules.batchnorm", &["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"]),
    ("torch.nn.modules.normalization", &["GroupNorm", "LayerNorm", "LocalResponseNorm"]),
    (
        "torch.nn.modules.activation",
        &[
            "ReLU",
            "ReLU6",
            "LeakyReLU",
            "PReLU",
            "ELU",
            "SELU",
            "GELU",
            "SiLU",
            "Mish",
            "Tanh",
            "Sigmoid",
            "Softmax",
            "LogSoftmax",
            "Hardtanh",
            "Hardswish",
            "Hardsigmoid",
            "Softplus",
        ],
    ),
    (
        "torch.nn.modules.dropout",
        &["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"],
    ),
    ("torch.nn.modules.flatten", &["Flatten", "Unflatten"]),
    ("torch.nn.modules.linear", &["Linear", "Identity", "Bilinear"]),
    (
        "torch.nn.modules.pooling",
        &[
            "MaxPool1d",
            "MaxPool2d",
            "AvgPool1d",
            "AvgPool2d",
            "AdaptiveAvgPool2d",
            "AdaptiveMaxPool2d",
        ],
    ),
    ("torch.nn.modules.loss", &["CrossEntropyLoss", "NLLLoss", "MSELoss", "BCEWithLogitsLoss"]),
    ("torch.nn.modules.padding", &["ZeroPad2d", "ReflectionPad2d", "ConstantPad2d"]),
    ("torch.nn.parallel.data_parallel", &["DataParallel"]),
    ("torch.nn.parallel.distributed", &["DistributedDataParallel"]),
];

/// What `module.name` is, if a file may name it.
pub(super) fn find(module: &str, name: &str) -> Option<Global> {
    if matches!(module, "torch" | "torch.cuda")
        && let Some((_, element)) = STORAGES.iter().find(|(known, _)| *known == name)
    {
        return Some(Global::Storage(*element));
    }
    let is_module = MODULES.iter().any(|(file, names)| *file == module && names.contains(&name));
    if is_module {
        return Some(Global::Module);
    }
    if module == "torch" && DTYPES.contains(&name) {
        return Some(Global::Value);
    }
    OTHERS.iter().find(|(m, n, _)| (*m, *n) == (module, name)).map(|(.., global)| *global)
}
