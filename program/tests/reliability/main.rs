//! Runs of the program that end in the middle, and everything that may be wrong around them.
//!
//! | file | subject |
//! |---|---|
//! | `whole.rs` | an undisturbed run, and comparing others with it |
//! | `kill.rs` | SIGKILL, SIGINT and SIGTERM at random moments |
//! | `disk.rs` | a full disk, a read-only one, a folder that vanishes |
//! | `damage.rs` | files that changed on the disk |
//! | `twice.rs` | two processes at once in one folder, and in one cache of kernels |
//! | `cache.rs` | the cache of data: filled by several at once, and read-only |
//! | `long.rs` | a long run: memory, handles, speed |
//!
//! Some of each run with `cargo test`; the long ones are `#[ignore]`d and run by `scripts/full`.
//! `docs/reliability.md` says what came of them.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod cache;
mod damage;
mod disk;
mod kill;
mod long;
mod twice;
mod whole;
