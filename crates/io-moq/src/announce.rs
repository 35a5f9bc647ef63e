//! What is here, told to who asks for it: SUBSCRIBE_NAMESPACE, and SUBSCRIBE_TRACKS.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moqt::session::{Command, Event};
use moqt::{Answer, Namespace, Parameters, Properties, Request, RequestId, ResetCode};
use spine::broadcast::{Consumer, Liveness};
use spine::{Announce, Path, TrackName, Waiting};
use tokio::sync::mpsc;

use crate::limits::{ANNOUNCED_MAX, OFFERED_TRACKS_MAX};
use crate::link::{Link, Told};
use crate::names::namespace_of;
use crate::play::{Serving, Update, Wishes, location, order_of};
use crate::viewer::{Viewer, secrets};

/// Tells the namespaces below `prefix` as they come and go.
pub(crate) async fn namespaces(link: Arc<Link>, id: RequestId, viewer: Viewer, prefix: Path) {
    let mut announcements = viewer.relay.origin.announcements(prefix);
    let mut told = BTreeSet::new();
    loop {
        match poll_fn(|cx| announcements.poll(cx)).await {
            Announce::Live(broadcast) => {
                let Some(namespace) = namespace_of(broadcast.path()) else { continue };
                // What somebody may not watch is not there for him.
                if viewer.may_watch(broadcast.path()).await.is_err() {
                    continue;
                }
                // The same again: its publisher changed, which a reader does not see.
                if !told.insert(broadcast.path().clone()) {
                    continue;
                }
                if told.len() > ANNOUNCED_MAX {
                    let code = ResetCode::ExcessiveLoad;
                    return link.command(Command::Cancel { id, code });
                }
                link.command(Command::Namespace { id, namespace });
            }
            Announce::Gone(path) => {
                if told.remove(&path)
                    && let Some(namespace) = namespace_of(&path)
                {
                    link.command(Command::NamespaceDone { id, namespace });
                }
            }
        }
    }
}

/// Offers all tracks below `prefix` with PUBLISH, those that are here and those that come.
pub(crate) async fn tracks(link: Arc<Link>, viewer: Viewer, prefix: Path, parameters: Parameters) {
    let mut announcements = viewer.relay.origin.announcements(prefix);
    let mut broadcasts = FuturesUnordered::new();
    let mut here: Vec<Consumer> = Vec::new();
    loop {
        tokio::select! {
            news = poll_fn(|cx| announcements.poll(cx)) => {
                here.retain(|b| !matches!(b.liveness(), Liveness::Ended(_)));
                if let Announce::Live(broadcast) = news
                    && !here.contains(&broadcast)
                {
                    here.push(broadcast.clone());
                    broadcasts.push(offer_all(&link, &viewer, broadcast, &parameters));
                }
            }
            Some(()) = broadcasts.next() => {}
        }
    }
}

/// Until it may not be watched.
async fn offer_all(
    link: &Arc<Link>,
    viewer: &Viewer,
    broadcast: Consumer,
    parameters: &Parameters,
) {
    let path = broadcast.path().clone();
    if viewer.may_watch(&path).await.is_err() {
        return;
    }
    let _seat = viewer.seat(&path);
    tokio::select! {
        () = offer_tracks(link, viewer, broadcast, parameters) => {}
        _ = viewer.shut_out(path) => {}
    }
}

async fn offer_tracks(
    link: &Arc<Link>,
    viewer: &Viewer,
    broadcast: Consumer,
    parameters: &Parameters,
) {
    let Some(namespace) = namespace_of(broadcast.path()) else { return };
    let (mut seen, mut waiting) = (u64::MAX, Waiting::new());
    let mut offered = BTreeSet::new();
    let mut serving = FuturesUnordered::new();
    loop {
        tokio::select! {
            revision = poll_fn(|cx| broadcast.poll_changed(seen, &mut waiting, cx)) => {
                seen = revision;
                if matches!(broadcast.liveness(), Liveness::Ended(_)) && serving.is_empty() {
                    return;
                }
                for name in broadcast.tracks() {
                    if offered.len() < OFFERED_TRACKS_MAX && offered.insert(name.clone()) {
                        let offer = offer(link, viewer, &namespace, &broadcast, name, parameters);
                        serving.push(offer);
                    }
                }
            }
            Some(()) = serving.next() => {}
        }
    }
}

/// Offers one track, and serves it if it is wanted.
async fn offer(
    link: &Arc<Link>,
    viewer: &Viewer,
    namespace: &Namespace,
    broadcast: &Consumer,
    name: TrackName,
    parameters: &Parameters,
) {
    let Some(track) = broadcast.get(&name) else { return };
    let bytes = bytes::Bytes::copy_from_slice(name.as_bytes());
    let Ok(full) = moqt::TrackName::new(namespace.clone(), bytes) else { return };
    let largest = track.largest().map(location);
    // draft-18 §10.19: FORWARD of the SUBSCRIBE_TRACKS is that of the subscriptions it makes.
    let forward = parameters.forward.unwrap_or(true);
    let mut said = Parameters { largest, forward: Some(forward), ..Parameters::default() };
    if link.version.fills() {
        // draft-21 §9.18.1: what the SUBSCRIBE_TRACKS says is what its subscriptions begin with.
        (said.filter, said.group_order) = (parameters.filter, parameters.group_order);
    }
    let properties = match parameters.include_properties {
        Some(false) => Properties::empty(),
        _ => Properties::from_checked(track.info().properties.clone()),
    };
    let begins = said.clone();
    let request = Request::Publish { track: full, parameters: said, properties };
    // Misuse: the peer has this track already, by a SUBSCRIBE of its own, which takes precedence.
    let Ok((id, mut told)) = link.request(request) else { return };
    let (update, updates) = mpsc::unbounded_channel();
    let accepted = loop {
        match told.recv().await {
            Some(Told::Event(Event::Answered {
                answer: Answer::Ok { parameters, .. }, ..
            })) => {
                break parameters;
            }
            // Refused, or over.
            Some(Told::Event(Event::Answered { .. } | Event::Cancelled { .. })) | None => {
                return link.disown(id);
            }
            Some(_) => {}
        }
    };
    // draft-21 §9.20: the OK of a PUBLISH says nothing of it.
    let accepted = if link.version.fills() { begins } else { accepted };
    let mut wishes = Wishes::new(&accepted, largest);
    wishes.forward = accepted.forward.unwrap_or(forward);
    let order = order_of(&accepted, &track);
    let serving = Serving {
        link: link.clone(),
        id,
        track,
        order,
        wishes,
        // Of which message its stream would bear the name is not said (draft-21 §3.4, §9.18.1).
        fill: None,
        updates,
        // draft-18 §10.2.2: the token is that of the SUBSCRIBE_TRACKS, which is looked at for all.
        viewer: None,
        counters: viewer.relay.counters.clone(),
    };
    let listen = async move {
        while let Some(told) = told.recv().await {
            match told {
                Told::Event(Event::Update { update: id, parameters, tokens, .. }) => {
                    let told = Update { id, parameters, tokens: secrets(&tokens) };
                    drop(update.send(Box::new(told)));
                }
                Told::Event(Event::Cancelled { .. }) => return,
                _ => {}
            }
        }
    };
    // The end of the listening is the end of the updates, and so of the serving.
    tokio::join!(serving.run(), async {
        listen.await;
    });
    link.disown(id);
}
