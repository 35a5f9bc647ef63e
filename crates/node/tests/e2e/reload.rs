//! SIGHUP, and `airwave config`.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use testkit::{Child, Clip, ClipSpec, Server, wait_until};

use crate::AIRWAVE;

fn run(arguments: &[&str]) -> (i32, String) {
    let mut child = Child::start(Command::new(AIRWAVE).args(arguments));
    let status = child.wait(20);
    (status.code().unwrap_or(-1), child.output())
}

#[test]
fn a_sample_is_written_checked_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("airwave.toml");
    let name = file.to_str().unwrap();
    assert_eq!(run(&["config", "init", name]).0, 0);
    let sample = std::fs::read_to_string(&file).unwrap();
    assert_eq!(run(&["config", "init"]), (0, sample.clone()));
    let (code, output) = run(&["config", "init", name]);
    assert_eq!(code, 1, "an existing file is left as it is: {output}");
    assert_eq!(
        run(&["config", "check", "--config", name]),
        (0, "the configuration is good\n".into())
    );

    std::fs::write(&file, sample.replace("part_ms = 333", "part_ms = 200")).unwrap();
    let mut print = Command::new(AIRWAVE);
    print.args(["config", "print", "--config", name, "--set", "http.listen=127.0.0.1:1"]);
    let mut print = Child::start(print.env("AIRWAVE__INGEST__RECONNECT_S", "7"));
    assert!(print.wait(20).success());
    let printed = print.output();
    for (line, from) in [
        ("part_ms = 200 ", name),
        ("listen = \"127.0.0.1:1\" ", "--set http.listen"),
        ("reconnect_s = 7 ", "AIRWAVE__INGEST__RECONNECT_S"),
    ] {
        let found = printed.lines().find(|l| l.starts_with(line));
        assert!(found.is_some_and(|l| l.ends_with(&format!("# {from}"))), "{line}:\n{printed}");
    }

    let wrong =
        "[http]\nlisten = 80\n[hls]\npart_ms = 1\n[nothing]\n[tls]\ncertificate = \"a.pem\"\n";
    std::fs::write(&file, wrong).unwrap();
    let (code, output) = run(&["config", "check", "--config", name]);
    assert_eq!(code, 2, "{output}");
    for key in ["http.listen: ", "hls.part_ms: ", "nothing: no such section", "tls.key: "] {
        assert!(output.contains(key) && output.contains(name), "{key} in {output}");
    }
    std::fs::write(&file, "[tls]\ncertificate = \"/no.pem\"\nkey = \"/no.key\"\n").unwrap();
    let (code, output) = run(&["config", "check", "--config", name]);
    assert_eq!(code, 2, "{output}");
    assert!(output.contains("tls.certificate: can't read /no.pem"), "{output}");

    // Files that it names, all at once; and whoever starts with it is told the same.
    let files = "[tls]\ncertificate = \"/no.pem\"\nkey = \"/no.key\"\n[access]\n\
        country_database = \"/no.mmdb\"\n[acme]\nauthority = \"/no-root.pem\"\n";
    std::fs::write(&file, files).unwrap();
    let data = folder.path().join("data");
    let serve = ["serve", "--data", data.to_str().unwrap()];
    for command in [&["config", "check"][..], &serve] {
        let (code, output) = run(&[command, &["--config", name]].concat());
        assert_eq!(code, 2, "{output}");
        for (key, file) in [
            ("tls.certificate", "/no.pem"),
            ("access.country_database", "/no.mmdb"),
            ("acme.authority", "/no-root.pem"),
        ] {
            let line =
                output.lines().find(|line| line.contains(&format!("configuration: {key}: ")));
            assert!(
                line.is_some_and(|l| l.contains(file) && l.contains(name)),
                "{key} in {output}"
            );
        }
    }
    assert!(!data.exists(), "nothing was begun");
}

/// Asks for a reload and waits until the log says that it is over.
pub(crate) fn reload(server: &mut Server, text: &str, file: &Path, expect: &str) -> String {
    std::fs::write(file, text).unwrap();
    let before = server.child().output().len();
    server.child().signal("HUP");
    wait_until("the reload", 10, || {
        let log = server.child().output()[before..].to_owned();
        log.contains(expect).then_some(log)
    })
}

