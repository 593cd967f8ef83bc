//! The book: its links, commands, figures and kernels.

#[path = "../common/mod.rs"]
mod common;

mod book;
mod book_kernels;
mod reference;
