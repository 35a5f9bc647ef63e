//! Answers that nobody reads. Over HTTP/1.1 the socket fills up, and [`crate::patient`] sees it. Over HTTP/2 each answer
//! has a window of its own: a peer that opens none, and answers pings, would hold answers for ever.
//!
//! So each piece of an answer is followed until it has been written: an answer of which nothing was taken for
//! [`STALLED`] is unread. There is no way to end one stream of a connection from here, so the connection ends.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::limits::STALLED;

/// The answers of one connection.
pub(crate) struct Answers {
    began: Instant,
    all: Mutex<Vec<Weak<Answer>>>,
    /// Whether somebody waits for a deadline; else the next piece wakes it.
    watched: AtomicBool,
    wake: Notify,
}

/// One answer.
struct Answer {
    of: Arc<Answers>,
    /// Pieces that were handed out and not written yet.
    unwritten: AtomicUsize,
    /// When something was written last, or handed out where all had been written: milliseconds since the connection began.
    since_ms: AtomicU64,
}

impl Answers {
    /// None yet.
    pub(crate) fn new() -> Arc<Self> {
        let (all, watched) = (Mutex::default(), AtomicBool::default());
        Arc::new(Self { began: Instant::now(), all, watched, wake: Notify::new() })
    }

    /// Follows an answer until it is written.
    pub(crate) fn follow(self: &Arc<Self>, response: Response) -> hyper::Response<Followed> {
        let (unwritten, since_ms) = (AtomicUsize::new(0), AtomicU64::new(0));
        let answer = Arc::new(Answer { of: self.clone(), unwritten, since_ms });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it grows, what is over makes room: this is cheap on the whole.
        if all.len() == all.capacity() {
            all.retain(|answer| answer.strong_count() > 0);
        }
        all.push(Arc::downgrade(&answer));
        drop(all);
        response.map(|body| Followed { body, answer })
    }

    /// Ready when there is an unread answer.
    pub(crate) async fn unread(&self) {
        loop {
            self.watched.store(false, Ordering::SeqCst);
            if self.deadline().is_none() {
                self.wake.notified().await;
            }
            self.watched.store(true, Ordering::SeqCst);
            while let Some(deadline) = self.deadline() {
                if deadline <= Instant::now() {
                    return;
                }
                sleep_until(deadline).await;
            }
        }
    }

    /// The earliest one.
    fn deadline(&self) -> Option<Instant> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.iter().filter_map(Weak::upgrade).filter(|answer| {
            // An answer that waits for us, or for a live source, has been read so far.
            answer.unwritten.load(Ordering::SeqCst) > 0
        });
        let since = waiting.map(|answer| answer.since_ms.load(Ordering::SeqCst)).min()?;
        Some(self.began + Duration::from_millis(since) + STALLED)
    }
}

impl Answer {
    fn progress(&self) {
        let ms = self.of.began.elapsed().as_millis();
        self.since_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    fn hand_out(self: &Arc<Self>, bytes: Bytes) -> Piece {
        if self.unwritten.load(Ordering::SeqCst) == 0 {
            self.progress();
        }
        self.unwritten.fetch_add(1, Ordering::SeqCst);
        if !self.of.watched.swap(true, Ordering::SeqCst) {
            self.of.wake.notify_one();
        }
        Piece { bytes, answer: self.clone() }
    }
}

/// A body that is followed.
pub(crate) struct Followed {
    body: Body,
    answer: Arc<Answer>,
}

impl hyper::body::Body for Followed {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let followed = |frame: Frame<Bytes>| frame.map_data(|bytes| self.answer.hand_out(bytes));
        Poll::Ready(frame.map(|frame| frame.map(followed)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer, until they are written.
pub(crate) struct Piece {
    bytes: Bytes,
    answer: Arc<Answer>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, written: usize) {
        self.bytes.advance(written);
        if written > 0 {
            self.answer.progress();
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        self.answer.progress();
        self.bytes.copy_to_bytes(len)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.answer.progress();
        self.answer.unwritten.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use hyper::body::Body as _;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// A body of pieces that come when they are asked for.
    struct Pieces(Vec<&'static str>);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_if(|piece| *piece != "pending") {
                None if !self.0.is_empty() => Poll::Pending,
                piece => Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from(piece))))),
            }
        }
    }

    async fn piece(body: &mut Followed) -> Piece {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        frame.unwrap().unwrap().into_data().ok().unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_unread_when_nothing_of_it_was_taken_for_long() {
        let answers = Answers::new();
        let (began, watching) = (Instant::now(), answers.clone());
        let unread = tokio::spawn(async move {
            watching.unread().await;
            began.elapsed()
        });
        let follow = |pieces: &[&'static str]| {
            answers.follow(Response::new(Body::new(Pieces(pieces.to_vec())))).into_body()
        };
        let mut one = follow(&["abc", "abc"]);
        // What is written slowly is read.
        let mut first = piece(&mut one).await;
        for _ in 0..3 {
            sleep(STALLED - SECOND).await;
            first.advance(1);
        }
        drop(first);
        // An answer that waits for its source holds nobody up.
        let mut live = follow(&["pending", "abc"]);
        drop(piece(&mut live).await);
        let waits = timeout(STALLED * 3, piece(&mut live)).await;
        assert!(waits.is_err() && !unread.is_finished());
        // Neither does what another answer makes of its window.
        let (held, from) = (piece(&mut one).await, began.elapsed());
        let mut other = follow(&["abc", "abc", "abc", "abc"]);
        for _ in 0..4 {
            sleep(STALLED / 5).await;
            drop(piece(&mut other).await);
        }
        assert!(!unread.is_finished());
        assert_eq!(unread.await.unwrap(), from + STALLED);
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_over_are_forgotten() {
        let answers = Answers::new();
        for _ in 0..1_000 {
            let mut body = answers.follow(Response::new(Body::from("abc"))).into_body();
            drop(piece(&mut body).await);
        }
        assert!(answers.all.lock().unwrap().capacity() < 10);
        assert!(timeout(STALLED * 10, answers.unread()).await.is_err());
    }
}
