//! Levels of the ladder: listed before anything is encoded, made while somebody watches, cut like the original.

use std::path::Path;

use testkit::{Clip, ClipSpec, Follower, Server, packets, skip, use_player, wait_until};

use crate::AIRWAVE;
use crate::live::received;

const LADDER: &str = "encode.ladder=[\"144p\", \"96p=300\"]";

/// The multivariant playlist, once it lists a level.
fn with_levels(server: &Server, id: &str) -> String {
    wait_until("the levels to be listed", 30, || {
        let list = server.get(&format!("/{id}/manifest/video.m3u8")).text();
        list.contains("video.144p.cmaf.m3u8").then_some(list)
    })
}

fn attributes(list: &str, level: &str) -> String {
    let mut lines = list.lines().skip_while(|l| !l.starts_with("#EXT-X-STREAM-INF"));
    let mut before = "";
    lines
        .find_map(|l| {
            let found = l.starts_with(level).then(|| before.to_owned());
            before = l;
            found
        })
        .unwrap_or_else(|| panic!("no {level} in {list}"))
}

#[test]
fn a_level_has_every_frame_at_its_time_and_is_encoded_once_for_all() {
    let encoder = Path::new(AIRWAVE).with_file_name("airwave-encode");
    assert!(encoder.is_file(), "build it: cargo build -p encoder");
    let server = Server::start(AIRWAVE, &[LADDER]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("levels", 12));
    let mut publisher = clip.publish(&input.rtmp, 1);
    let video = server.wait_live(&input);
    let list = with_levels(&server, &input.uid);
    assert_eq!(
        server.metric("encoder_processes_started_total"),
        0,
        "nobody watches a level: {list}"
    );
    let level = attributes(&list, "video.96p.cmaf");
    for what in ["CODECS=\"avc1.64000d,", "RESOLUTION=170x96", "FRAME-RATE=30", "AUDIO="] {
        assert!(level.contains(what), "{what} in {level}");
    }
    // Three viewers of one level, from the beginning to the end.
    let followed = std::thread::scope(|scope| {
        let viewers = [(); 3].map(|()| {
            scope.spawn(|| {
                let url = server.url(&format!("/{}/manifest/video.96p.cmaf.m3u8", input.uid));
                let mut follower = Follower::new(url);
                while !follower.reload().ended {}
                follower
            })
        });
        viewers.map(|v| v.join().unwrap())
    });
    assert!(publisher.wait(20).success(), "{}", publisher.output());
    let folder = tempfile::tempdir().unwrap();
    let mut source: Vec<i64> = packets(clip.path(), 'v').iter().map(|p| p.present_us).collect();
    source.sort_unstable();
    for follower in &followed {
        let got = received(folder.path(), follower, 'v');
        assert_eq!(got.len(), source.len(), "every frame");
        let shift = got[0].present_us - source[0];
        for (source, got) in source.iter().zip(&got) {
            let off = got.present_us - source - shift;
            assert!(off.abs() <= 2_000, "{off} us off at {source} us");
        }
    }
    let segments = followed[0].segments.len() as u64;
    assert!(segments >= 6, "{segments}");
    assert_eq!(server.metric("level_segments_encoded_total"), segments, "once, for all three");
    assert_eq!(server.metric("level_segments_decoded_total"), segments);
    // The recording has levels too, which are made now.
    let list = with_levels(&server, &video);
    attributes(&list, "video.144p.cmaf");
    let mut replay = Follower::new(server.url(&format!("/{video}/manifest/video.144p.cmaf.m3u8")));
    assert!(replay.reload().ended);
    let got = received(folder.path(), &replay, 'v');
    assert_eq!(got.len(), source.len(), "every frame of the replay");
}

/// Flips `encode.ladder`, `encode.program` and `encode.workers`.
#[test]
fn without_a_ladder_or_a_program_there_is_the_original() {
    let clip = Clip::make(&ClipSpec::plain("no levels", 6));
    for (settings, said) in [
        (vec!["encode.ladder=[]"], None),
        (vec![LADDER, "encode.program=/nowhere/airwave-encode"], Some("no levels of quality")),
        (vec![LADDER, "encode.program=/bin/ls"], Some("is no encoder for this server")),
    ] {
        let mut server = Server::start(AIRWAVE, &settings);
        let input = server.input();
        let _publisher = clip.publish(&input.rtmp, 1);
        server.wait_live(&input);
        let list = wait_until("a playlist", 30, || {
            let list = server.get(&format!("/{}/manifest/video.m3u8", input.uid)).text();
            list.contains("video.cmaf.m3u8").then_some(list)
        });
        assert!(!list.contains("p.cmaf"), "{list}");
        let level = server.get(&format!("/{}/manifest/video.96p.cmaf.m3u8", input.uid));
        assert_eq!(level.status, 404, "{}", level.text());
        if let Some(said) = said {
            let log = server.child().output();
            assert!(log.contains(said), "{log}");
        }
    }
    let server = Server::start(AIRWAVE, &[LADDER, "encode.workers=1"]);
    let input = server.input();
    let _publisher = clip.publish(&input.rtmp, 1);
    server.wait_live(&input);
    with_levels(&server, &input.uid);
    let url = |level: &str| server.url(&format!("/{}/manifest/video.{level}.cmaf.m3u8", input.uid));
    let mut follower = Follower::new(url("96p"));
    while follower.reload().segments.len() < 2 {}
    assert_eq!(server.metric("encoder_processes_started_total"), 1, "one worker");
}

/// In the player's menu, over LL-HLS and over MoQ, whose catalog has the original only.
#[test]
fn a_viewer_chooses_a_level_and_goes_back_in_chromium() {
    if skip("browser") {
        return;
    }
    for (settings, modes) in [
        (vec![LADDER, "quic.listen=off"], ["Low latency"; 3]),
        (vec![LADDER], ["Real time", "Low latency", "Real time"]),
    ] {
        let server = Server::start(AIRWAVE, &settings);
        let input = server.input();
        let spec = ClipSpec { size: (640, 360), group: 30, ..ClipSpec::plain("browser", 80) };
        let _publisher = Clip::make(&spec).publish(&input.rtmp, 1);
        server.wait_live(&input);
        with_levels(&server, &input.uid);
        let url = server.url(&format!("/{}/watch", input.uid)).to_string();
        let seen = use_player(&url, &["--level", "144p"]);
        assert_eq!(
            (&seen["own"], &seen["errors"]),
            (&360.into(), &serde_json::json!([])),
            "{seen}"
        );
        let offered = seen["offered"].as_array().unwrap();
        for name in ["360p", "144p", "96p"] {
            assert!(offered.iter().any(|o| o == name), "{name}: {seen}");
        }
        let went = seen["modes"].as_array().unwrap();
        // The way back to MoQ is tried a moment later.
        assert_eq!(went[..2], modes[..2], "{seen}");
    }
}
