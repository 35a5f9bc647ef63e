//! A clip that is sent again and again: its messages as encoders send them, with exact times.
//!
//! Made by ffmpeg once and kept. No encoder runs while something is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use media::flv::{Reader, TagKind};
use rtmp::Kind;

/// What a clip is like. All have 30 or 60 frames and 46.875 AAC frames of 1,024 samples a second: 8 s are a
/// whole number of each, so rounds follow each other without a seam.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spec {
    /// Names the file.
    pub(crate) name: &'static str,
    /// Pixels.
    pub(crate) size: (u32, u32),
    /// Frames a second.
    pub(crate) rate: u64,
    /// Bits a second of the pictures.
    pub(crate) video_bits: u32,
    /// Bits a second of the sound.
    pub(crate) audio_bits: u32,
    /// The frame number as squares in the corner: `tests/browser/README.md`.
    pub(crate) counter: bool,
}

/// The stream of I1: 1080p, 6.72 + 0.13 = 6.85 Mbit/s.
pub(crate) const HD: Spec = Spec {
    name: "hd",
    size: (1920, 1080),
    rate: FRAMES_PER_S,
    video_bits: 6_720_000,
    audio_bits: 128_000,
    counter: false,
};

/// 1080p60, of as many bits.
pub(crate) const HD60: Spec = Spec { name: "hd60", rate: 60, ..HD };

/// Segments of about 3 MB in 2 s.
pub(crate) const BIG_SEGMENTS: Spec =
    Spec { name: "big", size: (1920, 1080), video_bits: 12_000_000, ..HD };

/// Parts of about 100 KB in a third of a second.
pub(crate) const SMALL_PARTS: Spec =
    Spec { name: "small", size: (1280, 720), video_bits: 2_400_000, ..HD };

/// What a browser on the same two cores decodes with ease.
pub(crate) const COUNTED: Spec = Spec {
    name: "counted",
    size: (640, 360),
    rate: FRAMES_PER_S,
    video_bits: 1_000_000,
    audio_bits: 96_000,
    counter: true,
};

/// Frames a second, where nothing else is said.
pub(crate) const FRAMES_PER_S: u64 = 30;
/// Frames from key frame to key frame: 2 s.
pub(crate) const GROUP: u64 = 60;
/// Frames of one round, where nothing else is said.
pub(crate) const FRAMES: u64 = 240;
const AUDIO_FRAMES: u64 = 375;
/// How long one round lasts.
pub(crate) const ROUND_US: u64 = 8_000_000;

/// One message of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timed {
    /// When it is due, from the start of the round.
    pub(crate) at_us: u64,
    /// What it is.
    pub(crate) kind: Kind,
    /// The body of the FLV tag.
    pub(crate) payload: Bytes,
}

/// A clip, ready to be sent.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Configurations, sent once at the start.
    pub(crate) headers: Vec<(Kind, Bytes)>,
    /// One round, by time.
    pub(crate) round: Vec<Timed>,
}

impl Ring {
    /// The clip of this kind; made in `folder` if it is not there.
    pub(crate) fn make(folder: &Path, spec: &Spec) -> Result<Self> {
        let path = folder.join(format!("{}.flv", spec.name));
        if !path.is_file() {
            encode(&path, spec)?;
        }
        let file = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Self::read(&file, spec.rate).with_context(|| format!("{} is of no use", path.display()))
    }

    /// Bits a second of what is sent, message bodies only.
    pub(crate) fn bits_per_s(&self) -> f64 {
        self.bytes_per_round() as f64 * 8e6 / ROUND_US as f64
    }

    /// Bytes of one round's bodies.
    pub(crate) fn bytes_per_round(&self) -> u64 {
        self.round.iter().map(|message| message.payload.len() as u64).sum()
    }

    /// Takes the configurations and the pictures and sound of the first round of an FLV file, and gives them their
    /// exact times: the file has milliseconds only.
    fn read(file: &[u8], rate: u64) -> Result<Self> {
        let frames = FRAMES * rate / FRAMES_PER_S;
        let mut reader = Reader::new();
        reader.push(file);
        let (mut headers, mut round) = (Vec::new(), Vec::new());
        let (mut pictures, mut sounds) = (0, 0);
        while let Some(tag) = reader.next_tag()? {
            // Of both AVC and AAC, 0 in the second byte says that it is a configuration.
            let configuration = tag.body.get(1) == Some(&0);
            let (kind, n, of, us) = match tag.kind {
                TagKind::Video => (Kind::Video, &mut pictures, frames, 1_000_000 / rate),
                TagKind::Audio => (Kind::Audio, &mut sounds, AUDIO_FRAMES, 0),
                TagKind::Script | TagKind::Other(_) => continue,
            };
            if configuration {
                headers.push((kind, tag.body));
            } else if *n < of {
                let at_us = if us > 0 { *n * 1_000_000 / rate } else { *n * 64_000 / 3 };
                *n += 1;
                round.push(Timed { at_us, kind, payload: tag.body });
            }
        }
        if (pictures, sounds) != (frames, AUDIO_FRAMES) || headers.len() != 2 {
            bail!("{pictures} pictures, {sounds} pieces of sound, {} headers", headers.len());
        }
        round.sort_by_key(|message| message.at_us);
        Ok(Self { headers, round })
    }
}

