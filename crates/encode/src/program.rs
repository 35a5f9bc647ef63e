//! The encoder program: where it is, and whether it is one that this server can speak to.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;

use tokio::process::Command;

use crate::limits::{TRY_DEADLINE, VERSION_DEADLINE, WORDS_BYTES_MAX};
use crate::wire::{self, Codec, SoundCodec};

/// What it means that there is no program.
pub const WITHOUT_PROGRAM: &str =
    "no levels of quality and no thumbnails: viewers get what the encoder sends";

/// An encoder program that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub words: String,
}

/// What encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoder {
    /// The processor.
    #[default]
    Software,
    /// Graphics cards of Intel and AMD.
    Vaapi,
    /// Those of NVIDIA.
    Nvenc,
    /// Intel's, by its own library.
    Qsv,
    /// Encoders of small boards.
    V4l2,
}

impl Encoder {
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Software, "software", "libx264"),
        (Self::Vaapi, "vaapi", "h264_vaapi"),
        (Self::Nvenc, "nvenc", "h264_nvenc"),
        (Self::Qsv, "qsv", "h264_qsv"),
        (Self::V4l2, "v4l2", "h264_v4l2m2m"),
    ];

    fn row(self) -> (Self, &'static str, &'static str) {
        Self::ALL.into_iter().find(|row| row.0 == self).unwrap_or(Self::ALL[0])
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Its name in FFmpeg.
    pub fn ffmpeg(self) -> &'static str {
        self.row().2
    }
}

impl FromStr for Encoder {
    type Err = NoEncoder;

    fn from_str(text: &str) -> Result<Self, NoEncoder> {
        let row = Self::ALL.into_iter().find(|row| row.1 == text);
        row.map(|row| row.0).ok_or_else(|| NoEncoder(text.chars().take(40).collect()))
    }
}

/// A name that is no encoder's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no encoder: write software, vaapi, nvenc, qsv or v4l2")]
pub struct NoEncoder(String);

/// Why there is no encoder; levels are not offered then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There is no such file.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// It can't be started.
    #[error("{} can't be started: {words}", path.display())]
    NotStarted {
        /// The program.
        path: PathBuf,
        /// What the system says.
        words: String,
    },
    /// It gives no answer, or none of an encoder.
    #[error("{} is no encoder for this server: {words}", path.display())]
    Strange {
        /// The program.
        path: PathBuf,
        /// What it said.
        words: String,
    },
}

impl Program {
    /// Asks the program at `path` what it is.
    pub async fn ask(path: &Path) -> Result<Self, Unavailable> {
        if !path.is_file() {
            return Err(Unavailable::Missing(path.to_owned()));
        }
        let strange = |words| Unavailable::Strange { path: path.to_owned(), words };
        let mut command = Command::new(path);
        command.arg("--version").env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tokio::time::timeout(VERSION_DEADLINE, command.output()).await;
        let output = match output {
            Err(_) => return Err(strange("it does not answer".to_owned())),
            Ok(Err(error)) => {
                let (path, words) = (path.to_owned(), error.to_string());
                return Err(Unavailable::NotStarted { path, words });
            }
            Ok(Ok(output)) => output,
        };
        let said = if output.status.success() { &output.stdout } else { &output.stderr };
        let said = said.get(..said.len().min(WORDS_BYTES_MAX)).unwrap_or_default();
        let words = String::from_utf8_lossy(said).trim().to_owned();
        let ours = output.status.success() && words.starts_with("airwave-encode ");
        // `airwave-encode 0.1.0 wire 5 libavcodec ...`
        let spoken = words.split_once(" wire ").and_then(|(_, rest)| rest.split(' ').next());
        if let (true, Some(spoken)) = (ours, spoken)
            && spoken != wire::VERSION.to_string()
        {
            let theirs: String = spoken.chars().take(8).collect();
            return Err(strange(format!(
                "it speaks wire {theirs} and the server {}: put the one there that came with the server",
                wire::VERSION
            )));
        }
        if !ours || spoken.is_none() {
            // One that is killed says nothing itself: of another processor, or for want of memory.
            let words = match (output.status.success(), words.as_str()) {
                (true, "") => "it says nothing".to_owned(),
                (true, _) => words,
                (false, "") => output.status.to_string(),
                (false, _) => format!("{}: {words}", output.status),
            };
            return Err(strange(words));
        }
        Ok(Self { path: path.to_owned(), words })
    }

    /// Tries out an encoder that is none of the processor's; the error says why it does not work here.
    pub async fn try_out(&self, encoder: Encoder) -> Result<(), String> {
        self.try_out_by_name(encoder.ffmpeg()).await
    }

    /// The same, by its name in FFmpeg.
    pub(crate) async fn try_out_by_name(&self, name: &str) -> Result<(), String> {
        if !self.has_encoder(name) {
            return Err(format!("FFmpeg here has no encoder {name}"));
        }
        let mut command = Command::new(&self.path);
        command.args(["--try", name]).env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        match tokio::time::timeout(TRY_DEADLINE, command.output()).await {
            Err(_) => Err("it does not answer".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => {
                let said = output.stderr.get(..output.stderr.len().min(WORDS_BYTES_MAX));
                let said = String::from_utf8_lossy(said.unwrap_or_default()).into_owned();
                // Drivers talk; the last line is ours.
                let last = said.lines().rev().find(|line| !line.trim().is_empty());
                Err(last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned()))
            }
        }
    }

