//! A response body of pieces that are shared with the spine: nothing is copied.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Pieces in order, with their total size known.
pub(crate) struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Pieces {
    pub(crate) fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces: VecDeque<Bytes> = pieces.into_iter().filter(|p| !p.is_empty()).collect();
        let left = pieces.iter().map(|p| p.len() as u64).sum();
        Self { pieces, left }
    }

    pub(crate) fn len(&self) -> u64 {
        self.left
    }

    /// The bytes of this range only.
    pub(crate) fn cut(self, start: u64, len: u64) -> Self {
        let (mut skip, mut take) = (start, len);
        let mut pieces = VecDeque::new();
        for piece in self.pieces {
            let size = piece.len() as u64;
            let from = skip.min(size);
            let to = (from + take).min(size);
            skip -= from;
            take -= to - from;
            if to > from {
                // invariant: both are at most the piece's length, which is a usize.
                pieces.push_back(piece.slice(from as usize..to as usize));
            }
        }
        Self::new(pieces)
    }

    pub(crate) fn into_iter(self) -> impl Iterator<Item = Bytes> {
        self.pieces.into_iter()
    }

    pub(crate) fn into_body(self) -> Body {
        Body::new(self)
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |p| p.len() as u64);
        Poll::Ready(piece.map(|p| Ok(Frame::data(p))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_leave_as_they_lie() {
        use http_body::Body as _;
        let sent = ["abc", "defg", "h"].map(|text| Bytes::from(text.to_owned()));
        let lies = |from: usize| sent.iter().map(move |p| p.as_ptr().wrapping_add(from));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut whole = Pieces::new(sent.clone());
        for expect in lies(0) {
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut whole).poll_frame(&mut context) else {
                panic!("a piece is missing")
            };
            assert_eq!(frame.into_data().unwrap().as_ptr(), expect);
        }
        let cut = Pieces::new(sent.clone()).cut(1, 2).into_iter().next().unwrap();
        assert_eq!(Some(cut.as_ptr()), lies(1).next(), "a range of them too");
    }

    #[test]
    fn a_range_cuts_across_pieces() {
        let pieces = || Pieces::new(["abc", "", "defg", "h"].map(Bytes::from));
        assert_eq!(pieces().len(), 8);
        let text = |p: Pieces| -> Vec<u8> { p.pieces.iter().flat_map(|b| b.to_vec()).collect() };
        for (start, len, expect) in [
            (0, 8, "abcdefgh"),
            (2, 3, "cde"),
            (3, 4, "defg"),
            (7, 1, "h"),
            (7, 9, "h"),
            (8, 1, ""),
        ] {
            assert_eq!(text(pieces().cut(start, len)), expect.as_bytes(), "{start}+{len}");
        }
    }
}
