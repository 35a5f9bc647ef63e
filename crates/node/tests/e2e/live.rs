//! An encoder goes live, and everything arrives: each packet, its bytes, its time.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use testkit::{
    Child, Clip, ClipSpec, Follower, Packet, Server, check_multivariant, check_versions,
    decode_errors, packets, wait_until,
};

use crate::AIRWAVE;

/// Follows all of a video: pictures on one thread, sound on another. Who comes when it is over has its recording.
pub(crate) fn follow_to_the_end(server: &Server, video: &str) -> [Follower; 2] {
    let follow = |track: &str| {
        let path = format!("/{video}/manifest/{track}.m3u8");
        wait_until("a list", 60, || (server.get(&path).status == 200).then_some(()));
        let mut follower = Follower::new(server.url(&path));
        while !follower.reload().ended {}
        follower
    };
    std::thread::scope(|scope| {
        let video = scope.spawn(|| follow("video.cmaf"));
        let audio = scope.spawn(|| follow("audio.cmaf"));
        [video.join().unwrap(), audio.join().unwrap()]
    })
}

/// The packets of what a follower kept.
pub(crate) fn received(folder: &Path, follower: &Follower, kind: char) -> Vec<Packet> {
    let maps: Vec<&String> = follower.inits.keys().collect();
    assert_eq!(maps.len(), 1, "one initialisation segment");
    let file = folder.join(format!("{kind}.mp4"));
    std::fs::write(&file, follower.file(maps[0])).unwrap();
    assert_eq!(decode_errors(&file), "", "{kind} decodes");
    packets(&file, kind)
}

/// RTMP has whole milliseconds: a time is half of one off at most, and so is the first, from which the others are counted.
pub(crate) const MILLISECOND: i64 = 1_000;

/// The same packets at the same times but for a shift, which is answered in microseconds.
pub(crate) fn check_same(source: &[Packet], got: &[Packet], kind: char) -> i64 {
    let hashes = |list: &[Packet]| list.iter().map(|p| p.hash.clone()).collect::<Vec<_>>();
    assert_eq!(got.len(), source.len(), "{kind}: every packet");
    assert!(hashes(source) == hashes(got), "{kind}: every packet's bytes, in order");
    let shift = got[0].present_us - source[0].present_us;
    for (s, g) in source.iter().zip(got) {
        let off = g.present_us - s.present_us - shift;
        assert!(off.abs() <= MILLISECOND, "{kind}: {} us off at {} us", off, s.present_us);
    }
    shift
}

#[test]
fn every_packet_arrives_with_its_bytes_and_its_time() {
    check_every_packet("rtmp");
}

#[test]
fn every_packet_arrives_over_tls_with_its_bytes_and_its_time() {
    check_every_packet("rtmps");
}

fn check_every_packet(scheme: &str) {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let port = server.addresses[scheme].as_str().unwrap();
    let mut encoder = clip.publish(&format!("{scheme}://{port}/live/{}", input.key), 1);
    let video_uid = server.wait_video(&input, &[]);
    let [video, audio] = follow_to_the_end(&server, &video_uid);
    assert!(encoder.wait(20).success(), "{}", encoder.output());

    let folder = tempfile::tempdir().unwrap();
    let shifts = [('v', &video), ('a', &audio)].map(|(kind, follower)| {
        let source = packets(clip.path(), kind);
        check_same(&source, &received(folder.path(), follower, kind), kind)
    });
    let [picture, sound] = shifts;
    assert!((picture - sound).abs() <= MILLISECOND, "{} us apart", picture - sound);
    assert!(video.newest.ended && audio.newest.ended);
    let numbers = |f: &Follower| f.segments.keys().copied().collect::<Vec<_>>();
    assert_eq!(numbers(&video), numbers(&audio), "both tracks have the same numbers");
    let first = numbers(&video)[0];
    assert_eq!(numbers(&video), (first..first + 6).collect::<Vec<_>>(), "6 segments of 2 s");
    assert_eq!(server.lifecycle(&video_uid)["live"], false, "the video is over");
    // The list has its end a moment before the input is off the air.
    let live = format!("/{}/manifest/video.m3u8", input.uid);
    wait_until("the input to be off the air", 20, || {
        (server.get(&live).status == 204).then_some(())
    });
}

