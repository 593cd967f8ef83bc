//! Every kernel, compiled by the real NVRTC for every kind of GPU, which needs no GPU; and the table
//! of what the kernels use, `docs/kernels.md`.
//!
//! The NVRTC is that of `SIGNET_NVRTC_LIB=/path/to/libnvrtc.so.13`, else the one that
//! `scripts/fetch-nvrtc` fetched, else the system's. Where there is none the tests are left out.
//! `scripts/kernel-table` writes the table anew.
//!
//! The compiler runs in a child process: what a process loads as NVRTC is decided once, by the
//! folders that are searched when it starts.
#![cfg(target_os = "linux")]

use crate::common::child::again;
use serde::{Deserialize, Serialize};
use signet::device::Precision;
use signet::device::cuda::{CompiledFile, NoGpu, compile_all, nvrtc_info};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

/// Turing, A100, other Ampere, Hopper, and the two Blackwells, as ten times compute capability.
const TARGETS: [u32; 6] = [75, 80, 86, 90, 100, 120];
/// Those of them whose code is looked at, in files with products.
const DISASSEMBLED: [u32; 3] = [80, 90, 120];
/// Those of them whose tensor cores take tf32 and bf16.
const TENSOR_CORES: &[u32] = TARGETS.split_at(1).1;
/// Where the child leaves what it found.
const RESULT: &str = "SIGNET_NVRTC_RESULT";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TABLE: &str = "docs/kernels.md";
/// Where another part of it begins.
const PLAN: &str = "## The plan of a training step";

#[needs::test(nvrtc)]
fn kernels_compile_without_a_warning_or_spill() {
    if let Some(result) = env::var_os(RESULT) {
        let compilation = serde_json::to_vec(&Compilation::run()).expect("it is plain data");
        fs::write(result, compilation).expect("the parent made the folder");
        return;
    }
    let compilation = compilation();
    let mut in_memory = Vec::new();
    for file in &compilation.files {
        let what = file.name();
        // What was asked for comes from `ptxas`; all else is a complaint.
        let complaint = file
            .log
            .lines()
            .find(|line| !line.starts_with("ptxas") || line.to_lowercase().contains("warning"));
        assert_eq!(complaint, None, "{what}:\n{}", file.log);
        let uses = file.uses();
        let kernels: Vec<_> = uses.keys().map(|&name| name.to_owned()).collect();
        let text = fs::read_to_string(Path::new(ROOT).join(&file.file)).unwrap();
        let mut expected: Vec<_> = kernels_of(&text).into_iter().map(|(name, _)| name).collect();
        expected.sort();
        assert_eq!(kernels, expected, "{what}:\n{}", file.log);
        for (kernel, Use { stack, spilled, .. }) in uses {
            // `sin`, `cos` and `tan` keep room there for arguments beyond 10^5, which no angle is.
            let takes_angles =
                ["augment.cu", "background.cu"].iter().any(|name| file.file.ends_with(name))
                    || ["sin_", "cos_"].iter().any(|name| kernel.starts_with(name));
            if [if takes_angles { 0 } else { stack }, spilled] != [0, 0] {
                let line = format!("{kernel} of {what}: {stack} bytes of stack, {spilled} spilled");
                println!("{line}");
                in_memory.extend((file.scalar == "float").then_some(line));
            }
        }
    }
    assert!(in_memory.is_empty(), "{in_memory:#?}");
}

/// A tiled product in f32 multiplies 4 x 4 elements at 16 depths, so many FFMA in a row; rounded, the
/// tensor cores do that.
const FFMA: usize = 256;

