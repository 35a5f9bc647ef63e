//! One segment of sound, encoded: the original's parts in, parts of all wanted levels out, while both come.
//!
//! What a segment's frames sound like depends on what came before it: decoder and encoder are opened for it, and fed from
//! half a second earlier on. Which frames it has, and that none is missing or doubled where two meet, [`Grid`] says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use media::codec::{AudioCodec, AudioConfig, Config, aac, opus};
use media::fmp4::init_segment;
use media::mp4::{Event, Reader};
use package::{Grid, RecutError, Regrid};

use crate::coded::{Coded, Frames};
use crate::job::{JobError, ends_before};
use crate::ladder::Level;
use crate::limits::{LOOK_BACK_SEGMENTS, SOUND_PRE_ROLL};
use crate::made::Made;
use crate::original::{Original, OriginalPart, OriginalSegment};
use crate::wire::{
    Frame, FromEncoder, Output, SoundCodec, SoundCoding, SoundOutput, SoundSource, Source,
    ToEncoder, WireError,
};
use crate::worker::{Counters, From, Given, To, Worker, WorkerError};

/// A level of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sound {
    /// The codec.
    pub coding: SoundCoding,
}

/// Samples a second of every level, whatever its original has: what is under a name stays the same when an encoder changes.
const RATE: u32 = 48_000;

/// Channels of every level, for the same reason.
pub const SOUND_LEVEL_CHANNELS: u8 = 2;

impl Sound {
    /// Where its frames lie.
    pub fn grid(&self) -> Grid {
        let (frame, ahead) = match self.coding {
            // A window spans two frames, and how it is cut depends on the next.
            SoundCoding::Aac => (1_024, 2_048),
            // 20 ms, as WebRTC wants it. It looks ahead by 6.5 ms.
            SoundCoding::Opus => (960, 960),
        };
        Grid { rate: RATE, frame, ahead }
    }

    /// What players must know. Nobody need be asked for it.
    pub fn config(&self) -> AudioConfig {
        match self.coding {
            SoundCoding::Aac => {
                aac::AudioSpecificConfig::low_complexity(RATE, SOUND_LEVEL_CHANNELS).config()
            }
            SoundCoding::Opus => opus::Head::stereo_at_most(SOUND_LEVEL_CHANNELS).config(),
        }
    }

    /// The initialisation segment.
    pub(crate) fn init(&self) -> Bytes {
        init_segment(&Config::Audio(self.config()), RATE)
    }

    /// The encoder's name in FFmpeg.
    pub(crate) fn encoder(&self) -> &'static str {
        match self.coding {
            SoundCoding::Aac => "aac",
            SoundCoding::Opus => "libopus",
        }
    }
}

/// The configuration of an original of sound, from its initialisation segment.
pub fn sound_of(init: &Bytes) -> Option<AudioConfig> {
    let mut reader = Reader::new();
    reader.push(init);
    let Ok(Some(Event::Movie(movie))) = reader.next_event() else { return None };
    movie.tracks.into_iter().find_map(|track| match track.config {
        Config::Audio(audio) => Some(audio),
        Config::Video(_) => None,
    })
}

/// How a decoder is told of an original.
pub(crate) fn source_of(config: &AudioConfig) -> Option<SoundSource> {
    let (codec, record) = match &config.codec {
        AudioCodec::Aac(asc) => (SoundCodec::Aac, asc.bytes().clone()),
        // What stands at its beginning is not skipped: a segment begins anywhere.
        AudioCodec::Opus(head) => (SoundCodec::Opus, head.without_pre_skip().to_opus_head()),
        AudioCodec::Ac3(ac3) if ac3.is_enhanced() => (SoundCodec::Eac3, Bytes::new()),
        AudioCodec::Ac3(_) => (SoundCodec::Ac3, Bytes::new()),
        // STREAMINFO without the head of its block.
        AudioCodec::Flac(info) => (SoundCodec::Flac, info.to_dfla().slice(4..)),
        AudioCodec::Mp3(_) => (SoundCodec::Mp3, Bytes::new()),
        _ => return None,
    };
    let (timescale, channels) = (config.sample_rate, config.channels);
    Some(SoundSource { codec, timescale, channels, record })
}

