//! `airwave watch --from`: the past by FETCH, and on into what is live; recordings from their beginning.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use client::address::MoqAddress;
use io_moq::client::{Client, Item, Remote, Trust};
use moqt::data::Missing;
use moqt::{GroupOrder, Location, Range};
use serde_json::Value;
use testkit::{Clip, ClipSpec, MediaPlaylist, Packet, Server, packets, packets_of, wait_until};

use crate::AIRWAVE;
use crate::level_faults::scripted;
use crate::levels::{LADDER, nobody_watches, with_levels};
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

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        // Steele, Lea, Flood: SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What is recorded of a track: the objects of each group.
type Recorded = BTreeMap<u64, Vec<Bytes>>;

/// Asks for a range, and holds what comes to what there is: those objects, in that order, up to
/// that end; and where there are none, no word that says otherwise.
async fn check_range(
    remote: &Remote,
    recorded: &Recorded,
    (range, order, fills): (Range, GroupOrder, bool),
) {
    let context = format!("{range:?} {order:?}");
    let (first, (last, objects)) =
        (*recorded.keys().next().unwrap(), recorded.last_key_value().unwrap());
    let largest = Location::new(*last, objects.len() as u64 - 1);
    let fetched = match fills {
        true => remote.fill("video.cmaf", range, order).await,
        false => remote.fetch("video.cmaf", range, order).await,
    };
    let mut fetched = match fetched {
        Ok(fetched) => fetched,
        Err(denial) => {
            assert!(denial.is_ahead() && range.start > largest, "{context}: {denial}");
            return;
        }
    };
    assert!(range.start <= largest, "{context}: it begins behind the last one");
    let end = range.end.min(largest);
    if !fills {
        assert_eq!(fetched.ok.end, end, "{context}");
        assert_eq!(fetched.ok.end_of_track, end == largest, "{context}");
    }
    let place = |at: Location| match order {
        GroupOrder::Ascending => (at.group, at.object),
        GroupOrder::Descending => (u64::MAX - at.group, at.object),
    };
    let all = recorded.iter().flat_map(|(group, objects)| {
        (0..).zip(objects).map(|(object, bytes)| (Location::new(*group, object), bytes))
    });
    let mut wanted: Vec<_> = all.filter(|(at, _)| (range.start..=end).contains(at)).collect();
    wanted.sort_by_key(|(at, _)| place(*at));
    let mut wanted = wanted.into_iter().peekable();
    let mut spoken = None;
    while let Some(item) = fetched.next().await.unwrap_or_else(|e| panic!("{context}: {e}")) {
        let at = match item {
            Item::Object { at, payload, .. } => {
                assert!(wanted.next() == Some((at, &payload)), "{context}: {at:?}");
                at
            }
            Item::Gap { missing, end } => {
                let next = wanted.peek().map(|(at, _)| *at);
                assert!(next.is_none_or(|next| place(end) < place(next)), "{context}: {next:?}");
                let known = missing == Missing::NonExistent || end.group < first;
                assert!(known, "{context}: {missing:?} up to {end:?}");
                end
            }
        };
        assert!(spoken.is_none_or(|spoken| spoken < place(at)), "{context}: {at:?}");
        spoken = Some(place(at));
    }
    assert_eq!(wanted.next().map(|(at, _)| at), None, "{context}: does not come");
}

