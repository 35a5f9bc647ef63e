//! Clips that are videos of their own: a range of a video, copied. Nothing is encoded anew, and nothing of the source is
//! needed any more when it is done.

use std::collections::BTreeSet;

use bytes::Bytes;
use control::{
    Captions, ClipOf, DocumentError, Epoch, InputUid, NewClip, PartRecord, SegmentRecord,
    TrackRecord, Video, VideoSettings, VideoUid,
};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use media::catalog::{Catalog, Description, Edition, Init, TrackDescription};
use media::webvtt::WebVtt;
use package::clip::{
    ClipSegment, ClipShare, ClipTrack, Fragments, Outline, PartRef, Piece, Plan, Planner, Refused,
    Wanted,
};
use store::{Key, Kind, Object};

use crate::captions;
use crate::history::{DeleteError, History, HistoryError};
use crate::limits::{CLIP_PUTS, CLIPS_AT_ONCE};
use crate::recording::{File, Recording};
use crate::space::{Paused, Space};

/// A clip that is wanted.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The video.
    pub source: VideoUid,
    /// Milliseconds of it, as players count.
    pub from_ms: u64,
    /// Where it ends.
    pub to_ms: u64,
    /// The clip's own id.
    pub uid: VideoUid,
    /// What makes the names of its objects unique.
    pub random: u64,
    /// What its owner chose.
    pub settings: VideoSettings,
    /// What the source's owner had chosen, which `settings` were made of.
    pub source_settings: VideoSettings,
    /// When it will be deleted, if it will.
    pub delete_ms: Option<u64>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// Why there is no clip.
