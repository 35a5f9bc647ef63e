//! `cargo run -p xtask -- docs`: writes the documents that the code says.

#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::{Result, bail};
use xtask::docs;
use xtask::tree::Tree;

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("docs") => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            for (path, text) in docs::all(&Tree::load(&root)?) {
                std::fs::write(root.join(path), text)?;
            }
            Ok(())
        }
        _ => bail!("usage: cargo run -p xtask -- docs"),
    }
}
