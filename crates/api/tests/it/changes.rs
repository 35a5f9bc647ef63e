//! The audit log.

use std::sync::Arc;
use std::time::Duration;

use access::link::Link;
use access::permission::Resources;
use control::InputUid;
use control::conformance::NOW;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use crate::authorisation::{guarded, tried};
use crate::desk::{Desk, ROOT, ask, bearer, only};

const ACCOUNT: &str = "/client/v4/accounts/default";

/// What is waited for so long never comes.
const FAILED: Duration = Duration::from_secs(30);

async fn log(desk: &Desk, query: &str) -> Vec<Value> {
    let (name, root) = bearer(ROOT);
    let path = format!("{ACCOUNT}/audit_logs?{query}");
    let answer = ask(&desk.router(), "GET", &path, &[(name, &root)], "").await;
    answer.result().as_array().unwrap().clone()
}

#[tokio::test]
async fn every_change_is_written_down_with_who_and_what_and_no_secret() {
    let desk = Desk::new().await;
    let router = desk.router();
    let (name, root) = bearer(ROOT);
    let root = [(name, &*root)];
    let body = json!({ "meta": { "name": "x", "pin": "hush-1" }, "recording": { "mode": "off", "requireSignedURLs": true } });
    let inputs = format!("{ACCOUNT}/stream/live_inputs");
    let made = ask(&router, "POST", &inputs, &root, &body.to_string()).await.result();
    let uid = made["uid"].as_str().unwrap();
    ask(&router, "GET", &inputs, &root, "").await.result();
    ask(&router, "POST", &format!("{inputs}/{uid}/rotate_keys"), &root, "").await.result();
    let other = desk.owned().await;
    let (id, token) = desk.token(&["stream:read"], only(&other)).await;
    let (name, token) = bearer(&token);
    let path = format!("{inputs}/{}", other.input);
    let refused = ask(&router, "DELETE", &path, &[(name, &token)], "").await;
    assert_eq!(refused.status, 403);
    // Who is not known writes nothing: strangers could fill the log.
    assert_eq!(ask(&router, "DELETE", &path, &[], "").await.status, 401);

    let entries = log(&desk, "direction=asc").await;
    let line = |e: &Value| {
        let text = |v: &Value| v.as_str().unwrap_or("?").to_owned();
        let parts =
            [&e["actor"]["id"], &e["action"]["type"], &e["resource"]["type"], &e["resource"]["id"]];
        (parts.map(text).join(" "), e["action"]["result"] == true)
    };
    assert_eq!(
        entries.iter().map(line).collect::<Vec<_>>(),
        [
            (format!("root create live_inputs {uid}"), true),
            (format!("root rotate_keys live_inputs {uid}"), true),
            (format!("{id} delete live_inputs {}", other.input), false),
        ]
    );
    let first = &entries[0];
    assert_eq!(
        first["metadata"]["fields"],
        json!(["meta", "recording.mode", "recording.requireSignedURLs"])
    );
    assert_eq!((&first["actor"]["ip"], &first["interface"]), (&json!("127.0.0.1"), &json!("api")));
    assert!(first["when"].as_str().unwrap().starts_with("20"), "{first}");
    let all = json!(entries).to_string();
    for secret in ["hush", "pin", ROOT, &token[7..], made["rtmp"]["streamKey"].as_str().unwrap()] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    // As it can be asked for.
    let count = async |query: &str| log(&desk, query).await.len();
    assert_eq!(count("action.type=create").await, 1);
    assert_eq!(count(&format!("actor.id={id}")).await, 1);
    assert_eq!(count("actor.ip=192.0.2.1").await, 0);
    assert_eq!(count("page=2&per_page=2").await, 1);
    assert_eq!(count("page=3&per_page=2").await, 0);
    assert_eq!(count("since=2020-01-01&before=2020-01-02T00:00:00Z").await, 0);
    assert_eq!(count("since=2020-01-01").await, 3);
    assert_eq!(count(&format!("id={}", first["id"].as_str().unwrap())).await, 1);
}

/// Every row of the authorisation table, by who may and by who may not.
#[tokio::test]
async fn every_route_that_changes_something_writes_it_down_and_no_other_does() {
    let desk = Desk::new().await;
    let (reader_id, reader) = desk.token(&["audit:read"], Resources::All).await;
    let newest = async || {
        let entries = log(&desk, "per_page=1").await;
        entries.first().map_or(json!(null), Value::clone)
    };
    let mut kinds = std::collections::BTreeSet::new();
    for row in guarded() {
        let owned = desk.owned().await;
        for (actor, token) in [("root", ROOT), (&*reader_id, &*reader)] {
            let before = newest().await["id"].clone();
            let answer = tried(&desk, &row, token, &owned).await;
            let entry = newest().await;
            let told = format!("{actor} on {row:?}: {}: {entry}", answer.text);
            assert_eq!(entry["id"] != before, row.method != "GET", "{told}");
            if row.method == "GET" {
                continue;
            }
            assert_eq!(
                (&entry["actor"]["id"], &entry["interface"]),
                (&json!(actor), &json!("api"))
            );
            assert_eq!(entry["metadata"]["status"], answer.status.as_u16(), "{told}");
            assert_eq!(entry["action"]["result"], answer.status.is_success(), "{told}");
            let resource = entry["resource"]["id"].as_str().unwrap();
            let named = row.path.contains("{uid}") || row.path.contains("{id}");
            assert!(!named || !resource.is_empty(), "{told}");
            let of_its_own = |kind: &&str| *kind != "other";
            kinds.extend(entry["resource"]["type"].as_str().filter(of_its_own).map(str::to_owned));
        }
    }
    let expect = ["chat", "keys", "links", "live_inputs", "session", "tokens", "videos"];
    assert!(kinds.iter().eq(expect), "{kinds:?}");
}

