//! Looking into media with ffmpeg's eyes.

use std::path::Path;
use std::process::Command;

use crate::child::Child;

/// One packet of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Presentation time in microseconds.
    pub present_us: i64,
    /// MD5 of its bytes.
    pub hash: String,
}

/// The packets of a file's first video (`v`) or audio (`a`) track, as they are stored.
pub fn packets(file: &Path, kind: char) -> Vec<Packet> {
    packets_of(file, &format!("{kind}:0"))
}

/// Those of this stream, `v:1` the second one of pictures.
pub fn packets_of(file: &Path, stream: &str) -> Vec<Packet> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(file);
    command.args(["-map", &format!("0:{stream}"), "-c", "copy", "-copyts", "-f", "framemd5", "-"]);
    let mut ffmpeg = Child::start(&mut command);
    let status = ffmpeg.wait(600);
    let text = ffmpeg.output();
    assert!(status.success(), "ffmpeg: {text}");
    let base = text.lines().find_map(|l| l.strip_prefix("#tb 0: "));
    let (num, den) = base.and_then(|b| b.split_once('/')).unwrap_or_else(|| panic!("{text}"));
    let (num, den): (i64, i64) = (num.trim().parse().unwrap(), den.trim().parse().unwrap());
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let present: i64 = fields[2].parse().unwrap();
        Packet { present_us: present * 1_000_000 * num / den, hash: fields[5].to_owned() }
    };
    // A decoder looks into the first ones, and may complain of what begins in the middle: see [`decode_errors`].
    text.lines().filter(|l| l.starts_with("0,")).map(row).collect()
}

/// What a decoder complains of; empty if everything decodes.
pub fn decode_errors(file: &Path) -> String {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-xerror", "-i"]).arg(file).args(["-f", "null", "-"]);
    let mut ffmpeg = Child::start(&mut command);
    let status = ffmpeg.wait(600);
    if status.success() { ffmpeg.output() } else { format!("{status}: {}", ffmpeg.output()) }
}
