//! The stand-in for NVRTC: options, messages, templates, targets.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use needs::test_on_cusim as test;
use std::ffi::{CStr, CString};

use common::{Device, compile};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{LaunchConfig, PushKernelArg};
use cudarc::nvrtc::{CompileOptions, Ptx, compile_ptx_with_opts, result as nvrtc, sys};

const SM_86: &str = "--gpu-architecture=sm_86";

fn one_thread() -> LaunchConfig {
    LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 }
}

/// What `k(float* out)` of an image writes.
fn value(device: &Device, image: Vec<u8>, kernel: &str) -> f32 {
    let module = device.context.load_module(Ptx::from_binary(image)).unwrap();
    let kernel = module.load_function(kernel).unwrap();
    let mut out = device.stream.alloc_zeros::<f32>(1).unwrap();
    // SAFETY: the argument is the kernel's.
    unsafe { device.stream.launch_builder(&kernel).arg(&mut out).launch(one_thread()).unwrap() };
    device.stream.clone_dtoh(&out).unwrap()[0]
}

#[test]
fn errors_name_the_file_and_line() {
    let source = "#define TWO \\\n  2\nextern \"C\" __global__ void k(float* out) {\n  *out = undeclared;\n}";
    let log = compile("kernels/wrong.cu", source, &[SM_86]).unwrap_err();
    assert!(log.contains("NVRTC_ERROR_COMPILATION"), "{log}");
    assert!(log.contains("kernels/wrong.cu:4:10: error: "), "{log}");
    assert!(log.contains("undeclared"), "{log}");
    let log = compile("missing.cu", "\n#include <stdint.h>\n", &[SM_86]).unwrap_err();
    assert!(log.contains("missing.cu:2:"), "{log}");
}

#[test]
fn options() {
    let device = Device::new();
    let source = "extern \"C\" __global__ void k(float* out) {\n#ifndef CUSIM\n#error\n#endif\n*out = A + B + C * 100 + __CUDA_ARCH__; }";
    let options =
        ["-DA=1", "--define-macro=B=20", "-D", "C", SM_86, "-lineinfo", "--ptxas-options=-v"];
    assert_eq!(value(&device, compile("d.cu", source, &options).unwrap(), "k"), 981.0);
    let log = compile("d.cu", source, &["--gpu-architecture=sm_12"]).unwrap_err();
    assert!(log.contains("NVRTC_ERROR_INVALID_OPTION") && log.contains("sm_12"), "{log}");
    let log = compile("d.cu", source, &["--frobnicate"]).unwrap_err();
    assert!(log.contains("unrecognized option --frobnicate"), "{log}");
}

#[test]
fn kernels_made_by_macros_and_templates() {
    let device = Device::new();
    let source = r#"
        template <typename T> __device__ T twice(T x) { return x + x; }
        #define KERNEL(name, x) extern "C" __global__ void name(float* out) { *out = twice(x); }
        KERNEL(three, 1.5f)
        KERNEL(four, 2)
        namespace { __device__ int hidden() { return 5; } }
        __global__ void mangled(float* out) { *out = hidden(); }"#;
    let image = compile("macros.cu", source, &[SM_86]).unwrap();
    assert_eq!(value(&device, image.clone(), "three"), 3.0);
    assert_eq!(value(&device, image.clone(), "four"), 4.0);
    assert_eq!(value(&device, image.clone(), "_Z7mangledPf"), 5.0);
    // As with nvcc, a name in C++ is mangled.
    let module = device.context.load_module(Ptx::from_binary(image)).unwrap();
    assert_eq!(module.load_function("mangled").unwrap_err().0, CUresult::CUDA_ERROR_NOT_FOUND);
}

