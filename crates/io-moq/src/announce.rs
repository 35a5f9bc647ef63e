//! What is here, told to who asks for it: SUBSCRIBE_NAMESPACE, and SUBSCRIBE_TRACKS.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{pending, poll_fn};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use moqt::session::{Command, Event};
use moqt::{
    Answer, Done, DoneCode, Namespace, Parameters, Properties, Request, RequestCode, RequestId,
    ResetCode, Selection,
};
use spine::broadcast::{Consumer, Liveness};
use spine::{Announce, Origin, Path, TrackName, Waiting};
use tokio::sync::{SemaphorePermit, mpsc, watch};

use crate::clock;
use crate::limits::{
    ANNOUNCED_MAX, GATE_AGAIN, GATE_NAMES, GATE_NAMES_OPEN, OFFER_ANSWER_MAX, OFFERED_TRACKS_MAX,
};
use crate::link::{Link, Told};
use crate::names::{namespace_of, path_of};
use crate::play::{Serving, Wishes, ask_for_group, location, order_of};
use crate::updates::{Update, Updates};
use crate::uplink::route_on;
use crate::viewer::{Viewer, secrets};

/// To who asks for a prefix of too many namespaces.
const TOO_LARGE: &str = "more is below this prefix than is told: ask for a longer one";

/// A request for what is below a prefix.
pub(crate) struct Announcing {
    pub(crate) link: Arc<Link>,
    pub(crate) id: RequestId,
    pub(crate) viewer: Viewer,
    pub(crate) prefix: Path,
    pub(crate) parameters: Parameters,
    /// REQUEST_UPDATEs; closed when the request is over.
    pub(crate) updates: mpsc::UnboundedReceiver<Box<Update>>,
}

/// What a request asks for, after its updates.
#[derive(Clone)]
struct Terms {
    prefix: Path,
    parameters: Arc<Parameters>,
    /// How often other tokens were shown.
    shown: u64,
}

impl Announcing {
    /// Answers, and tells namespaces, offers tracks, or both (draft-16 §9.25), until the request is over.
    pub(crate) async fn run(self, of_namespaces: bool, of_tracks: bool) {
        let Self { link, id, viewer, prefix, parameters, mut updates } = self;
        let refusal = too_large(&viewer, &prefix).await;
        let refused = refusal.is_some();
        link.command(Command::Answer { id, answer: refusal.unwrap_or_else(Answer::ok) });
        if refused {
            return;
        }
        let terms = Terms { prefix, parameters: Arc::new(parameters), shown: 0 };
        let (tell, terms) = watch::channel(terms);
        let told = async {
            match of_namespaces {
                true => namespaces(&link, id, &viewer, terms.clone()).await,
                false => pending().await,
            }
        };
        let offered = async {
            match of_tracks {
                true => tracks(&link, id, &viewer, terms.clone()).await,
                false => pending().await,
            }
        };
        let updated = async {
            while let Some(update) = updates.recv().await {
                if !apply(&link, id, &viewer, *update, &tell).await {
                    return;
                }
            }
        };
        tokio::select! {
            () = updated => {}
            () = told => {}
            () = offered => {}
        }
    }
}

/// The refusal of a prefix below which there is more that he may watch than is told (NAMESPACE_TOO_LARGE: draft-18 §10.6,
/// draft-21 §9.4).
pub(crate) async fn too_large(viewer: &Viewer, prefix: &Path) -> Option<Answer> {
    let here = here(&viewer.relay.origin, prefix);
    let mut left = here.len();
    let mut allowed = 0;
    for path in here {
        // Nobody is looked up for what can't be too many.
        if allowed + left <= ANNOUNCED_MAX {
            return None;
        }
        left -= 1;
        allowed += usize::from(viewer.may_watch(&path).await.is_ok());
    }
    let refusal = || Answer::error(RequestCode::NamespaceTooLarge, TOO_LARGE);
    (allowed > ANNOUNCED_MAX).then(refusal)
}

/// What is below a prefix now.
fn here(origin: &Origin, prefix: &Path) -> Vec<Path> {
    let mut announcements = origin.announcements(prefix.clone());
    let cx = Context::from_waker(Waker::noop());
    let mut here = Vec::new();
    while let Poll::Ready(news) = announcements.poll(&cx) {
        if let Announce::Live(broadcast) = news {
            here.push(broadcast.path().clone());
        }
    }
    here
}

