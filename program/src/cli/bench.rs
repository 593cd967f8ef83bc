//! `signet bench`: how fast each kernel runs, beside how fast this device could run it.

use std::path::PathBuf;
use std::process::ExitCode;

use super::columns::Table;
use super::terminal::table_width;
use super::{DeviceArgs, note, print, say};
use signet::bench::{Document, Effort, Options, Peaks, Reference, Row, Spread, run};
use signet::{Error, Result};

/// Measure each kernel of the training step, whole steps and an epoch
///
/// For each: the median time and its spread (10th and 90th percentile), GFLOP/s, GB/s, the share of
/// the roofline, and what binds: memory, arithmetic, or the launch of a kernel. The roofline comes from
/// the device's own peaks, measured at the start by a copy, by chains of multiply-adds and by kernels
/// that do nothing. The same as `cargo bench`. Close everything else first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
--vs reads JSON: {\"reference\": \"PyTorch 2.9\", \"rows\": [{\"name\": \"step/32\", \
\"median_seconds\": 0.0127}, …]}, with the names of the rows here. scripts/bench-pytorch writes it, \
and so does --json.")]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    /// Set another program's times beside these
    #[arg(long, value_name = "FILE")]
    vs: Option<PathBuf>,

    /// Only rows whose name contains this
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,

    /// Small sizes and few repetitions: whether it runs, not how fast
    #[arg(long)]
    quick: bool,
}

