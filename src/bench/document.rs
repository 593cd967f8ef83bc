//! The results: one document, as JSON too.

use super::{About, Effort, Limit, Peaks, Reference, Roofline, Spread};
use crate::device::Cost;
use serde::Serialize;

/// Everything that was measured, and on what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// The version of this crate.
    pub signet: &'static str,
    /// The computer.
    pub machine: Machine,
    /// The device.
    #[serde(flatten)]
    pub about: About,
    /// Whether these are figures of [`Effort::Quick`](super::Effort::Quick): that something runs, not how fast.
    pub quick: bool,
    /// What the device can do at best.
    pub peaks: Peaks,
    /// What the rows are compared with.
    pub reference: Option<String>,
    /// The results.
    pub rows: Vec<Row>,
}

/// A computer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// `linux`.
    pub os: &'static str,
    /// `x86_64`.
    pub architecture: &'static str,
    /// The CPU's name, where the system tells.
    pub cpu: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
}

/// One result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was measured: `conv2d_forward/conv2/32` is that kernel at the second convolution's sizes
    /// and batch 32.
    pub name: String,
    /// Kernels of one run, of one step for an epoch.
    pub kernels: usize,
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes moved at least.
    pub bytes: f64,
    /// The time.
    #[serde(flatten)]
    pub time: Spread,
    /// 10^9 operations a second.
    pub gflops: f64,
    /// 10^9 bytes a second.
    pub gigabytes_per_second: f64,
    /// The least time that the peaks allow.
    pub roofline_seconds: f64,
    /// That time as a share of the median.
    pub percent_of_roofline: f64,
    /// Why it is not less.
    pub limit: Limit,
    /// The median of the reference, if it has this row.
    pub reference_seconds: Option<f64>,
    /// The reference's median divided by this one: above 1 this is faster.
    pub ratio: Option<f64>,
}

impl Row {
    /// A row whose time is that of `cost`, bounded by `roofline`, so many `times`.
    pub(super) fn new(
        name: String,
        kernels: usize,
        cost: Cost,
        times: f64,
        time: Spread,
        roofline: Roofline,
    ) -> Self {
        let (flops, bytes) = (cost.flops as f64 * times, cost.bytes as f64 * times);
        let roofline_seconds = roofline.seconds * times;
        Self {
            name,
            kernels,
            flops,
            bytes,
            time,
            gflops: flops / time.median_seconds / 1e9,
            gigabytes_per_second: bytes / time.median_seconds / 1e9,
            roofline_seconds,
            percent_of_roofline: 100.0 * roofline_seconds / time.median_seconds,
            limit: roofline.limit,
            reference_seconds: None,
            ratio: None,
        }
    }
}

impl Document {
    pub(super) fn new(about: About, effort: Effort, peaks: Peaks, rows: Vec<Row>) -> Self {
        Self {
            signet: env!("CARGO_PKG_VERSION"),
            machine: Machine::this(),
            about,
            quick: effort == Effort::Quick,
            peaks,
            reference: None,
            rows,
        }
    }

    /// Sets another program's times beside these, by the rows' names.
    pub fn compare(&mut self, reference: &Reference) {
        self.reference = Some(reference.name());
        for row in &mut self.rows {
            row.reference_seconds = reference.seconds(&row.name);
            row.ratio = row.reference_seconds.map(|seconds| seconds / row.time.median_seconds);
        }
    }
}

impl Machine {
    /// The one this runs on.
    fn this() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            os: std::env::consts::OS,
            architecture: std::env::consts::ARCH,
            cpu: model.map(|(_, name)| name.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let about = About {
            device: "cpu (2 threads)".into(),
            threads: Some(2),
            cuda_driver: None,
            nvrtc: None,
        };
        let peaks = Peaks { bytes_per_second: 2e10, flops_per_second: 4e11, launch_seconds: 1e-6 };
        let cost = Cost { flops: 2_000_000, bytes: 4_000_000 };
        let row = |name: &str, times| {
            let time = Spread::of(vec![1e-3]);
            Row::new(name.into(), 1, cost, times, time, peaks.kernel(cost))
        };
        let rows = vec![row("relu_forward/conv1/32", 1.0), row("epoch/32", 2.5)];
        Document::new(about, Effort::Full, peaks, rows)
    }

    #[test]
    fn rates_follow_from_cost_and_median() {
        let rows = document().rows;
        // 2 MFLOP and 4 MB in a millisecond; 4 MB take 0.2 ms at 20 GB/s.
        assert_eq!((rows[0].gflops, rows[0].gigabytes_per_second), (2.0, 4.0));
        assert_eq!((rows[0].roofline_seconds, rows[0].limit), (2e-4, Limit::Memory));
        assert!((rows[0].percent_of_roofline - 20.0).abs() < 1e-9);
        assert_eq!((rows[1].flops, rows[1].gflops), (5e6, 5.0));
        assert!((rows[1].percent_of_roofline - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_reference_gives_ratios_to_rows_of_its_names() {
        let mut document = document();
        let json = r#"{"reference": "another", "rows": [
            {"name": "relu_forward/conv1/32", "median_seconds": 3e-3},
            {"name": "of another size", "median_seconds": 1}]}"#;
        document.compare(&Reference::from_json(json).unwrap());
        assert!((document.rows[0].ratio.unwrap() - 3.0).abs() < 1e-9);
        assert_eq!((document.rows[1].ratio, document.rows[1].reference_seconds), (None, None));
    }

    #[test]
    fn the_json_has_every_field_of_the_schema() {
        let json = serde_json::to_value(document()).unwrap();
        let keys = |value: &serde_json::Value| {
            let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys.join(" ")
        };
        assert_eq!(
            keys(&json),
            "cuda_driver device machine nvrtc peaks quick reference rows signet threads"
        );
        assert_eq!(keys(&json["machine"]), "architecture cores cpu os");
        assert_eq!(keys(&json["peaks"]), "bytes_per_second flops_per_second launch_seconds");
        assert_eq!(
            keys(&json["rows"][0]),
            "bytes flops gflops gigabytes_per_second kernels limit median_seconds name p10_seconds \
             p90_seconds percent_of_roofline ratio reference_seconds roofline_seconds samples"
        );
        assert_eq!(json["rows"][0]["limit"], "memory");
    }
}