/// A load behind a branch waits for the load before it, and a thread fetches 6 to 12 elements of a tile.
#[needs::test(nvrtc, nvdisasm)]
fn no_load_of_a_tile_is_in_a_branch() {
    // Back, around the fetch behind the last tile, around the steps of the next and their division, and
    // around the division of each of 8 elements by a stride that is not known.
    const MOST: usize = 12;
    let mut products = 0;
    for file in compilation().files.iter().filter(|file| file.scalar == "float") {
        let counts = file.counts.iter().flatten();
        for (kernel, count) in counts.filter(|(_, c)| c.hmma > 0 || c.ffma >= FFMA) {
            assert!(count.branches <= MOST, "{kernel} of {}: {count:?}", file.name());
            assert!(count.branches > 0, "{kernel} of {}: no loop was found", file.name());
            products += 1;
        }
    }
    assert!(products > 0, "no product was disassembled");
}

#[needs::test(nvrtc, nvdisasm)]
fn products_are_on_tensor_cores() {
    let compilation = compilation();
    let counted: Vec<_> =
        compilation.files.iter().filter_map(|file| Some((file, file.counts.as_ref()?))).collect();
    assert!(!counted.is_empty(), "nothing was disassembled; run scripts/fetch-nvrtc");
    let mut products = BTreeSet::new();
    for (file, counts) in &counted {
        let exact = counted.iter().find(|(other, _)| {
            let kind = |f: &File| (f.target, f.file.clone(), f.scalar.clone());
            kind(other) == kind(file) && other.precision == "f32"
        });
        let (_, exact) = exact.expect("every file is compiled for f32 too");
        for (kernel, count) in *counts {
            let is_product = file.scalar == "float" && exact[kernel].ffma >= FFMA;
            let on_tensor_cores = is_product && file.precision != "f32";
            let what = format!("{kernel} of {}: {count:?}", file.name());
            assert_eq!(count.hmma > 0, on_tensor_cores, "{what}");
            assert!(!on_tensor_cores || count.ffma < FFMA / 4, "{what}");
            if on_tensor_cores {
                products.insert((&*file.precision, file.target, &**kernel));
            }
        }
    }
    for precision in ["tf32", "bf16"] {
        for target in DISASSEMBLED {
            for kernel in ["conv2d_forward", "conv2d_backward_weight_few", "matmul_nt"] {
                assert!(products.contains(&(precision, target, kernel)), "{products:?}");
            }
        }
    }
}

#[needs::test(pinned_nvrtc, nvdisasm)]
fn the_table_is_current() {
    let compilation = compilation();
    let pinned = pinned_version();
    let path = compilation.path.display();
    assert_eq!(
        compilation.wheel.as_ref(),
        Some(&pinned),
        "{TABLE} was made with another than {path}"
    );
    let is_known = compilation.files.iter().any(|file| file.counts.is_some());
    assert!(is_known, "which products take tensor cores is not known: there is no nvdisasm");
    let table = compilation.table(&pinned);
    let path = Path::new(ROOT).join(TABLE);
    let written = fs::read_to_string(&path).unwrap_or_default();
    // Behind it comes the plan of a step, which program/tests/program/bench.rs knows.
    let (written, plan) = written.split_at(written.find(PLAN).unwrap_or(written.len()));
    if env::var_os("UPDATE_KERNEL_TABLE").is_some() {
        fs::create_dir_all(path.parent().expect("it is in a folder")).unwrap();
        fs::write(path, table + "\n" + plan).unwrap();
        return;
    }
    let written = written.trim_end();
    let table = table.trim_end();
    let differs = written.lines().zip(table.lines()).find(|(written, is)| written != is);
    if let Some((written, is)) = differs {
        panic!("{TABLE} says\n{written}\nand it is\n{is}\n`scripts/kernel-table` writes it anew");
    }
    assert!(written == table, "{TABLE} is too short or too long: run `scripts/kernel-table`");
}

#[test]
fn a_log_is_understood() {
    let log = "ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_120'
ptxas info    : Function properties for first
ptxas         .     8 bytes stack frame, 24 bytes spill stores, 28 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 8 bytes cumulative stack size, 384 bytes smem
ptxas info    : Compile time = 45.212 ms
ptxas info    : Compiling entry function 'second' for 'sm_120'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 14 registers, used 0 barriers, 400 bytes cmem[0]";
    let file = File { target: 120, log: log.into(), ..File::default() };
    let expected = [
        ("first", Use { registers: 64, shared: 384, stack: 8, spilled: 52 }),
        ("second", Use { registers: 14, shared: 0, stack: 0, spilled: 0 }),
    ];
    assert_eq!(file.uses(), BTreeMap::from(expected));
}

