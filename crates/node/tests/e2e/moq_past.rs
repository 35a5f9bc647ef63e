//! `airwave watch --from`: the past by FETCH, and on into what is live; recordings from their beginning.

use std::path::Path;

use serde_json::Value;
use testkit::{Clip, ClipSpec, Packet, Server, packets, packets_of, wait_until};

use crate::AIRWAVE;
use crate::levels::nobody_watches;
use crate::moq_program::{address, long, outcome, summary, watch};

/// The packets of a file, pictures and sound.
fn both(file: &Path) -> [Vec<Packet>; 2] {
    ['v', 'a'].map(|kind| packets(file, kind))
}

/// Nothing is lost, and nothing comes twice: from the first packet on everything is there until the encoder left. How many pictures.
fn check(output: &str, file: &Path, source: &[Vec<Packet>; 2], whole: bool) -> usize {
    for track in summary(output)["tracks"].as_array().unwrap() {
        for nothing in ["lost", "holes", "gaps", "discontinuities", "timeJumps"] {
            assert_eq!(track[nothing], 0, "{nothing}: {output}");
        }
    }
    let got = both(file);
    for (source, got) in source.iter().zip(&got) {
        let from = source.iter().position(|packet| packet.hash == got[0].hash);
        let from = from.expect("of the clip");
        assert!(from == 0 || !whole, "{from} packets are missing: {output}");
        let hashes = |list: &[Packet]| list.iter().map(|p| p.hash.clone()).collect::<Vec<_>>();
        let until = source.len().min(from + got.len());
        assert_eq!(hashes(&source[from..until]), hashes(got), "from {from} on: {output}");
    }
    got[0].len()
}

#[test]
fn who_comes_late_begins_with_the_past_and_goes_on_live() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    // Longer than it takes on a slow machine.
    let clip = Clip::make(&long());
    let encoder = clip.publish_at(1.0, &input.rtmp, 1);
    let source = both(clip.path());
    let video = server.wait_live(&input);
    let list = format!("/{}/manifest/video.cmaf.m3u8?dvrEnabled=true", input.uid);
    wait_until("three segments", 60, || {
        (server.get(&list).text().matches("#EXTINF").count() >= 3).then_some(())
    });
    let folder = tempfile::tempdir().unwrap();
    let hls = server.url(&format!("/{}/watch", input.uid)).to_string();
    let moq = address(&server, "", &input.uid);
    let recorded = |name: &str, url: &str, more: &[&str]| {
        let file = folder.path().join(format!("{name}.mp4"));
        let record = ["--insecure", "--json", "--record", file.to_str().unwrap()];
        (file.clone(), watch(url, &[&record[..], more].concat()))
    };
    let late: Vec<_> = [
        ("16", &moq, &["--from", "start", "--draft", "16"][..], true),
        ("22", &moq, &["--from", "start", "--draft", "22"], true),
        ("back", &moq, &["--from", "2"], false),
        ("hls", &hls, &["--from", "2"], false),
    ]
    .into_iter()
    .map(|(name, url, more, whole)| (name, recorded(name, url, more), whole))
    .collect();
    for (name, (_, program), _) in &late {
        wait_until(name, 60, || program.output().contains("watchedSeconds").then_some(()));
    }
    encoder.signal("INT");
    let mut all = Vec::new();
    for (name, (file, program), whole) in late {
        let (code, output) = outcome(program);
        assert_eq!(code, 0, "{name}: {output}");
        all.push((name, check(&output, &file, &source, whole), whole));
    }
    let pictures = all[0].1;
    for (name, seen, whole) in all {
        // Three segments were there: the newest began after 4 s at least.
        assert!(seen == pictures || !whole && seen <= pictures - 60, "{name}: {seen} pictures");
    }
    // The same from the recording, which needs no word for it; and the end of it.
    server.wait_ready(&video);
    let moq = address(&server, "", &video);
    for (name, more, whole) in [("all", &[][..], true), ("end", &["--from", "3"], false)] {
        let (file, program) = recorded(name, &moq, more);
        let (code, output) = outcome(program);
        assert_eq!(code, 0, "{name}: {output}");
        let seen = check(&output, &file, &source, whole);
        // Back from where the last segment begins, to where the one began that was under way.
        assert!(
            seen == pictures && whole || (91..=210).contains(&seen) && !whole,
            "{name}: {seen}"
        );
    }
}

