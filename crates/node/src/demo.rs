//! The demo: a short clip, published to this server over RTMP again and again, without a seam in time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use io_rtmp::push::{Message, Push};
use media::codec::{AudioCodec, Config, VideoCodec};
use media::{flv, mp4};
use rtmp::Kind;
use rtmp::client::Target;

/// The clip for `--demo` without a file: beside the program, where packages put it, or in the clone that
/// the program was built in.
pub(crate) fn installed_clip() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|e| format!("can't find myself: {e}"))?;
    let program = program.canonicalize().unwrap_or(program);
    let beside = program.parent().map(|folder| folder.join("demo.mp4"));
    let above = program.ancestors().skip(2);
    let shared = above.clone().next().map(|prefix| prefix.join("share/airwave/demo.mp4"));
    let built = above.map(|folder| folder.join(".cache/demo/clip.mp4"));
    let places: Vec<PathBuf> = beside.into_iter().chain(shared).chain(built).collect();
    places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| NO_CLIP.to_owned())
}

const NO_CLIP: &str = "\
--demo needs a clip, and none came with this program. Take one of yours:
  airwave serve --demo=FILE.mp4
or let ffmpeg make a test picture with a tone:
  ffmpeg -f lavfi -i testsrc2=size=1280x720:rate=30 -f lavfi -i sine=sample_rate=48000 -t 16 \\
      -c:v libx264 -pix_fmt yuv420p -g 60 -c:a aac demo.mp4
In a clone of the project, `make run` fetches and makes one.";

/// A clip, ready to be sent: messages of one round, in the order of their times.
pub(crate) struct Clip {
    headers: Vec<Message>,
    round: Vec<Timed>,
    /// Microseconds of one round.
    length_us: u64,
    /// Who made it and under which licence, for people.
    pub(crate) credit: Option<String>,
}

struct Timed {
    at_us: u64,
    kind: Kind,
    payload: Bytes,
}

impl Clip {
    /// Reads an MP4 file with H.264 and AAC.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        let file = Bytes::from(file);
        let movie = mp4::demux(&file).with_context(|| format!("can't use {}", path.display()))?;
        let (mut headers, mut round, mut length_us) = (Vec::new(), Vec::new(), 0);
        for track in &movie.tracks {
            let micros = |ticks: i64| {
                u64::try_from(i128::from(ticks) * 1_000_000 / i128::from(track.timescale.max(1)))
                    .unwrap_or(0)
            };
            let (kind, header) = match &track.config {
                Config::Video(video) => match &video.codec {
                    VideoCodec::H264(record) => (Kind::Video, flv::video_header(&record.to_avcc())),
                    _ => bail!("the demo plays H.264"),
                },
                Config::Audio(audio) => match &audio.codec {
                    AudioCodec::Aac(asc) => (Kind::Audio, flv::audio_header(asc.bytes())),
                    _ => bail!("the demo plays AAC"),
                },
            };
            headers.push(Message { kind, timestamp: 0, payload: header.into() });
            for sample in &track.samples {
                let data = sample.data(&file).context("a sample outside of the file")?;
                let composition_ms =
                    i64::from(sample.composition) * 1000 / i64::from(track.timescale);
                let head = match kind {
                    Kind::Video => {
                        flv::video_frame(sample.sync, i32::try_from(composition_ms)?).to_vec()
                    }
                    _ => flv::audio_frame().to_vec(),
                };
                let payload = [head.as_slice(), &data].concat().into();
                round.push(Timed { at_us: micros(sample.decode), kind, payload });
                length_us = length_us.max(micros(sample.decode + i64::from(sample.duration)));
            }
        }
        if round.is_empty() {
            bail!("{} has neither H.264 video nor AAC audio", path.display());
        }
        round.sort_by_key(|m| m.at_us);
        let credit = std::fs::read_to_string(path.with_extension("txt")).ok();
        let credit = credit.and_then(|text| text.lines().next().map(str::to_owned));
        Ok(Self { headers, round, length_us, credit })
    }

    /// Publishes for ever; when the connection is lost, begins anew.
    pub(crate) async fn publish(self, target: Target, random: fn(&mut [u8; 32])) {
        loop {
            let mut seed = [0; 32];
            random(&mut seed);
            match self.publish_once(target.clone(), seed).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "the demo was interrupted; trying again"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn publish_once(&self, target: Target, seed: [u8; 32]) -> Result<()> {
        let mut push = Push::connect(target, seed).await?;
        for header in &self.headers {
            push.send(header.clone()).await?;
        }
        let start = Instant::now();
        for round in 0u64.. {
            for message in &self.round {
                let at = Duration::from_micros(round * self.length_us + message.at_us);
                tokio::time::sleep_until((start + at).into()).await;
                // RTMP has 32 bits of milliseconds, and they wrap.
                let timestamp = (at.as_millis() & u128::from(u32::MAX)) as u32;
                let Timed { kind, payload, .. } = message;
                push.send(Message { kind: *kind, timestamp, payload: payload.clone() }).await?;
            }
        }
        Ok(())
    }
}
