//! Against other people's programs: NVIDIA's compiler, onnxruntime, PIL.

#[path = "../common/mod.rs"]
mod common;

mod nvrtc;
mod onnx;
mod photo;
