//! A relayed track that nobody reads is not sent to us.

use std::time::Duration;

use moqt::session::{Command, Event};
use moqt::{Answer, Filter, Location, Parameters, Properties, Request, RequestId, Version};
use tokio::time::Instant;

use super::duties::{code, text};
use super::live::ms;
use super::relay::{room, send};
use super::rig::{Client, Rig, Subscribed, next_object, soon};
use super::written::{give, tell};
use crate::limits::FORWARD_LINGER;
use crate::transport::{Congestion, Network};

/// The next update of FORWARD, answered: this is the largest object.
async fn told(publisher: &mut Client, largest: Option<Location>) -> bool {
    loop {
        if let Event::Update { id, parameters, .. } = publisher.event().await {
            let said = Parameters { largest, ..Parameters::default() };
            let answer = Answer::Ok { parameters: said, properties: Properties::empty() };
            publisher.command(Command::AnswerUpdate { id, answer });
            if let Some(forward) = parameters.forward {
                return forward;
            }
        }
    }
}

/// Updates that came and were not looked at.
fn updates(publisher: &mut Client) -> usize {
    let events = std::iter::from_fn(|| publisher.events.try_recv().ok());
    events.filter(|event| matches!(event, Event::Update { .. })).count()
}

async fn leave(viewer: &Client, id: RequestId) {
    viewer.command(Command::Cancel { id, code: moqt::ResetCode::Cancelled });
    tokio::time::sleep(ms(100)).await;
}

#[tokio::test(start_paused = true)]
async fn d05_a_track_that_nobody_reads_is_paused_upstream_until_somebody_does() {
    for version in Version::ALL.iter().copied() {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let mut publisher = rig.client_over_in(&network, version).await;
        assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
        let viewer = rig.client_over_in(&network, version).await;
        let request = Request::Subscribe { track: room(), parameters: next_object() };
        let asked = viewer.link.request(request).unwrap();
        let upstream = give(&mut publisher, None).await;
        let mut seen = super::written::begin(&viewer, asked).await;
        // As long as somebody reads, however little comes, nothing is said.
        tokio::time::sleep(FORWARD_LINGER * 4).await;
        send(&publisher, upstream, 0, 0, "first", true).await;
        assert_eq!(text(&seen.next().await), (0, 0, "first"), "{version:?}");
        // Nor if he is back soon.
        for _ in 0..3 {
            leave(&viewer, seen.id).await;
            tokio::time::sleep(FORWARD_LINGER - Duration::from_secs(1)).await;
            seen = viewer.subscribe(room(), next_object()).await;
            assert_eq!(code(&seen.answer), None);
        }
        assert_eq!(updates(&mut publisher), 0, "{version:?}");
        let from = Instant::now();
        leave(&viewer, seen.id).await;
        assert!(!soon("the pause", told(&mut publisher, None)).await, "{version:?}");
        let waited = from.elapsed();
        assert!(waited >= FORWARD_LINGER && waited < FORWARD_LINGER + ms(500), "{waited:?}");
        // It stays so.
        tokio::time::sleep(FORWARD_LINGER * 10).await;
        assert_eq!(updates(&mut publisher), 0, "{version:?}");
        // The next one is enough, and gets what comes.
        let viewer = rig.client_over_in(&network, version).await;
        let from = Instant::now();
        let mut seen = viewer.subscribe(room(), next_object()).await;
        assert_eq!(code(&seen.answer), None);
        assert!(soon("it to go on", told(&mut publisher, None)).await, "{version:?}");
        assert!(from.elapsed() < ms(200), "{:?}", from.elapsed());
        send(&publisher, upstream, 1, 0, "again", true).await;
        assert_eq!(text(&seen.next().await), (1, 0, "again"), "{version:?}");
    }
}

fn all() -> Parameters {
    let filter = Some(Filter::From(Location::default()));
    Parameters { filter, ..Parameters::default() }
}

/// A relayed track of one object, its publisher, what he was asked, and one who watches all of it.
async fn relayed() -> (Rig, Client, RequestId, Client, Subscribed) {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let mut publisher = rig.client_over_in(&network, Version::Draft18).await;
    assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
    let viewer = rig.client_over_in(&network, Version::Draft18).await;
    let asked = viewer.link.request(Request::Subscribe { track: room(), parameters: all() });
    let upstream = give(&mut publisher, None).await;
    let seen = super::written::begin(&viewer, asked.unwrap()).await;
    send(&publisher, upstream, 0, 0, "old", true).await;
    (rig, publisher, upstream, viewer, seen)
}

/// What came to be while nobody read is fetched for who wants it: a newer catalog, perhaps.
#[tokio::test(start_paused = true)]
async fn d05_d02_what_was_written_in_a_pause_is_fetched() {
    let (_rig, mut publisher, _, viewer, mut seen) = relayed().await;
    assert_eq!(text(&seen.next().await), (0, 0, "old"));
    leave(&viewer, seen.id).await;
    assert!(!told(&mut publisher, None).await);
    let mut seen = viewer.subscribe(room(), all()).await;
    assert!(told(&mut publisher, Some(Location::new(3, 0))).await);
    let range = tell(&mut publisher, &[(3, 0, "new")]).await;
    assert_eq!((range.start, range.end), (Location::new(3, 0), Location::new(3, 0)));
    // What was here comes first; what is new, behind it.
    assert_eq!(text(&seen.next().await), (0, 0, "old"));
    assert_eq!(text(&seen.next().await), (3, 0, "new"));
}
