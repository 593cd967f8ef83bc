//! The program `signet` as a user runs it.
//!
//! | file | subject |
//! |---|---|
//! | `cli_*.rs` | its commands: data, devices, predict, report, train; and what a terminal shows |
//! | `model_files.rs`, `model_runs.rs` | models of PyTorch and of runs, and what is none |
//! | `cli_names.rs` | names that a terminal would obey, flags without effect, places for results |
//! | `cli_tls.rs` | downloads over TLS, and whose certificates are believed |
//! | `cuda_cli.rs` | the same with a GPU, or with parts of one missing |
//! | `cuda_faults.rs` | every call of the driver failing |
//! | `photo.rs` | photographs against what PIL makes of them |
//! | `onnx.rs` | `signet export` |
//! | `bench.rs` | `signet bench` and `--explain` |

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/tls.rs"]
mod tls;

mod bench;
mod cli_data;
mod cli_devices;
mod cli_names;
mod cli_predict;
mod cli_report;
mod cli_terminal;
mod cli_tls;
mod cli_train;
mod cuda_cli;
mod cuda_faults;
mod model_files;
mod model_runs;
mod onnx;
mod photo;
