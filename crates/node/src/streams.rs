//! The answers of one HTTP/2 connection, by the task that serves the connection. hyper would have each stream be a task of its
//! own: an answer is then two tasks that are woken, one after the other, and with thousands of connections each of them finds
//! its memory far away.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;

type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What hyper hands streams to. Goes with one connection.
#[derive(Clone)]
pub(crate) enum Streams {
    /// They wait here until the connection's task takes them up.
    Together(Arc<Mutex<Vec<Answer>>>),
    /// A task for each: a connection of a proxy has the streams of many people, who shall not share one core.
    Apart,
}

impl Streams {
    /// By the task of their connection.
    pub(crate) fn together() -> Self {
        Self::Together(Arc::default())
    }

    /// The connection whose streams these are, with them.
    pub(crate) fn with<C>(self, connection: C) -> Serving<C> {
        Serving { connection, new: self, answers: FuturesUnordered::new() }
    }

    fn take(&self) -> Vec<Answer> {
        match self {
            Self::Together(new) => {
                std::mem::take(&mut new.lock().unwrap_or_else(PoisonError::into_inner))
            }
            Self::Apart => Vec::new(),
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    /// Spawns a task if the connection is a proxy's.
    fn execute(&self, answer: F) {
        match self {
            Self::Together(new) => {
                new.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(answer));
            }
            Self::Apart => drop(tokio::spawn(answer)),
        }
    }
}

/// A connection and the answers on it. Who drops it, drops them.
pub(crate) struct Serving<C> {
    connection: C,
    new: Streams,
    answers: FuturesUnordered<Answer>,
}

impl<C> Serving<C> {
    /// The connection by itself.
    pub(crate) fn connection(&mut self) -> &mut C {
        &mut self.connection
    }
}

impl<C: Future + Unpin> Future for Serving<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        loop {
            // Answers first: what they say goes out with this turn of the connection.
            while let Poll::Ready(Some(())) = Pin::new(&mut self.answers).poll_next(cx) {}
            let served = Pin::new(&mut self.connection).poll(cx);
            let new = self.new.take();
            if served.is_ready() || new.is_empty() {
                return served;
            }
            self.answers.extend(new);
        }
    }
}

impl<C> Drop for Serving<C> {
    fn drop(&mut self) {
        // A stream knows who would run it: what was never taken up would keep itself.
        drop(self.new.take());
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    /// Counts those who are there.
    struct Here(Arc<AtomicUsize>);

    impl Here {
        fn new(count: &Arc<AtomicUsize>) -> Self {
            count.fetch_add(1, Ordering::Relaxed);
            Self(count.clone())
        }
    }

    impl Drop for Here {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A connection that has a stream at each of its first turns, and ends when it is told to.
    fn connection(
        streams: &Streams,
        asked: Vec<oneshot::Receiver<u8>>,
        said: &Arc<Mutex<Vec<u8>>>,
        here: &Arc<AtomicUsize>,
        mut end: oneshot::Receiver<()>,
    ) -> impl Future<Output = ()> + Unpin + use<> {
        let (streams, said, here) = (streams.clone(), said.clone(), here.clone());
        let mut asked = asked.into_iter();
        poll_fn(move |cx| {
            if let Some(asked) = asked.next() {
                let (said, here, of) = (said.clone(), Here::new(&here), streams.clone());
                streams.execute(async move {
                    // As hyper's streams do.
                    let _holds = (here, of);
                    if let Ok(word) = asked.await {
                        said.lock().unwrap().push(word);
                    }
                });
            }
            Pin::new(&mut end).poll(cx).map(drop)
        })
    }

    #[tokio::test]
    async fn answers_come_in_the_order_in_which_they_are_ready_and_go_with_their_connection() {
        let (said, here) = (Arc::default(), Arc::default());
        let (tell, asked): (Vec<_>, Vec<_>) = (0..4).map(|_| oneshot::channel()).unzip();
        let (end, ended) = oneshot::channel();
        let streams = Streams::together();
        let connection = connection(&streams, asked, &said, &here, ended);
        let serving = tokio::spawn(streams.with(connection));
        let mut tell = tell.into_iter().map(Some).collect::<Vec<_>>();
        for word in [2_u8, 0, 1] {
            tell[usize::from(word)].take().unwrap().send(word).unwrap();
            while said.lock().unwrap().last() != Some(&word) {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!((&*said.lock().unwrap(), here.load(Ordering::Relaxed)), (&vec![2, 0, 1], 1));
        end.send(()).unwrap();
        serving.await.unwrap();
        assert_eq!(here.load(Ordering::Relaxed), 0, "the fourth one went with it");
    }

    #[tokio::test]
    async fn a_stream_that_comes_with_the_end_is_dropped() {
        let (said, here) = (Arc::default(), Arc::default());
        let (_tell, asked) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        end.send(()).unwrap();
        let streams = Streams::together();
        let connection = connection(&streams, vec![asked], &said, &here, ended);
        streams.with(connection).await;
        assert_eq!(here.load(Ordering::Relaxed), 0);
    }
}
