//! The documentation, as plain files and as a book: every link leads somewhere, the program takes every command, and what is
//! made of the code is as the code is. `UPDATE_DOCS=1` before `cargo test --release --workspace --test book` writes that anew.

#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod benchmarks;
#[path = "../binary.rs"]
mod binary;
mod commands;
mod configurations;
mod kitchen;
mod links;
mod made;
mod methods;
mod outputs;
mod page;
mod pictures;
mod plans;
mod run;
mod shell;
