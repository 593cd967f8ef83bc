//! Modules: the shared objects made by the nvrtc stand-in, their kernels and variables.
#![allow(non_snake_case)]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_uint, c_void};
use std::fs;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use cudarc::driver::sys::{CUdeviceptr, CUfunction, CUjit_option, CUmodule, CUresult};
use cusim_common::blob::{Blob, Damage, Kind};
use object::{Object, ObjectSegment, ObjectSymbol, SegmentFlags, SymbolKind};

use crate::api::{Outcome, driver_api, put, text};
use crate::config::Config;
use crate::device;
use crate::engine::hooks::Hooks;
use crate::shadow::Shadow;
use crate::state;

use CUresult::*;

/// Where a thread is, as the shim lays it out.
#[repr(C)]
pub struct Position {
    pub thread: [u32; 3],
    pub block: [u32; 3],
    pub block_dim: [u32; 3],
    pub grid_dim: [u32; 3],
}

/// A row of the shim's table of kernels.
#[repr(C)]
struct Row {
    function: *const c_void,
    call: Option<unsafe extern "C" fn(*mut *mut c_void)>,
    sizes: *const u32,
    count: u32,
    bound: u32,
    name: *const c_char,
}

/// A named piece of an image's memory.
#[derive(Clone, Debug)]
pub struct Variable {
    pub name: String,
    /// Addresses, or for shared memory offsets into its section.
    pub range: Range<usize>,
}

/// A loaded shared object.
pub struct Image {
    handle: *mut c_void,
    /// What a copy was loaded from. It stays open: the linker knows objects by name, and the next
    /// file with this descriptor's number would be taken for this one.
    _copy: Option<fs::File>,
    /// What was asked to be loaded: where line numbers are found.
    pub path: String,
    /// What address zero of the file is at.
    pub base: usize,
    /// Code and constants.
    pub read_only: Range<usize>,
    pub checked: bool,
    /// `__device__` and `__constant__` variables, by name, sorted by address.
    pub variables: Vec<Variable>,
    /// `__shared__` variables, sorted by offset.
    pub shared: Vec<Variable>,
    pub position: *mut Position,
    /// Where dynamic shared memory begins.
    pub dynamic: usize,
    shared_base: unsafe extern "C" fn() -> usize,
    anchor: usize,
    /// Check mode's knowledge about variables, static and dynamic shared memory.
    pub shadows: Option<ImageShadows>,
}

pub struct ImageShadows {
    pub variables: Vec<Shadow>,
    pub shared: Vec<Shadow>,
    pub dynamic: Shadow,
}

// SAFETY: the pointers lead into the loaded object, which any thread may use; what changes there
// (position, shared memory) only the engine touches, under the driver's lock.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: the handle came from dlopen and is closed once; no kernel of it is left, since
        // each keeps its image alive.
        unsafe { libc::dlclose(self.handle) };
    }
}

/// A kernel.
pub struct Kernel {
    pub name: String,
    pub image: Arc<Image>,
    /// Calls it with an array of pointers to its parameters.
    pub call: unsafe extern "C" fn(*mut *mut c_void),
    /// Bytes of each parameter.
    pub sizes: Vec<u32>,
    /// From `__launch_bounds__`, 0 if none.
    pub bound: u32,
    /// Which of the image's shared variables it may use.
    pub shared: Vec<usize>,
    pub shared_bytes: u32,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

pub struct Module {
    pub image: Arc<Image>,
    kernels: Vec<Arc<Kernel>>,
}

impl Module {
    pub fn has_variable(&self, start: usize, bytes: usize) -> bool {
        let mut ranges = self.image.variables.iter().map(|v| &v.range);
        ranges.any(|r| r.start <= start && start + bytes <= r.end)
    }
}

/// What a CUfunction stands for.
#[derive(Clone, Debug)]
pub struct Function {
    pub kernel: Arc<Kernel>,
    /// The most dynamic shared memory it may be launched with.
    pub max_dynamic: u32,
}

impl Image {
    /// Where this thread's instance of static shared memory begins.
    pub fn shared_memory(&self) -> usize {
        // SAFETY: the function is the loaded object's and only takes an address.
        (unsafe { (self.shared_base)() }) - self.anchor
    }

