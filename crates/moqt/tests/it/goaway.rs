//! GOAWAY: of sessions and of requests.

use std::time::Duration;

use moqt::session::{Command, Event};
use moqt::{Answer, RequestCode, ResetCode, SessionCode, SessionError};

use crate::support::*;

fn go_away(request: Option<moqt::RequestId>, uri: &str, millis: u64) -> Command {
    Command::GoAway { request, uri: uri.to_owned(), timeout: Duration::from_millis(millis) }
}

/// Duty D18, as far as it is of the session.
#[test]
fn draft18_s10_4_d18_a_server_drains() {
    for seed in 0..50 {
        let mut pair = Pair::new(seed);
        let id = pair.establish(Client, subscribe("video"));
        pair.command(Server, go_away(None, "moqt://b.example/", 5_000));
        // A request that crosses it is refused.
        let crossing = pair.ask(Client, subscribe("audio"));
        pair.settle();
        let events = pair.take(Client);
        let told = Event::GoAway {
            request: None,
            uri: "moqt://b.example/".to_owned(),
            timeout: Duration::from_secs(5),
        };
        assert!(events.contains(&told), "{events:?}");
        // Unless it came first.
        let asked = pair.take(Server);
        if asked.is_empty() {
            assert_eq!(refusals(&events), [(crossing, RequestCode::GoingAway)]);
        } else {
            pair.answer(Server, crossing, Answer::error(RequestCode::GoingAway, "going"));
            pair.settle();
        }
        // No new ones (draft-18 §10.4), the old one goes on.
        let now = pair.now;
        let refused = pair.client.session.request(now, subscribe("other"));
        assert!(matches!(refused, Err(SessionError::Misuse(_))));
        pair.send_group(Server, id, 1, &["a"]).unwrap();
        pair.settle();
        assert_eq!(pair.client.received.len(), 1);
        // Said once.
        assert!(matches!(
            pair.try_command(Server, go_away(None, "", 1)),
            Err(SessionError::Misuse(_))
        ));
        pair.advance(Duration::from_secs(6));
        let code = V.session_code(SessionCode::GoawayTimeout);
        assert_eq!(pair.server.closed.as_ref().map(|closed| closed.0), Some(code), "seed {seed}");
    }
}

#[test]
fn draft18_s3_6_nothing_is_open_after_goaway() {
    let mut pair = Pair::new(1);
    let id = pair.establish(Client, subscribe("video"));
    pair.command(Server, go_away(None, "", 5_000));
    pair.settle();
    pair.command(Client, Command::Cancel { id, code: ResetCode::GoingAway });
    pair.advance(Duration::from_secs(6));
    assert_eq!(pair.server.closed, Some((0, String::new())));
    // Without a time nothing happens by force.
    let mut pair = Pair::new(1);
    pair.establish(Client, subscribe("video"));
    pair.command(Server, go_away(None, "", 0));
    pair.advance(Duration::from_secs(3_600));
    assert!(pair.server.closed.is_none());
}

#[test]
fn draft18_s10_4_clients_say_no_uri() {
    let mut pair = Pair::new(1);
    for command in [go_away(None, "moqt://x/", 0), go_away(None, &"x".repeat(8_193), 0)] {
        assert!(matches!(pair.try_command(Client, command), Err(SessionError::Misuse(_))));
    }
    pair.command(Client, go_away(None, "", 0));
    pair.settle();
    let told = Event::GoAway { request: None, uri: String::new(), timeout: Duration::ZERO };
    assert_eq!(pair.take(Server), [told]);
}

#[test]
fn draft18_s10_4_one_request_moves() {
    let mut pair = Pair::new(1);
    let id = pair.establish(Client, subscribe("video"));
    let other = pair.establish(Client, subscribe("audio"));
    pair.command(Server, go_away(Some(id), "moqt://b.example/", 2_000));
    pair.settle();
    let told = Event::GoAway {
        request: Some(id),
        uri: "moqt://b.example/".to_owned(),
        timeout: Duration::from_secs(2),
    };
    assert_eq!(pair.take(Client), [told]);
    // The session goes on.
    let third = pair.establish(Client, subscribe("third"));
    pair.advance(Duration::from_secs(3));
    let ended = Event::Cancelled { id, code: ResetCode::GoingAway };
    for side in [Server, Client] {
        assert_eq!(pair.take(side), std::slice::from_ref(&ended));
    }
    for id in [other, third] {
        assert!(pair.send_group(Server, id, 1, &["a"]).is_some());
    }
}
