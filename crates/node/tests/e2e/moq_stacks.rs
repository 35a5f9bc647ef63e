//! A second independent stack of MoQ (moqtap-client, in each draft): it comes late and has everything, it publishes, and
//! what it says over the relay others hear.

use std::path::Path;
use std::process::Command;

use testkit::{Child, Clip, ClipSpec, Follower, Server, decode_errors, packets, skip, wait_until};

use crate::AIRWAVE;
use crate::moq::{ROOT, end, hashes, peer, run_of, server_of};

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
    let clip = Clip::make(&ClipSpec { group: 30, rising: true, ..ClipSpec::plain("stacks", 10) });
    let mut encoder = clip.publish(&input.rtmp, 1);
    server.wait_live(&input);
    let list = format!("/{}/manifest/video.cmaf.m3u8", input.uid);
    wait_until("two segments", 30, || {
        (server.get(&list).text().matches("#EXTINF").count() >= 2).then_some(())
    });
    let folder = tempfile::tempdir().unwrap();
    let namespace = format!("default/{}", input.uid);
    let words = [&*namespace, folder.path().to_str().unwrap()];
    let viewer = second(&server, draft, "watch", "", &words);
    assert!(encoder.wait(60).success(), "{}", encoder.output());
    end(viewer);
    for (name, kind) in [("video.cmaf", 'v'), ("audio.cmaf", 'a')] {
        let file = folder.path().join(format!("{name}.mp4"));
        assert_eq!(decode_errors(&file), "", "draft {draft}: {name} decodes");
        let (source, got) = (packets(clip.path(), kind), packets(&file, kind));
        assert_eq!(hashes(&got), hashes(&source), "draft {draft}: {name}");
    }
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
    let video = server.wait_live(&input);
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
