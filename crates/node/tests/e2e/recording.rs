//! Recordings: what was live plays afterwards, survives, and goes when it shall.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{
    Child, Clip, ClipSpec, Follower, MediaPlaylist, PlaylistSegment, Server, Url, packets,
    wait_until,
};

use crate::AIRWAVE;
use crate::access::token;

const TRACKS: [(&str, char); 2] = [("video.cmaf", 'v'), ("audio.cmaf", 'a')];

fn track_url(server: &Server, id: &str, track: &str, query: &str) -> Url {
    server.url(&format!("/{id}/manifest/{track}.m3u8{query}"))
}

/// Everything that a playlist lists, with its bytes.
fn everything(server: &Server, id: &str, track: &str, query: &str) -> Follower {
    let mut follower = Follower::new(track_url(server, id, track, query));
    follower.reload();
    follower
}

fn playlist(server: &Server, id: &str, track: &str, query: &str) -> MediaPlaylist {
    let url = track_url(server, id, track, query);
    let answer = testkit::request("GET", &url, &[], b"");
    assert_eq!(answer.status, 200, "{url}: {}", answer.text());
    MediaPlaylist::parse(&answer.text()).unwrap()
}

fn video(server: &Server, uid: &str) -> Value {
    let answer = server.api("GET", &format!("/stream/{uid}"), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["result"].clone()
}

/// The state of a live input, and why.
fn status(server: &Server, input: &str) -> (String, String) {
    let path = format!("/stream/live_inputs/{input}");
    let status = server.api("GET", &path, None).json()["result"]["status"]["current"].clone();
    for at in ["statusEnteredAt", "statusLastSeen"] {
        assert!(status[at].is_string(), "{status}");
    }
    let word = |name: &str| status[name].as_str().unwrap_or_default().to_owned();
    (word("state"), word("reason"))
}

/// Waits until so many segments are in the index; how many there are.
fn committed_segments(server: &Server, least: usize) -> usize {
    wait_until("segments to be committed", 60, || {
        let count = server.metric("segment_commit_seconds_count") as usize;
        (count >= least).then_some(count)
    })
}

/// Bytes of the objects of all videos.
fn media_files(data: &Path) -> Vec<std::path::PathBuf> {
    let list = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        entries.map(|e| e.unwrap().path()).collect::<Vec<_>>()
    };
    list(&data.join("media/o")).iter().flat_map(|video| list(video)).collect()
}

fn check_hashes(clip: &Clip, follower: &Follower, kind: char) {
    let maps: Vec<&String> = follower.inits.keys().collect();
    assert_eq!(maps.len(), 1, "one initialisation segment");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("got.mp4");
    std::fs::write(&file, follower.file(maps[0])).unwrap();
    let hashes = |file: &Path| packets(file, kind).into_iter().map(|p| p.hash).collect::<Vec<_>>();
    assert!(hashes(&file) == hashes(clip.path()), "{kind}: every packet's bytes, in order");
}

/// What is in both has the same name, date and bytes.
fn check_same_files(one: &Follower, other: &Follower) {
    assert!(one.segments.keys().eq(other.segments.keys()), "the same numbers");
    for (number, (segment, bytes)) in &one.segments {
        let (live, live_bytes) = &other.segments[number];
        assert_eq!((&segment.file, &segment.date), (&live.file, &live.date));
        assert!(bytes == live_bytes, "segment {number}");
    }
}

fn numbers(playlist: &MediaPlaylist) -> Vec<u64> {
    playlist.segments.iter().map(|s| s.number).collect()
}

