//! Every row of the authorisation table, tried by who has nothing, by who has each scope, and by two owners.

use access::api_token::Wanted;
use access::keys::{Algorithm, generate};
use access::link::Link;
use access::permission::{Resources, SCOPES};
use access::table::Row;
use bytes::Bytes;
use control::conformance::NOW;
use control::{ChatChange, ChatMessage, DocumentError, Video, VideoChange, VideoUid};
use serde_json::{Value, json};

use crate::desk::{Answer, Desk, Owned, ROOT, ask, ask_from, bearer, only, random};

/// What is asked of it: nothing, or nothing that can be done.
fn body(row: &Row, owned: &Owned) -> String {
    match row.of {
        "the video that it names" => {
            json!({ "clippedFromVideoUID": owned.video, "startTimeSeconds": 9, "endTimeSeconds": 1 })
        }
        _ => json!({}),
    }
    .to_string()
}

/// A path of this row, about something that is there.
async fn path(desk: &Desk, row: &Row, owned: &Owned) -> String {
    let uid = if row.path.contains("live_inputs") { &owned.input } else { &owned.video };
    let mut path = row.path.replace("{account}", "default").replace("{uid}", uid);
    if path.contains("{language}") || path.contains("{kind}") {
        add_files(desk, uid).await;
        path = path.replace("{language}", "en").replace("{kind}", "audio");
    }
    if path.contains("{message}") {
        path = path.replace("{message}", &say_something(desk, uid).await.to_string());
    }
    if path.contains("/links/{id}") {
        let link = Link {
            name: String::new(),
            id: String::new(),
            created_ms: NOW,
            expires_ms: u64::MAX,
            downloadable: false,
        };
        let mut bytes = [0; 16];
        random(&mut bytes);
        let link = desk.api.access.create_link(uid, link, bytes).await.unwrap();
        path = path.replace("{id}", &link.id);
    } else if path.contains("/keys/{id}") {
        let (id, _) = desk.token(&["inputs:read"], Resources::All).await;
        let key = generate(Algorithm::EdDsa, id.clone(), NOW).unwrap();
        assert!(desk.api.access.add_key(&key).await.unwrap());
        path = path.replace("{id}", &id);
    } else if path.contains("{id}") {
        let mut bytes = [0; 40];
        random(&mut bytes);
        // It may do nothing, so whoever may touch tokens may touch it.
        let wanted = Wanted { name: "nothing".to_owned(), ..Wanted::default() };
        let (token, _) = desk.api.tokens.create(wanted, bytes, NOW).await.unwrap();
        path = path.replace("{id}", &token.id);
    }
    path
}

/// Captions and downloads of a video, if it is there.
async fn add_files(desk: &Desk, uid: &str) {
    let (control, history) = (&desk.api.control, &desk.api.history);
    let uid = VideoUid::parse(uid).unwrap();
    let Some(video) = control.video(&uid).await.unwrap() else { return };
    let offered = |_: &Video, change: &mut VideoChange| {
        change.settings.downloads.audio = true;
        Ok::<_, DocumentError>(())
    };
    control.change_video(&uid, offered, NOW).await.unwrap();
    let text = Bytes::from_static(b"WEBVTT\n\n00:01.000 --> 00:02.000\nx\n");
    let mut bytes = [0; 8];
    random(&mut bytes);
    let object = u64::from_be_bytes(bytes);
    let put = history.put_captions(&video, "en", "English".into(), text, object, NOW);
    put.await.unwrap();
}

/// A message in the chat of a video, if it is there.
async fn say_something(desk: &Desk, uid: &str) -> u64 {
    let uid = VideoUid::parse(uid).unwrap();
    let id = desk.api.control.chat_end(&uid).await.unwrap().0 + 1;
    let said = ChatMessage { id, at_ms: NOW, name: "Ann".into(), text: "hello".into() };
    desk.api.control.change_chat(&uid, vec![ChatChange::Said(said)]).await.unwrap();
    id
}

pub(crate) async fn tried(desk: &Desk, row: &Row, token: &str, owned: &Owned) -> Answer {
    let path = path(desk, row, owned).await;
    let (name, value) = bearer(token);
    ask(&desk.router(), row.method, &path, &[(name, &value)], &body(row, owned)).await
}

/// It got past the guard, and found what it is about.
fn passed(answer: &Answer) -> bool {
    !matches!(answer.status.as_u16(), 401 | 403 | 404 | 405 | 429 | 500..)
}

pub(crate) fn guarded() -> Vec<Row> {
    let rows: Vec<Row> = api::table().into_iter().filter(|row| row.who != "everybody").collect();
    assert!(rows.len() > 20, "the table is there");
    rows
}

