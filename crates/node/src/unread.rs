//! Answers that nobody reads. Over HTTP/1.1 the socket fills up, and [`crate::patient`] sees it. Over HTTP/2 each answer
//! has a window of its own: a peer that opens none, and answers pings, would hold answers for ever.
//!
//! So each piece of an answer is followed until it has been written: an answer of which nothing was taken for
//! [`STALLED`] is unread. There is no way to end one stream of a connection from here, so the connection ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::STALLED;

/// The answers of one connection.
pub(crate) struct Answers {
    began: Instant,
    all: Mutex<Vec<Weak<Answer>>>,
    /// Pieces of all of them that were handed out and not written yet.
    unwritten: AtomicUsize,
    /// Requests that are not answered to their end.
    asked: AtomicUsize,
    /// Since when there is none: milliseconds since the connection began.
    idle_since_ms: AtomicU64,
}

/// A request, until its answer has been handed out.
pub(crate) struct Asked(Arc<Answers>);

impl Drop for Asked {
    fn drop(&mut self) {
        if self.0.asked.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle_since_ms.store(self.0.now_ms(), Ordering::SeqCst);
        }
    }
}

/// One answer.
struct Answer {
    of: Arc<Answers>,
    /// Pieces that were handed out and not written yet.
    unwritten: AtomicUsize,
    /// When something was written last, or handed out where all had been written: milliseconds since the connection began.
    since_ms: AtomicU64,
}

/// Waits for an answer that is not read.
pub(crate) struct Unread {
    answers: Arc<Answers>,
    /// Only while something waits to be written: most answers are written at once.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Answers {
    /// None yet.
    pub(crate) fn new() -> Arc<Self> {
        let (all, unwritten) = (Mutex::default(), AtomicUsize::default());
        let (asked, idle_since_ms) = (AtomicUsize::default(), AtomicU64::default());
        Arc::new(Self { began: Instant::now(), all, unwritten, asked, idle_since_ms })
    }

    /// Somebody asks for one.
    pub(crate) fn asked(self: &Arc<Self>) -> Asked {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Asked(self.clone())
    }

    /// How long nothing has been asked for; none while something is.
    pub(crate) fn idle(&self) -> Option<Duration> {
        if self.asked.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let since = Duration::from_millis(self.idle_since_ms.load(Ordering::SeqCst));
        Some(self.began.elapsed().saturating_sub(since))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Follows the answer to this until it is written.
    pub(crate) fn follow(asked: Asked, response: Response) -> hyper::Response<Followed> {
        let answers = asked.0.clone();
        let (unwritten, since_ms) = (AtomicUsize::new(0), AtomicU64::new(0));
        let answer = Arc::new(Answer { of: answers.clone(), unwritten, since_ms });
        let mut all = answers.all.lock().unwrap_or_else(PoisonError::into_inner);
        // Before it grows, what is over makes room: this is cheap on the whole.
        if all.len() == all.capacity() {
            all.retain(|answer| answer.strong_count() > 0);
        }
        all.push(Arc::downgrade(&answer));
        drop(all);
        response.map(|body| Followed { body, answer, _asked: asked })
    }

    /// The earliest one.
    fn deadline(&self) -> Option<Instant> {
        if self.unwritten.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.iter().filter_map(Weak::upgrade).filter(|answer| {
            // An answer that waits for us, or for a live source, has been read so far.
            answer.unwritten.load(Ordering::SeqCst) > 0
        });
        let since = waiting.map(|answer| answer.since_ms.load(Ordering::SeqCst)).min()?;
        Some(self.began + Duration::from_millis(since) + STALLED)
    }
}

impl Unread {
    /// Among these.
    pub(crate) fn of(answers: &Arc<Answers>) -> Self {
        Self { answers: answers.clone(), timer: None }
    }

    /// Ready when there is an unread answer. To be asked after each turn of the connection, by the same task: nothing else
    /// hands pieces out, and what was written at once is not looked at.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(timer) = &mut self.timer {
                std::task::ready!(timer.as_mut().poll(cx));
                self.timer = None;
            }
            let Some(deadline) = self.answers.deadline() else { return Poll::Pending };
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer = Some(Box::pin(sleep_until(deadline)));
        }
    }
}

impl Answer {
    fn progress(&self) {
        self.since_ms.store(self.of.now_ms(), Ordering::SeqCst);
    }

    fn hand_out(self: &Arc<Self>, bytes: Bytes) -> Piece {
        if self.unwritten.load(Ordering::SeqCst) == 0 {
            self.progress();
        }
        self.unwritten.fetch_add(1, Ordering::SeqCst);
        self.of.unwritten.fetch_add(1, Ordering::SeqCst);
        Piece { bytes, answer: self.clone() }
    }
}

/// A body that is followed.
pub(crate) struct Followed {
    body: Body,
    answer: Arc<Answer>,
    _asked: Asked,
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
        self.answer.of.unwritten.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::pin::pin;

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

    /// Does this as a connection's task would: when an answer was found unread, if it was before the end.
    async fn watched(answers: &Arc<Answers>, turns: impl Future<Output = ()>) -> Option<Instant> {
        let (mut unread, mut turns) = (Unread::of(answers), pin!(turns));
        poll_fn(|cx| match turns.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => unread.poll(cx).map(|()| Some(Instant::now())),
        })
        .await
    }

    fn follow(answers: &Arc<Answers>, pieces: &[&'static str]) -> Followed {
        let body = Body::new(Pieces(pieces.to_vec()));
        Answers::follow(answers.asked(), Response::new(body)).into_body()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_unread_when_nothing_of_it_was_taken_for_long() {
        let answers = Answers::new();
        let mut one = follow(&answers, &["abc", "abc"]);
        let mut from = Instant::now();
        let found = watched(&answers, async {
            // What is written slowly is read.
            let mut first = piece(&mut one).await;
            for _ in 0..3 {
                sleep(STALLED - SECOND).await;
                first.advance(1);
            }
            drop(first);
            // An answer that waits for its source holds nobody up.
            let mut live = follow(&answers, &["pending", "abc"]);
            drop(piece(&mut live).await);
            assert!(timeout(STALLED * 3, piece(&mut live)).await.is_err());
            // Neither does what another answer makes of its window.
            let _held = piece(&mut one).await;
            from = Instant::now();
            let mut other = follow(&answers, &["abc", "abc", "abc", "abc"]);
            for _ in 0..4 {
                sleep(STALLED / 5).await;
                drop(piece(&mut other).await);
            }
            std::future::pending::<()>().await;
        });
        assert_eq!(found.await, Some(from + STALLED));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_over_are_forgotten_and_need_no_timer() {
        let answers = Answers::new();
        let mut unread = Unread::of(&answers);
        for _ in 0..1_000 {
            let body = Response::new(Body::from("abc"));
            let mut body = Answers::follow(answers.asked(), body).into_body();
            drop(piece(&mut body).await);
            assert!(poll_fn(|cx| Poll::Ready(unread.poll(cx).is_pending())).await);
            assert!(unread.timer.is_none());
        }
        assert!(answers.all.lock().unwrap().capacity() < 10);
        assert_eq!(watched(&answers, sleep(STALLED * 10)).await, None);
    }
}