#[test]
fn the_recording_plays_at_once_survives_a_restart_and_is_deleted_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let input = server.create_input(&json!({
        "meta": { "name": "Hall 1" }, "deleteRecordingAfterDays": 45, "recording": { "allowClips": true },
    }));
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut encoder = clip.publish(&input.rtmp, 1);
    let uid = server.wait_live(&input);
    assert_eq!(video(&server, &uid)["status"]["state"], "live-inprogress");
    assert_eq!(server.api("DELETE", &format!("/stream/{uid}"), None).status, 409, "it is live");
    let live = {
        let mut follower = Follower::new(track_url(&server, &uid, "video.cmaf", ""));
        while !follower.reload().ended {}
        follower
    };
    // From the end on there is no moment without a playlist, and the whole of it is there.
    wait_until("the recording", 10, || {
        let list = playlist(&server, &uid, "video.cmaf", "");
        assert!(list.ended && list.segments.len() == live.newest.segments.len());
        (video(&server, &uid)["readyToStream"] == true).then_some(())
    });
    assert!(encoder.wait(20).success(), "{}", encoder.output());

    let check = |server: &Server| {
        for (track, kind) in TRACKS {
            let recorded = everything(server, &uid, track, "");
            assert!(recorded.newest.ended && recorded.newest.segments.iter().all(|s| !s.gap));
            assert!(recorded.versions[0].contains("#EXT-X-PLAYLIST-TYPE:VOD"));
            check_hashes(&clip, &recorded, kind);
            if kind == 'v' {
                check_same_files(&recorded, &live);
            }
        }
        let multivariant = server.get(&format!("/{uid}/manifest/video.m3u8"));
        assert!(multivariant.text().contains("RESOLUTION=320x180"), "{}", multivariant.text());
        let part = live.segments.values().next().unwrap().0.file.as_ref().unwrap().1.clone();
        let part = part.replace(".m4s", ".0.m4s");
        let url = track_url(server, &uid, "video.cmaf", "").join(&part);
        assert_eq!(server.get(&url.path).status, 200, "parts keep their names");
        let lifecycle = server.lifecycle(&uid);
        assert_eq!(
            (&lifecycle["isInput"], &lifecycle["live"], &lifecycle["videoUID"]),
            (&json!(false), &json!(false), &json!(uid))
        );
        let off_air = server.lifecycle(&input.uid);
        assert_eq!(
            (&off_air["isInput"], &off_air["live"], &off_air["videoUID"], &off_air["name"]),
            (&json!(true), &json!(false), &json!(uid), &json!("Hall 1"))
        );
        // Of the recording, which is what there is to see.
        assert_eq!((&off_air["clips"], &off_air["clipSeconds"]), (&json!(true), &json!(60)));
        assert_eq!(server.get(&format!("/{}/manifest/video.m3u8", input.uid)).status, 204);
        let video = video(server, &uid);
        assert_eq!(
            (&video["status"]["state"], &video["readyToStream"]),
            (&json!("ready"), &json!(true))
        );
        assert_eq!(
            (&video["input"]["width"], &video["input"]["height"]),
            (&json!(320), &json!(180))
        );
        assert_eq!(
            (&video["liveInput"], &video["meta"]["name"]),
            (&json!(input.uid), &json!("Hall 1"))
        );
        let seconds = video["duration"].as_f64().unwrap();
        assert!((11.9..12.2).contains(&seconds), "{seconds}");
        assert!(video["size"].as_u64().unwrap() > 100_000);
        assert!(video["scheduledDeletion"].is_string(), "deleteRecordingAfterDays");
        let of_input = format!("/stream/live_inputs/{}/videos", input.uid);
        for list in ["/stream".to_owned(), format!("/stream?live_input_id={}", input.uid), of_input]
        {
            let rows = server.api("GET", &list, None).json()["result"].clone();
            assert_eq!(rows.as_array().unwrap().len(), 1, "{list}");
            assert_eq!(rows[0]["uid"], json!(uid));
        }
        assert_eq!(server.api("GET", "/stream?status=queued", None).json()["result"], json!([]));
    };
    check(&server);
    drop(server);
    let server = Server::start_in(AIRWAVE, &data, &[]);
    check(&server);

    let path = format!("/stream/{uid}");
    let edited = server.api("POST", &path, Some(&json!({ "meta": { "name": "Finals" } }))).json();
    assert_eq!(edited["result"]["meta"]["name"], "Finals");
    assert_eq!(server.lifecycle(&uid)["name"], "Finals");
    assert_eq!(
        server.api("POST", &path, Some(&json!({ "scheduledDeletion": "soon" }))).status,
        400
    );
    assert!(!media_files(&data).is_empty());
    let everywhere = everywhere(&server, &uid);
    for path in &everywhere {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(server.api("DELETE", &path, None).status, 200);
    for path in &everywhere {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.api("GET", &path, None).status, 404);
    assert_eq!(media_files(&data), Vec::<std::path::PathBuf>::new(), "the disk has its room");
    assert_eq!(server.lifecycle(&input.uid)["videoUID"], Value::Null);
}

