//! A broadcast of ten minutes in virtual time, with everything that goes wrong in one, against the
//! authoring rules: every version of every playlist, and what delta updates make of it.

#![allow(clippy::unwrap_used, missing_docs, reason = "test code")]

// The same broadcaster that `package` is tested with.
#[allow(dead_code, reason = "half of it is for the tests of package")]
#[path = "../../package/tests/it/studio.rs"]
mod studio;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use media::catalog::Catalog;
use package::Index;
use package::dash::Content;
use package::hls::{
    Formats, Listed, MediaOptions, Reach, render_iframes, render_media, render_multivariant,
    variants,
};
use spine::Location;
use studio::{AUDIO, Sent, Show, Studio, TRACKS, VIDEO, hevc};
use testkit::{
    MediaPlaylist, check, check_codecs, check_hints, check_key_pictures, check_multivariant,
    check_reports, check_versions,
};

const LIVE: MediaOptions = MediaOptions { low_latency: true, reach: Reach::Window, skip: false };
const DVR: MediaOptions = MediaOptions { reach: Reach::Everything, ..LIVE };

/// How long it is: more in a soak run.
fn minutes() -> f64 {
    let said = std::env::var("AIRWAVE_BROADCAST_MINUTES");
    said.ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(10.0)
}

/// A client that has the whole list and asks for what is new only.
#[derive(Default)]
struct DeltaClient {
    /// What it has of each segment, as lines.
    segments: Vec<String>,
    /// The number of the first one.
    first: u64,
    updates: usize,
    skipped: usize,
}

/// The lines of a playlist by segment, and those before and behind them. What belongs to a segment that
/// is not complete is behind.
fn split(text: &str) -> (String, Vec<String>, String) {
    let (mut head, mut segments, mut open) = (String::new(), Vec::new(), String::new());
    for line in text.split_inclusive('\n') {
        let of_playlist =
            ["#EXTM3U", "#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-SERVER-CONTROL"]
                .into_iter()
                .chain([
                    "#EXT-X-PART-INF",
                    "#EXT-X-MEDIA-SEQUENCE",
                    "#EXT-X-DISCONTINUITY-SEQUENCE",
                ])
                .chain(["#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-SKIP"])
                .any(|tag| line.starts_with(tag));
        if of_playlist {
            head.push_str(line);
            continue;
        }
        open.push_str(line);
        if !line.starts_with('#') {
            segments.push(std::mem::take(&mut open));
        }
    }
    (head, segments, open)
}

/// Parts of older segments are no longer listed; everything else of a segment stays as it was.
fn without_parts(segment: &str) -> String {
    segment.split_inclusive('\n').filter(|l| !l.starts_with("#EXT-X-PART:")).collect()
}

