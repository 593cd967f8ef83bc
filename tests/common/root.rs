//! The repository, and Python with what was fetched for it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository: the engine's folder, of which the program's is one.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_root = |folder: &&Path| folder.join("kernels").is_dir();
    package.ancestors().find(is_root).expect("the tests are run in the repository").to_path_buf()
}

/// Python with what `scripts/fetch-onnxruntime` fetched, if it did.
pub fn python() -> Command {
    let mut python = Command::new("python3");
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    let fetched = root().join(target).join("onnxruntime");
    if fetched.exists() {
        python.env("PYTHONPATH", fetched);
    }
    python
}
