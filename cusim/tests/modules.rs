//! Several modules at once, of the same and of different programs.

mod common;

use common::{Device, compile};
use cudarc::driver::{CudaFunction, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use needs::test_on_cusim as test;

/// A program whose kernel writes `value`.
fn image(name: &str, value: u32) -> Vec<u8> {
    let source = format!("extern \"C\" __global__ void f(unsigned* out) {{ *out = {value}u; }}");
    compile(name, &source, &["--gpu-architecture=sm_86"]).unwrap()
}

/// What the kernel writes.
fn value(device: &Device, function: &CudaFunction) -> u32 {
    let mut out = device.stream.clone_htod(&[0_u32]).unwrap();
    let mut launch = device.stream.launch_builder(function);
    launch.arg(&mut out);
    // SAFETY: the kernel takes one pointer and writes one element.
    unsafe { launch.launch(LaunchConfig::for_num_elems(1)) }.unwrap();
    device.stream.clone_dtoh(&out).unwrap()[0]
}

#[test]
fn copies_of_two_programs_do_not_become_each_other() {
    let device = Device::new();
    let images = [image("modules_one", 1), image("modules_two", 2)];
    let load = |image: &Vec<u8>| {
        let module = device.context.load_module(Ptx::from_binary(image.clone())).unwrap();
        module.load_function("f").unwrap()
    };
    // The first of each is the file itself, the others are copies.
    let functions: Vec<_> = (0..6).map(|i| (i % 2 + 1, load(&images[i % 2]))).collect();
    for (expected, function) in functions {
        assert_eq!(value(&device, &function), expected as u32);
    }
}
