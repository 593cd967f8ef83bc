//! The program `signet`: networks that read the American Sign Language alphabet, trained, measured and
//! served by the engine of package `signet-nn`.
//!
//! | module | subject |
//! |---|---|
//! | [`cli`] | the command line, one file per subcommand |
//! | [`serve`] | predictions over HTTP, with a page for the browser |
//! | [`report`] | training runs as a page |
//! | [`predict`] | a trained model as its file holds it, and what it says about images |
//! | [`runs`], [`recipes`] | the folder of a run; settings by name |
//! | [`photo`] | from the bytes of a photograph to the network's images |
//! | [`data`] | the images of a run: where they are found, fetched, and read |
//!
//! As in the engine, each is a floor that uses what is below it: `cli`; `serve` and `report`; `predict`;
//! `runs`; `data`; `photo`; `recipes` and what all may use.
#![warn(missing_docs)]

pub mod cli;
pub mod data;
pub mod photo;
mod picture;
pub mod predict;
pub mod recipes;
pub mod report;
pub mod runs;
pub mod serve;
mod words;
