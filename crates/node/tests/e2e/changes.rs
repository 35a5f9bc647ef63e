//! An encoder that changes a codec, its picture's size or its sound's rate while it is on the air, and whose clock passes
//! 24 bits: everything plays on, live and in the replay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use io_rtmp::push::{Message, Options, Push};
use media::flv::{Reader, Tag, TagKind, write_header, write_tag};
use package::dash::Content;
use package::hls::attribute;
use rtmp::Kind;
use rtmp::client::Target;
use testkit::{
    Child, Follower, Server, check, check_codecs, check_hints, check_multivariant, check_versions,
    decode_errors, play, request, wait_until,
};

use crate::AIRWAVE;
use crate::codecs::{FFMPEG, packets, replay, run};

const SECONDS: u32 = 6;

/// The encoder's clock when it begins: two seconds later it needs more than 24 bits (RTMP §5.3.1.3).
const BEGINS_MS: u32 = 0xff_ffff - 2_000;

/// What is encoded, and how.
#[derive(Clone, Copy)]
struct Source {
    size: &'static str,
    picture: &'static [&'static str],
    sound: &'static [&'static str],
}

const PLAIN: Source = Source { size: "320x180", picture: H264, sound: AAC };

/// A file of FLV with a key frame every second.
fn flv(folder: &Path, name: &str, source: &Source) -> PathBuf {
    let Source { size, picture, sound } = source;
    let path = folder.join(format!("{name}.flv"));
    let mut command = Command::new(FFMPEG);
    command.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i"]);
    command.arg(format!("testsrc2=s={size}:r=30,format=yuv420p"));
    command.args(["-f", "lavfi", "-i", "sine=frequency=1000:sample_rate=48000"]);
    command.arg("-c:v").args(*picture).arg("-c:a").args(*sound).args(["-ac", "2"]);
    command.args(["-t", &SECONDS.to_string()]).arg(&path);
    run(&mut command);
    path
}

fn tags(file: &Path, offset_ms: u32) -> Vec<Tag> {
    let mut reader = Reader::new();
    reader.push(&std::fs::read(file).unwrap());
    let mut tags = Vec::new();
    while let Some(mut tag) = reader.next_tag().unwrap() {
        tag.timestamp += offset_ms;
        tags.push(tag);
    }
    tags
}

/// Sends tags as one encoder would; after each second of them `watch` looks at what came of it.
fn broadcast(url: &str, tags: &[Tag], mut watch: impl FnMut(u32)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = Options { seed: [7; 32], four_ccs: Vec::new(), tls: None };
    let mut push = runtime.block_on(Push::connect(Target::parse(url).unwrap(), options)).unwrap();
    let mut second = 0;
    for tag in tags {
        let kind = match tag.kind {
            TagKind::Video => Kind::Video,
            TagKind::Audio => Kind::Audio,
            _ => continue,
        };
        if (tag.timestamp - BEGINS_MS) / 1000 > second {
            second = (tag.timestamp - BEGINS_MS) / 1000;
            watch(second);
        }
        let payload = Bytes::copy_from_slice(&tag.body);
        let message = Message { kind, timestamp: tag.timestamp, payload };
        runtime.block_on(push.send(message)).unwrap();
    }
    runtime.block_on(push.goodbye()).unwrap();
}

/// One list: both sources, one discontinuity between them, and nothing that a decoder minds. What changed has another
/// initialisation segment from there on.
fn check_list(folder: &Path, list: &Follower, kind: char, changed: char, sources: &[PathBuf]) {
    let marks = list.segments.values().filter(|(s, _)| s.discontinuity).count();
    assert_eq!(marks, 1, "{kind}: one discontinuity");
    let numbers: Vec<u64> = list.segments.keys().copied().collect();
    let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
    // Sound that changes has no part in a segment that the picture had just begun.
    let passed = last - first + 1 - numbers.len() as u64;
    assert!(passed <= u64::from((kind, changed) == ('a', 'a')), "{kind}: {numbers:?}");
    let hashes = |file: &Path| -> Vec<String> {
        packets(file, &format!("{kind}:0")).into_iter().map(|p| p.hash).collect()
    };
    let mut maps: Vec<&String> = Vec::new();
    for (segment, _) in list.segments.values() {
        if !maps.contains(&&segment.map) {
            maps.push(&segment.map);
        }
    }
    let mut got = Vec::new();
    for (i, map) in maps.iter().enumerate() {
        let file = folder.join(format!("{kind}{i}.mp4"));
        std::fs::write(&file, list.file(map)).unwrap();
        assert_eq!(decode_errors(&file), "", "{kind} {map} decodes");
        got.push(hashes(&file));
    }
    let want: Vec<Vec<String>> = sources.iter().map(|file| hashes(file)).collect();
    if kind == changed {
        assert!(got == want, "{kind}: every packet, before and after");
    } else {
        assert_eq!(maps.len(), 1, "{kind} goes on as it was");
        assert!(got.concat() == want.concat(), "{kind}: every packet");
    }
}