#[test]
fn a_kernel_is_described_by_the_comment_above_it() {
    let text = "// y = x,\n// or y += x; slowly. More.\n//\n// Who owns what.\n\
                extern \"C\" __global__ void __launch_bounds__(256)\n    first(unsigned n) {}\n\n\
                // Of a helper.\nint helper();\n\nextern \"C\" __global__ void second() {}\n\
                // z = a b. Tiles.\nGEMM_KERNEL(third,\n            (unsigned n), { n = 0; })\n\
                UNARY(fourth, -x, -dy)\n";
    let expected = [
        ("first", "y = x, or y += x"),
        ("second", ""),
        ("third", "z = a b"),
        ("third_few", "The same with tiles of 32 rows"),
        ("fourth_forward", "y = f(x)"),
        ("fourth_backward", "Its gradient"),
    ];
    assert_eq!(kernels_of(text), expected.map(|(name, computes)| (name.into(), computes.into())));
}

/// What NVRTC made of all kernels.
#[derive(Serialize, Deserialize)]
struct Compilation {
    /// The library.
    path: PathBuf,
    /// The version of the Python package that it is from, if it is from one. NVRTC itself tells
    /// `13.2` and not which of several.
    wheel: Option<String>,
    files: Vec<File>,
}

/// One file for one kind of GPU.
#[derive(Default, Serialize, Deserialize)]
struct File {
    target: u32,
    /// `kernels/conv2d.cu`.
    file: String,
    /// `float` or `double`.
    scalar: String,
    /// `f32`, `tf32` or `bf16`: what operands of products are rounded to.
    precision: String,
    log: String,
    /// By kernel, where there is an nvdisasm and it was asked.
    counts: Option<BTreeMap<String, Counts>>,
}

/// Instructions of a kernel.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Counts {
    /// Multiply and add.
    ffma: usize,
    /// On tensor cores.
    hmma: usize,
    /// In the loop that multiplies most, the branch back included.
    branches: usize,
}

impl Counts {
    /// In multiplications of a warp; an HMMA does 32 or more.
    fn work(&self) -> usize {
        self.ffma + 32 * self.hmma
    }
}

/// What a kernel uses: registers of a thread, bytes of shared memory of a block, bytes of local
/// memory of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    registers: u32,
    shared: u32,
    stack: u32,
    spilled: u32,
}

/// What the child found, the same for all tests.
fn compilation() -> &'static Compilation {
    static COMPILATION: OnceLock<Option<Compilation>> = OnceLock::new();
    let run = || {
        let folder = tempfile::tempdir().unwrap();
        let result = folder.path().join("result.json");
        let mut child = again("nvrtc::kernels_compile_without_a_warning_or_spill");
        child.env(RESULT, &result);
        let library = library();
        if let Some(library) = &library {
            let mut search = OsString::from(links(library, folder.path()));
            if let Some(others) = env::var_os("LD_LIBRARY_PATH") {
                search.push(":");
                search.push(others);
            }
            child.env("LD_LIBRARY_PATH", search);
        }
        let output = child.output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{text}");
        let found: Option<Compilation> =
            serde_json::from_slice(&fs::read(&result).expect(&text)).unwrap();
        if let (Some(library), Some(found)) = (&library, &found) {
            assert_eq!(found.path, library.canonicalize().unwrap(), "another NVRTC was loaded");
        }
        found
    };
    COMPILATION.get_or_init(run).as_ref().expect("there is an NVRTC; run scripts/fetch-nvrtc")
}