#[tokio::test]
async fn nobody_passes_without_a_token() {
    let desk = Desk::new().await;
    let owned = desk.owned().await;
    for row in guarded() {
        let path = path(&desk, &row, &owned).await;
        let headers: [&[(&str, &str)]; 4] = [
            &[],
            &[("authorization", "Bearer aw_nonsense")],
            &[("cookie", "airwave-session=nonsense")],
            &[("authorization", "Basic aw_root"), ("cookie", "airwave-session=aw_root")],
        ];
        for headers in headers {
            let answer = ask(&desk.router(), row.method, &path, headers, &body(&row, &owned)).await;
            assert_eq!(answer.status, 401, "{row:?} {headers:?}: {}", answer.text);
            let told = answer.headers["www-authenticate"].to_str().unwrap();
            // RFC 6750 §3.1: whoever sent none is told of no error of it.
            let sent = headers.first().is_some_and(|(name, _)| *name == "authorization");
            assert_eq!(told.contains("invalid_token"), sent, "{headers:?}: {told}");
            assert!(told.starts_with("Bearer realm="), "{told}");
        }
    }
}

#[tokio::test]
async fn each_scope_opens_what_the_table_says_and_nothing_else() {
    let desk = Desk::new().await;
    for scope in SCOPES {
        let (_, token) = desk.token(&[scope.name], Resources::All).await;
        for row in guarded() {
            let answer = tried(&desk, &row, &token, &desk.owned().await).await;
            let opens = row.who.starts_with("any")
                || scope.permissions.iter().any(|permission| permission.name() == row.who);
            let told = format!("{} on {row:?}: {} {}", scope.name, answer.status, answer.text);
            assert_eq!(passed(&answer), opens, "{told}");
            if !opens {
                assert_eq!(answer.status, 403, "{told}");
                assert!(answer.text.contains(row.who), "it says what is missing: {told}");
            }
        }
    }
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_not_there() {
    let desk = Desk::new().await;
    for row in guarded() {
        let (mine, theirs) = (desk.owned().await, desk.owned().await);
        let (_, me) = desk.token(&["all"], only(&mine)).await;
        let nothing = Owned { input: "0".repeat(32), video: "f".repeat(32) };
        let foreign = tried(&desk, &row, &me, &theirs).await;
        match row.of {
            "itself" => assert!(passed(&foreign), "{row:?}: {}", foreign.text),
            "the account" => assert_eq!(foreign.status, 403, "{row:?}: {}", foreign.text),
            "each of the list" => {
                assert!(passed(&foreign), "{row:?}: {}", foreign.text);
                for uid in [&mine.input, &mine.video, &theirs.input, &theirs.video] {
                    let listed = foreign.text.contains(uid.as_str());
                    let expect = *uid == mine.video || *uid == mine.input;
                    // Videos name their input; inputs do not name their videos.
                    if expect && *uid == mine.video && row.path.ends_with("live_inputs") {
                        continue;
                    }
                    assert_eq!(listed, expect, "{row:?}: {}", foreign.text);
                }
            }
            _ => {
                assert_eq!(foreign.status, 404, "{row:?}: {}", foreign.text);
                let absent = tried(&desk, &row, &me, &nothing).await;
                assert_eq!(foreign.text, absent.text, "{row:?}: nothing tells the two apart");
                // For its owner it is there; who may not change it may know it.
                let own = tried(&desk, &row, &me, &mine).await;
                assert!(passed(&own), "{row:?}: {}", own.text);
            }
        }
    }
}

#[tokio::test]
async fn who_may_only_read_is_told_so_and_sees_no_keys() {
    let desk = Desk::new().await;
    let mine = desk.owned().await;
    let (_, reader) = desk.token(&["stream:read"], only(&mine)).await;
    for row in guarded().iter().filter(|row| row.who.ends_with(":write") && row.of != "the account")
    {
        let answer = tried(&desk, row, &reader, &mine).await;
        assert_eq!(answer.status, 403, "{row:?}: {}", answer.text);
    }
    let path = format!("/client/v4/accounts/default/stream/live_inputs/{}", mine.input);
    let key = async |token: &str| {
        let (name, value) = bearer(token);
        let input = ask(&desk.router(), "GET", &path, &[(name, &value)], "").await.result();
        (input["rtmps"]["streamKey"].clone(), input["moq"]["publish"].clone())
    };
    assert_eq!(key(&reader).await, (json!(null), json!(null)));
    let (stream_key, publish) = key(ROOT).await;
    assert!(publish.as_str().unwrap().ends_with(stream_key.as_str().unwrap()));
}

/// Of two people one may: by where they are, or by what else was said of their tokens.
#[tokio::test]
async fn each_condition_lets_one_of_two_people_pass() {
    let desk = Desk::new().await;
    let router = desk.router();
    let (name, root) = bearer(ROOT);
    let token = async |more: Value| {
        let mut body = json!({ "name": "x", "policies": [{
            "effect": "allow",
            "permission_groups": [{ "scope": "inputs:read" }],
            "resources": { "com.cloudflare.api.account.default": "*" },
        }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = "/client/v4/user/tokens";
        let made = ask(&router, "POST", path, &[(name, &root)], &body.to_string()).await.result();
        bearer(made["value"].as_str().unwrap()).1
    };
    let status = async |from: &str, token: &str| {
        let (peer, path) = (
            format!("{from}:9").parse().unwrap(),
            "/client/v4/accounts/default/stream/live_inputs",
        );
        ask_from(peer, &router, "GET", path, &[(name, token)], "").await.status
    };
    // Others than those on this machine are heard over HTTPS alone.
    let (one, other) = ("127.0.0.2", "127.0.0.3");
    for condition in [json!({ "in": ["127.0.0.2"] }), json!({ "not_in": [other] })] {
        let token = token(json!({ "condition": { "request_ip": condition } })).await;
        let statuses = (status(one, &token).await.as_u16(), status(other, &token).await.as_u16());
        assert_eq!(statuses, (200, 403), "{condition}");
    }
    let (past, future) = ("2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z");
    for (field, may, may_not) in [
        ("expires_on", future, past),
        ("not_before", past, future),
        ("status", "active", "disabled"),
    ] {
        let (may, may_not) =
            (token(json!({ (field): may })).await, token(json!({ (field): may_not })).await);
        let statuses = (status(one, &may).await.as_u16(), status(one, &may_not).await.as_u16());
        assert_eq!(statuses, (200, 401), "{field}");
    }
}

#[tokio::test]
async fn a_denial_takes_one_thing_out() {
    let desk = Desk::new().await;
    let (one, other) = (desk.owned().await, desk.owned().await);
    let named = |uid: &str| format!("airwave.input.{uid}");
    let body = json!({ "name": "all but one", "policies": [
        { "effect": "allow", "permission_groups": [{ "scope": "inputs:read" }],
          "resources": { "com.cloudflare.api.account.default": "*" } },
        { "effect": "deny", "permission_groups": [{ "scope": "inputs:read" }],
          "resources": { (named(&one.input)): "*" } },
    ] });
    let (name, root) = bearer(ROOT);
    let router = desk.router();
    let path = "/client/v4/user/tokens";
    let made = ask(&router, "POST", path, &[(name, &root)], &body.to_string()).await.result();
    let (name, token) = bearer(made["value"].as_str().unwrap());
    let inputs = "/client/v4/accounts/default/stream/live_inputs";
    for (uid, status) in [(&one.input, 404), (&other.input, 200)] {
        let answer = ask(&router, "GET", &format!("{inputs}/{uid}"), &[(name, &token)], "").await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let list = ask(&router, "GET", inputs, &[(name, &token)], "").await.result();
    assert_eq!(list["total"], 1, "{list}");
    assert_eq!(list["liveInputs"][0]["uid"], other.input.as_str());
}

#[tokio::test]
async fn nobody_makes_or_touches_a_token_that_may_do_more() {
    let desk = Desk::new().await;
    let mine = desk.owned().await;
    let (_, me) = desk.token(&["tokens:write", "inputs:read"], Resources::All).await;
    let (strong, _) = desk.token(&["all"], Resources::All).await;
    let (weak, _) = desk.token(&["inputs:read"], only(&mine)).await;
    let body = |scope: &str| {
        json!({ "name": "x", "policies": [{ "effect": "allow", "permission_groups": [{ "scope": scope }],
            "resources": { "com.cloudflare.api.account.default": "*" } }] })
        .to_string()
    };
    let router = desk.router();
    let (name, token) = bearer(&me);
    for (method, path, body, status) in [
        ("POST", String::new(), body("inputs:read"), 200),
        ("POST", String::new(), body("inputs:write"), 403),
        ("POST", String::new(), body("all"), 403),
        ("PUT", format!("/{weak}"), body("all"), 403),
        ("PUT", format!("/{weak}"), body("inputs:read"), 200),
        ("PUT", format!("/{strong}"), body("inputs:read"), 403),
        ("PUT", format!("/{strong}/value"), "{}".to_owned(), 403),
        ("PUT", format!("/{weak}/value"), "{}".to_owned(), 200),
        ("DELETE", format!("/{strong}"), String::new(), 403),
        ("DELETE", format!("/{weak}"), String::new(), 200),
        ("GET", format!("/{weak}"), String::new(), 404),
    ] {
        let path = format!("/client/v4/user/tokens{path}");
        let answer = ask(&router, method, &path, &[(name, &token)], &body).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_account_of_somebody_else_is_not_there() {
    let desk = Desk::new().await;
    let owned = desk.owned().await;
    let (name, value) = bearer(ROOT);
    for row in guarded().iter().filter(|row| row.path.contains("{account}")) {
        let path = path(&desk, row, &owned).await.replace("/default/", "/somebody/");
        let answer =
            ask(&desk.router(), row.method, &path, &[(name, &value)], &body(row, &owned)).await;
        assert_eq!(answer.status, 404, "{row:?}: {}", answer.text);
    }
}
