//! What clients meet at the edges: answers to requests that nobody meant, lists that are long, requests sent twice.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use access::permission::Resources;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::Request;
use control::{InputSettings, InputUid, KEY_RANDOM_BYTES};
use http_body::Frame;
use serde_json::{Value, json};
use tower_service::Service;

use crate::desk::{Answer, Desk, ROOT, ask, bearer, only, random};

const ACCOUNT: &str = "/client/v4/accounts/default";
const INPUTS: &str = "/client/v4/accounts/default/stream/live_inputs";

async fn asked(router: &Router, method: &str, path: &str, body: &str) -> Answer {
    let (name, root) = bearer(ROOT);
    ask(router, method, path, &[(name, &root)], body).await
}

/// Inputs named 1, 2, 3 …; `named` tells the names of a list.
async fn inputs(desk: &Desk, count: u32) {
    for n in 1..=count {
        let (mut uid, mut keys) = ([0; 15], [0; KEY_RANDOM_BYTES]);
        random(&mut uid);
        random(&mut keys);
        let mut settings = InputSettings::default();
        settings.meta.insert("name".to_owned(), format!("Hall {n}").into());
        let uid = InputUid::from_random(uid);
        desk.api.control.create_input(uid, settings, keys, u64::from(n)).await.unwrap();
    }
}

fn named(answer: &Answer) -> Vec<u32> {
    let rows = answer.result()["liveInputs"].clone();
    let number = |row: &Value| {
        let name = row["meta"]["name"].as_str().unwrap();
        name.strip_prefix("Hall ").unwrap().parse().unwrap()
    };
    rows.as_array().unwrap().iter().map(number).collect()
}

fn counts(answer: &Answer) -> (u64, u64) {
    let count = |name: &str| answer.result()[name].as_u64().unwrap();
    (count("range"), count("total"))
}

#[tokio::test]
async fn every_answer_that_is_no_success_is_an_envelope() {
    let desk = Desk::new().await;
    let router = desk.router();
    let owned = desk.owned().await;
    let one = format!("{INPUTS}/{}", owned.input);
    let huge = " ".repeat(70 << 10);
    for (method, path, body, status) in [
        ("GET", "/client/v4", "", 404),
        ("GET", "/client/v4/", "", 404),
        ("GET", "/client/v4/nonsense", "", 404),
        ("POST", "/client/v4/accounts/default/stream/live_inputs/", "{}", 404),
        ("GET", "/client/v4/accounts/%ff/stream/live_inputs", "", 400),
        ("GET", "/client/v4/accounts/default/stream/%ff", "", 400),
        ("GET", "/client/v4/accounts/default/stream/live_inputs/%C3%28", "", 400),
        ("GET", "/client/v4/%ff", "", 404),
        ("PATCH", INPUTS, "{}", 405),
        ("DELETE", INPUTS, "", 405),
        ("POST", &one, "{}", 405),
        ("OPTIONS", &one, "", 405),
        ("PROPFIND", &one, "", 405),
        ("PUT", "/client/v4/session", "{}", 405),
        ("POST", INPUTS, &huge, 413),
        ("PUT", &one, &huge, 413),
        ("POST", "/client/v4/session", &huge, 413),
        ("POST", INPUTS, "{", 400),
        ("POST", INPUTS, "\u{0}", 400),
        ("GET", &format!("{INPUTS}?limit=x"), "", 400),
        ("GET", &format!("{INPUTS}/%00"), "", 404),
    ] {
        let answer = asked(&router, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
        assert_eq!(answer.headers["content-type"], "application/json", "{method} {path}");
        let json = answer.json();
        assert_eq!((&json["success"], &json["result"]), (&json!(false), &Value::Null));
        let error = &json["errors"][0];
        assert!(error["code"].is_u64() && error["message"].as_str().unwrap().len() > 9, "{error}");
        if status == 405 {
            let allow = answer.headers["allow"].to_str().unwrap();
            assert!(allow.contains("GET"), "{method} {path}: {allow}");
        }
    }
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_not_waited_for() {
    let desk = Desk::new().await;
    let router = desk.router();
    let (name, root) = bearer(ROOT);
    for (path, length, status) in [
        (INPUTS, "99999999999", 413),
        (INPUTS, "65537", 413),
        ("/client/v4/session", "65537", 413),
        (INPUTS, "2", 200),
    ] {
        let headers = [(name, root.as_str()), ("content-length", length)];
        let answer = ask(&router, "POST", path, &headers, "{}").await;
        assert_eq!(answer.status, status, "{path} {length}: {}", answer.text);
    }
}

/// Who is cut off while he sends may never see the answer: RFC 9112 §9.6.
#[tokio::test]
async fn of_a_body_that_is_too_long_some_is_read_before_it_is_refused() {
    const PIECE: usize = 1 << 20;
    let desk = Desk::new().await;
    let mut router = desk.router();
    let root = bearer(ROOT);
    // So many pieces come; of those of one that never ends some are read.
    for (pieces, least, most) in [(0, 0, 0), (3, 3, 3), (usize::MAX, 16, 17)] {
        let read = Arc::new(AtomicUsize::new(0));
        let body = Pieces { left: pieces, read: read.clone() };
        let request = Request::builder().method("POST").uri(INPUTS).header("host", "here:8080");
        let request = request.header(root.0, &root.1).header("content-length", "99999999999");
        let mut request = request.body(Body::new(body)).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9))));
        let answer = router.call(request).await.unwrap();
        assert_eq!(answer.status(), 413, "{pieces}");
        let read = read.load(Ordering::Relaxed);
        assert!((least..=most).contains(&read), "{pieces}: {read}");
    }

    struct Pieces {
        left: usize,
        read: Arc<AtomicUsize>,
    }

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            self.read.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; PIECE])))))
        }
    }
}

