//! The chat of a broadcast, from outside: over HTTP and by an independent MoQ client, one who comes late, a deletion, and
//! the replay.

use std::process::Command;

use serde_json::{Value, json};
use testkit::{Child, Clip, ClipSpec, Response, Server, request, skip, wait_until};

use crate::AIRWAVE;
use crate::moq::chat;

fn say(server: &Server, id: &str, name: &str, text: &str) -> Response {
    let body = json!({ "name": name, "text": text }).to_string();
    request("POST", &server.url(&format!("/{id}/chat")), &[], body.as_bytes())
}

/// What is shown of it: whether it is open, and the texts.
fn shown(server: &Server, path: &str) -> (bool, Vec<String>) {
    let answer = server.get(path);
    assert_eq!((answer.status, &*answer.headers["cache-control"]), (200, "no-store"), "{path}");
    let value = answer.json();
    let texts = value["messages"].as_array().unwrap().iter();
    (value["open"] == true, texts.map(|m| m["text"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn viewers_chat_their_owner_deletes_and_the_replay_has_the_rest() {
    if skip("moq") {
        return;
    }
    let server = Server::start(AIRWAVE, &[]);
    let allowed = json!({ "meta": { "name": "Harbour" }, "recording": { "allowChat": true } });
    let input = server.create_input(&allowed);
    assert_eq!(say(&server, &input.uid, "Ann", "too early").status, 403);
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut encoder = clip.publish(&input.rtmp, -1);
    let video = server.wait_live(&input);
    wait_until("the chat to be offered", 20, || {
        (server.lifecycle(&input.uid)["chat"] == true).then_some(())
    });
    let live = format!("/{}/chat", input.uid);
    assert_eq!(shown(&server, &live), (true, vec![]));
    assert_eq!(say(&server, &input.uid, "Ann", "<b>hello</b>").json(), json!({ "id": 1 }));
    assert_eq!(say(&server, &video, "Ann", "rude").json(), json!({ "id": 2 }));
    // An independent client comes later: it sees what was said, and is heard.
    let mut peer = chat(&server, &input.uid, "from afar");
    assert!(peer.wait(30).success(), "{}", peer.output());
    let lines: Vec<Value> =
        peer.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let texts: Vec<&Value> = lines.iter().filter_map(|line| line.get("text")).collect();
    let first = lines.iter().find(|line| line.get("open").is_some()).unwrap();
    assert_eq!(first["open"], true, "{lines:?}");
    assert!(texts.contains(&&json!("from afar")), "{lines:?}");
    assert_eq!(
        shown(&server, &live),
        (true, ["<b>hello</b>", "rude", "from afar"].map(str::to_owned).to_vec())
    );

    let path = |rest: &str| format!("/stream/{}/chat{rest}", input.uid);
    // What is recorded is a moment behind what is shown.
    let said = wait_until("the third message to be recorded", 20, || {
        let said = server.api("GET", &path(""), None).json();
        (!said["result"][2].is_null()).then_some(said)
    });
    assert_eq!(said["result"][2]["name"], "peer", "{said}");
    assert_eq!(server.api("DELETE", &path("/2"), None).status, 200);
    assert_eq!(server.api("DELETE", &path("/2"), None).status, 404);
    let left = ["<b>hello</b>", "from afar"].map(str::to_owned).to_vec();
    assert_eq!(shown(&server, &live), (true, left.clone()));
    let change = &server.api("GET", "/audit_logs?per_page=5&action.type=delete", None).json();
    let change = change["result"].as_array().unwrap().last().unwrap().clone();
    let resource = json!({ "id": format!("{}/2", input.uid), "type": "chat" });
    assert_eq!(change["resource"], resource, "{change}");

    // What a stranger may send.
    for (body, status) in
        [(&b""[..], 400), (b"{\"name\":\"\",\"text\":\"a\"}", 400), (&[b'x'; 5_000], 413)]
    {
        assert_eq!(request("POST", &server.url(&live), &[], body).status, status);
    }
    // At once: he may say something again every two seconds.
    let said: Vec<Response> = std::thread::scope(|scope| {
        let saying = [(); 60].map(|()| scope.spawn(|| say(&server, &input.uid, "Ann", "again")));
        saying.into_iter().map(|said| said.join().unwrap()).collect()
    });
    let refused = said.into_iter().find(|answer| answer.status != 200).expect("a bound");
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.headers.contains_key("retry-after"));

    // Closed, and open again: what was said is there, and nobody saw it meanwhile.
    let switch = |allowed: bool| {
        let path = format!("/stream/live_inputs/{}", input.uid);
        let body = json!({ "recording": { "allowChat": allowed } });
        assert_eq!(server.api("PUT", &path, Some(&body)).status, 200);
    };
    switch(false);
    assert_eq!(shown(&server, &live), (false, vec![]));
    assert_eq!(shown(&server, &format!("{live}/after/0")).1, Vec::<String>::new());
    assert_eq!(say(&server, &input.uid, "Bob", "anybody?").status, 403);
    switch(true);
    assert!(shown(&server, &live).1.starts_with(&left));

    encoder.signal("INT");
    encoder.wait(20);
    let over = wait_until("the recording", 30, || {
        Some(server.lifecycle(&video)).filter(|lifecycle| lifecycle["live"] == false)
    });
    assert_eq!(over["chat"], true, "{over}");
    let replay = format!("/{video}/chat");
    let (open, texts) = shown(&server, &replay);
    assert!(!open && texts.starts_with(&left), "{texts:?}");
    assert_eq!(shown(&server, &format!("{replay}/until/0")).1, Vec::<String>::new());
    assert_eq!(say(&server, &video, "Ann", "too late").status, 403);
    // Closed, it is shown to nobody afterwards either.
    switch(false);
    assert_eq!(shown(&server, &replay), (false, vec![]));
    assert_eq!(shown(&server, &format!("{replay}/after/0")), (false, vec![]));
    assert_eq!(server.lifecycle(&video)["chat"], false);
    switch(true);
    assert_eq!(shown(&server, &replay).1, texts);
    // All of it goes, and with the video whatever is left.
    assert_eq!(server.api("DELETE", &format!("/stream/{video}/chat"), None).status, 200);
    assert_eq!(shown(&server, &replay), (false, vec![]));
    assert_eq!(server.lifecycle(&video)["chat"], false);
}

#[test]
fn two_browsers_chat_over_moq() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &[]);
    let input = server.create_input(&json!({ "recording": { "allowChat": true } }));
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let _encoder = clip.publish(&input.rtmp, -1);
    let video = server.wait_live(&input);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/browser/chat.mjs");
    let url = server.url(&format!("/{}/watch", input.uid)).to_string();
    let mut command = Command::new("node");
    command.args([script, "--url", &url]);
    if let Ok(file) = std::env::var("AIRWAVE_CHAT_SCREENSHOT") {
        command.args(["--screenshot", &file]);
    }
    let mut browsers = Child::start(&mut command);
    // Both came over MoQ: nobody else is counted here.
    wait_until("both to be heard over MoQ", 240, || {
        assert!(browsers.ended().is_none(), "{}", browsers.output());
        let said = server.metric("chat_messages_total") == 2;
        (said && server.metric("chat_guests") == 2).then_some(())
    });
    // Each of them has a session for the picture, or none, and one for the chat.
    let views = server.get(&format!("/{}/views", input.uid)).json();
    assert_eq!(views["liveViewers"], 2, "{views}");
    assert_eq!(server.api("DELETE", &format!("/stream/{video}/chat/1"), None).status, 200);
    assert_eq!(say(&server, &input.uid, "Rust", "goodbye").status, 200);
    assert!(browsers.wait(120).success(), "{}", browsers.output());
    let seen: Value = serde_json::from_str(browsers.output().lines().last().unwrap()).unwrap();
    let left = json!(["Otto <i>hello</i> from Otto", "Rust goodbye"]);
    assert_eq!(seen, json!([left, left]));
}
