//! `signet export`: a trained model for other programs.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{note, write_file};
use crate::nn::{StateDict, asl};
use crate::train::{BEST, RunFolder};
use crate::{Result, checkpoint, onnx};

/// Rows and columns of the images that the network is for, and their one channel.
const IMAGE: [usize; 3] = [1, 28, 28];

/// Write a model as an ONNX file
///
/// Input `images` [batch, 1, 28, 28], pixels from 0 to 1; output `logits` [batch, classes]. The
/// metadata entry `classes` names them, one a line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run's folder (its best model), or a safetensors file, also one that PyTorch wrote
    model: PathBuf,

    /// The file to write
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,

    /// Fold each batch normalisation into the convolution before it
    #[arg(long)]
    fold: bool,
}

impl Args {
    /// Writes the file.
    ///
    /// # Errors
    /// For a model that cannot be read, and a file that cannot be written.
    pub fn run(self) -> Result<ExitCode> {
        let (path, names) = if self.model.is_dir() {
            let run = RunFolder::open(&self.model)?;
            (run.file(BEST), Some(run.record()?.classes))
        } else {
            (self.model.clone(), None)
        };
        let (dict, _) = checkpoint::load(&path)?;
        let Some(classes) = classes(&dict) else {
            let message = "has no `17.weight` [classes, 512]: it is no model of this network";
            return Err(checkpoint::invalid(&path, message));
        };
        let names = names.unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect());
        let file = onnx::export(&asl(classes), &dict, IMAGE, &names, self.fold)
            .map_err(|error| checkpoint::invalid(&path, error.to_string()))?;
        write_file(&self.onnx, &file)?;
        note(format_args!("Written to {}", self.onnx.display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// The number of classes of a model of the ASL network.
fn classes(dict: &StateDict) -> Option<usize> {
    dict.get("17.weight")?.shape.dims().first().copied()
}