/// Every address at which something of a recording is found.
fn everywhere(server: &Server, uid: &str) -> Vec<String> {
    let mut paths: Vec<String> =
        ["lifecycle", "manifest/video.m3u8", "manifest/video.mpd", "clip.mp4?time=1s&duration=1s"]
            .map(|file| format!("/{uid}/{file}"))
            .into();
    for (track, _) in TRACKS {
        let url = track_url(server, uid, track, "");
        let list = playlist(server, uid, track, "");
        let files = list.segments.iter().filter_map(|s| s.file.as_ref());
        paths.extend(files.map(|(_, uri)| url.join(uri).path));
        paths.push(url.join(&list.segments[0].map).path);
        paths.push(url.path);
    }
    paths
}

#[test]
fn after_a_kill_the_encoder_goes_on_with_the_same_video() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start_in(AIRWAVE, &data, &["ingest.reconnect_s=120"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut encoder = clip.publish(&input.rtmp, -1);
    let uid = server.wait_live(&input);
    let mut before = Follower::new(track_url(&server, &uid, "video.cmaf", ""));
    while before.segments.len() < 4 {
        before.reload();
    }
    let seen = before.newest.segments.last().unwrap().number;
    let kept = committed_segments(&server, before.segments.len());
    server.child().kill();
    encoder.kill();
    drop(server);

    let server = Server::start_in(AIRWAVE, &data, &["ingest.reconnect_s=120"]);
    // It is waited for; what is committed plays.
    let waiting = server.lifecycle(&input.uid);
    assert_eq!((&waiting["live"], &waiting["videoUID"]), (&json!(true), &json!(uid)));
    assert_eq!(
        status(&server, &input.uid),
        (
            "reconnecting".into(),
            "the server was started again, and the encoder may come back".into()
        )
    );
    let committed = everything(&server, &uid, "video.cmaf", "?dvrEnabled=true");
    assert!(!committed.newest.ended, "{:?}", committed.versions);
    assert!(committed.segments.len() >= kept, "{kept} were committed: {:?}", committed.versions);
    for (number, (_, bytes)) in &committed.segments {
        assert!(before.segments.get(number).is_none_or(|(_, live)| live == bytes), "{number}");
    }
    let last = *committed.segments.keys().next_back().unwrap();

    let address = server.addresses["rtmp"].as_str().unwrap();
    let rtmp = format!("rtmp://{address}/live/{}", input.key);
    let mut encoder = clip.publish(&rtmp, 1);
    wait_until("the encoder's first new segment", 20, || {
        let list = playlist(&server, &uid, "video.cmaf", "");
        list.segments.iter().any(|s| s.number > last && !s.gap).then_some(())
    });
    assert_eq!(server.lifecycle(&input.uid)["videoUID"], json!(uid), "the same video");
    assert_eq!(status(&server, &input.uid), ("reconnected".into(), String::new()));
    let live = everything(&server, &uid, "video.cmaf", "?dvrEnabled=true");
    check_resumed(&live, &committed, seen);
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    server.wait_ready(&uid);
    for (track, _) in TRACKS {
        let recorded = everything(&server, &uid, track, "");
        assert!(recorded.newest.ended);
        if track == "video.cmaf" {
            check_resumed(&recorded, &committed, seen);
        }
    }
    assert_eq!(server.api("GET", "/stream", None).json()["result"].as_array().unwrap().len(), 1);
}

/// Everything committed is there; behind it one run of gaps and one discontinuity; numbers and times
/// rise.
fn check_resumed(now: &Follower, committed: &Follower, seen: u64) {
    for (number, (_, bytes)) in &committed.segments {
        assert!(&now.segments[number].1 == bytes, "segment {number}");
    }
    let list = &now.newest;
    let first = numbers(list)[0];
    assert_eq!(numbers(list), (first..first + list.segments.len() as u64).collect::<Vec<_>>());
    assert_eq!(first, *committed.segments.keys().next().unwrap());
    let gaps: Vec<u64> = list.segments.iter().filter(|s| s.gap).map(|s| s.number).collect();
    let last = *committed.segments.keys().next_back().unwrap();
    assert!(!gaps.is_empty() && gaps.len() <= 4, "{gaps:?}");
    assert_eq!(gaps, (last + 1..=last + gaps.len() as u64).collect::<Vec<_>>(), "one run");
    assert!(gaps.contains(&seen) || last >= seen, "a number that was shown is not used again");
    let breaks: Vec<u64> =
        list.segments.iter().filter(|s| s.discontinuity).map(|s| s.number).collect();
    assert_eq!(breaks, [last + gaps.len() as u64 + 1], "one discontinuity, behind the gap");
    let mut time = 0;
    for (number, (_, bytes)) in &now.segments {
        let at = bytes.windows(4).position(|w| w == b"tfdt").unwrap();
        let next = u64::from_be_bytes(bytes[at + 8..at + 16].try_into().unwrap());
        assert!(next > time, "segment {number} at {next} after {time}");
        time = next;
    }
}

#[test]
fn an_encoder_that_does_not_come_back_to_a_new_server_leaves_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_in(AIRWAVE, &data, &["ingest.reconnect_s=1"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let encoder = clip.publish(&input.rtmp, -1);
    let uid = server.wait_live(&input);
    let mut follower = Follower::new(track_url(&server, &uid, "video.cmaf", ""));
    while follower.segments.len() < 3 {
        follower.reload();
    }
    let kept = committed_segments(&server, 3);
    drop((server, encoder));
    let server = Server::start_in(AIRWAVE, &data, &["ingest.reconnect_s=1"]);
    server.wait_ready(&uid);
    let recorded = everything(&server, &uid, "video.cmaf", "");
    assert!(recorded.newest.ended && recorded.segments.len() >= kept);
    assert_eq!(server.lifecycle(&input.uid)["videoUID"], json!(uid));
    assert_eq!(video(&server, &uid)["status"]["state"], "ready");
    // It was not the encoder that ended it.
    let reason = "the server broke off, and the encoder did not come back in time";
    assert_eq!(status(&server, &input.uid), ("failed_to_reconnect".into(), reason.into()));
}

#[test]
fn with_recording_off_nothing_is_kept() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.create_input(&json!({ "recording": { "mode": "off" } }));
    let clip = Clip::make(&ClipSpec::plain("short", 4));
    let mut encoder = clip.publish(&input.rtmp, 1);
    let uid = server.wait_live(&input);
    let mut follower = Follower::new(track_url(&server, &uid, "video.cmaf", ""));
    while !follower.reload().ended {}
    assert!(encoder.wait(20).success());
    assert!(media_files(server.data()).is_empty());
    wait_until("the video to be forgotten", 10, || {
        (server.api("GET", &format!("/stream/{uid}"), None).status == 404).then_some(())
    });
    assert_eq!(server.lifecycle(&input.uid)["videoUID"], Value::Null);
    assert!(playlist(&server, &uid, "video.cmaf", "").ended, "its viewers see its end");
    // That is as locked as its input, though nobody knows the video any more.
    let list = "/manifest/video.cmaf.m3u8";
    let text = server.get(&format!("/{uid}{list}")).text();
    let file = text.lines().find_map(|line| line.strip_prefix("../media/")).unwrap();
    let path = format!("/stream/live_inputs/{}", input.uid);
    let lock = json!({ "recording": { "mode": "off", "requireSignedURLs": true } });
    let link = token(&server, &input.uid, &json!({}));
    let statuses = || {
        [&*uid, &*input.uid, "x", &*link].map(|segment| {
            let list = server.get(&format!("/{segment}{list}")).status;
            (list, server.get(&format!("/{segment}/media/{file}")).status)
        })
    };
    assert_eq!(statuses(), [(200, 200), (200, 200), (404, 200), (200, 200)]);
    assert_eq!(server.api("PUT", &path, Some(&lock)).status, 200);
    assert_eq!(statuses(), [(401, 401), (401, 401), (404, 401), (200, 200)]);
    assert_eq!(server.api("DELETE", &path, None).status, 200);
    assert_eq!(statuses()[..3], [(401, 401), (404, 401), (404, 401)]);
}

#[test]
fn dvr_reaches_back_to_the_first_segment_also_beyond_memory() {
    // One MiB of memory holds a few seconds of it.
    let settings = ["hls.segment_ms=1000", "limits.cache_mb=1"];
    let server = Server::start(AIRWAVE, &settings);
    let input = server.input();
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 10) });
    let mut encoder = clip.publish_at(2.0, &input.rtmp, -1);
    let uid = server.wait_live(&input);
    let mut live = Follower::new(track_url(&server, &input.uid, "video.cmaf", ""));
    while live.segments.len() < 14 {
        live.reload();
    }
    assert!(live.newest.segments.len() <= 7, "the live window has six");
    let dvr = everything(&server, &input.uid, "video.cmaf", "?dvrEnabled=true");
    assert!(dvr.newest.segments.len() >= 14 && !dvr.newest.ended);
    for (number, (_, bytes)) in &live.segments {
        assert!(&dvr.segments[number].1 == bytes, "segment {number}");
    }
    assert_eq!(server.lifecycle(&input.uid)["videoUID"], json!(uid));
    // What grew by more than six segments between two looks has left nothing out.
    wait_until("a delta update", 60, || check_delta(&server, &input.uid));

    // Over, and deleted while those who were watching are still shown the end of it.
    encoder.terminate();
    wait_until("the recording", 20, || {
        (video(&server, &uid)["readyToStream"] == true).then_some(())
    });
    let _ = encoder.wait(20);
    let of_video = everywhere(&server, &uid);
    let of_input = of_input(&input.uid);
    for path in of_video.iter().chain(&of_input) {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(server.api("DELETE", &format!("/stream/{uid}"), None).status, 200);
    for (paths, gone) in [(&of_video, 404), (&of_input, 204)] {
        for path in paths {
            assert_eq!(server.get(path).status, gone, "{path}");
        }
    }
    assert_eq!(server.lifecycle(&input.uid)["videoUID"], Value::Null);
}

