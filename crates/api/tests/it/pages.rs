//! Signing in to the pages and out.

use access::limits::SESSION_AGE;
use access::permission::Resources;
use axum::Router;
use serde_json::{Value, json};

use crate::desk::{Desk, ROOT, ask, bearer};

const SESSION: &str = "/client/v4/session";
const INPUTS: &str = "/client/v4/accounts/default/stream/live_inputs";

/// The cookie and the token against forged requests.
async fn sign_in(router: &Router, token: &str) -> (String, String) {
    let body = json!({ "token": token }).to_string();
    let headers = [("origin", "http://here:8080"), ("sec-fetch-site", "same-origin")];
    let answer = ask(router, "POST", SESSION, &headers, &body).await;
    let csrf = answer.result()["csrfToken"].as_str().unwrap().to_owned();
    let cookie = answer.headers["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/client/v4"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(cookie.contains(&format!("Max-Age={}", SESSION_AGE.as_secs())), "{cookie}");
    assert!(!cookie.contains(token), "{cookie}");
    assert!(!answer.text.contains(cookie.split(['=', ';']).nth(1).unwrap()), "no script sees it");
    (cookie.split(';').next().unwrap().to_owned(), csrf)
}

#[tokio::test]
async fn a_page_signs_in_works_and_signs_out() {
    let desk = Desk::new().await;
    let router = desk.router();
    let none = ask(&router, "GET", SESSION, &[], "").await.result();
    assert_eq!(none, json!({ "signedIn": false }));
    let (cookie, csrf) = sign_in(&router, ROOT).await;
    let cookie = ("cookie", &*cookie);
    let about = ask(&router, "GET", SESSION, &[cookie], "").await.result();
    assert_eq!((&about["signedIn"], &about["csrfToken"]), (&json!(true), &json!(csrf)));
    assert_eq!(about["token"]["id"], "root");
    ask(&router, "GET", INPUTS, &[cookie], "").await.result();
    let csrf = ("x-csrf-token", &*csrf);
    ask(&router, "POST", INPUTS, &[cookie, csrf], "{}").await.result();
    let out = ask(&router, "DELETE", SESSION, &[cookie, csrf], "").await;
    assert!(out.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"), "{out:?}");
    assert_eq!(ask(&router, "GET", INPUTS, &[cookie], "").await.status, 401);
    let none = ask(&router, "GET", SESSION, &[cookie], "").await.result();
    assert_eq!(none, json!({ "signedIn": false }));
    let (name, root) = bearer(ROOT);
    let log = "/client/v4/accounts/default/audit_logs";
    let log = ask(&router, "GET", log, &[(name, &root)], "").await.result();
    let line = |e: &Value| (e["action"]["type"].clone(), e["interface"].clone());
    let lines: Vec<_> = log.as_array().unwrap().iter().map(line).collect();
    assert_eq!(lines, ["sign_out", "create", "sign_in"].map(|a| (json!(a), json!("page"))));
}

#[tokio::test]
async fn pages_of_others_can_do_nothing_with_the_cookie() {
    let desk = Desk::new().await;
    let router = desk.router();
    let (cookie, csrf) = sign_in(&router, ROOT).await;
    let (_, other) = sign_in(&router, ROOT).await;
    let cookie = ("cookie", &*cookie);
    let token = ("x-csrf-token", &*csrf);
    for (headers, status) in [
        (&[cookie, token][..], 200),
        (&[cookie, token, ("origin", "http://here:8080")], 200),
        (&[cookie], 403),
        (&[cookie, ("x-csrf-token", "")], 403),
        (&[cookie, ("x-csrf-token", &*other)], 403),
        (&[cookie, token, ("origin", "http://evil.org")], 403),
        (&[cookie, token, ("origin", "null")], 403),
        (&[cookie, token, ("sec-fetch-site", "cross-site")], 403),
        (&[cookie, token, ("sec-fetch-site", "same-site")], 403),
        (&[token], 401),
    ] {
        for (method, path) in [("POST", INPUTS), ("PUT", &format!("{INPUTS}/{}", "0".repeat(32)))] {
            let answer = ask(&router, method, path, headers, "{}").await;
            // Whoever passes finds that there is no such input.
            let expect = if (method, status) == ("PUT", 200) { 404 } else { status };
            assert_eq!(answer.status, expect, "{method} {headers:?}: {}", answer.text);
            // Whoever has the word reads what else is wrong.
            let elsewhere = headers.contains(&token) && answer.status == 403;
            assert_eq!(
                answer.text.contains("public_url"),
                elsewhere,
                "{headers:?}: {}",
                answer.text
            );
        }
    }
    // Nor can they sign a visitor in as somebody else.
    let body = json!({ "token": ROOT }).to_string();
    for headers in [[("origin", "http://evil.org")], [("sec-fetch-site", "cross-site")]] {
        let answer = ask(&router, "POST", SESSION, &headers, &body).await;
        assert_eq!(answer.status, 403, "{headers:?}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_session_may_do_what_its_token_may_and_ends_with_it() {
    let desk = Desk::new().await;
    let router = desk.router();
    let (id, token) = desk.token(&["inputs:read"], Resources::All).await;
    let (cookie, csrf) = sign_in(&router, &token).await;
    let headers = [("cookie", &*cookie), ("x-csrf-token", &*csrf)];
    ask(&router, "GET", INPUTS, &headers, "").await.result();
    assert_eq!(ask(&router, "POST", INPUTS, &headers, "{}").await.status, 403);
    desk.api.tokens.delete(&id).await.unwrap();
    assert_eq!(ask(&router, "GET", INPUTS, &headers, "").await.status, 401);
    let none = ask(&router, "GET", SESSION, &headers, "").await.result();
    assert_eq!(none, json!({ "signedIn": false }));
    // A cookie is no token.
    let (name, value) = bearer(cookie.split('=').nth(1).unwrap());
    assert_eq!(ask(&router, "GET", INPUTS, &[(name, &value)], "").await.status, 401);
}

#[tokio::test]
async fn wrong_tokens_do_not_sign_in() {
    let desk = Desk::new().await;
    for (body, status) in [
        ("{}", 400),
        (r#"{"token":""}"#, 400),
        (r#"{"token":7}"#, 400),
        (r#"{"token":"aw_nonsense"}"#, 401),
        ("nonsense", 400),
    ] {
        let answer = ask(&desk.router(), "POST", SESSION, &[], body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(!answer.headers.contains_key("set-cookie"), "{body}");
    }
}

#[tokio::test]
async fn lists_of_moq_have_pages_and_leave_out_what_is_of_others() {
    let desk = Desk::new().await;
    let (name, root) = bearer(ROOT);
    for (query, of_sessions, of_tracks) in [
        ("", vec![json!(2), json!(1)], 2),
        ("?uid=a", vec![json!(1)], 1),
        ("?uid=nobody", vec![], 0),
        ("?per_page=1&page=2", vec![json!(1)], 1),
    ] {
        let path = |what: &str| format!("/client/v4/accounts/default/moq/{what}{query}");
        let list = async |what: &str| {
            let answer = ask(&desk.router(), "GET", &path(what), &[(name, &root)], "").await;
            answer.result().as_array().unwrap().clone()
        };
        let ids: Vec<_> = list("sessions").await.iter().map(|row| row["id"].clone()).collect();
        assert_eq!(ids, of_sessions, "{query}");
        assert_eq!(list("tracks").await.len(), of_tracks, "{query}");
    }
}
