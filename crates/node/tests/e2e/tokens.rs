//! Tokens of the API as their owner meets them: on the command line, in a page, in the vendor's own clients.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Child, Clip, ClipSpec, Server, browser_script, request, skip, wait_until};

use crate::AIRWAVE;
use crate::browser::soak;
use crate::level_faults::without_card;
use crate::levels::LADDER;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn token(server: &Server, arguments: &[&str]) -> (i32, String) {
    let data = server.data().to_str().unwrap();
    let (first, rest) = arguments.split_first().unwrap();
    let mut command = Command::new(AIRWAVE);
    command.args(["token", first, "--data", data]).args(rest);
    let mut child = Child::start(&mut command);
    (child.wait(20).code().unwrap_or(-1), child.output().trim().to_owned())
}

fn ask(server: &Server, method: &str, path: &str, token: &str) -> testkit::Response {
    let url = server.url(&format!("/client/v4/accounts/default{path}"));
    request(method, &url, &[("authorization", &format!("Bearer {token}"))], b"")
}

#[test]
fn a_token_of_the_command_line_is_good_at_once_and_taken_back() {
    let mut server = Server::start(AIRWAVE, &[]);
    let (mine, theirs) = (server.input(), server.input());
    let (code, value) = token(
        &server,
        &[
            "create",
            "--name",
            "shop",
            "--scope",
            "inputs:read",
            "--input",
            &mine.uid,
            "--expires-days",
            "7",
        ],
    );
    assert_eq!(code, 0, "{value}");
    let get = |uid: &str| ask(&server, "GET", &format!("/stream/live_inputs/{uid}"), &value);
    assert_eq!((get(&mine.uid).status, get(&theirs.uid).status), (200, 404));
    let list = token(&server, &["list"]).1;
    let id = list.split(' ').next().unwrap();
    let line = format!("shop: inputs:read on {}", mine.uid);
    assert!(list.contains("active  until") && list.ends_with(&line), "{list}");
    assert!(!list.contains(&value[36..]), "{list}");
    assert_eq!(token(&server, &["revoke", id]), (0, format!("{id} is revoked")));
    // Within a second, says a test of the crate `access` (`what_another_process_takes_back`).
    wait_until("the token to be refused", 60, || (get(&mine.uid).status == 401).then_some(()));
    assert_eq!(token(&server, &["revoke", id]).0, 1);
    for wrong in [
        &["create", "--name", "x", "--scope", "moon"][..],
        &["create", "--name", "x", "--scope", "all", "--input", "x"],
        &["create", "--name", "x", "--scope", "all", "--not-before", "soon"],
        &["create", "--scope", "all"],
    ] {
        assert_eq!(token(&server, wrong).0, 2, "{wrong:?}");
    }
    // All of it is written down, the command line's part too, and nothing that is secret.
    let log = ask(&server, "GET", "/audit_logs?action.type=delete&per_page=5", &server.token);
    let log = log.json()["result"].clone();
    let noted = |result| {
        log.as_array().unwrap().iter().any(|e| {
            e["resource"]["id"] == id
                && e["interface"] == "command line"
                && e["action"]["result"] == result
        })
    };
    assert!(noted(true) && noted(false), "{log}");
    let mut printed = Child::start(
        Command::new(AIRWAVE).args(["audit", "--action", "delete", "--data"]).arg(server.data()),
    );
    assert_eq!(printed.wait(20).code(), Some(0));
    let printed = printed.output();
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(printed.contains(&format!("by command line: delete tokens {id} REFUSED")), "{printed}");
    server.child().terminate();
    server.child().wait(15);
    let words = server.child().output();
    for secret in [&value[36..], &server.token] {
        assert!(!words.contains(secret), "a token is in the log:\n{words}");
    }
    let elsewhere =
        Child::start(Command::new(AIRWAVE).args(["token", "list", "--data", "/nonexistent"]))
            .wait(20);
    assert_eq!(elsewhere.code(), Some(1));
}

#[test]
fn who_is_signed_in_stays_so_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let session = "/client/v4/session";
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let body = json!({ "token": server.token }).to_string();
    let answer = request("POST", &server.url(session), &[], body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.headers["set-cookie"].split(';').next().unwrap().to_owned();
    let signed_in = |server: &Server| {
        let answer = request("GET", &server.url(session), &[("cookie", &cookie)], b"");
        answer.json()["result"]["signedIn"].clone()
    };
    assert_eq!(signed_in(&server), true);
    drop(server);
    let server = Server::start_in(AIRWAVE, &data, &[]);
    assert_eq!(signed_in(&server), true);
    drop(server);
    // Another token in the data directory is another owner.
    std::fs::write(data.join("api-token"), "aw_0123456789abcdef\n").unwrap();
    let server = Server::start_in(AIRWAVE, &data, &[]);
    assert_eq!(signed_in(&server), false);
    // What delivery answers never depends on the cookie.
    let page = request("GET", &server.url("/live.json"), &[("cookie", &cookie)], b"");
    assert!(!page.headers.contains_key("set-cookie"));
}

#[test]
fn a_person_gives_a_link_to_a_friend_and_takes_it_back_in_chromium() {
    a_friend_watches("moq", &[]);
}

#[test]
fn a_person_gives_a_link_to_a_friend_who_has_no_moq_and_takes_it_back_in_chromium() {
    a_friend_watches("hls", &["quic.listen=off"]);
}