/// Where an input shows what it had on the air a moment ago.
fn of_input(input: &str) -> Vec<String> {
    let query = ["", "?dvrEnabled=true", "?protocol=hls"];
    let files = ["video.cmaf.m3u8", "audio.cmaf.m3u8", "video.mpd"];
    let pairs = files.iter().flat_map(|file| query.map(|query| (file, query)));
    pairs.map(|(file, query)| format!("/{input}/manifest/{file}{query}")).collect()
}

/// What a delta update leaves out is what its reader has; put together it is the whole list (RFC 8216bis §6.2.5.1).
fn check_delta(server: &Server, id: &str) -> Option<()> {
    let known = playlist(server, id, "video.cmaf", "?dvrEnabled=true");
    let query = "?dvrEnabled=true&_HLS_skip=YES";
    let text =
        testkit::request("GET", &track_url(server, id, "video.cmaf", query), &[], b"").text();
    assert_eq!(text.matches("#EXT-X-SKIP:SKIPPED-SEGMENTS=").count(), 1, "{text}");
    let delta = MediaPlaylist::parse(&text).unwrap();
    let whole = playlist(server, id, "video.cmaf", "?dvrEnabled=true");
    assert_eq!((delta.sequence, whole.sequence), (known.sequence, known.sequence));
    let skipped = usize::try_from(delta.skipped).unwrap();
    assert!(skipped > 0, "{text}");
    if skipped > known.segments.len() {
        return None;
    }
    // What is being made has grown by the next answer.
    let complete = |list: &[PlaylistSegment]| {
        let lines = list.iter().filter(|s| s.file.is_some());
        lines.map(|s| (s.number, s.file.clone(), s.date.clone(), s.gap)).collect::<Vec<_>>()
    };
    let together = [complete(&known.segments[..skipped]), complete(&delta.segments)].concat();
    let whole = complete(&whole.segments);
    assert!(together.len() >= known.segments.len() - 1 && together == whole[..together.len()]);
    Some(())
}

