//! Levels of the ladder: listed before anything is encoded, made while somebody watches, cut like the original.

use std::path::{Path, PathBuf};
use std::process::Command;

use media::catalog::Catalog;
use serde_json::Value;
use testkit::{
    Child, Clip, ClipSpec, Follower, Lists, MediaPlaylist, Server, check_multivariant,
    decode_errors, packets, request, skip, use_player, wait_until,
};

use crate::AIRWAVE;
use crate::codecs::{FFMPEG, run};
use crate::live::received;
use crate::moq_program::{fetch, summary};

/// What must not happen to whoever watches.
const NOTHING: [&str; 5] = ["lost", "holes", "gaps", "discontinuities", "timeJumps"];

pub(crate) const LADDER: &str = "encode.ladder=[\"144p\", \"96p=300\"]";

/// The multivariant playlist, once it lists a level.
pub(crate) fn with_levels(server: &Server, id: &str) -> String {
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

/// Nothing was encoded. What levels begin with is asked for once, for the catalog; no process stays for that.
pub(crate) fn nobody_watches(server: &Server) {
    assert_eq!(server.metric("level_segments_decoded_total"), 0);
    wait_until("no encoder to run", 10, || (server.metric("encoder_processes") == 0).then_some(()));
}

/// The MPD has the levels of the playlist, and both have the one that is asked for by its bandwidth.
fn lists_agree(server: &Server, id: &str, list: &str) {
    let mpd = server.get(&format!("/{id}/manifest/video.mpd")).text();
    for level in ["video.144p.cmaf", "video.96p.cmaf"] {
        assert!(mpd.contains(&format!("<Representation id=\"{level}\"")), "{level}: {mpd}");
        assert!(list.contains(level), "{list}");
    }
    let hint = "clientBandwidthHint=0.1";
    let list = server.get(&format!("/{id}/manifest/video.m3u8?{hint}")).text();
    let mpd = server.get(&format!("/{id}/manifest/video.mpd?{hint}")).text();
    assert_eq!(list.matches("#EXT-X-STREAM-INF").count(), 1, "{list}");
    assert!(list.contains("video.144p.cmaf.m3u8") && list.contains("audio.cmaf.m3u8"), "{list}");
    assert_eq!(mpd.matches("<Representation ").count(), 2, "the level and the sound: {mpd}");
    assert!(mpd.contains("<Representation id=\"video.144p.cmaf\""), "{mpd}");
}

#[test]
fn a_level_has_every_frame_at_its_time_and_is_encoded_once_for_all() {
    let encoder = Path::new(AIRWAVE).with_file_name("airwave-encode");
    assert!(encoder.is_file(), "build it: cargo build -p encoder");
    let server = Server::start(AIRWAVE, &[LADDER]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut publisher = clip.publish(&input.rtmp, 1);
    // By the video's address: whoever is late finds the recording there.
    let video = server.wait_video(&input, &[]);
    let list = with_levels(&server, &video);
    nobody_watches(&server);
    let level = attributes(&list, "video.96p.cmaf");
    for what in ["CODECS=\"avc1.64000d,", "RESOLUTION=170x96", "FRAME-RATE=30", "AUDIO="] {
        assert!(level.contains(what), "{what} in {level}");
    }
    lists_agree(&server, &video, &list);
    let before = list.clone();
    // Three viewers of one level, from the beginning to the end.
    let followed = std::thread::scope(|scope| {
        let viewers = [(); 3].map(|()| {
            scope.spawn(|| {
                let url = server.url(&format!("/{video}/manifest/video.96p.cmaf.m3u8"));
                let mut follower = Follower::of_level(url);
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
    let mut replay =
        Follower::of_level(server.url(&format!("/{video}/manifest/video.144p.cmaf.m3u8")));
    assert!(replay.reload().ended);
    let got = received(folder.path(), &replay, 'v');
    assert_eq!(got.len(), source.len(), "every frame of the replay");
    // Now that all of it was made, the list has what it takes.
    let at = server.url(&format!("/{video}/manifest/video.m3u8"));
    let get = |uri: &str| request("GET", &at.join(uri), &[], &[]);
    let names = ["video", "video.144p", "video.96p", "audio"];
    let media = names.map(|name| format!("{name}.cmaf.m3u8"));
    let media: Lists = media.map(|uri| (uri.clone(), get(&uri).text())).into();
    let bytes_of = |_: &str, file: &str| get(file).body.len() as u64;
    // What was said before any of it was made was no promise that its peak breaks.
    let before: Vec<_> = check_multivariant(&before, &media, bytes_of)
        .into_iter()
        .filter(|broken| broken.rule == "bandwidth-covers-the-peak")
        .filter(|broken| ["video.144p", "video.96p"].iter().any(|l| broken.found.contains(l)))
        .collect();
    assert_eq!(before, [], "before it was made");
    let list = get("video.m3u8").text();
    assert_eq!(check_multivariant(&list, &media, bytes_of), [], "{list}");
    // Its entity tag says what the bytes are, as they may be others when it is made again.
    let level = at.join("video.96p.cmaf.m3u8");
    let text = request("GET", &level, &[], b"").text();
    let uri = text.lines().rfind(|line| line.ends_with(".m4s")).unwrap();
    let etag = request("GET", &level.join(uri), &[], b"").headers["etag"].clone();
    let hash = etag.trim_matches('"').rsplit('-').next().unwrap();
    assert!(hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{etag}");
    let known = request("GET", &level.join(uri), &[("if-none-match", &etag)], b"");
    assert_eq!(known.status, 304, "{etag}");
    fetched_over_moq(&server, &video, &media);
}

/// A recording's levels are listed and fetched over MoQ: what was made is the same for all.
fn fetched_over_moq(server: &Server, video: &str, media: &Lists) {
    use moqt::{GroupOrder, Location, Range};
    let get = |track: &str, (first, last)| {
        let start = Location::new(first, 0);
        let range = Range { start, end: Location::new(last, Range::WHOLE_GROUP) };
        fetch(server, video, track, range, GroupOrder::Ascending).unwrap()
    };
    let catalog = get("catalog", (0, 0));
    let catalog = Catalog::parse(catalog[0].1.as_ref().unwrap()).unwrap();
    let at = server.url(&format!("/{video}/manifest/video.m3u8"));
    for name in ["video.144p.cmaf", "video.96p.cmaf"] {
        let list = &media[&format!("{name}.m3u8")];
        let file = |uri: &str| request("GET", &at.join(uri), &[], &[]).body;
        let parsed = MediaPlaylist::parse(list).unwrap();
        let files: Vec<(u64, Option<Vec<u8>>)> = parsed
            .segments
            .iter()
            .map(|segment| (segment.number, Some(file(&segment.file.as_ref().unwrap().1))))
            .collect();
        let numbers = (files[0].0, files.last().unwrap().0);
        assert!(get(name, numbers) == files, "{name}: byte for byte");
        let track = catalog.tracks.iter().find(|track| track.name == name);
        let init = track.and_then(|track| catalog.init_of(track)).unwrap();
        let map = list.split_once("#EXT-X-MAP:URI=\"").unwrap().1.split_once('"').unwrap().0;
        assert_eq!(init, file(map), "{name}: begins with the same");
    }
}

/// Flips `encode.ladder` and `encode.program`.
#[test]
fn without_a_ladder_or_a_program_there_is_the_original() {
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    for (settings, said) in [
        (vec!["encode.ladder=[]"], None),
        (vec![LADDER, "encode.program=/nowhere/airwave-encode"], Some("no levels of quality")),
        (vec![LADDER, "encode.program=/bin/ls"], Some("is no encoder for this server")),
    ] {
        let mut server = Server::start(AIRWAVE, &settings);
        let input = server.input();
        let _publisher = clip.publish(&input.rtmp, -1);
        server.wait_live(&input);
        let list = wait_until("a playlist", 30, || {
            let list = server.get(&format!("/{}/manifest/video.m3u8", input.uid)).text();
            list.contains("video.cmaf.m3u8").then_some(list)
        });
        assert!(!list.contains("p.cmaf"), "{list}");
        for name in ["video.96p.cmaf", "audio.opus.cmaf"] {
            let level = server.get(&format!("/{}/manifest/{name}.m3u8", input.uid));
            assert_eq!(level.status, 404, "{}", level.text());
        }
        let path = format!("/stream/live_inputs/{}", input.uid);
        let complaint =
            || server.api("GET", &path, None).json()["result"]["ladderComplaint"].clone();
        match said {
            // Wherever somebody looks.
            Some(said) => {
                let words = wait_until(said, 60, || {
                    let words = complaint().as_str().map(str::to_owned);
                    words.filter(|words| words.contains(said))
                });
                let ready = server.admin("/readyz");
                assert_eq!(ready.status, 200, "{}", ready.text());
                assert!(ready.text().contains(&words), "{}", ready.text());
                wait_until(said, 60, || server.child().output().contains(said).then_some(()));
            }
            None => {
                assert_eq!(complaint(), Value::Null);
                let ready = server.admin("/readyz").text();
                assert!(!ready.contains("levels"), "{ready}");
            }
        }
    }
}

/// A program that greets, takes what it is sent, and says nothing more.
fn silent(folder: &Path) -> String {
    use std::os::unix::fs::PermissionsExt;
    let real = Path::new(AIRWAVE).with_file_name("airwave-encode");
    let words = Command::new(real).arg("--version").output().unwrap().stdout;
    let words = String::from_utf8(words).unwrap().trim().to_owned();
    let (script, greeting) = (folder.join("silent"), folder.join("greeting"));
    let hello = encode::wire::Hello { words: words.clone() };
    std::fs::write(&greeting, encode::wire::FromEncoder::Hello(hello).encode()).unwrap();
    let greeting = greeting.display();
    // Descriptor 3 keeps the pipe to the server open.
    let work = format!("/bin/cat {greeting}; exec 3>&1; exec /bin/cat > /dev/null");
    let text = format!("#!/bin/sh\ncase $1 in --version) echo '{words}';; *) {work};; esac\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script.display().to_string()
}

/// The only encoder hangs: playlists are there at once, who wants a level hears in time that there is none now, and the
/// original plays.
#[test]
fn an_encoder_that_hangs_costs_its_levels_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let program = format!("encode.program={:?}", silent(folder.path()));
    let pictures = "encode.pictures=true";
    let settings = [LADDER, pictures, "encode.workers=1", "hls.segment_ms=1000", &*program];
    let server = Server::start(AIRWAVE, &settings);
    let input = server.input();
    let spec = ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 90) };
    let _publisher = Clip::make(&spec).publish(&input.rtmp, -1);
    server.wait_live(&input);
    with_levels(&server, &input.uid);
    let get = |name: &str| server.get(&format!("/{}/manifest/{name}", input.uid));
    let newest = |name: &str| {
        wait_until("a segment to be listed", 30, || {
            let list = get(&format!("{name}.m3u8"));
            assert_eq!(list.status, 200, "{}", list.text());
            let text = list.text();
            let uri = text.lines().rfind(|l| !l.is_empty() && !l.starts_with('#'))?;
            let at = server.url(&format!("/{}/manifest/{name}.m3u8", input.uid));
            Some(at.join(uri))
        })
    };
    // The node has asked it what levels begin with: it is the only one, and busy.
    wait_until("the encoder to run", 20, || {
        (server.metric("encoder_processes") == 1).then_some(())
    });
    let refused = request("GET", &newest("video.96p.cmaf"), &[], b"");
    let again = refused.headers.get("retry-after").cloned();
    assert_eq!((refused.status, again.as_deref()), (503, Some("1")), "{}", refused.text());
    assert_eq!(refused.text(), "all encoders are busy: try again\n");
    let original = request("GET", &newest("video.cmaf"), &[], b"");
    assert_eq!(original.status, 200, "{}", original.text());
    // Pictures wait for an encoder as long as anything, and no longer.
    for file in ["thumbnail.jpg", "thumbnail.gif"] {
        let refused = server.get(&format!("/{}/thumbnails/{file}", input.uid));
        let again = refused.headers.get("retry-after").cloned();
        assert_eq!((refused.status, again.as_deref()), (503, Some("1")), "{}", refused.text());
        assert_eq!(refused.text(), "too much is going on: try again in a moment\n");
        let stays = refused.headers.get("cache-control").cloned().unwrap_or_default();
        assert!(!stays.contains("max-age"), "nobody keeps it: {stays}");
    }
    assert!(server.metric("encoder_jobs_refused_total") >= 1);
    assert_eq!(server.metric("level_segments_encoded_total"), 0);
    // One at a time: whoever stands still meanwhile comes when the first was given up.
    assert!(server.metric("encoder_processes") <= 1);
}

/// The encoder processes of a server.
fn encoders(server: u32) -> Vec<u32> {
    let stat = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let of = |pid: &u32| {
        // Its name, in brackets, its state, its parent.
        let stat = stat(*pid).unwrap_or_default();
        let (name, rest) = stat.rsplit_once(") ").unwrap_or_default();
        name.ends_with("(airwave-encode") && rest.split(' ').nth(1) == Some(&server.to_string())
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(of).collect()
}

/// Who waits for the segment has it all the same, and those that follow.
#[test]
fn an_encoder_that_is_killed_while_somebody_waits_costs_a_retry() {
    let mut server = Server::start(AIRWAVE, &[LADDER, "encode.workers=1", "hls.segment_ms=1000"]);
    let input = server.input();
    let spec = ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 90) };
    let _publisher = Clip::make(&spec).publish(&input.rtmp, -1);
    server.wait_live(&input);
    with_levels(&server, &input.uid);
    let pid = server.child().id();
    let list = server.url(&format!("/{}/manifest/video.96p.cmaf.m3u8", input.uid));
    let mut follower = Follower::of_level(list.clone());
    while follower.segments.len() < 2 {
        follower.reload();
    }
    let count = |name: &str| server.metric(name);
    let (lost, made) = ("encoder_jobs_lost_total", "level_segments_encoded_total");
    let mut asked = Vec::new();
    while count(lost) == 0 {
        assert!(asked.len() < 30, "each was killed when it had nothing to do");
        // The one that comes next, whose parts are made as they come.
        let newest = MediaPlaylist::parse(&request("GET", &list, &[], b"").text()).unwrap();
        let (number, file) =
            newest.segments.iter().rev().find_map(|s| Some((s.number, s.file.clone()?.1))).unwrap();
        let next = list.join(&file.replace(&format!("-{number}."), &format!("-{}.", number + 1)));
        let before = count(made);
        let answer = std::thread::scope(|scope| {
            let answer = scope.spawn(|| request("GET", &next, &[], b""));
            wait_until("an encoder at work", 20, || {
                let decoded = count("level_segments_decoded_total");
                (decoded > before && !encoders(pid).is_empty()).then_some(())
            });
            for pid in encoders(pid) {
                let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
                assert!(killed.success() || !Path::new(&format!("/proc/{pid}")).exists());
            }
            answer.join().unwrap()
        });
        assert_eq!(answer.status, 200, "{next}: {}", answer.text());
        let again = request("GET", &next, &[], b"");
        assert!(again.body == answer.body, "{next}: whole, and the same for everybody");
        asked.push(number + 1);
        follower.reload();
    }
    let last = asked[asked.len() - 1];
    while follower.segments.keys().next_back().is_none_or(|newest| *newest < last + 2) {
        follower.reload();
    }
    let folder = tempfile::tempdir().unwrap();
    let got = received(folder.path(), &follower, 'v');
    let segments = follower.segments.len();
    assert_eq!(got.len(), segments * 30, "every frame of {segments} segments");
    assert_eq!(count("encoder_jobs_lost_total"), 1, "the incident is counted");
    assert!(count("encoder_processes_started_total") >= 2);
}

/// Both of its pictures are ones that old devices can't play: it has the level that they can, and no more of ours. With one
/// that all can play it has none.
#[test]
fn an_encoder_with_levels_of_its_own_has_none_of_ours_but_the_one_that_all_can_play() {
    if skip("codecs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(AIRWAVE, &[LADDER, "hls.segment_ms=1000"]);
    let hevc = "libx265 -preset:v ultrafast \
                -x265-params:v keyint=30:min-keyint=30:scenecut=0:open-gop=0:log-level=0";
    let h264 = "libx264 -preset:v ultrafast -g:v 30";
    let rows = [
        ("hevc", [hevc, hevc], &["video.cmaf", "video.h264.cmaf", "video2.cmaf"][..]),
        ("both", [hevc, h264], &["video.cmaf", "video2.cmaf"]),
        ("h264", [h264, h264], &["video.cmaf", "video2.cmaf"]),
    ];
    let on_air = rows.map(|(name, encoders, expect)| {
        let clip = two_pictures(folder.path(), name, encoders);
        let input = server.input();
        let mut publish = Command::new(FFMPEG);
        publish.args(["-nostdin", "-v", "error", "-re", "-stream_loop", "20", "-i"]).arg(&clip);
        publish.args(["-map", "0", "-c", "copy", "-f", "flv", &input.rtmp]);
        (name, input, Child::start(&mut publish), expect)
    });
    for (name, input, _publisher, expect) in &on_air {
        let get = |name: &str| server.get(&format!("/{}/manifest/{name}", input.uid)).text();
        server.wait_live(input);
        let list = wait_until("the pictures in the list", 30, || {
            let list = get("video.m3u8");
            expect.iter().all(|picture| list.contains(&format!("\n{picture}.m3u8"))).then_some(list)
        });
        let variants = list.lines().filter(|line| !line.starts_with('#'));
        let mut variants: Vec<&str> = variants.filter_map(|l| l.strip_suffix(".m3u8")).collect();
        assert_eq!(variants.last() == Some(&"video.h264.cmaf"), expect.len() == 3, "{list}");
        variants.sort_unstable();
        assert_eq!(variants, *expect, "{name}: {list}");
        let mpd = get("video.mpd");
        for picture in ["video.cmaf", "video2.cmaf", "video.h264.cmaf", "video.144p.cmaf"] {
            let listed = mpd.contains(&format!("<Representation id=\"{picture}\""));
            assert_eq!(listed, expect.contains(&picture), "{name}, {picture}: {mpd}");
        }
    }
    // Over HLS and MoQ.
    let uid = &on_air[0].1.uid;
    let level = server.url(&format!("/{uid}/manifest/video.h264.cmaf.m3u8"));
    let mut follower = Follower::of_level(level);
    while follower.reload().segments.iter().filter(|s| s.file.is_some()).count() < 2 {}
    let got = received(folder.path(), &follower, 'v');
    assert!(got.len() > 45, "{}", got.len());
    let quic = server.addresses["quic"].as_str().unwrap();
    let url = format!("moqt://{quic}/#msf:default-{uid}");
    let mut watch = Command::new(AIRWAVE);
    let watch = Child::start(watch.args(["watch", &url, "--insecure", "--json"]));
    let expect = ["video", "video.h264", "video2", "audio", "audio.opus"];
    wait_until("the tracks of the MoQ catalog", 60, || {
        let row: Value = serde_json::from_str(watch.output().lines().last()?).ok()?;
        let tracks = row["tracks"].as_array()?.iter().filter_map(|t| t["name"].as_str());
        tracks.eq(expect).then_some(())
    });
}

/// A clip of two sizes of one picture, by these encoders, and sound.
fn two_pictures(folder: &Path, name: &str, encoders: [&str; 2]) -> PathBuf {
    let clip = folder.join(format!("{name}.mkv"));
    let mut make = Command::new(FFMPEG);
    make.args(["-nostdin", "-v", "error"]);
    for size in ["320x180", "256x144"] {
        make.args(["-f", "lavfi", "-i", &format!("testsrc2=s={size}:r=30,format=yuv420p")]);
    }
    make.args(["-f", "lavfi", "-i", "sine=frequency=1000:sample_rate=48000"]);
    make.args(["-map", "0", "-map", "1", "-map", "2"]);
    for (nth, encoder) in encoders.iter().enumerate() {
        let encoder = format!("-c:v {encoder}").replace(":v ", &format!(":v:{nth} "));
        make.args(encoder.split_whitespace());
    }
    run(make.args(["-c:a", "aac", "-ac", "2", "-t", "4"]).arg(&clip));
    clip
}

/// Its sound is Opus: live there is AAC, too, and in the recording, which goes on where what was made live ends.
#[test]
fn a_device_that_has_only_aac_finds_its_sound() {
    if skip("codecs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.mkv");
    let ffmpeg = || {
        let mut command = Command::new(FFMPEG);
        command.args(["-nostdin", "-v", "error"]);
        command
    };
    let sources = "-f lavfi -i testsrc2=s=320x180:r=30,format=yuv420p \
                   -f lavfi -i sine=frequency=1000:sample_rate=48000,volume=4 \
                   -t 5 -c:v libx264 -preset ultrafast -g 30 -c:a libopus -b:a 128k -ac 2";
    run(ffmpeg().args(sources.split_whitespace()).arg(&clip));
    let server = Server::start(AIRWAVE, &[LADDER, "hls.segment_ms=1000"]);
    let input = server.input();
    let mut publish = ffmpeg();
    publish.args(["-re", "-i"]).arg(&clip).args(["-c", "copy", "-f", "flv", &input.rtmp]);
    let mut publisher = Child::start(&mut publish);
    let video = server.wait_video(&input, &[]);
    let list = with_levels(&server, &video);
    nobody_watches(&server);
    let media = list.lines().filter(|l| l.contains("TYPE=AUDIO"));
    let media: Vec<&str> = media.filter_map(|l| l.split("URI=").nth(1)).collect();
    let window = |list: &str| format!("\"{list}?dvrEnabled=false\"");
    let both = ["audio.cmaf.m3u8", "audio.aac.cmaf.m3u8"].map(window);
    assert_eq!(media, both, "{list}");
    // All of the pictures, with the one and with the other.
    for (codec, group) in [("Opus", "audio"), ("mp4a.40.2", "audio2")] {
        let codecs = format!(",{codec}\",");
        let own = list.lines().filter(|l| l.contains(&codecs));
        let own: Vec<bool> = own.map(|l| l.ends_with(&format!("AUDIO=\"{group}\""))).collect();
        assert_eq!(own, [true; 3], "{list}");
    }
    let mpd = server.get(&format!("/{video}/manifest/video.mpd")).text();
    let entry = "<Representation id=\"audio.aac.cmaf\" codecs=\"mp4a.40.2\"";
    assert!(mpd.contains(entry), "{mpd}");
    let url = |id: &str| server.url(&format!("/{id}/manifest/audio.aac.cmaf.m3u8"));
    let mut live = Follower::of_level(url(&video));
    while live.reload().segments.iter().filter(|s| s.file.is_some()).count() < 3 {}
    assert!(publisher.wait(20).success(), "{}", publisher.output());
    wait_until("the end", 20, || {
        server.get(&url(&video).path).text().contains("#EXT-X-ENDLIST").then_some(())
    });
    let mut replay = Follower::of_level(url(&video));
    assert!(replay.reload().ended);
    for (number, (_, bytes)) in &live.segments {
        assert!(replay.segments[number].1 == *bytes, "{number}: what was made is kept");
    }
    let got = received(folder.path(), &replay, 'a');
    for (n, packet) in got.iter().enumerate() {
        let expect = got[0].present_us + n as i64 * 64_000 / 3;
        assert!((packet.present_us - expect).abs() <= 1, "frame {n}: {packet:?}");
    }
    // Of five seconds what an encoder cannot know at the end is missing.
    let us = got.len() as i64 * 64_000 / 3;
    assert!((4_900_000..5_060_000).contains(&us), "{us} us");
    let mut decode = ffmpeg();
    let pcm = folder.path().join("a.pcm");
    decode.arg("-i").arg(folder.path().join("a.mp4")).args(["-ac", "1", "-f", "s16le"]);
    run(decode.arg(&pcm));
    let pcm = std::fs::read(pcm).unwrap();
    let samples: Vec<i16> = pcm.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    // A thousand times a second, in each tenth of it.
    for (n, tenth) in samples[4_800..].chunks_exact(4_800).enumerate() {
        let rises = tenth.windows(2).filter(|w| w[0] < 0 && w[1] >= 0).count();
        assert!((99..=101).contains(&rises), "{rises} in tenth {n}");
    }
}

#[test]
fn levels_over_moq_are_encoded_while_somebody_subscribes() {
    let settings = [LADDER, "hls.segment_ms=1000", "encode.linger_s=2"];
    let server = Server::start(AIRWAVE, &settings);
    let input = server.input();
    let spec = ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 90) };
    let clip = Clip::make(&spec);
    let _publisher = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    with_levels(&server, &input.uid);
    nobody_watches(&server);
    let quic = server.addresses["quic"].as_str().unwrap();
    let url = format!("moqt://{quic}/#msf:default-{}", input.uid);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("watched.mp4");
    let record = ["--insecure", "--json", "--record", file.to_str().unwrap()];
    let mut watch = Child::start(Command::new(AIRWAVE).args(["watch", &url]).args(record));
    // Two seconds of each: two segments of each level at least.
    wait_until("frames of every track", 90, || {
        let row: Value = serde_json::from_str(watch.output().lines().last()?).ok()?;
        let frames = row["tracks"].as_array()?.iter().map(|t| t["frames"].as_u64().unwrap_or(0));
        (frames.filter(|frames| *frames > 60).count() == 5).then_some(())
    });
    watch.signal("INT");
    assert!(watch.wait(30).success(), "{}", watch.output());
    let summary = summary(&watch.output());
    let tracks = summary["tracks"].as_array().unwrap();
    let names: Vec<&str> = tracks.iter().filter_map(|t| t["name"].as_str()).collect();
    let expect = ["video", "video.144p", "video.96p", "audio", "audio.opus"];
    assert_eq!(names, expect, "{summary}");
    for track in tracks {
        // A level that is encoded too late for those who watch live is left out, until the next segment; not in the soak.
        let made = ["video.144p", "video.96p"].iter().any(|name| track["name"] == *name);
        let always = ["gaps", "discontinuities"];
        let nothing = if made && !crate::browser::soak() { &always[..] } else { &NOTHING };
        for nothing in nothing {
            assert_eq!(track[nothing], 0, "{nothing}: {summary}");
        }
    }
    assert_eq!(decode_errors(&file), "", "everything decodes");
    // Nobody is left: the segment that is under way, and those for as long as it lingers.
    let encoded = || server.metric("level_segments_encoded_total");
    let list = format!("/{}/manifest/video.cmaf.m3u8?dvrEnabled=true", input.uid);
    let segments = || server.get(&list).text().matches("#EXTINF").count();
    let stopped = (0..5).any(|_| {
        let (before, listed) = (encoded(), segments());
        wait_until("the next segment", 20, || (segments() > listed).then_some(()));
        assert!(before >= 6, "three levels of two segments at least: {before}");
        encoded() == before
    });
    assert!(stopped, "nobody subscribes, and still segments are encoded");
}

#[test]
fn an_input_may_have_levels_of_its_own_or_none() {
    let server = Server::start(AIRWAVE, &[LADDER]);
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let refused = serde_json::json!({ "ladder": ["best"] });
    let answer = server.api("POST", "/stream/live_inputs", Some(&refused));
    assert!(answer.text().contains("write 720p, or 720p=2500"), "{}", answer.text());
    let [own, none] = [serde_json::json!(["120p=200"]), serde_json::json!([])]
        .map(|ladder| server.create_input(&serde_json::json!({ "ladder": ladder })));
    let publishers = [&own, &none].map(|input| clip.publish(&input.rtmp, -1));
    let videos = [&own, &none].map(|input| server.wait_live(input));
    let list = |id: &str| server.get(&format!("/{id}/manifest/video.m3u8")).text();
    wait_until("its own level", 30, || list(&own.uid).contains("video.120p.cmaf").then_some(()));
    assert!(!list(&own.uid).contains("video.96p"), "{}", list(&own.uid));
    wait_until("the original", 30, || list(&none.uid).contains("video.cmaf.m3u8").then_some(()));
    // Recordings keep it.
    for mut publisher in publishers {
        publisher.terminate();
        publisher.wait(20);
    }
    let over = |id: &str| {
        wait_until("the recording", 30, || {
            let list = server.get(&format!("/{id}/manifest/video.cmaf.m3u8")).text();
            list.contains("#EXT-X-ENDLIST").then_some(())
        });
        list(id)
    };
    let [own, none] = videos.map(|video| over(&video));
    assert!(own.contains("video.120p.cmaf") && !own.contains("video.96p"), "{own}");
    assert!(!none.contains("p.cmaf"), "{none}");
}

/// In the player's menu, over LL-HLS and over MoQ, frame by frame and in parts.
#[test]
fn a_viewer_chooses_a_level_and_goes_back_in_chromium() {
    if skip("browser") {
        return;
    }
    for (settings, modes) in [
        (vec![LADDER, "quic.listen=off"], [&["Low latency"][..]; 3]),
        // Where frames come too unevenly for real time, the player buffers.
        (vec![LADDER], [&["Real time", "MoQ"], &["MoQ"], &["Real time", "MoQ"]]),
    ] {
        let server = Server::start(AIRWAVE, &settings);
        let input = server.input();
        let _publisher = crate::browser::clip().publish(&input.rtmp, -1);
        server.wait_live(&input);
        with_levels(&server, &input.uid);
        let url = server.url(&format!("/{}/watch", input.uid)).to_string();
        let ways = modes.concat().join(",");
        let seen = use_player(&url, &["--level", "144p", "--own", "360p", "--ways", &ways]);
        assert_eq!(crate::browser::errors(&seen), [""; 0], "{seen}");
        let offered = seen["offered"].as_array().unwrap();
        for name in ["360p", "144p", "96p"] {
            assert!(offered.iter().any(|o| o == name), "{name}: {seen}");
        }
        let went = seen["modes"].as_array().unwrap();
        assert_eq!(went.len(), modes.len(), "{seen}");
        for (mode, modes) in went.iter().zip(modes) {
            assert!(modes.iter().any(|m| mode == m), "{seen}");
        }
    }
}

/// The only encoder hangs: who chooses one of its levels sees the original again. In the soak: players try for a while.
#[test]
fn who_chooses_a_level_that_fails_ends_on_the_original_in_chromium() {
    if skip("browser") || !crate::browser::soak() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = format!("encode.program={:?}", silent(folder.path()));
    let settings = [LADDER, "encode.workers=1", "quic.listen=off", &*program];
    let server = Server::start(AIRWAVE, &settings);
    let input = server.input();
    let spec = ClipSpec { size: (640, 360), group: 30, ..ClipSpec::plain("browser", 80) };
    let _publisher = Clip::make(&spec).publish(&input.rtmp, -1);
    server.wait_live(&input);
    with_levels(&server, &input.uid);
    let url = server.url(&format!("/{}/watch", input.uid)).to_string();
    let seen = use_player(&url, &["--level", "144p", "--fails"]);
    assert_eq!(seen["own"], 360, "{seen}");
    assert!(seen["refused"].as_str().unwrap().contains("/video.144p."), "{seen}");
}
