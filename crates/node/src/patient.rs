//! A connection that does not wait for ever: hyper bounds how long the head of a request may take, but not how long
//! a peer may take to say which HTTP it speaks, nor how long it may leave an answer unread.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::limits::STALLED;

/// How HTTP/2 begins; anything else is HTTP/1. RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream with deadlines for its first words and for each of ours.
pub(crate) struct Patient<S> {
    stream: S,
    opening: Option<Opening>,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// The peer has not said which HTTP it speaks.
struct Opening {
    said: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    /// The peer must have said which HTTP it speaks within `opening`.
    pub(crate) fn new(stream: S, opening: Duration) -> Self {
        let opening = Opening { said: 0, deadline: Box::pin(sleep(opening)) };
        Self { stream, opening: Some(opening), stalled: None }
    }

    fn heard(&mut self, bytes: &[u8]) {
        let Some(opening) = &mut self.opening else { return };
        let rest = &PREFACE[opening.said..];
        opening.said += bytes.len();
        if bytes.is_empty() || !rest.starts_with(bytes) || bytes.len() == rest.len() {
            self.opening = None;
        }
    }

    /// What came of an attempt to write: fails when there was none for too long.
    fn written<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<Result<T>>) -> Poll<Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => {
                Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the answer is not read")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if outcome.is_ready() {
            self.heard(&buffer.filled()[before..]);
        } else if let Some(opening) = &mut self.opening
            && opening.deadline.as_mut().poll(cx).is_ready()
        {
            let words = "nothing was asked";
            return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, words)));
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, timeout};

    const OPENING: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_peer_must_say_which_http_it_speaks() {
        for (said, known) in [
            (&b""[..], false),
            (b"P", false),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", false),
            (PREFACE, true),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", true),
            (b"POST", true),
            (b"G", true),
            (b"\x16\x03", true),
        ] {
            let (mut peer, stream) = tokio::io::duplex(100);
            let mut patient = Patient::new(stream, OPENING);
            let began = Instant::now();
            let mut buffer = [0; 100];
            for byte in said {
                peer.write_all(&[*byte]).await.unwrap();
                assert_eq!(patient.read(&mut buffer).await.unwrap(), 1);
            }
            let silent = timeout(OPENING * 9, patient.read(&mut buffer)).await;
            assert_eq!(silent.is_err(), known, "{said:?}: waits on for who has begun");
            if let Ok(error) = silent {
                assert_eq!(error.unwrap_err().kind(), ErrorKind::TimedOut);
                assert_eq!(began.elapsed(), OPENING);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_is_served_and_one_that_does_not_read_is_not() {
        let (mut peer, stream) = tokio::io::duplex(10);
        let mut patient = Patient::new(stream, OPENING);
        let write = async {
            patient.write_all(&[7; 40]).await.unwrap();
            let began = Instant::now();
            let error = patient.write_all(&[7; 40]).await.unwrap_err();
            assert_eq!((error.kind(), began.elapsed()), (ErrorKind::TimedOut, STALLED));
        };
        let read = async {
            for _ in 0..3 {
                tokio::time::sleep(STALLED - Duration::from_secs(1)).await;
                peer.read_exact(&mut [0; 10]).await.unwrap();
            }
        };
        tokio::join!(write, read);
    }
}
