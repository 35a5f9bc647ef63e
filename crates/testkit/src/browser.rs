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

/// A script of `tests/browser`, which starts Chromium.
pub fn browser_script(name: &str) -> Command {
    // .config/nextest.toml gives the whole machine to tests that are named so.
    if let Ok(test) = std::env::var("NEXTEST_TEST_NAME") {
        let says_so = ["browser", "chromium"].iter().any(|word| test.contains(word));
        assert!(
            says_so,
            "a test that starts Chromium says so in its name (browser, chromium): {test}"
        );
    }
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser").join(name));
    command
}

/// Watches a page over MoQ through a relay that is shut for a while (tests/browser/switch.mjs).
pub fn watch_while_shut(url: &str, more: &[&str]) -> Value {
    let mut command = browser_script("switch.mjs");
    command.args(["--url", url]).args(more);
    answer(&mut command, 240)
}

/// Uses the player's menu or its seek bar on a page (tests/browser/pictures.mjs).
pub fn use_player(url: &str, more: &[&str]) -> Value {
    let mut command = browser_script("pictures.mjs");
    command.args(["--url", url]).args(more);
    answer(&mut command, 240)
}

/// Goes from one level of quality to another and back, so many times, while a player goes on (tests/browser/between.mjs).
pub fn go_between(url: &str, player: &str, switches: u32, more: &[&str]) -> Value {
    let mut command = browser_script("between.mjs");
    command.args(["--url", url, "--player", player, "--switches", &switches.to_string()]);
    answer(command.args(more), 240)
}

/// Turns captions on in several players at once until each has drawn so many lines (tests/browser/captions.mjs): what each
/// offers, and its lines.
pub fn read_captions(url: &str, players: &str, lines: usize, more: &[&str]) -> Value {
    let mut command = browser_script("captions.mjs");
    command.args(["--url", url, "--players", players, "--lines", &lines.to_string()]);
    command.args(more);
    answer(&mut command, 180)
}

/// Leafs through a recording whose key pictures are so many frames apart, with stock shaka-player (tests/browser/trick-play.mjs).
pub fn leaf_through(url: &str, step: u64) -> Value {
    let mut command = browser_script("trick-play.mjs");
    command.args(["--url", url, "--step", &step.to_string()]);
    answer(&mut command, 240)
}

/// Publishes pictures whose every frame is known, and watches them over MoQ (tests/browser/glass.mjs).
pub fn glass_to_glass(url: &str, rtmp: &str, seconds: u32, more: &[&str]) -> Value {
    let mut command = browser_script("glass.mjs");
    command.args(["--url", url, "--rtmp", rtmp]);
    command.args(["--seconds", &seconds.to_string()]).args(more);
    answer(&mut command, u64::from(seconds) + 180)
}

/// Watches over MoQ with a stock player in several windows (tests/browser/moq-players.mjs).
pub fn watch_with_stock_moq(url: &str, player: &str, more: &[&str]) -> Value {
    let mut command = browser_script("moq-players.mjs");
    command.args(["--url", url, "--player", player]).args(more);
    answer(&mut command, 240)
}

/// Broadcasts from the page `/publish` of this server for a while (tests/browser/publish.mjs): the running
/// script, which [`published`] waits for.
pub fn publish_from_page(
    server: &str,
    (input, key): (&str, &str),
    seconds: u32,
    more: &[&str],
) -> Child {
    let mut command = browser_script("publish.mjs");
    command.args(["--server", server, "--input", input, "--key", key]);
    Child::start(command.args(["--seconds", &seconds.to_string()]).args(more))
}

/// Broadcasts from the page `/publish` of this server, whose sound, screen and camera change while it is live, and watches it over
/// MoQ (tests/browser/devices.mjs): the running script, which [`published`] waits for.
pub fn change_devices(server: &str, input: &str, key: &str) -> Child {
    let mut command = browser_script("devices.mjs");
    command.args(["--server", server, "--input", input, "--key", key]);
    Child::start(&mut command)
}

/// What that page, and who watched it, saw.
pub fn published(script: Child) -> Value {
    said(script, "a broadcast from the page", 240)
}

/// The line of JSON that a script prints.
fn answer(command: &mut Command, seconds: u64) -> Value {
    said(Child::start(command), "the script", seconds)
}

fn said(mut node: Child, what: &str, seconds: u64) -> Value {
    let status = node.wait(seconds);
    let output = node.output();
    assert!(status.success(), "{what}: {status}\n{output}");
    let json = output.lines().find(|l| l.starts_with('{')).unwrap_or_else(|| panic!("{output}"));
    serde_json::from_str(json).unwrap()
}

/// Plays a page or manifest with one of the players (`airwave`, `hlsjs`, `shaka`, `dashjs`).
pub fn play(url: &str, player: &str, seconds: u32, more: &[&str]) -> Played {
    let mut command = browser_script("play.mjs");
    command.args(["--url", url, "--player", player]);
    command.args(["--seconds", &seconds.to_string()]).args(more);
    Played(answer(&mut command, u64::from(seconds) + 240))
}
