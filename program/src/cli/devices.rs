//! `signet devices`: what there is to compute on, and why `auto` takes what it takes.

use std::process::ExitCode;

use serde::Serialize;

use super::{note, print, say};
use crate::words::{bytes, counted};
use signet::device::cuda::{self, KernelCache, NoGpu};
use signet::device::{DeviceChoice, Precision, choose};
use signet::{Error, Result};

/// Show the devices, and what is missing for a GPU
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Remove the compiled kernels: the next run on a GPU compiles them again
    #[arg(long)]
    clear: bool,
}

/// All there is to say. A part that is missing has an `error` in its place.
#[derive(Serialize)]
struct Report {
    /// What `--device auto` takes.
    auto: String,
    /// Why that is no GPU.
    no_gpu: Option<String>,
    cpu: CpuReport,
    driver: Part<DriverReport>,
    nvrtc: Part<NvrtcReport>,
    gpus: Vec<GpuReport>,
    kernel_cache: CacheReport,
}

/// Something that may be missing.
#[derive(Serialize)]
#[serde(untagged)]
enum Part<T> {
    There(T),
    Missing { error: String },
}

#[derive(Serialize)]
struct CpuReport {
    /// The architecture, `x86_64`.
    architecture: &'static str,
    /// Cores that this process may use.
    cores: usize,
    /// What the kernels could use, as far as this CPU has it.
    features: Vec<&'static str>,
}

#[derive(Serialize)]
struct DriverReport {
    /// The newest CUDA it supports.
    cuda: String,
}

#[derive(Serialize)]
struct NvrtcReport {
    version: String,
    path: Option<String>,
    /// What it compiles for, `sm_90`.
    targets: Vec<String>,
}

#[derive(Serialize)]
struct GpuReport {
    /// The name to give to `--device`.
    device: String,
    name: String,
    compute_capability: String,
    /// What `--precision` may ask for.
    precisions: Vec<Precision>,
    memory_bytes: u64,
    multiprocessors: u32,
}

#[derive(Serialize)]
struct CacheReport {
    /// None when there is no cache.
    folder: Option<String>,
    files: u64,
    bytes: u64,
}

impl Args {
    /// Reports, or clears the cache.
    ///
    /// # Errors
    /// When stdout cannot be written, or a file of the cache cannot be removed.
    pub fn run(self) -> Result<ExitCode> {
        let cache = KernelCache::of_user();
        if self.clear {
            let cleared = cache.clear()?;
            let (files, size) = (counted(cleared.files, "file"), bytes(cleared.bytes));
            note(format_args!("removed {files} of compiled kernels ({size})"));
        }
        // Last, as trying a GPU out compiles a kernel.
        let report = Report::new(&cache)?;
        if self.json {
            let json = serde_json::to_string(&report).map_err(|error| Error::Io {
                action: "write",
                path: "stdout".into(),
                source: error.into(),
            })?;
            print(json)?;
        } else {
            say(report.text())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Report {
    fn new(cache: &KernelCache) -> Result<Self> {
        let driver = cuda::driver_version().map(|version| DriverReport { cuda: dotted(version) });
        let nvrtc = cuda::nvrtc_info().map(|nvrtc| NvrtcReport {
            version: dotted(nvrtc.version),
            path: nvrtc.path.map(|path| path.display().to_string()),
            targets: nvrtc.targets.iter().map(|target| format!("sm_{target}")).collect(),
        });
        let gpus = cuda::gpus().unwrap_or_default().into_iter().map(|gpu| GpuReport {
            device: format!("cuda:{}", gpu.ordinal),
            name: gpu.name,
            compute_capability: dotted(gpu.capability),
            precisions: Precision::of_capability(gpu.capability).to_vec(),
            memory_bytes: gpu.memory,
            multiprocessors: gpu.multiprocessors,
        });
        let auto = choose(DeviceChoice::Auto, None)?;
        let size = cache.size();
        Ok(Self {
            auto: auto.device.describe(),
            no_gpu: auto.no_gpu.map(|reason| reason.to_string()),
            cpu: CpuReport {
                architecture: std::env::consts::ARCH,
                cores: std::thread::available_parallelism().map_or(1, usize::from),
                features: cpu_features(),
            },
            driver: Part::new(driver),
            nvrtc: Part::new(nvrtc),
            gpus: gpus.collect(),
            kernel_cache: CacheReport {
                folder: cache.folder().map(|folder| folder.display().to_string()),
                files: size.files,
                bytes: size.bytes,
            },
        })
    }

    fn text(&self) -> String {
        let driver = self.driver.text(|driver| format!("supports CUDA {}", driver.cuda));
        let nvrtc = self.nvrtc.text(|nvrtc| {
            let path = nvrtc.path.as_deref().unwrap_or("an unknown place");
            format!("{}, from {path}\n  for {}", nvrtc.version, nvrtc.targets.join(" "))
        });
        let cache = match &self.kernel_cache {
            CacheReport { folder: None, .. } => "none".to_owned(),
            CacheReport { folder: Some(folder), files, bytes: size } => {
                format!("{folder}\n  {}, {}", counted(*files, "file"), bytes(*size))
            }
        };
        let features = match self.cpu.features.join(" ") {
            none if none.is_empty() => "no vector features that count here".to_owned(),
            some => some,
        };
        let mut lines = vec![
            format!("--device auto takes {}", self.auto),
            match &self.no_gpu {
                Some(reason) => format!("  no GPU: {reason}\n"),
                None => String::new(),
            },
            format!("cpu           {}", self.cpu.architecture),
            format!("  {}; {features}", counted(self.cpu.cores as u64, "core")),
        ];
        for gpu in &self.gpus {
            let gib = gpu.memory_bytes as f64 / f64::from(1 << 30);
            lines.push(format!("{:<14}{}", gpu.device, gpu.name));
            lines.push(format!(
                "  {gib:.1} GiB, compute capability {}, {} multiprocessors, {}",
                gpu.compute_capability,
                gpu.multiprocessors,
                gpu.precisions.iter().map(Precision::to_string).collect::<Vec<_>>().join(" ")
            ));
        }
        lines.push(format!("CUDA driver   {driver}"));
        lines.push(format!("NVRTC         {nvrtc}"));
        lines.push(format!("kernel cache  {cache}"));
        lines.join("\n")
    }
}

impl<T> Part<T> {
    fn new(part: Result<T, NoGpu>) -> Self {
        match part {
            Ok(part) => Self::There(part),
            Err(reason) => Self::Missing { error: reason.to_string() },
        }
    }

    fn text(&self, there: impl FnOnce(&T) -> String) -> String {
        match self {
            Self::There(part) => there(part),
            Self::Missing { error } => format!("missing: {error}"),
        }
    }
}

/// The features that the CPU's kernels choose by.
fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("FMA", std::arch::is_x86_feature_detected!("fma")),
        ("AVX-512", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    // Every CPU of this architecture has it.
    #[cfg(target_arch = "aarch64")]
    let known = [("NEON", true)];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let known: [(&str, bool); 0] = [];
    known.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

fn dotted((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}