/// Takes an update (draft-18 §10.9.2), and answers it before anything is said by it. Whether the request goes on: one that is
/// refused takes it along (draft-18 §10.9.1).
async fn apply(
    link: &Link,
    id: RequestId,
    viewer: &Viewer,
    update: Update,
    tell: &watch::Sender<Terms>,
) -> bool {
    let Update { parameters, tokens, .. } = update;
    let answer = |answer| link.command(Command::AnswerUpdate { id, answer });
    if let Some(refusal) = filters_stay(&parameters) {
        answer(refusal);
        return false;
    }
    let fresh = !tokens.is_empty();
    let prefix = parameters.namespace_prefix.as_ref().map(path_of);
    let below = match &prefix {
        Some(Some(prefix)) => prefix.clone(),
        _ => tell.borrow().prefix.clone(),
    };
    let mut refusal = None;
    let _look = fresh.then(|| viewer.look());
    if fresh {
        let below = here(&viewer.relay.origin, &below);
        refusal = viewer.refusal_of_all(&below, &tokens).await;
    }
    if refusal.is_none() {
        viewer.renew(tokens);
        refusal = match &prefix {
            Some(None) => Some(Answer::error(RequestCode::DoesNotExist, "nothing is there")),
            Some(Some(prefix)) => too_large(viewer, prefix).await,
            None => None,
        };
    }
    let refused = refusal.is_some();
    answer(refusal.unwrap_or_else(Answer::ok));
    if refused {
        return false;
    }
    tell.send_modify(|terms| {
        if let Some(Some(prefix)) = prefix {
            terms.prefix = prefix;
        }
        // draft-21 §9.20.19: of the subscriptions that it makes from now on.
        if let Some(forward) = parameters.forward {
            Arc::make_mut(&mut terms.parameters).forward = Some(forward);
        }
        terms.shown += u64::from(fresh);
    });
    true
}

/// The answer to an update with range filters, but of subscriptions: what is sent by them is decided when a request comes, and
/// another choice is another request.
pub(crate) fn filters_stay(parameters: &Parameters) -> Option<Answer> {
    let words = "filters stay as they are";
    let refused = || Answer::error(RequestCode::NotSupported, words);
    (!parameters.range_filters.is_empty()).then(refused)
}