    fn load(blob: &Blob) -> Outcome<Self> {
        let bytes = fs::read(&blob.path).map_err(|e| {
            eprintln!("cusim: {}: {e} (was cusim's cache removed?)", blob.path);
            CUDA_ERROR_FILE_NOT_FOUND
        })?;
        let file = object::File::parse(&*bytes).map_err(|_| CUDA_ERROR_INVALID_IMAGE)?;
        let (handle, copy) = open(&blob.path, &bytes)?;
        let table = symbol(handle, c"cusim_kernels");
        let shared_base = symbol(handle, c"cusim_shared_base");
        let find = |name: &str| file.symbols().find(|s| s.name() == Ok(name)).map(|s| s.address());
        let parts = (|| {
            let base = table? - find("cusim_kernels")? as usize;
            let at = |name: &str| Some(base + find(name)? as usize);
            Some((base, at("cusim_position")?, at("cusim_dynamic")?, at("cusim_hooks")?))
        })();
        let (Some((base, position, dynamic, hooks)), Some(shared_base)) = (parts, shared_base)
        else {
            // SAFETY: the handle is not used any more.
            unsafe { libc::dlclose(handle) };
            return Err(CUDA_ERROR_INVALID_IMAGE);
        };
        // SAFETY: the shim declares this place for a `Hooks`, and no kernel of it runs yet.
        unsafe { (hooks as *mut Hooks).write(Hooks::new()) };

        let named = |kind, base: usize| {
            let of_kind = file.symbols().filter(move |s| s.kind() == kind && s.size() > 0);
            let mut variables: Vec<_> = of_kind
                .filter_map(|s| {
                    let start = base + s.address() as usize;
                    let range = start..start + s.size() as usize;
                    Some(Variable { name: s.name().ok()?.to_owned(), range })
                })
                .filter(|v| !v.name.contains("cusim_"))
                .collect();
            variables.sort_by_key(|v| v.range.start);
            variables
        };
        let variables = named(SymbolKind::Data, base);
        let shared = named(SymbolKind::Tls, 0);
        let anchor =
            file.symbols().find(|s| s.name().is_ok_and(|n| n.contains("cusim_shared_anchor")));
        let read_only = file.segments().take_while(|s| !is_writable(s.flags()));
        let end = read_only.map(|s| s.address() + s.size()).max().unwrap_or(0);
        let shadows = (blob.checked && Config::get().check).then(|| ImageShadows {
            variables: variables.iter().map(|v| Shadow::initialised(v.range.len())).collect(),
            shared: shared.iter().map(|v| Shadow::uninitialised(v.range.len())).collect(),
            dynamic: Shadow::uninitialised(Config::get().shared_opt_in() as usize),
        });
        Ok(Self {
            handle,
            _copy: copy,
            path: blob.path.clone(),
            base,
            read_only: base..base + end as usize,
            checked: blob.checked,
            variables,
            shared,
            position: position as *mut Position,
            dynamic,
            // SAFETY: the shim defines it with this signature.
            shared_base: unsafe {
                std::mem::transmute::<usize, unsafe extern "C" fn() -> usize>(shared_base)
            },
            anchor: anchor.map_or(0, |s| s.address() as usize),
            shadows,
        })
    }

    /// Reads the table of kernels.
    fn kernels(self: &Arc<Self>) -> Vec<Arc<Kernel>> {
        let mut kernels = Vec::new();
        let Some(table) = symbol(self.handle, c"cusim_kernels") else { return kernels };
        let map = self.shared_map();
        let mut row = table as *const Row;
        // SAFETY: the shim's table ends with a row of zeros; its strings and arrays live as long
        // as the object.
        unsafe {
            while let Some(call) = (*row).call {
                let r = &*row;
                let name = symbol_name(r.function);
                let used = name.as_deref().map(|n| map.get(n).cloned().unwrap_or_default());
                // A kernel that is not exported cannot be looked up: it may use all there are.
                let used = used.unwrap_or_else(|| (0..self.shared.len()).collect());
                kernels.push(Arc::new(Kernel {
                    name: name
                        .unwrap_or_else(|| CStr::from_ptr(r.name).to_string_lossy().into_owned()),
                    image: Arc::clone(self),
                    call,
                    sizes: std::slice::from_raw_parts(r.sizes, r.count as usize).to_vec(),
                    bound: r.bound,
                    shared_bytes: used.iter().map(|&i| self.shared[i].range.len() as u32).sum(),
                    shared: used,
                }));
                row = row.add(1);
            }
        }
        kernels
    }

