//! DASH, as a player that is not a browser sees it. Browsers: `browser.rs`.

use std::path::Path;

use testkit::{Clip, ClipSpec, Server, packets, wait_until};

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
