//! `airwave watch`

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use client::watch::{self, Address, Begin, HttpError, Options, Report, TrackReport, WatchError};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::publish::{Tls, UNTRUSTED, UNTRUSTED_QUIC, draft, is_untrusted};
use super::terminal::{clock, size};
use super::{failed, misused};

const EXAMPLES: &str = "\
Examples:
  airwave watch http://127.0.0.1:8080/ID                  until the broadcast ends or Ctrl-C
  airwave watch https://example.org/ID/watch --for 60     a minute of it
  airwave watch http://127.0.0.1:8080/ID --wait --record show.mp4
  airwave watch https://example.org/live.m3u8 --json      a line of JSON a second, and one at the end
  airwave watch 'moqt://127.0.0.1:4443/#msf:default-ID' --insecure
  airwave watch URL --from start --record show.mp4        all of a broadcast that is on the air, and on
  airwave watch URL --from 30                             half a minute back, and on

Everything is loaded as a low-latency player loads it, of every rendition; nothing is decoded. Latency
is how old the first frame of a part is when the part is announced here: what a player without any
buffer would have. It is from the server's clock (EXT-X-PROGRAM-DATE-TIME) to this machine's, and as
right as the two agree. A recording begins with the oldest segment that is listed and holds all tracks
in one fragmented MP4; when a track's configuration changes, it goes on in FILE-2.mp4.

Over MoQ (QUIC) the broadcast is named behind #msf:, where ID is the live input's, or that of a
recording, which is fetched from its beginning; where a server has only one input on the air, it need
not be named. A token stands in the path, or as ?jwt=. The CMAF tracks of the catalog are followed from
the segment on that is under way.

With --from the past comes first, as fast as it can: by FETCH over MoQ, from the list of all segments
over HLS (?dvrEnabled=true). Then it goes on live, with no part twice and none missing; what the server
has no more is counted as lost. Where nobody can say how much that is, as of a segment that a MoQ server
breaks off, a hole is counted, even if it was the end of it.

A stall is counted when a player that holds half a second would have run dry.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Watch {
    /// http(s)://HOST/ID, a watch page, or a playlist (.m3u8); or moqt://HOST[:PORT]/#msf:default-ID
    #[arg(value_name = "URL")]
    url: String,
    /// Keep what is watched in this file, a fragmented MP4
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Begin so many seconds back, or with "start" at the start of the broadcast
    #[arg(long, value_name = "WHEN", value_parser = from)]
    from: Option<Begin>,
    /// End after so many seconds
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Wait for a broadcast that has not begun yet
    #[arg(long)]
    wait: bool,
    /// Speak this draft of MoQ Transport; else the one that the server prefers
    #[arg(long, value_name = "NUMBER", value_parser = draft)]
    draft: Option<u8>,
    /// Print JSON: an object a second, and a summary at the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    tls: Tls,
}

impl Watch {
    pub(super) fn run(self) -> ExitCode {
        let url = match Address::parse(&self.url) {
            Ok(url) => url.speaking(self.draft),
            Err(problem) => return misused(&problem.to_string()),
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&format!("can't start: {error}")),
        };
        match runtime.block_on(self.watch(url)) {
            Ok(Ok(())) => ExitCode::SUCCESS,
            Ok(Err(error)) => failed(&format!("can't write what is watched: {error}")),
            Err(error) => failed(&words(&error)),
        }
    }

    /// What could not be watched is the one error, what could not be written the other.
    async fn watch(&self, url: Address) -> Result<std::io::Result<()>, WatchError> {
        let options = Options {
            url,
            trust: self.tls.trust(),
            begin: self.from.unwrap_or(Begin::Live),
            wait: self.wait,
            record: self.record.clone(),
        };
        let time = self.seconds.map(Duration::from_secs);
        let stop = async {
            let asked = async {
                // Without its handlers nothing would ever stop in good order.
                if super::stop_signal().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            match time {
                Some(time) => drop(tokio::time::timeout(time, asked).await),
                None => asked.await,
            }
        };
        let mut stop = std::pin::pin!(stop);
        let mut watch = tokio::select! {
            begun = watch::Watch::begin(&options) => begun?,
            () = &mut stop => return Ok(Ok(())),
        };
        let names: Vec<String> = watch.tracks().iter().map(|t| t.name.clone()).collect();
        let mut table = Table::new(&names);
        let (mut unwritten, nobody_reads) = (None, Notify::new());
        let stop = async {
            tokio::select! { () = &mut stop => {}, () = nobody_reads.notified() => {} }
        };
        let watched = watch
            .run(std::pin::pin!(stop), |report| {
                let text = match self.json {
                    true => format!("{}\n", second(&names, report)),
                    false => table.row(report),
                };
                if let Err(error) = stdout().write_all(text.as_bytes()) {
                    unwritten = Some(error);
                    nobody_reads.notify_one();
                }
            })
            .await;
        let (report, files) = match (watched, watch.finish()) {
            (Ok(()), finished) => finished?,
            // What was recorded until then is kept.
            (Err(error), _) => return Err(error),
        };
        let text = match self.json {
            true => format!("{}\n", summary_json(&names, &report, &files)),
            false => summary(&names, &report, &files),
        };
        Ok(match unwritten {
            Some(error) => Err(error),
            None => stdout().write_all(text.as_bytes()),
        })
    }
}

