//! Open namespaces: tracks are relayed as they come, whatever they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moqt::{Answer, Filter, RequestCode, RequestId};
use spine::broadcast::Producer;
use spine::{NodeId, Origin, Path, PublishError, Request, Route, Takeover, TrackName, Waiting};

use crate::limits::{PUBLISHED_TRACKS_MAX, WANTED_MAX};
use crate::publish::{Offer, Publisher, info_of};
use crate::upstream;

/// How an upstream is asked compared with who has what is wanted at hand.
const COST: u32 = 10;

/// Broadcasts of open namespaces. All who publish in one share it, and write its tracks together: what
/// one of them has written already is dropped when it comes from another.
#[derive(Default)]
pub(crate) struct OpenBroadcasts {
    broadcasts: Mutex<BTreeMap<Path, Weak<Producer>>>,
    wanted: Mutex<BTreeMap<(Path, TrackName), u64>>,
}

/// Who waits for a track that is being asked for wants it to begin a new group; forgotten when dropped.
pub(crate) struct Wanted<'a> {
    open: &'a OpenBroadcasts,
    key: (Path, TrackName),
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.open.wanted().remove(&self.key);
    }
}

impl OpenBroadcasts {
    fn wanted(&self) -> MutexGuard<'_, BTreeMap<(Path, TrackName), u64>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers NEW_GROUP_REQUEST of a subscriber for the SUBSCRIBE that it may cause.
    pub(crate) fn want(&self, path: &Path, name: &TrackName, new_group: u64) -> Option<Wanted<'_>> {
        let key = (path.clone(), name.clone());
        let mut wanted = self.wanted();
        if wanted.len() >= WANTED_MAX && !wanted.contains_key(&key) {
            return None;
        }
        let largest = wanted.entry(key.clone()).or_insert(new_group);
        *largest = new_group.max(*largest);
        Some(Wanted { open: self, key })
    }

    fn join(&self, origin: &Origin, path: &Path) -> Result<Arc<Producer>, PublishError> {
        let mut open = self.broadcasts.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, producer| producer.strong_count() > 0);
        if let Some(there) = open.get(path).and_then(Weak::upgrade) {
            return Ok(there);
        }
        let producer = origin.publish(path, Route::local(NodeId(0), 0), Takeover::Refuse)?;
        let producer = Arc::new(producer);
        open.insert(path.clone(), Arc::downgrade(&producer));
        Ok(producer)
    }
}

/// Relays what a peer publishes in an open namespace.
pub(crate) async fn run(mut publisher: Publisher, path: Path) {
    let broadcast = match publisher.relay.open.join(&publisher.relay.origin, &path) {
        Ok(broadcast) => broadcast,
        Err(error) => {
            return publisher.refuse(RequestCode::ExcessiveLoad, error.to_string()).await;
        }
    };
    let consumer = broadcast.consume();
    let (mut seen, mut changed) = (u64::MAX, Waiting::new());
    // Tracks that this peer brings, or was asked for.
    let mut own: BTreeSet<TrackName> = BTreeSet::new();
    let mut responder = None;
    let mut announced: Option<RequestId> = None;
    let mut published = BTreeMap::new();
    let mut begun = false;
    let mut taking: FuturesUnordered<Taking> = FuturesUnordered::new();
    loop {
        let wanted = poll_fn(|cx| match &mut responder {
            Some(responder) => spine::Responder::poll(responder, cx),
            None => std::task::Poll::Pending,
        });
        tokio::select! {
            offer = publisher.offers.recv() => {
                begun = true;
                match offer {
                    Some(Offer::Namespace(id)) => {
                        publisher.answer(id, Answer::ok());
                        announced = Some(id);
                        responder.get_or_insert_with(|| {
                            publisher.relay.origin.responder(path.clone(), COST)
                        });
                        // It is asked for what others are asked for already (draft-18 §9.5).
                        seen = u64::MAX;
                    }
                    Some(Offer::Track(offered)) => {
                        let room = published.len() < PUBLISHED_TRACKS_MAX;
                        let name = TrackName::new(offered.name.clone());
                        let track = match name {
                            Ok(name) if room => consumer.derive(name, info_of(&offered.properties)),
                            _ => Err(PublishError::TooManyTracks),
                        };
                        if let Ok(track) = &track {
                            own.insert(track.name().clone());
                        }
                        // Who publishes a track may also know its past.
                        responder.get_or_insert_with(|| {
                            publisher.relay.origin.responder(path.clone(), COST)
                        });
                        let id = offered.id;
                        published.insert(id, ());
                        let take = publisher.accept(offered, track);
                        taking.push(boxed(Some(id), take));
                    }
                    Some(Offer::Gone(id)) => {
                        published.remove(&id);
                        if announced == Some(id) {
                            announced = None;
                        }
                    }
                    None => return,
                }
            }
            // Only who is asked brings: a track costs nothing until somebody wants it.
            request = wanted => match request {
                Request::Track(request)
                    if announced.is_some() && *request.broadcast().path() == path =>
                {
                    own.insert(request.name().clone());
                    let name = Bytes::copy_from_slice(request.name().as_bytes());
                    let key = (path.clone(), request.name().clone());
                    let new_group = publisher.relay.open.wanted().get(&key).copied();
                    // draft-18 §10.7: what is newly published; who wants the past fetches it.
                    let make = move |info| request.accept(info);
                    let how = (Filter::NextObject, new_group);
                    taking.push(boxed(None, publisher.subscribe(name, how, make)));
                }
                Request::Fetch(request) if *request.path() == path => {
                    let (link, namespace) = (publisher.link.clone(), publisher.namespace.clone());
                    let fetch = upstream::fetch(link, namespace, request);
                    taking.push(Box::pin(async move {
                        fetch.await;
                        None
                    }));
                }
                _ => {}
            },
            // draft-18 §9.5: all publishers of a namespace are asked for what somebody subscribes to.
            revision = poll_fn(|cx| consumer.poll_changed(seen, &mut changed, cx)) => {
                seen = revision;
                for name in consumer.tracks().into_iter().filter(|_| announced.is_some()) {
                    if own.len() >= PUBLISHED_TRACKS_MAX || !own.insert(name.clone()) {
                        continue;
                    }
                    let bytes = Bytes::copy_from_slice(name.as_bytes());
                    let all = consumer.clone();
                    let make = move |info| all.derive(name, info);
                    let take = publisher.subscribe(bytes, (Filter::NextObject, None), make);
                    taking.push(boxed(None, take));
                }
            },
            Some(over) = taking.next() => {
                if let Some(id) = over {
                    published.remove(&id);
                }
            }
        }
        if begun && announced.is_none() && published.is_empty() && taking.is_empty() {
            return;
        }
    }
}

type Taking = std::pin::Pin<Box<dyn Future<Output = Option<RequestId>> + Send>>;

fn boxed(
    id: Option<RequestId>,
    take: impl Future<Output = crate::take::Taken> + Send + 'static,
) -> Taking {
    Box::pin(async move {
        take.await;
        id
    })
}
