//! One segment, encoded: the original's parts in, parts of all wanted levels out, while both come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use media::codec::h264::{self, annex_b_to_lengths};
use media::codec::{Config, VideoConfig};
use media::fmp4::init_segment;
use media::mp4::{self, Event, Reader};
use package::{Recut, RecutError};

use crate::allowance::At;
use crate::coded::{Coded, Frames, decodable_from, is_behind, shown_from};
use crate::hardware::Coder;
use crate::ladder::{Level, Pace, codec_of};
use crate::made::Made;
use crate::original::{Original, OriginalPart, OriginalSegment, Unreadable};
use crate::wire::{Frame, FromEncoder, Output, PictureSource, Source, ToEncoder, WireError};
use crate::worker::{Counters, From, Given, To, Worker, WorkerError};

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// The process.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// What the process said.
    #[error("the encoder failed: {0}")]
    Failed(String),
    /// No worker in time.
    #[error("all encoders are busy")]
    Busy,
    /// An encoder that is none of the processor's.
    #[error("the encoder does not work: {0}")]
    NoEncoder(String),
    /// An encoder that is another one than lists say.
    #[error("the encoder's parameter sets are not those that it said before")]
    Parameters,
    /// A part of the original is not there.
    #[error("a part of the original is not there")]
    NoOriginal,
    /// A part of it does not come, and its place is another's by now.
    #[error("the original stands still, and others wait for an encoder")]
    StandsStill(At),
    /// It is, and can't be read now.
    #[error("the original: {0}")]
    Store(#[from] Unreadable),
    /// The original's boxes.
    #[error("the original: {0}")]
    Mp4(#[from] mp4::StreamError),
    /// No codec that can be decoded.
    #[error("the original is in no codec that can be decoded")]
    Codec,
    /// What the encoder made is no H.264.
    #[error("what the encoder made: {0}")]
    Made(#[from] media::codec::Error),
    /// It does not fill the original's parts.
    #[error(transparent)]
    Recut(#[from] RecutError),
    /// The same, when the process has done what could be done.
    #[error("too little of it can be decoded: {0}")]
    TooLittle(RecutError),
}

impl JobError {
    /// Whether the process has done the job to its end, so that it may do another.
    pub(crate) fn spares_worker(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::TooLittle(_))
    }

    /// Whether an encoder in hardware may be to blame that had this job.
    pub(crate) fn may_be_hardware(&self) -> bool {
        matches!(
            self,
            Self::Worker(_)
                | Self::NoEncoder(_)
                | Self::Parameters
                | Self::Made(_)
                | Self::Recut(_)
        )
    }

    /// Whether it certainly is.
    pub(crate) fn is_hardware(&self) -> bool {
        matches!(self, Self::Parameters | Self::Made(_))
    }

    /// Whether it would be so again: what hung once, or is no video, is not tried twice.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Worker(WorkerError::Ended | WorkerError::Start(_) | WorkerError::Wire(_))
        )
    }
}

/// What is made of one segment.
pub(crate) struct Job<'a> {
    pub(crate) original: &'a dyn Original,
    pub(crate) number: u64,
    pub(crate) config: &'a VideoConfig,
    pub(crate) init: &'a Bytes,
    /// The largest first, and who encodes each.
    pub(crate) levels: Vec<(Level, Coder<'a>, Arc<Made>)>,
    pub(crate) counters: &'a Counters,
    /// Whether an encoder begins a level with what it said when it was asked; asked with that.
    pub(crate) is_as_asked: &'a (dyn Fn(&Level, Coder<'_>, &Bytes) -> bool + Sync),
    /// Parts from which on this goes on with what another encoder has begun: nothing refers to what is before.
    pub(crate) anew: &'a [usize],
}

/// The configuration of an original, from its initialisation segment.
pub fn config_of(init: &Bytes) -> Option<VideoConfig> {
    let mut reader = Reader::new();
    reader.push(init);
    let Ok(Some(Event::Movie(movie))) = reader.next_event() else { return None };
    movie.tracks.into_iter().find_map(|track| match track.config {
        Config::Video(video) => Some(video),
        Config::Audio(_) => None,
    })
}