/// A list of tracks names every codec of what its tracks list, so many of them.
fn check_names(server: &Server, uid: &str, query: &str, count: usize) {
    let at = server.url(&format!("/{uid}/manifest/video.m3u8"));
    let get = |uri: &str| request("GET", &at.join(uri), &[], &[]);
    let list = get(&format!("video.m3u8{query}")).text();
    let sounds = list.lines().filter_map(|l| l.strip_prefix("#EXT-X-MEDIA:"));
    let uris = sounds.filter_map(|l| attribute(l, "URI"));
    let uris = uris.chain(list.lines().filter(|l| !l.starts_with('#')).map(str::to_owned));
    let media: BTreeMap<String, String> = uris.map(|uri| (uri.clone(), get(&uri).text())).collect();
    let codec_of = |map: &str| Content::from_init(&get(map).body.into()).unwrap().codec;
    assert_eq!(check_codecs(&list, &media, codec_of), [], "{list}");
    // After what it leads to: what was measured meanwhile is in it.
    let list = get(&format!("video.m3u8{query}")).text();
    assert_eq!(check_multivariant(&list, &media, |_, file| get(file).body.len() as u64), []);
    let stream = list.lines().find_map(|l| l.strip_prefix("#EXT-X-STREAM-INF:")).unwrap();
    let codecs = attribute(stream, "CODECS").unwrap();
    assert_eq!(codecs.split(',').count(), count, "{codecs}");
}

