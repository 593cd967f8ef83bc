//! From CUDA C++ to a shared object, by way of g++ twice: once to preprocess the program alone (so
//! that it can be scanned), once to compile it behind the shim.
//!
//! Results stay on disk under the hash of everything that went into them. Several processes may
//! fill the cache at once: each builds in a directory of its own and renames the result.

use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use sha2::{Digest, Sha256};

use crate::assembly;
use crate::options::Options;
use crate::scan::{self, Kernel};

const SHIM: &str = include_str!("../shim/cusim.h");

/// For every compilation. No -ffast-math: results must not depend on what the optimiser reorders.
const FLAGS: &[&str] = &[
    "-fPIC",
    "-fvisibility=default",
    "-ftls-model=local-dynamic",
    "-fno-exceptions",
    "-fno-rtti",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-strict-aliasing",
    "-fwrapv",
    "-fno-gnu-unique",
    // Two kernels that do the same are two kernels: names are found by address.
    "-fno-ipa-icf",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-fdiagnostics-color=never",
    "-g1",
    "-Wno-unknown-pragmas",
    "-Wno-attributes",
];
/// For kernels that run as fast as they can: -O3 takes longer to compile and gains nothing.
const PLAIN: &[&str] = &["-O2", "-march=native"];
/// For kernels whose every access is checked.
const CHECKED: &[&str] = &[
    "-O1",
    "-march=native",
    "-fsanitize=thread,alignment",
    "--param=tsan-instrument-func-entry-exit=0",
    "-fno-tree-loop-distribute-patterns",
    "-fno-builtin-memcpy",
    "-fno-builtin-memset",
    "-DCUSIM_CHECKED",
];
/// How much room to leave after each shared variable in check mode, so that running over its end
/// is not running into the next one.
const RED_ZONE: usize = 128;

/// A program to compile.
pub struct Input<'a> {
    pub source: &'a str,
    /// The name the messages call it by.
    pub name: &'a str,
    /// Headers that live in memory: name and text.
    pub headers: &'a [(String, String)],
    pub options: &'a Options,
    /// Name expressions: template kernels to instantiate.
    pub expressions: &'a [String],
}

/// A compiled program.
pub struct Compiled {
    pub path: PathBuf,
    /// What g++ had to say.
    pub log: String,
    /// The mangled name of each name expression.
    pub lowered: Vec<String>,
}

/// Why there is none.
pub enum Failure {
    /// The program is wrong; this is the log.
    Program(String),
    /// The compiler could not be run, or the cache not written.
    Environment(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Environment(error.to_string())
    }
}

/// Whether this process runs in check mode (`CUSIM_CHECK`).
pub fn check_mode() -> bool {
    std::env::var_os("CUSIM_CHECK").is_some_and(|v| !v.is_empty() && v != "0")
}

/// Compiles `input`, or finds it compiled.
pub fn compile(input: &Input) -> Result<Compiled, Failure> {
    let cache = cache_dir()?;
    let key = key(input);
    let path = cache.join(format!("{key}.so"));
    let log_path = cache.join(format!("{key}.log"));
    // The object is renamed into place after its log, so an object means there is a log.
    if !path.exists() {
        let work = WorkDir::create(&cache)?;
        let (object, log) = build(input, &work.0)?;
        let staged = work.0.join("log");
        fs::write(&staged, &log)?;
        fs::rename(&staged, &log_path)?;
        fs::rename(&object, &path)?;
    }
    let log = fs::read_to_string(&log_path).unwrap_or_default();
    let lowered = lowered_names(&path, input.expressions)?;
    Ok(Compiled { path, log, lowered })
}

fn build(input: &Input, work: &Path) -> Result<(PathBuf, String), Failure> {
    for (name, text) in input.headers {
        let path = work.join(name);
        fs::create_dir_all(path.parent().unwrap_or(work))?;
        fs::write(path, text)?;
    }
    let marker = format!("# 1 \"{}\"\n", input.name.escape_default());
    fs::write(work.join("program.cc"), format!("{marker}{}", input.source))?;
    let mut preprocess = compiler(input, work);
    // As with NVRTC, there are no system headers.
    preprocess.args(["-E", "-nostdinc", "-nostdinc++", "-x", "c++", "program.cc"]);
    let output = run(&mut preprocess)?;
    let mut log = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(Failure::Program(log));
    }
    let (kernels, source) = scan::scan(&String::from_utf8_lossy(&output.stdout));

    // Flag 3 marks the shim as a system header: no warnings about it.
    let table = kernel_table(&kernels, input.expressions);
    let whole = format!("# 1 \"cusim.h\" 3\n{SHIM}\n{source}\n# 1 \"name expression\"\n{table}");
    fs::write(work.join("whole.cc"), whole)?;
    let mut to_assembly = compiler(input, work);
    to_assembly.args(FLAGS).args(if check_mode() { CHECKED } else { PLAIN });
    to_assembly.arg(format!("-fdebug-prefix-map={}=.", work.display()));
    let contract = if input.options.fmad { "-ffp-contract=fast" } else { "-ffp-contract=off" };
    to_assembly.args([contract, "-S", "-x", "c++", "whole.cc", "-o", "whole.s"]);
    let output = run(&mut to_assembly)?;
    log += &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(Failure::Program(log));
    }
    let assembly = fs::read_to_string(work.join("whole.s"))?;
    let red_zone = check_mode().then_some(RED_ZONE);
    fs::write(work.join("whole.s"), assembly::finish(&assembly, red_zone))?;

    let mut link = Command::new(compiler_name());
    link.current_dir(work).args(["-shared", "whole.s", "-o", "whole.so", "-lm"]);
    link.args(["-Wl,-Bsymbolic", "-Wl,--no-undefined", "-Wl,--build-id=none"]);
    let output = run(&mut link)?;
    if !output.status.success() {
        // Most likely a function that is declared and not defined.
        log += &String::from_utf8_lossy(&output.stderr);
        return Err(Failure::Program(log));
    }
    Ok((work.join("whole.so"), log))
}

