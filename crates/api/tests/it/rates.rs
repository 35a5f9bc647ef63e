//! Whoever asks too often waits.

use std::net::SocketAddr;

use access::limits::{API_ADDRESS, API_TOKEN, WRONG_TOKENS};
use access::permission::Resources;

use crate::desk::{Answer, Desk, ROOT, ask, ask_from, bearer};

const INPUTS: &str = "/client/v4/accounts/default/stream/live_inputs";

fn told_to_wait(answer: &Answer) {
    assert_eq!(answer.status, 429, "{}", answer.text);
    let seconds: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    // The SDKs obey up to a minute.
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert!(answer.text.contains("wait"), "{}", answer.text);
}

#[tokio::test]
async fn wrong_tokens_from_one_address_wait_after_some_and_good_ones_do_not() {
    let desk = Desk::new().await;
    let router = desk.router_of_a_moment();
    let (name, wrong) = bearer("aw_nonsense");
    for _ in 0..WRONG_TOKENS.burst as usize {
        assert_eq!(ask(&router, "GET", INPUTS, &[(name, &wrong)], "").await.status, 401);
    }
    told_to_wait(&ask(&router, "GET", INPUTS, &[(name, &wrong)], "").await);
    // To sign in is to try.
    let session = "/client/v4/session";
    told_to_wait(&ask(&router, "POST", session, &[], r#"{"token":"aw_nonsense"}"#).await);
    // Whoever has a good one may be many people's neighbour.
    let (name, right) = bearer(ROOT);
    let answer = ask(&router, "GET", INPUTS, &[(name, &right)], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = format!(r#"{{"token":"{ROOT}"}}"#);
    assert_eq!(ask(&router, "POST", session, &[], &body).await.status, 200);
    let (name, wrong) = bearer("aw_nonsense");
    told_to_wait(&ask(&router, "GET", INPUTS, &[(name, &wrong)], "").await);
    let elsewhere: SocketAddr = "[::1]:9".parse().unwrap();
    let answer = ask_from(elsewhere, &router, "GET", INPUTS, &[(name, &right)], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn an_address_waits_whatever_it_asks_for_and_another_does_not() {
    let desk = Desk::new().await;
    let router = desk.router_of_a_moment();
    let (name, root) = bearer(ROOT);
    let from = |text: &str| text.parse::<SocketAddr>().unwrap();
    let one = from("127.0.0.9:9");
    // To ask whether one is signed in needs nothing, and is counted as well.
    let session = "/client/v4/session";
    for _ in 0..API_ADDRESS.burst as usize {
        let answer = ask_from(one, &router, "GET", session, &[], "").await;
        assert_ne!(answer.status, 429, "{}", answer.text);
    }
    for (path, headers) in [(session, &[][..]), (INPUTS, &[(name, &*root)])] {
        told_to_wait(&ask_from(one, &router, "GET", path, headers, "").await);
    }
    let other = from("127.0.0.8:9");
    let answer = ask_from(other, &router, "GET", INPUTS, &[(name, &root)], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn one_token_waits_and_another_does_not() {
    let desk = Desk::new().await;
    let router = desk.router_of_a_moment();
    let (_, value) = desk.token(&["inputs:read"], Resources::All).await;
    let (name, mad) = bearer(&value);
    for _ in 0..API_TOKEN.burst as usize {
        assert_eq!(ask(&router, "GET", INPUTS, &[(name, &mad)], "").await.status, 200);
    }
    told_to_wait(&ask(&router, "GET", INPUTS, &[(name, &mad)], "").await);
    // To sign in with it is to ask.
    let session = "/client/v4/session";
    let sign_in = |token: &str| format!(r#"{{"token":"{token}"}}"#);
    told_to_wait(&ask(&router, "POST", session, &[], &sign_in(&value)).await);
    let (name, root) = bearer(ROOT);
    assert_eq!(ask(&router, "GET", INPUTS, &[(name, &root)], "").await.status, 200);
    assert_eq!(ask(&router, "POST", session, &[], &sign_in(ROOT)).await.status, 200);
}
