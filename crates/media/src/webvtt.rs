//! WebVTT (<https://www.w3.org/TR/webvtt1/>) as people upload it: looked through, and put on the clock of a broadcast. What
//! lines say is theirs: it is passed on as it stands, for players to show as text.

use std::fmt::Write;

use crate::limits::{CAPTIONS_BYTES_MAX, CAPTIONS_CUES_MAX, CAPTIONS_HOURS_MAX};

/// Why a file of captions is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebVttError {
    /// Larger than is taken.
    #[error("a file of captions has at most {CAPTIONS_BYTES_MAX} bytes")]
    TooLarge,
    /// Another encoding.
    #[error("captions must be UTF-8")]
    Encoding,
    /// Another format.
    #[error(
        "not WebVTT: the first line must be WEBVTT (SRT is converted by `ffmpeg -i captions.srt captions.vtt`)"
    )]
    Signature,
    /// A line with `-->` that has no two times.
    #[error("line {0}: two times, such as 00:01:02.500 --> 00:01:04.000, the second one later")]
    Timing(usize),
    /// A longer list.
    #[error("at most {CAPTIONS_CUES_MAX} cues")]
    TooMany,
    /// Nothing to show.
    #[error("there are no cues in it")]
    Empty,
}

/// A file that was looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebVtt {
    /// Lines end with `\n`; the first one is `WEBVTT`, and the header's others are gone.
    text: String,
    cues: Vec<Timing>,
}

/// The line with a cue's times.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Timing {
    /// Where it is in the text.
    at: std::ops::Range<usize>,
    /// Where the cue's block begins, its identifier too, and where it ends.
    block: std::ops::Range<usize>,
    start_ms: u64,
    end_ms: u64,
}

impl WebVtt {
    /// Reads a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, WebVttError> {
        if bytes.len() > CAPTIONS_BYTES_MAX {
            return Err(WebVttError::TooLarge);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| WebVttError::Encoding)?;
        // §4.1: a byte order mark, then the signature; NUL is not text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "\u{fffd}");
        let mut lines = text.split('\n').enumerate().peekable();
        let first = lines.next().map_or("", |(_, line)| line);
        let rest = first.strip_prefix("WEBVTT").ok_or(WebVttError::Signature)?;
        if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
            return Err(WebVttError::Signature);
        }
        // The header ends with the first empty line. It may map times to another clock (X-TIMESTAMP-MAP): ours does.
        while lines.next_if(|(_, line)| !line.is_empty() && !line.contains("-->")).is_some() {}
        let mut file = Self { text: String::with_capacity(text.len()), cues: Vec::new() };
        file.text.push_str("WEBVTT\n\n");
        let mut block: Vec<(usize, &str)> = Vec::new();
        for (number, line) in lines.chain([(usize::MAX, "")]) {
            if line.is_empty() {
                file.take(&block)?;
                block.clear();
            } else {
                block.push((number, line));
            }
        }
        if file.cues.is_empty() { Err(WebVttError::Empty) } else { Ok(file) }
    }

    /// Takes a block of lines: a cue, a style, a region, or a note.
    fn take(&mut self, block: &[(usize, &str)]) -> Result<(), WebVttError> {
        if block.is_empty() {
            return Ok(());
        }
        let begin = self.text.len();
        let note = block.first().is_some_and(|(_, line)| line.starts_with("NOTE"));
        let mut timing = None;
        for (i, (number, line)) in block.iter().enumerate() {
            let at = self.text.len()..self.text.len() + line.len();
            self.text.push_str(line);
            self.text.push('\n');
            if note || !line.contains("-->") {
                continue;
            }
            // §4.1: only the first two lines of a block can be it, and no other line may have an arrow.
            let wrong = WebVttError::Timing(number + 1);
            let (start_ms, end_ms) = times(line).filter(|_| i < 2).ok_or(wrong)?;
            if timing.replace((at, start_ms, end_ms)).is_some() {
                return Err(wrong);
            }
        }
        self.text.push('\n');
        if let Some((at, start_ms, end_ms)) = timing {
            if self.cues.len() >= CAPTIONS_CUES_MAX {
                return Err(WebVttError::TooMany);
            }
            self.cues.push(Timing { at, block: begin..self.text.len(), start_ms, end_ms });
        }
        Ok(())
    }

    /// The file as it is kept.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many cues.
    pub fn cues(&self) -> usize {
        self.cues.len()
    }

    /// For HLS (RFC 8216bis §3.1.4): `mpegts` is the clock of the media, in 90,000 a second, where this file begins to count.
    pub fn on_clock(&self, mpegts: u64) -> String {
        // Not LOCAL 0: hls.js takes "no difference between the clocks" for "no clock" where the media begins at 0.
        const AHEAD_S: u64 = 10;
        let mpegts = mpegts.wrapping_add(AHEAD_S * 90_000) % (1 << 33);
        let (_, rest) = self.text.split_at(self.text.len().min("WEBVTT\n".len()));
        format!("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{mpegts},LOCAL:{}\n{rest}", time(AHEAD_S * 1_000))
    }

    /// What is shown from `from_ms` on, counted from there: for a player that begins to count anew.
    pub fn counted_from(&self, from_ms: u64) -> String {
        self.between(from_ms, u64::MAX)
    }

    /// The same, up to `to_ms`.
    pub fn between(&self, from_ms: u64, to_ms: u64) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut done = 0;
        for cue in &self.cues {
            out.push_str(self.text.get(done..cue.block.start).unwrap_or_default());
            done = cue.block.end;
            let (start_ms, end_ms) = (cue.start_ms.max(from_ms), cue.end_ms.min(to_ms));
            if start_ms >= end_ms {
                continue;
            }
            let part = |range: std::ops::Range<usize>| self.text.get(range).unwrap_or_default();
            let line = part(cue.at.clone());
            let settings = line.split_once("-->").map_or("", |(_, rest)| rest.trim_start());
            let settings = settings.split_once([' ', '\t']).map_or("", |(_, settings)| settings);
            out.push_str(part(cue.block.start..cue.at.start));
            let _ = write!(out, "{} --> {}", time(start_ms - from_ms), time(end_ms - from_ms));
            if !settings.is_empty() {
                let _ = write!(out, " {settings}");
            }
            out.push_str(part(cue.at.end..cue.block.end));
        }
        out.push_str(self.text.get(done..).unwrap_or_default());
        out
    }
}