/// Where to begin.
fn from(text: &str) -> Result<Begin, String> {
    if text == "start" {
        return Ok(Begin::Start);
    }
    let seconds = text.parse::<u32>().map_err(|_| "write a number of seconds, or start")?;
    Ok(Begin::Back(Duration::from_secs(seconds.into())))
}

/// A row a second under headings that come back now and then.
struct Table {
    names: Vec<String>,
    rows: u64,
}

/// Rows between two headings: a terminal's height.
const HEADING_EVERY: u64 = 20;

impl Table {
    fn new(names: &[String]) -> Self {
        Self { names: names.to_vec(), rows: 0 }
    }

    fn row(&mut self, report: &Report) -> String {
        let mut out = String::new();
        if self.rows.is_multiple_of(HEADING_EVERY) {
            out.push_str(&format!("{:8}  {:>8}", "time", "latency"));
            for name in &self.names {
                out.push_str(&format!("  {name:>COLUMN$}"));
            }
            out.push_str("  lost  holes  gaps\n");
        }
        self.rows += 1;
        let latency =
            report.latency().map_or("-".to_owned(), |l| format!("{:.2} s", l.as_secs_f64()));
        out.push_str(&format!("{}  {latency:>8}", clock(report.watched)));
        for track in &report.tracks {
            out.push_str(&format!("  {:>COLUMN$}", cell(track)));
        }
        let (lost, holes, gaps) = (report.lost(), report.holes(), report.gaps());
        out.push_str(&format!("  {lost:4}  {holes:5}  {gaps:4}\n"));
        out
    }
}

/// As wide as `12.34 Mbit/s 29.97 fps`.
const COLUMN: usize = 22;

fn cell(track: &TrackReport) -> String {
    let Some(bits) = track.bits_per_second else { return "-".to_owned() };
    let picture = track.size.is_some();
    match track.frames_per_second.filter(|_| picture) {
        Some(fps) => format!("{} {fps:5.2} fps", rate(bits)),
        None => rate(bits),
    }
}

fn rate(bits: f64) -> String {
    if bits >= 1e6 {
        format!("{:.2} Mbit/s", bits / 1e6)
    } else {
        format!("{:.0} kbit/s", bits / 1e3)
    }
}

fn ms(time: Option<Duration>) -> Option<f64> {
    time.map(|t| (t.as_secs_f64() * 1e5).round() / 100.0)
}

fn track_json(name: &str, track: &TrackReport) -> Value {
    let round = |n: Option<f64>| n.map(|n| (n * 100.0).round() / 100.0);
    json!({
        "name": name,
        "codec": track.codec,
        "width": track.size.map(|s| s.0),
        "height": track.size.map(|s| s.1),
        "sampleRate": track.sound.map(|s| s.0),
        "channels": track.sound.map(|s| s.1),
        "bitsPerSecond": track.bits_per_second.map(f64::round),
        "framesPerSecond": round(track.frames_per_second),
        "latencyMs": ms(track.latency),
        "latencyMaxMs": ms(track.latency_max),
        "loadMaxMs": ms(Some(track.load_max)),
        "seconds": round(Some(track.seconds)),
        "bytes": track.bytes,
        "frames": track.frames,
        "keyFrames": track.key_frames,
        "segments": track.segments,
        "parts": track.parts,
        "lost": track.lost,
        "holes": track.holes,
        "gaps": track.gaps,
        "discontinuities": track.discontinuities,
        "timeJumps": track.time_jumps,
        "stalls": track.stalls,
        "stalledMs": ms(Some(track.stalled)),
    })
}

fn second(names: &[String], report: &Report) -> Value {
    let tracks: Vec<Value> =
        names.iter().zip(&report.tracks).map(|(name, track)| track_json(name, track)).collect();
    json!({
        "watchedSeconds": report.watched.as_secs_f64().round(),
        "latencyMs": ms(report.latency()),
        "tracks": tracks,
    })
}

fn summary_json(names: &[String], report: &Report, files: &[PathBuf]) -> Value {
    let mut summary = second(names, report);
    let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    if let Some(object) = summary.as_object_mut() {
        object.insert("recorded".to_owned(), json!(files));
    }
    json!({ "summary": summary })
}

