//! Against other people's programs: NVIDIA's compiler, onnxruntime.

#[path = "../common/mod.rs"]
mod common;

mod nvrtc;
mod onnx;