/// How a worker is told to begin.
pub(crate) fn begin<'a>(
    config: &VideoConfig,
    reorder: u8,
    levels: impl Iterator<Item = (&'a Level, Coder<'a>)>,
    pace: Option<Pace>,
) -> Result<ToEncoder, JobError> {
    let outputs = levels.filter_map(|(level, coder)| level.output(config, coder, pace));
    let outputs = outputs.map(Output::H264).collect();
    begin_with(config, reorder, outputs)
}

/// The same, with any outputs.
pub(crate) fn begin_with(
    config: &VideoConfig,
    reorder: u8,
    outputs: Vec<Output>,
) -> Result<ToEncoder, JobError> {
    let source = PictureSource {
        codec: codec_of(config).ok_or(JobError::Codec)?,
        width: config.width,
        height: config.height,
        reorder,
        record: media::properties::record(&Config::Video(config.clone())),
    };
    Ok(ToEncoder::Begin { source: Source::Pictures(source), outputs })
}

/// The initialisation segment of a level, from its parameter sets in Annex B.
pub(crate) fn init_of(parameters: &[u8], timescale: u32) -> Result<Bytes, media::codec::Error> {
    let units = annex_b_to_lengths(parameters)?;
    let (mut sps, mut pps) = (Vec::new(), Vec::new());
    let mut rest = units;
    while rest.len() > 4 {
        let len = u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        // Lengths are those that were just written.
        let unit = rest.split_off((4 + len).min(rest.len()));
        let whole = std::mem::replace(&mut rest, unit).slice(4..);
        match whole.first().map(|b| b & 0x1f) {
            Some(7) => sps.push(whole),
            Some(8) => pps.push(whole),
            _ => {}
        }
    }
    let record = Arc::new(h264::DecoderConfiguration::new(sps, pps)?);
    Ok(init_segment(&Config::Video(record.config()), timescale))
}

/// What both ways share.
struct Shared {
    recuts: Vec<(Recut, usize, Arc<Made>)>,
}

impl Shared {
    fn each(
        &mut self,
        mut f: impl FnMut(&mut Recut) -> Result<(), RecutError>,
    ) -> Result<(), RecutError> {
        for (recut, next, made) in &mut self.recuts {
            let done = f(recut);
            hand_out(recut, next, made);
            done?;
        }
        Ok(())
    }
}

fn hand_out(recut: &mut Recut, next: &mut usize, made: &Made) {
    while let Some(part) = recut.take() {
        made.push(*next, part.pieces);
        *next += 1;
    }
}

