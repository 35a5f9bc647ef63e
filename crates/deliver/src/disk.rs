//! Answers out of recordings. A piece is read when it is taken: who reads slowly, or not at all, holds that and not a whole segment. What
//! all of them hold has a bound, and each address has a share of it.

use std::io::{Error, ErrorKind};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use bytes::Bytes;
use control::VideoUid;
use encode::Unreadable;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use record::{History, Stored};

use crate::http::{cors, not_now};
use crate::limits::READ_BYTES;
use crate::ranges::{Asked, asked, ranged};
use crate::shelf::{Counters, unreadable};
use crate::waiting::{Busy, Place, Waiter};

/// A segment or a part of a recording.
pub(crate) struct OnDisk {
    pub(crate) history: Arc<History>,
    pub(crate) video: VideoUid,
    pub(crate) stored: Stored,
}

type Read = Result<Option<Bytes>, Unreadable>;

impl OnDisk {
    /// None if it is gone.
    async fn read(self: Arc<Self>, range: Range<u64>) -> Read {
        let read = self.history.bytes(&self.stored, range).await;
        read.map_err(|error| unreadable(&self.video, &error))
    }
}

/// What is asked for of a file: of what type it is, how long it may be kept, and its tag. None if it is gone. Where only its head is asked for,
/// nothing is read.
pub(crate) async fn answer(
    file: OnDisk,
    (counters, waiter): (&Counters, Waiter),
    (kind, cache, etag): (&'static str, &'static str, &str),
    (method, headers): (&Method, &HeaderMap),
) -> Result<Option<Response>, Unreadable> {
    let whole = file.stored.size();
    let wanted = match asked(headers, etag, whole) {
        _ if *method == Method::HEAD => None,
        Asked::Whole => Some(0..whole),
        Asked::Part(start, len) => Some(start..start + len),
        Asked::Known | Asked::Another | Asked::Outside => None,
    };
    let mut body = Body::empty();
    if let Some(wanted) = wanted {
        let bytes = wanted.end - wanted.start;
        let place = match counters.read.take_some(waiter, bytes.min(READ_BYTES)) {
            Ok(place) => Arc::new(place),
            Err(busy) => return Ok(Some(refused(busy))),
        };
        let Some(reading) = Reading::begin(file, wanted, place).await? else { return Ok(None) };
        body = Body::new(reading);
        counters.media_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
    counters.media.fetch_add(1, Ordering::Relaxed);
    let base = cors().header(header::CACHE_CONTROL, cache).header(header::CONTENT_TYPE, kind);
    Ok(Some(ranged(base, etag, whole, headers, |_, _| body)))
}

pub(crate) fn refused(busy: Busy) -> Response {
    let words = match busy {
        Busy::All => {
            "too much of recordings is on its way to those who read it: try again in a second"
        }
        Busy::Address => {
            "too much of recordings is on its way to your address: try again in a second. If this address is a proxy of many \
             viewers, its operator has to name it in http.trusted_proxies"
        }
    };
    not_now(words, Duration::from_secs(1))
}

/// Bytes that keep a place for as long as they are in memory, whoever has them.
pub(crate) fn held(bytes: Bytes, place: &Arc<Place>) -> Bytes {
    struct Held {
        bytes: Bytes,
        _place: Arc<Place>,
    }

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }

    Bytes::from_owner(Held { bytes, _place: place.clone() })
}

/// A body that is read as it is taken.
struct Reading {
    file: Arc<OnDisk>,
    /// The piece that comes next, once it is read.
    ready: Option<Bytes>,
    reading: Option<BoxFuture<'static, Read>>,
    /// What is not read yet.
    left: Range<u64>,
    place: Arc<Place>,
}

impl Reading {
    /// With the first piece: whether there is anything is known before the head of the answer is sent.
    async fn begin(
        file: OnDisk,
        left: Range<u64>,
        place: Arc<Place>,
    ) -> Result<Option<Self>, Unreadable> {
        let (file, ready, reading) = (Arc::new(file), None, None);
        let mut body = Self { file, ready, reading, left, place };
        let next = body.next();
        let Some(first) = body.file.clone().read(next.clone()).await? else { return Ok(None) };
        body.left.start = next.end;
        body.ready = Some(first);
        Ok(Some(body))
    }