#[derive(Debug, thiserror::Error)]
pub enum ClipError {
    /// There is no such video.
    #[error("there is no such video")]
    NoSource,
    /// It can't be cut there.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is on the air, and not recorded so far.
    #[error("it is on the air, and recorded up to {recorded_ms} ms: ask again in a few seconds")]
    NotYet {
        /// As players count.
        recorded_ms: u64,
    },
    /// Some of the source went while it was copied.
    #[error("some of it is no longer there")]
    Gone,
    /// So many are made already.
    #[error("{CLIPS_AT_ONCE} clips are being made at the moment")]
    Busy,
    /// The disk is full.
    #[error("{0}")]
    NoRoom(Paused),
    /// The input's clips take up what they may.
    #[error(
        "the clips of this live input take up the {max_bytes} bytes that they may: delete some, or give it more"
    )]
    TooMuch {
        /// `recording.maxTotalBytes` of the input, else `retention.max_input_gb`.
        max_bytes: u64,
    },
    /// The index or media.
    #[error(transparent)]
    Read(#[from] HistoryError),
    /// An object.
    #[error(transparent)]
    Store(#[from] store::PutError),
    /// Its document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It can't be remembered that objects are on their way.
    #[error(transparent)]
    Expect(#[from] DeleteError),
}

/// Segments of a clip on their way to the store.
type Puts<'a> = FuturesUnordered<BoxFuture<'a, Result<(), store::PutError>>>;

/// The epoch of a clip: nobody else ever has it.
const EPOCH: Epoch = Epoch(1);

impl History {
    /// Makes a clip. When this returns, it is a video, whole and durable. The future may be dropped: there is then no
    /// clip, or all of it, and what was stored for nothing is found again.
    pub async fn clip(&self, cut: Cut, space: &Space) -> Result<Video, ClipError> {
        let _room = self.clips().try_acquire().map_err(|_| ClipError::Busy)?;
        space.look(self.store()).map_err(ClipError::NoRoom)?;
        let source = self.recording(&cut.source).await?.ok_or(ClipError::NoSource)?;
        self.bound(&source.video.input, space).await?;
        let wanted = Wanted {
            from_ns: cut.from_ms.saturating_mul(1_000_000),
            to_ns: cut.to_ms.saturating_mul(1_000_000),
            picture: true,
        };
        let (plan, whole, inits) = self.plan(&source, wanted).await?;
        if !whole {
            let recorded_ms = (plan.from_ns + plan.duration_ns) / 1_000_000;
            return Err(ClipError::NotYet { recorded_ms });
        }
        let fragments = Fragments::new(&plan, &source.index)?;
        let uid = cut.uid.clone();
        let making = self.making(&uid);
        self.expect_objects(&uid).await?;
        let made = self.store_clip(cut, &source, &plan, &fragments, (&inits, space)).await;
        drop(making);
        self.forget(&uid);
        if let Err(error) = self.tidy(&uid).await {
            tracing::warn!(video = %uid, %error, "orphans are looked for later");
        }
        made
    }

    /// Clips do not go for what an input's broadcasts may keep, but together they may take up as much as these: whoever may
    /// cut one input's videos must not fill the disk that all share.
    async fn bound(&self, input: &InputUid, space: &Space) -> Result<(), ClipError> {
        let usage = self.control().usage().await.map_err(DocumentError::from)?;
        let clips = usage.iter().find(|u| u.clips && u.input == *input);
        let max = clips.and_then(|u| u.max_bytes.or(space.input_max()));
        match max.zip(clips) {
            Some((max, clips)) if clips.bytes >= max => Err(ClipError::TooMuch { max_bytes: max }),
            _ => Ok(()),
        }
    }

    async fn store_clip(
        &self,
        mut cut: Cut,
        source: &Recording,
        plan: &Plan,
        fragments: &Fragments,
        (inits, space): (&[(u64, Bytes)], &Space),
    ) -> Result<Video, ClipError> {
        let mut puts = FuturesUnordered::new();
        let stored = self.store_segments(&cut, source, plan, fragments, (inits, space), &mut puts);
        let stored = stored.await;
        // What is on its way when one has failed arrives, so that it is tidied up with the rest.
        while puts.next().await.is_some() {}
        let records = stored?;
        self.store_captions(&mut cut, source, plan).await?;
        let clip = NewClip {
            uid: cut.uid.clone(),
            input: source.video.input.clone(),
            of: ClipOf {
                video: cut.source,
                from_ms: plan.from_ns / 1_000_000,
                duration_ms: plan.duration_ns.div_ceil(1_000_000),
                hidden_ns: fragments.hidden_ns,
                seen_ns: plan.duration_ns,
            },
            source: cut.source_settings,
            now_ms: cut.now_ms,
            delete_ms: cut.delete_ms,
            settings: cut.settings,
            catalog: catalog(source, plan, inits)?.to_json(),
            records,
        };
        Ok(self.control().create_clip(clip).await?)
    }

    /// What its source's captions say meanwhile, counted from its beginning.
    async fn store_captions(
        &self,
        cut: &mut Cut,
        source: &Recording,
        plan: &Plan,
    ) -> Result<(), ClipError> {
        let from_ms = plan.from_ns / 1_000_000;
        let to_ms = (plan.from_ns + plan.duration_ns).div_ceil(1_000_000);
        for (language, captions) in &cut.source_settings.captions {
            // Of what was deleted meanwhile there is no clip anyway: its source has other settings now.
            let Some(text) = self.captions_of(&source.video.uid, captions).await? else { continue };
            let said = WebVtt::parse(&text).ok().map(|file| file.between(from_ms, to_ms));
            let Some(said) = said.filter(|text| WebVtt::parse(text.as_bytes()).is_ok()) else {
                continue;
            };
            let bytes = said.len() as u64;
            let own = Captions { bytes, ..captions.clone() };
            let key = captions::key(&cut.uid, &own).map_err(HistoryError::from)?;
            self.store().put(&key, vec![Bytes::from(said)]).await?;
            cut.settings.captions.insert(language.clone(), own);
        }
        Ok(())
    }

    /// Stores its segments, of which the next is read while the ones before are on their way to the disk.
    async fn store_segments<'a>(
        &'a self,
        cut: &Cut,
        source: &Recording,
        plan: &Plan,
        fragments: &Fragments,
        (inits, space): (&[(u64, Bytes)], &Space),
        puts: &mut Puts<'a>,
    ) -> Result<Vec<SegmentRecord>, ClipError> {
        let mut records = Vec::with_capacity(fragments.segments.len());
        let mut brought = BTreeSet::new();
        for (segment, number) in fragments.segments.iter().zip(1..) {
            space.look(self.store()).map_err(ClipError::NoRoom)?;
            let media = self.media(&source.video.uid, plan, segment).await?;
            let made = Made { plan, inits, number, fragments };
            let (record, chunks) = made.segment(segment, media, cut.random, &mut brought);
            let object = Object {
                video: cut.uid.to_string(),
                kind: Kind::Segment,
                epoch: EPOCH.0,
                number,
                random: cut.random,
            };
            let key = Key::new(&object).map_err(HistoryError::from)?;
            if puts.len() >= CLIP_PUTS {
                puts.next().await.transpose()?;
            }
            let store = self.store();
            puts.push(Box::pin(async move {
                store.put(&key, chunks).await?;
                failpoint::hit("clip.stored");
                Ok(())
            }));
            // It begins with the first look at it.
            while let Some(Some(put)) = puts.next().now_or_never() {
                put?;
            }
            records.push(record);
        }
        while let Some(put) = puts.next().await {
            put?;
        }
        Ok(records)
    }

    /// Plans a clip from what is committed, and reads the initialisation segments that it needs.
    async fn plan(
        &self,
        source: &Recording,
        wanted: Wanted,
    ) -> Result<(Plan, bool, Vec<(u64, Bytes)>), ClipError> {
        let outline = Outline::new(&source.index, wanted)?;
        let video = &source.video.uid;
        let mut inits = Vec::with_capacity(outline.tracks.len());
        for track in &outline.tracks {
            let read = self.file(video, &track.name, File::Init(track.init)).await?;
            inits.push((track.init, read.ok_or(ClipError::Gone)?));
        }
        let bytes: Vec<Bytes> = inits.iter().map(|(_, bytes)| bytes.clone()).collect();
        // A track of which nothing is heard is not in the plan.
        let names: Vec<String> = outline.tracks.iter().map(|t| t.name.clone()).collect();
        let mut planner = Planner::new(outline, &bytes)?;
        while let Some((parts, front)) = planner.wanted() {
            let heads = self.heads(video, &names, parts, front).await?;
            planner.take(&heads)?;
        }
        let (plan, whole) = planner.finish()?;
        let mut named = names.iter().zip(inits);
        let inits = plan.tracks.iter().filter_map(|t| named.find(|(n, _)| *n == t)).map(|(_, i)| i);
        let inits: Vec<(u64, Bytes)> = inits.collect();
        Ok((plan, whole, inits))
    }

    async fn heads(
        &self,
        video: &VideoUid,
        names: &[String],
        parts: &[PartRef],
        front: u64,
    ) -> Result<Vec<Bytes>, ClipError> {
        let Some(first) = parts.first() else { return Ok(Vec::new()) };
        let name = |track: usize| names.get(track).map_or("", String::as_str);
        let wanted: Vec<_> =
            parts.iter().map(|p| (name(p.track), p.part, 0..front.min(p.bytes))).collect();
        let read = self.parts(video, first.epoch, first.segment, &wanted).await?;
        read.ok_or(ClipError::Gone)
    }

    /// The samples of a clip's segment, in its order.
    async fn media(
        &self,
        video: &VideoUid,
        plan: &Plan,
        segment: &ClipSegment,
    ) -> Result<Vec<Bytes>, ClipError> {
        let pieces: Vec<Piece> = segment
            .shares
            .iter()
            .flat_map(|share| &share.parts)
            .flat_map(|part| part.pieces.iter().copied())
            .collect();
        let mut media = Vec::with_capacity(pieces.len());
        for group in pieces.chunk_by(|a, b| a.segment == b.segment) {
            let Some(first) = group.first() else { continue };
            let name = |track: usize| plan.tracks.get(track).map_or("", String::as_str);
            let wanted: Vec<_> = group
                .iter()
                .map(|p| (name(p.track), p.part, p.start..p.start.saturating_add(p.len)))
                .collect();
            let read = self.parts(video, first.epoch, first.segment, &wanted).await?;
            let read = read.ok_or(ClipError::Gone)?;
            let whole =
                read.iter().zip(group).all(|(bytes, piece)| bytes.len() as u64 == piece.len);
            media.extend(Some(read).filter(|_| whole).ok_or(ClipError::Gone)?);
        }
        Ok(media)
    }
}

/// A segment on its way.
struct Made<'a> {
    plan: &'a Plan,
    inits: &'a [(u64, Bytes)],
    number: u64,
    fragments: &'a Fragments,
}

