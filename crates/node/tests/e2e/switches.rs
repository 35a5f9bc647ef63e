//! From level to level while a player goes on, over each way that levels come: no frame of the source is left out, none comes
//! twice, and the sound goes on. `make soak` does it more often, on a machine at rest.

use serde_json::Value;
use testkit::{Server, go_between, skip};

use crate::AIRWAVE;
use crate::levels::{LADDER, with_levels};

/// How often, where nobody asks for more.
const SWITCHES: u32 = 4;

/// Goes between two levels with this player, by this address of a broadcast, and answers with the ways it came.
fn check_switches(player: &str, path: &str, settings: &[&str], more: &[&str]) -> Value {
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
    let worst = seen["missingAtSwitches"].as_array().unwrap().iter().filter_map(Value::as_f64);
    let worst = worst.fold(0.0, f64::max);
    // A machine that has other things to do runs dry and drops pictures that it has, and players nudge the picture on, with and
    // without switches: the soak has one at rest.
    if switches >= 20 {
        assert_eq!(
            (number("holes"), number("seeks"), number("waiting")),
            (0.0, 0.0, 0.0),
            "{seen}"
        );
        assert!(worst <= 1.0, "a gap over one frame: {seen}");
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
fn forced_switches_over_ll_hls_leave_no_frame_out_in_chromium() {
    if skip("browser") {
        return;
    }
    let modes = check_switches("airwave", "/ID/watch", &["quic.listen=off"], &[]);
    assert_eq!(modes, serde_json::json!(["Low latency"]));
}

#[test]
fn forced_switches_over_moq_leave_no_frame_out_in_chromium() {
    if skip("browser") {
        return;
    }
    let modes = check_switches("airwave", "/ID/watch", &[], &["--ways", "MoQ"]);
    let modes = modes.as_array().unwrap();
    let soak = crate::browser::soak();
    assert!(modes.iter().any(|mode| mode == "MoQ") && (modes.len() == 1 || !soak), "{modes:?}");
}

#[test]
fn forced_switches_over_dash_in_shaka_player_leave_no_frame_out_in_chromium() {
    if !skip("browser") {
        check_switches("shaka", "/ID/manifest/video.mpd", &[], &[]);
    }
}

#[test]
fn forced_switches_over_dash_in_dash_js_leave_no_frame_out_in_chromium() {
    if !skip("browser") {
        check_switches("dashjs", "/ID/manifest/video.mpd", &[], &[]);
    }
}