impl Job<'_> {
    /// Does it. Parts go to those who wait as they come.
    pub(crate) async fn run(
        &self,
        worker: &mut Worker,
        first: OriginalPart,
    ) -> Result<(), JobError> {
        let segment = self.original.segment(self.number).ok_or(JobError::NoOriginal)?;
        let shared = Mutex::new(Shared { recuts: Vec::new() });
        let mut feed = Feed {
            job: self,
            to: &mut worker.to,
            frames: Frames::new(self.init),
            shared: &shared,
            reached: i64::MIN,
            pace: pace_of(self.init, &first)?,
            begun: false,
            lasts: 0,
            anew_at: Vec::new(),
        };
        let decodes = self.counters.decodes.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(number = self.number, levels = self.levels.len(), decodes, "encoding");
        let ended = AtomicBool::new(false);
        let fed = async {
            feed.segment(segment, first).await?;
            ended.store(true, Ordering::Release);
            Ok::<_, JobError>(())
        };
        tokio::try_join!(fed, self.receive(&mut worker.from, &shared, &ended))?;
        let ended = shared.lock().unwrap_or_else(PoisonError::into_inner).each(Recut::end);
        ended.map_err(JobError::TooLittle)?;
        self.counters.encodes.fetch_add(self.levels.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn receive(
        &self,
        from: &mut From,
        shared: &Mutex<Shared>,
        ended: &AtomicBool,
    ) -> Result<(), JobError> {
        let mut given = Given::default();
        loop {
            // While the original is being made it has nothing to say for long.
            let message = from.answer(|| ended.load(Ordering::Acquire)).await?;
            match message {
                FromEncoder::GoesOn => {}
                FromEncoder::Began { output, parameters } => {
                    let level = self.levels.get(usize::from(output));
                    let (level, coder, _) =
                        level.ok_or(WorkerError::Wire(WireError::Unknown("the output")))?;
                    if !(self.is_as_asked)(level, *coder, &parameters) {
                        return Err(JobError::Parameters);
                    }
                }
                FromEncoder::Packet { output, present, sync, data } => {
                    given.packet(data.len())?;
                    let data = annex_b_to_lengths(&data)?;
                    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let place = shared.recuts.get_mut(usize::from(output));
                    let Some((recut, next, made)) = place else {
                        return Err(WorkerError::from(WireError::Unknown("the output")).into());
                    };
                    let done = recut.frame(present, sync, data);
                    hand_out(recut, next, made);
                    done?;
                }
                FromEncoder::Done { decoded, broken } => {
                    self.counters.pictures.fetch_add(u64::from(decoded), Ordering::Relaxed);
                    self.counters.broken_frames.fetch_add(u64::from(broken), Ordering::Relaxed);
                    return Ok(());
                }
                FromEncoder::Failed(words) => return Err(JobError::Failed(words)),
                FromEncoder::NoEncoder(words) => return Err(JobError::NoEncoder(words)),
                FromEncoder::Hello(_) => {
                    return Err(WorkerError::from(WireError::Unknown("the greeting")).into());
                }
            }
        }
    }
}

/// Whether a segment is whole without this part: its broadcast ended in the middle of it.
pub(crate) fn ends_before(original: &dyn Original, number: u64, part: usize) -> bool {
    original.segment(number).is_some_and(|s| s.complete && part >= s.parts)
}

/// Whether this part has been there. One that memory has given up since is not the end of anything.
pub(crate) fn has_part(original: &dyn Original, number: u64, part: usize) -> bool {
    original.segment(number).is_some_and(|s| part < s.parts)
}

/// Of the segment itself, also where decoding begins with one before it.
fn pace_of(init: &Bytes, first: &OriginalPart) -> Result<Option<Pace>, JobError> {
    let frames = Frames::new(init).of(first)?;
    Ok(Pace::of(frames.iter().map(|frame| frame.duration)))
}

/// A part of the original, read.
struct Part {
    /// The number of the part behind it.
    index: usize,
    duration: u32,
    last: bool,
    frames: Vec<Coded>,
}

struct Feed<'a> {
    job: &'a Job<'a>,
    to: &'a mut To,
    frames: Frames,
    shared: &'a Mutex<Shared>,
    /// The latest picture of all frames so far.
    reached: i64,
    pace: Option<Pace>,
    begun: bool,
    /// How long the segment's parts so far last.
    lasts: i64,
    /// Where parts begin from which on nothing refers to what is before.
    anew_at: Vec<i64>,
}