impl Made<'_> {
    /// Its record and the bytes of its object. `media` are the bytes of its pieces, in their order.
    fn segment(
        &self,
        segment: &ClipSegment,
        media: Vec<Bytes>,
        random: u64,
        brought: &mut BTreeSet<u64>,
    ) -> (SegmentRecord, Vec<Bytes>) {
        let mut media = media.into_iter();
        let (mut chunks, mut at, mut tracks) = (Vec::new(), 0, Vec::new());
        let about = self.plan.tracks.iter().zip(self.inits).zip(&self.fragments.tracks);
        for (share, ((name, (init, bytes)), track)) in segment.shares.iter().zip(about) {
            if share.parts.is_empty() {
                continue;
            }
            let mut track = self.track(name, *init, *track, share, segment.wall_clock_ms);
            if brought.insert(*init) {
                track.init_at = Some(at..at + bytes.len() as u64);
                at += bytes.len() as u64;
                chunks.push(bytes.clone());
            }
            track.offset = at;
            for part in &share.parts {
                at += part.bytes();
                chunks.push(Bytes::from(part.head.clone()));
                chunks.extend(media.by_ref().take(part.pieces.len()));
            }
            tracks.push(track);
        }
        let main = tracks.first();
        let record = SegmentRecord {
            number: self.number,
            epoch: EPOCH,
            object: Some(random),
            duration_ms: main.map_or(0, |t| {
                (t.end() - t.start).saturating_mul(1_000) / u64::from(t.timescale.max(1))
            }),
            bytes: at,
            wall_clock_ms: segment.wall_clock_ms,
            gap: false,
            discontinuity: false,
            tracks,
        };
        (record, chunks)
    }

    fn track(
        &self,
        name: &str,
        init: u64,
        about: ClipTrack,
        share: &ClipShare,
        wall_clock_ms: u64,
    ) -> TrackRecord {
        let last = share.parts.len().saturating_sub(1);
        let parts = share.parts.iter().enumerate().map(|(i, part)| PartRecord {
            duration: part.duration,
            bytes: part.bytes(),
            independent: part.independent,
            last: i == last,
            target_known: true,
            key_bytes: part.key_bytes,
        });
        TrackRecord {
            name: name.to_owned(),
            timescale: about.timescale,
            start: share.start,
            wall_clock_ms,
            discontinuity: false,
            discontinuity_sequence: 0,
            gap: false,
            init,
            init_at: None,
            part_target_ms: about.part_target_ms,
            target_duration: self.fragments.target_duration,
            offset: 0,
            parts: parts.collect(),
            closes: false,
        }
    }
}

