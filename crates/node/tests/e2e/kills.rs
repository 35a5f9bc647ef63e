//! Kill -9 of the whole program, at every named point and anywhere: what was acknowledged plays, with the
//! frames of its source; nothing has two contents; what is lost is a gap; nothing is left over.

use std::path::Path;
use std::time::{Duration, Instant};

use control::VideoUid;
use testkit::{
    Clip, ClipSpec, Follower, Input, Server, check, decode_errors, try_request, wait_until,
};

use crate::AIRWAVE;
use crate::aftermath::{Aftermath, Known, Source, TRACKS};

/// Segments of a second, and time enough to come back after any number of kills.
pub(crate) const SETTINGS: [&str; 2] = ["hls.segment_ms=1000", "ingest.reconnect_s=900"];

/// How much faster than it plays the clip is published.
pub(crate) const SPEED: f64 = 8.0;

/// Put, sync, commit and seal, and the moments between them. The number is a passing at which the
/// broadcast is well on its way.
const POINTS: [&str; 14] = [
    "store.written:3",
    "store.synced:4",
    "store.linked:2",
    "store.directories_synced:5",
    "record.stored:3",
    "index.inserted:4",
    "engine.before_commit:9",
    "engine.after_commit:12",
    "record.committed:3",
    // Of a page, as soon as there is one.
    "record.page_stored",
    "index.page_inserted",
    "store.synced:1",
    "engine.before_commit:6",
    "record.stored:1",
];

/// How often it is killed: 200 times in a soak run.
fn rounds() -> usize {
    let said = std::env::var("AIRWAVE_KILL_ROUNDS");
    said.ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

/// A small generator that says the same in every run (xorshift).
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

pub(crate) fn clip() -> Clip {
    // Long enough that few lives see its end, where sound and picture are not equally long.
    Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 90) })
}

/// Bytes of the video that the server says are recorded; none if it does not answer.
pub(crate) fn acknowledged(server: &Server, video: &str) -> Option<u64> {
    let path = format!("/client/v4/accounts/default/stream/{video}");
    let authorization = format!("Bearer {}", server.token);
    let answer =
        try_request("GET", &server.url(&path), &[("authorization", &authorization)], b"").ok()?;
    (answer.status == 200).then(|| answer.json())?["result"]["size"].as_u64()
}

/// One life: an encoder publishes until the server is dead. Answers what was acknowledged last.
fn live_and_die(data: &Path, key: &str, video: &mut Option<String>, how: &Death) -> u64 {
    let (point, after) = match how {
        Death::At(point) => (*point, None),
        Death::After(time) => ("", Some(*time)),
    };
    let mut server =
        Server::start_as(AIRWAVE, data, &SETTINGS, &[], &[(failpoint::VARIABLE, point)]);
    let address = server.addresses["rtmp"].as_str().unwrap().to_owned();
    let _encoder = clip().publish_at(SPEED, &format!("rtmp://{address}/live/{key}"), -1);
    let begun = Instant::now();
    let mut said = 0;
    wait_until("the server's death", 60, || {
        if let Some(uid) = &*video {
            said = acknowledged(&server, uid).unwrap_or(said);
        } else if let Ok(list) = try_request("GET", &server.url("/live.json"), &[], b"") {
            let id = list.json()["broadcasts"][0]["id"].as_str().map(str::to_owned);
            let url = id.map(|id| server.url(&format!("/{id}/lifecycle")));
            let answer = url.and_then(|url| try_request("GET", &url, &[], b"").ok());
            *video = answer.and_then(|a| a.json()["videoUID"].as_str().map(str::to_owned));
        }
        if after.is_some_and(|after| begun.elapsed() >= after) {
            server.child().kill();
        }
        server.child().ended().map(|_| ())
    });
    said
}

enum Death {
    At(&'static str),
    After(Duration),
}

#[test]
fn killed_again_and_again_nothing_acknowledged_is_lost() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let input: Input = Server::start_in(AIRWAVE, &data, &SETTINGS).input();
    let (source, mut known) = (Source::new(clip().path()), Known::default());
    let (mut video, mut random, mut heard) = (None, 0x9e37_79b9_7f4a_7c15, 0);
    for round in 0..rounds() {
        let how = match round % 3 {
            2 => Death::After(Duration::from_millis(700 + next_random(&mut random) % 1_500)),
            _ => Death::At(POINTS[(round - round / 3) % POINTS.len()]),
        };
        let said = live_and_die(&data, &input.key, &mut video, &how);
        let Some(uid) = video.as_deref().map(|uid| VideoUid::parse(uid).unwrap()) else { continue };
        runtime.block_on(async {
            let left = Aftermath::open(&data);
            let there = left.bytes(&uid).await;
            assert!(there >= said, "{there} bytes of {said} that were acknowledged");
            left.check(&uid, &source, &mut known).await;
        });
        heard = heard.max(said);
    }
    // How much there is by the moment of each death depends on the machine.
    let video = video.unwrap();
    let segments = known.segments.len();
    println!("{} rounds, {heard} bytes acknowledged in {segments} segments", rounds());
    assert!(heard > 0 && segments > rounds().min(14), "only {segments} segments");
    assert!(
        known.orphans > 0,
        "a kill between put and commit leaves an orphan, else this tests less"
    );

    // The encoder comes once more, and ends it.
    let server = Server::start_in(AIRWAVE, &data, &SETTINGS);
    let address = server.addresses["rtmp"].as_str().unwrap().to_owned();
    let rtmp = format!("rtmp://{address}/live/{}", input.key);
    let mut encoder = clip().publish_at(SPEED, &rtmp, 1);
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    server.wait_ready(&video);
    assert_eq!(server.api("GET", "/stream", None).json()["result"].as_array().unwrap().len(), 1);
    check_replay(&server, &video, &known, folder.path());
    drop(server);
    runtime.block_on(async {
        let (uid, left) = (VideoUid::parse(&video).unwrap(), Aftermath::open(&data));
        left.check(&uid, &source, &mut known).await;
        left.check_tidy(&uid).await;
    });
}

/// The replay over HTTP: everything known is in it, byte for byte, it keeps the authoring rules, and a
/// decoder has nothing to say.
pub(crate) fn check_replay(server: &Server, video: &str, known: &Known, folder: &Path) {
    for (track, kind) in TRACKS {
        let mut replay = Follower::new(server.url(&format!("/{video}/manifest/{track}.m3u8")));
        let list = replay.reload().clone();
        assert!(list.ended);
        let text = &replay.versions[0];
        assert_eq!(check(text), [], "{text}");
        let numbers: Vec<u64> = list.segments.iter().map(|s| s.number).collect();
        let first = numbers[0];
        assert_eq!(numbers, (first..first + numbers.len() as u64).collect::<Vec<_>>());
        for (number, (epoch, tracks)) in &known.segments {
            let Some(bytes) = tracks.get(track) else { continue };
            let (segment, got) = &replay.segments[number];
            assert!(got == bytes, "segment {number} of {track}");
            let name = format!("/{epoch}-{number}.m4s");
            assert!(segment.file.as_ref().unwrap().1.ends_with(&name), "{segment:?}");
        }
        assert_eq!(replay.inits.len(), 1);
        let file = folder.join(format!("{kind}.mp4"));
        std::fs::write(&file, replay.file(replay.inits.keys().next().unwrap())).unwrap();
        assert_eq!(decode_errors(&file), "", "{track} decodes");
    }
}