#[test]
fn name_expressions_instantiate_templates() {
    let device = Device::new();
    let source =
        c"template <class T, int N> __global__ void k(float* out) { *out = sizeof(T) * N; }";
    let program = nvrtc::create_program(source, Some(c"template.cu")).unwrap();
    let expression = c"k<double, 3>";
    // SAFETY: the program lives to the end of the block; buffers have the sizes asked for.
    let (image, lowered) = unsafe {
        sys::nvrtcAddNameExpression(program, expression.as_ptr()).result().unwrap();
        nvrtc::compile_program(program, &[SM_86]).unwrap();
        let mut lowered = std::ptr::null();
        let got = sys::nvrtcGetLoweredName(program, expression.as_ptr(), &mut lowered);
        got.result().unwrap();
        let lowered = CStr::from_ptr(lowered).to_str().unwrap().to_owned();
        let mut size = 0;
        sys::nvrtcGetCUBINSize(program, &mut size).result().unwrap();
        let mut image = vec![0_u8; size];
        sys::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()).result().unwrap();
        nvrtc::destroy_program(program).unwrap();
        (image, lowered)
    };
    assert_eq!(lowered, "_Z1kIdLi3EEvPf");
    assert_eq!(value(&device, image, &lowered), 24.0);
}

#[test]
fn ptx_through_the_safe_layer() {
    let device = Device::new();
    let source = "extern \"C\" __global__ void k(float* out) { *out = 7; }";
    let options = CompileOptions { arch: Some("compute_80"), ..CompileOptions::default() };
    let ptx = compile_ptx_with_opts(source, options).unwrap();
    let module = device.context.load_module(ptx).unwrap();
    assert!(module.load_function("k").is_ok());
}

#[test]
fn images_for_other_devices_are_refused() {
    let device = Device::new();
    let source = "extern \"C\" __global__ void k(float* out) { *out = 7; }";
    let load = |image| device.context.load_module(Ptx::from_binary(image)).map_err(|e| e.0);
    // The device is an 8.6: an 8.0 image runs on it, an 8.9 and a 9.0 one do not.
    let image = |target: &str| compile("k.cu", source, &[&format!("-arch=sm_{target}")]).unwrap();
    assert!(load(image("80")).is_ok());
    let no_binary = CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU;
    assert_eq!(load(image("89")).unwrap_err(), no_binary);
    assert_eq!(load(image("90")).unwrap_err(), no_binary);
    assert_eq!(load(b"\x7fELF a real one\0".to_vec()).unwrap_err(), no_binary);
    let mut broken = image("86");
    let end = broken.len() - 20;
    broken[end] = 0;
    assert_eq!(load(broken).unwrap_err(), CUresult::CUDA_ERROR_INVALID_IMAGE);
}

#[test]
fn results_are_cached() {
    let device = Device::new();
    let source = "extern \"C\" __global__ void k(float* out) { *out = 8; }";
    let (first, second) =
        (compile("c.cu", source, &[SM_86]).unwrap(), compile("c.cu", source, &[SM_86]).unwrap());
    assert_eq!(first, second);
    assert_ne!(first, compile("c.cu", source, &[SM_86, "-DX"]).unwrap());
    assert!(device.sim.nvrtc_calls("nvrtcCompileProgram") >= 3);
}

#[test]
fn headers_in_memory() {
    let (name, text) = (CString::new("lib/two.cuh").unwrap(), c"#define TWO 2\n");
    let source =
        c"#include \"lib/two.cuh\"\nextern \"C\" __global__ void k(float* o) { *o = TWO; }";
    common::Device::new();
    let (names, texts) = ([name.as_ptr()], [text.as_ptr()]);
    let mut program = std::ptr::null_mut();
    // SAFETY: arrays of one C string each; the program lives to the end of the block.
    unsafe {
        let (texts, names) = (texts.as_ptr(), names.as_ptr());
        let (place, source) = (&raw mut program, source.as_ptr());
        let made = sys::nvrtcCreateProgram(place, source, c"h.cu".as_ptr(), 1, texts, names);
        made.result().unwrap();
        nvrtc::compile_program(program, &[SM_86]).unwrap();
        nvrtc::destroy_program(program).unwrap();
    }
}
