//! The `airwave` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    node::cli::run(node::cli::Arguments::parse())
}
