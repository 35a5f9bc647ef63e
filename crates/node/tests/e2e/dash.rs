//! DASH, as a player that is not a browser sees it. Browsers: `browser.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use testkit::{
    Clip, ClipSpec, Packet, Played, Server, Url, packets, play, request, skip, wait_until,
};

use crate::AIRWAVE;

/// The values of an attribute, in the order of the text.
pub(crate) fn values<'a>(mpd: &'a str, attribute: &str) -> Vec<&'a str> {
    let pattern = format!(" {attribute}=\"");
    mpd.split(&pattern).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The number of the newest segment that an MPD lists of its first representation.
fn newest(mpd: &str) -> u64 {
    let timeline = mpd.split("<SegmentTimeline>").nth(1).unwrap();
    let timeline = timeline.split("</SegmentTimeline>").next().unwrap();
    let repeats: u64 = values(timeline, "r").iter().map(|r| r.parse::<u64>().unwrap()).sum();
    let listed = timeline.matches("<S ").count() as u64 + repeats;
    values(mpd, "startNumber")[0].parse::<u64>().unwrap() + listed - 1
}

#[test]
fn the_segment_that_is_being_made_comes_part_by_part() {
    let server = Server::start(AIRWAVE, &["hls.part_ms=200"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    let url = server.url(&format!("/{}/manifest/video.mpd", input.uid));
    let mpd = server.get(&url.path);
    assert_eq!((mpd.status, &*mpd.headers["content-type"]), (200, "application/dash+xml"));
    let mpd = mpd.text();
    assert_eq!(values(&mpd, "type")[0], "dynamic", "{mpd}");
    assert_eq!(values(&mpd, "codecs").len(), 2, "{mpd}");
    // Without low latency only what is whole is listed; the one after it is being made, if it was not made meanwhile. It is
    // not whole yet: nobody knows its length, and still it comes to its end.
    let (media, growing) = wait_until("a segment that grows", 60, || {
        let plain = server.get(&format!("{}?protocol=hls", url.path)).text();
        assert!(!plain.contains("availabilityTimeOffset"), "{plain}");
        let number = newest(&plain) + 1;
        let media = values(&mpd, "media")[0].replace("$Number$", &number.to_string());
        let media = url.join(&media);
        let growing = server.get(&media.path);
        assert_eq!(growing.status, 200);
        let grows = !growing.headers.contains_key("content-length");
        grows.then_some((media, growing))
    });
    let whole = server.get(&media.path);
    assert!(whole.headers.contains_key("content-length"), "{:?}", whole.headers);
    assert!(growing.body == whole.body, "the same bytes, whenever it was asked for");
    let fragments = whole.body.windows(4).filter(|w| w == b"moof").count();
    assert!(fragments >= 9, "2 s in parts of 0.2 s: {fragments}");
    assert_eq!(server.get(&format!("/{}/manifest/other.mpd", input.uid)).status, 404);
}

#[test]
fn a_replay_by_its_mpd_has_every_packet() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_in(AIRWAVE, &data, &["ingest.reconnect_s=0"]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut encoder = clip.publish_at(4.0, &input.rtmp, 1);
    let video = server.wait_video(&input, &[]);
    assert!(encoder.wait(30).success(), "{}", encoder.output());
    let url = server.url(&format!("/{video}/manifest/video.mpd"));
    let mpd = wait_until("the replay's MPD", 20, || {
        let mpd = server.get(&url.path).text();
        mpd.contains("type=\"static\"").then_some(mpd)
    });
    assert_eq!(mpd.matches("<Period").count(), 1, "{mpd}");
    // By the input's address those who were watching see its end, for a minute.
    let by_input = format!("/{}/manifest/video.mpd", input.uid);
    let end = server.get(&by_input);
    assert_eq!((end.status, end.text().contains("type=\"static\"")), (200, true));
    // ffmpeg reads it as it reads a file.
    let url = url.to_string();
    for kind in ['v', 'a'] {
        let hashes = |path| packets(path, kind).into_iter().map(|p| p.hash).collect::<Vec<_>>();
        let (got, sent) = (hashes(Path::new(&url)), hashes(clip.path()));
        assert_eq!(got.len(), sent.len(), "{kind}: every packet");
        assert!(got == sent, "{kind}: every packet's bytes, in order");
    }
    // Who comes when that is past is told that it is off the air.
    drop(server);
    let server = Server::start_in(AIRWAVE, &data, &["ingest.reconnect_s=0"]);
    assert_eq!(server.get(&by_input).status, 204);
    let again = server.get(&format!("/{video}/manifest/video.mpd")).text();
    assert_eq!(values(&again, "media"), values(&mpd, "media"), "the same names: {again}");
}

/// The packets of one kind that a Period has, fetched as its MPD says: the media times of its segments are those of the files, and
/// follow each other from the Period's beginning on. None if it has none of this kind.
fn fetched(folder: &Path, at: &Url, period: &str, kind: char) -> Vec<Packet> {
    let content = if kind == 'v' { " contentType=\"video\"" } else { " contentType=\"audio\"" };
    let Some(set) = period.split("<AdaptationSet").find(|set| set.contains(content)) else {
        return Vec::new();
    };
    let get = |uri: &str| {
        let answer = request("GET", &at.join(uri), &[], b"");
        assert_eq!(answer.status, 200, "{uri}: {}", answer.text());
        answer.body
    };
    let mut bytes = get(values(set, "initialization")[0]);
    let number = |name: &str| values(set, name)[0].parse::<u64>().unwrap();
    let (mut segment, mut time) = (number("startNumber"), None);
    let (origin, second) = (number("presentationTimeOffset"), number("timescale"));
    for entry in set.split("<S ").skip(1) {
        let entry = format!(" {}", entry.split("/>").next().unwrap());
        let value = |name: &str| values(&entry, name).first().map(|v| v.parse::<u64>().unwrap());
        let begins = value("t").or(time).expect("the first one says when");
        let follows = time.map_or(begins.abs_diff(origin) < second / 10, |time| time == begins);
        assert!(follows, "no hole within a Period: {set}");
        let mut at = begins;
        for _ in 0..=value("r").unwrap_or(0) {
            let media = get(&values(set, "media")[0].replace("$Number$", &segment.to_string()));
            let tfdt = media.windows(4).position(|w| w == b"tfdt").unwrap();
            let decoded = u64::from_be_bytes(media[tfdt + 8..tfdt + 16].try_into().unwrap());
            assert_eq!(decoded, at, "segment {segment}");
            bytes.extend(media);
            (segment, at) = (segment + 1, at + value("d").unwrap());
        }
        time = Some(at);
    }
    let file = folder.join(format!("{kind}.mp4"));
    std::fs::write(&file, bytes).unwrap();
    packets(&file, kind)
}

/// The addresses of all segments and initialisation segments that an MPD lists, and the names of its Periods.
fn listed(mpd: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut addresses, mut periods) = (BTreeSet::new(), BTreeSet::new());
    for period in mpd.split("<Period").skip(1) {
        periods.insert(values(period, "id")[0].to_owned());
        for template in period.split("<SegmentTemplate").skip(1) {
            addresses.insert(values(template, "initialization")[0].to_owned());
            let from: u64 = values(template, "startNumber")[0].parse().unwrap();
            for number in from..=newest(template) {
                let media = values(template, "media")[0];
                addresses.insert(media.replace("$Number$", &number.to_string()));
            }
        }
    }
    (addresses, periods)
}

/// An encoder that is lost and comes back with pictures of another size: in the MPD that is another Period.
#[test]
fn both_periods_of_an_encoder_that_comes_back_are_whole_and_play_in_chromium() {
    let server = Server::start(AIRWAVE, &["ingest.reconnect_s=120"]);
    let input = server.input();
    let (large, small) = (crate::browser::clip(), Clip::make(&ClipSpec::plain("plain", 12)));
    let mut encoder = large.publish_at(4.0, &input.rtmp, 1);
    let video = server.wait_live(&input);
    let list = format!("/{video}/manifest/video.cmaf.m3u8");
    // On a busy machine the browser has played some of it before anybody counts.
    wait_until("ten seconds", 60, || {
        (server.get(&list).text().matches("#EXTINF").count() >= 5).then_some(())
    });
    encoder.kill();
    let mut encoder = small.publish_at(2.0, &input.rtmp, 1);
    let url = server.url(&format!("/{video}/manifest/video.mpd"));
    let live = wait_until("both sizes while it is on the air", 60, || {
        let mpd = server.get(&format!("{}?dvrEnabled=true", url.path)).text();
        let widths: BTreeSet<&str> = values(&mpd, "width").into_iter().collect();
        (widths.len() == 2).then_some(mpd)
    });
    assert_eq!(values(&live, "type"), ["dynamic"], "{live}");
    assert!(encoder.wait(60).success(), "{}", encoder.output());
    server.wait_ready(&video);

    let mpd = server.get(&url.path).text();
    assert_eq!(values(&mpd, "type"), ["static"], "{mpd}");
    let (before, after) = (listed(&live), listed(&mpd));
    assert!(before.0.is_subset(&after.0), "the same addresses: {live}{mpd}");
    assert!(before.1.is_subset(&after.1), "the same Periods: {live}{mpd}");
    let periods: Vec<&str> = mpd.split("<Period").skip(1).collect();
    // Where the first one was lost, one track may have had a little of a segment that the other did not come to.
    let (last, first) = periods.split_last().unwrap();
    assert!(!first.is_empty(), "{mpd}");
    for (period, width) in first.iter().map(|p| (p, "640")).chain([(last, "320")]) {
        assert!(values(period, "width").iter().all(|w| *w == width), "{width}: {mpd}");
    }
    let seconds = |period: &str, name: &str| {
        let text = values(period, name)[0];
        text.trim_start_matches("PT").trim_end_matches('S').parse::<f64>().unwrap()
    };
    for pair in periods.windows(2) {
        let joint = seconds(pair[0], "start") + seconds(pair[0], "duration");
        assert!((seconds(pair[1], "start") - joint).abs() < 0.002, "one after the other: {mpd}");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut pictures = 0;
    for kind in ['v', 'a'] {
        let hashes = |list: Vec<Packet>| list.into_iter().map(|p| p.hash).collect::<Vec<_>>();
        let of = |period: &&str| fetched(folder.path(), &url, period, kind);
        let before = hashes(first.iter().flat_map(of).collect());
        let sent = hashes(packets(large.path(), kind));
        assert!(before.len() > 60 && sent.starts_with(&before), "{kind}: all until the loss");
        let (after, sent) = (hashes(of(last)), hashes(packets(small.path(), kind)));
        assert!(after == sent, "{kind}: all from then on: {} of {}", after.len(), sent.len());
        pictures = if kind == 'v' { before.len() } else { pictures };
    }

    if skip("browser") {
        return;
    }
    // So many frames that some are of either size.
    let frames = (pictures + 30).to_string();
    let more = ["--counter", "--no-tone", "--settle", "0", "--frames", &frames];
    let played = play(&url.to_string(), "dashjs", 0, &more);
    let shown = played.0["framesShown"]["list"].as_array().unwrap();
    let widths: Vec<u64> = shown.iter().map(|frame| frame["width"].as_u64().unwrap()).collect();
    let joint = widths.iter().position(|width| *width == 320).expect("it goes over the joint");
    assert!(joint > 0 && widths[..joint].iter().all(|width| *width == 640), "{widths:?}");
    assert!(widths[joint..].iter().all(|width| *width == 320), "{widths:?}");
    assert_eq!(played.0["jumpsBack"], 0, "{}", played.0);
    assert_eq!(played.0["errors"], serde_json::json!([]), "{}", played.0);
}

/// What a crash left out is a hole between two Periods, while it is on the air and in the recording. The encoder begins with its
/// first picture again behind it.
#[test]
fn the_hole_of_a_crash_is_played_over_in_chromium() {
    if skip("browser") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let settings = ["ingest.reconnect_s=120"];
    let mut server = Server::start_in(AIRWAVE, &data, &settings);
    let input = server.input();
    let clip = crate::browser::clip();
    let mut encoder = clip.publish(&input.rtmp, 1);
    let video = server.wait_live(&input);
    wait_until("twelve seconds in the recording", 60, || {
        (server.metric("segment_commit_seconds_count") >= 6).then_some(())
    });
    server.child().kill();
    encoder.kill();
    drop(server);

    let server = Server::start_in(AIRWAVE, &data, &settings);
    // In low latency dash.js goes to the live edge by itself.
    let dvr = server.url(&format!("/{video}/manifest/video.mpd?dvrEnabled=true&protocol=hls"));
    // While its encoder is away it plays, and that makes the hole some seconds long.
    let from = pictures(&server.get(&dvr.path).text())[0].0.to_string();
    let more = ["--counter", "--no-tone", "--settle", "0", "--frames", "90", "--from", &from];
    let Played(played) = play(&dvr.to_string(), "shaka", 0, &more);
    assert_eq!(played["errors"], serde_json::json!([]));
    let address = server.addresses["rtmp"].as_str().unwrap();
    let mut encoder = clip.publish(&format!("rtmp://{address}/live/{}", input.key), 1);
    let mpd = wait_until("six seconds behind the hole", 60, || {
        let mpd = server.get(&dvr.path).text();
        let behind = mpd.contains("<Period") && pictures(&mpd).last().unwrap().1 > 6.0;
        (behind && pictures(&mpd).len() >= 2).then_some(mpd)
    });
    assert_eq!(values(&mpd, "type"), ["dynamic"], "{mpd}");
    check_hole(&dvr, &mpd);
    encoder.terminate();
    encoder.wait(60);
    server.wait_ready(&video);
    let replay = dvr.join("video.mpd");
    let mpd = server.get(&replay.path).text();
    assert_eq!(values(&mpd, "type"), ["static"], "{mpd}");
    check_hole(&replay, &mpd);
}

/// Where the Periods of an MPD begin and how long their pictures are, in seconds.
fn pictures(mpd: &str) -> Vec<(f64, f64)> {
    let span = |period: &str| {
        let start = values(period, "start")[0].trim_start_matches("PT").trim_end_matches('S');
        let pictures = period.split("</AdaptationSet>").next().unwrap();
        let ticks = pictures.split("<S ").skip(1).map(|entry| {
            let entry = format!(" {}", entry.split("/>").next().unwrap());
            let value = |name| values(&entry, name).first().map_or(0, |v| v.parse().unwrap());
            value("d") * (value("r") + 1)
        });
        let timescale: f64 = values(pictures, "timescale")[0].parse().unwrap();
        (start.parse().unwrap(), ticks.sum::<u64>() as f64 / timescale)
    };
    mpd.split("<Period").skip(1).map(span).collect()
}

/// Players that begin eight seconds before it show pictures up to it and from it on. Both go on as soon as half a second is left
/// before it: what they leave out there is theirs.
fn check_hole(at: &Url, mpd: &str) {
    const RATE: f64 = 30.0;
    let periods = pictures(mpd);
    let hole = periods.windows(2).position(|p| p[1].0 - p[0].0 - p[0].1 > 1.0);
    let hole = hole.unwrap_or_else(|| panic!("a hole: {mpd}"));
    let (start, length) = periods[hole];
    let count = (periods[..=hole].iter().map(|(_, length)| length).sum::<f64>() * RATE) as u64;
    let from = (start + length - 8.0).to_string();
    for player in ["dashjs", "shaka"] {
        let more = ["--counter", "--no-tone", "--settle", "0", "--frames", "290", "--from", &from];
        let Played(played) = play(&at.to_string(), player, 0, &more);
        let shown: Vec<u64> = serde_json::from_value(played["counter"]["values"].clone()).unwrap();
        let joint = shown.windows(2).position(|pair| pair[1] < pair[0]).map(|at| at + 1);
        let (before, behind) = shown.split_at(joint.expect("it goes over the hole"));
        eprintln!(
            "{player} of {count}: {:?} to {:?}, then {:?} to {:?}, {} ms between two, errors {}",
            before.first(),
            before.last(),
            behind.first(),
            behind.last(),
            played["maxDisplayGapMs"],
            played["errors"]
        );
        let left_out = count - 1 - before[before.len() - 1];
        assert!(left_out < 30 && behind[0] < 15, "{player}: {shown:?} of {count}");
        for shown in [before, behind] {
            let of = shown[shown.len() - 1] - shown[0] + 1;
            assert!(shown.is_sorted() && of > 20, "{player}: {shown:?}");
            let share = shown.len() as f64 / of as f64;
            assert!(share > if crate::browser::soak() { 0.95 } else { 0.5 }, "{player}: {shown:?}");
        }
        assert_eq!(played["jumpsBack"], 0, "{player}: {played}");
        assert_eq!(played["errors"], serde_json::json!([]), "{player}");
    }
}
