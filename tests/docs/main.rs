//! The book: its links, commands, figures and kernels; the check of a GPU that it describes; and the floors
//! of the house.

#[path = "../common/mod.rs"]
mod common;

mod book;
mod book_kernels;
mod floors;
mod gpu_check;
mod reference;
