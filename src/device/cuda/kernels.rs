//! Compiled kernels: loaded when first used, kept as long as the device.

use super::Cuda;
use super::cache::{KernelCache, Key};
use super::driver::{self, DriverError};
use super::launch::Launch;
use super::nvrtc::{self, CompileError, Constants, Scalar, Target, Variant};
use super::sources::{self, Product, Source};
use crate::device::Precision;
use crate::dtype::Float;
use crate::{Error, Result};
use cudarc::driver::sys::{CUfunction, CUfunction_attribute, CUmodule};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::CString;
use std::panic::resume_unwind;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;

/// A kernel, and what of it a launch must heed.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) raw: CUfunction,
    /// Bytes of each parameter; `None` where the driver (before CUDA 12.4) cannot tell.
    pub(super) parameters: Option<Vec<usize>>,
    /// The most threads of a block that the kernel's registers allow.
    pub(super) max_threads: u32,
    /// Bytes of shared memory that the kernel declares itself.
    pub(super) static_shared: u32,
    /// The largest dynamic shared memory that the driver was asked for.
    pub(super) opted_in: AtomicU32,
}

// SAFETY: the function is a name for the driver, whose functions may be called from any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

impl Function {
    /// One that is never launched.
    fn of_rehearsal(name: &'static str) -> Self {
        Self {
            name,
            raw: std::ptr::null_mut(),
            parameters: None,
            max_threads: u32::MAX,
            static_shared: 0,
            opted_in: AtomicU32::new(0),
        }
    }
}

/// How the kernels in use came about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelStatistics {
    /// Files that were compiled.
    pub compiled: u64,
    /// Files that were taken from the cache on disk.
    pub cached: u64,
}

/// A file's kernels on the device, unloaded on drop.
#[derive(Debug)]
struct Module {
    raw: CUmodule,
    functions: HashMap<&'static str, Arc<Function>>,
}

// SAFETY: the module is a name for the driver, whose functions may be called from any thread.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: the module came from `cuModuleLoadData` and is unloaded once; the device, which
        // owns it, waited for its stream and keeps its context current. An error means that the
        // context is already lost, and the module with it.
        let _ = unsafe { driver::cuModuleUnload(self.raw) };
    }
}

/// What compiling needs beside a source, for any thread.
#[derive(Debug, Clone, Copy)]
struct Compiler {
    target: Target,
    nvrtc: (u32, u32),
}

impl Compiler {
    fn key(&self, source: &Source, variant: &Variant) -> Key {
        Key::new(source, sources::headers(), &nvrtc::options(self.target, variant), self.nvrtc)
    }

    fn compile(&self, source: &Source, variant: &Variant) -> Result<Vec<u8>, String> {
        let options = nvrtc::options(self.target, variant);
        nvrtc::compile(source, sources::headers(), self.target, &options)
            .map(|compiled| compiled.code)
            .map_err(|error| compile_error(source, self.target, variant, self.nvrtc, &error))
    }
}

/// Told, with a line for the user, that compiling begins.
type Notice = Box<dyn Fn(&str) + Send>;