fn compiler_name() -> String {
    std::env::var("CUSIM_CXX").unwrap_or_else(|_| "g++".to_owned())
}

/// g++ with what both passes need.
fn compiler(input: &Input, work: &Path) -> Command {
    let mut command = Command::new(compiler_name());
    // The messages are parsed by people and by tests: in English.
    command.current_dir(work).env("LC_ALL", "C");
    command.arg(format!("-std=gnu++{}", input.options.standard.trim_start_matches("c++")));
    command.args(["-DCUSIM", "-D__CUDACC__", "-D__CUDACC_RTC__", "-D__NVCC__", "-I."]);
    command.arg(format!("-D__CUDA_ARCH__={}", input.options.arch * 10));
    command.args(&input.options.preprocessor);
    command
}

fn run(command: &mut Command) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|e| Failure::Environment(format!("cannot run {name}: {e}")))
}

/// The table through which the driver finds the kernels.
fn kernel_table(kernels: &[Kernel], expressions: &[String]) -> String {
    let mut table = String::from("extern \"C\" __attribute__((used)) ");
    table.push_str("const cusim_kernel cusim_kernels[] = {\n");
    let plain = kernels.iter().map(|k| (k.name.as_str(), k.bound.as_deref()));
    let all = plain.chain(expressions.iter().map(|e| (e.as_str(), None)));
    for (name, bound) in all {
        let bound = bound.unwrap_or("0");
        // Writing to a String cannot fail.
        _ = writeln!(table, "CUSIM_KERNEL(({bound}), {name})");
    }
    table + "{}};\n"
}

/// Everything that the result depends on.
fn key(input: &Input) -> String {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(env!("CARGO_PKG_VERSION"));
    add(SHIM);
    add(input.source);
    add(input.name);
    for (name, text) in input.headers {
        add(name);
        add(text);
    }
    add(&format!("{:?} {} {FLAGS:?} {PLAIN:?}", input.options, check_mode()));
    add(&format!("{CHECKED:?} {:?}", input.expressions));
    add(host());
    hash.finalize().iter().take(16).fold(String::new(), |s, b| s + &format!("{b:02x}"))
}

/// The compiler and the processor: -march=native makes results differ between machines that share
/// a cache.
fn host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let version = Command::new(compiler_name()).arg("-dumpfullversion").output();
        let version = version.map(|o| o.stdout).unwrap_or_default();
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu.lines().filter(|l| l.starts_with("flags") || l.starts_with("model name"));
        let cpu: Vec<_> = cpu.take(2).collect();
        format!("{} {} {cpu:?}", compiler_name(), String::from_utf8_lossy(&version))
    })
}

/// `CUSIM_CACHE`, or a directory of this user's among the temporary files.
fn cache_dir() -> io::Result<PathBuf> {
    // SAFETY: getuid has no preconditions.
    let own = || std::env::temp_dir().join(format!("cusim-{}", unsafe { libc::getuid() }));
    let dir = std::env::var_os("CUSIM_CACHE").map_or_else(own, PathBuf::from);
    fs::create_dir_all(&dir)?;
    dir.canonicalize()
}

/// A directory to build in, removed afterwards.
struct WorkDir(PathBuf);

impl WorkDir {
    fn create(cache: &Path) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("work-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let path = cache.join(name);
        // Left over from a process of the same number that was killed.
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // What stays behind is only clutter.
        _ = fs::remove_dir_all(&self.0);
    }
}

/// The kernel table's rows, as in the shim; the driver has the full version.
#[repr(C)]
struct Row {
    function: *const c_void,
    call: *const c_void,
    sizes: *const u32,
    count: u32,
    bound: u32,
    name: *const c_char,
}

/// Looks the name expressions' symbols up in the object.
fn lowered_names(path: &Path, expressions: &[String]) -> Result<Vec<String>, Failure> {
    if expressions.is_empty() {
        return Ok(Vec::new());
    }
    let unreadable = || Failure::Environment(format!("cannot load {}", path.display()));
    let c_path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| unreadable())?;
    let mut lowered = Vec::new();
    // SAFETY: the object was made above: loading it runs no code, its table ends with a row of
    // zeros, and nothing of it is used after dlclose.
    unsafe {
        let object = libc::dlopen(c_path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if object.is_null() {
            return Err(unreadable());
        }
        let mut row = libc::dlsym(object, c"cusim_kernels".as_ptr()).cast::<Row>();
        let mut symbols = Vec::new();
        while !row.is_null() && !(*row).function.is_null() {
            let mut info: libc::Dl_info = std::mem::zeroed();
            libc::dladdr((*row).function, &raw mut info);
            let name = if info.dli_sname.is_null() { (*row).name } else { info.dli_sname };
            symbols.push(CStr::from_ptr(name).to_string_lossy().into_owned());
            row = row.add(1);
        }
        let first = symbols.len().saturating_sub(expressions.len());
        lowered.extend(symbols.drain(first..));
        libc::dlclose(object);
    }
    Ok(lowered)
}
