//! One connection: drives the server core, asks the door, hands media on.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use media::admission::{Admitted, Asking, Left, Refused};
use media::timeline::SourceClock;
use rtmp::Fault;
use rtmp::server::{Command, Config, End, Event, Publish, Refusal, RefusalCode, Server};
use sansio::stream::{Input, Output};
use sansio::{Core, Poll};
use spine::Waiting;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::half_open::HalfOpenGuard;
use crate::limits::{CLOSE_LINGER, READ_BYTES, SETUP_READ_BYTES, WRITE_TIMEOUT};
use crate::listen::Shared;
use crate::publish::Live;

/// Runs one connection to its end. Dropped early, its encoder counts as lost.
pub(crate) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    peer: SocketAddr,
    protocol: &'static str,
    shared: Arc<Shared>,
    guard: HalfOpenGuard,
) {
    let mut seed = [0; 32];
    (shared.random)(&mut seed);
    let server = Server::new(Instant::now(), Config::new(seed));
    let session =
        Session { socket, peer, protocol, shared, server, live: None, guard: Some(guard) };
    session.run().await;
}

struct Session<S> {
    socket: S,
    peer: SocketAddr,
    protocol: &'static str,
    shared: Arc<Shared>,
    server: Server,
    live: Option<OnAir>,
    guard: Option<HalfOpenGuard>,
}

/// An admitted encoder. Dropping it, also by cancelling the task, is losing the encoder.
struct OnAir {
    stream_id: u32,
    live: Option<Live>,
    leave: Option<Box<dyn FnOnce(media::Publication, Left) + Send>>,
    shared: Arc<Shared>,
    closed: Waiting,
}

impl OnAir {
    fn leave(&mut self, left: Left) {
        if let (Some(live), Some(leave)) = (self.live.take(), self.leave.take()) {
            self.shared.counters.live.fetch_sub(1, Ordering::Relaxed);
            leave(live.into_publication(), left);
        }
    }
}

impl Drop for OnAir {
    fn drop(&mut self) {
        self.leave(Left::Lost);
    }
}

/// What the loop woke for.
enum Woke {
    Read(std::io::Result<usize>),
    Deadline,
    Replaced,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn run(mut self) {
        let mut buffer = vec![0; SETUP_READ_BYTES];
        loop {
            let deadline = match self.drain().await {
                Drained::Wait(deadline) => deadline,
                Drained::Closed => return self.close(&mut buffer).await,
                Drained::Gone => return,
            };
            if self.live.is_some() && buffer.len() < READ_BYTES {
                buffer.resize(READ_BYTES, 0);
            }
            let woke = self.wait(&mut buffer, deadline).await;
            let now = Instant::now();
            let result = match woke {
                Woke::Read(Ok(0)) => self.server.handle(now, Input::Eof),
                Woke::Read(Ok(n)) => self.server.handle(now, Input::Bytes(&buffer[..n])),
                Woke::Read(Err(e)) if e.kind() == ErrorKind::Interrupted => Ok(()),
                Woke::Read(Err(_)) => self.server.handle(now, Input::Eof),
                Woke::Deadline => self.server.handle(now, Input::Timeout),
                Woke::Replaced => self.dismiss(now),
            };
            if let Err(error) = result {
                self.shared.counters.protocol_errors.fetch_add(1, Ordering::Relaxed);
                let level = error.fault();
                if level == Fault::Misuse {
                    tracing::error!(peer = %self.peer, %error, "rtmp: misuse of the core");
                } else if self.live.is_some() {
                    // Who has a key is no stranger: his line is not left out for theirs.
                    tracing::info!(peer = %self.peer, %error, "rtmp: connection ended");
                } else if let Some(line) = self.shared.lines.ended.line(now) {
                    let left_out = line.left_out;
                    tracing::info!(peer = %self.peer, %error, left_out, "rtmp: connection ended");
                }
            }
        }
    }