impl Args {
    /// Measures and prints.
    ///
    /// # Errors
    /// When there is no such device or row, the reference cannot be read, or the device fails.
    pub fn run(self) -> Result<ExitCode> {
        let reference = self.vs.as_deref().map(Reference::load).transpose()?;
        let chosen = self.device.choose()?;
        note(format_args!("device: {chosen}"));
        let effort = if self.quick { Effort::Quick } else { Effort::Full };
        let options = Options { effort, filter: self.filter };
        let mut done = 0;
        let bar = indicatif::ProgressBar::new(0);
        let watch = |name: &str, count: usize| {
            bar.set_length(count as u64);
            bar.set_position(done);
            bar.println(name);
            done += 1;
        };
        let device = &chosen.device;
        let document = device.install(|| run(device, &options, watch));
        bar.finish_and_clear();
        let mut document: Document = document?;
        if let Some(reference) = &reference {
            document.compare(reference);
        }
        if self.json {
            let json = serde_json::to_string_pretty(&document)
                .map_err(|e| Error::argument("--json", format!("cannot be written: {e}")))?;
            print(json)?;
        } else {
            say(table(&document, table_width()))?;
            if document.rows.iter().any(is_above_the_peaks) {
                note(format_args!("{ABOVE}"));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The results as a table no wider than `width`, times in microseconds.
fn table(document: &Document, width: usize) -> String {
    let Peaks { bytes_per_second, flops_per_second, launch_seconds } = document.peaks;
    let cpu = document.machine.cpu.as_deref().unwrap_or(document.machine.architecture);
    let mut text = format!(
        "{} on {cpu}\npeaks: {:.1} GB/s, {:.1} GFLOP/s, {:.3} us a launch\n",
        document.about.device,
        bytes_per_second / 1e9,
        flops_per_second / 1e9,
        launch_seconds * 1e6
    );
    if let Some(reference) = &document.reference {
        text += &format!("reference: {reference}; a ratio above 1 means that it took longer\n");
    }
    if document.quick {
        text += "quick: this shows that it runs, not how fast\n";
    }
    let numbers =
        [("kernels", 7), ("median us", 0), ("p10", 5), ("p90", 5), ("GFLOP/s", 4), ("GB/s", 4)];
    let mut table = Table::default().names("row", 0).numbers(numbers);
    table = table.numbers([("roofline", 2)]).names("limit", 3);
    if document.reference.is_some() {
        table = table.numbers([("reference us", 6), ("ratio", 1)]);
    }
    for row in &document.rows {
        table.row(cells(row));
    }
    text + "\n" + &table.text(width)
}

/// What a mark behind a share of the roofline says.
const ABOVE: &str = "* above 100 %: the machine was busier at the start, when the peaks were measured, than now \
                     (close everything else, and measure again); or the row has what the peaks have not: its \
                     data in a cache, tensor cores, a replayed graph";

/// Whether a row is faster than anything should be, by more than the noise of two measurements.
fn is_above_the_peaks(row: &Row) -> bool {
    row.percent_of_roofline > 105.0
}

/// Those of the reference last: a table without one has no columns for them.
fn cells(row: &Row) -> Vec<String> {
    let Spread { median_seconds, p10_seconds, p90_seconds, .. } = row.time;
    let us = |seconds: f64| format!("{:.1}", seconds * 1e6);
    vec![
        row.name.clone(),
        row.kernels.to_string(),
        us(median_seconds),
        us(p10_seconds),
        us(p90_seconds),
        format!("{:.1}", row.gflops),
        format!("{:.1}", row.gigabytes_per_second),
        format!(
            "{:.1}%{}",
            row.percent_of_roofline,
            if is_above_the_peaks(row) { "*" } else { "" }
        ),
        row.limit.to_string(),
        row.reference_seconds.map(us).unwrap_or_default(),
        row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use signet::bench::{About, Limit, Machine};

    fn document() -> Document {
        let row = |name: &str, ratio: Option<f64>| Row {
            name: name.into(),
            kernels: 1,
            flops: 2e6,
            bytes: 4e6,
            time: Spread { samples: 9, median_seconds: 1e-3, p10_seconds: 9e-4, p90_seconds: 2e-3 },
            gflops: 2.0,
            gigabytes_per_second: 4.0,
            roofline_seconds: 2e-4,
            percent_of_roofline: 20.0,
            limit: Limit::Memory,
            reference_seconds: ratio.map(|ratio| ratio * 1e-3),
            ratio,
        };
        Document {
            signet: "0",
            machine: Machine { os: "linux", architecture: "x86_64", cpu: None, cores: 2 },
            about: About {
                device: "cpu (2 threads)".into(),
                threads: Some(2),
                cuda_driver: None,
                nvrtc: None,
            },
            quick: false,
            peaks: Peaks { bytes_per_second: 2e10, flops_per_second: 4e11, launch_seconds: 1e-6 },
            reference: None,
            rows: vec![row("relu_forward/conv1/32", Some(3.0)), row("epoch/32", None)],
        }
    }

    fn lines(document: &Document, width: usize) -> Vec<String> {
        let text = table(document, width);
        text.lines().skip_while(|line| !line.starts_with("row")).map(str::to_owned).collect()
    }

    #[test]
    fn every_row_has_a_line() {
        let lines = lines(&document(), usize::MAX);
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        let expected = "relu_forward/conv1/32 1 1000.0 900.0 2000.0 2.0 4.0 20.0% memory";
        assert_eq!(words, expected.split(' ').collect::<Vec<_>>());
        let column = lines[0].find("limit").unwrap();
        assert_eq!(lines.len(), 3);
        assert!(lines[1..].iter().all(|line| &line[column..] == "memory"), "{lines:#?}");
    }

    #[test]
    fn a_reference_has_columns_of_its_own() {
        let document = Document { reference: Some("another".into()), ..document() };
        assert!(table(&document, usize::MAX).contains("reference: another"));
        let lines = lines(&document, usize::MAX);
        assert!(lines[1].ends_with("  3000.0   3.00"), "{lines:#?}");
        assert!(lines[2].ends_with("memory"), "{lines:#?}");
    }

    #[test]
    fn a_row_above_the_peaks_is_marked() {
        assert!(!table(&document(), usize::MAX).contains('*'));
        let mut marked = document();
        marked.rows[1].percent_of_roofline = 131.25;
        let text = table(&marked, usize::MAX);
        assert!(lines(&marked, usize::MAX)[2].ends_with("131.2%*  memory"), "{text}");
        marked.rows[1].percent_of_roofline = 104.0;
        assert!(!table(&marked, usize::MAX).contains('*'), "as good as the peak");
    }

    #[test]
    fn a_narrow_terminal_keeps_name_time_and_ratio() {
        let document = Document { reference: Some("another".into()), ..document() };
        for width in [40, 60, 80] {
            let lines = lines(&document, width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
            assert!(lines[1].contains("1000.0") && lines[1].contains("3.00"), "{lines:#?}");
        }
    }
}
