//! `signet export`: a trained model for other programs.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{note, write_file};
use crate::data::SIDE;
use crate::nn::asl;
use crate::predict::TrainedModel;
use crate::{Result, checkpoint, onnx};

/// Rows and columns of the images that the network is for, and their one channel.
const IMAGE: [usize; 3] = [1, SIDE, SIDE];

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
        let model = TrainedModel::open(&self.model)?;
        let layers = asl(model.classes.len());
        let file = onnx::export(&layers, &model.dict, IMAGE, &model.classes, self.fold)
            .map_err(|error| checkpoint::invalid(&model.path, error.to_string()))?;
        write_file(&self.onnx, &file)?;
        note(format_args!("Written to {}", self.onnx.display()));
        Ok(ExitCode::SUCCESS)
    }
}
