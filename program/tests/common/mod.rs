//! What the tests of the program share, and what they take from those of the engine.
//!
//! | file | subject |
//! |---|---|
//! | `program.rs` | driving the program as a user does |
//! | `machine.rs` | the program on a machine with cusim for a GPU, or with parts missing |
//! | `photos.rs` | image files, and what PIL makes of them |

// Every test binary compiles all of this and uses a part.
#![allow(dead_code)]

#[path = "../../../tests/common/child.rs"]
pub mod child;
#[path = "../../../tests/common/compare.rs"]
pub mod compare;
#[path = "../../../tests/common/cuda.rs"]
pub mod cuda;
#[path = "../../../tests/common/host.rs"]
pub mod host;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod machine;
pub mod photos;
pub mod program;
#[path = "../../../tests/common/pth.rs"]
pub mod pth;
#[path = "../../../tests/common/root.rs"]
pub mod root;