/// Ranges of any kind in any order, of a recording that memory has no place for, against the files
/// that players load.
#[test]
fn d23_d24_random_ranges_of_a_recording_are_what_its_segments_say() {
    const ROUNDS: usize = 25;
    let server = Server::start(AIRWAVE, &["limits.cache_mb=2"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec { size: (640, 360), ..ClipSpec::plain("past", 24) });
    let mut encoder = clip.publish_at(3.0, &input.rtmp, 1);
    let video = server.wait_live(&input);
    encoder.wait(60);
    server.wait_ready(&video);
    let list = server.url(&format!("/{video}/manifest/video.cmaf.m3u8"));
    let files = MediaPlaylist::parse(&server.get(&list.path).text()).unwrap();
    let files = files.segments.iter().map(|segment| {
        let (_, uri) = segment.file.clone().unwrap();
        (segment.number, server.get(&list.join(&uri).path).body)
    });
    let files: BTreeMap<u64, Vec<u8>> = files.collect();
    assert!(files.len() >= 4, "{} segments", files.len());
    let (first, last) = (*files.keys().next().unwrap(), *files.keys().last().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut random = Random(7);
    for (draft, fills) in [(16, false), (18, false), (22, true)] {
        let moq = MoqAddress::parse(&address(&server, "", &video)).unwrap().speaking(Some(draft));
        let mut recorded = Recorded::new();
        let start = Location::new(first, 0);
        let whole = Range { start, end: Location::new(last, Range::WHOLE_GROUP) };
        runtime.block_on(asking(&moq, async |remote| {
            let order = GroupOrder::Ascending;
            let fetched = match fills {
                true => remote.fill("video.cmaf", whole, order).await,
                false => remote.fetch("video.cmaf", whole, order).await,
            };
            let mut fetched = fetched.unwrap();
            while let Some(item) = fetched.next().await.unwrap() {
                let Item::Object { at, payload, .. } = item else { continue };
                let objects = recorded.entry(at.group).or_default();
                assert_eq!(objects.len() as u64, at.object, "{draft}: {at:?}");
                objects.push(payload);
            }
        }));
        let said = recorded.iter().map(|(group, objects)| (*group, objects.concat()));
        assert!(said.eq(files.clone()), "{draft}: byte for byte");
        let mut below = |n: usize| random.below(n as u64);
        for _ in 0..ROUNDS {
            let mut place = |from: u64| {
                let group = from + below((last + 3 - from) as usize);
                let objects = recorded.get(&group).map_or(2, Vec::len);
                Location::new(group, below(objects + 1))
            };
            let start = place(first.saturating_sub(2));
            let mut end = place(start.group);
            if end < start || below(3) == 0 {
                end.object = Range::WHOLE_GROUP;
            }
            let order = [GroupOrder::Ascending, GroupOrder::Descending][below(2) as usize];
            let asked = (Range { start, end }, order, fills);
            let check = async |remote: &Remote| check_range(remote, &recorded, asked).await;
            // A track that is filled is subscribed to, which it is once in a session.
            runtime.block_on(asking(&moq, check));
        }
    }
}

/// Does this in a session of its own.
async fn asking(at: &MoqAddress, work: impl AsyncFnOnce(&Remote)) {
    let origin = spine::Origin::new(spine::Limits::default());
    let mut client = Client::connect(&at.server, Trust::Anybody, origin).await.unwrap();
    let remote = client.handle().remote(at.namespace.clone().unwrap()).unwrap();
    tokio::select! {
        () = work(&remote) => {}
        over = client.run() => panic!("{}", over.reason()),
    }
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

/// The tracks of the newest catalog of a recording.
async fn listed(at: &MoqAddress) -> Vec<String> {
    let mut tracks = Vec::new();
    let work = async |remote: &Remote| {
        let all = Range { start: Location::new(0, 0), end: Location::new(9, Range::WHOLE_GROUP) };
        let mut fetched = remote.fetch("catalog", all, GroupOrder::Ascending).await.unwrap();
        while let Some(item) = fetched.next().await.unwrap() {
            let Item::Object { payload, .. } = item else { continue };
            let catalog: Value = serde_json::from_slice(&payload).unwrap();
            let names = catalog["tracks"].as_array().unwrap().iter();
            tracks = names.map(|track| track["name"].as_str().unwrap().to_owned()).collect();
        }
    };
    asking(at, work).await;
    tracks
}

/// Who comes while encoders say nothing has the original. Who comes later has the levels.
#[test]
fn a_recording_has_its_levels_once_encoders_say_what_they_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let settings = [LADDER, "hls.segment_ms=1000", "encode.cache_gb=0", "encode.pictures=false"];
    let server = Server::start_in(AIRWAVE, &data, &settings);
    let input = server.input();
    let spec = ClipSpec { group: 30, b_frames: 0, ..ClipSpec::plain("moments", 18) };
    let mut publisher = Clip::make(&spec).publish_at(6.0, &input.rtmp, 1);
    let video = server.wait_live(&input);
    assert!(publisher.wait(60).success(), "{}", publisher.output());
    server.wait_ready(&video);
    drop(server);
    // A process that encodes waits until there is a file.
    let (gate, open) = (folder.path().join("gate"), folder.path().join("open"));
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let waits = format!("[ -e {} ] || read _ < {}", open.display(), gate.display());
    let script = format!("case $1 in work) {waits};; esac; exec REAL \"$@\"");
    let program = format!("encode.program={:?}", scripted(folder.path(), &script));
    let server = Server::start_in(AIRWAVE, &data, &[&settings[..], &[&*program]].concat());
    with_levels(&server, &video);
    let moq = MoqAddress::parse(&address(&server, "", &video)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let level = "video.96p.cmaf".to_owned();
    let tracks = runtime.block_on(listed(&moq));
    assert!(tracks.contains(&"video.cmaf".to_owned()) && !tracks.contains(&level), "{tracks:?}");
    std::fs::write(&open, "").unwrap();
    // Those that wait go on when somebody has it open to write.
    let opened = std::thread::spawn(move || std::fs::OpenOptions::new().write(true).open(&gate));
    wait_until("the level to be listed", 60, || {
        runtime.block_on(listed(&moq)).contains(&level).then_some(())
    });
    drop(opened);
}
