//! `signet export`: a trained model for other programs.

use std::path::PathBuf;
use std::process::ExitCode;

use super::examples::write_examples;
use super::output::{can_write, refuse_terminal, write_stdout};
use super::{ModelArgs, note, write_file};
use crate::predict::Predictor;
use crate::words;
use signet::data::{PIXELS, SIDE};
use signet::nn::asl;
use signet::{Device, Result, checkpoint, onnx};

/// Rows and columns of the images that the network is for, and their one channel.
const IMAGE: [usize; 3] = [1, SIDE, SIDE];

/// Write a model as an ONNX file
///
/// Input `images` [batch, 1, 28, 28], pixels from 0 to 1; output `logits` [batch, classes]. The
/// metadata entry `classes` names them, one a line, control characters and backslashes as in JSON.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The file to write, or - for stdout
    #[arg(long, value_name = "FILE")]
    onnx: PathBuf,

    /// Write images and the logits of them too, as safetensors, for docs/interop/check_onnx.py
    #[arg(long, value_name = "FILE")]
    examples: Option<PathBuf>,

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
        let to_stdout = self.onnx.as_os_str() == "-";
        if to_stdout {
            refuse_terminal("--onnx")?;
        } else {
            can_write(&self.onnx)?;
        }
        self.examples.as_deref().map_or(Ok(()), can_write)?;
        let model = self.model.open()?;
        // Values may be finite and what comes of them is not: the least and the most there is to see.
        Predictor::new(&Device::cpu()?, &model)?.probabilities(&[[0; PIXELS], [255; PIXELS]])?;
        let layers = asl(model.classes.len());
        let file = onnx::export(&layers, &model.dict, IMAGE, &model.classes, self.fold)
            .map_err(|error| checkpoint::invalid(&model.path, error.to_string()))?;
        if to_stdout {
            write_stdout(&file)?;
        } else {
            write_file(&self.onnx, &file)?;
            note(format_args!("written to {}", words::path(&self.onnx)));
        }
        if let Some(path) = &self.examples {
            write_examples(&model, path)?;
            note(format_args!("examples written to {}", words::path(path)));
        }
        Ok(ExitCode::SUCCESS)
    }
}
