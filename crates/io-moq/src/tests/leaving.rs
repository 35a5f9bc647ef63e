//! GOAWAY: where peers are sent, who is waited for, and what asks again.

use std::sync::atomic::Ordering;

use moqt::session::{Command, Event};
use moqt::{DoneCode, Filter, Location, Properties, Request, ResetCode};
use spine::{Origin, TrackInfo};
use tokio::time::Instant;

use super::duties::{VIDEO, code, group, text};
use super::relay::{give, send};
use super::rig::{Client, Rig, namespace, next_object, soon, track, until};
use crate::client::Server;
use crate::limits::{DRAIN, DRAIN_HERE};
use crate::take::Taken;
use crate::transport::{Congestion, Network, Trust};

/// What a server that goes away says.
async fn goaway(client: &mut Client) -> (String, std::time::Duration) {
    loop {
        if let Event::GoAway { request: None, uri, timeout } = client.event().await {
            return (uri, timeout);
        }
    }
}

#[tokio::test]
async fn draft18_s10_4_d18_a_server_says_where_it_goes_on() {
    for (elsewhere, path, uri) in [
        (None, "/KEY", ""),
        (Some("two.example:4443"), "/KEY?jwt=a", "moqt://two.example:4443/KEY?jwt=a"),
        (Some("[::1]:1"), "/", "moqt://[::1]:1/"),
    ] {
        let rig = Rig::new();
        rig.elsewhere.set(elsewhere.map(str::to_owned));
        let mut client = rig.client(path).await;
        soon("the server to know us", client.publish_namespace(&["open"])).await;
        rig.stop();
        let (said, timeout) = goaway(&mut client).await;
        assert_eq!(said, uri);
        assert_eq!(timeout, if elsewhere.is_some() { DRAIN } else { DRAIN_HERE });
    }
    // A browser's address is of another kind.
    let rig = Rig::new();
    rig.elsewhere.set(Some("two.example:4443".to_owned()));
    let mut client = rig.web_client("/TOKEN").await;
    soon("the server to know us", client.publish_namespace(&["open"])).await;
    rig.stop();
    assert_eq!(goaway(&mut client).await.0, "https://two.example:4443/TOKEN");
}

#[test]
fn draft18_s10_4_the_uri_of_a_goaway_is_used() {
    let here = Server { host: "a".to_owned(), port: 1, path: "/KEY".to_owned(), draft: Some(18) };
    for (uri, host, port, path) in [
        ("", "a", 1, "/KEY"),
        ("moqt://b.example:4443/K?jwt=x", "b.example", 4443, "/K?jwt=x"),
        ("moqt://b.example", "b.example", 443, ""),
        ("moqt://[::1]:7/x", "::1", 7, "/x"),
        // No address of a server, or not of this transport: here.
        ("https://b.example:7/x", "a", 1, "/KEY"),
        ("http://b.example/", "a", 1, "/KEY"),
        ("moqt:///KEY", "a", 1, "/KEY"),
        ("b.example:4443", "a", 1, "/KEY"),
        ("\u{0}", "a", 1, "/KEY"),
    ] {
        let (host, path) = (host.to_owned(), path.to_owned());
        assert_eq!(here.moved(uri), Server { host, port, path, draft: Some(18) }, "{uri}");
    }
}

/// Who is still sent something is waited for, and who publishes it for as long; nobody else, and nobody for ever.
#[tokio::test(start_paused = true)]
async fn draft21_s6_6_1_d18_who_has_something_open_is_waited_for() {
    for (patient, leaves, expect) in [
        // The reader goes on elsewhere, and the publisher is not needed any more.
        (true, true, DRAIN_HERE),
        (true, false, DRAIN),
        (false, false, DRAIN_HERE),
    ] {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        if patient {
            rig.elsewhere.set(Some("two.example:4443".to_owned()));
        }
        let mut publisher = rig.client_over(&network, super::live::mile(10, 100_000)).await;
        let reader = rig.client_over(&network, super::live::mile(10, 100_000)).await;
        assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
        let name = || track(&["open", "room"], "chat");
        let request = Request::Subscribe { track: name(), parameters: next_object() };
        let (id, mut told) = reader.link.request(request).unwrap();
        let (upstream, _) = give(&mut publisher, Properties::empty()).await;
        let answer = super::rig::answered(&mut told).await;
        let mut seen = reader.follow(id, answer, told);
        send(&publisher, upstream, 0, 0, "before", true).await;
        assert_eq!(text(&seen.next().await), (0, 0, "before"));
        let asked = Instant::now();
        rig.stop();
        goaway(&mut publisher).await;
        if patient {
            // All of it goes on until then.
            send(&publisher, upstream, 1, 0, "after", true).await;
            assert_eq!(text(&seen.next().await), (1, 0, "after"));
        }
        if leaves {
            reader.command(Command::Cancel { id, code: ResetCode::Cancelled });
        }
        publisher.link.connection.closed().await;
        let took = asked.elapsed();
        let late = 4 * DRAIN_HERE;
        assert!(took >= expect && took < expect + late, "{patient} {leaves}: {took:?}");
    }
}