/// §4.1: two times and settings.
fn times(line: &str) -> Option<(u64, u64)> {
    let (start, rest) = line.split_once("-->")?;
    let end = rest.split_whitespace().next()?;
    if rest.contains("-->") {
        return None;
    }
    let (start, end) = (milliseconds(start.trim())?, milliseconds(end)?);
    (start < end).then_some((start, end))
}

/// `mm:ss.ttt` or `hh:mm:ss.ttt`.
fn milliseconds(text: &str) -> Option<u64> {
    let (clock, thousandths) = text.split_once('.')?;
    let mut fields = clock.rsplit(':');
    let digits = |t: &str, len: std::ops::RangeInclusive<usize>| {
        let plain = len.contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
        if plain { t.parse::<u64>().ok() } else { None }
    };
    let below_sixty = |n: &u64| *n < 60;
    let seconds = digits(fields.next()?, 2..=2).filter(below_sixty)?;
    let minutes = digits(fields.next()?, 2..=2).filter(below_sixty)?;
    let hours = match fields.next() {
        Some(hours) => digits(hours, 2..=4).filter(|h| *h <= CAPTIONS_HOURS_MAX)?,
        None => 0,
    };
    let thousandths = digits(thousandths, 3..=3)?;
    fields.next().is_none().then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000 + thousandths)
}

fn time(ms: u64) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1_000)
}

/// A language tag as it is written, which means the same in letters of any case: RFC 5646 §2.1.1. None if it is none.
pub fn language(tag: &str) -> Option<String> {
    if !is_language(tag) {
        return None;
    }
    let mut singleton = false;
    let written = |(n, part): (usize, &str)| {
        let mut part = part.to_ascii_lowercase();
        match part.len() {
            1 => singleton = true,
            2 if n > 0 && !singleton => part.make_ascii_uppercase(),
            4 if n > 0 && !singleton => part[..1].make_ascii_uppercase(),
            _ => {}
        }
        part
    };
    let parts: Vec<String> = tag.split('-').enumerate().map(written).collect();
    Some(parts.join("-"))
}

