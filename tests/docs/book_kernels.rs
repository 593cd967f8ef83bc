//! The kernels of the book's chapter on speed, `docs/kernel-steps/*.cu`: each is the matrix product it
//! says, in every order of threads and without a finding of cusim's checks; and what the book says
//! of them is so. `scripts/kernel-steps` writes the chapter's tables.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use crate::common;
use needs::test_on_cusim as test;

use common::compare::{Tolerance, assert_close};
use common::host::{Fill, values};
use cudarc::driver::{CudaContext, CudaStream, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::{Ptx, result as nvrtc, sys};
use cusim::{ChildOutput, Order, Report, Sim, in_child};
use serde_json::Value;
use signet::{Cpu, Device, Tensor};
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs};

/// Grid and block for a result of so many rows and columns.
type Launch = fn([u32; 2]) -> LaunchConfig;

/// The steps in the order of the chapter: file, and how it is launched.
const STEPS: [(&str, Launch); 6] = [
    ("1_naive", |[m, n]| grid([m.div_ceil(32), n.div_ceil(8)], (32, 8))),
    ("2_coalesced", |[m, n]| grid([n.div_ceil(32), m.div_ceil(8)], (32, 8))),
    ("3_tiles", |[m, n]| grid([n.div_ceil(32), m.div_ceil(32)], (32, 32))),
    ("4_registers", tiles_of_64),
    ("5_wide", tiles_of_64),
    ("6_prefetch", tiles_of_64),
];

/// Rows, columns and the length of the sums that the table counts.
const TABLE: [u32; 3] = [128, 128, 128];

const CHECK: (&str, &str) = ("CUSIM_CHECK", "1");

fn tiles_of_64([m, n]: [u32; 2]) -> LaunchConfig {
    grid([n.div_ceil(64), m.div_ceil(64)], (256, 1))
}

fn grid([x, y]: [u32; 2], (threads_x, threads_y): (u32, u32)) -> LaunchConfig {
    LaunchConfig { grid_dim: (x, y, 1), block_dim: (threads_x, threads_y, 1), shared_mem_bytes: 0 }
}

fn document(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn source(step: &str) -> String {
    document(&format!("kernel-steps/{step}.cu"))
}

/// A simulated GPU.
struct Gpu {
    sim: &'static Sim,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
}

impl Gpu {
    fn new() -> Self {
        let sim = Sim::load().expect("cusim was built with this test");
        let context = CudaContext::new(0).unwrap();
        // SAFETY: before the first allocation; one stream is all there is.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().unwrap();
        Self { sim, context, stream }
    }

    /// `a [m, k] b [k, n]` by the kernel of `source`, called `name` in messages.
    fn product(
        &self,
        (name, source): (&str, &str),
        launch: Launch,
        [m, n, k]: [u32; 3],
        [a, b]: [&[f32]; 2],
    ) -> Vec<f32> {
        let module = self.context.load_module(Ptx::from_binary(compile(name, source))).unwrap();
        let kernel = module.load_function("product").unwrap();
        let [a, b] = [a, b].map(|values| self.stream.clone_htod(values).unwrap());
        let mut c = self.stream.alloc_zeros::<f32>((m * n) as usize).unwrap();
        let mut call = self.stream.launch_builder(&kernel);
        call.arg(&m).arg(&n).arg(&k).arg(&a).arg(&b).arg(&mut c);
        // SAFETY: these are the kernel's parameters, and the buffers are of the shapes it says.
        unsafe { call.launch(launch([m, n])) }.unwrap();
        self.stream.synchronize().unwrap();
        self.stream.clone_dtoh(&c).unwrap()
    }
}

/// The program's image.
fn compile(name: &str, source: &str) -> Vec<u8> {
    let [source, name] = [source, name].map(|text| CString::new(text).unwrap());
    let program = nvrtc::create_program(&source, Some(&name)).unwrap();
    // SAFETY: the program exists until it is destroyed below, and the image has its size.
    unsafe {
        let compiled = nvrtc::compile_program(program, &["--gpu-architecture=sm_86"]);
        let log = nvrtc::get_program_log(program).unwrap();
        compiled.unwrap_or_else(|e| panic!("{e}: {:?}", std::ffi::CStr::from_ptr(log.as_ptr())));
        let mut size = 0;
        sys::nvrtcGetCUBINSize(program, &mut size).result().unwrap();
        let mut image = vec![0_u8; size];
        sys::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()).result().unwrap();
        nvrtc::destroy_program(program).unwrap();
        image
    }
}

