//! A source as a broadcast on a spine of its own: what a MoQ server subscribes to.

use std::collections::BTreeMap;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use media::catalog::{Catalog, Description, Edition, Init, TrackDescription};
use media::codec::{AudioStream, Config, Ratio, VideoStream};
use media::timeline::{SourceClock, SourceFrame};
use media::{Arrival, Publication, Slot};
use moqt::Namespace;
use package::{CutRules, Packaging as Packager, Rules};
use spine::{Close, Header, NodeId, Origin, Path, Route, Takeover, TrackInfo, TrackName, track};

use super::{Packaging, PublishError};
use crate::limits::PUBLISHED_BYTES;
use crate::source::{Codec, Frame, Item, Track};

/// One picture an object, and about two frames of sound: nothing waits for a part to be full.
const PART: Duration = Duration::from_millis(40);

const CATALOG: TrackName = TrackName::from_static("catalog");

/// A broadcast that is being published.
pub(super) struct OnAir {
    origin: Origin,
    publication: Option<Publication>,
    video: BTreeMap<u8, VideoStream>,
    audio: BTreeMap<u8, AudioStream>,
    /// What is spoken in tracks whose source says it.
    languages: BTreeMap<Slot, String>,
    listing: Listing,
}

/// Who writes the catalog.
enum Listing {
    /// The packager, with the tracks that it makes.
    Cmaf(Box<Packager>),
    /// We do: it lists the raw tracks.
    Loc { track: track::Producer, description: BTreeMap<Slot, TrackDescription> },
}

fn failed(error: impl std::fmt::Display) -> PublishError {
    PublishError::Media(error.to_string())
}

impl OnAir {
    pub(super) fn new(namespace: &Namespace, packaging: Packaging) -> Result<Self, PublishError> {
        let limits = spine::Limits { cache_bytes: PUBLISHED_BYTES, ..spine::Limits::default() };
        let origin = Origin::new(limits);
        let path = Path::new(namespace.fields().iter().cloned()).map_err(failed)?;
        let route = Route::local(NodeId(0), 0);
        let producer = origin.publish(&path, route, Takeover::Refuse).map_err(failed)?;
        let broadcast = producer.consume();
        // Groups of an earlier run in the same namespace had lower numbers.
        let first = wall_clock_ms();
        let listing = match packaging {
            Packaging::Cmaf => {
                let rules = Rules { cut: CutRules::default(), part: PART };
                let packager = Packager::new(broadcast.clone(), rules, first).map_err(failed)?;
                Listing::Cmaf(Box::new(packager))
            }
            Packaging::Loc => {
                let info = TrackInfo { priority: 0, ..TrackInfo::default() };
                let track = broadcast.derive(CATALOG, info).map_err(failed)?;
                Listing::Loc { track, description: BTreeMap::new() }
            }
        };
        let clock = SourceClock::MICROSECONDS;
        let publication = Some(Publication::new(producer, clock, first, Instant::now()));
        let (video, audio) = Default::default();
        let languages = BTreeMap::new();
        Ok(Self { origin, publication, video, audio, languages, listing })
    }

    /// What there is to subscribe to.
    pub(super) fn origin(&self) -> Origin {
        self.origin.clone()
    }

    /// Takes what the source holds next; answers how many bytes of media that is.
    pub(super) fn take(&mut self, item: Item) -> Result<usize, PublishError> {
        match item {
            Item::Track(track) => self.track(&track).map(|()| 0),
            Item::Frame(frame) => self.frame(frame),
            Item::Script(_) | Item::Round => Ok(0),
        }
    }

