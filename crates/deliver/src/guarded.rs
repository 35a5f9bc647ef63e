//! Bodies that are sent while they are made, a clip or a segment that grows: they end with the right to them. The gate looks
//! when a request comes; what follows may take as long as its client likes.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use access::Refusal;
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body::{Body as _, Frame, SizeHint};

use crate::limits::{LOOK_EVERY, LOOKS_UNKNOWN_MAX, PIECE_BYTES};
use crate::right::{Look, Right};

/// A body that asks before it goes on.
struct Guarded<F> {
    body: Body,
    /// Of a piece that was too long.
    rest: Bytes,
    right: Right<F>,
    looking: Option<Look>,
    /// Wakes it to look while nothing comes.
    waiting: Option<BoxFuture<'static, ()>>,
    /// It has waked it.
    due: bool,
    refused: bool,
}

/// Asks again before a piece of this body whenever [`LOOK_EVERY`] has passed, and while no piece comes when the right to it
/// [may have ended](Right::may_have_ended), and ends it with an error once the answer is
/// no: its client must not take what it has for the whole. What can't be known for a moment ends nothing. A long piece is cut into
/// [some](PIECE_BYTES); what is whole and no longer than one is left as it is.
pub(crate) fn guarded<F>(body: Body, right: Right<F>) -> Body
where
    F: Fn() -> Look + Send + Unpin + 'static,
{
    // What is made as it is sent does not know its length: where that is promised, it stands in a field of the head.
    let whole = body.size_hint().exact().is_some_and(|bytes| bytes <= PIECE_BYTES as u64);
    if body.is_end_stream() || whole {
        return body;
    }
    let (rest, looking, waiting) = (Bytes::new(), None, None);
    Body::new(Guarded { body, rest, right, looking, waiting, due: false, refused: false })
}

impl<F: Fn() -> Look + 'static> Guarded<F> {
    /// The next of what was too long.
    fn piece(&mut self) -> Option<Frame<Bytes>> {
        let len = self.rest.len().min(PIECE_BYTES);
        Some(Frame::data(self.rest.split_to(len)))
    }

    /// Until it is time to look again.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let right = &self.right;
        let waiting = self.waiting.get_or_insert_with(|| right.may_have_ended().boxed());
        std::task::ready!(waiting.poll_unpin(cx));
        self.waiting = None;
        self.due = true;
        Poll::Ready(())
    }

    fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        if self.looking.is_none() && (self.due || self.right.age() >= LOOK_EVERY) {
            self.due = false;
            self.looking = Some(self.right.begin());
        }
        let Some(looking) = &mut self.looking else { return Poll::Ready(Ok(())) };
        let said = std::task::ready!(looking.poll_unpin(cx));
        (self.looking, self.waiting) = (None, None);
        self.right.learn(&said);
        Poll::Ready(match said {
            Err(Refusal::Unavailable) if self.right.unknown() <= LOOKS_UNKNOWN_MAX => Ok(()),
            said => said.map(drop),
        })
    }
}