impl Feed<'_> {
    async fn segment(
        &mut self,
        segment: OriginalSegment,
        first: OriginalPart,
    ) -> Result<(), JobError> {
        if !segment.independent {
            self.look_back().await?;
        }
        let number = self.job.number;
        let (mut next, mut from) = (Some(first), None);
        // Parts that wait until it is known where the segment begins, which the first one may not tell.
        let mut waiting: Vec<Part> = Vec::new();
        for index in 1.. {
            let whole = match next {
                Some(part) => {
                    let (duration, last) = (part.duration, part.last);
                    let frames = self.frames.of(&part)?;
                    if let Some(frame) = frames.first() {
                        self.begin(frame).await?;
                    }
                    waiting.push(Part { index, duration, last, frames });
                    last
                }
                None => true,
            };
            if from.is_none() {
                let frames = || waiting.iter().flat_map(|part| &part.frames);
                from = shown_from(frames(), self.reached, segment.independent, whole);
                if let Some(from) = from {
                    self.begin_recuts(from);
                }
            }
            match from {
                Some(from) => {
                    for part in waiting.drain(..) {
                        self.part(part, from).await?;
                    }
                }
                None if whole => return Err(JobError::NoOriginal),
                None => {}
            }
            if whole {
                break;
            }
            next = self.job.original.part(number, index).await?;
            if next.is_none() && !ends_before(self.job.original, number, index) {
                return Err(JobError::NoOriginal);
            }
        }
        // Live the next one may be waited for; where none of its pictures can be shown here, that is not worth it.
        let original = self.job.original;
        let open = original.segment(number).is_some_and(|segment| segment.open);
        if open || original.segment(number + 1).is_some() {
            self.leading_of_next().await?;
        }
        self.to.send(&ToEncoder::End).await?;
        Ok(())
    }

    /// A part of which the pictures are shown from here on.
    async fn part(&mut self, part: Part, from: i64) -> Result<(), JobError> {
        let Part { index, duration, last, frames } = part;
        self.shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .each(|recut| recut.part(duration, last))?;
        self.lasts += i64::from(duration);
        if self.job.anew.contains(&index) {
            self.anew_at.push(from + self.lasts);
        }
        for (i, frame) in frames.iter().enumerate() {
            let shown = frame.present >= from;
            self.reached = self.reached.max(frame.present);
            // Groups begin where a part does, so that lists are right which say that it is independent.
            let begins = (i == 0 && frame.sync) || self.is_anew(frame);
            self.send(frame, shown, begins).await?;
        }
        Ok(())
    }

    /// Whether a part may begin with this picture that goes on with what another encoder has begun. At a variable rate a border
    /// may shift by a frame.
    fn is_anew(&self, frame: &Coded) -> bool {
        let near = |at: &i64| (frame.present - at).abs() < i64::from(frame.duration.max(1));
        self.anew_at.iter().any(near)
    }

    /// Pictures that are shown in this segment and coded at the head of the next: of an open group of pictures, or of any that the
    /// border of a segment without a key frame goes through.
    async fn leading_of_next(&mut self) -> Result<(), JobError> {
        let (original, number) = (self.job.original, self.job.number);
        // At the end of a broadcast there is none, and what there is is all there is.
        let part = match original.part(number + 1, 0).await? {
            Some(part) => part,
            None if has_part(original, number + 1, 0) => return Err(JobError::NoOriginal),
            None => return Ok(()),
        };
        let (this, next) = (original.segment(number), original.segment(number + 1));
        let Some(next) = next.filter(|next| this.is_some_and(|this| this.init == next.init)) else {
            return Ok(());
        };
        let (mut frames, mut part) = (Vec::new(), Some(part));
        // As many of its parts as may have one.
        for index in 1.. {
            let Some(read) = part else { break };
            let last = read.last;
            frames.extend(self.frames.of(&read)?);
            if last
                || shown_from(&frames, self.reached, next.independent, false)
                    .is_some_and(|until| is_behind(&frames, until))
            {
                break;
            }
            part = original.part(number + 1, index).await?;
            if part.is_none() && !ends_before(original, number + 1, index) {
                return Err(JobError::NoOriginal);
            }
        }
        let until = shown_from(&frames, self.reached, next.independent, true);
        let Some(until) = until else { return Ok(()) };
        let Some(last) = frames.iter().rposition(|f| f.present < until) else { return Ok(()) };
        for frame in &frames[..=last] {
            self.send(frame, frame.present < until, false).await?;
        }
        Ok(())
    }

    /// Decoding can't start with this segment: what came before it is decoded, and not shown.
    async fn look_back(&mut self) -> Result<(), JobError> {
        let number = self.job.number;
        let from = decodable_from(self.job.original, number);
        if from == number {
            return Err(JobError::Failed("there is no key frame near".to_owned()));
        }
        for number in from..number {
            for index in 0.. {
                let part = self.job.original.part(number, index).await?;
                let part = part.ok_or(JobError::NoOriginal)?;
                for frame in &self.frames.of(&part)? {
                    self.reached = self.reached.max(frame.present);
                    self.begin(frame).await?;
                    self.send(frame, false, false).await?;
                }
                if part.last {
                    break;
                }
            }
        }
        Ok(())
    }

    /// With the first frame it is known how far presentation lags behind.
    async fn begin(&mut self, frame: &Coded) -> Result<(), JobError> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let reorder = frame.reorder();
        let levels = self.job.levels.iter().map(|(level, coder, _)| (level, *coder));
        let message = begin(self.job.config, reorder, levels, self.pace)?;
        self.to.send(&message).await?;
        Ok(())
    }

    fn begin_recuts(&self, present: i64) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let levels = self.job.levels.iter();
        shared.recuts = levels
            .map(|(.., made)| (Recut::new(self.job.number, present), 0, made.clone()))
            .collect();
    }

    async fn send(&mut self, frame: &Coded, shown: bool, begins: bool) -> Result<(), JobError> {
        let Coded { present, sync, .. } = *frame;
        let data = frame.data.clone();
        let frame = Frame { present, sync, shown, begins, alone: false, data };
        self.to.send(&ToEncoder::Frame(frame)).await?;
        Ok(())
    }
}