/// Tells the namespaces below the prefix as they come and go.
async fn namespaces(
    link: &Link,
    id: RequestId,
    viewer: &Viewer,
    mut terms: watch::Receiver<Terms>,
) {
    let mut told = BTreeSet::new();
    // Of these nobody could say whether he may watch them.
    let mut unsure = BTreeSet::new();
    // Of those that were told, what he may watch by a token, which may end; and up to which of them it was looked whether he still may.
    let (mut held, mut looked) = (BTreeSet::new(), None::<Path>);
    // The same of all of them: what everybody may watch may be locked.
    let mut looked_at_all = None::<Path>;
    // What he may not watch: it may be opened.
    let (mut shut, mut looked_at_shut) = (BTreeSet::new(), None::<Path>);
    loop {
        let prefix = terms.borrow_and_update().prefix.clone();
        let gone = |path: &Path| {
            if let Some(namespace) = namespace_of(path) {
                link.command(Command::NamespaceDone { id, namespace });
            }
        };
        // What is not below a prefix that moved is not listed any more, which the peer knows.
        told.retain(|path: &Path| {
            let stays = path.starts_with(&prefix);
            if !stays {
                gone(path);
            }
            stays
        });
        unsure.retain(|path: &Path| path.starts_with(&prefix));
        held.retain(|path: &Path| path.starts_with(&prefix));
        shut.retain(|path: &Path| path.starts_with(&prefix));
        let mut announcements = viewer.relay.origin.announcements(prefix);
        let mut look = clock::now() + GATE_AGAIN;
        loop {
            let any = !told.is_empty() || !unsure.is_empty() || !shut.is_empty();
            let (mut path, mut again) = (None, false);
            tokio::select! {
                news = poll_fn(|cx| announcements.poll(cx)) => match news {
                    Announce::Live(broadcast) => path = Some(broadcast.path().clone()),
                    Announce::Gone(path) => {
                        unsure.remove(&path);
                        held.remove(&path);
                        shut.remove(&path);
                        if told.remove(&path) {
                            gone(&path);
                        }
                    }
                },
                changed = terms.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(look.into()), if any => again = true,
            }
            let mut paths: Vec<Path> = path.into_iter().collect();
            if again {
                look = clock::now() + GATE_AGAIN;
                let next = |of: &BTreeSet<Path>, looked: &mut Option<Path>, many: usize| {
                    let behind = looked.take().map_or(Bound::Unbounded, Bound::Excluded);
                    let turn = of.range((behind, Bound::Unbounded)).take(many).cloned();
                    let turn: Vec<Path> = turn.collect();
                    *looked = turn.last().filter(|_| turn.len() == many).cloned();
                    turn
                };
                paths.extend(next(&held, &mut looked, GATE_NAMES));
                let of_all = next(&told, &mut looked_at_all, GATE_NAMES_OPEN);
                paths.extend(of_all.into_iter().filter(|path| !held.contains(path)));
                paths.extend(unsure.iter().take(GATE_NAMES).cloned());
                paths.extend(next(&shut, &mut looked_at_shut, GATE_NAMES_OPEN));
            }
            for path in paths {
                let Some(namespace) = namespace_of(&path) else { continue };
                // What somebody may not watch is not there for him.
                match viewer.may_watch(&path).await {
                    Err(barred) if barred.may_pass_later() => {
                        if !told.contains(&path) && unsure.len() < ANNOUNCED_MAX {
                            unsure.insert(path);
                        }
                    }
                    // What is shown instead decides.
                    Err(_) if told.contains(&path) && viewer.is_looked_at() => {}
                    Err(_) => {
                        unsure.remove(&path);
                        held.remove(&path);
                        if told.remove(&path) {
                            gone(&path);
                        }
                        if shut.len() < ANNOUNCED_MAX {
                            shut.insert(path);
                        }
                    }
                    Ok(()) => {
                        unsure.remove(&path);
                        shut.remove(&path);
                        let Some(route) = route_to(link, viewer, &path) else {
                            if told.remove(&path) {
                                gone(&path);
                            }
                            continue;
                        };
                        // The same again: its publisher changed, which a reader does not see.
                        if told.insert(path.clone()) {
                            link.command(Command::Namespace { id, namespace, route });
                            if viewer.watches_by_token(&path).await {
                                held.insert(path);
                            }
                        }
                    }
                }
            }
            // It has grown: no code of streams is about that alone.
            if told.len() > ANNOUNCED_MAX {
                let code = ResetCode::ExcessiveLoad;
                return link.command(Command::Cancel { id, code });
            }
        }
    }
}

/// How a namespace came here, for who is to be told of it. None: it is not to be told, as it came from there, or over so many nodes
/// that it goes no further.
fn route_to(link: &Link, viewer: &Viewer, path: &Path) -> Option<moqt::Route> {
    let peer = link.with(|session| session.peer_node());
    if peer.is_none() {
        return Some(moqt::Route::default());
    }
    let relay = &viewer.relay;
    route_on(&relay.origin.get(path)?.route(), relay.node, peer)
}

