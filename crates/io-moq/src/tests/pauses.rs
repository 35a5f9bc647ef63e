//! A relayed track that nobody reads is not sent to us.

use std::time::Duration;

use moqt::properties::kind;
use moqt::session::{Command, Event};
use moqt::{Answer, Filter, Location, Parameters, Properties, Request, RequestId, Version};
use tokio::time::Instant;

use super::duties::{code, largest, text};
use super::live::ms;
use super::relay::{give, properties, room, send};
use super::rig::{Client, Rig, Subscribed, next_object, soon};
use super::written::{Relayed, all, ask, begin, tell, watched};
use crate::limits::{FORWARD_LINGER, RESUME_MAX};
use crate::link::Told;
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

/// The next update of FORWARD, to be answered.
async fn paused_or_not(publisher: &mut Client) -> RequestId {
    loop {
        if let Event::Update { id, parameters: Parameters { forward: Some(_), .. }, .. } =
            publisher.event().await
        {
            return id;
        }
    }
}

/// The next update that asks for a group, to be answered.
async fn new_group(publisher: &mut Client) -> (RequestId, u64) {
    loop {
        if let Event::Update { id, parameters: Parameters { new_group: Some(group), .. }, .. } =
            publisher.event().await
        {
            return (id, group);
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
        let (relayed, mut publisher) = Relayed::announced(version).await;
        let wanted = (next_object(), None);
        let (viewer, mut seen, upstream) = relayed.viewer(&mut publisher, wanted).await;
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
        let viewer = relayed.client().await;
        let from = Instant::now();
        let asked = ask(&viewer, next_object());
        assert!(soon("it to go on", told(&mut publisher, None)).await, "{version:?}");
        assert!(from.elapsed() < ms(200), "{:?}", from.elapsed());
        let mut seen = begin(&viewer, asked).await;
        send(&publisher, upstream, 1, 0, "again", true).await;
        assert_eq!(text(&seen.next().await), (1, 0, "again"), "{version:?}");
    }
}

/// A relayed track of one object, its publisher, what he was asked, and one who watches all of it.
async fn relayed() -> (Relayed, Client, RequestId, Client, Subscribed) {
    let (relayed, mut publisher) = Relayed::announced(Version::Draft18).await;
    let (viewer, seen, upstream) = relayed.viewer(&mut publisher, (all(), None)).await;
    send(&publisher, upstream, 0, 0, "old", true).await;
    (relayed, publisher, upstream, viewer, seen)
}

/// What came to be while nobody read is fetched for who wants it: a newer catalog, perhaps.
#[tokio::test(start_paused = true)]
async fn d05_d02_what_was_written_in_a_pause_is_fetched() {
    let (_relayed, mut publisher, _, viewer, mut seen) = relayed().await;
    assert_eq!(text(&seen.next().await), (0, 0, "old"));
    leave(&viewer, seen.id).await;
    assert!(!told(&mut publisher, None).await);
    let asked = ask(&viewer, all());
    assert!(told(&mut publisher, Some(Location::new(3, 0))).await);
    let mut seen = begin(&viewer, asked).await;
    let range = tell(&mut publisher, &[(3, 0, "new")]).await;
    assert_eq!((range.start, range.end), (Location::new(3, 0), Location::new(3, 0)));
    // It begins with what is the newest group there.
    assert_eq!(text(&seen.next().await), (3, 0, "new"));
}

/// Also of the group that was under way before: what had come of it then is not lost.
#[tokio::test(start_paused = true)]
async fn d05_d02_what_was_written_in_a_pause_goes_on_in_its_group() {
    let (_relayed, mut publisher, viewer, mut seen) = watched(Location::new(3, 0)).await;
    tell(&mut publisher, &[(3, 0, "all")]).await;
    assert_eq!(text(&seen.next().await), (3, 0, "all"));
    leave(&viewer, seen.id).await;
    assert!(!told(&mut publisher, None).await);
    let asked = ask(&viewer, all());
    assert!(told(&mut publisher, Some(Location::new(3, 1))).await);
    let mut seen = begin(&viewer, asked).await;
    tell(&mut publisher, &[(3, 0, "all"), (3, 1, "a change")]).await;
    assert_eq!(text(&seen.next().await), (3, 0, "all"));
    assert_eq!(text(&seen.next().await), (3, 1, "a change"));
}

/// What is live goes another way than the answer, and may be here before it.
#[tokio::test(start_paused = true)]
async fn d05_d02_what_was_written_in_a_pause_is_fetched_also_if_live_objects_overtake_the_answer() {
    let (_relayed, mut publisher, upstream, viewer, mut seen) = relayed().await;
    assert_eq!(text(&seen.next().await), (0, 0, "old"));
    leave(&viewer, seen.id).await;
    assert!(!told(&mut publisher, None).await);
    let asked = ask(&viewer, all());
    let id = paused_or_not(&mut publisher).await;
    send(&publisher, upstream, 3, 1, "live", false).await;
    tokio::time::sleep(ms(100)).await;
    let largest = Some(Location::new(3, 0));
    let (parameters, properties) =
        (Parameters { largest, ..Parameters::default() }, Properties::empty());
    publisher.command(Command::AnswerUpdate { id, answer: Answer::Ok { parameters, properties } });
    let mut seen = begin(&viewer, asked).await;
    let range = tell(&mut publisher, &[(3, 0, "written meanwhile")]).await;
    assert_eq!((range.start, range.end), (Location::new(3, 0), Location::new(3, 0)));
    let mut got = [seen.next().await, seen.next().await];
    got.sort_by_key(|object| object.id);
    assert_eq!(got.each_ref().map(text), [(3, 0, "written meanwhile"), (3, 1, "live")]);
}

/// Which group is the next one, its publisher knows.
#[tokio::test(start_paused = true)]
async fn d05_who_wants_the_next_group_of_a_paused_track_begins_with_its_first_object() {
    let (_relayed, mut publisher, upstream, viewer, seen) = relayed().await;
    leave(&viewer, seen.id).await;
    assert!(!told(&mut publisher, None).await);
    let next = Parameters { filter: Some(Filter::NextGroup), ..Parameters::default() };
    let asked = ask(&viewer, next);
    // It stands in the middle of another group by now.
    assert!(told(&mut publisher, Some(Location::new(3, 4))).await);
    let mut seen = begin(&viewer, asked).await;
    assert_eq!(largest(&seen.answer), Some(Location::new(3, 4)));
    send(&publisher, upstream, 3, 5, "in the middle", true).await;
    tokio::time::sleep(ms(100)).await;
    send(&publisher, upstream, 4, 0, "the next one", true).await;
    assert_eq!(text(&seen.next().await), (4, 0, "the next one"));
}

/// draft-21 §9.1.7: it may take no more updates before it has answered some.
#[tokio::test(start_paused = true)]
async fn d05_a_paused_track_goes_on_also_if_its_publisher_takes_one_update_at_a_time() {
    for version in [Version::Draft20, Version::Draft22] {
        let (relayed, mut publisher) = Relayed::by_one_who_takes_one_update(version).await;
        let wanted = (next_object(), None);
        let (viewer, seen, upstream) = relayed.viewer(&mut publisher, wanted).await;
        leave(&viewer, seen.id).await;
        let unanswered = paused_or_not(&mut publisher).await;
        // The next one comes before it is answered.
        let asked = ask(&viewer, next_object());
        tokio::time::sleep(ms(1_000)).await;
        assert_eq!(updates(&mut publisher), 0, "{version:?}");
        let from = Instant::now();
        publisher.command(Command::AnswerUpdate { id: unanswered, answer: Answer::ok() });
        assert!(soon("it to go on", told(&mut publisher, None)).await, "{version:?}");
        let mut seen = begin(&viewer, asked).await;
        assert!(from.elapsed() < ms(200), "{:?}", from.elapsed());
        send(&publisher, upstream, 1, 0, "again", true).await;
        assert_eq!(text(&seen.next().await), (1, 0, "again"), "{version:?}");
    }
}

/// What it was told before it was taken up is answered, too: its answers are in turn.
#[tokio::test(start_paused = true)]
async fn d05_a_track_that_was_offered_paused_goes_on_with_the_answer() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let publisher = rig.client_over_in(&network, Version::Draft21).await;
    let parameters = Parameters { forward: Some(false), ..Parameters::default() };
    let properties = Properties::empty();
    let request = Request::Publish { track: room(), parameters, properties };
    let (id, answer, mut news) = publisher.ask(request).await;
    assert_eq!(code(&answer), None);
    let mut told = async || loop {
        if let Some(Told::Event(Event::Update { parameters, .. })) = news.recv().await {
            publisher.command(Command::AnswerUpdate { id, answer: Answer::ok() });
            return parameters.forward;
        }
    };
    assert_eq!(soon("the first word", told()).await, Some(true));
    let viewer = rig.client_over_in(&network, Version::Draft21).await;
    let seen = begin(&viewer, ask(&viewer, next_object())).await;
    leave(&viewer, seen.id).await;
    assert_eq!(soon("the pause", told()).await, Some(false));
    let from = Instant::now();
    let asked = ask(&viewer, next_object());
    assert_eq!(soon("it to go on", told()).await, Some(true));
    begin(&viewer, asked).await;
    assert!(from.elapsed() < ms(200), "{:?}", from.elapsed());
}