/// `changed`: which of its tracks (`v`, `a`) is another one then; `codecs`: how many the lists name that have both.
fn check_change(second: Source, changed: char, codecs: usize) {
    if testkit::skip("codecs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let one = flv(folder.path(), "one", &PLAIN);
    let other = flv(folder.path(), "other", &second);
    let first = tags(&one, BEGINS_MS);
    let begins = match changed {
        'v' => BEGINS_MS + SECONDS * 1000,
        // Behind the last frame of sound, which is of 21.3 ms: of what overlaps one has to go.
        _ => first.iter().rfind(|tag| tag.kind == TagKind::Audio).unwrap().timestamp + 22,
    };
    let sent = [first, tags(&other, begins)].concat();
    let server = Server::start(AIRWAVE, &["hls.segment_ms=1000"]);
    let input = server.input();
    let mut live: Option<(String, Follower)> = None;
    broadcast(&input.rtmp, &sent, |second| {
        if second == 3 {
            let uid = server.wait_live(&input);
            let path = format!("/{uid}/manifest/video.cmaf.m3u8");
            wait_until("a list", 20, || (server.get(&path).status == 200).then_some(()));
            live = Some((uid, Follower::new(server.url(&path))));
        }
        // The list of a second ago is there: only the newest frame is held back.
        if let Some((_, follower)) = &mut live {
            let done = |f: &Follower| f.segments.len() as u32 + 1 >= second;
            while !done(follower) {
                follower.reload();
            }
        }
        // Six segments of a second: the one is in them until it is not.
        if let (Some((uid, _)), 5 | 9) = (&live, second) {
            check_names(&server, uid, "", if second == 5 { 2 } else { codecs });
        }
    });
    let (uid, mut live) = live.unwrap();
    while !live.reload().ended {}
    let sources = [one, other];
    check_list(folder.path(), &live, 'v', changed, &sources);
    assert_eq!(check_versions(&live.versions[..live.versions.len() - 1]), []);
    assert_eq!(check_hints(&live.versions), []);
    check_names(&server, &uid, "", codecs);
    for (track, kind) in crate::aftermath::TRACKS {
        let replay = replay(&server, &uid, track);
        assert_eq!(check(&replay.versions[0]), [], "{}", replay.versions[0]);
        check_list(folder.path(), &replay, kind, changed, &sources);
    }
    if changed == 'v' {
        check_clips(folder.path(), &server, &uid, &sources[0]);
    }
}

/// A file has one format: a clip ends before the other one begins.
fn check_clips(folder: &Path, server: &Server, uid: &str, first: &Path) {
    let across = server.get(&format!("/{uid}/clip.mp4?time=4s&duration=4s"));
    assert_eq!(across.status, 422);
    assert!(
        across.text().contains("the format of the picture changes at 6.0"),
        "{}",
        across.text()
    );
    for (from, count) in [(1, 30 * 5), (7, 30 * 4)] {
        let clip = server.get(&format!("/{uid}/clip.mp4?time={from}s&duration={}s", count / 30));
        assert_eq!(clip.status, 200, "{}", clip.text());
        let file = folder.join("clip.mp4");
        std::fs::write(&file, &clip.body).unwrap();
        assert_eq!(decode_errors(&file), "");
        let got = packets(&file, "v:0");
        assert_eq!(got.len(), count);
        assert!(from != 1 || got[0].hash == packets(first, "v:0")[30].hash);
    }
    let created = server.api("POST", &format!("/stream/{uid}/downloads"), None).json();
    let file = &created["result"]["default"];
    assert_eq!(file["status"], "error", "{created}");
    assert!(file["errorReasonText"].as_str().unwrap().contains("changes at"), "{created}");
    assert_eq!(server.get(&format!("/{uid}/downloads/default.mp4")).status, 422);
}

const H264: &[&str] =
    &["libx264", "-preset", "ultrafast", "-g", "30", "-bf", "0", "-sc_threshold", "0"];
const AAC: &[&str] = &["aac"];
const VP9: &[&str] = &["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "30"];
const HEVC: &[&str] = &[
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "keyint=30:min-keyint=30:scenecut=0:bframes=0:log-level=0",
];

#[test]
fn another_size_mid_stream_plays_on() {
    check_change(Source { size: "640x360", ..PLAIN }, 'v', 3);
}

#[test]
fn another_codec_mid_stream_plays_on() {
    check_change(Source { picture: HEVC, ..PLAIN }, 'v', 3);
}

#[test]
fn another_codec_of_sound_mid_stream_plays_on() {
    check_change(Source { sound: &["libopus"], ..PLAIN }, 'a', 3);
}

#[test]
fn another_rate_of_sound_mid_stream_plays_on() {
    check_change(Source { sound: &["aac", "-ar", "44100"], ..PLAIN }, 'a', 2);
}

#[test]
fn another_size_mid_stream_plays_on_in_browsers() {
    let players = [("hlsjs", true), ("shaka", true), ("shaka", false), ("airwave", true)];
    check_in_browsers([PLAIN, Source { size: "640x360", ..PLAIN }], &players);
}

/// In one connection, over Enhanced RTMP. Shaka 5.2 takes codecs of HLS from the multivariant playlist that it has begun with, and never
/// changes the type of a SourceBuffer there.
#[test]
fn another_codec_mid_stream_plays_on_in_browsers() {
    if !testkit::skip("codecs") {
        check_in_browsers(
            [PLAIN, Source { size: "640x360", picture: VP9, ..PLAIN }],
            &[("hlsjs", true), ("airwave", true)],
        );
    }
}

/// Another picture every six seconds: whenever a player has begun, with parts or without, it sees both before long, and by their
/// widths it is told which.
fn check_in_browsers(sources: [Source; 2], players: &[(&str, bool)]) {
    if testkit::skip("browser") {
        return;
    }
    const PIECES: u32 = 60;
    let folder = tempfile::tempdir().unwrap();
    let sources = sources.map(|source| flv(folder.path(), source.size, &source));
    let (mut bytes, file) = (Vec::new(), folder.path().join("both.flv"));
    write_header(&mut bytes, true, true);
    for (piece, source) in (0..PIECES).zip(sources.iter().cycle()) {
        for tag in tags(source, piece * SECONDS * 1000) {
            if tag.kind != TagKind::Script || piece == 0 {
                write_tag(&mut bytes, tag.kind, tag.timestamp, &tag.body);
            }
        }
    }
    std::fs::write(&file, bytes).unwrap();
    let server = Server::start(AIRWAVE, &["quic.listen=off", "hls.segment_ms=1000"]);
    for (player, parts) in players {
        // Each has all pieces before it.
        let input = server.create_input(&serde_json::json!({ "preferLowLatency": parts }));
        let mut publish = Command::new(AIRWAVE);
        let _encoder = Child::start(publish.arg("publish").arg(&file).args(["--to", &input.rtmp]));
        server.wait_live(&input);
        let url = server.url(&format!("/{}/watch", input.uid)).to_string();
        let seen = play(&url, player, 3, &["--sizes", "2", "--no-tone"]).0;
        let frames = seen["framesShown"]["list"].as_array().unwrap();
        let widths: Vec<u64> = frames.iter().map(|f| f["width"].as_u64().unwrap()).collect();
        let mut turns: Vec<&u64> = widths.iter().collect();
        turns.dedup();
        assert!(turns.len() >= 2 && turns.iter().all(|w| [320, 640].contains(*w)), "{turns:?}");
        assert_eq!(seen["jumpsBack"], 0, "{player}: {seen}");
        // Players take little things in their stride, on a machine that has others to do.
        let errors = crate::browser::errors(&seen);
        let stride = |e: &&&str| !crate::browser::soak() && e.contains("bufferStalled");
        let errors: Vec<_> = errors.iter().filter(|e| !stride(e)).collect();
        assert!(errors.is_empty(), "{player}: {errors:?}");
        eprintln!("{player}: {} frames, {turns:?} wide", widths.len());
    }
}
