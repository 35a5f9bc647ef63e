//! `airwave publish`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use client::address::drafts;
use client::publish::{self, Options, Packaging, Progress, PublishError, Source, Target};
use client::source::{Place, Track};
use client::trust::{Trust, parse_fingerprint};
use io_moq::client::{ClientError as MoqError, ConnectError};
use io_rtmp::push::PushError;
use rtmp::client::ClientError;

use super::terminal::{Line, clock, rate, size};
use super::{failed, misused};
use crate::node::fill_random;

const EXAMPLES: &str = "\
Examples:
  airwave publish clip.mp4 --to rtmp://127.0.0.1:1935/live/KEY
  airwave publish clip.mp4 --to rtmps://example.org:1936/live/KEY --loop
  airwave publish clip.mp4 --to rtmps://127.0.0.1:1936/live/KEY --ca airwave-data/self-signed.pem
  airwave publish clip.mp4 --to 'moqt://127.0.0.1:4443/KEY#msf:default-ID' --insecure
  ffmpeg -i film.mkv -c copy -f mp4 -movflags frag_keyframe+empty_moov+default_base_moof - \\
      | airwave publish - --to rtmp://127.0.0.1:1935/live/KEY

Sends H.264, AAC and MP3 as every server takes them; HEVC, AV1, VP9, VP8, Opus, AC-3, E-AC-3, FLAC
and further tracks as Enhanced RTMP. Nothing is encoded anew. Ctrl-C ends the broadcast in good order.

Over MoQ (QUIC) the key stands in the path and the namespace behind #msf:, where ID is the live
input's. A catalog (MSF) lists the tracks, in CMAF or, with --packaging loc, in LOC. When the connection
is lost it is made again, and the broadcast goes on.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Publish {
    /// An MP4 (plain or fragmented) or FLV file; `-`: fragmented MP4 or FLV from standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// rtmp(s)://HOST[:PORT]/APP/KEY, or moqt://HOST[:PORT]/KEY#msf:default-ID
    #[arg(long, value_name = "URL")]
    to: String,
    /// Begin again at the end, for ever, with times that go on
    #[arg(long = "loop")]
    again: bool,
    /// What frames are put into over MoQ
    #[arg(long, value_enum, value_name = "AS", default_value = "cmaf")]
    packaging: Pack,
    /// Speak this draft of MoQ Transport; else the one that the server prefers
    #[arg(long, value_name = "NUMBER", value_parser = draft)]
    draft: Option<u8>,
    #[command(flatten)]
    tls: Tls,
}

/// How media is put into objects.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Pack {
    Cmaf,
    Loc,
}

impl From<Pack> for Packaging {
    fn from(pack: Pack) -> Self {
        match pack {
            Pack::Cmaf => Self::Cmaf,
            Pack::Loc => Self::Loc,
        }
    }
}

/// Whom to trust over TLS.
#[derive(Debug, Args)]
pub(super) struct Tls {
    /// Trust this PEM file too: a self-signed server's certificate, or a private authority's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust only the certificate with this SHA-256 (see /certificate.sha256)
    #[arg(long, value_name = "HEX", conflicts_with_all = ["insecure", "ca"], value_parser = fingerprint)]
    sha256: Option<[u8; 32]>,
    /// Take any certificate: whoever sits in between can read everything, keys included
    #[arg(long)]
    insecure: bool,
}

impl Tls {
    pub(super) fn trust(&self) -> Trust {
        match (&self.ca, self.sha256) {
            (Some(file), _) => Trust::File(file.clone()),
            (None, Some(hash)) => Trust::Fingerprint(hash),
            (None, None) if self.insecure => Trust::Anybody,
            (None, None) => Trust::System,
        }
    }
}

fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    parse_fingerprint(text).ok_or_else(|| "a SHA-256 has 64 hexadecimal digits".to_owned())
}

/// The number of a draft that we speak.
pub(super) fn draft(text: &str) -> Result<u8, String> {
    let drafts = drafts();
    let known = text.parse().ok().filter(|number| drafts.contains(number));
    known.ok_or_else(|| {
        let drafts: Vec<String> = drafts.iter().map(u8::to_string).collect();
        format!("the drafts that are spoken are {}", drafts.join(", "))
    })
}

/// What to do about a certificate that is not trusted.
pub(super) const UNTRUSTED: &str = "\
If the server's certificate is self-signed, copy it here and name it with --ca FILE (of an Airwave server it is
self-signed.pem in its data directory), or take any certificate with --insecure.";

/// The same over QUIC, whose own certificate is renewed every few days.
pub(super) const UNTRUSTED_QUIC: &str = "\
If the server's certificate is self-signed, name its SHA-256 with --sha256 (of an Airwave server it is at
http://HOST:8080/certificate.sha256), or take any certificate with --insecure.";

/// Whether a MoQ session failed because of whom the server is.
pub(super) fn is_untrusted(error: &MoqError) -> bool {
    matches!(error, MoqError::Connect { error: ConnectError::Untrusted(_), .. })
}

impl Publish {
    pub(super) fn run(self) -> ExitCode {
        let target = match publish::target(&self.to) {
            Ok(target) => target.speaking(self.draft),
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
        let server = target.server();
        line.say(&format!("{} -> {server}: {}", self.file.display(), tracks.join(", ")));
        let (packaging, trust) = (self.packaging.into(), self.tls.trust());
        let options = Options { target, packaging, trust, random: fill_random };
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
        if progress.sessions() > 0 {
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
        let again = if progress.sessions() > 0 { "connecting again" } else { "connecting" };
        return again.to_owned();
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
        PublishError::Moq(wrong) if is_untrusted(wrong) => format!("{error}\n{UNTRUSTED_QUIC}"),
        PublishError::Push(PushError::Client(ClientError::Refused(refused))) => {
            format!(
                "the server refused: {}\n({}, {})",
                refused.description, refused.code, refused.stage
            )
        }
        _ => error.to_string(),
    }
}