    /// Whether FFmpeg there has an encoder of this name.
    pub fn has_encoder(&self, name: &str) -> bool {
        lists_encoder(&self.words, name)
    }

    /// Whether its FFmpeg decodes this codec, by its name in FFmpeg.
    pub(crate) fn has_decoder(&self, name: &str) -> bool {
        lists(&self.words, "decoders ", name)
    }

    /// What its FFmpeg lacks of all that is asked of it, in words.
    pub fn lacks(&self) -> Option<String> {
        let lacking = |names: &[&'static str], what: &str| {
            let names = names.iter().copied().filter(|name| !lists(&self.words, what, name));
            names.collect::<Vec<_>>().join(", ")
        };
        let (decoders, encoders) =
            (lacking(&DECODERS, "decoders "), lacking(&ENCODERS, "encoders "));
        let decoders = (!decoders.is_empty()).then(|| format!("no decoder of {decoders}"));
        let encoders = (!encoders.is_empty()).then(|| format!("no encoder {encoders}"));
        let lacks: Vec<String> = [decoders, encoders].into_iter().flatten().collect();
        let lacks = (!lacks.is_empty()).then(|| lacks.join(" and "))?;
        Some(format!("FFmpeg here has {lacks}: levels and pictures that need it are not offered"))
    }
}

impl Codec {
    /// Its name in FFmpeg.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Hevc => "hevc",
            Self::Av1 => "av1",
            Self::Vp9 => "vp9",
            Self::Vp8 => "vp8",
        }
    }
}

impl SoundCodec {
    /// Its name in FFmpeg.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Aac => "aac",
            Self::Opus => "opus",
            Self::Ac3 => "ac3",
            Self::Eac3 => "eac3",
            Self::Flac => "flac",
            Self::Mp3 => "mp3",
        }
    }
}

/// What is decoded, by its names in FFmpeg.
const DECODERS: [&str; 11] =
    ["h264", "hevc", "av1", "vp9", "vp8", "aac", "opus", "ac3", "eac3", "mp3", "flac"];

/// Levels and thumbnails, where nothing else is configured.
const ENCODERS: [&str; 4] = ["libx264", "aac", "libopus", "mjpeg"];

/// Whether a program that says this of itself has an encoder of this name.
pub(crate) fn lists_encoder(words: &str, name: &str) -> bool {
    lists(words, "encoders ", name)
}

fn lists(words: &str, what: &str, name: &str) -> bool {
    let listed = words.split(what).nth(1).and_then(|rest| rest.split(' ').next());
    listed.unwrap_or_default().split(',').any(|known| known.trim() == name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_an_ffmpeg_lacks_is_told_by_name() {
        let decoders = "h264,hevc,av1,vp9,vp8,aac,opus,ac3,eac3,mp3,flac";
        let behind = ": levels and pictures that need it are not offered";
        for (decoders, encoders, expect) in [
            (decoders, "libx264,mjpeg,aac,libopus,h264_vaapi", None),
            (
                "h264,aac,opus,ac3,eac3,mp3,flac",
                "libx264,mjpeg,aac,libopus",
                Some("no decoder of hevc, av1, vp9, vp8"),
            ),
            (decoders, "mjpeg,aac", Some("no encoder libx264, libopus")),
            (
                "hevc,av1,vp9,vp8,aac,opus,ac3,eac3,mp3,flac",
                "libx264,aac,libopus",
                Some("no decoder of h264 and no encoder mjpeg"),
            ),
        ] {
            let words = format!(
                "airwave-encode 1 wire 5 libavcodec 59 decoders {decoders} encoders {encoders}"
            );
            let program = Program { path: PathBuf::new(), words };
            let expect = expect.map(|lacks| format!("FFmpeg here has {lacks}{behind}"));
            assert_eq!(program.lacks(), expect);
            assert_eq!(program.has_decoder("h264"), decoders.starts_with("h264"));
            assert!(!program.has_decoder("libx264") && !program.has_encoder("h264"));
        }
    }

    /// It says nothing itself: one of another processor, one that the kernel ended, one that lacks a library.
    #[tokio::test]
    async fn a_program_that_dies_is_told_with_how_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let other = format!(
            "it speaks wire {} and the server {}: put the one there that came with the server",
            wire::VERSION - 1,
            wire::VERSION
        );
        let old = format!("echo airwave-encode 0.1.0 wire {} libavcodec 59", wire::VERSION - 1);
        for (script, expect) in [
            ("kill -ILL $$", "signal: 4 (SIGILL)"),
            ("exit 3", "exit status: 3"),
            ("echo no such library >&2; exit 127", "exit status: 127: no such library"),
            ("echo something else", "something else"),
            ("echo airwave-encode 0.1.0 libavcodec 59", "airwave-encode 0.1.0 libavcodec 59"),
            (&old, &other),
            ("", "it says nothing"),
        ] {
            let path = folder.path().join("program");
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
            let error = Program::ask(&path).await.unwrap_err().to_string();
            let end = error.split_once(" is no encoder for this server: ").map(|(_, end)| end);
            // A shell that dumps its core says so.
            let end = end.map(|end| end.trim_end_matches(" (core dumped)"));
            assert_eq!(end, Some(expect), "{error}");
        }
    }
}