    /// Which shared variables each function uses, as the nvrtc stand-in found out.
    fn shared_map(&self) -> HashMap<String, Vec<usize>> {
        let Some(map) = symbol(self.handle, c"cusim_shared_map") else { return HashMap::new() };
        // SAFETY: the nvrtc stand-in puts a string there.
        let map = unsafe { CStr::from_ptr(map as *const c_char) }.to_string_lossy();
        let find = |name: &str| self.shared.iter().position(|v| v.name == name);
        let entries = map.split(';').filter_map(|entry| entry.split_once(':'));
        entries
            .map(|(function, used)| {
                (function.to_owned(), used.split(',').filter_map(find).collect())
            })
            .collect()
    }
}

fn is_writable(flags: SegmentFlags) -> bool {
    matches!(flags, SegmentFlags::Elf { p_flags } if p_flags & object::elf::PF_W != 0)
}

/// Loads the object; anew even if it is loaded already, so that each module has its variables.
fn open(path: &str, bytes: &[u8]) -> Outcome<(*mut c_void, Option<fs::File>)> {
    let c_path = CString::new(path).map_err(|_| CUDA_ERROR_INVALID_IMAGE)?;
    // SAFETY: the object was made by the nvrtc stand-in: loading it runs no code of a user's.
    unsafe {
        let loaded = libc::dlopen(c_path.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_NOW);
        if loaded.is_null() {
            return Ok((dlopen(&c_path)?, None));
        }
        libc::dlclose(loaded);
    }
    let copy = anonymous_file(bytes).map_err(|_| CUDA_ERROR_OPERATING_SYSTEM)?;
    let copy_path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    let handle = dlopen(&CString::new(copy_path).map_err(|_| CUDA_ERROR_INVALID_IMAGE)?)?;
    Ok((handle, Some(copy)))
}

fn dlopen(path: &CStr) -> Outcome<*mut c_void> {
    // SAFETY: as in `open`.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if handle.is_null() {
        // SAFETY: dlopen failed, so dlerror has a text.
        let why = unsafe { CStr::from_ptr(libc::dlerror()) };
        eprintln!("cusim: {}", why.to_string_lossy());
        return Err(CUDA_ERROR_SHARED_OBJECT_INIT_FAILED);
    }
    Ok(handle)
}