/// The NVRTC to use, if it is not the system's.
fn library() -> Option<PathBuf> {
    if let Some(named) = env::var_os("SIGNET_NVRTC_LIB").filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named));
    }
    // `target/nvrtc/nvidia/cu13/lib/libnvrtc.so.13`
    let fetched = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?.join("nvrtc/nvidia");
    let folders = fs::read_dir(fetched).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let files = folders.filter_map(|folder| fs::read_dir(folder.join("lib")).ok()).flatten();
    let mut files = files.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| name(file).starts_with("libnvrtc.so"))
}

/// Makes a folder in which `library` has the name that is looked for first.
fn links(library: &Path, folder: &Path) -> PathBuf {
    let folder = folder.join("lib");
    fs::create_dir(&folder).unwrap();
    let library = library.canonicalize().expect("SIGNET_NVRTC_LIB names a file");
    symlink(&library, folder.join("libnvrtc.so")).unwrap();
    for entry in fs::read_dir(library.parent().expect("a file is in a folder")).unwrap() {
        let file = entry.unwrap().path();
        if name(&file).starts_with("libnvrtc-builtins") {
            symlink(&file, folder.join(name(&file))).unwrap();
        }
    }
    folder
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Whether these tests are left out is decided (tests/needs) by the names that the library looks for.
#[test]
fn the_names_of_nvrtc_are_those_of_the_loader() {
    let names: &[&str] = &include!("../needs/nvrtc_names.rs");
    let mut looked_for = cudarc::get_lib_name_candidates("nvrtc");
    let mut seen = BTreeSet::new();
    looked_for.retain(|name| seen.insert(name.clone()));
    assert_eq!(names, looked_for);
}

/// The version that `scripts/fetch-nvrtc` fetches, which is the one of the table.
fn pinned_version() -> String {
    let script = fs::read_to_string(Path::new(ROOT).join("scripts/fetch-nvrtc")).unwrap();
    let line = script.lines().find_map(|line| line.strip_prefix("version="));
    line.expect("scripts/fetch-nvrtc has a line `version=...`").to_owned()
}

impl Compilation {
    /// Compiles everything. In the child.
    fn run() -> Option<Self> {
        let nvrtc = match nvrtc_info() {
            Err(NoGpu::NoNvrtc) => return None,
            nvrtc => nvrtc.unwrap_or_else(|error| panic!("{error}")),
        };
        let path = nvrtc.path.expect("Linux tells the path").canonicalize().unwrap();
        assert!(!name(&path).contains("cusim"), "{} compiles for the CPU", path.display());
        let files = std::thread::scope(|scope| {
            let compile = |target| scope.spawn(move || (target, compile_all(target)));
            let threads: Vec<_> = TARGETS.map(compile).into_iter().collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            let files = results.flat_map(|(target, files)| {
                let files = files.unwrap_or_else(|error| panic!("{error}"));
                files.iter().for_each(|file| keep(file, target));
                files.into_iter().map(move |file| File {
                    target,
                    counts: counts(target, &file),
                    file: file.file.into(),
                    scalar: file.scalar.into(),
                    precision: file.precision.to_string(),
                    log: file.log,
                })
            });
            files.collect()
        });
        Some(Self { wheel: wheel(&path), path, files })
    }

    /// `docs/kernels.md`.
    fn table(&self, version: &str) -> String {
        let mut text = format!(
            "# What the kernels use\n\n\
             Registers of a thread, by target; bytes of shared memory of a block; bytes that a \
             thread stores and\nloads because registers did not suffice (\"spilled\"). As compiled \
             by NVRTC {version}, with the options\nthat the library uses. Written by \
             `scripts/kernel-table`, and checked by `tests/interop/nvrtc.rs`.\n",
        );
        for section in &SECTIONS {
            let Section { title, targets, computes, .. } = section;
            write!(text, "\n## {title}\n\n").unwrap();
            text += if *computes { "| kernel | computes |" } else { "| kernel |" };
            for target in *targets {
                write!(text, " sm_{target} |").unwrap();
            }
            let left = if *computes { "---|---|" } else { "---|" };
            let right = "--:|".repeat(targets.len() + 2);
            writeln!(text, " shared | spilled |\n|{left}{right}").unwrap();
            for Row { file, kernel, computes: what, uses } in self.rows(section) {
                write!(text, "| [`{kernel}`](../{file}) |").unwrap();
                if *computes {
                    write!(text, " {} |", what.replace('|', "\\|")).unwrap();
                }
                for used in &uses {
                    write!(text, " {} |", used.registers).unwrap();
                }
                let shared = by_value(targets, uses.iter().map(|used| used.shared));
                let spilled = by_value(targets, uses.iter().map(|used| used.spilled));
                writeln!(text, " {shared} | {spilled} |").unwrap();
            }
        }
        text
    }

    /// The kernels of a section in the order of the source.
    fn rows(&self, section: &Section) -> Vec<Row<'_>> {
        let names: BTreeSet<&str> = self.files.iter().map(|file| &*file.file).collect();
        let mut rows = Vec::new();
        for name in names {
            let of = |target: u32| {
                self.files.iter().find(|file| {
                    (file.target, &*file.file) == (target, name)
                        && (&*file.scalar, &*file.precision) == (section.scalar, section.precision)
                })
            };
            // Without products, a file is compiled for f32 alone.
            let files: Option<Vec<&File>> =
                section.targets.iter().map(|&target| of(target)).collect();
            let Some(files) = files else { continue };
            let is_listed = |kernel: &str| {
                section.precision == "f32"
                    || files
                        .iter()
                        .filter_map(|file| file.counts.as_ref())
                        .any(|c| c[kernel].hmma > 0)
            };
            let uses: Vec<_> = files.iter().map(|file| file.uses()).collect();
            let source = fs::read_to_string(Path::new(ROOT).join(name)).unwrap();
            let kernels = kernels_of(&source).into_iter().filter(|(kernel, _)| is_listed(kernel));
            rows.extend(kernels.map(|(kernel, computes)| Row {
                file: name,
                uses: uses.iter().map(|uses| uses[&*kernel]).collect(),
                kernel,
                computes,
            }));
        }
        rows
    }
}

