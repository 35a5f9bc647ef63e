//! A broadcaster in virtual time: what is shown, how an encoder sends it, and what packaging makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::catalog::{Catalog, Init, Role, TrackDescription};
use media::codec::aac::AudioSpecificConfig;
use media::codec::{Config, h264, hevc, opus};
use media::timeline::{SourceClock, SourceFrame};
use media::{Arrival, Publication, Slot};
use package::{Earlier, Findings, Index, Original, Packaging, Rules};
use spine::broadcast::Consumer;
use spine::{Close, Limits, Location, NodeId, Origin, Path, Route, Takeover, TrackName};

pub(crate) const VIDEO: Slot = Slot::Video(0);
pub(crate) const AUDIO: Slot = Slot::Audio(0);
pub(crate) const TRACKS: [&str; 2] = ["video.cmaf", "audio.cmaf"];

const WALL_MS: u64 = 1_700_000_000_000;

/// One frame on its way out of the encoder.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) slot: Slot,
    /// Seconds at which its content really is.
    pub(crate) truth: f64,
    /// Seconds after that at which it arrives.
    pub(crate) late: f64,
    /// Milliseconds that the encoder says.
    pub(crate) timestamp: i64,
    pub(crate) composition: i32,
    pub(crate) sync: bool,
    pub(crate) samples: u32,
    /// The configuration that holds from this frame on, if it is another one.
    pub(crate) config: Option<Config>,
}

/// What is shown and heard.
#[derive(Clone, Debug)]
pub(crate) struct Show {
    /// Frames a second; 0 is a phone, without a constant rate. None: no picture.
    pub(crate) rate: Option<f64>,
    /// None: no sound.
    pub(crate) sample_rate: Option<u32>,
    /// Frames from key frame to key frame; 0: there is none, ever.
    pub(crate) group: u32,
    pub(crate) seconds: f64,
    /// Two B-frames between references.
    pub(crate) b_frames: bool,
}

impl Default for Show {
    fn default() -> Self {
        Self {
            rate: Some(30.0),
            sample_rate: Some(48_000),
            group: 60,
            seconds: 20.0,
            b_frames: false,
        }
    }
}

impl Show {
    /// All frames, interleaved by time, in whole milliseconds of one clock that starts at 0.
    pub(crate) fn frames(&self) -> Vec<Sent> {
        let mut frames = Vec::new();
        let ms = |seconds: f64| (seconds * 1000.0) as i64;
        let (mut n, mut truth) = (0u32, 0.0);
        while let Some(rate) = self.rate.filter(|_| truth < self.seconds) {
            let period = if rate > 0.0 { 1.0 / rate } else { 1.0 / 30.0 };
            let ahead = if self.b_frames { f64::from([1, 3, 0, 0][n as usize % 4]) } else { 0.0 };
            frames.push(Sent {
                slot: VIDEO,
                truth,
                late: 0.0,
                timestamp: ms(truth),
                composition: (ms(truth + ahead * period) - ms(truth)) as i32,
                sync: self.group > 0 && n.is_multiple_of(self.group),
                samples: 0,
                config: (n == 0).then(|| h264(0x28)),
            });
            n += 1;
            let step = [0.0331, 0.0339, 0.0667, 0.0292, 0.0411][n as usize * 7 % 5];
            truth = if rate > 0.0 { f64::from(n) / rate } else { truth + step };
        }
        for n in 0..u32::MAX {
            let Some(rate) = self.sample_rate else { break };
            let truth = f64::from(n) * 1024.0 / f64::from(rate);
            if truth >= self.seconds {
                break;
            }
            frames.push(Sent {
                slot: AUDIO,
                truth,
                late: 0.0,
                timestamp: ms(truth),
                composition: 0,
                sync: true,
                samples: 1024,
                config: (n == 0).then(|| aac(rate)),
            });
        }
        frames.sort_by(|a, b| a.truth.total_cmp(&b.truth));
        frames
    }
}

