//! Prints what an encoder publishes: a blocking driver around the server core, one connection at a
//! time, for looking at encoders.
//!
//! `cargo run -p rtmp --example ingest_dump -- 1935 [KEY]`, then publish to `rtmp://127.0.0.1/live/KEY`.
//! With a KEY every other key is refused.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rtmp::Kind;
use rtmp::server::{Command, Config, Event, Refusal, RefusalCode, Server};
use sansio::stream::{Input, Output};
use sansio::{Core, Poll};

#[allow(clippy::print_stdout)]
fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let key = arguments.next();
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("listening on {}", listener.local_addr()?);
    for socket in listener.incoming() {
        if let Err(error) = serve(&socket?, key.as_deref()) {
            println!("socket: {error}");
        }
    }
    Ok(())
}

#[allow(clippy::disallowed_methods)] // A driver has a clock.
#[allow(clippy::print_stdout)]
fn serve(mut socket: &TcpStream, key: Option<&str>) -> std::io::Result<()> {
    // A real driver takes random bytes for the seed.
    let mut server = Server::new(Instant::now(), Config::new([7; 32]));
    let mut totals = BTreeMap::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let deadline = loop {
            match server.poll() {
                Poll::Wait(deadline) => break deadline,
                Poll::Output(Output::Send(bytes)) => socket.write_all(&bytes)?,
                Poll::Output(Output::Close) => {
                    println!("closed; {totals:?}");
                    // A peer that has left already is no error.
                    let _ = socket.shutdown(Shutdown::Write);
                    let _ = socket.set_read_timeout(Some(Duration::from_secs(1)));
                    while socket.read(&mut buffer).is_ok_and(|count| count > 0) {}
                    return Ok(());
                }
                Poll::Output(Output::Event(event)) => {
                    if let Some(command) = on_event(event, key, &mut totals)
                        && let Err(error) = server.command(Instant::now(), command)
                    {
                        println!("error: {error}");
                    }
                }
            }
        };
        let wait = deadline
            .map(|at| at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        socket.set_read_timeout(wait)?;
        let input = match socket.read(&mut buffer) {
            Ok(0) => Input::Eof,
            Ok(count) => Input::Bytes(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Input::Timeout
            }
            Err(_) => Input::Eof,
        };
        if let Err(error) = server.handle(Instant::now(), input) {
            println!("error: {error} ({:?})", error.fault());
        }
    }
}

/// Messages, bytes and the last time, by kind.
type Totals = BTreeMap<String, (usize, usize, u32)>;

#[allow(clippy::print_stdout)]
fn on_event(event: Event, key: Option<&str>, totals: &mut Totals) -> Option<Command> {
    match event {
        Event::Publish(publish) => {
            println!("{publish:?}, application {}", publish.connect.app.expose());
            let stream_id = publish.stream_id;
            if key.is_none_or(|key| key == publish.name.expose()) {
                return Some(Command::Accept { stream_id });
            }
            let description = "This stream key is not known here.".to_owned();
            let refusal = Refusal { code: RefusalCode::PublishDenied, description };
            Some(Command::Reject { stream_id, refusal })
        }
        Event::Play(play) => {
            let description = "There is no playing here.".to_owned();
            let refusal = Refusal { code: RefusalCode::PlayFailed, description };
            Some(Command::Reject { stream_id: play.stream_id, refusal })
        }
        Event::Media(media) => {
            // The head of the body says which codec: FLV's numbers or Enhanced RTMP's FourCC.
            let head = &media.payload[..media.payload.len().min(5)];
            let kind = match media.kind {
                Kind::Data => "Data".to_owned(),
                kind if head[0] >> 4 == 9 || (kind == Kind::Video && head[0] & 0x80 != 0) => {
                    format!("{kind:?} {}", String::from_utf8_lossy(&head[1..]))
                }
                kind => format!("{kind:?} {:#04x}", head[0]),
            };
            let total = totals.entry(kind).or_insert((0, 0, 0));
            *total = (total.0 + 1, total.1 + media.payload.len(), media.timestamp);
            None
        }
        Event::Ended { stream_id, why } => {
            println!("publish {stream_id} ended: {why:?}");
            None
        }
    }
}