#[tokio::test]
async fn a_long_list_is_read_to_its_end_by_cursor_and_by_page() {
    let desk = Desk::new().await;
    inputs(&desk, 25).await;
    let router = desk.router();
    let whole = asked(&router, "GET", INPUTS, "").await;
    assert_eq!((named(&whole).len(), counts(&whole)), (25, (25, 25)));
    assert_eq!(whole.json()["result_info"]["cursor"], Value::Null);
    for search in ["", "&search=hall"] {
        let (mut seen, mut cursor, mut left) = (Vec::new(), String::new(), 25);
        loop {
            let path = format!("{INPUTS}?limit=10{search}&cursor={cursor}");
            let page = asked(&router, "GET", &path, "").await;
            assert_eq!(counts(&page), (left, 25), "{path}");
            left = left.saturating_sub(10);
            seen.extend(named(&page));
            match page.json()["result_info"]["cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(seen, (1..=25).rev().collect::<Vec<_>>(), "{search}");
        let page = asked(&router, "GET", &format!("{INPUTS}?page=3&per_page=10{search}"), "").await;
        assert_eq!((named(&page), counts(&page)), (vec![5, 4, 3, 2, 1], (5, 25)));
        let info = &page.json()["result_info"];
        let number = |name: &str| info[name].as_u64().unwrap();
        assert_eq!((number("page"), number("count"), number("total_pages")), (3, 5, 3), "{info}");
        let oldest = asked(&router, "GET", &format!("{INPUTS}?asc=true&limit=2{search}"), "").await;
        assert_eq!(named(&oldest), [1, 2]);
        let cursor = oldest.json()["result_info"]["cursor"].as_str().unwrap().to_owned();
        let path = format!("{INPUTS}?asc=true&limit=2{search}&cursor={cursor}");
        assert_eq!(named(&asked(&router, "GET", &path, "").await), [3, 4]);
        let beyond = asked(&router, "GET", &format!("{INPUTS}?page=9{search}"), "").await;
        assert_eq!((named(&beyond), counts(&beyond)), (vec![], (0, 25)));
    }
    // What is made and deleted between two pages changes neither what comes next, nor that it comes.
    let first = asked(&router, "GET", &format!("{INPUTS}?limit=3"), "").await;
    let cursor = first.json()["result_info"]["cursor"].as_str().unwrap().to_owned();
    let last = first.result()["liveInputs"][2]["uid"].as_str().unwrap().to_owned();
    asked(&router, "POST", INPUTS, r#"{"meta":{"name":"Hall 99"}}"#).await.result();
    asked(&router, "DELETE", &format!("{INPUTS}/{last}"), "").await.result();
    let next = asked(&router, "GET", &format!("{INPUTS}?limit=3&cursor={cursor}"), "").await;
    assert_eq!((named(&first), named(&next)), (vec![25, 24, 23], vec![22, 21, 20]));
    let found = asked(&router, "GET", &format!("{INPUTS}?search=LL%202"), "").await;
    assert_eq!((named(&found), counts(&found)), (vec![25, 24, 22, 21, 20, 2], (6, 6)));
    let uid = whole.result()["liveInputs"][7]["uid"].as_str().unwrap()[..20].to_owned();
    let found = asked(&router, "GET", &format!("{INPUTS}?search={uid}"), "").await;
    assert_eq!(named(&found), [18]);
}

#[tokio::test]
async fn who_sees_some_inputs_pages_through_these_and_counts_these() {
    let desk = Desk::new().await;
    let mut mine = Vec::new();
    for n in 0..6 {
        let owned = desk.owned().await;
        if n % 2 == 0 {
            mine.push(owned);
        }
    }
    let uids: std::collections::BTreeSet<_> = mine.iter().map(|o| o.input.clone()).collect();
    let inputs = Resources::Only { inputs: uids.clone(), videos: [].into() };
    let (_, token) = desk.token(&["inputs:read", "videos:read"], inputs).await;
    let (name, token) = bearer(&token);
    let (mut seen, mut cursor) = (std::collections::BTreeSet::new(), String::new());
    for left in [3, 2, 1] {
        let path = format!("{INPUTS}?limit=1&cursor={cursor}");
        let page = ask(&desk.router(), "GET", &path, &[(name, &token)], "").await;
        assert_eq!(counts(&page), (left, 3));
        seen.insert(page.result()["liveInputs"][0]["uid"].as_str().unwrap().to_owned());
        let next = page.json()["result_info"]["cursor"].clone();
        assert_eq!(next.is_null(), left == 1, "{next}");
        next.as_str().unwrap_or_default().clone_into(&mut cursor);
    }
    assert_eq!(seen, uids);
    let path = format!("{ACCOUNT}/stream?include_counts=true");
    let page = ask(&desk.router(), "GET", &path, &[(name, &token)], "").await.json();
    assert_eq!((&page["range"], &page["total"]), (&json!(3), &json!(3)));
}

#[tokio::test]
async fn counts_of_videos_stand_beside_the_list() {
    let desk = Desk::new().await;
    let mut videos = Vec::new();
    for _ in 0..3 {
        videos.push(desk.owned().await);
    }
    let router = desk.router();
    let stream = format!("{ACCOUNT}/stream");
    let list =
        async |query: &str| asked(&router, "GET", &format!("{stream}?{query}"), "").await.json();
    let plain = list("").await;
    assert!(plain["result"].as_array().unwrap().len() == 3 && plain["total"].is_null(), "{plain}");
    for (query, rows, range, total) in [
        ("include_counts=true", 3, 3, 3),
        ("include_counts=true&limit=2", 2, 3, 3),
        ("include_counts=true&limit=2.0&creator=nobody", 0, 0, 0),
        ("include_counts=true&limit=1&status=ready&asc=true", 1, 3, 3),
        ("include_counts=true&status=live-inprogress", 0, 0, 0),
        ("include_counts=true&start=2999-01-01T00:00:00Z", 0, 0, 3),
        ("include_counts=true&end=2999-01-01T00:00:00Z&limit=1", 1, 3, 3),
        ("include_counts=true&search=nothing", 0, 0, 0),
        ("include_counts=true&status=queued", 0, 0, 0),
        (&format!("include_counts=true&id={}", videos[1].video), 1, 1, 1),
    ] {
        let page = list(query).await;
        let found = page["result"].as_array().unwrap_or_else(|| panic!("{query}: {page}")).len();
        assert_eq!(
            (found, &page["range"], &page["total"]),
            (rows, &json!(range), &json!(total)),
            "{query}"
        );
    }
    let of_one = format!("{INPUTS}/{}/videos?include_counts=true", videos[0].input);
    let page = asked(&router, "GET", &of_one, "").await.json();
    assert_eq!((&page["result"][0]["uid"], &page["total"]), (&json!(videos[0].video), &json!(1)));
}

#[tokio::test]
async fn the_same_request_sent_again_makes_nothing_new() {
    let desk = Desk::new().await;
    let router = desk.router();
    let (name, root) = bearer(ROOT);
    let create = async |who: &str, key: &str, body: &str| {
        let headers = [(name, who), ("idempotency-key", key)];
        ask(&router, "POST", INPUTS, &headers, body).await
    };
    let body = r#"{"meta":{"name":"Hall 1"}}"#;
    let (one, two, three) = tokio::join!(
        create(&root, "stainless-node-retry-1", body),
        create(&root, "stainless-node-retry-1", body),
        create(&root, "stainless-node-retry-1", body),
    );
    let made = one.result();
    assert_eq!((&made["uid"], &made["uid"]), (&two.result()["uid"], &three.result()["uid"]));
    assert_eq!(made["rtmp"]["streamKey"], two.result()["rtmp"]["streamKey"]);
    let total = async || counts(&asked(&router, "GET", INPUTS, "").await).1;
    assert_eq!(total().await, 1);
    // One of them made it, and the log says so.
    let log = format!("{ACCOUNT}/audit_logs");
    let log = asked(&router, "GET", &log, "").await.result();
    let mut actions: Vec<_> =
        log.as_array().unwrap().iter().map(|e| e["action"]["type"].as_str().unwrap()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["create", "repeat", "repeat"]);
    // Another key is another request; the same one of somebody else is not, because inputs are the account's.
    create(&root, "stainless-node-retry-2", body).await.result();
    let (_, other) = desk.token(&["all"], Resources::All).await;
    let (_, other) = bearer(&other);
    let same = create(&other, "stainless-node-retry-1", body).await.result();
    assert_eq!((total().await, &same["uid"]), (2, &made["uid"]));
    // What can't be meant is said, and is not worth trying again.
    let changed = create(&root, "stainless-node-retry-1", "{}").await;
    assert_eq!(changed.status, 422, "{}", changed.text);
    let uid = made["uid"].as_str().unwrap();
    asked(&router, "DELETE", &format!("{INPUTS}/{uid}"), "").await.result();
    let deleted = create(&root, "stainless-node-retry-1", body).await;
    assert_eq!(
        (deleted.status.as_u16(), &deleted.headers["x-should-retry"]),
        (409, &"false".parse().unwrap())
    );
    for wrong in ["", " ", "\u{e4}", &"x".repeat(256)] {
        assert_eq!(create(&root, wrong, body).await.status, 400, "{wrong}");
    }
    assert_eq!(total().await, 1);
    // What was refused may be tried again with the same key.
    let refused = create(&root, "third", r#"{"enabled":1}"#).await;
    assert_eq!(refused.status, 400);
    create(&root, "third", body).await.result();
}

/// Keys take up a bounded room: the oldest are forgotten.
#[tokio::test]
async fn as_many_keys_as_are_remembered_are_remembered() {
    let desk = Desk::new().await;
    let (name, root) = bearer(ROOT);
    let create = async |key: u32| {
        let key = format!("key-{key}");
        let headers = [(name, &*root), ("idempotency-key", &*key)];
        ask(&desk.router(), "POST", INPUTS, &headers, "{}").await.result()["uid"].clone()
    };
    let first = create(0).await;
    assert_eq!(create(0).await, first);
    let remembered = async || desk.api.control.documents("once", "").await.unwrap().len();
    // Those of others, newer and too old.
    let mut puts = tokio::task::JoinSet::new();
    for n in 0..600_u64 {
        let control = desk.api.control.clone();
        let at_ms = if n < 500 { u64::MAX } else { 1 };
        let content = json!({ "input": "", "body": "", "at_ms": at_ms }).to_string();
        let key = control::DocumentKey::new("once", &n.to_string()).unwrap();
        puts.spawn(async move {
            control.put_document(key, content.into(), control::Expect::Absent).await.unwrap()
        });
    }
    puts.join_all().await;
    assert_eq!(remembered().await, 601);
    create(1).await;
    assert_eq!(remembered().await, 500);
    assert_ne!(create(0).await, first, "the oldest was forgotten");
}

#[tokio::test]
async fn changes_of_one_document_at_the_same_time_all_come_through() {
    let desk = Desk::new().await;
    let router = desk.router();
    let owned = desk.owned().await;
    let one = format!("{INPUTS}/{}", owned.input);
    let video = format!("{ACCOUNT}/stream/{}", owned.video);
    let changes = [
        ("PUT", &one, r#"{"meta":{"name":"Hall 1"}}"#),
        ("PUT", &one, r#"{"preferLowLatency":false}"#),
        ("PUT", &one, r#"{"defaultCreator":"me"}"#),
        ("PUT", &one, r#"{"recording":{"timeoutSeconds":7}}"#),
        ("PUT", &one, r#"{"recording":{"hideLiveViewerCount":true}}"#),
        ("POST", &video, r#"{"creator":"me"}"#),
        ("POST", &video, r#"{"meta":{"name":"x"}}"#),
        ("POST", &video, r#"{"requireSignedURLs":true}"#),
    ];
    let mut all = tokio::task::JoinSet::new();
    for (method, path, body) in changes {
        let (router, path) = (router.clone(), path.clone());
        all.spawn(async move { asked(&router, method, &path, body).await });
    }
    for answer in all.join_all().await {
        answer.result();
    }
    let input = asked(&router, "GET", &one, "").await.result();
    assert_eq!(
        (&input["meta"]["name"], &input["defaultCreator"]),
        (&json!("Hall 1"), &json!("me"))
    );
    assert_eq!(input["preferLowLatency"], false);
    let recording = &input["recording"];
    assert_eq!(
        (&recording["timeoutSeconds"], &recording["hideLiveViewerCount"]),
        (&json!(7), &json!(true))
    );
    let video = asked(&router, "GET", &video, "").await.result();
    assert_eq!(
        (&video["creator"], &video["meta"]["name"], &video["requireSignedURLs"]),
        (&json!("me"), &json!("x"), &json!(true))
    );
}

/// The SDKs try again by themselves what is answered with 409, unless they are told not to.
#[tokio::test]
async fn a_conflict_that_stays_says_so() {
    let desk = Desk::new().await;
    let owned = desk.owned().await;
    let claim =
        control::conformance::claim(7, control::ClaimMode::IfFree, control::conformance::NOW);
    let input = InputUid::parse(&owned.input).unwrap();
    let live = desk.api.control.claim(control::Claim { input, ..claim }).await.unwrap().owned.video;
    let path = format!("{ACCOUNT}/stream/{live}");
    let refused = asked(&desk.router(), "DELETE", &path, "").await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert_eq!(refused.headers["x-should-retry"], "false");
    let (_, token) = desk.token(&["stream:read"], only(&owned)).await;
    let (name, token) = bearer(&token);
    let forbidden = ask(&desk.router(), "DELETE", &path, &[(name, &token)], "").await;
    assert!(!forbidden.headers.contains_key("x-should-retry"), "{}", forbidden.text);
}