/// A language tag (BCP 47) as far as it is checked: letters first, then parts of letters and digits.
pub fn is_language(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let first = parts.next().unwrap_or_default();
    let letters = (2..=8).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic());
    let plain =
        |p: &str| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric());
    tag.len() <= 35 && letters && parts.all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\u{feff}WEBVTT - made by hand\r\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:1\r\n\r\n\
        STYLE\r\n::cue { color: red }\r\n\r\n\
        one\r\n00:01.000 --> 00:02.500 line:0 align:start\r\n<b>First</b> & last\r\n\r\n\
        NOTE 00:00 --> not a time\r\n\r\n\
        01:00:03.000 --> 01:00:04.000\r\nSecond\r\nline";

    #[test]
    fn a_language_is_written_in_one_way() {
        for (tag, written) in [
            ("EN", Some("en")),
            ("pt-br", Some("pt-BR")),
            ("ZH-hANT-tw", Some("zh-Hant-TW")),
            ("en-CA-x-CA", Some("en-CA-x-ca")),
            ("sl-ROZAJ-1994", Some("sl-rozaj-1994")),
            ("de-419", Some("de-419")),
            ("e", None),
            ("en-", None),
            ("\u{e9}\u{e9}", None),
            ("en-\u{e9}\u{e9}", None),
        ] {
            assert_eq!(language(tag).as_deref(), written, "{tag}");
        }
    }

    #[test]
    fn a_file_is_read_and_counted_anew() {
        let file = WebVtt::parse(FILE.as_bytes()).unwrap();
        assert_eq!(file.cues(), 2);
        let text = "WEBVTT\n\nSTYLE\n::cue { color: red }\n\n\
            one\n00:01.000 --> 00:02.500 line:0 align:start\n<b>First</b> & last\n\n\
            NOTE 00:00 --> not a time\n\n01:00:03.000 --> 01:00:04.000\nSecond\nline\n\n";
        assert_eq!(file.as_str(), text);
        // What is kept reads back as it was.
        assert_eq!(WebVtt::parse(text.as_bytes()), Ok(file.clone()));
        let clock = file.on_clock(0);
        let head = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:10.000\n\nSTYLE\n";
        assert!(clock.starts_with(head), "{clock}");
        assert!(file.on_clock((1 << 33) - 1).contains("MPEGTS:899999,"));
        let later = file.counted_from(1_500);
        assert!(
            later.contains("one\n00:00:00.000 --> 00:00:01.000 line:0 align:start\n<b>First"),
            "{later}"
        );
        assert!(later.contains("\n01:00:01.500 --> 01:00:02.500\nSecond\nline\n"), "{later}");
        let last = file.counted_from(3_600_000);
        assert!(
            !last.contains("First") && last.contains("00:00:03.000 --> 00:00:04.000"),
            "{last}"
        );
        assert_eq!(WebVtt::parse(last.as_bytes()).unwrap().cues(), 1);
        // A range of it: what reaches into it or out of it is cut off there.
        let some = file.between(1_500, 2_000);
        assert!(some.contains("one\n00:00:00.000 --> 00:00:00.500 line:0"), "{some}");
        assert!(!some.contains("Second") && some.contains("::cue { color: red }"), "{some}");
        for (from, to) in [(0, 1_000), (2_500, 3_600_000)] {
            let none = file.between(from, to);
            assert_eq!(WebVtt::parse(none.as_bytes()), Err(WebVttError::Empty), "{none}");
        }
    }

    #[test]
    fn what_is_no_captions_is_refused_with_its_line() {
        for (text, expect) in [
            ("1\n00:00:01,000 --> 00:00:02,000\nSRT\n", WebVttError::Signature),
            ("", WebVttError::Signature),
            ("WEBVTTX\n\n00:01.000 --> 00:02.000\nx\n", WebVttError::Signature),
            ("WEBVTT", WebVttError::Empty),
            ("WEBVTT\n\nNOTE nothing\n", WebVttError::Empty),
            ("WEBVTT\n\n00:02.000 --> 00:01.000\nx\n", WebVttError::Timing(3)),
            ("WEBVTT\n\n00:01.000 --> 00:01.000\nx\n", WebVttError::Timing(3)),
            ("WEBVTT\n\n00:01.000 --> 00:02.000\nx --> y\n", WebVttError::Timing(4)),
            ("WEBVTT\n\na\nb\n00:01.000 --> 00:02.000\nx\n", WebVttError::Timing(5)),
            ("WEBVTT\n\n00:61.000 --> 02:00.000\nx\n", WebVttError::Timing(3)),
            ("WEBVTT\n\n1:00.000 --> 02:00.000\nx\n", WebVttError::Timing(3)),
            ("WEBVTT\n\n00:00:01,000 --> 00:00:02,000\nx\n", WebVttError::Timing(3)),
            ("WEBVTT\n\n-1:00.000 --> 02:00.000\nx\n", WebVttError::Timing(3)),
            ("WEBVTT\n\n99999:00:00.000 --> 99999:00:01.000\nx\n", WebVttError::Timing(3)),
            ("WEBVTT\n\n00:01.000 -->\nx\n", WebVttError::Timing(3)),
        ] {
            assert_eq!(WebVtt::parse(text.as_bytes()), Err(expect), "{text:?}");
        }
        assert_eq!(WebVtt::parse(b"WEBVTT\n\n\xff"), Err(WebVttError::Encoding));
        let large = vec![b' '; CAPTIONS_BYTES_MAX + 1];
        assert_eq!(WebVtt::parse(&large), Err(WebVttError::TooLarge));
        let cue = "00:01.000 --> 00:02.000\nx\n\n";
        let many = format!("WEBVTT\n\n{}", cue.repeat(CAPTIONS_CUES_MAX + 1));
        assert_eq!(WebVtt::parse(many.as_bytes()), Err(WebVttError::TooMany));
    }

    #[test]
    fn languages_are_tags() {
        for (tag, expect) in [
            ("en", true),
            ("de-CH", true),
            ("zh-Hant-TW", true),
            ("sr-Latn", true),
            ("x", false),
            ("", false),
            ("e1", false),
            ("en-", false),
            ("en_US", false),
            ("en\"", false),
            ("../x", false),
        ] {
            assert_eq!(is_language(tag), expect, "{tag}");
        }
    }
}
