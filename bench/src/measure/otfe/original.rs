//! A clip as the original of levels: its segments begin at its key frames.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use encode::{Answer, Ladder, Level, Original, OriginalPart, OriginalSegment};
use media::codec::{Config, VIDEO_TIMESCALE, VideoConfig};
use media::fmp4::{Sample, fragment_header, init_segment};
use media::mp4::demux;

const INIT: u64 = 1;
/// A third of a second.
const PART: i64 = VIDEO_TIMESCALE as i64 / 3;

/// A clip in memory.
pub(super) struct Film {
    pub(super) name: String,
    pub(super) config: VideoConfig,
    init: Bytes,
    segments: Vec<Vec<OriginalPart>>,
    /// Presentation times of all frames, sorted.
    pub(super) times: Vec<i64>,
}

impl Film {
    pub(super) fn read(path: &Path) -> Result<Arc<Self>> {
        let file = std::fs::read(path).with_context(|| {
            format!("{} is not there: scripts/otfe-clips.sh makes it", path.display())
        })?;
        let file = Bytes::from(file);
        let movie = demux(&file)?;
        let track = movie.tracks.first().context("no track")?;
        let Config::Video(config) = track.config.clone() else { bail!("no picture") };
        let mut segments: Vec<Vec<OriginalPart>> = Vec::new();
        let mut times = Vec::new();
        for group in track.samples.chunk_by(|_, next| !next.sync) {
            let from = group.first().map_or(0, |s| s.decode);
            let mut parts = Vec::new();
            let chunks: Vec<_> = group
                .chunk_by(|a, b| (a.decode - from) / PART == (b.decode - from) / PART)
                .collect();
            for (index, chunk) in chunks.iter().enumerate() {
                let mut pieces = Vec::new();
                let mut samples = Vec::new();
                for sample in *chunk {
                    let data = track.frame(sample.data(&file).context("a sample's data")?)?;
                    times.push(sample.decode + i64::from(sample.composition));
                    samples.push(Sample {
                        duration: sample.duration,
                        size: u32::try_from(data.len())?,
                        sync: sample.sync,
                        composition_offset: sample.composition,
                    });
                    pieces.push(data);
                }
                let start = u64::try_from(chunk.first().map_or(0, |s| s.decode))?;
                pieces.insert(0, fragment_header(1, start, &samples)?.into());
                let duration = samples.iter().map(|s| s.duration).sum();
                parts.push(OriginalPart { pieces, duration, last: index + 1 == chunks.len() });
            }
            segments.push(parts);
        }
        times.sort_unstable();
        let init = init_segment(&Config::Video(config.clone()), track.timescale);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Arc::new(Self { name, config, init, segments, times }))
    }

    /// Its segments' numbers.
    pub(super) fn numbers(&self) -> std::ops::Range<u64> {
        0..self.segments.len() as u64
    }

    /// Of these rungs.
    pub(super) fn levels(&self, rungs: &[&str]) -> Result<Vec<Level>> {
        let rungs: Vec<_> = rungs.iter().map(|r| r.parse()).collect::<Result<_, _>>()?;
        Ok(Ladder::new(rungs).levels(&self.config))
    }

    /// A segment as a file of its own.
    pub(super) fn file(&self, number: u64) -> Vec<u8> {
        let mut file = self.init.to_vec();
        let parts = usize::try_from(number).ok().and_then(|n| self.segments.get(n));
        parts.into_iter().flatten().for_each(|part| file.extend(part.pieces.concat()));
        file
    }

    fn find(&self, number: u64) -> Option<&Vec<OriginalPart>> {
        self.segments.get(usize::try_from(number).ok()?)
    }
}

impl Original for Film {
    fn video(&self) -> &str {
        &self.name
    }

    fn track(&self) -> &str {
        "video.cmaf"
    }

    fn is_kept(&self) -> bool {
        true
    }

    fn segment(&self, number: u64) -> Option<OriginalSegment> {
        self.find(number).map(|parts| OriginalSegment {
            init: INIT,
            epoch: 1,
            independent: true,
            complete: true,
            open: false,
            parts: parts.len(),
            bytes: parts.iter().flat_map(|p| &p.pieces).map(|p| p.len() as u64).sum(),
            duration_ns: parts.iter().map(|p| u64::from(p.duration)).sum::<u64>() * 1_000_000_000
                / u64::from(VIDEO_TIMESCALE),
        })
    }

    fn part(&self, number: u64, part: usize) -> Answer<'_, OriginalPart> {
        Box::pin(async move { Ok(self.find(number).and_then(|s| s.get(part)).cloned()) })
    }

    fn init(&self, id: u64) -> Answer<'_, Bytes> {
        Box::pin(async move { Ok((id == INIT).then(|| self.init.clone())) })
    }
}

/// A clip again and again, as a film of so many segments.
struct Again {
    film: Arc<Film>,
    segments: u64,
}

impl Again {
    /// The clip's segment that is this one.
    fn of(&self, number: u64) -> u64 {
        match number < self.segments {
            true => number % self.film.numbers().end,
            false => u64::MAX,
        }
    }
}

impl Original for Again {
    fn video(&self) -> &str {
        self.film.video()
    }

    fn track(&self) -> &str {
        self.film.track()
    }

    fn is_kept(&self) -> bool {
        true
    }

    fn segment(&self, number: u64) -> Option<OriginalSegment> {
        self.film.segment(self.of(number))
    }

    fn part(&self, number: u64, part: usize) -> Answer<'_, OriginalPart> {
        self.film.part(self.of(number), part)
    }

    fn init(&self, id: u64) -> Answer<'_, Bytes> {
        self.film.init(id)
    }
}

/// A film of so many segments.
pub(super) fn again(film: &Arc<Film>, segments: u64) -> Arc<dyn Original> {
    Arc::new(Again { film: film.clone(), segments })
}

/// The same as what levels are made of.
pub(super) fn original(film: &Arc<Film>) -> Arc<dyn Original> {
    film.clone()
}