/// Flips `limits.recorder_patience_s`.
#[test]
fn a_disk_that_fails_makes_gaps_and_leaves_the_live_picture_alone() {
    let settings = ["limits.recorder_patience_s=1"];
    let mut server = Server::start(AIRWAVE, &settings);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut encoder = clip.publish(&input.rtmp, -1);
    let uid = server.wait_live(&input);
    let mut live = Follower::new(track_url(&server, &uid, "video.cmaf", ""));
    let tmp = server.data().join("media/tmp");
    while live.segments.len() < 2 {
        live.reload();
    }
    std::fs::remove_dir_all(&tmp).unwrap();
    while server.metric("recording_segments_lost_total") == 0 {
        live.reload();
    }
    // A second has time for four or five attempts, a minute for more than a dozen.
    let about = |line: &str| line.split_once("segment=").map(|(_, number)| number.to_owned());
    // It is counted before it is written to the log.
    let (log, lost) = wait_until("the lost segment in the log", 10, || {
        let log = server.child().output();
        let lost = log.lines().find(|line| line.contains("fails for too long")).and_then(about)?;
        Some((log, lost))
    });
    let number = lost.split_whitespace().next().unwrap().to_owned();
    let attempt = |line: &&str| {
        let of_it = about(line).is_some_and(|l| l.split_whitespace().next() == Some(&number));
        line.contains("not stored") && of_it
    };
    let attempts = log.lines().filter(attempt).count();
    assert!((1..=6).contains(&attempts), "{attempts} attempts for segment {number}: {log}");
    let ready = || server.admin("/readyz").text();
    assert!(ready().contains("recording has failed for "), "{}", ready());
    std::fs::create_dir(&tmp).unwrap();
    // Until some are recorded again.
    let committed = || server.metric("segment_commit_seconds_count");
    let at = committed();
    while committed() < at + 2 {
        live.reload();
    }
    assert_eq!(ready(), "ready\n");
    encoder.terminate();
    while !live.reload().ended {}
    encoder.wait(20);
    // The live picture is whole.
    let seen = live.numbers();
    server.wait_ready(&uid);
    wait_until("words that it is not whole", 20, || {
        server.child().output().contains("recording=\"with gaps\"").then_some(())
    });
    let recorded = everything(&server, &uid, "video.cmaf", "");
    // How many it cost depends on when each of them came to the disk; those of the end have come to it again.
    let gap = |s: &PlaylistSegment| s.gap;
    let segments = &recorded.newest.segments;
    let behind = segments.iter().skip_while(|s| !gap(s)).filter(|s| !gap(s)).count();
    assert!(segments.iter().any(gap) && behind >= 2, "{}", recorded.versions[0]);
    assert_eq!(numbers(&recorded.newest), seen);
    for (number, (_, bytes)) in &recorded.segments {
        assert!(live.segments.get(number).is_none_or(|live| &live.1 == bytes), "segment {number}");
    }
}