/// Who has gone elsewhere gives up what it had here, also where nothing comes any more, such as a catalog: else a server that stops
/// would wait for it.
#[tokio::test]
async fn d18_what_a_client_drops_is_not_subscribed_to_any_more() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    group(&video, 0, &["all that there ever is"]);
    let to = rig.endpoint.local_address().unwrap();
    let (host, port, path) = (to.ip().to_string(), to.port(), "/".to_owned());
    let server = Server { host, port, path, draft: None };
    let (trust, origin) = (Trust::Fingerprint(rig.hash), Origin::new(spine::Limits::default()));
    let mut client = crate::client::Client::connect(&server, trust, origin).await.unwrap();
    let handle = client.handle();
    let open = || rig.counters.subscriptions_open.load(Ordering::Relaxed);
    let work = async {
        let remote = handle.remote(namespace(&["default", "one"])).unwrap();
        let filter = Filter::From(Location::default());
        let subscribed = soon("a track", remote.subscribe("video", filter)).await.unwrap();
        until("a subscriber", || open() == 1).await;
        drop(subscribed);
        until("nobody", || open() == 0).await;
    };
    tokio::select! {
        over = client.run() => panic!("{over:?}"),
        () = work => {}
    }
}

/// A publisher that wants one request to be made again (draft-18 §10.4) is asked again, and nothing is lost.
#[tokio::test]
async fn draft18_s10_4_a_subscription_is_asked_for_again() {
    let rig = Rig::new();
    let mut publisher = rig.client("/").await;
    assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
    let viewer = rig.client("/").await;
    let request =
        Request::Subscribe { track: track(&["open", "room"], "chat"), parameters: next_object() };
    let (id, mut told) = viewer.link.request(request).unwrap();
    let (first, _) = give(&mut publisher, Properties::empty()).await;
    let answer = super::rig::answered(&mut told).await;
    let mut seen = viewer.follow(id, answer, told);
    send(&publisher, first, 0, 0, "before", true).await;
    assert_eq!(text(&seen.next().await), (0, 0, "before"));
    let (request, uri, timeout) = (Some(first), String::new(), std::time::Duration::ZERO);
    publisher.command(Command::GoAway { request, uri, timeout });
    let (again, _) = give(&mut publisher, Properties::empty()).await;
    assert_ne!(again, first);
    send(&publisher, again, 1, 0, "after", true).await;
    assert_eq!(text(&seen.next().await), (1, 0, "after"));
    let done = moqt::Done { code: DoneCode::TrackEnded, reason: String::new() };
    publisher.command(Command::Done { id: again, done });
    let taken = soon("the end of the track", seen.taken).await.unwrap();
    assert_eq!(taken, Taken::Done(DoneCode::TrackEnded));
}

#[tokio::test]
async fn d18_who_is_asked_to_leave_is_told_before_the_connection_closes() {
    let rig = Rig::new();
    let broadcast = rig.broadcast(&["default", "one"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let mut client = rig.client("/").await;
    let mut one = client.subscribe(track(&["default", "one"], "video"), next_object()).await;
    assert_eq!(code(&one.answer), None);
    rig.stop();
    assert_eq!(goaway(&mut client).await.0, "");
    // What is subscribed to goes on until then.
    group(&video, 0, &["the last words"]);
    assert_eq!(text(&one.next().await), (0, 0, "the last words"));
    client.command(Command::Cancel { id: one.id, code: ResetCode::Cancelled });
    let ended = soon("the connection to close", client.link.connection.closed()).await;
    assert_eq!(ended.code, Some(0));
}