fn encode(path: &PathBuf, spec: &Spec) -> Result<()> {
    let folder = path.parent().context("a clip's folder")?;
    std::fs::create_dir_all(folder)?;
    let ((width, height), rate) = (spec.size, spec.rate);
    // Moving noise keeps the encoder at its rate, and gives key frames several times their
    // neighbours' size, as footage does.
    let picture = format!("testsrc2=s={width}x{height}:r={rate}");
    let picture = if spec.counter {
        format!(
            "{picture}[picture];color=c=black:s=320x16:r={rate},format=yuv420p,\
             geq=lum='if(bitand(floor(N/pow(2,19-floor(X/16))),1),235,16)':cb=128:cr=128[counter];\
             [picture][counter]overlay=0:0:format=yuv420,format=yuv420p"
        )
    } else {
        format!("{picture},noise=alls=12:allf=t,format=yuv420p")
    };
    let temporary = tempfile::Builder::new().suffix(".flv").tempfile_in(folder)?;
    let bits = spec.video_bits.to_string();
    let (group, sound) = ((GROUP * rate / FRAMES_PER_S).to_string(), spec.audio_bits.to_string());
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", &picture])
        .args(["-f", "lavfi", "-i", "sine=frequency=1000:sample_rate=48000"])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", &group])
        .args(["-keyint_min", &group, "-sc_threshold", "0"])
        .args(["-b:v", &bits, "-minrate", &bits, "-maxrate", &bits, "-bufsize", &bits])
        // A buffer that begins half full: what a short clip has above its rate comes from there.
        .args(["-x264-params", "vbv-init=0.6"])
        .args(["-c:a", "aac", "-ac", "2", "-b:a", &sound, "-t", "8.2"])
        .arg(temporary.path())
        .status()
        .context("ffmpeg makes the clips: make deps installs it")?;
    ensure!(status.success(), "ffmpeg could not make {}", path.display());
    temporary.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use media::flv::{write_header, write_tag};

    use super::*;

    fn file(pictures: u64, sounds: u64) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, true, true);
        let mut tag = |kind, timestamp, body: &[u8]| write_tag(&mut out, kind, timestamp, body);
        tag(TagKind::Script, 0, b"onMetaData");
        tag(TagKind::Video, 0, &[0x17, 0, 1]);
        tag(TagKind::Audio, 0, &[0xaf, 0, 2]);
        for n in 0..pictures {
            tag(TagKind::Video, n as u32 * 33, &[0x27, 1, n as u8]);
        }
        for n in 0..sounds {
            tag(TagKind::Audio, n as u32 * 21, &[0xaf, 1, n as u8]);
        }
        out
    }

    #[test]
    fn a_round_has_exact_times_and_no_seam() {
        let ring = Ring::read(&file(245, 384), 30).unwrap();
        assert_eq!(ring.headers.len(), 2);
        assert_eq!(ring.round.len() as u64, FRAMES + AUDIO_FRAMES);
        assert!(ring.round.is_sorted_by_key(|m| m.at_us));
        let last = |kind| ring.round.iter().rev().find(|m| m.kind == kind).unwrap().at_us;
        // The next round's first picture is one frame behind, its first sound too.
        assert_eq!(ROUND_US - last(Kind::Video), 33_334);
        assert_eq!(ROUND_US - last(Kind::Audio), 21_334);
        assert_eq!(ring.bytes_per_round(), 3 * 615);
        assert!((ring.bits_per_s() - 1845.0).abs() < 0.1);
        let ring = Ring::read(&file(500, 384), 60).unwrap();
        let last = ring.round.iter().rev().find(|m| m.kind == Kind::Video).unwrap().at_us;
        assert_eq!((ring.round.len() as u64, ROUND_US - last), (480 + AUDIO_FRAMES, 16_667));
    }

    #[test]
    fn a_clip_that_is_too_short_is_refused() {
        assert!(Ring::read(&file(239, 375), 30).unwrap_err().to_string().contains("239 pictures"));
        assert!(Ring::read(&file(240, 374), 30).is_err());
        assert!(Ring::read(b"FLX", 30).is_err());
    }
}