#[tokio::test]
async fn tokens_are_made_listed_verified_rolled_and_deleted_as_the_vendor_does() {
    let desk = Desk::new().await;
    let router = desk.router();
    let (name, root) = bearer(ROOT);
    let root = [(name, &*root)];
    let tokens = "/client/v4/user/tokens";
    let groups =
        ask(&router, "GET", &format!("{tokens}/permission_groups"), &root, "").await.result();
    let group = groups.as_array().unwrap().iter().find(|g| g["name"] == "Stream Read").unwrap();
    let body = json!({
        "name": "reader", "expires_on": "2999-01-01T00:00:00Z",
        "condition": { "request_ip": { "in": ["127.0.0.0/8", "::1"] } },
        "policies": [{ "effect": "allow", "permission_groups": [{ "id": group["id"] }],
            "resources": { "com.cloudflare.api.account.default": "*" } }],
    });
    let made = ask(&router, "POST", tokens, &root, &body.to_string()).await.result();
    let (id, value) = (made["id"].as_str().unwrap(), made["value"].as_str().unwrap());
    assert_eq!(
        (&made["status"], &made["expires_on"]),
        (&json!("active"), &json!("2999-01-01T00:00:00.000Z"))
    );
    let list = ask(&router, "GET", tokens, &root, "").await;
    assert_eq!(
        (list.json()["result_info"]["total_count"].clone(), &list.result()[0]["id"]),
        (json!(1), &json!(id))
    );
    assert!(!list.text.contains(value), "{}", list.text);
    let verify = async |value: &str| {
        let (name, token) = bearer(value);
        ask(&router, "GET", &format!("{tokens}/verify"), &[(name, &token)], "").await
    };
    assert_eq!(verify(value).await.result()["id"], id);
    let one = format!("{tokens}/{id}");
    let mut off = body.clone();
    off["status"] = json!("disabled");
    ask(&router, "PUT", &one, &root, &off.to_string()).await.result();
    assert_eq!(verify(value).await.status, 401);
    ask(&router, "PUT", &one, &root, &body.to_string()).await.result();
    let rolled = ask(&router, "PUT", &format!("{one}/value"), &root, "{}").await.result();
    assert_eq!(verify(value).await.status, 401);
    assert_eq!(verify(rolled.as_str().unwrap()).await.status, 200);
    ask(&router, "DELETE", &one, &root, "").await.result();
    assert_eq!(verify(rolled.as_str().unwrap()).await.status, 401);
    // The account's tokens are the same ones.
    let (id, _) = desk.token(&["all"], Resources::All).await;
    let account = ask(&router, "GET", &format!("{ACCOUNT}/tokens/{id}"), &root, "").await.result();
    assert_eq!(account["policies"][0]["permission_groups"][0]["name"], "Everything");
}

/// Whoever asks for a change may go away while it is made: hyper then drops his request. What is begun is finished, told and written
/// down all the same.
#[tokio::test]
async fn a_change_is_finished_and_written_down_though_its_client_has_gone() {
    let desk = Desk::new().await;
    let owned = desk.owned().await;
    let link = Link {
        id: String::new(),
        name: "a friend".to_owned(),
        created_ms: NOW,
        expires_ms: u64::MAX,
        downloadable: false,
    };
    desk.api.access.create_link(&owned.input, link, [5; 16]).await.unwrap();
    // Its recorder takes until it is told to go on.
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (ended, mut gone_on) = mpsc::channel(1);
    let dismiss: api::Dismiss = {
        let (begun, go_on) = (begun.clone(), go_on.clone());
        Arc::new(move |_| {
            let (begun, go_on, ended) = (begun.clone(), go_on.clone(), ended.clone());
            Box::pin(async move {
                begun.notify_one();
                go_on.notified().await;
                ended.send(()).await.unwrap();
            })
        })
    };
    let router = api::router(api::Api { dismiss, ..desk.api.clone() });
    let mut changes = desk.api.access.changes();
    let (name, root) = bearer(ROOT);
    let path = format!("{ACCOUNT}/stream/live_inputs/{}", owned.input);
    let headers = [(name, &*root)];
    tokio::select! {
        answer = ask(&router, "DELETE", &path, &headers, "") => panic!("{answer:?}"),
        () = begun.notified() => {}
    }
    // The request was dropped; where that drops what it has begun, nobody is left who could say so.
    drop(router);
    go_on.notify_one();
    assert_eq!(gone_on.recv().await, Some(()), "it went no further");
    timeout(FAILED, changes.next()).await.expect("who watches is not told");
    let entry = async {
        loop {
            if let Some(entry) = log(&desk, "per_page=1").await.pop() {
                return entry;
            }
        }
    };
    let entry = timeout(FAILED, entry).await.expect("it is not written down");
    let said = [&entry["action"]["type"], &entry["resource"]["id"], &entry["metadata"]["status"]];
    assert_eq!(said, [&json!("delete"), &json!(owned.input), &json!(200)]);
    let input = InputUid::parse(&owned.input).unwrap();
    assert!(desk.api.control.input(&input).await.unwrap().is_none());
    assert!(desk.api.access.links(&owned.input).await.unwrap().is_empty());
}
