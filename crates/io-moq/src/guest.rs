//! What a viewer publishes beside the broadcast that he watches: his tracks are taken as they are, into a broadcast of his
//! own that somebody else reads. What is in them is nobody's business here.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moqt::session::Command;
use moqt::{Answer, Filter, Location, RequestCode, RequestId, ResetCode};
use spine::{Path, PublishError, TrackName, Waiting};

use crate::listen::Place;
use crate::publish::{Offer, Publisher, info_of};
use crate::take::Taken;

/// Serves a viewer's namespace, for as long as he publishes in it, may watch, and somebody reads it.
pub(crate) async fn run(mut publisher: Publisher, path: Path, place: Place) {
    let viewer = publisher.viewer.clone();
    if let Err(barred) = viewer.may_watch(&path).await {
        return publisher.refuse_now(barred.code(), &barred.words);
    }
    let Place { track: wanted, take } = place;
    let producer = match take() {
        Ok(producer) => producer,
        Err(words) => return publisher.refuse_now(RequestCode::Uninterested, &words),
    };
    let mut shut_out = std::pin::pin!(viewer.shut_out(path));
    let mut closed = Waiting::new();
    let mut open = BTreeSet::new();
    let mut taking: FuturesUnordered<Taking> = FuturesUnordered::new();
    let (code, words) = loop {
        let offer = tokio::select! {
            offer = publisher.offers.recv() => offer,
            Some(over) = taking.next() => {
                over.map(|id| open.remove(&id));
                continue;
            }
            barred = &mut shut_out => break (barred.code(), barred.words),
            why = poll_fn(|cx| producer.poll_closed(&mut closed, cx)) => {
                break (RequestCode::Uninterested, why.to_string());
            }
        };
        match offer {
            Some(Offer::Track(offered)) => {
                let id = offered.id;
                let track = match TrackName::new(offered.name.clone()) {
                    Ok(name) => producer.track(name, info_of(&offered.properties)),
                    Err(_) => Err(PublishError::TooManyTracks),
                };
                if track.is_ok() {
                    open.insert(id);
                }
                taking.push(until_over(Some(id), publisher.accept(offered, track)));
            }
            Some(Offer::Namespace(id)) => {
                publisher.answer(id, Answer::ok());
                open.insert(id);
                let (name, broadcast) = (wanted.clone(), producer.consume());
                let make = move |info| broadcast.derive(name, info);
                let name = Bytes::copy_from_slice(wanted.as_bytes());
                // From its start, or that of the group that is under way: what he said before we asked is not lost.
                let all = Filter::From(Location::default());
                let take = publisher.subscribe(name, (all, None), make);
                taking.push(until_over(None, take));
            }
            // Its track ends by itself.
            Some(Offer::Gone(id)) => drop(open.remove(&id)),
            // Of an upstream, which is no viewer.
            Some(Offer::Told) => {}
            None => return,
        }
    };
    drop((taking, producer));
    for id in open {
        publisher.link.command(Command::Cancel { id, code: ResetCode::Cancelled });
    }
    publisher.refuse_now(code, &words);
}

type Taking = Pin<Box<dyn Future<Output = Option<RequestId>> + Send>>;

fn until_over(id: Option<RequestId>, take: impl Future<Output = Taken> + Send + 'static) -> Taking {
    Box::pin(async move {
        take.await;
        id
    })
}