/// Nobody makes a level, at first because nobody ever did, then because nobody does any more: who fetches it has its past, of the same
/// moment as the original's, and what is live goes on behind it.
#[test]
fn a_level_that_nobody_watched_has_a_past_and_goes_on_live() {
    let ladder = "encode.ladder=[\"96p=300\"]";
    let server = Server::start(AIRWAVE, &[ladder, "hls.segment_ms=1000", "encode.linger_s=1"]);
    let input = server.input();
    // In order, so that the last frame that has come is the last one that is shown.
    let spec = ClipSpec { group: 30, b_frames: 0, ..ClipSpec::plain("past-of-levels", 90) };
    let clip = Clip::make(&spec);
    let _publisher = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    let list = format!("/{}/manifest/video.cmaf.m3u8?dvrEnabled=true", input.uid);
    let segments = || server.get(&list).text().matches("#EXTINF").count();
    wait_until("six segments, and the level", 60, || {
        let offered = server.get(&format!("/{}/manifest/video.m3u8", input.uid)).text();
        (segments() >= 6 && offered.contains("video.96p.cmaf")).then_some(())
    });
    nobody_watches(&server);
    let folder = tempfile::tempdir().unwrap();
    let moq = address(&server, "", &input.uid);
    for (from, frames_min) in [("3", 90), ("start", 180)] {
        let file = folder.path().join(format!("{from}.mp4"));
        let record = ["--insecure", "--json", "--from", from, "--record", file.to_str().unwrap()];
        let begun = segments();
        let mut program = watch(&moq, &record);
        let back = if from == "start" { begun } else { 4 };
        wait_until("what is live, of each track", 90, || {
            let row: Value = serde_json::from_str(program.output().lines().last()?).ok()?;
            let frames = row["tracks"].as_array()?.iter().map(|t| t["frames"].as_u64());
            let live = |frames: Option<u64>| frames.is_some_and(|f| f >= (back as u64 + 4) * 30);
            frames.into_iter().all(live).then_some(())
        });
        program.signal("INT");
        assert!(program.wait(30).success(), "{}", program.output());
        let output = program.output();
        let summary = summary(&output);
        let names = summary["tracks"].as_array().unwrap().iter().map(|t| t["name"].clone());
        assert_eq!(names.collect::<Vec<_>>()[..2], ["video", "video.96p"], "{summary}");
        for track in summary["tracks"].as_array().unwrap() {
            for nothing in ["lost", "holes", "gaps", "discontinuities", "timeJumps"] {
                assert_eq!(track[nothing], 0, "{from}: {nothing}: {summary}");
            }
        }
        let [original, level] = ["v:0", "v:1"].map(|stream| {
            let times = packets_of(&file, stream).into_iter().map(|p| p.present_us);
            times.collect::<Vec<_>>()
        });
        let both = original.len().min(level.len());
        assert!(both >= frames_min, "{from}: {both} frames");
        for (original, level) in original.iter().zip(&level) {
            assert!((original - level).abs() < 2_000, "{from}: {original} and {level} us");
        }
        // Nobody is left. The level stops, and is far behind when it is wanted again.
        let far = segments() + 3;
        wait_until("three segments that nobody watches", 30, || (segments() >= far).then_some(()));
    }
}

/// Where it begins is found by the original: of its levels what is watched is encoded, and nothing else.
#[test]
fn to_find_a_moment_of_a_level_encodes_nothing() {
    let server = Server::start(AIRWAVE, &["encode.ladder=[\"96p=300\"]", "hls.segment_ms=1000"]);
    let input = server.input();
    let spec = ClipSpec { group: 30, b_frames: 0, ..ClipSpec::plain("moments", 18) };
    let mut publisher = Clip::make(&spec).publish_at(6.0, &input.rtmp, 1);
    let video = server.wait_live(&input);
    assert!(publisher.wait(60).success(), "{}", publisher.output());
    server.wait_ready(&video);
    nobody_watches(&server);
    // Further back than what the first questions are about.
    let (code, output) =
        outcome(watch(&address(&server, "", &video), &["--insecure", "--json", "--from", "6"]));
    assert_eq!(code, 0, "{output}");
    let summary = summary(&output);
    let tracks = summary["tracks"].as_array().unwrap();
    let frames = |name: &str| {
        let track = tracks.iter().find(|track| track["name"] == name);
        track.map_or(0, |track| track["frames"].as_u64().unwrap())
    };
    // Of groups of a second.
    let (pictures, sound) = (frames("video.96p"), frames("audio.opus"));
    assert!((180..=240).contains(&pictures), "{summary}");
    let encoded = server.metric("level_segments_encoded_total");
    assert_eq!(encoded, pictures.div_ceil(30) + sound.div_ceil(50), "{summary}");
}