/// A part of the table.
struct Section {
    scalar: &'static str,
    precision: &'static str,
    title: &'static str,
    targets: &'static [u32],
    computes: bool,
}

const SECTIONS: [Section; 4] = [
    Section {
        scalar: "float",
        precision: "f32",
        title: "Single precision, which trains: none may spill",
        targets: &TARGETS,
        computes: true,
    },
    Section {
        scalar: "float",
        precision: "tf32",
        title: "Products on tensor cores, `--precision tf32`",
        targets: TENSOR_CORES,
        computes: false,
    },
    Section {
        scalar: "float",
        precision: "bf16",
        title: "Products on tensor cores, `--precision bf16`",
        targets: TENSOR_CORES,
        computes: false,
    },
    Section {
        scalar: "double",
        precision: "f32",
        title: "Double precision, in which gradients are checked",
        targets: &TARGETS,
        computes: false,
    },
];

/// A kernel of the table.
struct Row<'a> {
    file: &'a str,
    kernel: String,
    computes: String,
    uses: Vec<Use>,
}

/// `384`, or where it is not the same on all targets `0, sm_120: 384`.
fn by_value(targets: &[u32], values: impl Iterator<Item = u32>) -> String {
    let mut text = String::new();
    let mut before = None;
    for (target, value) in targets.iter().zip(values) {
        match before {
            None => text = value.to_string(),
            Some(before) if before != value => write!(text, ", sm_{target}: {value}").unwrap(),
            Some(_) => {}
        }
        before = Some(value);
    }
    text
}

