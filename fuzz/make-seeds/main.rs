//! Writes the seeds of the fuzz targets into `fuzz/seeds`: `scripts/fuzz-seeds.sh`.
//!
//! What encoders send is captured from real ones; what no encoder sends (requests, records) stands in [`written`].

// A tool of the tree: what does not work ends it.
#![allow(clippy::expect_used, clippy::print_stdout)]

mod capture;
mod moqt;
mod moqt16;
mod moqt20;
mod recorded;
mod session;
mod written;

use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let seeds = Seeds(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds"));
    for encoder in capture::ENCODERS {
        let capture = capture::run(encoder)?;
        recorded::write(&seeds, encoder.name, &capture)?;
    }
    recorded::files(&seeds)?;
    session::write(&seeds)?;
    moqt::write(&seeds)?;
    written::write(&seeds)
}

struct Seeds(PathBuf);

impl Seeds {
    /// One seed: its first byte, which for most targets says what it is, and the rest.
    fn add(&self, target: &str, name: &str, first: u8, data: &[u8]) -> std::io::Result<()> {
        let folder = self.0.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), [&[first], data].concat())
    }
}
