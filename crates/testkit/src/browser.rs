//! Playing in Chromium: runs tests/browser/play.mjs and reads what it measured.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::child::Child;

/// What a browser measured.
#[derive(Debug, Clone)]
pub struct Played(pub Value);

impl Played {
    /// Frames shown as a share of the source's frames, by the counter in the picture.
    pub fn presented_share(&self) -> f64 {
        self.0["counter"]["presentedShare"].as_f64().unwrap_or(0.0)
    }

    /// The picture's size.
    pub fn size(&self) -> (u64, u64) {
        let side = |name: &str| self.0[name].as_u64().unwrap_or(0);
        (side("videoWidth"), side("videoHeight"))
    }
}

/// Plays a page or manifest with one of the players (`airwave`, `hlsjs`, `shaka`, `dashjs`).
pub fn play(url: &str, player: &str, seconds: u32, more: &[&str]) -> Played {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser/play.mjs");
    let mut command = Command::new("node");
    command.arg(script).args(["--url", url, "--player", player]);
    command.args(["--seconds", &seconds.to_string()]).args(more);
    let mut node = Child::start(&mut command);
    let status = node.wait(120);
    let output = node.output();
    assert!(status.success(), "play.mjs: {status}\n{output}");
    let json = output.lines().find(|l| l.starts_with('{')).unwrap_or_else(|| panic!("{output}"));
    Played(serde_json::from_str(json).unwrap())
}
