//! From level to level while a player goes on, over each way that levels come: nothing is missing in what is buffered, no frame
//! comes twice, and the tone is heard. `make soak` does it more often, on a machine at rest, and there looks at each frame that is
//! shown and at each sample that is heard.

use serde_json::Value;
use testkit::{Server, go_between, skip};

use crate::AIRWAVE;
use crate::levels::{LADDER, with_levels};

/// How often, where nobody asks for more.
const SWITCHES: u32 = 4;

/// Frames that may be missing where the level changes.
const A_FRAME: f64 = 1.0;

/// shaka-player shows the new level a part late at some of its switches (docs/protocols/dash.md): the part's frames.
const A_PART: f64 = 10.0;

/// Goes between two levels with this player, by this address of a broadcast, and answers with the ways it came. In the soak no
/// more frames than `may_miss` are missing at a switch, and none more than one elsewhere.
fn check_switches(
    player: &str,
    path: &str,
    settings: &[&str],
    more: &[&str],
    may_miss: f64,
) -> Value {
    let said = std::env::var("AIRWAVE_SWITCHES").ok().and_then(|said| said.parse().ok());
    let switches = said.unwrap_or(SWITCHES);
    let server = Server::start(AIRWAVE, &[&[LADDER][..], settings].concat());
    let input = server.input();
    let _publisher = crate::browser::clip().publish(&input.rtmp, -1);
    server.wait_live(&input);
    with_levels(&server, &input.uid);
    let url = server.url(&path.replace("ID", &input.uid)).to_string();
    let seen = go_between(&url, player, switches, more);
    eprintln!("{switches} switches in {player}: {seen}");
    let number = |name: &str| seen[name].as_f64().unwrap_or_else(|| panic!("{name}: {seen}"));
    assert_eq!(crate::browser::errors(&seen), [""; 0], "{seen}");
    assert_eq!(number("switches"), f64::from(switches), "{seen}");
    assert_eq!(number("backwards"), 0.0, "{seen}");
    assert!(number("heardMs") > 1_000.0, "the tone is heard: {seen}");
    // Whoever has not sought anything has all of it, on any machine.
    assert!(number("gapS") == 0.0 || number("seeks") > 0.0, "a hole in what is buffered: {seen}");
    // A machine that has other things to do runs dry and drops pictures that it has, and players nudge the picture on, with and
    // without switches: the soak has one at rest.
    if switches >= 20 {
        let missing = seen["missingAtSwitches"].as_array().unwrap().iter();
        assert!(
            missing.filter_map(Value::as_f64).all(|frames| frames <= may_miss),
            "a gap at a switch: {seen}"
        );
        // Of each jump: the time, frames shown, seconds, ms, and the heights before and behind it.
        let jumps = seen["jumps"].as_array().unwrap();
        assert!(jumps.iter().all(|jump| jump[4] != jump[5]), "a gap where the level stays: {seen}");
    }
    // What is left out at a switch costs shaka-player its distance to the edge, and it waits at the next one.
    if switches >= 20 && may_miss <= A_FRAME {
        assert_eq!(
            (number("holes"), number("seeks"), number("waiting")),
            (0.0, 0.0, 0.0),
            "{seen}"
        );
        // Players that go faster for a moment, to keep their distance to the edge, turn the tone where they begin and end that: it is
        // told by what lies eight milliseconds apart. A frame of sound that is missing is a hole in what is buffered.
        let broken = seen["brokenMs"].as_array().unwrap();
        let turns = |piece: &Value| piece[1].as_f64().is_some_and(|ms| ms < 10.0);
        assert!(broken.iter().all(turns), "the sound: {seen}");
        assert!(broken.len() as f64 <= 2.0 * number("rates"), "the sound: {seen}");
    }
    seen["modes"].clone()
}

#[test]
fn forced_switches_over_ll_hls_play_on_in_chromium() {
    if skip("browser") {
        return;
    }
    let modes = check_switches("airwave", "/ID/watch", &["quic.listen=off"], &[], A_FRAME);
    assert_eq!(modes, serde_json::json!(["Low latency"]));
}

#[test]
fn forced_switches_over_moq_play_on_in_chromium() {
    if skip("browser") {
        return;
    }
    let modes = check_switches("airwave", "/ID/watch", &[], &["--ways", "MoQ"], A_FRAME);
    let modes = modes.as_array().unwrap();
    let soak = crate::browser::soak();
    assert!(modes.iter().any(|mode| mode == "MoQ") && (modes.len() == 1 || !soak), "{modes:?}");
}

#[test]
fn forced_switches_over_dash_in_shaka_player_play_on_in_chromium() {
    if !skip("browser") {
        check_switches("shaka", "/ID/manifest/video.mpd", &[], &[], A_PART);
    }
}

#[test]
fn forced_switches_over_dash_in_dash_js_play_on_in_chromium() {
    if !skip("browser") {
        check_switches("dashjs", "/ID/manifest/video.mpd", &[], &[], A_FRAME);
    }
}
