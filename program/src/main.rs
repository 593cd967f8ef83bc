//! The program `signet`; everything is in the library beside it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    signet_cli::cli::run()
}