/// Random operands, and their product by the CPU in double precision.
fn operands([m, n, k]: [u32; 3]) -> ([Vec<f32>; 2], Vec<f64>) {
    let draw = |rows: u32, columns: u32, stream| {
        Fill::Normal(1.0).draw(&[rows as usize, columns as usize], 1, stream)
    };
    let (a, b) = (draw(m, k, 0), draw(k, n, 1));
    let cpu = Device::from(Cpu::new(Some(1)).unwrap());
    let product: Tensor<f64> = a.on(&cpu).matmul(&b.on(&cpu)).unwrap();
    ([a, b].map(|host| host.values.iter().map(|&x| x as f32).collect()), values(&product))
}

#[test]
fn each_step_is_the_product_in_any_order_of_threads() {
    // In a process of its own, whose order no other test sets.
    let Some(child) =
        in_child("book_kernels::each_step_is_the_product_in_any_order_of_threads", &[])
    else {
        let gpu = Gpu::new();
        for sizes in [[1, 1, 1], [33, 65, 17], [70, 3, 40], [64, 64, 64]] {
            let ([a, b], expected) = operands(sizes);
            for (step, launch) in STEPS {
                let [forward, others @ ..] = Order::ALL.map(|order| {
                    gpu.sim.set_order(order);
                    gpu.product((step, &source(step)), launch, sizes, [&a, &b])
                });
                assert!(others.iter().all(|other| *other == forward), "{step} of {sizes:?}");
                let actual: Vec<f64> = forward.into_iter().map(f64::from).collect();
                let what = format!("{step} of {sizes:?}");
                assert_close(what, &actual, &expected, Tolerance::of::<f32>());
            }
        }
        return;
    };
    assert!(child.success, "{}", child.output);
}

/// With `SIGNET_STEPS=file` it leaves there what was counted, for `scripts/kernel-steps`.
#[test]
fn each_step_is_clean_and_the_table_says_what_it_asks_for() {
    let name = "book_kernels::each_step_is_clean_and_the_table_says_what_it_asks_for";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("touched.jsonl");
    let Some(child) = in_child(name, &[CHECK, ("CUSIM_TOUCHED", file.to_str().unwrap())]) else {
        let gpu = Gpu::new();
        let ([a, b], _) = operands(TABLE);
        for (step, launch) in STEPS {
            gpu.product((step, &source(step)), launch, TABLE, [&a, &b]);
        }
        // And the library's own.
        let device = common::cuda::device().expect("it is simulated").into();
        let on_device = |values: &[f32], rows: u32, columns: u32| {
            Tensor::from_slice(&device, values, [rows as usize, columns as usize]).unwrap()
        };
        let [m, n, k] = TABLE;
        on_device(&a, m, k).matmul(&on_device(&b, k, n)).unwrap().to_vec().unwrap();
        return;
    };
    assert!(child.success, "{}", child.output);
    assert_eq!(child.reports, []);
    let text = fs::read_to_string(&file).unwrap();
    if let Some(to) = env::var_os("SIGNET_STEPS") {
        fs::write(to, text).unwrap();
        return;
    }
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let counted: Vec<u64> = lines
        .filter(|line| line["kernel"] == "product" || line["kernel"] == "matmul_nn")
        .map(|line| line["sectors"].as_u64().unwrap())
        .collect();
    for name in ["kernel.md", "zh-TW/kernel.md"] {
        let chapter = document(name);
        let tables = chapter.split_once("<!-- table -->").expect("the tables' mark").1;
        let first = tables.trim_start().lines().skip(2).take_while(|line| line.starts_with('|'));
        let written: Vec<u64> = first
            .map(|row| {
                let cell = row.split('|').nth(2).expect("the second column").trim();
                cell.replace(',', "").parse().unwrap_or_else(|e| panic!("{row}: {e}"))
            })
            .collect();
        assert_eq!(written, counted, "docs/{name}: run scripts/kernel-steps");
    }
}

/// The report that the book shows.
#[test]
fn a_removed_barrier_is_reported_as_the_book_shows() {
    let barrier = "__syncthreads(); // the tile is whole";
    let Some(child) =
        in_child("book_kernels::a_removed_barrier_is_reported_as_the_book_shows", &[CHECK])
    else {
        let (step, launch) = STEPS[2];
        let kernel = source(step);
        assert_eq!(kernel.matches(barrier).count(), 1);
        let ([a, b], _) = operands([32, 32, 32]);
        let gpu = Gpu::new();
        // What it computes is anyone's guess; a race does not end the launch.
        let broken = kernel.replace(barrier, "");
        gpu.product(("3_tiles.cu", &broken), launch, [32, 32, 32], [&a, &b]);
        return;
    };
    let ChildOutput { success, output, reports, .. } = child;
    assert!(success, "{output}");
    let race = reports.iter().find(|report: &&Report| report.kind == "race").expect("a race");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for name in ["testing.md", "zh-TW/testing.md"] {
        let shown = words(&document(name)).contains(&words(&race.text));
        assert!(shown, "docs/{name} lacks:\n{}", race.text);
    }
}