/// The list of tracks of what is over against what it leads to.
fn check_tracks(server: &Server, uid: &str) {
    let at = server.url(&format!("/{uid}/manifest/video.m3u8"));
    let get = |uri: &str| testkit::request("GET", &at.join(uri), &[], &[]);
    let list = get("video.m3u8").text();
    let media = ["video.cmaf.m3u8", "audio.cmaf.m3u8"].map(|uri| (uri.to_owned(), get(uri).text()));
    let bytes_of = |_: &str, file: &str| get(file).body.len() as u64;
    assert_eq!(check_multivariant(&list, &media.into(), bytes_of), [], "{list}");
}

#[test]
fn playlists_keep_their_promises() {
    let server = Server::start(AIRWAVE, &["hls.part_ms=200"]);
    let input = server.input();
    // Longer than this takes.
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 90) });
    let mut encoder = clip.publish(&input.rtmp, 1);
    let uid = server.wait_live(&input);
    let multivariant = server.get(&format!("/{}/manifest/video.m3u8", input.uid));
    assert_eq!(multivariant.status, 200);
    let text = multivariant.text();
    for word in ["avc1.", "mp4a.40.2", "RESOLUTION=320x180", "FRAME-RATE=30.000", "AUDIO=\"audio\""]
    {
        assert!(text.contains(word), "{word} in {text}");
    }
    let mut video = Follower::new(server.url(&format!("/{}/manifest/video.cmaf.m3u8", input.uid)));
    let mut looked = false;
    while !video.reload().ended {
        let playlist = &video.newest;
        if !looked && playlist.segments.iter().filter(|s| s.file.is_some()).count() >= 2 {
            looked = true;
            crate::answers::check_live(&server, &input.uid, &uid);
        }
        // Six segments, part by part.
        if video.versions.len() == 30 {
            encoder.terminate();
        }
        assert_eq!(playlist.target_duration, 2);
        let target = playlist.part_target.unwrap();
        assert!((target - 0.2).abs() < 1e-9, "{target}");
        let newest = playlist.segments.last().unwrap();
        // What is hinted at comes next: the part after the newest one.
        let Some(hint) = playlist.hint.clone() else {
            assert!(video.versions.len() >= 30, "its encoder is still there");
            continue;
        };
        let (number, part) = match newest.file {
            Some(_) => (newest.number + 1, 0),
            None => (newest.number, newest.parts.len()),
        };
        assert!(hint.ends_with(&format!("-{number}.{part}.m4s")), "{hint}");
        for segment in &playlist.segments {
            for (i, part) in segment.parts.iter().enumerate() {
                let last = segment.file.is_some() && i + 1 == segment.parts.len();
                let full = part.duration > target * 0.85;
                assert!(part.duration <= target + 1e-6 && (full || last), "{segment:?}");
            }
            assert!(segment.parts.first().is_none_or(|p| p.independent));
        }
    }
    assert!(video.versions.len() >= 30 && looked, "a version a part: {}", video.versions.len());
    encoder.wait(60);
    check_tracks(&server, &uid);
    crate::codecs::replay(&server, &uid, "video.cmaf");
    crate::answers::check_ended(&server, &input.uid, &uid);
    assert_eq!(check_versions(&video.versions[..video.versions.len() - 1]), []);
}

/// Pictures are missing in the middle of a segment: no part is longer than PART-TARGET, those without a frame can be loaded, and the
/// others are all that the segment is.
#[test]
fn a_hole_in_the_pictures_keeps_the_part_target() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec { b_frames: 0, ..ClipSpec::plain("hole", 12) });
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-i"]).arg(clip.path()).args(["-c", "copy"]);
    command.args(["-bsf:v", "noise=drop='between(n,252,287)'", "-f", "flv", &input.rtmp]);
    let mut encoder = Child::start(&mut command);
    let uid = server.wait_live(&input);
    let path = format!("/{uid}/manifest/video.cmaf.m3u8");
    let mut video = Follower::new(server.url(&path));
    while !video.reload().ended {}
    assert!(encoder.wait(20).success(), "{}", encoder.output());
    let lines = video.versions.iter().flat_map(|list| list.lines());
    let stills: BTreeSet<&str> = lines.filter(|line| line.contains("/still-")).collect();
    // 1.27 s from the border of a part on are three: that with the frames, and two.
    assert_eq!(stills.len(), 2, "{stills:?}");
    assert_eq!(check_versions(&video.versions[..video.versions.len() - 1]), []);
    for missing in ["still-x.m4s", "still-01.m4s"] {
        let path = format!("/{uid}/media/{uid}/video.cmaf/{missing}");
        assert_eq!(server.get(&path).status, 404, "{missing}");
    }
}