/// What is made of one segment.
pub(crate) struct SoundJob<'a> {
    pub(crate) original: &'a dyn Original,
    pub(crate) number: u64,
    pub(crate) config: &'a AudioConfig,
    pub(crate) init: &'a Bytes,
    pub(crate) levels: Vec<(Level, Arc<Made>)>,
    pub(crate) counters: &'a Counters,
}

/// What both ways share.
type Cuts = Vec<(Regrid, usize, Arc<Made>)>;

fn locked(cuts: &Mutex<Cuts>) -> MutexGuard<'_, Cuts> {
    cuts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn each(
    cuts: &Mutex<Cuts>,
    f: impl Fn(&mut Regrid) -> Result<(), RecutError>,
) -> Result<(), RecutError> {
    for (cut, next, made) in locked(cuts).iter_mut() {
        let done = f(cut);
        hand_out(cut, next, made);
        done?;
    }
    Ok(())
}

fn hand_out(cut: &mut Regrid, next: &mut usize, made: &Made) {
    while let Some(part) = cut.take() {
        made.push(*next, part.pieces);
        *next += 1;
    }
}

impl SoundJob<'_> {
    /// Does it. Parts go to those who wait as they come.
    pub(crate) async fn run(
        &self,
        worker: &mut Worker,
        first: OriginalPart,
    ) -> Result<(), JobError> {
        let segment = self.original.segment(self.number).ok_or(JobError::NoOriginal)?;
        let cuts = Mutex::new(Cuts::new());
        let ended = AtomicBool::new(false);
        let decodes = self.counters.decodes.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(
            number = self.number,
            levels = self.levels.len(),
            decodes,
            "encoding sound"
        );
        let fed = async {
            self.feed(&mut worker.to, segment, first, &cuts).await?;
            ended.store(true, Ordering::Release);
            Ok::<_, JobError>(())
        };
        tokio::try_join!(fed, self.receive(&mut worker.from, &cuts, &ended))?;
        each(&cuts, Regrid::end).map_err(JobError::TooLittle)?;
        self.counters.encodes.fetch_add(self.levels.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    async fn feed(
        &self,
        to: &mut To,
        segment: OriginalSegment,
        first: OriginalPart,
        cuts: &Mutex<Cuts>,
    ) -> Result<(), JobError> {
        let mut reader = Frames::new(self.init);
        let (mut part, mut frames) = (first.clone(), reader.of(&first)?);
        let begins = frames.first().ok_or(JobError::NoOriginal)?.decode;
        let start = u64::try_from(begins).unwrap_or(0);
        let before = self.before(segment, begins).await?;
        to.send(&self.begin(start)?).await?;
        let new = |(level, made): &(Level, Arc<Made>)| {
            let cut = Regrid::new(self.number, level.as_sound()?.grid(), start, self.timescale());
            Some((cut, 0, made.clone()))
        };
        locked(cuts).extend(self.levels.iter().filter_map(new));
        for frame in before {
            send(to, frame).await?;
        }
        // Where the part before ends: by its frames, and by what lists say, where its last frame may be in part the next one's.
        let mut ended: Option<(i64, u64)> = None;
        for index in 1.. {
            if let Some((first, last)) = frames.first().zip(frames.last()) {
                let at = match ended {
                    Some((end, said)) if end == first.decode => said,
                    _ => u64::try_from(first.decode).unwrap_or(0),
                };
                let duration = part.duration;
                each(cuts, |cut| cut.part(at, duration, part.last))?;
                let end = last.decode.saturating_add(last.duration.into());
                ended = Some((end, at.saturating_add(duration.into())));
            }
            for frame in frames {
                send(to, frame).await?;
            }
            if part.last {
                break;
            }
            part = match self.original.part(self.number, index).await? {
                Some(part) => part,
                None if ends_before(self.original, self.number, index) => break,
                None => return Err(JobError::NoOriginal),
            };
            frames = reader.of(&part)?;
        }
        to.send(&ToEncoder::End).await?;
        Ok(())
    }

    fn timescale(&self) -> u32 {
        self.config.sample_rate
    }

    fn begin(&self, start: u64) -> Result<ToEncoder, JobError> {
        let source = Source::Sound(source_of(self.config).ok_or(JobError::Codec)?);
        let output = |level: &Level| {
            let sound = level.as_sound()?;
            let (Sound { coding }, grid, rate) = (sound, sound.grid(), RATE);
            let first = i64::try_from(grid.first(start, self.timescale())).unwrap_or(i64::MAX);
            let (kbps, frame, channels) = (level.max_kbps, grid.frame, SOUND_LEVEL_CHANNELS);
            Some(Output::Sound(SoundOutput { coding, rate, channels, kbps, frame, first }))
        };
        let outputs = self.levels.iter().filter_map(|(level, _)| output(level)).collect();
        Ok(ToEncoder::Begin { source, outputs })
    }

    /// What lies before the segment, as far as it follows from it without a hole.
    async fn before(&self, this: OriginalSegment, begins: i64) -> Result<Vec<Coded>, JobError> {
        let units = SOUND_PRE_ROLL.as_millis() as i64 * i64::from(self.timescale()) / 1_000;
        let mut found: Vec<Coded> = Vec::new();
        let oldest = self.number.saturating_sub(LOOK_BACK_SEGMENTS);
        for number in (oldest..self.number).rev() {
            let same = |s: &OriginalSegment| s.complete && s.init == this.init;
            if !self.original.segment(number).as_ref().is_some_and(same) {
                break;
            }
            let earlier = self.frames_of(number).await?;
            let next = found.first().map_or(begins, |frame| frame.decode);
            let ends = earlier.last().map(|f| f.decode + i64::from(f.duration));
            // Behind a hole, or a discontinuity, everything begins anew.
            if ends != Some(next) {
                break;
            }
            let from =
                earlier.partition_point(|f| f.decode + i64::from(f.duration) <= begins - units);
            let enough = from > 0;
            found = earlier.into_iter().skip(from).chain(found).collect();
            if enough {
                break;
            }
        }
        Ok(found)
    }

    async fn frames_of(&self, number: u64) -> Result<Vec<Coded>, JobError> {
        let (mut reader, mut frames) = (Frames::new(self.init), Vec::new());
        for index in 0.. {
            // It may have left memory meanwhile: then it is begun without it.
            let Some(part) = self.original.part(number, index).await? else { break };
            frames.extend(reader.of(&part)?);
            if part.last {
                break;
            }
        }
        Ok(frames)
    }

    async fn receive(
        &self,
        from: &mut From,
        cuts: &Mutex<Cuts>,
        ended: &AtomicBool,
    ) -> Result<(), JobError> {
        let mut given = Given::default();
        loop {
            // While the original is being made it has nothing to say for long.
            match from.answer(|| ended.load(Ordering::Acquire)).await? {
                FromEncoder::Began { .. } | FromEncoder::GoesOn => {}
                FromEncoder::Packet { output, present, data, .. } => {
                    given.packet(data.len())?;
                    let mut cuts = locked(cuts);
                    let Some((cut, next, made)) = cuts.get_mut(usize::from(output)) else {
                        return Err(WorkerError::from(WireError::Unknown("the output")).into());
                    };
                    let done = cut.frame(present, data);
                    hand_out(cut, next, made);
                    done?;
                }
                FromEncoder::Done { broken, .. } => {
                    self.counters.broken_frames.fetch_add(u64::from(broken), Ordering::Relaxed);
                    return Ok(());
                }
                FromEncoder::Failed(words) | FromEncoder::NoEncoder(words) => {
                    return Err(JobError::Failed(words));
                }
                FromEncoder::Hello(_) => {
                    return Err(WorkerError::from(WireError::Unknown("the greeting")).into());
                }
            }
        }
    }
}

async fn send(to: &mut To, frame: Coded) -> Result<(), JobError> {
    let Coded { present, sync, data, .. } = frame;
    let frame = Frame { present, sync, shown: true, begins: false, alone: false, data };
    Ok(to.send(&ToEncoder::Frame(frame)).await?)
}
