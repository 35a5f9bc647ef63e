//! The program as its operator meets it: arguments, exit codes, signals, files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use testkit::{Child, Clip, ClipSpec, Server, wait_until};

use crate::AIRWAVE;

fn run(arguments: &[&str]) -> (i32, String) {
    let mut child = Child::start(Command::new(AIRWAVE).args(arguments));
    let status = child.wait(20);
    (status.code().unwrap_or(-1), child.output())
}

#[test]
fn wrong_configuration_is_told_at_once_with_every_key() {
    let (code, output) = run(&[
        "serve",
        "--set",
        "http.listen=nonsense",
        "--set",
        "hls.part_ms=1",
        "--set",
        "no.such=1",
    ]);
    assert_eq!(code, 2, "{output}");
    for key in ["http.listen", "hls.part_ms", "no: no such section"] {
        assert!(output.contains(key), "{key} in {output}");
    }
    assert_eq!(run(&["serve", "--nonsense"]).0, 2);
    assert_eq!(run(&["version"]), (0, format!("airwave {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_port_in_use_is_told_with_the_key_that_changes_it() {
    let server = Server::start(AIRWAVE, &[]);
    let taken = server.addresses["http"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let (code, output) = run(&["serve", "--data", data, "--set", &format!("http.listen={taken}")]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("--set http.listen="), "{output}");
}

#[test]
fn secrets_are_their_owners_only_and_the_token_is_printed_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start_in(AIRWAVE, &data, &[]);
    let database = ["airwave.db", "airwave.db-wal"];
    for name in ["api-token", "master.key", "self-signed.key"].iter().chain(&database) {
        let mode = std::fs::metadata(server.data().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let folder = std::fs::metadata(server.data()).unwrap().permissions().mode();
    assert_eq!(folder & 0o777, 0o700);
    // A database of before is shut to others by the next start.
    server.child().terminate();
    server.child().wait(15);
    std::fs::set_permissions(data.join("airwave.db"), PermissionsExt::from_mode(0o644)).unwrap();
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let mode = std::fs::metadata(data.join("airwave.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (code, output) = run(&["token", "--data", server.data().to_str().unwrap()]);
    assert_eq!((code, output.trim()), (0, server.token.as_str()));
    let (code, output) = run(&["token", "--data", "/nonexistent"]);
    assert_eq!(code, 1, "{output}");
}

#[test]
fn a_signal_ends_broadcasts_in_good_order_and_the_next_start_knows_everything() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start_in(AIRWAVE, &data, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    server.child().terminate();
    assert_eq!(server.child().wait(15).code(), Some(0), "{}", server.child().output());
    assert!(!encoder.wait(20).success(), "the encoder was let go");
    let log = server.child().output();
    assert!(!log.contains(&input.key), "the stream key is in the log:\n{log}");
    assert!(log.contains("the server stopped") && !log.contains("connection was lost"), "{log}");
    drop(server);
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let again = server.api("GET", &format!("/stream/live_inputs/{}", input.uid), None).json();
    assert_eq!(again["result"]["rtmp"]["streamKey"], input.key.as_str());
}

#[test]
fn the_demo_is_on_the_air_after_the_start() {
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready.json");
    let mut command = Command::new(AIRWAVE);
    command.arg("serve");
    for listener in ["http", "https", "rtmp", "rtmps", "quic", "admin"] {
        command.args(["--set", &format!("{listener}.listen=127.0.0.1:0")]);
    }
    command.arg("--data").arg(folder.path().join("data"));
    command.arg("--demo").arg(clip.path()).arg("--ready-file").arg(&ready);
    let _server = Child::start(&mut command);
    wait_demo(&ready, "Demo");
}

/// Flips `api.token`.
#[test]
fn a_token_of_the_configuration_is_the_one_that_counts() {
    let own = "aw_0123456789abcdef";
    let mut server = Server::start(AIRWAVE, &[&format!("api.token={own}")]);
    assert!(!server.data().join("api-token").exists(), "it is nowhere else");
    server.token = own.to_owned();
    assert_eq!(server.api("GET", "/stream/live_inputs", None).status, 200);
    server.token = "aw_0123456789abcdeg".to_owned();
    assert_eq!(server.api("GET", "/stream/live_inputs", None).status, 401);
    let data = server.data().to_str().unwrap().to_owned();
    let set = format!("api.token={own}");
    let (code, output) = run(&["token", "--data", &data, "--set", &set]);
    assert_eq!((code, output.trim()), (0, own));
    let (code, output) = run(&["config", "print", "--data", &data, "--set", &set]);
    assert_eq!((code, output.contains(own)), (0, false), "{output}");
    let backup = server.data().with_extension("backup").display().to_string();
    let (code, output) = run(&["backup", &backup, "--data", &data, "--set", &set]);
    assert_eq!(code, 0, "{output}");
    std::fs::remove_dir_all(backup).unwrap();
    let (code, output) = run(&["serve", "--data", &data, "--set", "api.token=aw_SHORT"]);
    assert_eq!((code, output.contains("aw_SHORT")), (2, false), "{output}");
    assert!(output.contains("api.token"), "{output}");
}

#[test]
fn a_terminal_shows_where_others_find_it() {
    let shown = |address: &str| {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut line = format!("{AIRWAVE} serve --data {}", data.display());
        for listener in ["http", "https", "rtmp", "rtmps", "quic"] {
            line += &format!(" --set {listener}.listen={address}:0");
        }
        line += " --set admin.listen=127.0.0.1:0";
        // What a terminal gets, and nothing else.
        let mut child = Child::start(Command::new("script").args(["-qefc", &line, "/dev/null"]));
        wait_until("the banner", 20, || {
            child.output().contains("The API token is in").then_some(())
        });
        child.terminate();
        child.wait(20);
        let words = child.output();
        let of = |title: &str| {
            let line = words.lines().find_map(|line| line.trim().strip_prefix(title));
            line.unwrap_or_else(|| panic!("{title} in {words}")).trim().to_owned()
        };
        (of("For phones"), of("Server"))
    };
    let (phones, server) = shown("127.0.0.1");
    assert_eq!(phones, "none: only this machine is let in");
    assert!(server.starts_with("rtmp://127.0.0.1:"), "{server}");
    // The address that this machine has in its network, if it has one.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let _ = socket.connect("192.0.2.1:9");
    let own = socket.local_addr().unwrap().ip();
    let own = if own.is_unspecified() { "127.0.0.1".to_owned() } else { own.to_string() };
    let (phones, server) = shown("0.0.0.0");
    assert!(phones.starts_with(&format!("https://{own}:")), "{phones} is not at {own}");
    assert!(server.starts_with(&format!("rtmp://{own}:")), "{server} is not at {own}");
}

#[test]
fn a_demo_without_rtmp_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let clip = Clip::make(&ClipSpec::plain("plain", 2));
    let demo = format!("--demo={}", clip.path().display());
    let (code, output) = run(&["serve", "--data", &data, &demo, "--set", "rtmp.listen=off"]);
    assert_eq!(code, 2, "{output}");
    assert!(output.contains("rtmp.listen is off"), "{output}");
}

#[test]
fn the_demo_without_a_file_takes_the_clip_that_came_with_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let program = at("airwave");
    std::fs::copy(AIRWAVE, &program).unwrap();
    let start = |data: &str, ready: &Path| {
        let mut command = Command::new(&program);
        command.args(["serve", "--demo"]);
        for listener in ["http", "https", "rtmp", "rtmps", "quic", "admin"] {
            command.args(["--set", &format!("{listener}.listen=127.0.0.1:0")]);
        }
        Child::start(command.arg("--data").arg(at(data)).arg("--ready-file").arg(ready))
    };
    let mut alone = start("alone", &at("never.json"));
    assert_eq!(alone.wait(20).code(), Some(2));
    for words in ["airwave serve --demo=FILE.mp4", "ffmpeg -f lavfi", "make run"] {
        assert!(alone.output().contains(words), "{words} in {}", alone.output());
    }
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    std::fs::copy(clip.path(), at("demo.mp4")).unwrap();
    let mut server = start("data", &at("ready.json"));
    wait_demo(&at("ready.json"), "Demo");
    server.terminate();
    server.wait(40);
    // Who made it is read where it is watched.
    std::fs::write(at("demo.txt"), "A film, CC BY 3.0\nand more\n").unwrap();
    let mut server = start("data", &at("again.json"));
    wait_demo(&at("again.json"), "Demo: A film, CC BY 3.0");
    server.terminate();
    server.wait(40);
    // It is the same input, also for who starts it a third time.
    let _server = start("data", &at("third.json"));
    let url = wait_demo(&at("third.json"), "Demo: A film, CC BY 3.0");
    let live = testkit::request("GET", &url, &[], b"").json();
    assert_eq!(live["broadcasts"].as_array().map(Vec::len), Some(1), "{live}");
}

fn wait_demo(ready: &Path, name: &str) -> testkit::Url {
    let text = wait_until("the ready file", 20, || std::fs::read_to_string(ready).ok());
    let addresses: serde_json::Value = serde_json::from_str(&text).unwrap();
    let url = format!("http://{}/live.json", addresses["http"].as_str().unwrap());
    let url = testkit::Url::parse(&url);
    wait_until("the demo", 20, || {
        let live = testkit::request("GET", &url, &[], b"").json();
        (live["broadcasts"][0]["name"] == name).then_some(())
    });
    url
}

#[test]
fn the_admin_listener_tells_health_and_counts() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    server.get(&format!("/{}/manifest/video.cmaf.m3u8", input.uid));
    let authority = server.addresses["admin"].as_str().unwrap().to_owned();
    let get = |path: &str| {
        let url = testkit::Url { authority: authority.clone(), path: path.to_owned() };
        testkit::request("GET", &url, &[], b"")
    };
    assert_eq!((get("/healthz").status, get("/readyz").status), (200, 200));
    let metrics = get("/metrics").text();
    for line in [
        "airwave_broadcasts 1",
        "airwave_rtmp_encoders 1",
        "airwave_viewers 1",
        "airwave_playlists_total 1",
        "airwave_playlist_renderings_total 1",
        "airwave_task_panics_total 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains(&input.key));
    assert_eq!(server.get("/metrics").status, 404, "not on the public listener");
}
