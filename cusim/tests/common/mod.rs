//! What the tests share: a device, a way to compile, random numbers.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::ffi::{CStr, CString};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, CudaStream};
use cudarc::nvrtc::{Ptx, result as nvrtc, sys};
use cusim::Sim;

pub struct Device {
    pub sim: &'static Sim,
    pub context: Arc<CudaContext>,
    pub stream: Arc<CudaStream>,
}

impl Device {
    pub fn new() -> Self {
        let sim = Sim::load().expect("cusim was built with this test");
        let context = CudaContext::new(0).unwrap();
        // SAFETY: before the first allocation; one stream is all there is.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().unwrap();
        Self { sim, context, stream }
    }

    /// Compiles a program called `name` and returns one of its kernels.
    pub fn kernel(&self, name: &str, source: &str, kernel: &str) -> CudaFunction {
        let image = compile(name, source, &["--gpu-architecture=sm_86"]).unwrap();
        let module = self.context.load_module(Ptx::from_binary(image)).unwrap();
        module.load_function(kernel).unwrap()
    }
}

/// A program's CUBIN, or NVRTC's log.
pub fn compile(name: &str, source: &str, options: &[&str]) -> Result<Vec<u8>, String> {
    Sim::load().expect("cusim was built with this test");
    let (name, source) = (CString::new(name).unwrap(), CString::new(source).unwrap());
    let program = nvrtc::create_program(&source, Some(&name)).unwrap();
    // SAFETY: the program exists until it is destroyed below.
    unsafe {
        let compiled = nvrtc::compile_program(program, options);
        let log = nvrtc::get_program_log(program).unwrap();
        let log = CStr::from_ptr(log.as_ptr()).to_string_lossy().into_owned();
        let image = compiled.map_err(|e| format!("{e}: {log}")).map(|()| {
            let mut size = 0;
            sys::nvrtcGetCUBINSize(program, &mut size).result().unwrap();
            let mut image = vec![0_u8; size];
            sys::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()).result().unwrap();
            image
        });
        nvrtc::destroy_program(program).unwrap();
        image
    }
}

/// Numbers in -1..1 that look random and are always the same.
pub fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