#[test]
fn a_reload_waits_for_its_part_and_not_for_what_is_far_away() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    let path = format!("/{}/manifest/video.cmaf.m3u8", input.uid);
    let mut follower = Follower::new(server.url(&path));
    follower.reload();
    let newest = follower.newest.segments.last().unwrap().number;
    let far = server.get(&format!("{path}?_HLS_msn={}", newest + 10));
    assert_eq!((far.status, far.text().contains("two segments")), (400, true), "{}", far.text());
    assert_eq!(server.get(&format!("{path}?_HLS_part=1")).status, 400);
    assert_eq!(server.get(&format!("{path}?_HLS_msn=x")).status, 400);
    // A hinted part is answered when it is there.
    let hint = follower.newest.hint.clone().unwrap();
    let part = server.get(&server.url(&path).join(&hint).path);
    assert_eq!(part.status, 200);
    assert!(part.headers["cache-control"].contains("immutable"));
    assert_eq!(&part.body[4..8], b"moof");
    // Ranges, and names that no playlist writes.
    let url = server.url(&path).join(&hint);
    let range = testkit::request("GET", &url, &[("range", "bytes=4-7")], b"");
    assert_eq!((range.status, range.body.as_slice()), (206, &b"moof"[..]));
    let folder = url.path.rsplit_once('/').unwrap().0.to_owned();
    for name in ["1-99999.m4s", "init-00000000000000.mp4", "..%2f..%2fapi-token", "x", "1-1.0.mp4"]
    {
        assert_eq!(server.get(&format!("{folder}/{name}")).status, 404, "{name}");
    }
}

/// RFC 8216bis §6.2.2: whoever watches by whatever address sees no number fall, from the window to the recording.
#[test]
fn no_list_goes_back_over_the_end_of_a_broadcast() {
    let server = Server::start(AIRWAVE, &["ingest.reconnect_s=0", "hls.segment_ms=1000"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 10) });
    let mut encoder = clip.publish_at(2.0, &input.rtmp, -1);
    let video = server.wait_live(&input);
    // What lists of tracks name, and what else may be asked for.
    let mut lists = Vec::new();
    for id in [&input.uid, &video] {
        for query in ["", "?protocol=hls", "?protocol=llhls", "?dvrEnabled=true"] {
            let list = server.get(&format!("/{id}/manifest/video.m3u8{query}")).text();
            let named = list.lines().map(|l| l.split("URI=\"").nth(1).unwrap_or(l));
            let named = named.map(|uri| uri.split('"').next().unwrap());
            let named = named.filter(|uri| !uri.starts_with('#') && uri.contains(".m3u8"));
            lists.extend(named.map(|uri| format!("/{id}/manifest/{uri}")));
        }
        let query = ["", "?dvrEnabled=false", "?protocol=hls"];
        lists.extend(query.map(|query| format!("/{id}/manifest/video.cmaf.m3u8{query}")));
    }
    lists.sort();
    lists.dedup();
    assert!(lists.len() > 20, "{lists:?}");
    // An input that is off the air shows no key pictures.
    let answer = |path: &String| Some(server.get(path)).filter(|answer| answer.status != 204);
    let read = |path: &String| {
        let text = answer(path)?.text();
        let number = |tag| text.lines().find_map(|l| l.strip_prefix(tag)?.parse::<u64>().ok());
        let sequence = number("#EXT-X-MEDIA-SEQUENCE:").unwrap_or_else(|| panic!("{path}: {text}"));
        Some((sequence, text))
    };
    let window = format!("/{}/manifest/video.cmaf.m3u8", input.uid);
    let first = read(&window).unwrap().0;
    wait_until("the window to move on", 60, || (read(&window)?.0 >= first + 4).then_some(()));
    let live: Vec<_> = lists.iter().map(|path| read(path).unwrap().0).collect();
    encoder.terminate();
    encoder.wait(20);
    let check = || {
        for (path, before) in lists.iter().zip(&live) {
            let Some((now, text)) = read(path) else { continue };
            assert!(now >= *before, "{path}: {before}, then {now}: {text}");
        }
    };
    check();
    server.wait_ready(&video);
    check();
    // Who comes now has all of it.
    let list = server.get(&format!("/{video}/manifest/video.m3u8")).text();
    assert!(list.contains("\nvideo.cmaf.m3u8\n"), "{list}");
    let (sequence, text) = read(&format!("/{video}/manifest/video.cmaf.m3u8")).unwrap();
    assert!(sequence <= first && text.contains("#EXT-X-PLAYLIST-TYPE:VOD"), "{first}: {text}");
    assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
}