/// Offers all tracks below the prefix with PUBLISH, those that are here and those that come.
async fn tracks(
    link: &Arc<Link>,
    id: RequestId,
    viewer: &Viewer,
    mut terms: watch::Receiver<Terms>,
) {
    let mut broadcasts = FuturesUnordered::new();
    // Of one path there may be another one before what was offered of the last is over.
    let mut here: BTreeMap<Path, Vec<Consumer>> = BTreeMap::new();
    loop {
        // Of another prefix, or for who may watch more by now.
        let prefix = terms.borrow_and_update().prefix.clone();
        let mut announcements = viewer.relay.origin.announcements(prefix);
        loop {
            tokio::select! {
                news = poll_fn(|cx| announcements.poll(cx)) => {
                    if let Announce::Live(broadcast) = news {
                        let known = here.entry(broadcast.path().clone()).or_default();
                        if known.contains(&broadcast) {
                            continue;
                        }
                        known.push(broadcast.clone());
                        let terms = terms.clone();
                        let (viewer, open) = (viewer.apart(), Mutex::default());
                        let lost = watch::channel(None).0;
                        let offers = Offers { link, id, viewer, broadcast, terms, open, lost };
                        broadcasts.push(offers.run());
                    }
                }
                Some(over) = broadcasts.next() => {
                    if let Some(known) = here.get_mut(over.path()) {
                        known.retain(|broadcast| *broadcast != over);
                    }
                    here.retain(|path, known| path != over.path() || !known.is_empty());
                }
                changed = terms.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
        }
    }
}

/// The tracks of one broadcast, as far as they are asked for.
struct Offers<'a> {
    link: &'a Arc<Link>,
    /// The SUBSCRIBE_TRACKS.
    id: RequestId,
    /// With tokens of its own, which an update of one of its subscriptions may renew.
    viewer: Viewer,
    broadcast: Consumer,
    terms: watch::Receiver<Terms>,
    /// What is offered, and whether the peer has accepted it.
    open: Mutex<BTreeMap<RequestId, bool>>,
    /// It may not be watched any more, for this reason. That is not looked at while nothing of it
    /// is open, but before something is offered.
    lost: watch::Sender<Option<Done>>,
}

impl Drop for Offers<'_> {
    /// The request is over: who makes it again is offered all of it again.
    fn drop(&mut self) {
        let reason = "its SUBSCRIBE_TRACKS is over".to_owned();
        self.end_all(&Done { code: DoneCode::SubscriptionEnded, reason });
    }
}