/// Leaves the CUBIN without tensor cores in the folder `SIGNET_CUBINS`, if there is one:
/// `conv2d.float.sm_90.cubin`.
fn keep(file: &CompiledFile, target: u32) {
    if file.precision != Precision::F32 {
        return;
    }
    let Some(folder) = env::var_os("SIGNET_CUBINS") else { return };
    let stem = Path::new(file.file).file_stem().and_then(|stem| stem.to_str()).unwrap();
    let name = format!("{stem}.{}.sm_{target}.cubin", file.scalar);
    fs::write(Path::new(&folder).join(name), &file.code).unwrap();
}

/// The version of the Python package that brought `library`.
fn wheel(library: &Path) -> Option<String> {
    library.ancestors().skip(1).find_map(|folder| {
        let mut entries = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        entries.find_map(|entry| {
            let name = name(&entry).strip_prefix("nvidia_cuda_nvrtc")?;
            let (_, version) = name.strip_suffix(".dist-info")?.split_once('-')?;
            Some(version.to_owned())
        })
    })
}

/// The fetched nvdisasm; `None` without.
fn nvdisasm() -> Option<PathBuf> {
    let fetched = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?.join("nvrtc/nvidia");
    let folders = fs::read_dir(fetched).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    folders.map(|folder| folder.join("bin/nvdisasm")).find(|file| file.exists())
}

/// What the kernels of a file are made of, as far as it matters and can be known.
fn counts(target: u32, file: &CompiledFile) -> Option<BTreeMap<String, Counts>> {
    let text = fs::read_to_string(Path::new(ROOT).join(file.file)).unwrap();
    let with_products = ["gemm.cuh", "conv.cuh", "matmul.cuh", "linear.cuh"];
    if !DISASSEMBLED.contains(&target)
        || !with_products.iter().any(|header| text.contains(&format!("#include \"{header}\"")))
    {
        return None;
    }
    let nvdisasm = nvdisasm()?;
    let mut cubin = tempfile::NamedTempFile::new().unwrap();
    cubin.write_all(&file.code).unwrap();
    let output = Command::new(nvdisasm).arg("--print-code").arg(cubin.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut counts = BTreeMap::<String, Counts>::new();
    let mut kernel = String::new();
    // Of the kernel: where its labels are, in work done and branches met until there; branches so far;
    // the most work of a loop.
    let (mut labels, mut branches, mut most) = (HashMap::<String, (usize, usize)>::new(), 0, 0);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(section) = line.strip_prefix(".text.") {
            kernel = section.trim_end_matches(':').to_owned();
            counts.entry(kernel.clone()).or_default();
            (labels, branches, most) = (HashMap::new(), 0, 0);
        } else if line.starts_with(".L_x_") {
            let of_kernel = counts.get(&kernel).expect("code is in a section");
            labels.insert(line.trim_end_matches(':').to_owned(), (of_kernel.work(), branches));
        } else if line.contains(" FFMA") || line.contains(" HMMA") {
            let of_kernel = counts.get_mut(&kernel).expect("code is in a section");
            of_kernel.ffma += usize::from(line.contains(" FFMA"));
            of_kernel.hmma += usize::from(line.contains(" HMMA"));
        // `BRA.U` where the whole warp takes the same way.
        } else if let Some((_, to)) =
            line.split_once(" BRA ").or_else(|| line.split_once(" BRA.U "))
        {
            branches += 1;
            let label = to.split(['(', ')']).nth(1).unwrap_or_default();
            // One that was met already: the branch goes back, and ends a loop.
            let Some(&(work, before)) = labels.get(label) else { continue };
            let of_kernel = counts.get_mut(&kernel).expect("code is in a section");
            let work = of_kernel.work() - work;
            if work > most {
                (most, of_kernel.branches) = (work, branches - before);
            }
        }
    }
    Some(counts)
}

impl File {
    /// What a failure is named by.
    fn name(&self) -> String {
        let Self { target, file, scalar, precision, .. } = self;
        format!("{file} in {scalar}, {precision}, for sm_{target}")
    }