impl<F: Fn() -> Look + Unpin + 'static> http_body::Body for Guarded<F> {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if self.refused {
            return Poll::Ready(None);
        }
        loop {
            if let Err(refusal) = std::task::ready!(self.poll_look(cx)) {
                self.refused = true;
                // What it was made of is not held until the client has gone.
                (self.body, self.rest) = (Body::empty(), Bytes::new());
                let error = Error::new(ErrorKind::PermissionDenied, refusal.to_string());
                return Poll::Ready(Some(Err(error.into())));
            }
            if !self.rest.is_empty() {
                return Poll::Ready(self.piece().map(Ok));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.len() > PIECE_BYTES => self.rest = data,
                    Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Poll::Ready(end) => return Poll::Ready(end.map(|frame| frame.map_err(Into::into))),
                Poll::Pending => std::task::ready!(self.poll_wait(cx)),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.refused || (self.rest.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut with = SizeHint::new();
        with.set_lower(hint.lower().saturating_add(rest));
        if let Some(upper) = hint.upper().and_then(|upper| upper.checked_add(rest)) {
            with.set_upper(upper);
        }
        with
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::{StreamExt, stream};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::right::tests::{Desk, pass};

    /// A piece every so often, for a minute.
    fn pieces(every: Duration) -> Body {
        let pieces = stream::unfold((), move |()| async move {
            sleep(every).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b"piece")), ()))
        });
        Body::from_stream(pieces.take(usize::try_from(60_000 / every.as_millis()).unwrap()))
    }

    /// Reads a body that may be had for so long: how long it went on, how often was asked, and the last words.
    async fn read(desk: &Desk, body: Body, allowed: Duration) -> (Duration, usize, Option<String>) {
        let (began, asked) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        let right = desk.right(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let answer =
                if began.elapsed() < allowed { Ok(pass(None)) } else { Err(Refusal::NeedsToken) };
            // As long as a look at a disk takes.
            async move {
                sleep(Duration::from_millis(20)).await;
                answer
            }
            .boxed()
        });
        let mut frames = guarded(body, right).into_data_stream();
        let mut words = None;
        while let Some(frame) = frames.next().await {
            assert!(words.is_none(), "nothing follows a refusal");
            words = frame.err().map(|error| error.to_string());
        }
        (began.elapsed(), asked.load(Ordering::Relaxed), words)
    }

    fn refuse() -> Look {
        async { Err(Refusal::NeedsToken) }.boxed()
    }

    /// What is remembered of an answer may be so old already.
    const _: () = assert!(
        LOOK_EVERY.as_millis() + access::limits::POLICY_AGE.as_millis() <= 1_000,
        "a link that is taken back ends within a second"
    );

    #[tokio::test(start_paused = true)]
    async fn a_body_ends_within_a_second_of_the_right_to_it() {
        let desk = Desk::new().await;
        for every_ms in [1, 40, 300] {
            for allowed_ms in [10, 700, 5_000, 30_123] {
                let every = Duration::from_millis(every_ms);
                let allowed = Duration::from_millis(allowed_ms);
                let (ended, asked, words) = read(&desk, pieces(every), allowed).await;
                let late = ended.saturating_sub(allowed);
                assert!(ended >= allowed && late <= Duration::from_secs(1), "{every:?}: {late:?}");
                assert_eq!(words.as_deref(), Some("this opens with a signed link only"));
                // Not for every piece.
                assert!(asked <= 2 + usize::try_from(allowed_ms / 500).unwrap(), "{asked}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_which_nothing_comes_ends_as_soon_and_costs_nothing_before() {
        let desk = Desk::new().await;
        for allowed_ms in [10, 700, 5_000] {
            let allowed = Duration::from_millis(allowed_ms);
            let body = pieces(Duration::from_secs(20));
            let change = async {
                sleep(allowed).await;
                desk.access.forget_policies();
            };
            let ((ended, asked, words), ()) = tokio::join!(read(&desk, body, allowed), change);
            let late = ended.saturating_sub(allowed);
            assert!(late <= Duration::from_secs(1), "{allowed:?}: {late:?}");
            assert_eq!(words.as_deref(), Some("this opens with a signed link only"));
            assert_eq!(asked, 1, "{allowed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_body_in_memory_ends_between_its_pieces() {
        const LEN: usize = 10 * PIECE_BYTES + 1;
        let desk = Desk::new().await;
        for (allowed_s, pieces) in [(2, 4), (60, 11)] {
            let (began, bytes) = (Instant::now(), Bytes::from(vec![7; LEN]));
            let right = desk.right(move || {
                let late = began.elapsed() > Duration::from_secs(allowed_s);
                async move { if late { Err(Refusal::NeedsToken) } else { Ok(pass(None)) } }.boxed()
            });
            let body = guarded(Body::from(bytes), right);
            assert_eq!(body.size_hint().exact(), Some(LEN as u64));
            let (mut frames, mut got) = (body.into_data_stream(), Vec::new());
            // A slow reader.
            while let Some(Ok(frame)) = frames.next().await {
                got.push(frame.len());
                let left = LEN - got.iter().sum::<usize>();
                assert_eq!(http_body::Body::size_hint(&frames).exact(), Some(left as u64));
                sleep(Duration::from_millis(600)).await;
            }
            assert!(got.iter().all(|len| *len <= PIECE_BYTES), "{got:?}");
            assert_eq!(got.len(), pieces, "{allowed_s} s");
        }
        // What is short is in the hands of the system at once.
        let body = guarded(Body::from(vec![7; PIECE_BYTES]), desk.right(refuse));
        sleep(LOOK_EVERY).await;
        assert!(body.into_data_stream().next().await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_may_be_had_is_whole() {
        let desk = Desk::new().await;
        let every = Duration::from_millis(40);
        let (ended, asked, words) = read(&desk, pieces(every), Duration::MAX).await;
        assert!(ended >= Duration::from_secs(60) && words.is_none(), "{ended:?}");
        assert!((90..=130).contains(&asked), "{asked}");
        // A client that takes nothing for long is asked about before it goes on.
        let body = guarded(pieces(every), desk.right(refuse));
        sleep(LOOK_EVERY).await;
        let first = body.into_data_stream().next().await.unwrap();
        assert!(first.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_counts_from_when_was_asked_before_it() {
        let desk = Desk::new().await;
        // As long as an answer may take before it begins.
        let (looked, right) = (Instant::now(), desk.right(refuse));
        sleep(Duration::from_millis(400)).await;
        let every = Duration::from_millis(30);
        let mut frames = guarded(pieces(every), right).into_data_stream();
        while frames.next().await.is_some_and(|frame| frame.is_ok()) {}
        assert!(looked.elapsed() <= LOOK_EVERY + every, "{:?}", looked.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_busy_ends_no_body_and_one_that_stays_away_does() {
        type Readable = fn(u64) -> bool;
        // Whether it can be read so many seconds after the beginning, and when the body ends.
        let busy: [(Readable, Option<u64>); 4] = [
            (|n| !(3..7).contains(&n), None),
            (|n| n % 5 == 0, None),
            (|n| n < 20, Some(25)),
            (|_| false, Some(5)),
        ];
        let desk = Desk::new().await;
        // While pieces come, and while none comes: then somebody changes something, again and again.
        for (at, (readable, ends)) in busy.into_iter().enumerate() {
            for every_ms in [40, 30_000] {
                let began = Instant::now();
                let right = desk.right(move || {
                    let readable = readable(began.elapsed().as_secs());
                    async move { if readable { Ok(pass(None)) } else { Err(Refusal::Unavailable) } }
                        .boxed()
                });
                let body = guarded(pieces(Duration::from_millis(every_ms)), right);
                let mut frames = body.into_data_stream();
                let mut refused = false;
                let reading = async {
                    while let Some(frame) = frames.next().await {
                        refused = frame.is_err();
                    }
                    began.elapsed().as_secs()
                };
                let changing = async {
                    loop {
                        desk.access.forget_policies();
                        sleep(Duration::from_secs(1)).await;
                    }
                };
                let end = tokio::select! {
                    end = reading => end,
                    () = changing => 0,
                };
                assert_eq!(refused, ends.is_some(), "{at}, {every_ms}: {end}");
                let in_time = ends.is_none_or(|ends| (ends..=ends + 1).contains(&end));
                assert!(in_time, "{at}, {every_ms}: {end}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_memory_is_left_as_it_is() {
        let desk = Desk::new().await;
        for body in [Body::from("all of it"), Body::empty()] {
            let (_, asked, words) = read(&desk, body, Duration::ZERO).await;
            assert_eq!((asked, words), (0, None));
        }
    }
}