/// Compiles, loads and keeps the kernels of one device.
pub(super) struct Kernels {
    target: Target,
    nvrtc: (u32, u32),
    cache: KernelCache,
    modules: Mutex<HashMap<(&'static str, Variant), Module>>,
    statistics: Mutex<KernelStatistics>,
    notice: Mutex<Option<Notice>>,
    /// In a rehearsal, what its launches will need.
    rehearsal: Mutex<Option<Vec<(&'static str, Variant)>>>,
    /// Code that a rehearsal compiled, until it is loaded.
    ready: Mutex<HashMap<(&'static str, Variant), Vec<u8>>>,
}

impl Kernels {
    pub(super) fn new(target: Target, nvrtc: (u32, u32), cache: KernelCache) -> Self {
        Self {
            target,
            nvrtc,
            cache,
            modules: Mutex::default(),
            statistics: Mutex::default(),
            notice: Mutex::default(),
            rehearsal: Mutex::default(),
            ready: Mutex::default(),
        }
    }

    /// Unloads everything. The caller has waited for the stream and made the context current.
    pub(super) fn unload(&self) {
        self.modules.lock().clear();
    }

    /// The code of `source` and whether it comes from the cache.
    fn code(
        &self,
        source: &Source,
        variant: &Variant,
        use_cache: bool,
    ) -> Result<(Vec<u8>, bool), String> {
        if let Some(code) = self.ready.lock().remove(&(source.name, *variant)) {
            return Ok((code, false));
        }
        let compiler = self.compiler();
        if use_cache && let Some(code) = self.cache.get(&compiler.key(source, variant)) {
            return Ok((code, true));
        }
        self.announce();
        let code = compiler.compile(source, variant)?;
        self.cache.put(&compiler.key(source, variant), &code);
        Ok((code, false))
    }

    /// Modules that a rehearsal compiled and nobody loaded yet.
    #[cfg(test)]
    pub(super) fn ready_count(&self) -> usize {
        self.ready.lock().len()
    }

    fn compiler(&self) -> Compiler {
        Compiler { target: self.target, nvrtc: self.nvrtc }
    }

    /// Compiles what is neither loaded nor in the cache, side by side, and keeps it for `load`.
    fn prepare(&self, modules: &[(&'static str, Variant)]) -> Result<(), String> {
        let compiler = self.compiler();
        let missing: Vec<_> = modules
            .iter()
            .filter(|module| !self.modules.lock().contains_key(module))
            .filter_map(|&(file, variant)| Some((sources::find(file)?, variant)))
            .filter(|(source, variant)| self.cache.get(&compiler.key(source, variant)).is_none())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.announce();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some((source, variant)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((source, *variant, compiler.compile(source, variant)));
            }
            done
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(missing.len());
        let compiled: Vec<_> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let joined = workers.into_iter().map(thread::ScopedJoinHandle::join);
            joined.map(|done| done.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        for (source, variant, code) in compiled.into_iter().flatten() {
            let code = code?;
            self.cache.put(&compiler.key(source, &variant), &code);
            self.ready.lock().insert((source.name, variant), code);
        }
        Ok(())
    }

    /// Says once that compiling takes a moment.
    fn announce(&self) {
        let notice = self.notice.lock().take();
        if let Some(notice) = notice {
            let kept = match self.cache.folder() {
                Some(_) => ", cached for next time",
                None => "",
            };
            notice(&format!("compiling kernels for {}{kept}", self.target));
        }
    }

    fn count(&self, cached: bool) {
        let mut statistics = self.statistics.lock();
        if cached { statistics.cached += 1 } else { statistics.compiled += 1 }
    }
}

impl Cuda {
    /// A launch of the kernel `function` of `kernels/<file>.cu`, compiled for `T`. The first use of
    /// a file compiles it, or takes it from the cache on disk.
    ///
    /// # Errors
    /// [`Error::Device`] when the file does not compile or has no such kernel, or when the driver
    /// refuses the code.
    pub(crate) fn kernel<T: Float>(
        &self,
        file: &'static str,
        function: &'static str,
    ) -> Result<Launch<'_>> {
        self.kernel_for::<T>(file, function, &[])
    }

    /// As [`Cuda::kernel`], from a module of its own whose `GEOMETRY` is `constants`, where the device
    /// was asked to specialise and the file reads them.
    ///
    /// # Errors
    /// As [`Cuda::kernel`].
    pub(crate) fn kernel_for<T: Float>(
        &self,
        file: &'static str,
        function: &'static str,
        constants: &[u32],
    ) -> Result<Launch<'_>> {
        // Another thread may be in a rehearsal.
        let _turn = self.turn();
        let variant = self.variant::<T>(file, constants)?;
        if let Some(needed) = &mut *self.kernels().rehearsal.lock() {
            if !needed.contains(&(file, variant)) {
                needed.push((file, variant));
            }
            return Ok(Launch::new(self, Arc::new(Function::of_rehearsal(function))));
        }
        Ok(Launch::new(self, self.function(file, function, variant)?))
    }

    /// Does `work` without running a kernel, and compiles all the kernels that it would have run,
    /// side by side: those of a training step take as long as the slowest of them then, instead of
    /// one after the other. What `work` computes is no number that means anything.
    ///
    /// # Errors
    /// What `work` returns, and [`Error::Device`] when a file does not compile.
    pub fn rehearse(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let _turn = self.turn();
        *self.kernels().rehearsal.lock() = Some(Vec::new());
        let done = work();
        let needed = self.kernels().rehearsal.lock().take().unwrap_or_default();
        done?;
        self.kernels().prepare(&needed).map_err(|message| self.error(message))
    }

    /// Whether launches are noted and not made.
    pub(super) fn rehearses(&self) -> bool {
        self.kernels().rehearsal.lock().is_some()
    }

    /// What `file` is to be compiled for under this device's settings.
    fn variant<T: Float>(&self, file: &str, constants: &[u32]) -> Result<Variant> {
        let scalar = Scalar::of::<T>();
        let precision = match (scalar, sources::product(file)) {
            (Scalar::Double, _) | (_, None) => Precision::F32,
            (Scalar::Float, Some(Product::Convolution)) => self.precisions().convolution,
            (Scalar::Float, Some(Product::Matmul)) => self.precisions().matmul,
        };
        let specialises =
            self.0.specialise.load(Ordering::Relaxed) && sources::reads_geometry(file);
        let constants = if specialises { constants } else { &[] };
        let constants = Constants::new(constants).ok_or_else(|| {
            self.error(format!("kernels/{file}.cu: too many constants: {}", constants.len()))
        })?;
        Ok(Variant { scalar, precision, constants })
    }

    /// Has `notice` called before this device compiles its first kernel, with a line for the user:
    /// that takes a second or two on a machine's first run.
    pub fn on_compile(&self, notice: impl Fn(&str) + Send + 'static) {
        *self.kernels().notice.lock() = Some(Box::new(notice));
    }

    /// How the kernels in use came about.
    pub fn kernel_statistics(&self) -> KernelStatistics {
        *self.kernels().statistics.lock()
    }

    fn function(
        &self,
        file: &'static str,
        function: &'static str,
        variant: Variant,
    ) -> Result<Arc<Function>> {
        let key = (file, variant);
        let modules = &self.kernels().modules;
        let known = modules
            .lock()
            .get(&key)
            .map(|module| (module.raw, module.functions.get(function).map(Arc::clone)));
        let module = match known {
            Some((_, Some(function))) => return Ok(function),
            Some((module, None)) => Some(module),
            None => None,
        };
        let _turn = self.bind()?;
        let module = match module {
            Some(module) => module,
            None => {
                let loaded = self.load(file, &variant)?;
                modules.lock().entry(key).or_insert(loaded).raw
            }
        };
        let found = Arc::new(self.find_function(module, file, function)?);
        if let Some(module) = modules.lock().get_mut(&key) {
            module.functions.insert(function, Arc::clone(&found));
        }
        Ok(found)
    }

    fn load(&self, file: &'static str, variant: &Variant) -> Result<Module> {
        let source = sources::find(file).ok_or_else(|| {
            let known: Vec<_> = sources::sources().iter().map(|source| source.name).collect();
            self.error(format!("there is no kernels/{file}.cu; there are {}", known.join(", ")))
        })?;
        let kernels = self.kernels();
        let code = |use_cache| kernels.code(&source, variant, use_cache).map_err(|m| self.error(m));
        let (image, cached) = code(true)?;
        let mut loaded = load_image(image);
        let mut from_cache = cached;
        if loaded.is_err() && cached {
            // Whole, but not for this driver (the GPU or its driver was changed, say): once more.
            loaded = load_image(code(false)?.0);
            from_cache = false;
        }
        let raw = loaded.map_err(self.driver_error(format_args!(
            "loading {} compiled for {} by NVRTC {}.{}",
            source.file, kernels.target, kernels.nvrtc.0, kernels.nvrtc.1
        )))?;
        kernels.count(from_cache);
        Ok(Module { raw, functions: HashMap::new() })
    }

    fn find_function(&self, module: CUmodule, file: &str, name: &'static str) -> Result<Function> {
        let refused =
            |error| self.driver_error(format_args!("finding {name} in kernels/{file}.cu"))(error);
        let c_name = CString::new(name)
            .map_err(|_| self.error(format!("a kernel cannot be called {name:?}")))?;
        let mut raw = ptr::null_mut();
        // SAFETY: the module is loaded and stays so while `self` lives, the pointer is valid for
        // writes, and the name lives until the end of this function.
        unsafe { driver::cuModuleGetFunction(&mut raw, module, c_name.as_ptr()) }
            .map_err(refused)?;
        let attribute = |attribute| -> Result<u32, Error> {
            let mut value = 0;
            // SAFETY: the function was just found in a loaded module, and the pointer is valid for
            // writes.
            unsafe { driver::cuFuncGetAttribute(&mut value, attribute, raw) }.map_err(refused)?;
            Ok(value.unsigned_abs())
        };
        Ok(Function {
            name,
            raw,
            parameters: parameter_sizes(raw),
            max_threads: attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK)?,
            static_shared: attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
            opted_in: AtomicU32::new(0),
        })
    }
}

/// The message for a kernel file that does not compile.
pub(super) fn compile_error(
    source: &Source,
    target: Target,
    variant: &Variant,
    (major, minor): (u32, u32),
    CompileError { code, log }: &CompileError,
) -> String {
    let advice = if log.is_empty() {
        "install another NVRTC, or use the CPU"
    } else {
        "this is a mistake in the kernel, or an NVRTC that does not know its language: please \
         report it; the CPU works meanwhile"
    };
    format!(
        "cannot compile {} for {target} with {variant}: NVRTC {major}.{minor} says \
         {code}\n{log}\n{advice}",
        source.file
    )
}

/// Loads CUBIN or PTX into the current context.
fn load_image(mut image: Vec<u8>) -> Result<CUmodule, DriverError> {
    // PTX is text and ends at a zero byte; behind a CUBIN, which knows its size, it does no harm.
    image.push(0);
    let mut module = ptr::null_mut();
    // SAFETY: the pointer is valid for writes. The image is a CUBIN or zero-terminated PTX as NVRTC
    // made it (a hash guards what lay on disk), and the driver has copied it when the call returns.
    unsafe { driver::cuModuleLoadData(&mut module, image.as_ptr().cast()) }?;
    Ok(module)
}

/// The bytes of each parameter of a kernel, if the driver can tell.
fn parameter_sizes(function: CUfunction) -> Option<Vec<usize>> {
    let mut sizes = Vec::new();
    loop {
        let (mut offset, mut size) = (0, 0);
        // SAFETY: the function is of a loaded module, and both pointers are valid for writes.
        let told =
            unsafe { driver::cuFuncGetParamInfo(function, sizes.len(), &mut offset, &mut size) };
        match told {
            Ok(()) => sizes.push(size),
            // How the driver says that there are no more.
            Err(DriverError::CUDA_ERROR_INVALID_VALUE) => return Some(sizes),
            // Whatever is wrong, the launch itself will say it better.
            Err(_) => return None,
        }
    }
}