    fn next(&self) -> Range<u64> {
        self.left.start..self.left.end.min(self.left.start.saturating_add(READ_BYTES))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(ready) = self.ready.take() {
            return Poll::Ready(Some(Ok(ready)));
        }
        let next = self.next();
        if next.is_empty() {
            return Poll::Ready(None);
        }
        let file = &self.file;
        let reading = self.reading.get_or_insert_with(|| file.clone().read(next.clone()).boxed());
        let read = std::task::ready!(reading.poll_unpin(cx));
        (self.reading, self.left.start) = (None, next.end);
        let whole = |bytes: &Bytes| bytes.len() as u64 == next.end - next.start;
        Poll::Ready(Some(match read {
            Ok(Some(bytes)) if whole(&bytes) => Ok(bytes),
            // Its length was promised: a body that ends early is an error.
            failed => {
                self.left.start = self.left.end;
                let gone = failed.is_ok();
                let kind = if gone { ErrorKind::NotFound } else { ErrorKind::Other };
                Err(Error::new(kind, "the rest of it can't be read"))
            }
        }))
    }
}

impl http_body::Body for Reading {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let piece = std::task::ready!(self.poll_piece(cx));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(held(piece?, &self.place)))))
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_none() && self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let ready = self.ready.as_ref().map_or(0, |piece| piece.len() as u64);
        SizeHint::with_exact(ready + (self.left.end - self.left.start))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE};
    use control::conformance::{NOW, on_air, segment};
    use control::{Control, End, MasterKey};
    use futures_util::StreamExt;
    use http_body::Body as _;
    use store::{Key, Kind, Object, Store};
    use tempfile::TempDir;

    use super::*;
    use crate::library::Library;
    use crate::limits::READ_BYTES_PER_ADDRESS_MAX;
    use crate::media::recorded;
    use crate::tracks::tests::levels;

    const LEN: u64 = 4 * (1 << 20) + 5;

    /// A recording of one segment.
    struct Recorded {
        library: Arc<Library>,
        store: Arc<Store>,
        video: VideoUid,
        key: Key,
        name: String,
        media: Bytes,
        _folder: TempDir,
    }

    impl Recorded {
        async fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("control.db");
            let control = Arc::new(Control::open(&path, MasterKey::new(&[7; 32])).unwrap());
            let store = Arc::new(Store::in_memory());
            let claimed = on_air(&control).await;
            let (owned, number) = (&claimed.owned, claimed.first_segment);
            let mut record = segment(owned, number);
            (record.bytes, record.tracks[0].parts[0].bytes) = (LEN, LEN);
            let (video, epoch) = (owned.video.clone(), owned.epoch.0);
            let key = Key::new(&Object {
                video: video.to_string(),
                kind: Kind::Segment,
                epoch,
                number,
                random: record.object.unwrap(),
            });
            let (key, name) = (key.unwrap(), format!("{epoch}-{number}.m4s"));
            let media: Bytes = (0..LEN).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
            store.put(&key, vec![media.clone()]).await.unwrap();
            control.commit(owned, vec![record], 0).await.unwrap();
            control.release(owned, End::Goodbye, NOW).await.unwrap();
            let history = Arc::new(History::new(control, store.clone()));
            let library = Library::new(history, Arc::default(), levels());
            Self { library, store, video, key, name, media, _folder: folder }
        }

        async fn ask(&self, method: Method, range: Option<&'static str>, from: &str) -> Response {
            let recording = self.library.history().recording(&self.video).await.unwrap().unwrap();
            let mut headers = HeaderMap::new();
            headers.extend(range.map(|range| (RANGE, HeaderValue::from_static(range))));
            let waiter = Waiter(Some(from.parse().unwrap()));
            let asked = (&method, &headers);
            recorded(&self.library, &recording, "video.cmaf", &self.name, asked, waiter).await
        }

        async fn get(&self, range: Option<&'static str>) -> Response {
            self.ask(Method::GET, range, "192.0.2.1").await
        }

        fn held(&self) -> u64 {
            self.library.counters().read.taken()
        }
    }

    #[tokio::test]
    async fn a_segment_is_read_as_it_is_taken() {
        let disk = Recorded::new().await;
        for (range, status, expect, said) in [
            (None, 200, 0..LEN, None),
            (Some("bytes=7-"), 206, 7..LEN, Some(format!("bytes 7-{}/{LEN}", LEN - 1))),
            (Some("bytes=0-9"), 206, 0..10, Some(format!("bytes 0-9/{LEN}"))),
            (Some("bytes=-262145"), 206, LEN - 262_145..LEN, None),
        ] {
            let answer = disk.get(range).await;
            let len = expect.end - expect.start;
            assert_eq!(answer.status(), status, "{range:?}");
            assert_eq!(answer.headers()[CONTENT_LENGTH], len.to_string(), "{range:?}");
            assert_eq!(answer.headers()[ETAG], format!("\"{}\"", disk.name), "{range:?}");
            if let Some(said) = said {
                assert_eq!(answer.headers()[CONTENT_RANGE], said);
            }
            let mut frames = answer.into_body().into_data_stream();
            let mut got = Vec::new();
            while let Some(frame) = frames.next().await {
                let frame = frame.unwrap();
                assert!(frame.len() as u64 <= READ_BYTES, "{range:?}: {}", frame.len());
                assert_eq!(disk.held(), len.min(READ_BYTES), "{range:?}");
                got.extend(frame);
                let left = http_body::Body::size_hint(&frames).exact();
                assert_eq!(left, Some(len - got.len() as u64), "{range:?}");
            }
            assert!(got == disk.media[expect.start as usize..expect.end as usize], "{range:?}");
            drop(frames);
            assert_eq!(disk.held(), 0, "{range:?}");
        }
        // Nothing but what was taken was read: the rest is not there any more.
        let mut frames = disk.get(None).await.into_body().into_data_stream();
        let first = frames.next().await.unwrap().unwrap();
        disk.store.delete(&disk.key).await.unwrap();
        assert!(frames.next().await.unwrap().is_err());
        assert!(frames.next().await.is_none());
        // Who still has a piece holds it.
        drop(frames);
        assert_eq!(disk.held(), READ_BYTES);
        drop(first);
        assert_eq!(disk.held(), 0);
    }

    #[tokio::test]
    async fn the_head_of_a_segment_is_told_without_reading_it() {
        let disk = Recorded::new().await;
        disk.store.delete(&disk.key).await.unwrap();
        let answer = disk.ask(Method::HEAD, None, "192.0.2.1").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()[CONTENT_LENGTH], LEN.to_string());
        assert_eq!(answer.headers()[ETAG], format!("\"{}\"", disk.name));
        assert!(answer.body().is_end_stream());
        assert_eq!(disk.get(None).await.status(), 404);
        assert_eq!(disk.held(), 0);
    }

    #[tokio::test]
    async fn an_address_has_a_share_of_what_is_read() {
        let disk = Recorded::new().await;
        let mut all = Vec::new();
        for _ in 0..READ_BYTES_PER_ADDRESS_MAX / READ_BYTES {
            let answer = disk.get(None).await;
            assert_eq!(answer.status(), 200);
            all.push(answer);
        }
        let refused = disk.get(None).await;
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["retry-after"]),
            (503, &"1".parse().unwrap())
        );
        assert_eq!(disk.ask(Method::GET, None, "192.0.2.2").await.status(), 200);
        // Of which nothing is sent.
        assert_eq!(disk.ask(Method::HEAD, None, "192.0.2.1").await.status(), 200);
        all.pop();
        assert_eq!(disk.get(None).await.status(), 200);
        drop(all);
        assert_eq!(disk.held(), 0);
    }
}
