//! `airwave publish`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use client::publish::{self, Options, Progress, PublishError, Source};
use client::source::{Place, Track};
use client::trust::Trust;
use io_rtmp::push::PushError;
use rtmp::client::{ClientError, Target};

use super::terminal::{Line, clock, rate, size};
use super::{failed, misused};
use crate::node::fill_random;

const EXAMPLES: &str = "\
Examples:
  airwave publish clip.mp4 --to rtmp://127.0.0.1:1935/live/KEY
  airwave publish clip.mp4 --to rtmps://example.org:1936/live/KEY --loop
  airwave publish clip.mp4 --to rtmps://127.0.0.1:1936/live/KEY --ca airwave-data/self-signed.pem
  ffmpeg -i film.mkv -c copy -f mp4 -movflags frag_keyframe+empty_moov+default_base_moof - \\
      | airwave publish - --to rtmp://127.0.0.1:1935/live/KEY

Sends H.264, AAC and MP3 as every server takes them; HEVC, AV1, VP9, VP8, Opus, AC-3, E-AC-3, FLAC
and further tracks as Enhanced RTMP. Nothing is encoded anew. Ctrl-C ends the broadcast in good order.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Publish {
    /// An MP4 (plain or fragmented) or FLV file; `-`: fragmented MP4 or FLV from standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Where to: rtmp://HOST[:PORT]/APP/KEY, or rtmps:// for the same over TLS
    #[arg(long, value_name = "URL")]
    to: String,
    /// Begin again at the end, for ever, with times that go on
    #[arg(long = "loop")]
    again: bool,
    #[command(flatten)]
    tls: Tls,
}

/// Whom to trust over TLS.
#[derive(Debug, Args)]
pub(super) struct Tls {
    /// Trust this PEM file too: a self-signed server's certificate, or a private authority's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Take any certificate: whoever sits in between can read everything, keys included
    #[arg(long)]
    insecure: bool,
}

impl Tls {
    pub(super) fn trust(&self) -> Trust {
        match &self.ca {
            Some(file) => Trust::File(file.clone()),
            None if self.insecure => Trust::Anybody,
            None => Trust::System,
        }
    }
}

/// What to do about a certificate that is not trusted.
pub(super) const UNTRUSTED: &str = "\
If the server's certificate is self-signed, copy it here and name it with --ca FILE (of an Airwave server it is
self-signed.pem in its data directory), or take any certificate with --insecure.";

impl Publish {
    pub(super) fn run(self) -> ExitCode {
        let target = match publish::target(&self.to) {
            Ok(target) => target,
            Err(problem) => return misused(&format!("--to: {problem}")),
        };
        let place = match self.file.to_str() {
            Some("-") if self.again => return misused("--loop needs a file: a pipe ends once"),
            Some("-") => Place::Stdin,
            _ => Place::File { path: self.file.clone(), again: self.again },
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&format!("can't start: {error}")),
        };
        let done = runtime.block_on(self.publish(place, target));
        // A thread that waits for standard input is not waited for.
        runtime.shutdown_background();
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&words(&error)),
        }
    }

    async fn publish(&self, place: Place, target: Target) -> Result<(), PublishError> {
        let stop = async {
            // Without its handlers nothing would ever stop in good order.
            if super::stop_signal().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let mut stop = std::pin::pin!(stop);
        let source = tokio::select! {
            source = Source::open(place) => source?,
            () = &mut stop => return Ok(()),
        };
        let mut line = Line::new();
        let tracks: Vec<String> = source.tracks().into_iter().map(describe).collect();
        let server = format!("{}:{}", target.host, target.port);
        line.say(&format!("{} -> {server}: {}", self.file.display(), tracks.join(", ")));
        let options = Options { target, trust: self.tls.trust(), random: fill_random };
        let progress = Progress::default();
        let run = publish::run(source, options, &progress, stop);
        let mut run = std::pin::pin!(run);
        let mut shown = 0;
        let second = Duration::from_secs(1);
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + second, second);
        let done = loop {
            tokio::select! {
                done = &mut run => break done,
                _ = tick.tick() => {
                    let bytes = progress.bytes();
                    line.update(&state(&progress, bytes - shown));
                    shown = bytes;
                }
            }
        };
        line.end();
        let (sent, bytes) = (progress.sent(), progress.bytes());
        if progress.live() {
            line.say(&format!(
                "sent {} in {} frames, {} ({})",
                clock(sent),
                progress.frames(),
                size(bytes),
                rate(bytes, sent)
            ));
        }
        done
    }
}

fn describe(track: &Track) -> String {
    let mut text = track.codec.name().to_owned();
    if let Some((width, height)) = track.size {
        text.push_str(&format!(" {width}x{height}"));
    }
    if let Some(rate) = track.frame_rate {
        text.push_str(&format!(" {rate:.2} fps"));
    }
    text
}

fn state(progress: &Progress, bytes: u64) -> String {
    if !progress.live() {
        return "connecting".to_owned();
    }
    let mut text = format!("{}  {}", clock(progress.sent()), rate(bytes, Duration::from_secs(1)));
    if progress.behind() > Duration::from_millis(500) {
        let behind = progress.behind().as_secs_f64();
        text.push_str(&format!("  {behind:.1} s behind: the network or the source is too slow"));
    }
    text
}

/// An error, and what can be done about it.
fn words(error: &PublishError) -> String {
    match error {
        PublishError::Push(PushError::Tls { .. }) => format!("{error}\n{UNTRUSTED}"),
        PublishError::Push(PushError::Client(ClientError::Refused(refused))) => {
            format!(
                "the server refused: {}\n({}, {})",
                refused.description, refused.code, refused.stage
            )
        }
        _ => error.to_string(),
    }
}
