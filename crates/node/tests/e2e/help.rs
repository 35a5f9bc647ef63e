//! What a person reads, as snapshots: `AIRWAVE_WRITE_SNAPSHOTS=1` writes them anew.

use std::path::Path;
use std::process::Command;

use testkit::Child;

use crate::AIRWAVE;

fn output(arguments: &[&str]) -> String {
    let mut child = Child::start(Command::new(AIRWAVE).args(arguments));
    child.wait(20);
    child.output()
}

/// Compares with `tests/snapshots/NAME`.
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("AIRWAVE_WRITE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expect = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = text.lines().zip(expect.lines()).find(|(got, want)| got != want);
    assert!(text == expect, "{name} differs, first at {differs:?}; the whole:\n{text}");
}

#[test]
fn every_help() {
    let commands: [&[&str]; 17] = [
        &[],
        &["serve"],
        &["publish"],
        &["watch"],
        &["trace"],
        &["config"],
        &["config", "init"],
        &["config", "print"],
        &["config", "check"],
        &["token"],
        &["token", "create"],
        &["token", "list"],
        &["token", "revoke"],
        &["audit"],
        &["backup"],
        &["restore"],
        &["version"],
    ];
    let mut text = String::new();
    for command in commands {
        let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let help = output(&arguments);
        let wide = help.lines().find(|line| line.chars().count() > 110);
        assert_eq!(wide, None, "wider than a terminal");
        text.push_str(&format!("$ airwave {}\n{help}\n", arguments.join(" ")));
    }
    check("help.txt", &text);
}

#[test]
fn errors_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("airwave.toml");
    let wrong = "\
[http]
listen = \"localhost:80\"
port = 80
[hls]
part_ms = 5
segment_ms = \"two\"
[ingest]
takeover = \"maybe\"
[tls]
certificate = \"a.pem\"
[admin]
listen = \"[::]:1935\"
[log]
level = \"inof\"
[nothing]
";
    std::fs::write(&file, wrong).unwrap();
    let name = file.to_str().unwrap();
    let said = output(&["config", "check", "--config", name, "--set", "hls.part_ms"]);
    check("config-errors.txt", &said.replace(name, "airwave.toml"));
    std::fs::write(&file, "[http\n").unwrap();
    let said = output(&["serve", "--config", name]);
    check("config-syntax.txt", &said.replace(name, "airwave.toml"));
}
