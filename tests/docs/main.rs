//! The book: its links, commands, figures and kernels; and the check of a GPU that it describes.

#[path = "../common/mod.rs"]
mod common;

mod book;
mod book_kernels;
mod gpu_check;
mod reference;