#[test]
fn a_hangup_reloads_what_it_can_and_says_what_needs_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pair = |n: usize| {
        let server = Server::start(AIRWAVE, &[]);
        for (from, to) in [("self-signed.pem", "certificate"), ("self-signed.key", "key")] {
            std::fs::copy(server.data().join(from), at(&format!("{n}.{to}"))).unwrap();
        }
    };
    pair(1);
    pair(2);
    let install = |n: usize| {
        for name in ["certificate", "key"] {
            std::fs::copy(at(&format!("{n}.{name}")), at(name)).unwrap();
        }
    };
    install(1);
    let config = at("airwave.toml");
    let text = |more: &str| {
        let (certificate, key) = (at("certificate"), at("key"));
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{more}")
    };
    std::fs::write(&config, text("")).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let mut server = Server::start_with(AIRWAVE, &at("data"), &[], &arguments);

    let clip = Clip::make(&ClipSpec::plain("tiny", 1));
    let trusted = |server: &Server, n: usize| {
        let url = format!("rtmps://{}/live/wrong", server.addresses["rtmps"].as_str().unwrap());
        let certificate = at(&format!("{n}.certificate"));
        let mut command = Command::new(AIRWAVE);
        command.arg("publish").arg(clip.path()).args(["--to", &url, "--ca"]).arg(certificate);
        let mut program = Child::start(&mut command);
        program.wait(20);
        let output = program.output();
        assert!(output.contains("refused") || output.contains("TLS"), "{output}");
        !output.contains("TLS")
    };
    assert_eq!((trusted(&server, 1), trusted(&server, 2)), (true, false));

    // A renewed certificate has its old name: nothing else changes.
    install(2);
    reload(&mut server, &text(""), &config, "configuration reloaded changed=\"none\"");
    assert_eq!((trusted(&server, 1), trusted(&server, 2)), (false, true));

    // Wrong in any key: refused as a whole.
    install(1);
    let wrong = text("[ingest]\ntakeover = \"first\"\nreconnect_s = -1\n[nothing]\n");
    let log = reload(&mut server, &wrong, &config, "no such section");
    assert!(log.contains("ingest.reconnect_s") && log.contains("nothing was changed"), "{log}");
    assert_eq!((trusted(&server, 1), trusted(&server, 2)), (false, true));
    let wrong = text("[ingest]\ntakeover = \"first\"\n").replace("certificate\"", "missing\"");
    reload(&mut server, &wrong, &config, "nothing was changed");

    // Files that change while they are read: the second time they are good and the third time not.
    let names = ["certificate", "key"].map(at);
    for name in &names {
        std::fs::remove_file(name).unwrap();
        assert!(Command::new("mkfifo").arg(name).status().unwrap().success());
    }
    let contents = |n: usize| {
        ["certificate", "key"].map(|name| std::fs::read(at(&format!("{n}.{name}"))).unwrap())
    };
    let (good, feed) = (contents(1), names.clone());
    std::thread::spawn(move || {
        for round in 0.. {
            for (name, good) in feed.iter().zip(&good) {
                // Opened when it is opened to be read.
                let content = if round < 2 { &good[..] } else { b"none" };
                let opened = std::fs::OpenOptions::new().write(true).open(name);
                if opened.and_then(|mut file| file.write_all(content)).is_err() {
                    return;
                }
            }
        }
    });
    reload(&mut server, &text(""), &config, "nothing was changed");
    assert_eq!((trusted(&server, 1), trusted(&server, 2)), (false, true));
    names.iter().for_each(|name| std::fs::remove_file(name).unwrap());
    install(1);

    let input = server.input();
    let encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    let long = Clip::make(&ClipSpec::plain("plain", 12));
    let second = long.publish(&input.rtmp, -1);
    let mut encoder = encoder;
    wait_until("the take-over: still the old configuration", 20, || encoder.ended());

    // What can follows at once, the rest is named.
    let new =
        text("[ingest]\ntakeover = \"first\"\n[log]\nlevel = \"debug\"\n[limits]\ncache_mb = 64\n");
    let log = reload(&mut server, &new, &config, "need a restart");
    assert!(log.contains("changed=\"ingest.takeover, log.level\""), "{log}");
    assert!(log.contains("keys=\"limits.cache_mb\""), "{log}");
    let noted = wait_until("the audit log", 10, || {
        let log = server.api("GET", "/audit_logs?action.type=reload", None).json();
        log["result"].as_array().filter(|log| log.len() == 1).map(|log| log[0].clone())
    });
    let fields = json!(["ingest.takeover", "limits.cache_mb", "log.level"]);
    assert_eq!(
        (&noted["interface"], &noted["metadata"]["fields"]),
        (&json!("configuration"), &fields)
    );
    // A change that waits for its restart is named until it is there or taken back.
    let log = reload(&mut server, &new, &config, "need a restart");
    assert!(log.contains("changed=\"none\"") && log.contains("keys=\"limits.cache_mb\""), "{log}");
    let back = new.replace("cache_mb = 64", "cache_mb = 0");
    let log = reload(&mut server, &back, &config, "configuration reloaded");
    assert!(!log.contains("need a restart") && log.contains("changed=\"none\""), "{log}");
    let mut third = clip.publish(&input.rtmp, -1);
    assert!(!third.wait(20).success(), "the first one stays now");
    drop(second);
    // What is no HTTP is worth a line at this level only.
    let mut socket = TcpStream::connect(server.addresses["http"].as_str().unwrap()).unwrap();
    socket.write_all(b"nonsense\r\n\r\n").unwrap();
    wait_until("a line of the new level", 10, || {
        server.child().output().contains("DEBUG").then_some(())
    });
}
