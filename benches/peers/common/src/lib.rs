//! What the peers' programs share: the data, the command line, and the line that they print.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

/// Images of a part of the real data set.
const TRAIN_ROWS: usize = 27_455;
/// Bytes of an image.
pub const PIXELS: usize = 28 * 28;
/// Letters.
pub const CLASSES: usize = 24;

/// Training images from 0 to 1, row after row, and their classes.
pub struct Images {
    /// `[N, 784]`.
    pub pixels: Vec<f32>,
    /// `[N]`.
    pub labels: Vec<u32>,
}

/// `PROGRAM DATA BATCH`: a folder with `sign_mnist_train.csv`, or `random`; images of a step.
pub struct Arguments {
    /// What to train on.
    pub images: Images,
    /// Images of a step.
    pub batch: usize,
}

impl Arguments {
    /// From the command line.
    pub fn read() -> Result<Self, Box<dyn Error>> {
        let arguments: Vec<String> = std::env::args().collect();
        let [_, data, batch] = &arguments[..] else {
            return Err("usage: PROGRAM DATA_FOLDER|random BATCH".into());
        };
        let images = if data == "random" { random() } else { read_csv(Path::new(data))? };
        Ok(Self { images, batch: batch.parse()? })
    }
}

/// Times one epoch after a short warm-up and prints it as JSON. `steps` runs so many training steps
/// from row 0 on and waits for them.
pub fn report(
    name: &str,
    images: &Images,
    batch: usize,
    mut steps: impl FnMut(usize) -> Result<f32, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    steps(3)?;
    let start = Instant::now();
    let loss = steps(images.labels.len().div_ceil(batch))?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{{\"name\": \"{name}\", \"train_seconds\": {seconds:.4}, \"last_loss\": {loss:.4}}}");
    Ok(())
}

fn read_csv(folder: &Path) -> Result<Images, Box<dyn Error>> {
    let mut images = Images { pixels: Vec::new(), labels: Vec::new() };
    for row in csv::Reader::from_path(folder.join("sign_mnist_train.csv"))?.byte_records() {
        let row = row?;
        let mut values = row.iter().map(|field| std::str::from_utf8(field).map(str::parse::<u8>));
        let label = u32::from(values.next().ok_or("an empty row")???);
        // Kaggle numbers the letters 0 to 24 and leaves out 9, the J.
        images.labels.push(if label > 9 { label - 1 } else { label });
        for value in values {
            images.pixels.push(f32::from(value??) / 255.0);
        }
    }
    Ok(images)
}

/// Noise: for timing alone.
fn random() -> Images {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u32
    };
    Images {
        pixels: (0..TRAIN_ROWS * PIXELS).map(|_| (next() % 256) as f32 / 255.0).collect(),
        labels: (0..TRAIN_ROWS).map(|_| next() % CLASSES as u32).collect(),
    }
}
