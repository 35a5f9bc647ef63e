//! Open namespaces: tracks are relayed as they come, whatever they hold.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moqt::{Answer, Filter, RequestCode, RequestId};
use spine::broadcast::Producer;
use spine::{NodeId, Origin, Path, PublishError, Request, Route, Takeover, TrackName};

use crate::limits::PUBLISHED_TRACKS_MAX;
use crate::publish::{Offer, Publisher, info_of};

/// How an upstream is asked compared with who has what is wanted at hand.
const COST: u32 = 10;

/// Broadcasts of open namespaces. All who publish in one share it, and write its tracks together: what
/// one of them has written already is dropped when it comes from another.
#[derive(Default)]
pub(crate) struct OpenBroadcasts(Mutex<BTreeMap<Path, Weak<Producer>>>);

impl OpenBroadcasts {
    fn join(&self, origin: &Origin, path: &Path) -> Result<Arc<Producer>, PublishError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
    let mut responder = None;
    let mut announced: Option<RequestId> = None;
    let mut published = BTreeMap::new();
    let mut taking = FuturesUnordered::new();
    loop {
        let wanted = poll_fn(|cx| match &mut responder {
            Some(responder) => spine::Responder::poll(responder, cx),
            None => std::task::Poll::Pending,
        });
        tokio::select! {
            offer = publisher.offers.recv() => match offer {
                Some(Offer::Namespace(id)) => {
                    publisher.answer(id, Answer::ok());
                    announced = Some(id);
                    responder = Some(publisher.relay.origin.responder(path.clone(), COST));
                }
                Some(Offer::Track(offered)) => {
                    let room = published.len() < PUBLISHED_TRACKS_MAX;
                    let name = TrackName::new(offered.name.clone());
                    let track = match name {
                        Ok(name) if room => consumer.derive(name, info_of(&offered.properties)),
                        _ => Err(PublishError::TooManyTracks),
                    };
                    let id = offered.id;
                    published.insert(id, ());
                    let take = publisher.accept(offered, track);
                    taking.push(boxed(Some(id), take));
                }
                Some(Offer::Gone(id)) => {
                    published.remove(&id);
                    if announced == Some(id) {
                        (announced, responder) = (None, None);
                    }
                }
                None => return,
            },
            // Only who is asked brings: a track costs nothing until somebody wants it.
            request = wanted => if let Request::Track(request) = request
                && *request.broadcast().path() == path
            {
                let name = Bytes::copy_from_slice(request.name().as_bytes());
                // draft-18 §10.7: what is newly published; who wants the past fetches it.
                let make = move |info| request.accept(info);
                let take = publisher.subscribe(name, Filter::NextObject, make);
                taking.push(boxed(None, take));
            },
            Some(over) = taking.next() => {
                if let Some(id) = over {
                    published.remove(&id);
                }
            }
        }
        if announced.is_none() && published.is_empty() && taking.is_empty() {
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
