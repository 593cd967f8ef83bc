//! The program `signet`; everything is in the library.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    signet::cli::run()
}
