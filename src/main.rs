//! The program `signet`; everything is in the library.

fn main() -> std::process::ExitCode {
    signet::cli::run()
}