/// Nor does a wish for a new group get lost so.
#[tokio::test(start_paused = true)]
async fn d17_a_new_group_is_asked_for_when_the_publisher_takes_updates_again() {
    let (relayed, mut publisher) = Relayed::by_one_who_takes_one_update(Version::Draft21).await;
    let viewer = relayed.client().await;
    let asked = ask(&viewer, next_object());
    let (upstream, _) = give(&mut publisher, properties(&[(kind::DYNAMIC_GROUPS, 1)])).await;
    let mut seen = begin(&viewer, asked).await;
    let wish = || Parameters { new_group: Some(0), ..Parameters::default() };
    viewer.command(Command::Update { id: seen.id, parameters: wish() });
    let (first, group) = new_group(&mut publisher).await;
    send(&publisher, upstream, group, 0, "the first", true).await;
    assert_eq!(text(&seen.next().await), (group, 0, "the first"));
    // It has not answered yet.
    viewer.command(Command::Update { id: seen.id, parameters: wish() });
    tokio::time::sleep(ms(100)).await;
    assert_eq!(updates(&mut publisher), 0);
    publisher.command(Command::AnswerUpdate { id: first, answer: Answer::ok() });
    let (_, next) = soon("the next wish", new_group(&mut publisher)).await;
    assert_eq!(next, group + 1);
}

/// Nobody waits for long for a publisher that does not answer.
#[tokio::test(start_paused = true)]
async fn d05_a_paused_publisher_that_says_nothing_is_not_waited_for() {
    let (_relayed, mut publisher, upstream, viewer, seen) = relayed().await;
    leave(&viewer, seen.id).await;
    assert!(!told(&mut publisher, None).await);
    let from = Instant::now();
    let asked = ask(&viewer, next_object());
    let _unanswered = paused_or_not(&mut publisher).await;
    let mut seen = begin(&viewer, asked).await;
    let waited = from.elapsed();
    assert!(waited >= RESUME_MAX && waited < RESUME_MAX + ms(200), "{waited:?}");
    send(&publisher, upstream, 1, 0, "it goes on", true).await;
    assert_eq!(text(&seen.next().await), (1, 0, "it goes on"));
}
