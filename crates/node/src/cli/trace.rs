//! `airwave trace`: one frame from its encoder to each viewer, or what was written down of one MoQ session.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write as _, stdout};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use control::InputUid;
use serde_json::Value;

use super::configured::Configured;
use super::timeline::Timeline;
use super::{failed, misused, say, wrong};

const EXAMPLES: &str = "\
Examples:
  airwave trace 00c0ffee00c0ffee00c0ffee00c0ffee       where the next frame of a live input waits
  airwave trace UID --json                             the same for programs
  airwave trace UID --set admin.listen=127.0.0.1:9999  the server's admin listener is elsewhere
  airwave trace 20261126T190000000Z-71-3_server.sqlog  one MoQ session, line by line, then its times

Of a frame, times count from the moment when its first byte came in from the encoder. A viewer over MoQ
has been served when the last byte is handed to QUIC, one over HTTP when the answer with its part is; what
the network does then is not seen here. The server is asked over its admin listener, on this machine.

Sessions are written down where moq.qlog_dir of the server says so. < is what the peer said or sent, >
what the server did; an object's age is the time since it came into the server.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Trace {
    /// A live input, or a file that moq.qlog_dir has made
    #[arg(value_name = "UID|FILE")]
    what: String,
    #[command(flatten)]
    configured: Configured,
    /// As JSON; of a live input only
    #[arg(long)]
    json: bool,
}

/// The server waits for a frame and for its part; a little more.
const PATIENCE: Duration = Duration::from_secs(30);

/// More than an answer about ten thousand viewers has.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

impl Trace {
    pub(super) fn run(&self) -> ExitCode {
        if self.what.ends_with("log") || Path::new(&self.what).is_file() {
            return timeline(&self.what);
        }
        if InputUid::parse(&self.what).is_err() {
            return misused(
                "UID is the uid of a live input, 32 hex characters as the dashboard's links have it; \
                 FILE is a log of a session (.sqlog)",
            );
        }
        let config = match self.configured.load() {
            Ok(loaded) => loaded.config,
            Err(errors) => return wrong(&errors),
        };
        let Some(address) = config.admin.listen.0 else {
            return failed("the admin listener is off (admin.listen), and it is what tells this");
        };
        match ask(address, &self.what) {
            Ok((200, body)) if self.json => say(&format!("{body}\n")),
            Ok((200, body)) => match serde_json::from_str(&body) {
                Ok(value) => say(&told(&value)),
                Err(error) => failed(&format!("the answer can't be read: {error}")),
            },
            Ok((_, words)) => failed(words.trim()),
            Err(error) => failed(&format!("no server answers at {address}: {error}")),
        }
    }
}

/// Prints a log.
fn timeline(name: &str) -> ExitCode {
    let file = match File::open(name) {
        Ok(file) => file,
        Err(error) => return failed(&format!("can't read {name}: {error}")),
    };
    let mut out = BufWriter::new(stdout().lock());
    let printed = Timeline::default().print(BufReader::new(file), &mut out);
    match printed.and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Who pipes into `head` has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => failed(&format!("{name}: {error}")),
    }
}

fn ask(address: SocketAddr, uid: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /debug/trace?input={uid} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    let none = || std::io::Error::other("what answers there is no Airwave");
    Ok((status.ok_or_else(none)?, body.ok_or_else(none)?))
}

/// The way of the frame, a line each.
fn told(value: &Value) -> String {
    let (frame, part) = (&value["frame"], &value["part"]);
    let text = |value: &Value| value.as_str().unwrap_or("").replace(char::is_control, "?");
    let mut out = String::new();
    let kind = if frame["key"] == true { ", a key frame" } else { "" };
    let seconds = frame["seconds"].as_f64().unwrap_or(0.0);
    let _ = writeln!(
        out,
        "frame {}.{} of {} at {seconds:.3} s, {} bytes{kind}\n",
        frame["group"],
        frame["object"],
        text(&frame["track"]),
        frame["bytes"],
    );
    let mut line = |ms: &Value, words: String| {
        let _ = writeln!(out, "{:>9.3} ms  {words}", ms.as_f64().unwrap_or(0.0));
    };
    line(&Value::from(0.0), "its first byte came in from the encoder".to_owned());
    line(&frame["wholeMs"], "it was whole".to_owned());
    if part.is_null() {
        line(&frame["wholeMs"], "no part has it: it is not packaged".to_owned());
    } else {
        let name = text(&part["track"]);
        let (segment, number, bytes) = (&part["segment"], &part["part"], &part["bytes"]);
        let made = format!("its part was made: {name} {segment}.{number}, {bytes} bytes");
        line(&part["madeMs"], made);
    }
    let sent = value["sent"].as_array().map(Vec::as_slice).unwrap_or_default();
    for one in sent {
        let ms = |name: &str| one[name].as_f64().unwrap_or(0.0);
        let (begun, left) = (ms("begunMs"), ms("leftMs"));
        let words = format!(
            "sent over {} to {}: {} {}.{}, {} bytes in {:.3} ms",
            text(&one["via"]),
            text(&one["peer"]),
            text(&one["track"]),
            one["group"],
            one["object"],
            one["bytes"],
            left - begun,
        );
        line(&one["leftMs"], words);
    }
    if sent.is_empty() {
        out.push_str("\nnobody was sent it within a second and a half\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::told;

    #[test]
    fn the_way_of_a_frame_reads_like_this() {
        let value = json!({
            "frame": {
                "track": "video", "group": 12, "object": 7, "seconds": 24.2333, "key": false, "bytes": 8412,
                "wholeMs": 0.412,
            },
            "part": {
                "track": "video.cmaf", "segment": 12, "part": 0, "bytes": 31007, "independent": true, "madeMs": 212.1,
            },
            "sent": [
                {
                    "via": "MoQ", "peer": "127.0.0.1:5\u{1b}", "track": "video", "group": 12, "object": 7,
                    "bytes": 8412, "begunMs": 0.4, "leftMs": 0.512,
                },
                {
                    "via": "HTTP", "peer": "[::1]:50000", "track": "video.cmaf", "group": 12, "object": 0,
                    "bytes": 31007, "begunMs": 120.0, "leftMs": 212.9,
                },
            ],
        });
        let expect = "\
frame 12.7 of video at 24.233 s, 8412 bytes

    0.000 ms  its first byte came in from the encoder
    0.412 ms  it was whole
  212.100 ms  its part was made: video.cmaf 12.0, 31007 bytes
    0.512 ms  sent over MoQ to 127.0.0.1:5?: video 12.7, 8412 bytes in 0.112 ms
  212.900 ms  sent over HTTP to [::1]:50000: video.cmaf 12.0, 31007 bytes in 92.900 ms
";
        assert_eq!(told(&value), expect);
        let alone = json!({ "frame": value["frame"], "part": null, "sent": [] });
        let last =
            "no part has it: it is not packaged\n\nnobody was sent it within a second and a half\n";
        assert!(told(&alone).ends_with(last), "{}", told(&alone));
    }
}