fn a_friend_watches(over: &str, settings: &[&str]) {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, settings);
    let input = server.create_input(&json!({ "meta": { "name": "The garden" } }));
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 10) });
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    let mut node = browser_script("check-friend.mjs");
    let url = server.url("").to_string();
    node.args([
        "--server",
        url.trim_end_matches('/'),
        "--id",
        &input.uid,
        "--token",
        &server.token,
        "--over",
        over,
    ]);
    if soak() {
        node.arg("--soak");
    }
    if let Some(folder) = std::env::var_os("AIRWAVE_SCREENSHOTS") {
        node.arg("--screenshots").arg(folder);
    }
    let mut node = Child::start(&mut node);
    let status = node.wait(280);
    assert!(status.success(), "check-friend.mjs: {status}\n{}", node.output());
    eprintln!("{}", node.output());
}

#[test]
fn a_broadcaster_walks_through_the_dashboard_in_chromium() {
    if skip("browser") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = format!("encode.program={:?}", without_card(folder.path()));
    let settings = ["ingest.reconnect_s=20", LADDER, "encode.encoder=nvenc", &*program];
    let server = Server::start(AIRWAVE, &settings);
    let mut node = browser_script("check-dashboard.mjs");
    let url = server.url("").to_string();
    node.args(["--url", url.trim_end_matches('/'), "--token", &server.token]);
    let problem = "the encoder nvenc does not work here, libx264 does it: there is no card";
    node.args(["--levels-problem", problem]);
    if let Some(folder) = std::env::var_os("AIRWAVE_SCREENSHOTS") {
        node.arg("--screenshots").arg(folder);
    }
    let mut node = Child::start(&mut node);
    let status = node.wait(400);
    assert!(status.success(), "check-dashboard.mjs: {status}\n{}", node.output());
}

/// A server with a live input on the air, a recording of another one, and what a client needs to know of them.
fn furnished() -> (Server, Vec<Child>, Value) {
    let server = Server::start(AIRWAVE, &[]);
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let (recorded, live) = (server.input(), server.input());
    assert!(clip.publish_at(4.0, &recorded.rtmp, 1).wait(60).success());
    let encoder = clip.publish(&live.rtmp, -1);
    server.wait_live(&live);
    let video = wait_until("the recording", 30, || {
        let path = format!("/stream/live_inputs/{}/videos", recorded.uid);
        let videos = server.api("GET", &path, None).json()["result"].clone();
        (videos[0]["status"]["state"] == "ready").then(|| videos[0]["uid"].clone())
    });
    let about = json!({ "live": live.uid, "recorded": recorded.uid, "video": video, "playback": server.url("/").to_string() });
    (server, vec![encoder], about)
}

/// Runs one of the vendor's own clients, which is told the address and a token, and nothing else.
fn sdk(program: &str, script: &str, library: &str) {
    let (server, _encoders, about) = furnished();
    let mut command = Command::new(program);
    command.arg(Path::new(ROOT).join(script)).arg(about.to_string());
    command.env("CLOUDFLARE_BASE_URL", server.url("/client/v4").to_string());
    command.env("CLOUDFLARE_API_TOKEN", &server.token);
    command.env("PYTHONPATH", Path::new(ROOT).join(library));
    command.env("SDK", Path::new(ROOT).join(library));
    let mut client = Child::start(&mut command);
    let status = client.wait(120);
    assert!(status.success(), "{script}: {status}\n{}", client.output());
}

#[test]
fn the_official_python_sdk() {
    if skip("sdk") {
        return;
    }
    sdk("python3", "tests/sdk/client.py", ".cache/sdk/python");
}

#[test]
fn the_official_typescript_sdk() {
    if skip("sdk") {
        return;
    }
    sdk("node", "tests/sdk/client.mjs", ".cache/sdk/node");
}

/// The names at the beginning of the lines of this block of TypeScript.
fn names<'a>(text: &'a str, block: &str) -> BTreeSet<&'a str> {
    let (_, block) = text.split_once(block).unwrap_or_else(|| panic!("no {block}"));
    let block = block.split("\n}").next().unwrap();
    let name = |line: &'a str| Some(line.trim().split_once(':')?.0.trim_end_matches('?'));
    let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric());
    block.lines().filter_map(name).filter(is_name).collect()
}

/// React applications change their import, and the props stay: docs of `web/packages/react`.
#[test]
fn the_official_react_component_has_no_prop_that_ours_lacks() {
    if skip("sdk") {
        return;
    }
    let read = |path: &str| std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    let theirs = read(".cache/sdk/node/stream-react/dist/types.d.ts");
    let theirs = names(&theirs, "interface StreamProps {");
    let text = read("web/packages/react/src/props.ts");
    let mut ours = names(&text, "interface StreamProps extends StreamEvents {");
    ours.extend(names(&text, "const EVENTS = {"));
    assert!(theirs.len() > 40, "{theirs:?}");
    assert_eq!(theirs.difference(&ours).collect::<Vec<_>>(), [&""; 0]);
    let more: Vec<_> = ours.difference(&theirs).copied().collect();
    assert_eq!(more, ["clientBandwidthHint", "dvrEnabled", "host", "id"], "as its README says");
    let index = read("web/packages/react/src/index.ts");
    for name in ["Stream", "StreamPlayerApi", "StreamProps", "useStreamSDK"] {
        let is = |word: &str| word == name;
        assert!(index.split(|c: char| !c.is_ascii_alphanumeric()).any(is), "{name}");
    }
}