    /// What each kernel uses, from the compiler's log.
    fn uses(&self) -> BTreeMap<&str, Use> {
        let mut uses = BTreeMap::new();
        let (mut kernel, mut stack, mut spilled) = (None, None, None);
        for line in self.log.lines() {
            if let Some((_, rest)) = line.split_once("Compiling entry function '") {
                kernel = rest.split('\'').next();
                (stack, spilled) = (None, None);
            } else if line.contains("bytes stack frame") {
                stack = before(line, "bytes stack frame");
                spilled = before(line, "bytes spill stores")
                    .zip(before(line, "bytes spill loads"))
                    .map(|(stores, loads)| stores + loads);
            } else if let Some(registers) = before(line, "registers") {
                let shared = before(line, "bytes smem").unwrap_or(0);
                let all = kernel.zip(stack).zip(spilled);
                let ((kernel, stack), spilled) = all.unwrap_or_else(|| panic!("{}", self.log));
                uses.insert(kernel, Use { registers, shared, stack, spilled });
            }
        }
        uses
    }
}

/// The number that stands before `what`.
fn before(line: &str, what: &str) -> Option<u32> {
    line[..line.find(what)?].trim_end().rsplit(' ').next()?.parse().ok()
}

/// The kernels of a file, and how the comment above each begins: its first sentence, or half.
fn kernels_of(text: &str) -> Vec<(String, String)> {
    let mut kernels = Vec::new();
    let mut comment = Vec::new();
    let mut of_teams = BTreeMap::new();
    let mut rest = text;
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("//") {
            comment.push(words.trim());
            continue;
        }
        let computes = comment.join(" ");
        comment.clear();
        let computes = computes.split(". ").next().unwrap_or_default();
        let computes = computes.split("; ").next().unwrap_or_default().trim_end_matches('.');
        if let Some(parameters) = line.strip_prefix("GEMM_KERNEL(") {
            // Of `gemm.cuh`: two kernels.
            let name = parameters.split(',').next().expect("it has a name");
            kernels.push((name.to_owned(), computes.to_owned()));
            kernels.push((format!("{name}_few"), "The same with tiles of 32 rows".to_owned()));
        } else if line.starts_with("extern \"C\" __global__") {
            rest = &rest[rest.find(line).expect("it is a line of it")..];
            let open = rest.find("(").expect("it has parameters");
            // `__launch_bounds__(256) name(`, where there is one.
            let open = match rest[..open].ends_with("__launch_bounds__") {
                true => open + 1 + rest[open + 1..].find('(').expect("it has parameters"),
                false => open,
            };
            let name = rest[..open].rsplit(|c: char| c.is_whitespace() || c == ')').next();
            rest = &rest[open..];
            kernels.push((name.expect("it has a name").to_owned(), computes.to_owned()));
        } else if let Some(family) = line.split("(name, Team)").next().filter(|&it| it != line) {
            // A macro that makes the same kernel for teams of other sizes.
            of_teams.insert(family.trim_start_matches("#define "), computes.to_owned());
        } else if let Some((family, parameters)) = line.split_once('(') {
            if let Some(computes) = of_teams.get(family) {
                let name = parameters.split(',').next().expect("it has a name");
                kernels.push((name.to_owned(), computes.clone()));
            }
            // Of `unary.cu` and `binary.cu`: kernels by a macro, several a line.
            let name = parameters.split(',').next().expect("it has a name");
            let of_family: &[(&str, &str)] = match family {
                "UNARY" => &[("forward", "y = f(x)"), ("backward", "Its gradient")],
                "BINARY" => &[("forward", "y = f(a, b)")],
                "SLOPES" => &[("by_a", "The gradient by a"), ("by_b", "The gradient by b")],
                "COMPARISON" => &[("forward", "y = 1 where it is true of a and b, else 0")],
                _ => &[],
            };
            let kernel =
                |&(kind, computes): &(&str, &str)| (format!("{name}_{kind}"), computes.to_owned());
            kernels.extend(of_family.iter().map(kernel));
        }
    }
    kernels
}