#[test]
fn deleting_an_input_on_the_air_records_it_to_its_end() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let mut encoder = Clip::make(&ClipSpec::plain("plain", 12)).publish(&input.rtmp, -1);
    let uid = server.wait_live(&input);
    let mut live = Follower::new(track_url(&server, &uid, "video.cmaf", ""));
    // In the middle of a segment that has begun.
    let open = |list: &MediaPlaylist| {
        let newest = list.segments.last().unwrap();
        (list.segments.len() >= 3 && newest.file.is_none()).then(|| newest.clone())
    };
    let shown = loop {
        live.reload();
        if let Some(newest) = open(&live.newest).filter(|newest| newest.parts.len() >= 2) {
            break newest;
        }
    };
    let path = format!("/stream/live_inputs/{}", input.uid);
    assert_eq!(server.api("DELETE", &path, None).status, 200);
    assert_eq!(server.api("GET", &path, None).status, 404);
    assert!(!encoder.wait(20).success(), "the encoder is shown the door");
    // At once: the answer came when everything was committed.
    let recorded = everything(&server, &uid, "video.cmaf", "");
    assert!(recorded.newest.ended);
    let last = recorded.newest.segments.last().unwrap();
    assert!(last.number >= shown.number && !last.gap, "{last:?} of {shown:?}");
    let seconds: f64 = shown.parts.iter().map(|part| part.duration).sum();
    let kept = recorded.segments[&shown.number].0.file.as_ref().unwrap().0;
    assert!(kept + 1e-6 >= seconds, "{kept} s of {seconds} s that were shown");
    assert_eq!(video(&server, &uid)["status"]["state"], "ready");
    let mut again = Clip::make(&ClipSpec::plain("plain", 12)).publish(&input.rtmp, 1);
    assert!(!again.wait(20).success(), "its key is gone");
}