fn summary(names: &[String], report: &Report, files: &[PathBuf]) -> String {
    let watched = Duration::from_secs_f64(report.watched.as_secs_f64().round());
    let mut out = format!("\nwatched for {}\n", clock(watched));
    for (name, track) in names.iter().zip(&report.tracks) {
        let mut what = track.codec.clone().unwrap_or_else(|| "unknown codec".to_owned());
        if let Some((width, height)) = track.size {
            what.push_str(&format!(" {width}x{height}"));
        }
        if let Some((rate, channels)) = track.sound {
            what.push_str(&format!(" {rate} Hz, {channels} ch"));
        }
        out.push_str(&format!("{name}: {what}\n"));
        let rate = track.bits_per_second.map_or("-".to_owned(), rate);
        out.push_str(&format!(
            "  {:.1} s of media, {}, {rate}, {} frames",
            track.seconds,
            size(track.bytes),
            track.frames
        ));
        if track.size.is_some() {
            let fps = track.frames_per_second.unwrap_or(0.0);
            out.push_str(&format!(" ({fps:.2} fps), {} key frames", track.key_frames));
        }
        out.push('\n');
        if let (Some(mean), Some(max)) = (track.latency, track.latency_max) {
            out.push_str(&format!(
                "  latency {:.2} s in the mean, {:.2} s at most; loading took up to {:.0} ms\n",
                mean.as_secs_f64(),
                max.as_secs_f64(),
                track.load_max.as_secs_f64() * 1e3
            ));
        }
        out.push_str(&format!("  {}\n", troubles(track)));
    }
    match files {
        [] => {}
        [file] => out.push_str(&format!("recorded in {}\n", file.display())),
        many => {
            let many: Vec<String> = many.iter().map(|f| f.display().to_string()).collect();
            out.push_str(&format!(
                "recorded in {} files, because the configuration changed: {}\n",
                many.len(),
                many.join(", ")
            ));
        }
    }
    out
}

fn troubles(track: &TrackReport) -> String {
    let counts = [
        (track.lost, "could not be loaded"),
        (track.holes, "holes of unknown length"),
        (track.gaps, "gaps"),
        (track.discontinuities, "discontinuities"),
        (track.time_jumps, "jumps in time"),
    ];
    let found: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let parts = format!("{} segments and {} parts", track.segments, track.parts);
    let mut out = match found.is_empty() {
        true => format!("{parts}, nothing lost"),
        false => format!("{parts}; {}", found.join(", ")),
    };
    if track.stalls > 0 {
        let seconds = track.stalled.as_secs_f64();
        out.push_str(&format!("; {} stalls of {seconds:.1} s in all", track.stalls));
    }
    out
}

/// An error, and what can be done about it.
fn words(error: &WatchError) -> String {
    match error {
        WatchError::Http(HttpError::Tls { .. }) => format!("{error}\n{UNTRUSTED}"),
        WatchError::Moq(wrong) if is_untrusted(wrong) => format!("{error}\n{UNTRUSTED_QUIC}"),
        WatchError::NotOnAir(_) => format!("{error}; --wait waits for it"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let picture = TrackReport {
            codec: Some("avc1.64001f".to_owned()),
            size: Some((1280, 720)),
            seconds: 61.2,
            bytes: 23_000_000,
            bits_per_second: Some(3_012_000.0),
            frames: 1_530,
            frames_per_second: Some(25.0),
            key_frames: 64,
            latency: Some(Duration::from_millis(412)),
            latency_max: Some(Duration::from_millis(530)),
            load_max: Duration::from_millis(14),
            segments: 2,
            parts: 180,
            gaps: 1,
            ..TrackReport::default()
        };
        let sound = TrackReport {
            codec: Some("mp4a.40.2".to_owned()),
            sound: Some((48_000, 2)),
            seconds: 61.2,
            bytes: 980_000,
            bits_per_second: Some(128_100.0),
            frames: 2_869,
            frames_per_second: Some(46.9),
            latency: Some(Duration::from_millis(398)),
            parts: 184,
            holes: 2,
            stalls: 2,
            stalled: Duration::from_millis(1_240),
            ..TrackReport::default()
        };
        Report { watched: Duration::from_secs(62), tracks: vec![picture, sound] }
    }

    #[test]
    fn a_person_reads_this() {
        let names = ["video".to_owned(), "audio".to_owned()];
        let mut table = Table::new(&names);
        let expect = "\
time       latency                   video                   audio  lost  holes  gaps
00:01:02    0.41 s   3.01 Mbit/s 25.00 fps              128 kbit/s     0      2     1
";
        assert_eq!(table.row(&report()), expect);
        assert_eq!(table.row(&report()).lines().count(), 1, "the heading stands once");
        let expect = "
watched for 00:01:02
video: avc1.64001f 1280x720
  61.2 s of media, 23.0 MB, 3.01 Mbit/s, 1530 frames (25.00 fps), 64 key frames
  latency 0.41 s in the mean, 0.53 s at most; loading took up to 14 ms
  2 segments and 180 parts; 1 gaps
audio: mp4a.40.2 48000 Hz, 2 ch
  61.2 s of media, 980 kB, 128 kbit/s, 2869 frames
  0 segments and 184 parts; 2 holes of unknown length; 2 stalls of 1.2 s in all
recorded in a.mp4
";
        assert_eq!(summary(&names, &report(), &["a.mp4".into()]), expect);
        let json = summary_json(&names, &report(), &[]);
        assert_eq!(json["summary"]["tracks"][0]["latencyMs"], 412.0);
        assert_eq!(json["summary"]["tracks"][1]["sampleRate"], 48_000);
    }
}
