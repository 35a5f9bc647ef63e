//! From an encoder's frames to playlists, through the spine, and through a second one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use media::catalog::Catalog;
use media::codec::aac::AudioSpecificConfig;
use media::codec::h264::DecoderConfiguration;
use media::codec::{Config, VideoConfig};
use media::timeline::{SourceClock, SourceFrame};
use media::{Arrival, Publication, Slot};
use package::hls::{MediaOptions, Reach, render_iframes, render_media};
use package::{Index, Packaging, Rules};
use spine::broadcast::Consumer;
use spine::{
    Close, Header, Limits, Location, NodeId, Origin, Path, Route, Takeover, TrackInfo, TrackName,
};

const VIDEO: Slot = Slot::Video(0);
const AUDIO: Slot = Slot::Audio(0);

#[allow(clippy::disallowed_methods, reason = "virtual time starts somewhere")]
fn epoch() -> Instant {
    Instant::now()
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn path() -> Path {
    Path::new(["default", "input"]).unwrap()
}

fn video(level: u8) -> VideoConfig {
    let mut sps = vec![
        0x67, 0x64, 0x00, level, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00,
    ];
    sps.extend([0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58]);
    let pps = vec![0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
    Arc::new(DecoderConfiguration::new(vec![sps.into()], vec![pps.into()]).unwrap()).config()
}

/// An encoder in virtual time: 30 pictures a second with a key frame every 2 s, AAC at 48 kHz.
struct Encoder {
    publication: Publication,
    start: Instant,
    sent: BTreeMap<Slot, usize>,
}

impl Encoder {
    fn go_live(origin: &Origin, start: Instant, level: u8) -> Self {
        Self::go_live_with(7, origin, start, level)
    }

    /// Under this ownership.
    fn go_live_with(epoch: u64, origin: &Origin, start: Instant, level: u8) -> Self {
        let route = Route::local(NodeId(1), epoch);
        let broadcast = origin.publish(&path(), route, Takeover::Replace).unwrap();
        let mut publication = Publication::new(broadcast, SourceClock::RTMP, 0, start);
        let arrival = Arrival { at: start, wall_clock_ms: 1_700_000_000_000 };
        publication.configure(VIDEO, Config::Video(video(level)), arrival).unwrap();
        let asc = AudioSpecificConfig::parse(&[0x11, 0x90]).unwrap();
        publication.configure(AUDIO, Config::Audio(asc.config()), arrival).unwrap();
        Self { publication, start, sent: BTreeMap::new() }
    }

    fn send(&mut self, from_ms: u64, to_ms: u64, packaging: &mut Packaging) {
        let mut sound = (from_ms * 48).div_ceil(1024);
        for i in from_ms * 30 / 1000..to_ms * 30 / 1000 {
            let ms = i * 1000 / 30;
            while sound * 1024 / 48 <= ms {
                self.frame(AUDIO, sound * 1024 / 48, true, 1024, 200);
                sound += 1;
            }
            let key = i % 60 == 0;
            self.frame(VIDEO, ms, key, 0, if key { 9_000 } else { 1_500 });
            let now = self.start + Duration::from_millis(ms);
            assert!(packaging.poll(&cx(), now).is_pending());
        }
    }

    fn frame(&mut self, slot: Slot, ms: u64, sync: bool, samples: u32, size: usize) {
        self.payload(slot, ms, sync, samples, vec![ms as u8; size]);
    }

    fn payload(&mut self, slot: Slot, ms: u64, sync: bool, samples: u32, bytes: Vec<u8>) {
        let arrival = Arrival {
            at: self.start + Duration::from_millis(ms),
            wall_clock_ms: 1_700_000_000_000 + ms,
        };
        let payload = self.publication.budget().payload(bytes);
        let frame = SourceFrame { timestamp: ms, offset_ns: 0, composition: 0, sync, samples };
        self.publication.frame(slot, frame, payload, arrival).unwrap();
        *self.sent.entry(slot).or_default() += 1;
    }
}

/// All objects of a track, in order.
fn objects(broadcast: &Consumer, name: &str) -> Vec<spine::ObjectReader> {
    let track = broadcast.get(&TrackName::new(name.to_owned()).unwrap()).unwrap();
    let mut found = Vec::new();
    for group in 0..=track.largest().unwrap().group {
        found.extend((0..).map_while(|object| track.object(Location { group, object }).ok()));
    }
    found
}

fn index_of(broadcast: &Consumer) -> Index {
    let mut index = Index::new();
    for name in ["video.cmaf", "audio.cmaf"] {
        for object in objects(broadcast, name) {
            let properties = &object.header().properties;
            index.apply(name, object.location(), properties, object.len() as u64).unwrap();
        }
    }
    index
}

/// Copies the packaged tracks to another spine, as a link between nodes would.
fn copy(from: &Consumer, to: &Origin, now: Instant) -> spine::broadcast::Producer {
    let route = Route { hops: vec![NodeId(2)], ..from.route() };
    let broadcast = to.publish(&path(), route, Takeover::Refuse).unwrap();
    for name in ["video.cmaf", "audio.cmaf"] {
        let track = broadcast.track(TrackName::new(name).unwrap(), TrackInfo::default()).unwrap();
        let mut open = None;
        for object in objects(from, name) {
            let id = object.location().group;
            if open.as_ref().is_none_or(|(group, _)| *group != id) {
                open = Some((id, track.group(id, now).unwrap().subgroup(0, now).unwrap()));
            }
            let (_, subgroup) = open.as_ref().unwrap();
            let whole: Vec<u8> = object.whole().unwrap().iter().flat_map(|c| c.to_vec()).collect();
            let header = Header { arrived: now, timing: None, ..object.header().clone() };
            subgroup.write(header, vec![to.budget().payload(whole)]).unwrap();
        }
    }
    broadcast
}

fn playlists(index: &Index) -> String {
    let mut text = String::new();
    for rendition in ["video.cmaf", "audio.cmaf"] {
        for form in 0..8 {
            let [low_latency, everything, skip] =
                [form & 1, form & 2, form & 4].map(|bit| bit != 0);
            let options = MediaOptions { low_latency, reach: Reach::of(everything), skip };
            text.push_str(&render_media(index, rendition, "../media/V", options).unwrap());
        }
        for reach in [Reach::Window, Reach::Everything] {
            text.extend(render_iframes(index, rendition, "../media/V", reach));
        }
    }
    text
}

/// A broadcast with a reconnect and a change of configuration, in memory.
fn broadcast(origin: &Origin, start: Instant) -> (Consumer, Packaging, Encoder) {
    let mut encoder = Encoder::go_live(origin, start, 0x28);
    let consumer = encoder.publication.broadcast().consume();
    let mut packaging = Packaging::new(consumer.clone(), Rules::default(), 100).unwrap();
    encoder.send(0, 21_000, &mut packaging);
    let lost = start + Duration::from_secs(21);
    encoder.publication.park(lost + Duration::from_secs(15), lost);
    assert!(packaging.poll(&cx(), lost).is_pending());
    // Back with another level, and with its clock from zero.
    let mut encoder = Encoder::go_live(origin, start + Duration::from_secs(24), 0x29);
    encoder.send(0, 9_000, &mut packaging);
    (consumer, packaging, encoder)
}

#[test]
fn a_copy_that_went_through_a_second_spine_renders_byte_identical_playlists() {
    let start = epoch();
    let (here, there) = (Origin::new(Limits::default()), Origin::new(Limits::default()));
    let (consumer, _packaging, _encoder) = broadcast(&here, start);
    let original = index_of(&consumer);
    let copy = copy(&consumer, &there, start + Duration::from_secs(99));
    let copied = index_of(&copy.consume());
    assert_eq!(original, copied);
    let text = playlists(&original);
    assert_eq!(text, playlists(&copied));
    assert!(text.len() > 10_000 && text.contains("#EXT-X-DISCONTINUITY\n"), "{text}");
}

#[test]
fn a_reconnect_with_another_configuration_is_one_discontinuity_in_both_tracks() {
    let origin = Origin::new(Limits::default());
    let (consumer, packaging, _encoder) = broadcast(&origin, epoch());
    let index = index_of(&consumer);
    for (name, rendition) in index.renditions() {
        let marks: Vec<u64> =
            rendition.segments.iter().filter(|s| s.info.discontinuity).map(|s| s.number).collect();
        assert_eq!(marks.len(), 1, "{name}: {marks:?}");
        let inits: std::collections::BTreeSet<u64> =
            rendition.segments.iter().map(|s| s.info.init).collect();
        assert_eq!(inits.len(), if name == "video.cmaf" { 2 } else { 1 }, "{name}");
        let numbers: Vec<u64> = rendition.segments.iter().map(|s| s.number).collect();
        assert_eq!(numbers, (100..100 + numbers.len() as u64).collect::<Vec<_>>(), "{name}");
        let starts: Vec<u64> = rendition.segments.iter().map(|s| s.info.start).collect();
        assert!(starts.is_sorted_by(|a, b| a < b), "{name}: {starts:?}");
    }
    assert_eq!(packaging.findings(), package::Findings::default());
}

/// Sound comes first. Packaging has seen the loss, or has not had a turn since; somebody else has taken over; the last cut was
/// made by a picture whose sound never came.
#[test]
fn nothing_of_who_comes_back_is_in_what_was_before() {
    for (lost, seen) in [(true, true), (true, false), (false, false)] {
        for (level, until_ms) in [(0x28, 2_034), (0x28, 3_000), (0x29, 2_034), (0x29, 3_000)] {
            let what = format!("lost {lost}, seen {seen}, level {level}, until {until_ms} ms");
            let (origin, start) = (Origin::new(Limits::default()), epoch());
            let mut first = Encoder::go_live(&origin, start, 0x28);
            let consumer = first.publication.broadcast().consume();
            let mut packaging = Packaging::new(consumer.clone(), Rules::default(), 1).unwrap();
            first.send(0, until_ms, &mut packaging);
            let sent = first.sent.clone();
            let now = start + Duration::from_secs(4);
            if lost {
                first.publication.park(now + Duration::from_secs(15), now);
            }
            if seen {
                assert!(packaging.poll(&cx(), now).is_pending());
            }
            let mut second = Encoder::go_live_with(8, &origin, now, level);
            second.frame(AUDIO, 0, true, 1024, 200);
            assert!(packaging.poll(&cx(), now).is_pending());
            second.send(21, 3_000, &mut packaging);
            let after = second.sent.clone();
            second.publication.end(Close::Ended, now);
            assert_eq!(packaging.poll(&cx(), now), Poll::Ready(Ok(Close::Ended)));

            let index = index_of(&consumer);
            for (name, slot) in [("video.cmaf", VIDEO), ("audio.cmaf", AUDIO)] {
                let segments = &index.rendition(name).unwrap().segments;
                let marks: Vec<u64> =
                    segments.iter().filter(|s| s.info.discontinuity).map(|s| s.number).collect();
                assert_eq!(marks.len(), 1, "{what}, {name}: {marks:?}");
                let frames = |new: bool| {
                    let objects = objects(&consumer, name).into_iter();
                    let objects = objects.filter(|o| (o.location().group >= marks[0]) == new);
                    objects.map(|o| o.whole().unwrap().len() - 1).sum::<usize>()
                };
                assert_eq!(
                    (frames(false), frames(true)),
                    (sent[&slot], after[&slot]),
                    "{what}, {name}"
                );
            }
            assert_eq!(packaging.findings(), package::Findings::default(), "{what}");
        }
    }
}

#[test]
fn what_was_sent_lies_where_it_was_put_until_it_leaves() {
    let (origin, start) = (Origin::new(Limits::default()), epoch());
    let mut encoder = Encoder::go_live(&origin, start, 0x28);
    let consumer = encoder.publication.broadcast().consume();
    let mut packaging = Packaging::new(consumer.clone(), Rules::default(), 1).unwrap();
    let mut sent = Vec::new();
    for i in 0..200u64 {
        for (slot, samples) in [(VIDEO, 0), (AUDIO, 1_024)] {
            let bytes = vec![i as u8; 700];
            sent.push(bytes.as_ptr());
            encoder.payload(slot, i * 21, i % 60 == 0, samples, bytes);
        }
        assert!(packaging.poll(&cx(), start + Duration::from_millis(i * 21)).is_pending());
    }
    encoder.publication.end(Close::Ended, start);
    assert_eq!(packaging.poll(&cx(), start), Poll::Ready(Ok(Close::Ended)));
    for (names, heads) in [(["video", "audio"], 0), (["video.cmaf", "audio.cmaf"], 1)] {
        let objects = names.iter().flat_map(|name| objects(&consumer, name));
        let mut found: Vec<_> = objects
            .flat_map(|o| o.whole().unwrap().into_iter().skip(heads).collect::<Vec<_>>())
            .map(|payload| payload.into_bytes().as_ptr())
            .collect();
        let mut sent = sent.clone();
        found.sort();
        sent.sort();
        assert!(found == sent, "{names:?}: {} of {} pieces", found.len(), sent.len());
    }
}

/// A picture with captions of CEA-608 in its first field, or with the zeros that fill it.
fn captioned(pair: [u8; 2]) -> Vec<u8> {
    let mut sei = b"\x06\x04\x0e\xb5\x00\x31GA94\x03\xc1\xff\xfc".to_vec();
    sei.extend(pair);
    sei.extend([0xff, 0x80]);
    sei[2] = u8::try_from(sei.len()).unwrap() - 4;
    let unit = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    [unit(&sei), unit(&[0x41, 0x9a, 1, 2, 3])].concat()
}

#[test]
fn captions_inside_the_picture_are_listed_from_when_they_come() {
    let (origin, start) = (Origin::new(Limits::default()), epoch());
    let mut encoder = Encoder::go_live(&origin, start, 0x28);
    let consumer = encoder.publication.broadcast().consume();
    let mut packaging = Packaging::new(consumer.clone(), Rules::default(), 1).unwrap();
    let listed = || {
        let editions = objects(&consumer, "catalog");
        let pieces = editions.last().unwrap().whole().unwrap();
        let json: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
        (editions.len(), Catalog::parse(&json).unwrap().instream_ids())
    };
    let mut next = |ms: u64, bytes: Vec<u8>| {
        encoder.payload(VIDEO, ms, false, 0, bytes);
        assert!(packaging.poll(&cx(), start + Duration::from_millis(ms)).is_pending());
    };
    next(0, vec![9; 90]);
    next(33, captioned([0x80, 0x80]));
    let (before, none) = listed();
    assert_eq!(none, Vec::<String>::new(), "what has no words is not listed");
    next(67, captioned([0x94, 0x2c]));
    assert_eq!(listed(), (before + 1, vec!["CC1".to_owned()]));
    // Once is enough, also for what has none.
    next(100, captioned([0x94, 0x2f]));
    next(133, vec![9; 90]);
    assert_eq!(listed(), (before + 1, vec!["CC1".to_owned()]));
}

#[test]
fn a_broadcast_that_is_over_before_anybody_looked_is_packaged_all_the_same() {
    let (origin, start) = (Origin::new(Limits::default()), epoch());
    let mut encoder = Encoder::go_live(&origin, start, 0x28);
    let consumer = encoder.publication.broadcast().consume();
    let mut packaging = Packaging::new(consumer.clone(), Rules::default(), 1).unwrap();
    for ms in [0, 33, 66] {
        encoder.frame(VIDEO, ms, ms == 0, 0, 100);
        encoder.frame(AUDIO, ms, true, 1024, 10);
    }
    encoder.publication.end(Close::Ended, start);
    assert_eq!(packaging.poll(&cx(), start), Poll::Ready(Ok(Close::Ended)));
    drop(packaging);
    for name in ["video.cmaf", "audio.cmaf"] {
        let frames: usize =
            objects(&consumer, name).iter().map(|o| o.whole().unwrap().len() - 1).sum();
        assert_eq!(frames, 3, "{name}");
    }
}

#[test]
fn the_end_of_a_broadcast_flushes_what_was_held_back() {
    let (origin, start) = (Origin::new(Limits::default()), epoch());
    let mut encoder = Encoder::go_live(&origin, start, 0x28);
    let consumer = encoder.publication.broadcast().consume();
    let mut packaging = Packaging::new(consumer.clone(), Rules::default(), 1).unwrap();
    encoder.send(0, 3_000, &mut packaging);
    let counts = encoder.publication.counts();
    encoder.publication.end(Close::Ended, start + Duration::from_secs(3));
    let outcome = packaging.poll(&cx(), start + Duration::from_secs(3));
    assert_eq!(outcome, Poll::Ready(Ok(Close::Ended)));
    drop(packaging);
    // Every frame is in some part: the sizes tell.
    let bytes: usize = ["video.cmaf", "audio.cmaf"]
        .iter()
        .flat_map(|name| objects(&consumer, name))
        .map(|o| o.whole().unwrap().iter().skip(1).map(|c| c.len()).sum::<usize>())
        .sum();
    assert_eq!(bytes as u64, counts.bytes);
    for name in ["video.cmaf", "audio.cmaf"] {
        let track = consumer.get(&TrackName::new(name).unwrap()).unwrap();
        assert_eq!(track.ended(), Some(Close::Ended), "{name}");
    }
}