fn anonymous_file(bytes: &[u8]) -> std::io::Result<fs::File> {
    use std::io::Write;
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a C string; the result is checked before it is owned.
    let fd = unsafe { libc::memfd_create(c"cusim".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    let mut file = unsafe { fs::File::from_raw_fd(fd) };
    file.write_all(bytes)?;
    Ok(file)
}

fn symbol(handle: *mut c_void, name: &CStr) -> Option<usize> {
    // SAFETY: the handle is open, the name a C string.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    (!address.is_null()).then_some(address as usize)
}

/// The symbol at a function's address.
fn symbol_name(function: *const c_void) -> Option<String> {
    // SAFETY: Dl_info is plain data; dladdr fills it in or leaves it zero. A name it returns lives
    // as long as the object.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        libc::dladdr(function, &raw mut info);
        let exact = !info.dli_sname.is_null() && std::ptr::eq(info.dli_saddr, function);
        exact.then(|| CStr::from_ptr(info.dli_sname).to_string_lossy().into_owned())
    }
}

/// Whether code for `blob` runs on this device.
fn check_target(blob: &Blob) -> Outcome {
    let device = Config::get().capability;
    let runs = match blob.kind {
        // Machine code: the same major version, the same or a later minor one.
        Kind::Cubin => blob.arch / 10 == device / 10 && blob.arch <= device,
        Kind::Ptx => blob.arch <= device,
    };
    if runs { Ok(()) } else { Err(CUDA_ERROR_NO_BINARY_FOR_GPU) }
}

fn load(module: *mut CUmodule, blob: Result<Blob, Damage>) -> Outcome {
    let mut state = state::ready()?;
    state.captures.forbid_unsafe_call()?;
    let blob = blob.map_err(|damage| match damage {
        // What real machine code or PTX gets on a device it was not made for.
        Damage::Foreign => CUDA_ERROR_NO_BINARY_FOR_GPU,
        Damage::Broken => CUDA_ERROR_INVALID_IMAGE,
    })?;
    check_target(&blob)?;
    if Config::get().check && !blob.checked {
        eprintln!("cusim: a program compiled without CUSIM_CHECK is loaded: it is not checked");
    }
    let image = Arc::new(Image::load(&blob)?);
    let kernels = image.kernels();
    if let Some(big) = kernels.iter().find(|k| k.shared_bytes > device::SHARED) {
        eprintln!("cusim: {} has {} bytes of static shared memory", big.name, big.shared_bytes);
        return Err(CUDA_ERROR_INVALID_IMAGE);
    }
    let handle = state.new_handle();
    state.modules.insert(handle, Module { image, kernels });
    put(module, handle as CUmodule)
}

fn load_memory(module: *mut CUmodule, image: *const c_void) -> Outcome {
    if image.is_null() {
        return Err(CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the caller passed an image; anything else differs from ours within its first bytes.
    load(module, unsafe { Blob::decode_at(image.cast()) })
}

driver_api! {
    fn cuModuleLoadData(module: *mut CUmodule, image: *const c_void) {
        load_memory(module, image)
    }

    fn cuModuleLoadDataEx(
        module: *mut CUmodule,
        image: *const c_void,
        _count: c_uint,
        _options: *mut CUjit_option,
        _values: *mut *mut c_void,
    ) {
        load_memory(module, image)
    }

    fn cuModuleLoadFatBinary(module: *mut CUmodule, image: *const c_void) {
        load_memory(module, image)
    }

    fn cuModuleLoad(module: *mut CUmodule, path: *const c_char) {
        let bytes = fs::read(text(path)?).map_err(|_| CUDA_ERROR_FILE_NOT_FOUND)?;
        load(module, Blob::decode(&bytes))
    }

    fn cuModuleUnload(module: CUmodule) {
        let mut state = state::any_context()?;
        let gone = state.modules.remove(&(module as usize)).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
        // Functions die with their module; graphs keep what they hold.
        state.functions.retain(|_, f| !Arc::ptr_eq(&f.kernel.image, &gone.image));
        Ok(())
    }

    fn cuModuleGetFunction(function: *mut CUfunction, module: CUmodule, name: *const c_char) {
        let name = text(name)?;
        let mut state = state::ready()?;
        let owner = state.modules.get(&(module as usize)).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
        let kernel = owner.kernels.iter().find(|k| k.name == name).cloned();
        let kernel = kernel.ok_or(CUDA_ERROR_NOT_FOUND)?;
        // Asked for twice, it is the same function with the same attributes.
        let known = state.functions.iter().find(|(_, f)| Arc::ptr_eq(&f.kernel, &kernel));
        let handle = known.map(|(&handle, _)| handle).unwrap_or_else(|| {
            let handle = state.new_handle();
            let max_dynamic = device::SHARED - kernel.shared_bytes;
            state.functions.insert(handle, Function { kernel, max_dynamic });
            handle
        });
        put(function, handle as CUfunction)
    }

    fn cuModuleGetFunctionCount(count: *mut c_uint, module: CUmodule) {
        let state = state::ready()?;
        let module = state.modules.get(&(module as usize)).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
        put(count, module.kernels.len() as c_uint)
    }

    fn cuModuleGetGlobal_v2(
        pointer: *mut CUdeviceptr,
        bytes: *mut usize,
        module: CUmodule,
        name: *const c_char,
    ) {
        let name = text(name)?;
        let state = state::ready()?;
        let module = state.modules.get(&(module as usize)).ok_or(CUDA_ERROR_INVALID_HANDLE)?;
        let variable = module.image.variables.iter().find(|v| v.name == name);
        let range = &variable.ok_or(CUDA_ERROR_NOT_FOUND)?.range;
        if !pointer.is_null() {
            put(pointer, range.start as CUdeviceptr)?;
        }
        if bytes.is_null() { Ok(()) } else { put(bytes, range.len()) }
    }

    fn cuModuleGetLoadingMode(mode: *mut cudarc::driver::sys::CUmoduleLoadingMode) {
        put(mode, cudarc::driver::sys::CUmoduleLoadingMode::CU_MODULE_EAGER_LOADING)
    }
}
