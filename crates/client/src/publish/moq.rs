//! Publishing over MoQ: the source goes on air here, in real time, and a server subscribes to it. A session that is
//! lost is made again; what went on air meanwhile is lost, but for the group that is under way.

use std::future::{Future, poll_fn};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use io_moq::client::{Client, Denial, Over, Trust as MoqTrust, place};
use moqt::Namespace;
use spine::Origin;
use tokio::sync::watch;

use super::air::OnAir;
use super::{Packaging, Progress, PublishError, Source};
use crate::address::MoqAddress;
use crate::leaving::{Leaving, Way};
use crate::limits::{LAST_MEDIA, RECONNECT_AFTER, RECONNECT_AFTER_MAX};
use crate::source::{Item, SourceError};
use crate::trust::Trust;

pub(super) async fn run(
    source: Source,
    address: MoqAddress,
    packaging: Packaging,
    trust: Trust,
    progress: &Progress,
    stop: impl Future<Output = ()>,
) -> Result<(), PublishError> {
    let mut stop = std::pin::pin!(stop);
    let namespace = address.namespace.clone().unwrap_or_else(Namespace::root);
    let mut air = OnAir::new(&namespace, packaging)?;
    let (end, ended) = watch::channel(false);
    let (began, begun) = watch::channel(false);
    let connected = Connected {
        way: Way::new(address.server, Instant::now()),
        namespace,
        trust: MoqTrust::Verified(trust.verifier()?),
        origin: air.origin(),
        progress,
        began,
        ended,
    };
    let mut session = std::pin::pin!(connected.run());
    let mut paced = Paced { source, head: Vec::new().into_iter(), held: None, start: None };
    paced.head = std::mem::take(&mut paced.source.head).into_iter();
    let done = loop {
        tokio::select! {
            over = &mut session => return over,
            over = poll_fn(|cx| air.poll(cx)) => over?,
            next = paced.next(begun.clone()) => match next {
                Ok(Some(item)) => {
                    let at_us = if let Item::Frame(frame) = &item { Some(frame.at_us) } else { None };
                    let bytes = air.take(item)?;
                    progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                    if let (Some(at_us), Some(start)) = (at_us, paced.start) {
                        progress.sent_frame(start, at_us);
                    }
                }
                Ok(None) => break Ok(()),
                // What was sent stays a broadcast that ended in good order.
                Err(error) => break Err(error.into()),
            },
            () = &mut stop => break Ok(()),
        }
    };
    if !*begun.borrow() {
        return done;
    }
    air.end();
    poll_fn(|cx| air.poll(cx)).await?;
    let _ = end.send(true);
    drop(air);
    // A server that does not fetch the end, or is away, is not waited for for ever.
    let over = tokio::time::timeout(LAST_MEDIA, session).await;
    done.and(over.unwrap_or(Ok(())))
}

/// A source in real time, from the moment when the server first agrees.
struct Paced {
    source: Source,
    head: std::vec::IntoIter<Item>,
    held: Option<Item>,
    start: Option<Instant>,
}

impl Paced {
    /// The next item when its time has come. Dropping the future loses nothing.
    async fn next(
        &mut self,
        mut begun: watch::Receiver<bool>,
    ) -> Result<Option<Item>, SourceError> {
        if self.start.is_none() {
            // An error is the end of the session, which is told elsewhere.
            if begun.wait_for(|begun| *begun).await.is_err() {
                std::future::pending::<()>().await;
            }
            self.start = Some(Instant::now());
        }
        if self.held.is_none() {
            self.held = match self.head.next() {
                Some(item) => Some(item),
                None => self.source.next().await?,
            };
        }
        if let (Some(Item::Frame(frame)), Some(start)) = (&self.held, self.start) {
            let due = start + Duration::from_micros(frame.at_us);
            tokio::time::sleep_until(due.into()).await;
        }
        Ok(self.held.take())
    }
}

/// A session, and the next one when it is lost.
struct Connected<'a> {
    way: Way,
    namespace: Namespace,
    trust: MoqTrust,
    origin: Origin,
    progress: &'a Progress,
    /// True from the first agreement on.
    began: watch::Sender<bool>,
    /// The broadcast is over: what is left is sent, and that is all.
    ended: watch::Receiver<bool>,
}

/// How a session came to its end.
enum Session {
    /// Everything was published and sent.
    Finished,
    /// The server sends us to this address (draft-18 §10.4); what it has subscribed to goes on for a while.
    Left(Box<Client>, String),
    /// Nothing was published: it is to be made elsewhere, after so long.
    Elsewhere(Duration),
}