#[test]
fn a_data_directory_has_one_server() {
    let server = Server::start(AIRWAVE, &[]);
    let data = server.data().to_str().unwrap().to_owned();
    let mut command = Command::new(AIRWAVE);
    command.args(["serve", "--data", &data, "--set", "http.listen=127.0.0.1:0"]);
    command.args(["--set", "rtmp.listen=127.0.0.1:0"]);
    let mut second = Child::start(&mut command);
    assert_eq!(second.wait(20).code(), Some(1), "{}", second.output());
    assert!(second.output().contains("another Airwave uses"), "{}", second.output());
    assert_eq!(server.get("/time").status, 200);
}

/// Flips `retention.max_total_gb`.
/// Flips `retention.max_input_gb`.
#[test]
fn retention_by_total_size_keeps_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("three", 3));
    let mut uids = Vec::new();
    for _ in 0..2 {
        let mut encoder = clip.publish(&input.rtmp, 1);
        let uid = server.wait_video(&input, &uids);
        assert!(encoder.wait(20).success());
        // Off the air is at once; its end is in the database a moment later.
        wait_until("the recording", 20, || {
            (video(&server, &uid)["status"]["state"] == "ready").then_some(())
        });
        uids.push(uid);
    }
    assert_ne!(uids[0], uids[1], "the next broadcast is another video");
    let size = video(&server, &uids[1])["size"].as_f64().unwrap();
    drop(server);
    let bound = format!("retention.max_total_gb={:.9}", size * 1.5 / 1e9);
    let server = Server::start_in(AIRWAVE, &data, &[&bound]);
    let gone = |server: &Server, uid: &str| {
        wait_until("retention", 20, || {
            (server.get(&format!("/{uid}/lifecycle")).status == 404).then_some(())
        });
    };
    gone(&server, &uids[0]);
    assert_eq!(video(&server, &uids[1])["status"]["state"], "ready", "the newest stays");
    // The same of one input.
    drop(server);
    let bound = format!("retention.max_input_gb={:.9}", size * 0.5 / 1e9);
    let server = Server::start_in(AIRWAVE, &data, &[&bound]);
    gone(&server, &uids[1]);
}
