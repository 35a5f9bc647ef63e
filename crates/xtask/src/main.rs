//! `cargo run -p xtask -- docs`: writes the documents that the code says; `-- sbom FILE`: what a release is made of.

#![forbid(unsafe_code)]

use std::path::Path;

use anyhow::{Result, bail};
use xtask::tree::Tree;
use xtask::{docs, sbom};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["docs"] => {
            for (path, text) in docs::all(&Tree::load(&root)?) {
                std::fs::write(root.join(path), text)?;
            }
            Ok(())
        }
        ["sbom", file] => {
            let text = serde_json::to_string_pretty(&sbom::of_repository(&root)?)?;
            Ok(std::fs::write(file, text + "\n")?)
        }
        _ => bail!("usage: cargo run -p xtask -- docs | sbom FILE"),
    }
}
