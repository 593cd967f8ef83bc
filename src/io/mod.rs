//! Models as files.
//!
//! | folder | subject |
//! |---|---|
//! | `checkpoint/` | safetensors, and what `torch.save` left behind |
//! | `onnx/` | models for inference elsewhere |
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod onnx;