impl Connected<'_> {
    async fn run(mut self) -> Result<(), PublishError> {
        let (mut failures, mut leaving) = (0, Leaving::default());
        // Where the first server sent us, before anything was on the air.
        let mut elsewhere: Option<String> = None;
        loop {
            let over = match self.session().await {
                Err(PublishError::Denied(denial)) if denial.redirect().is_some() => {
                    self.redirected(&denial).map(|(to, pause)| {
                        elsewhere = Some(to).filter(|_| !*self.began.borrow());
                        Session::Elsewhere(pause)
                    })
                }
                over => over,
            };
            let was_live = self.progress.live();
            self.progress.set_live(false);
            let pause = match over {
                Ok(Session::Finished) => {
                    // Who reads where we were gets the end as well.
                    leaving.over().await;
                    return Ok(());
                }
                Ok(Session::Left(client, uri)) => {
                    let mut ended = self.ended.clone();
                    // Readers go over by and by: until then it goes on in both places.
                    leaving.push(*client, async move {
                        let _ = ended.wait_for(|ended| *ended).await;
                    });
                    self.way.sent(&uri, Instant::now()).unwrap_or_else(|| {
                        // Servers that send it to each other: it waits until one of them keeps it.
                        self.way.go_home();
                        RECONNECT_AFTER_MAX
                    })
                }
                Ok(Session::Elsewhere(pause)) => pause,
                Err(error) => {
                    // It says itself where that is.
                    let strayed = matches!(error, PublishError::Elsewhere { .. });
                    let began = *self.began.borrow();
                    if !strayed && let Some(place) = elsewhere.take_if(|_| !began) {
                        return Err(PublishError::Elsewhere { place, problem: error.to_string() });
                    }
                    // Who is not known elsewhere, or does not find it, may still be known at home.
                    let fatal = match &error {
                        PublishError::Denied(denial) => {
                            denial.is_unauthorized() && self.way.is_home()
                        }
                        PublishError::Withdrawn => true,
                        PublishError::Elsewhere { .. } => elsewhere.is_some() && !began,
                        _ => false,
                    };
                    let begun = began || !self.way.is_home();
                    let ended = *self.ended.borrow();
                    if ended {
                        leaving.over().await;
                    }
                    if fatal || ended || !begun {
                        return Err(error);
                    }
                    self.way.go_home();
                    failures = if was_live { 1 } else { failures + 1 };
                    match strayed {
                        true => RECONNECT_AFTER_MAX,
                        false => (RECONNECT_AFTER * failures).min(RECONNECT_AFTER_MAX),
                    }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// The server wants it elsewhere (REDIRECT, draft-18 §10.6.1): where that is, and how long to
    /// wait before.
    fn redirected(&mut self, denial: &Denial) -> Result<(String, Duration), PublishError> {
        let Some(redirect) = denial.redirect() else {
            return Err(PublishError::Denied(denial.clone()));
        };
        let place = place(redirect);
        let other = !redirect.namespace.is_root() && redirect.namespace != self.namespace;
        let problem = "this can't be published there".to_owned();
        if other || self.way.at().redirected(&redirect.uri).is_none() {
            return Err(PublishError::Elsewhere { place, problem });
        }
        match self.way.redirected(&redirect.uri, Instant::now()) {
            Some(pause) => Ok((place, pause)),
            None => {
                let problem = "we were sent on too often".to_owned();
                Err(PublishError::Elsewhere { place, problem })
            }
        }
    }

    /// One session, to its end.
    async fn session(&mut self) -> Result<Session, PublishError> {
        let origin = self.origin.clone();
        let mut client = Client::connect(self.way.at(), self.trust.clone(), origin).await?;
        let handle = client.handle();
        let published = tokio::select! {
            published = handle.publish(&self.namespace) => Ok(published?),
            over = client.run() => Err(over),
        };
        let over = match published {
            Err(over) => Some(over),
            Ok(mut published) => {
                self.progress.set_live(true);
                self.began.send_replace(true);
                tokio::select! {
                    over = client.run() => Some(over),
                    () = published.withdrawn() => return Err(PublishError::Withdrawn),
                    _ = self.ended.wait_for(|ended| *ended) => None,
                }
            }
        };
        match over {
            Some(Over::GoAway { uri }) => Ok(Session::Left(Box::new(client), uri)),
            Some(Over::Ended(ended)) => {
                Err(PublishError::Lost(ended.reason.escape_debug().to_string()))
            }
            None => {
                client.finish().await;
                Ok(Session::Finished)
            }
        }
    }
}