    fn track(&mut self, track: &Track) -> Result<(), PublishError> {
        let (slot, config) = match track.codec {
            Codec::Video(format) => {
                let stream = self.video.entry(track.id).or_insert_with(|| VideoStream::new(format));
                if stream.format() != format {
                    *stream = VideoStream::new(format);
                }
                let config = stream.header(&track.record).map_err(failed)?.map(Config::Video);
                (Slot::Video(track.id), config)
            }
            Codec::Audio(format) => {
                let stream = self.audio.entry(track.id).or_insert_with(|| AudioStream::new(format));
                if stream.format() != format {
                    *stream = AudioStream::new(format);
                }
                let config = stream.header(&track.record).map_err(failed)?.map(Config::Audio);
                (Slot::Audio(track.id), config)
            }
        };
        if let (Some(publication), Some(tag)) = (&mut self.publication, &track.language) {
            publication.declare_language(slot, Some(tag));
            self.languages.insert(slot, tag.clone());
        }
        if let Some(config) = config {
            self.configure(slot, config)?;
        }
        let rate = track.frame_rate.and_then(Ratio::from_frame_rate);
        if let (Some(publication), Some(rate)) = (&mut self.publication, rate) {
            publication.declare_frame_rate(slot, rate);
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame) -> Result<usize, PublishError> {
        let (slot, data, sync, samples, changed) = match frame.codec {
            Codec::Video(format) => {
                let stream = self.video.entry(frame.id).or_insert_with(|| VideoStream::new(format));
                let unit = stream.access_unit(frame.data).map_err(failed)?;
                if !unit.has_picture && unit.changed.is_none() {
                    return Ok(0);
                }
                let changed = unit.changed.map(Config::Video);
                (Slot::Video(frame.id), unit.data, unit.sync, 0, changed)
            }
            Codec::Audio(format) => {
                let stream = self.audio.entry(frame.id).or_insert_with(|| AudioStream::new(format));
                let unit = stream.frame(&frame.data).map_err(failed)?;
                let changed = unit.changed.map(Config::Audio);
                (Slot::Audio(frame.id), frame.data, true, unit.samples, changed)
            }
        };
        if let Some(config) = changed {
            self.configure(slot, config)?;
        }
        let Some(publication) = &mut self.publication else { return Ok(0) };
        let composition = i32::try_from(frame.composition_us).unwrap_or(0);
        let source =
            SourceFrame { timestamp: frame.at_us, offset_ns: 0, composition, sync, samples };
        let bytes = data.len();
        let payload = publication.budget().payload(data);
        publication.frame(slot, source, payload, arrival()).map_err(failed)?;
        Ok(bytes)
    }

    fn configure(&mut self, slot: Slot, config: Config) -> Result<(), PublishError> {
        let Some(publication) = &mut self.publication else { return Ok(()) };
        publication.configure(slot, config.clone(), arrival()).map_err(failed)?;
        let Listing::Loc { track, description } = &mut self.listing else { return Ok(()) };
        let name = String::from_utf8_lossy(slot.name().as_bytes()).into_owned();
        let init = Init { id: name.clone(), data: Bytes::new() };
        let described = TrackDescription::new(name, &config, None, init);
        let language = self.languages.get(&slot).cloned();
        description.insert(slot, TrackDescription { language, ..described });
        let edition = Edition {
            generated_at_ms: Some(wall_clock_ms()),
            live: true,
            target_latency_ms: 1_000,
            duration_ms: None,
            loc: false,
        };
        let tracks = description.values().cloned().collect();
        let catalog = Catalog::loc(&Description { tracks }, edition).to_json();
        let now = Instant::now();
        let group = track.next_group(now).map_err(failed)?;
        let subgroup = group.subgroup(0, now).map_err(failed)?;
        let payload = track.budget().payload(catalog);
        let header = Header { priority: 0, ..Header::new(0, now) };
        subgroup.write(header, vec![payload]).map_err(failed)?;
        subgroup.fin();
        group.end(Some(0), now);
        Ok(())
    }

    /// Packages what was taken. Ready when all of it is there, after [`end`](Self::end).
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<(), PublishError>> {
        match &mut self.listing {
            Listing::Cmaf(packager) => match packager.poll(cx, Instant::now()) {
                Poll::Ready(over) => Poll::Ready(over.map(drop).map_err(failed)),
                Poll::Pending => Poll::Pending,
            },
            Listing::Loc { .. } if self.publication.is_none() => Poll::Ready(Ok(())),
            Listing::Loc { .. } => Poll::Pending,
        }
    }

    /// Nothing more comes. Tracks that are made here end when this is dropped.
    pub(super) fn end(&mut self) {
        if let Some(publication) = self.publication.take() {
            publication.end(Close::Ended, Instant::now());
        }
    }
}

fn arrival() -> Arrival {
    Arrival { at: Instant::now(), wall_clock_ms: wall_clock_ms() }
}

fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
