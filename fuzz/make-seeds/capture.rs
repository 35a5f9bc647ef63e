//! Real encoders, publishing to our server core over a socket of the loopback.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Instant;

use rtmp::Media;
use rtmp::server::{self, Config, Event, Server};
use sansio::stream::{Input, Output};
use sansio::{Core, Poll};

pub(crate) struct Encoder {
    pub(crate) name: &'static str,
    /// `{url}` is where to.
    command: &'static str,
}

/// What one connection carried.
#[derive(Default)]
pub(crate) struct Capture {
    /// Everything that the encoder sent, handshake included.
    pub(crate) bytes: Vec<u8>,
    pub(crate) media: Vec<Media>,
}

macro_rules! ffmpeg {
    ($program:literal, $codecs:literal) => {
        concat!(
            $program,
            " -v error -f lavfi -i testsrc2=size=64x48:rate=10 -f lavfi -i sine=sample_rate=48000 -t 3 ",
            $codecs,
            " -g 10 -f flv {url}"
        )
    };
}

/// Two generations of FFmpeg and GStreamer; between them every codec that is carried but VP8, which none of them sends.
pub(crate) const ENCODERS: &[Encoder] = &[
    Encoder {
        name: "ffmpeg5-h264-aac",
        command: ffmpeg!(
            "ffmpeg",
            "-c:v libx264 -preset ultrafast -bf 2 -b:v 8k -c:a aac -b:a 16k"
        ),
    },
    Encoder {
        name: "ffmpeg5-h264-mp3",
        command: ffmpeg!(
            "ffmpeg",
            "-c:v libx264 -preset ultrafast -b:v 8k -c:a libmp3lame -ar 44100 -b:a 32k"
        ),
    },
    Encoder {
        name: "ffmpeg9-hevc-opus",
        command: ffmpeg!(
            ".cache/ffmpeg9/ffmpeg",
            "-c:v libx265 -preset ultrafast -x265-params log-level=none:info=0 -b:v 8k -c:a libopus -b:a 8k"
        ),
    },
    Encoder {
        name: "ffmpeg9-av1-flac",
        command: ffmpeg!(
            ".cache/ffmpeg9/ffmpeg",
            "-c:v libsvtav1 -preset 12 -svtav1-params lp=1 -crf 60 -ar 8000 -c:a flac"
        ),
    },
    Encoder {
        name: "ffmpeg9-vp9-ac3",
        command: ffmpeg!(".cache/ffmpeg9/ffmpeg", "-c:v libvpx-vp9 -b:v 8k -c:a ac3 -b:a 32k"),
    },
    Encoder {
        name: "ffmpeg9-two-tracks",
        command: ffmpeg!(
            ".cache/ffmpeg9/ffmpeg",
            "-map 0:v -map 1:a -map 1:a -c:v libx264 -preset ultrafast -b:v 8k -c:a:0 aac -b:a:0 16k -c:a:1 eac3 -b:a:1 32k"
        ),
    },
    Encoder {
        name: "gstreamer-h264-aac",
        command: "gst-launch-1.0 -q flvmux name=m streamable=true ! rtmp2sink location={url} \
                  videotestsrc num-buffers=30 ! video/x-raw,width=64,height=48,framerate=10/1 ! \
                  x264enc bitrate=8 tune=zerolatency key-int-max=10 ! h264parse ! m. \
                  audiotestsrc num-buffers=130 ! audio/x-raw,rate=44100,channels=1 ! \
                  voaacenc bitrate=16000 ! aacparse ! m.",
    },
];

/// Lets an encoder publish and takes what it sends, to its end.
pub(crate) fn run(encoder: &Encoder) -> Result<Capture> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("rtmp://{}/live/key?token=1", listener.local_addr()?);
    let mut words = encoder.command.split_whitespace().map(|word| word.replace("{url}", &url));
    let program = words.next().unwrap_or_default();
    let mut child = Command::new(&program)
        .args(words)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| Error::other(format!("{program}: {error}")))?;
    let (mut socket, _) = listener.accept()?;
    let mut server = Server::new(Instant::now(), Config::new([0; 32]));
    let (mut capture, mut buffer, mut open) = (Capture::default(), [0; 4096], true);
    while open {
        // Who leaves with answers unread resets the connection.
        let count = match socket.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            read => read?,
        };
        capture.bytes.extend_from_slice(&buffer[..count]);
        let input = if count == 0 { Input::Eof } else { Input::Bytes(&buffer[..count]) };
        server.handle(Instant::now(), input).map_err(Error::other)?;
        while let Poll::Output(output) = server.poll() {
            match output {
                Output::Send(bytes) => socket.write_all(&bytes)?,
                Output::Close => open = false,
                Output::Event(Event::Publish(publish)) => {
                    let accept = server::Command::Accept { stream_id: publish.stream_id };
                    server.command(Instant::now(), accept).map_err(Error::other)?;
                }
                Output::Event(Event::Media(media)) => capture.media.push(media),
                Output::Event(_) => {}
            }
        }
    }
    drop(socket);
    child.wait()?;
    println!("{}: {} bytes, {} messages", encoder.name, capture.bytes.len(), capture.media.len());
    Ok(capture)
}
