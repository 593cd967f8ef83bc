//! `MODEL`, `--classes` and `--verbose`: which model a subcommand uses.

use std::path::{Path, PathBuf};

use super::note;
use crate::predict::TrainedModel;
use crate::words;
use signet::Result;

/// Which model to use; flatten it into the arguments of a subcommand.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArgs {
    /// A run's folder (its best model), or a file: .safetensors, or .pth and .pt of PyTorch
    ///
    /// Of PyTorch's files, state dicts, checkpoints that have one, and whole modules of torch.nn are
    /// read; nothing in them is executed. Keys may have other beginnings than the network's, such as
    /// `module.` or `_orig_mod.`, where order and shapes are the same.
    #[arg(value_name = "MODEL")]
    model: PathBuf,

    /// The names of the classes, with commas between, in the order of the outputs [default: those in
    /// the file; without, letters for 24, 25 and 26 outputs, else numbers]
    #[arg(long, value_name = "NAME,NAME,..", value_delimiter = ',')]
    classes: Option<Vec<String>>,

    /// Say which key of the file is which of the network's
    #[arg(long)]
    verbose: bool,
}

impl ModelArgs {
    /// What was named: a run's folder or a file.
    pub fn path(&self) -> &Path {
        &self.model
    }

    /// The model; with `--verbose`, says how its keys were understood.
    ///
    /// # Errors
    /// As [`TrainedModel::open_named`].
    pub fn open(&self) -> Result<TrainedModel> {
        let classes = self.classes.as_ref();
        let classes: Option<Vec<String>> =
            classes.map(|names| names.iter().map(|name| name.trim().to_owned()).collect());
        let model = TrainedModel::open_named(&self.model, classes.as_deref())?;
        if self.verbose {
            say_how(&model);
        }
        Ok(model)
    }
}

fn say_how(model: &TrainedModel) {
    let (path, count) = (words::path(&model.path), model.dict.iter().count());
    if model.renamed.is_empty() {
        note(format_args!("keys: {path} has the {count} keys of the network"));
        return;
    }
    note(format_args!("keys: the network's, and what they are in {path}"));
    let width = model.dict.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in model.dict.iter() {
        let found = model.renamed.iter().find(|(known, _)| known == key);
        let found = found.map_or_else(|| "not there: 0".to_owned(), |(_, name)| words::line(name));
        note(format_args!("  {key:<width$} {:<16} {found}", value.shape.to_string()));
    }
}
