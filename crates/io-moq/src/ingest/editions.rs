//! The catalog of who publishes a live input, edition by edition.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use media::Unreadable;
use media::catalog::{self, Catalog};
use spine::{Objects, Read};

use crate::limits::UNREADABLE_MAX;
use crate::play::joined;

/// The catalog as it is, of objects that are whole ones or change the one before.
#[derive(Default)]
pub(super) struct Editions {
    pub(super) objects: Option<Objects>,
    newest: Option<Newest>,
    /// One was taken: others have their turn before the next one.
    rests: bool,
}

struct Newest {
    group: u64,
    /// The last object that came, whether or not it applied.
    object: u64,
    catalog: Arc<Catalog>,
    /// Of its JSON.
    bytes: usize,
}

impl Editions {
    /// Whether the newest edition is a change, and no whole catalog.
    pub(super) fn is_changed(&self) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.object > 0)
    }

    /// The next edition; an error when too much of it could not be read. What can't be read, or does not apply, is passed over:
    /// the next whole one says all of it.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        unreadable: &mut Unreadable,
    ) -> Poll<Result<Arc<Catalog>, String>> {
        if std::mem::take(&mut self.rests) {
            // A stream may have thousands of small ones, each of them the work of a whole catalog.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            let Some(objects) = &mut self.objects else { return Poll::Pending };
            let (group, header, payload) = match objects.poll(cx, now) {
                Poll::Ready(Read::Object { group, header, payload }) => (group, header, payload),
                Poll::Ready(Read::Cut | Read::Skipped) => continue,
                Poll::Ready(Read::End(_)) => {
                    // It may be offered again.
                    self.objects = None;
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Pending,
            };
            if header.status != spine::Status::Normal {
                continue;
            }
            match self.take(group, header.id, &joined(payload)) {
                Ok(catalog) => {
                    self.rests = true;
                    return Poll::Ready(Ok(catalog));
                }
                Err(error) => {
                    // It may repeat all that the peer has said.
                    let error: String = error.to_string().chars().take(REASON_CHARS).collect();
                    let error = error.escape_debug();
                    tracing::warn!(group, object = header.id, %error, "moq: a catalog is refused");
                    if unreadable.add(now) > UNREADABLE_MAX {
                        return Poll::Ready(Err(format!("the catalog can't be read: {error}")));
                    }
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// MSF-01 §5.3: a group begins with a whole catalog, what is behind that in it changes it. Behind one that did not come, the
    /// next whole one is waited for.
    fn take(
        &mut self,
        group: u64,
        object: u64,
        json: &[u8],
    ) -> Result<Arc<Catalog>, catalog::Error> {
        if object == 0 {
            self.newest = None;
            let (catalog, bytes) = (Arc::new(Catalog::parse(json)?), json.len());
            self.newest = Some(Newest { group, object, catalog: catalog.clone(), bytes });
            return Ok(catalog);
        }
        let follows = |newest: &Newest| newest.group == group && newest.object + 1 == object;
        let Some(newest) = self.newest.take_if(|newest| follows(newest)) else {
            self.newest = None;
            return Err(catalog::Error::NoBase);
        };
        let newest = self.newest.insert(Newest { object, ..newest });
        newest.catalog = Arc::new(newest.catalog.updated(json, &mut newest.bytes)?);
        Ok(newest.catalog.clone())
    }
}

/// So much of why a catalog is refused as a log needs.
const REASON_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use bytes::Bytes;
    use spine::{Header, Policy, Start, TrackInfo, TrackName};

    use super::super::{CATALOG, PATIENCE, staging};
    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A stream of small changes holds nobody up.
    #[test]
    fn between_two_editions_others_have_their_turn() {
        let staging = staging().unwrap();
        let track = staging.track(TrackName::from_static(CATALOG), TrackInfo::default()).unwrap();
        let now = Instant::now();
        let subgroup = track.group(0, now).unwrap().subgroup(0, now).unwrap();
        let whole = r#"{"version":"draft-01","tracks":[]}"#;
        let editions = [whole, r#"{"deltaUpdate":[]}"#, "{", r#"{"deltaUpdate":[]}"#];
        for (id, json) in editions.into_iter().enumerate() {
            let payload = track.budget().payload(Bytes::from_static(json.as_bytes()));
            subgroup.write(Header::new(id as u64, now), vec![payload]).unwrap();
        }
        let start = Start::At(spine::Location { group: 0, object: 0 });
        let cursor = staging.consume().get(&TrackName::from_static(CATALOG)).unwrap();
        let cursor = cursor.subscribe(spine::Filter::from(start), Policy::EVERYTHING);
        let objects = Some(Objects::in_order(cursor, PATIENCE));
        let mut catalog = Editions { objects, ..Editions::default() };
        let mut unreadable = Unreadable::default();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let mut came = Vec::new();
        for _ in 0..7 {
            came.push(match catalog.poll(&mut cx, now, &mut unreadable) {
                Poll::Ready(edition) => edition.is_ok().to_string(),
                Poll::Pending => woken.0.swap(0, Ordering::Relaxed).to_string(),
            });
        }
        // An edition, a rest; the one that is refused is one, too.
        assert_eq!(came.join(" "), "true 1 true 1 1 true 1");
        assert_eq!(unreadable.add(now), 2, "one before");
    }
}
