//! `cargo bench`: the program's `bench` with its options, as in `cargo bench -- --filter conv2d`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    // Cargo adds `--bench` for harnesses that measure and test.
    let given = std::env::args_os().skip(1).filter(|argument| argument != "--bench");
    signet_cli::cli::run_with(["signet".into(), "bench".into()].into_iter().chain(given))
}
