//! `airwave watch --from`: the past by FETCH, and on into what is live; recordings from their beginning.

use std::path::Path;

use testkit::{Clip, Packet, Server, packets, wait_until};

use crate::AIRWAVE;
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