/// H.264 of this level: another level is another configuration.
pub(crate) fn h264(level: u8) -> Config {
    let mut sps = vec![
        0x67, 0x64, 0x00, level, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00,
    ];
    sps.extend([0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58]);
    let pps = vec![0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
    let record = h264::DecoderConfiguration::new(vec![sps.into()], vec![pps.into()]).unwrap();
    // The rate in it is one frame a second: the timeline must find the real one by itself.
    Config::Video(media::codec::VideoConfig { frame_rate: None, ..Arc::new(record).config() })
}

/// HEVC, from x265.
pub(crate) fn hevc() -> Config {
    const HVCC: &[u8] = &[
        0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0xf0, 0x00,
        0xfc, 0xfd, 0xf8, 0xf8, 0x00, 0x00, 0x0f, 0x03, 0xa0, 0x00, 0x01, 0x00, 0x18, 0x40, 0x01,
        0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00,
        0x00, 0x03, 0x00, 0x3c, 0x95, 0x94, 0x09, 0xa1, 0x00, 0x01, 0x00, 0x2b, 0x42, 0x01, 0x01,
        0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3c,
        0xa0, 0x0a, 0x08, 0x0c, 0x1f, 0x3e, 0x59, 0x59, 0x52, 0x93, 0x0b, 0xc0, 0x5a, 0x02, 0x00,
        0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x10, 0xa2, 0x00, 0x01, 0x00, 0x06,
        0x44, 0x01, 0xc0, 0x73, 0xc1, 0x89,
    ];
    let (record, _) = hevc::DecoderConfiguration::parse(HVCC).unwrap();
    Config::Video(media::codec::VideoConfig { frame_rate: None, ..Arc::new(record).config() })
}

/// AAC-LC, stereo.
pub(crate) fn aac(sample_rate: u32) -> Config {
    let asc: &[u8] = if sample_rate == 44_100 { &[0x12, 0x10] } else { &[0x11, 0x90] };
    Config::Audio(AudioSpecificConfig::parse(asc).unwrap().config())
}

/// Opus, stereo.
pub(crate) fn opus() -> Config {
    let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
    Config::Audio(opus::Head::parse(head).unwrap().config())
}

pub(crate) fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[allow(clippy::disallowed_methods, reason = "virtual time starts somewhere")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

/// A broadcast in memory with what packaging has made of it so far.
pub(crate) struct Studio {
    origin: Origin,
    pub(crate) index: Index,
    /// Of each part's first frame: rendition, segment, seconds of content, seconds on the timeline.
    pub(crate) placed: Vec<(&'static str, u64, f64, f64)>,
    start: Instant,
    now: Duration,
    /// How often packaging gets its turn; zero: with each frame.
    every: Duration,
    polled: Duration,
    publication: Option<Publication>,
    packaging: Packaging,
    broadcast: Consumer,
    read: BTreeMap<&'static str, Location>,
    /// Each edition of the catalog since there is something to play, and what there was of it then.
    pub(crate) editions: Vec<(Bytes, Index)>,
    /// The group of the last one.
    edition: Option<u64>,
}

impl Studio {
    /// On the air, and nothing sent.
    pub(crate) fn new() -> Self {
        Self::made(Limits::default(), |packaging| packaging)
    }

    /// In a cache of so many bytes, and packaged only as often.
    pub(crate) fn cramped(cache_bytes: usize, every: Duration) -> Self {
        let limits = Limits { cache_bytes, ..Limits::default() };
        Self { every, ..Self::made(limits, |packaging| packaging) }
    }

    /// Goes on with a broadcast whose earlier packaging is gone.
    pub(crate) fn after(earlier: Earlier) -> Self {
        Self::made(Limits::default(), |packaging| packaging.go_on_after(earlier))
    }

    fn made(limits: Limits, change: impl FnOnce(Packaging) -> Packaging) -> Self {
        let (origin, start) = (Origin::new(limits), epoch());
        let publication = publish(&origin, start);
        let broadcast = publication.broadcast().consume();
        let packaging = Packaging::new(broadcast.clone(), Rules::default(), 100).unwrap();
        let packaging = change(packaging);
        Self {
            origin,
            index: Index::new(),
            placed: Vec::new(),
            start,
            now: Duration::ZERO,
            every: Duration::ZERO,
            polled: Duration::ZERO,
            publication: Some(publication),
            packaging,
            broadcast,
            read: BTreeMap::new(),
            editions: Vec::new(),
            edition: None,
        }
    }

    /// Sends frames in the order in which they arrive; time passes as they do. `part` sees the index after each part.
    pub(crate) fn send(&mut self, frames: &[Sent], mut part: impl FnMut(&Index)) {
        let begun = self.now;
        for sent in frames {
            self.now = begun + Duration::from_secs_f64(sent.truth + sent.late);
            let arrival = self.arrival();
            let publication = self.publication.as_mut().unwrap();
            if let Some(config) = &sent.config {
                publication.configure(sent.slot, config.clone(), arrival).unwrap();
            }
            // Its first bytes say where its content really is.
            let micros = ((begun.as_secs_f64() + sent.truth) * 1e6) as u64;
            let mut bytes = vec![0; if sent.sync && sent.samples == 0 { 900 } else { 150 }];
            bytes[..8].copy_from_slice(&micros.to_be_bytes());
            let payload = publication.budget().payload(bytes);
            let frame = SourceFrame {
                timestamp: u64::from(sent.timestamp as u32),
                offset_ns: 0,
                composition: sent.composition,
                sync: sent.sync,
                samples: sent.samples,
            };
            publication.frame(sent.slot, frame, payload, arrival).unwrap();
            if self.now >= self.polled + self.every {
                self.polled = self.now;
                self.poll(&mut part);
            }
        }
    }

    /// The encoder is gone for so long, and comes back on the same broadcast.
    pub(crate) fn reconnect_after(&mut self, gone: Duration, mut part: impl FnMut(&Index)) {
        let at = self.start + self.now;
        self.publication.take().unwrap().park(at + Duration::from_secs(60), at);
        self.poll(&mut part);
        self.now += gone;
        self.publication = Some(publish(&self.origin, self.start + self.now));
    }

    /// The encoder says goodbye.
    pub(crate) fn end(&mut self) {
        self.publication.take().unwrap().end(Close::Ended, self.start + self.now);
        let outcome = self.packaging.poll(&cx(), self.start + self.now);
        assert_eq!(outcome, Poll::Ready(Ok(Close::Ended)));
        self.follow(&mut |_| ());
        self.index.end();
    }

    /// Somebody makes these levels of an original, which has so many pictures beside it.
    pub(crate) fn offer(
        &mut self,
        (original, beside): &(TrackDescription, Vec<Init>),
        levels: Vec<TrackDescription>,
    ) {
        let original = Original { track: original, beside: beside.iter().collect() };
        self.packaging.offer(&original, levels, self.start + self.now).unwrap();
    }

    /// The encoder says so of its bits a second.
    pub(crate) fn declare_bitrate(&mut self, slot: Slot, bits: u64) {
        self.publication.as_mut().unwrap().declare_bitrate(slot, bits);
    }

    /// Bits a second were measured, the peak and the mean.
    pub(crate) fn measured(&mut self, of: &[(&str, u64, u64)]) {
        let of: Vec<_> =
            of.iter().map(|(name, peak, mean)| ((*name).into(), *peak, *mean)).collect();
        self.packaging.measured(&of, self.start + self.now).unwrap();
    }

    /// What levels can be made of, pictures or sound, with what is beside it.
    pub(crate) fn original(&self, role: Role) -> Option<(TrackDescription, Vec<Init>)> {
        let found = self.packaging.originals().find(|original| original.track.role == role)?;
        Some((found.track.clone(), found.beside.into_iter().cloned().collect()))
    }

    /// The tracks of the newest edition of a catalog.
    pub(crate) fn listed(&self, catalog: TrackName) -> Vec<String> {
        let tracks = Catalog::parse(&self.catalog(catalog)).unwrap().tracks;
        tracks.into_iter().map(|track| track.name).collect()
    }

    /// The newest edition of a catalog.
    pub(crate) fn catalog(&self, catalog: TrackName) -> Bytes {
        let track = self.broadcast.get(&catalog).unwrap();
        let object = track.object(track.largest().unwrap()).unwrap();
        object.whole().unwrap().iter().flat_map(|piece| piece.to_vec()).collect()
    }

    /// The encoder makes key frames when it is asked to.
    pub(crate) fn begins_groups_when_asked(&mut self, slot: Slot) {
        self.publication.as_mut().unwrap().begins_groups_when_asked(slot);
    }

    /// The encoder takes a track away.
    pub(crate) fn rest(&mut self, slot: Slot) {
        let now = self.start + self.now;
        self.publication.as_mut().unwrap().rest(slot, now);
        self.poll(&mut |_| ());
    }

    /// What it is asked for now.
    pub(crate) fn wanted_groups(&mut self) -> Vec<Slot> {
        self.poll(&mut |_| ());
        let now = self.start + self.now;
        self.publication.as_mut().unwrap().wanted_groups(&cx(), now)
    }

    pub(crate) fn track(&self, name: TrackName) -> spine::track::Consumer {
        self.broadcast.get(&name).unwrap()
    }

    pub(crate) fn findings(&self) -> Findings {
        self.packaging.findings()
    }

    fn arrival(&self) -> Arrival {
        let wall_clock_ms = WALL_MS + u64::try_from(self.now.as_millis()).unwrap();
        Arrival { at: self.start + self.now, wall_clock_ms }
    }

    fn poll(&mut self, part: &mut impl FnMut(&Index)) {
        assert!(self.packaging.poll(&cx(), self.start + self.now).is_pending());
        self.follow(part);
        let newest = self.track(package::CATALOG).largest().map(|at| at.group);
        if newest != self.edition && self.index.playable() {
            self.edition = newest;
            self.editions.push((self.catalog(package::CATALOG), self.index.clone()));
        }
    }

    /// Reads what is new of the packaged tracks.
    fn follow(&mut self, part: &mut impl FnMut(&Index)) {
        for name in TRACKS {
            let Some(track) = self.broadcast.get(&TrackName::new(name).unwrap()) else { continue };
            let Some(largest) = track.largest() else { continue };
            let read = self.read.entry(name).or_insert(Location { group: 100, object: 0 });
            while *read <= largest {
                let Ok(object) = track.object(*read) else {
                    *read = Location { group: read.group + 1, object: 0 };
                    continue;
                };
                let header = object.header();
                let bytes = object.len() as u64;
                self.index.apply(name, *read, &header.properties, bytes).unwrap();
                let segments = &self.index.rendition(name).unwrap().segments;
                let scale = f64::from(segments.back().unwrap().info.timescale);
                let pieces = object.whole().unwrap();
                if pieces[1].len() < 100 {
                    // Silence says nothing.
                    read.object += 1;
                    part(&self.index);
                    continue;
                }
                let truth = u64::from_be_bytes(pieces[1][..8].try_into().unwrap()) as f64 / 1e6;
                let decode = header.timing.unwrap().decode as f64 / scale;
                self.placed.push((name, read.group, truth, decode));
                read.object += 1;
                part(&self.index);
            }
        }
    }
}

fn publish(origin: &Origin, now: Instant) -> Publication {
    let path = Path::new(["default", "input"]).unwrap();
    let route = Route::local(NodeId(1), 7);
    let broadcast = origin.publish(&path, route, Takeover::Replace).unwrap();
    Publication::new(broadcast, SourceClock::RTMP, 0, now)
}