    async fn wait(&mut self, buffer: &mut [u8], deadline: Option<Instant>) -> Woke {
        let Self { socket, live, .. } = self;
        let deadline = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let replaced = std::future::poll_fn(|cx| match live {
            Some(OnAir { live: Some(live), closed, .. }) => {
                live.publication().broadcast().poll_closed(closed, cx)
            }
            _ => std::task::Poll::Pending,
        });
        tokio::select! {
            biased;
            _ = replaced => Woke::Replaced,
            read = socket.read(buffer) => Woke::Read(read),
            () = deadline => Woke::Deadline,
        }
    }

    /// Another publisher has taken over, or the broadcast was ended: says so to the encoder.
    fn dismiss(&mut self, now: Instant) -> Result<(), rtmp::ServerError> {
        let Some(on_air) = &mut self.live else { return Ok(()) };
        let why = on_air.live.as_ref().and_then(|l| l.publication().closed());
        let stream_id = on_air.stream_id;
        on_air.leave(Left::Dismissed);
        self.live = None;
        let description = why.unwrap_or(spine::Close::Ended).to_string();
        tracing::info!(peer = %self.peer, reason = description, "rtmp: encoder dismissed");
        self.shared.counters.dismissed.fetch_add(1, Ordering::Relaxed);
        self.reject(now, stream_id, description)
    }

    fn reject(
        &mut self,
        now: Instant,
        stream_id: u32,
        description: String,
    ) -> Result<(), rtmp::ServerError> {
        let refusal = Refusal { code: RefusalCode::PublishDenied, description };
        self.server.command(now, Command::Reject { stream_id, refusal })
    }

    /// Takes everything that the core has to say.
    async fn drain(&mut self) -> Drained {
        loop {
            match self.server.poll() {
                Poll::Wait(deadline) => return Drained::Wait(deadline),
                Poll::Output(Output::Close) => return Drained::Closed,
                Poll::Output(Output::Send(bytes)) => {
                    if self.send(bytes).await.is_err() {
                        let gone = self.server.handle(Instant::now(), Input::Eof);
                        drop(gone);
                        self.live = None;
                        return Drained::Gone;
                    }
                }
                Poll::Output(Output::Event(event)) => self.event(event).await,
            }
        }
    }

    async fn send(&mut self, bytes: Bytes) -> std::io::Result<()> {
        timeout(WRITE_TIMEOUT, self.socket.write_all(&bytes))
            .await
            .unwrap_or(Err(std::io::Error::new(ErrorKind::TimedOut, "the peer does not read")))
    }

    async fn event(&mut self, event: Event) {
        let now = Instant::now();
        let result = match event {
            Event::Publish(publish) => return self.publish(publish).await,
            Event::Play(play) => {
                let description = "playing over RTMP is not offered here".to_owned();
                let refusal = Refusal { code: RefusalCode::PlayFailed, description };
                let stream_id = play.stream_id;
                self.server.command(now, Command::Reject { stream_id, refusal })
            }
            Event::Media(media) => {
                let taken = match &mut self.live {
                    Some(OnAir { live: Some(live), stream_id, .. })
                        if *stream_id == media.stream_id =>
                    {
                        live.media(&media, now)
                    }
                    _ => Ok(()),
                };
                match taken {
                    Ok(()) => Ok(()),
                    Err(reason) => {
                        tracing::info!(peer = %self.peer, %reason, "rtmp: publish ended");
                        if let Some(on_air) = &mut self.live {
                            on_air.leave(Left::Faulty);
                        }
                        self.live = None;
                        self.shared.counters.unusable.fetch_add(1, Ordering::Relaxed);
                        self.reject(now, media.stream_id, reason.to_string())
                    }
                }
            }
            Event::Ended { why, stream_id } => {
                if let Some(mut on_air) = self.live.take_if(|live| live.stream_id == stream_id) {
                    on_air.leave(match why {
                        End::Goodbye => Left::Goodbye,
                        End::Lost => Left::Lost,
                        End::Idle => Left::Idle,
                        End::Dismissed => Left::Dismissed,
                    });
                }
                Ok(())
            }
        };
        if let Err(error) = result {
            tracing::debug!(peer = %self.peer, %error, "rtmp: the core would not");
        }
    }

