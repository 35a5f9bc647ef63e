//! Bodies of requests that do not come: hyper bounds how long the head of a request may take, and nothing of what follows.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::http::{HeaderValue, StatusCode, Version, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::REQUEST_BODY;

/// A body that comes within [`REQUEST_BODY`] of its request, or fails.
pub(crate) struct Timely<B> {
    body: B,
    began: Instant,
    /// Made when there is something to wait for: most requests have no body.
    deadline: Option<Pin<Box<Sleep>>>,
    late: Late,
}

/// Whether a body was too late, for who has its request's answer.
#[derive(Clone, Default)]
pub(crate) struct Late(Arc<AtomicBool>);

impl<B> Timely<B> {
    /// The time begins.
    pub(crate) fn new(body: B) -> (Self, Late) {
        let late = Late::default();
        (Self { body, began: Instant::now(), deadline: None, late: late.clone() }, late)
    }
}

impl Late {
    /// Whatever was made of a body that failed, its client hears why. RFC 9110 §15.5.9.
    pub(crate) fn told(&self, mut response: Response, version: Version) -> Response {
        if self.0.load(Ordering::Relaxed) {
            *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
            // HTTP/2 has streams to end.
            if version < Version::HTTP_2 {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
        }
        response
    }
}

impl<B> Body for Timely<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let at = self.began + REQUEST_BODY;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep_until(at)));
        std::task::ready!(deadline.as_mut().poll(cx));
        self.late.0.store(true, Ordering::Relaxed);
        let words = format!("the body took longer than {} s", REQUEST_BODY.as_secs());
        Poll::Ready(Some(Err(Error::new(ErrorKind::TimedOut, words).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