impl DeltaClient {
    /// RFC 8216bis §6.3.7: what it skips is what was known.
    fn update(&mut self, delta: &str, full: &str) {
        let playlist = MediaPlaylist::parse(full).unwrap();
        let (head, new, open) = split(delta);
        let skipped = delta.lines().find_map(|l| l.strip_prefix("#EXT-X-SKIP:SKIPPED-SEGMENTS="));
        let skipped: usize = skipped.map_or(0, |n| n.parse().unwrap());
        let known = usize::try_from(playlist.sequence - self.first).unwrap_or(0);
        self.segments.drain(..known.min(self.segments.len()));
        assert!(skipped <= self.segments.len(), "it skips what nobody can know");
        if skipped > 0 {
            // §6.2.5.1: nothing within the skip boundary, six target durations behind the end.
            let seconds =
                |l: &str| l.strip_prefix("#EXTINF:")?.trim_end_matches(",").parse::<f64>().ok();
            let kept: f64 = delta.lines().filter_map(seconds).sum();
            assert!(kept + 2.0 >= playlist.target_duration as f64 * 6.0, "{kept} s are left");
        }
        self.segments.truncate(skipped);
        self.segments.extend(new);
        self.first = playlist.sequence;
        (self.updates, self.skipped) = (self.updates + 1, self.skipped + skipped);
        let (full_head, full_segments, full_open) = split(full);
        assert_eq!(self.segments.len(), full_segments.len());
        for (at, (mine, theirs)) in self.segments.iter().zip(&full_segments).enumerate() {
            // What was kept may have parts that are listed no more; what is in the delta is as in full.
            let same = match at < skipped {
                true => without_parts(mine) == without_parts(theirs),
                false => mine == theirs,
            };
            assert!(same, "reconstructed:\n{mine}\nin full:\n{theirs}");
        }
        assert_eq!(open, full_open);
        let plain = |head: &str| -> Vec<String> {
            let lines = head.lines().filter(|l| !l.starts_with("#EXT-X-SKIP"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(plain(&head), plain(&full_head));
    }
}

/// Everything that viewers were told.
struct Viewers {
    /// What lists of tracks are rendered of.
    catalog: spine::track::Consumer,
    init: spine::track::Consumer,
    /// With parts, and without.
    versions: BTreeMap<(&'static str, bool), Vec<String>>,
    /// The newest whole segment, and whether that is all.
    whole: BTreeMap<&'static str, (Option<u64>, bool)>,
    clients: BTreeMap<&'static str, DeltaClient>,
    changes: usize,
    /// How often the lists of tracks were looked at.
    tracks_checked: usize,
    /// How often the lists of key pictures were, and the entries of all of them.
    key_lists_checked: usize,
    key_pictures: usize,
}

impl Viewers {
    fn of(studio: &Studio) -> Self {
        Self {
            catalog: studio.track(package::CATALOG),
            init: studio.track(package::INIT),
            versions: BTreeMap::new(),
            whole: BTreeMap::new(),
            clients: BTreeMap::new(),
            changes: 0,
            tracks_checked: 0,
            key_lists_checked: 0,
            key_pictures: 0,
        }
    }

    fn look(&mut self, index: &Index) {
        if !index.playable() {
            return;
        }
        self.changes += 1;
        let mut grown = false;
        // In a longer broadcast whole lists are long: now and then.
        let often = minutes() <= 10.0;
        for track in TRACKS {
            let render = |options| render_media(index, track, "../media/V", options).unwrap();
            let mut told = |low_latency| {
                let live = render(MediaOptions { low_latency, ..LIVE });
                let versions = self.versions.entry((track, low_latency)).or_default();
                if versions.last() != Some(&live) {
                    versions.push(live);
                }
            };
            told(true);
            // Without parts it is another one with each segment.
            let segments = &index.rendition(track).unwrap().segments;
            let whole = segments.iter().rev().find(|s| s.complete).map(|s| s.number);
            let whole = (whole, index.ended());
            let is_new = self.whole.insert(track, whole) != Some(whole);
            if is_new {
                told(false);
            }
            if is_new && track == TRACKS[0] {
                self.look_at_key_pictures(index, often);
            }
            // As one who watches with DVR loads it.
            grown |= is_new && often;
            if self.changes.is_multiple_of(17) || is_new && often {
                let (full, delta) = (render(DVR), render(MediaOptions { skip: true, ..DVR }));
                assert_eq!(check(&full), [], "{full}");
                assert_eq!(check(&delta), [], "{delta}");
                self.clients.entry(track).or_default().update(&delta, &full);
                let plain = render(MediaOptions { low_latency: false, ..DVR });
                assert_eq!(check(&plain), [], "{plain}");
            }
        }
        if !index.ended() {
            let now = |track: &str| render_media(index, track, "../media/V", LIVE).unwrap();
            let lists = TRACKS.map(|track| (format!("{track}.m3u8"), now(track))).into();
            assert_eq!(check_reports(&lists), []);
        }
        if grown {
            check_tracks(&self.init, &newest(&self.catalog), index);
            self.tracks_checked += 1;
        }
    }

    /// The lists of key pictures: those of the live window, and those of everything.
    fn look_at_key_pictures(&mut self, index: &Index, everything: bool) {
        for reach in [Some(Reach::Window), everything.then_some(Reach::Everything)] {
            let Some(reach) = reach else { continue };
            let Some(text) = render_iframes(index, TRACKS[0], "../media/V", reach) else {
                continue;
            };
            let (entries, broken) = check_key_pictures(&text);
            assert_eq!(broken, [], "{text}");
            self.key_lists_checked += 1;
            self.key_pictures += entries.len();
        }
    }
}

/// What a track says last.
fn newest(track: &spine::track::Consumer) -> Vec<u8> {
    let object = track.object(track.largest().unwrap()).unwrap();
    object.whole().unwrap().iter().flat_map(|piece| piece.to_vec()).collect()
}

/// What the initialisation segments of an index hold, by their ids.
fn contents(init: &spine::track::Consumer, index: &Index) -> BTreeMap<u64, Content> {
    let all = index.renditions().flat_map(|(_, r)| r.segments.iter().map(|s| s.info.init));
    let ids: BTreeSet<u64> = all.collect();
    let read = |id: u64| {
        let object = init.object(Location { group: id, object: 0 }).unwrap();
        let bytes: Vec<u8> = object.whole().unwrap().iter().flat_map(|p| p.to_vec()).collect();
        (id, Content::from_init(&bytes.into()).unwrap())
    };
    ids.into_iter().map(read).collect()
}

/// The lists of tracks, as they are rendered of a catalog and what there is of it by then, against the rules: for those
/// who watch live, and for those who look back.
fn check_tracks(init: &spine::track::Consumer, catalog: &[u8], index: &Index) {
    let catalog = Catalog::parse(catalog).unwrap();
    let contents = contents(init, index);
    for (options, everything) in [(LIVE, false), (DVR, true)] {
        let listed = Listed::of(index, everything);
        let variants = variants(&catalog, index, &Formats::new(&contents, listed));
        assert_eq!(variants.len(), TRACKS.len());
        let list = render_multivariant(&variants, None);
        let media = |track: &str| render_media(index, track, "../media/V", options).unwrap();
        let lists = TRACKS.map(|track| (format!("{track}.m3u8"), media(track))).into();
        let bytes_of = |list: &str, file: &str| {
            let number = file.rsplit(['-', '.']).nth(1).and_then(|n| n.parse::<u64>().ok());
            let track = list.strip_suffix(".m3u8").unwrap();
            index.rendition(track).unwrap().segment(number.unwrap()).unwrap().bytes()
        };
        assert_eq!(check_multivariant(&list, &lists, bytes_of), [], "{list}");
        let codec_of = |map: &str| {
            let id = map.rsplit_once("init-").unwrap().1.trim_end_matches(".mp4");
            contents[&u64::from_str_radix(id, 16).unwrap()].codec.clone()
        };
        assert_eq!(check_codecs(&list, &lists, codec_of), [], "{list}");
    }
}

fn show(seconds: f64) -> Vec<Sent> {
    Show { seconds, b_frames: true, ..Show::default() }.frames()
}

#[test]
fn ten_minutes_with_all_that_goes_wrong_break_no_rule() {
    check_all_that_goes_wrong(minutes(), 3.0, 3);
}

/// Its last picture before stands meanwhile, behind the discontinuity of the microphone, and it goes on from that.
#[test]
fn a_camera_that_comes_long_after_its_microphone_breaks_no_rule() {
    check_all_that_goes_wrong(7.5, 6.0, 3);
}

/// A broadcast of so many minutes, whose encoder comes back with its pictures so many seconds late; how many discontinuities all lists
/// have.
fn check_all_that_goes_wrong(minutes: f64, late_s: f64, discontinuities: usize) {
    let third = minutes * 60.0 / 3.0;
    let mut studio = Studio::new();
    let mut viewers = Viewers::of(&studio);
    // The camera stops for ten seconds, and the sound goes on: its last key picture stands.
    let mut frames = show(third);
    frames.retain(|f| f.slot == AUDIO || !(30.0..40.0).contains(&f.truth));
    // Then nothing comes for ten seconds, over a connection that stays.
    frames.retain(|f| !(60.0..70.0).contains(&f.truth));
    // And pictures lack what is longer than a part and shorter than a segment, in the middle of one and where the next begins.
    let lacks =
        |at: f64| [100.3..101.8, 110.5..110.9, 121.0..122.3].iter().any(|hole| hole.contains(&at));
    frames.retain(|f| f.slot == AUDIO || !lacks(f.truth));
    studio.send(&frames, |index| viewers.look(index));
    // The encoder vanishes and comes back, with its clock from zero.
    studio.reconnect_after(Duration::from_secs(5), |index| viewers.look(index));
    let mut frames = show(2.0 * third);
    // Its camera takes longer than its microphone.
    let begins = frames.iter_mut().find(|f| f.slot == VIDEO).and_then(|f| f.config.take());
    frames.retain(|f| f.slot == AUDIO || f.truth >= late_s);
    frames.iter_mut().find(|f| f.slot == VIDEO).unwrap().config = begins;
    // Half-way it changes the codec.
    let change = frames.iter_mut().find(|f| f.slot == VIDEO && f.sync && f.truth >= third);
    change.unwrap().config = Some(hevc());
    studio.send(&frames, |index| viewers.look(index));
    studio.end();
    viewers.look(&studio.index);

    // With each segment, at each change of the catalog, and when all is over.
    let least = if minutes <= 10.0 { minutes * 30.0 } else { 0.0 };
    assert!(viewers.tracks_checked as f64 > least - 8.0, "{}", viewers.tracks_checked);
    // Both of them, with each segment.
    assert!(viewers.key_lists_checked as f64 > 2.0 * least - 16.0, "{}", viewers.key_lists_checked);
    assert!(viewers.key_pictures > viewers.key_lists_checked * 4, "{}", viewers.key_pictures);
    assert_eq!(studio.editions.len(), 2, "the beginning, and another codec");
    for (catalog, index) in &studio.editions {
        check_tracks(&viewers.init, catalog, index);
    }
    check_tracks(&viewers.init, &studio.catalog(package::CATALOG), &studio.index);

    for ((track, low_latency), versions) in &viewers.versions {
        // A version a part, or a segment.
        let a_second = if *low_latency { 2.5 } else { 0.45 };
        assert!(versions.len() as f64 > minutes * 60.0 * a_second, "{track}: {}", versions.len());
        let broken = check_versions(versions);
        assert!(broken.is_empty(), "{track}: {} rules broken: {:?}", broken.len(), broken.first());
        assert_eq!(check_hints(versions), [], "{track}");
        let ended = versions.last().unwrap();
        assert!(ended.ends_with("#EXT-X-ENDLIST\n"), "{ended}");
        let everything = render_media(&studio.index, track, "../media/V", DVR).unwrap();
        assert_eq!(check(&everything), []);
        let whole = MediaPlaylist::parse(&everything).unwrap();
        let gaps = whole.segments.iter().filter(|s| s.gap).count();
        let (is_picture, breaks) =
            (*track == TRACKS[0], whole.segments.iter().filter(|s| s.discontinuity).count());
        assert_eq!((gaps > 0, breaks), (is_picture, discontinuities), "{track}: {gaps} gaps");
        let maps: BTreeSet<_> = whole.segments.iter().map(|s| &s.map).collect();
        assert_eq!(maps.len(), if is_picture { 2 } else { 1 }, "{track}");
        assert!((whole.segments.len() as f64 - minutes * 30.0).abs() < 8.0, "{track}");
        let client = &viewers.clients[track];
        assert!(client.updates > 100 && client.skipped > 10_000, "{track}: {}", client.skipped);
    }
}

/// Numbers that look random and are the same each time.
struct Luck(u64);

impl Luck {
    /// From zero to one.
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 31)
    }
}

/// Sound lacks anything, from a frame to all that follows, with its times going on; sometimes the pictures lack it too, as
/// an encoder on a bad uplink has it.
#[test]
fn sound_with_any_holes_breaks_no_rule() {
    for seed in 1..=30 {
        let mut luck = Luck(seed);
        let holes: Vec<(f64, f64, bool)> = (0..1 + seed % 6)
            .map(|_| {
                let (from, long) = (0.5 + luck.next() * 20.0, luck.next());
                let most = if luck.next() < 0.2 { 30.0 } else { 4.5 };
                (from, from + 0.02 + long * long * most, most < 5.0 && luck.next() < 0.3)
            })
            .collect();
        let rate = if seed % 2 == 0 { 48_000 } else { 44_100 };
        let mut frames =
            Show { seconds: 24.0, sample_rate: Some(rate), ..Show::default() }.frames();
        let lacks = |f: &Sent| {
            let within = |(from, to, both): &(f64, f64, bool)| {
                (*from..*to).contains(&f.truth) && (*both || f.slot == AUDIO)
            };
            f.config.is_none() && holes.iter().any(within)
        };
        frames.retain(|f| !lacks(f));
        // Pictures that an encoder leaves out are no part of this.
        let pictures_are_whole = holes.iter().all(|(.., both)| !both);
        let (mut studio, mut versions) = (Studio::new(), TRACKS.map(|_| Vec::new()));
        studio.send(&frames, |index| {
            for (track, versions) in TRACKS.iter().zip(&mut versions) {
                if index.playable() {
                    versions.push(render_media(index, track, "../media/V", LIVE).unwrap());
                }
            }
        });
        studio.end();
        let mut lasts = [0.0; 2];
        for ((track, lasts), versions) in TRACKS.iter().zip(&mut lasts).zip(&mut versions) {
            versions.push(render_media(&studio.index, track, "../media/V", LIVE).unwrap());
            let picture = *track == TRACKS[0];
            let whole = !picture || pictures_are_whole;
            let broken = if whole { check_versions(versions) } else { Vec::new() };
            assert_eq!(broken.first(), None, "{seed}: {track} {holes:?}");
            let segments = &studio.index.rendition(track).unwrap().segments;
            assert!(picture || segments.iter().all(|s| !s.info.gap), "{seed}: {holes:?}");
            *lasts = segments.iter().map(|s| s.seconds(s.duration())).sum();
        }
        // A frame of each, and what is missing at the end.
        let [pictures, sound] = lasts;
        let alike = (pictures - sound).abs() < 0.56;
        assert!(alike || !pictures_are_whole, "{seed}: {pictures} {sound} {holes:?}");
    }
}

/// Pictures lack anything that is shorter than a segment may be, or come so seldom that each is longer than a part: no part is longer
/// than PART-TARGET, and nothing is a gap.
#[test]
fn pictures_with_any_short_holes_break_no_rule() {
    for seed in 1..=24 {
        let mut luck = Luck(seed);
        let mut from = 2.5;
        let holes: Vec<(f64, f64)> = (0..6)
            .map(|_| {
                from += 0.5 + luck.next() * 3.0;
                let hole = (from, from + 0.1 + luck.next() * 1.8);
                from = hole.1;
                hole
            })
            .collect();
        let (group, b_frames) = ([30, 60, 0x1000][seed as usize % 3], seed % 2 == 0);
        let sample_rate = Some(48_000).filter(|_| seed % 8 > 2);
        let show = Show { seconds: 24.0, group, b_frames, sample_rate, ..Show::default() };
        let mut frames = show.frames();
        let lacks = |f: &Sent| !f.sync && holes.iter().any(|(a, b)| (*a..*b).contains(&f.truth));
        frames.retain(|f| f.slot == AUDIO || !lacks(f));
        let (mut studio, mut versions) = (Studio::new(), TRACKS.map(|_| Vec::new()));
        studio.send(&frames, |index| {
            for (track, versions) in TRACKS.iter().zip(&mut versions) {
                let text = render_media(index, track, "../media/V", LIVE);
                versions.extend(text.filter(|_| index.playable()));
            }
        });
        studio.end();
        let mut lasts = [0.0; 2];
        for ((track, lasts), versions) in TRACKS.iter().zip(&mut lasts).zip(&mut versions) {
            let Some(text) = render_media(&studio.index, track, "../media/V", LIVE) else {
                continue;
            };
            versions.push(text);
            assert_eq!(check_versions(versions).first(), None, "{seed}: {track} {holes:?}");
            let stills = versions.iter().filter(|v| v.contains("/still-")).count();
            assert_eq!(stills > 0, *track == TRACKS[0], "{seed}: {track} {holes:?}");
            let segments = &studio.index.rendition(track).unwrap().segments;
            assert!(segments.iter().all(|s| !s.info.gap), "{seed}: {track} {holes:?}");
            *lasts = segments.iter().map(|s| s.seconds(s.duration())).sum();
        }
        let [pictures, sound] = lasts;
        let alike = (pictures - sound).abs() < 0.56 || sample_rate.is_none();
        assert!(alike, "{seed}: {pictures} {sound} {holes:?}");
    }
}

/// An encoder that does not say its rate, sends 30 frames a second for a second, then fewer or more, or as a phone does, and no key
/// frame but the first: segments end in time, and parts too.
#[test]
fn segments_without_key_frames_end_at_any_rate() {
    for slower in [0.5, 0.93, 1.2, 1.25, 1.5, 2.0, 2.7, 3.0, 3.7, 4.3, 6.0, 9.0] {
        for (phone, b_frames, sample_rate) in [
            (false, true, Some(48_000)),
            (false, false, None),
            (true, true, Some(44_100)),
            (true, false, None),
        ] {
            let name = format!("{slower} {phone} {b_frames} {sample_rate:?}");
            let rate = Some(if phone { 0.0 } else { 30.0 });
            let (seconds, group) = (30.0 / slower + 1.0, 0x1000);
            let pictures = Show { rate, seconds, b_frames, group, sample_rate: None };
            let mut frames = pictures.frames();
            let later = |ms: i64| {
                if ms > 1_000 { 1_000 + ((ms - 1_000) as f64 * slower) as i64 } else { ms }
            };
            for frame in &mut frames {
                let shown = frame.timestamp + i64::from(frame.composition);
                frame.composition = (later(shown) - later(frame.timestamp)) as i32;
                frame.timestamp = later(frame.timestamp);
                frame.truth = frame.timestamp as f64 / 1_000.0;
            }
            frames.extend(Show { rate: None, sample_rate, seconds: 31.0, ..pictures }.frames());
            frames.sort_by(|a, b| a.truth.total_cmp(&b.truth));
            let (mut studio, mut versions) = (Studio::new(), Vec::new());
            studio.send(&frames, |index| {
                if index.playable() {
                    versions.push(render_media(index, TRACKS[0], "../media/V", LIVE).unwrap());
                }
            });
            studio.end();
            versions.push(render_media(&studio.index, TRACKS[0], "../media/V", LIVE).unwrap());
            assert_eq!(check_versions(&versions).first(), None, "{name}");
            let segments = studio.index.rendition(TRACKS[0]).unwrap().segments.len();
            assert!((6..20).contains(&segments), "{name}: {segments}");
        }
    }
}

/// Pictures lack anything that is longer than a segment may be, while sound goes on: lists keep their rules, and where sound has waited
/// for as long as it does, nothing of them is a gap.
#[test]
fn pictures_with_any_long_holes_break_no_rule() {
    for seed in 1..=12 {
        let mut luck = Luck(seed);
        let mut from = 3.0;
        let holes: Vec<(f64, f64)> = (0..1 + seed % 3)
            .map(|_| {
                from += 3.0 + luck.next() * 4.0;
                let most = if luck.next() < 0.4 { 1.5 } else { 12.0 };
                let hole = (from, from + 2.45 + luck.next() * most);
                from = hole.1;
                hole
            })
            .collect();
        let group = [30, 60, 90][seed as usize % 3];
        let mut frames = Show { seconds: 40.0, group, ..Show::default() }.frames();
        let lacks = |f: &Sent| holes.iter().any(|(from, to)| (*from..*to).contains(&f.truth));
        frames.retain(|f| f.slot == AUDIO || !lacks(f));
        let (mut studio, mut versions) = (Studio::new(), TRACKS.map(|_| Vec::new()));
        studio.send(&frames, |index| {
            for (track, versions) in TRACKS.iter().zip(&mut versions) {
                if index.playable() {
                    versions.push(render_media(index, track, "../media/V", LIVE).unwrap());
                }
            }
        });
        studio.end();
        let mut lasts = [0.0; 2];
        for ((track, lasts), versions) in TRACKS.iter().zip(&mut lasts).zip(&mut versions) {
            versions.push(render_media(&studio.index, track, "../media/V", LIVE).unwrap());
            assert_eq!(check_versions(versions).first(), None, "{seed}: {track} {holes:?}");
            let segments = &studio.index.rendition(track).unwrap().segments;
            let gaps = segments.iter().filter(|s| s.info.gap).count();
            let stands = holes.iter().all(|(from, to)| to - from > 4.1);
            assert!(gaps == 0 || (*track == TRACKS[0] && !stands), "{seed}: {track} {holes:?}");
            *lasts = segments.iter().map(|s| s.seconds(s.duration())).sum();
        }
        let [pictures, sound] = lasts;
        assert!((pictures - sound).abs() < 0.56, "{seed}: {pictures} {sound} {holes:?}");
    }
}