impl Offers<'_> {
    /// Until it is over, or may not be watched.
    async fn run(self) -> Consumer {
        let broadcast = self.broadcast.clone();
        let path = broadcast.path();
        if self.may_watch().await {
            let _seat = self.viewer.seat(path);
            let mut lost = self.lost.subscribe();
            let done = tokio::select! {
                () = self.offer_all() => None,
                barred = self.viewer.shut_out_of(path.clone(), || !self.open().is_empty()) => {
                    Some(barred.done())
                }
                // The sender is here.
                Ok(lost) = lost.wait_for(Option::is_some) => lost.clone(),
                () = self.renewed() => None,
            };
            if let Some(done) = done {
                self.end_all(&done);
            }
        }
        broadcast
    }

    /// Whether it may be watched; waits for as long as nobody can say, and it is there.
    async fn may_watch(&self) -> bool {
        loop {
            match self.viewer.may_watch(self.broadcast.path()).await {
                Ok(()) => return true,
                Err(barred) if !barred.may_pass_later() => return false,
                Err(_) if matches!(self.broadcast.liveness(), Liveness::Ended(_)) => return false,
                Err(_) => tokio::time::sleep(GATE_AGAIN).await,
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<RequestId, bool>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what was offered that it is over, and why.
    fn end_all(&self, done: &Done) {
        for (id, accepted) in std::mem::take(&mut *self.open()) {
            self.link.disown(id);
            self.link.command(match accepted {
                true => Command::Done { id, done: done.clone() },
                false => Command::Cancel { id, code: ResetCode::Cancelled },
            });
        }
    }

    /// Tokens that the request shows are shown for each of its subscriptions. Never ends.
    async fn renewed(&self) {
        let mut terms = self.terms.clone();
        let mut shown = terms.borrow_and_update().shown;
        while terms.changed().await.is_ok() {
            let now = terms.borrow_and_update().shown;
            if now != shown {
                self.viewer.rejoin();
                shown = now;
            }
        }
        pending::<()>().await;
    }

    async fn offer_all(&self) {
        let Some(namespace) = namespace_of(self.broadcast.path()) else { return };
        let (mut seen, mut waiting) = (u64::MAX, Waiting::new());
        let (mut own, mut terms) = (self.viewer.own_tracks.changes(), self.terms.clone());
        let mut known = BTreeSet::new();
        let mut serving = FuturesUnordered::new();
        // Their turn has not come: all that is there may be more than is offered at once.
        let mut waiting_offers: VecDeque<TrackName> = VecDeque::new();
        // Those of a broadcast that was here before have not ended yet.
        let mut draining = FuturesUnordered::new();
        loop {
            let mut turn = None;
            tokio::select! {
                revision = poll_fn(|cx| self.broadcast.poll_changed(seen, &mut waiting, cx)) => {
                    seen = revision;
                }
                Ok(()) = own.changed() => {}
                Ok(()) = terms.changed() => {}
                Some(()) = serving.next() => {}
                Some(name) = draining.next() => waiting_offers.push_back(name),
                Ok(place) = self.link.offers.acquire(), if !waiting_offers.is_empty() => {
                    turn = Some(place);
                }
            }
            let over = matches!(self.broadcast.liveness(), Liveness::Ended(_));
            if over {
                waiting_offers.clear();
                if serving.is_empty() {
                    return;
                }
            }
            let (wanted, path) = (terms.borrow_and_update().clone(), self.broadcast.path());
            if !path.starts_with(&wanted.prefix) {
                // They are offered if it comes back, as are those that drain.
                for name in waiting_offers.drain(..) {
                    known.remove(&name);
                }
                continue;
            }
            if let Some(place) = turn {
                // draft-21 §9.20.19: as the request is now.
                if let Some(name) = waiting_offers.pop_front() {
                    if self.viewer.own_tracks.has(path, &name) {
                        known.remove(&name);
                    } else if let Some(over) = self.over(&namespace, &name) {
                        drop(place);
                        draining.push(over.map(|()| name));
                    } else {
                        serving.push(self.offer(&namespace, name, wanted.parameters, place));
                    }
                }
                continue;
            }
            if over {
                continue;
            }
            let tracks: BTreeSet<_> = self.broadcast.tracks().into_iter().collect();
            // What is gone is offered anew when it comes again.
            known.retain(|name| tracks.contains(name));
            for name in tracks {
                // draft-18 §6.1: not what the peer brings itself.
                if self.viewer.own_tracks.has(path, &name) || !known.insert(name.clone()) {
                    continue;
                }
                let offered = serving.len() + waiting_offers.len() + draining.len();
                if known.len() > OFFERED_TRACKS_MAX || offered >= OFFERED_TRACKS_MAX {
                    self.skip(&namespace, &name);
                } else {
                    waiting_offers.push_back(name);
                }
            }
        }
    }

    /// The end of the offer of a track of this name, if there is one.
    fn over(
        &self,
        namespace: &Namespace,
        name: &TrackName,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        let full = full(namespace, name)?;
        let mut offered = self.link.offered.subscribe();
        let is_offered = offered.borrow_and_update().contains(&full);
        is_offered.then_some(async move {
            // The sender is the link's.
            let _ = offered.wait_for(|offered| !offered.contains(&full)).await;
        })
    }

    /// A track that will not be offered (draft-18 §10.20, draft-21 §9.19): who wants it may subscribe.
    fn skip(&self, namespace: &Namespace, name: &TrackName) {
        if let Some(track) = full(namespace, name) {
            self.link.command(Command::PublishBlocked { id: self.id, track });
        }
    }

    /// Offers one track, and serves it if it is wanted. `place`: until it has its answer.
    async fn offer(
        &self,
        namespace: &Namespace,
        name: TrackName,
        parameters: Arc<Parameters>,
        place: SemaphorePermit<'_>,
    ) {
        let link = self.link;
        let may = self.viewer.may_watch(self.broadcast.path()).await;
        if let Some(barred) = may.err().filter(|barred| !barred.may_pass_later()) {
            self.lost.send_replace(Some(barred.done()));
            return;
        }
        let Some(track) = self.broadcast.get(&name) else { return };
        let Some(full) = full(namespace, &name) else { return };
        let largest = track.largest().map(location);
        // draft-18 §10.19: FORWARD of the SUBSCRIBE_TRACKS is that of the subscriptions it makes.
        let forward = parameters.forward.unwrap_or(true);
        let mut said = Parameters { largest, forward: Some(forward), ..Parameters::default() };
        if link.version.fills() {
            // draft-21 §9.18.1: what the SUBSCRIBE_TRACKS says is what its subscriptions begin with.
            said = Parameters {
                filter: parameters.filter,
                group_order: parameters.group_order,
                subscriber_priority: parameters.subscriber_priority,
                object_delivery_timeout_ms: parameters.object_delivery_timeout_ms,
                subgroup_delivery_timeout_ms: parameters.subgroup_delivery_timeout_ms,
                ..said
            };
        }
        let properties = match parameters.include_properties {
            Some(false) => Properties::empty(),
            _ => Properties::from_checked(track.info().properties.clone()),
        };
        // draft-21 §3.3.2: which tracks are offered, and what of their objects.
        let selection = Selection::new(&parameters.range_filters);
        let Some(selection) =
            selection.of_track(&Properties::from_checked(track.info().properties.clone()))
        else {
            return;
        };
        let begins = said.clone();
        let request = Request::Publish { track: full.clone(), parameters: said, properties };
        let Ok((id, mut told)) = link.request(request) else {
            // The peer has this track already, by a SUBSCRIBE of its own, which takes precedence; or it can't be asked.
            if !link.with(|session| session.publishes(&full)) {
                self.skip(namespace, &name);
            }
            return;
        };
        let _offered = Offered::new(link, full);
        self.open().insert(id, false);
        let (update, updates) = mpsc::unbounded_channel();
        let answered = tokio::time::timeout(OFFER_ANSWER_MAX, async {
            loop {
                match told.recv().await {
                    Some(Told::Event(Event::Answered {
                        answer: Answer::Ok { parameters, .. },
                        ..
                    })) => return Some(parameters),
                    // Refused, or over.
                    Some(Told::Event(Event::Answered { .. } | Event::Cancelled { .. })) | None => {
                        return None;
                    }
                    Some(_) => {}
                }
            }
        });
        let answered = answered.await;
        let Ok(Some(accepted)) = answered else {
            self.open().remove(&id);
            link.disown(id);
            if answered.is_err() {
                link.command(Command::Cancel { id, code: ResetCode::Cancelled });
                self.skip(namespace, &name);
            }
            return;
        };
        drop(place);
        self.open().insert(id, true);
        // draft-21 §9.20: the OK of a PUBLISH says nothing of it.
        let accepted = if link.version.fills() { begins } else { accepted };
        // draft-18 §10.2.12: FORWARD that it does not say is 1, whatever PUBLISH said.
        let mut wishes = Wishes::new(&accepted, largest);
        if accepted.filter.is_none() || parameters.fill.is_some() {
            // draft-21 §9.8: the PUBLISH has told what is there. Who wants that asks for it.
            wishes.only_new(largest);
        }
        wishes.selection = Arc::new(selection);
        let order = order_of(&accepted, &track);
        // PUBLISH can't say it; the OK of one could, up to draft 18.
        ask_for_group(&track, if link.version.fills() { &parameters } else { &accepted });
        // draft-21 §6.4.2.1: its stream bears the name of the PUBLISH.
        let fill = parameters.fill.clone().filter(|_| link.version.fills()).zip(largest);
        let serving = Serving {
            link: link.clone(),
            id,
            track,
            order,
            wishes,
            reads: None,
            fill,
            updates: Updates::new(updates, self.viewer.clone(), self.broadcast.path().clone()),
            counters: self.viewer.relay.counters.clone(),
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
        tokio::select! {
            () = serving.run() => {}
            () = listen => {}
        }
        self.open().remove(&id);
        link.disown(id);
    }
}

/// A track that is offered, until this is dropped.
struct Offered<'a> {
    link: &'a Link,
    track: moqt::TrackName,
}

impl<'a> Offered<'a> {
    fn new(link: &'a Link, track: moqt::TrackName) -> Self {
        link.offered.send_modify(|offered| {
            offered.insert(track.clone());
        });
        Self { link, track }
    }
}

impl Drop for Offered<'_> {
    fn drop(&mut self) {
        self.link.offered.send_modify(|offered| {
            offered.remove(&self.track);
        });
    }
}

fn full(namespace: &Namespace, name: &TrackName) -> Option<moqt::TrackName> {
    let name = bytes::Bytes::copy_from_slice(name.as_bytes());
    moqt::TrackName::new(namespace.clone(), name).ok()
}
