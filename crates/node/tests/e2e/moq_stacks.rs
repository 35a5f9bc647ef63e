//! A second independent stack of MoQ (moqtap-client, in each draft): it comes late and has everything, it publishes, and
//! what it says over the relay others hear.

use std::path::Path;
use std::process::Command;

use testkit::{Child, Clip, ClipSpec, Follower, Server, decode_errors, packets, skip, wait_until};

use crate::AIRWAVE;
use crate::live::{follow_to_the_end, received};
use crate::moq::{ROOT, end, hashes, peer, run_of, server_of};
use crate::moq_program::long;

const DRAFTS: [u8; 4] = [16, 18, 20, 22];

fn second(server: &Server, draft: u8, what: &str, key: &str, rest: &[&str]) -> Child {
    let program = Path::new(ROOT).join(".cache/moq-peer-rs/debug/moq-peer");
    assert!(program.is_file(), "the second MoQ client is missing: make deps-test builds it");
    let quic = server.addresses["quic"].as_str().expect("the QUIC listener is on");
    let mut command = Command::new(program);
    command.args([&draft.to_string(), what, &format!("{quic}/{key}")]).args(rest);
    Child::start(&mut command)
}

/// By FETCH and by subscription: the past and what comes meet without a hole.
#[test]
fn independent_clients_that_come_late_have_every_packet() {
    if skip("moq") {
        return;
    }
    std::thread::scope(|scope| {
        let watched = DRAFTS.map(|draft| scope.spawn(move || watches(draft)));
        watched.into_iter().for_each(|it| it.join().unwrap());
    });
}

fn watches(draft: u8) {
    let server = server_of(draft);
    let input = server.input();
    let clip = Clip::make(&long());
    let mut encoder = clip.publish(&input.rtmp, 1);
    let video = server.wait_live(&input);
    let until = |count: usize| {
        wait_until("more segments", 60, || (segments(&server, &video) >= count).then_some(()));
    };
    until(2);
    let folder = tempfile::tempdir().unwrap();
    let namespace = format!("default/{}", input.uid);
    let first = first_segment(&server, &video).to_string();
    let words = [&*namespace, folder.path().to_str().unwrap(), &*first];
    let viewer = second(&server, draft, "watch", "", &words);
    wait_until("the viewer to have begun, and to have the past", 60, || {
        (viewer.output().matches("fetched").count() == 2).then_some(())
    });
    // What it has of these came live.
    until(segments(&server, &video) + 2);
    encoder.signal("INT");
    encoder.wait(60);
    let recorded = follow_to_the_end(&server, &video);
    std::fs::write(folder.path().join("over"), "").unwrap();
    end(viewer);
    let own = tempfile::tempdir().unwrap();
    let tracks = [("video.cmaf", 'v'), ("audio.cmaf", 'a')];
    for ((name, kind), follower) in tracks.into_iter().zip(&recorded) {
        let file = folder.path().join(format!("{name}.mp4"));
        assert_eq!(decode_errors(&file), "", "draft {draft}: {name} decodes");
        let (source, got) = (hashes(&packets(clip.path(), kind)), hashes(&packets(&file, kind)));
        assert!(source.starts_with(&got), "draft {draft}: {name}, from the first packet on");
        let all = received(own.path(), follower, kind).len();
        assert_eq!(got.len(), all, "draft {draft}: {name}, to the end");
    }
}

/// The number of the first one, which its group has.
fn first_segment(server: &Server, video: &str) -> u64 {
    let list = server.get(&format!("/{video}/manifest/video.cmaf.m3u8?dvrEnabled=true")).text();
    let number = list.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    number.unwrap().parse().unwrap()
}

/// How many there are from the first one on.
fn segments(server: &Server, video: &str) -> usize {
    let list = server.get(&format!("/{video}/manifest/video.cmaf.m3u8?dvrEnabled=true"));
    list.text().matches("#EXTINF").count()
}

#[test]
fn independent_publishers_of_a_second_stack_play_in_hls() {
    if skip("moq") {
        return;
    }
    std::thread::scope(|scope| {
        let published = DRAFTS.map(|draft| scope.spawn(move || publishes(draft)));
        published.into_iter().for_each(|it| it.join().unwrap());
    });
}

fn publishes(draft: u8) {
    let server = server_of(draft);
    let input = server.input();
    let folder = tempfile::tempdir().unwrap();
    let clip = Clip::make(&ClipSpec { group: 30, rising: true, ..ClipSpec::plain("stacks", 10) });
    let file = folder.path().join("pictures.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(clip.path()).args(["-map", "0:v", "-c", "copy"]);
    command.args(["-movflags", "empty_moov+default_base_moof+frag_keyframe"]);
    let mut ffmpeg = Child::start(command.arg(&file));
    assert!(ffmpeg.wait(60).success(), "{}", ffmpeg.output());
    let namespace = format!("default/{}", input.uid);
    let words = [&*namespace, file.to_str().unwrap()];
    let publisher = second(&server, draft, "publish", &input.key, &words);
    let video = server.wait_video(&input, &[]);
    let path = format!("/{video}/manifest/video.cmaf.m3u8");
    wait_until("a playlist", 30, || (server.get(&path).status == 200).then_some(()));
    let mut follower = Follower::new(server.url(&path));
    while !follower.reload().ended {}
    end(publisher);
    let map = follower.inits.keys().next().unwrap();
    let played = folder.path().join("played.mp4");
    std::fs::write(&played, follower.file(map)).unwrap();
    assert_eq!(decode_errors(&played), "", "draft {draft}");
    let (source, got) = (packets(clip.path(), 'v'), packets(&played, 'v'));
    let from = run_of(&source, &hashes(&got), &format!("draft {draft}"));
    assert_eq!(from + got.len(), source.len(), "draft {draft}: to the end, from {from} on");
    assert!(got.len() >= 60, "draft {draft}: {} packets", got.len());
}

/// Neither stack knows of the other: only the relay is between them.
#[test]
fn what_one_stack_says_the_other_hears() {
    if skip("moq") {
        return;
    }
    let server = Server::start(AIRWAVE, &["moq.open_namespaces=[\"anon\"]", "moq.drafts=[18]"]);
    let _speaker = second(&server, 18, "say", "", &["anon/room", "chat"]);
    let mut listener = peer(&server, "", "hear", &["anon/room", "chat"]);
    assert!(listener.wait(30).success(), "{}", listener.output());
    assert_eq!(listener.output().matches("line ").count(), 5, "{}", listener.output());
}