    async fn publish(&mut self, publish: Publish) {
        let stream_id = publish.stream_id;
        let asking = Asking {
            key: key_of(&publish),
            path: None,
            peer: self.peer,
            protocol: self.protocol,
            encoder: publish.connect.flash_ver.clone(),
            clock: SourceClock::RTMP,
        };
        let answer = if self.live.is_some() {
            Err(Refused::Unavailable("this connection is already publishing".to_owned()))
        } else if asking.key.is_empty() {
            Err(Refused::NoKey)
        } else {
            (self.shared.door)(asking).await
        };
        let now = Instant::now();
        let result = match answer {
            Ok(Admitted { publication, leave }) => {
                self.shared.counters.live.fetch_add(1, Ordering::Relaxed);
                self.guard = None;
                self.live = Some(OnAir {
                    stream_id,
                    live: Some(Live::new(publication)),
                    leave: Some(leave),
                    shared: self.shared.clone(),
                    closed: Waiting::new(),
                });
                self.server.command(now, Command::Accept { stream_id })
            }
            Err(refused) => {
                if let Some(line) = self.shared.lines.refused.line(now) {
                    let left_out = line.left_out;
                    tracing::info!(
                        peer = %self.peer, reason = %refused, left_out, "rtmp: publish refused"
                    );
                }
                self.shared.counters.refused_publishes.fetch_add(1, Ordering::Relaxed);
                let told = self.reject(now, stream_id, refused.to_string());
                // Who has taken it back meanwhile is not told, and goes all the same.
                match self.live {
                    Some(_) => told,
                    None => told.and_then(|()| self.server.command(now, Command::Close)),
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(peer = %self.peer, %error, "rtmp: the core would not");
        }
    }

    /// Gives the peer time to read the last words: closing with unread input would reset the
    /// connection and take them away.
    async fn close(mut self, buffer: &mut [u8]) {
        self.live = None;
        let _ = timeout(CLOSE_LINGER, async {
            let _ = self.socket.shutdown().await;
            while self.socket.read(buffer).await.is_ok_and(|n| n > 0) {}
        })
        .await;
    }
}

enum Drained {
    Wait(Option<Instant>),
    Closed,
    Gone,
}

/// The stream key: the stream's name, or the last segment of the application where encoders are given
/// the whole URL as the server.
fn key_of(publish: &Publish) -> String {
    key_in(publish.name.expose(), publish.connect.app.expose()).to_owned()
}

/// As it is pasted: with blanks around it, or as the end of a path, which may be all there is of it. No key has either
/// in it, and none is the application that we name ourselves.
fn key_in<'a>(name: &'a str, app: &'a str) -> &'a str {
    let around = |c: char| c == '/' || c.is_whitespace();
    let name = name.trim_matches(around);
    if !name.is_empty() {
        return name.rsplit('/').next().unwrap_or(name);
    }
    let app = app.trim_matches(around);
    match app.rsplit_once('/') {
        Some((_, key)) => key,
        None if app == "live" => "",
        None => app,
    }
}

#[cfg(test)]
mod tests {
    use super::key_in;

    #[test]
    fn a_key_is_taken_as_people_paste_it() {
        for (name, app) in [
            ("KEY", "live"),
            (" KEY\r\n", "live"),
            ("/KEY", "live"),
            ("KEY/ ", "live"),
            ("foo/KEY", "live"),
            ("", "live/KEY"),
            (" ", "live/KEY/ "),
            ("", "KEY"),
            ("", "/KEY/ "),
        ] {
            assert_eq!(key_in(name, app), "KEY", "{name:?} of {app:?}");
        }
        assert_eq!((key_in("", "live"), key_in(" /", "live/")), ("", ""));
    }
}