/// The catalog of a clip: of its tracks only, each as it is in the clip, which may be before it changed in the source.
fn catalog(source: &Recording, plan: &Plan, inits: &[(u64, Bytes)]) -> Result<Catalog, ClipError> {
    let known = source.catalog.as_deref().and_then(|json| Catalog::parse(json).ok());
    let mut tracks = Vec::new();
    for (name, (id, data)) in plan.tracks.iter().zip(inits) {
        let movie = media::mp4::demux(data).ok();
        let track = movie.as_ref().and_then(|m| m.tracks.first()).ok_or(Refused::Damaged)?;
        let init = Init { id: format!("{id:014x}"), data: data.clone() };
        tracks.push(TrackDescription::new(name, &track.config, None, init));
    }
    let edition = Edition {
        generated_at_ms: None,
        live: false,
        target_latency_ms: 0,
        duration_ms: Some(plan.duration_ns / 1_000_000),
        loc: false,
    };
    let mut made = Catalog::new(&Description { tracks }, edition);
    for track in &mut made.tracks {
        let same = known.iter().flat_map(|c| &c.tracks).find(|t| t.name == track.name);
        let Some(same) = same else { continue };
        (track.lang, track.label) = (same.lang.clone(), same.label.clone());
        if same.init_ref == track.init_ref {
            track.framerate = same.framerate.clone().or(track.framerate.take());
        }
    }
    Ok(made)
}
