//! What is wrong before anything runs: ports in use, folders that can't be written, configuration. Each is told in words
//! that name what to change, and nothing is lost by trying.

use std::fs::{self, Permissions};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Child, Server};

use crate::AIRWAVE;

const PORTS: [&str; 5] = ["http", "https", "rtmp", "rtmps", "admin"];

/// `airwave serve` on free ports, with these arguments besides.
fn serve(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("serve");
    for port in PORTS {
        command.args(["--set", &format!("{port}.listen=127.0.0.1:0")]);
    }
    command.args(["--set", "quic.listen=127.0.0.1:0"]).args(arguments);
    command
}

/// Its exit code and its words.
fn fails(command: &mut Command) -> (i32, String) {
    let mut child = Child::start(command);
    let status = child.wait(20);
    (status.code().unwrap_or(-1), child.output())
}

#[test]
fn a_port_in_use_is_told_for_each_listener() {
    let taken = (TcpListener::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0"));
    let taken = (taken.0.unwrap(), taken.1.unwrap());
    let [tcp, udp] = [taken.0.local_addr(), taken.1.local_addr()].map(|at| at.unwrap().to_string());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (port, address) in PORTS.map(|port| (port, &tcp)).into_iter().chain([("quic", &udp)]) {
        let setting = format!("{port}.listen={address}");
        let arguments = ["--data", data.to_str().unwrap(), "--set", &setting];
        let (code, output) = fails(&mut serve(Path::new(AIRWAVE), &arguments));
        assert_eq!(code, 1, "{output}");
        // `make run` takes no flags.
        let variable = format!("AIRWAVE__{}__LISTEN=", port.to_uppercase());
        for words in [address, &format!("--set {port}.listen="), &variable] {
            assert!(output.contains(words.as_str()), "{words} in {output}");
        }
    }
    // What the attempts made is of use.
    let server = Server::start_in(AIRWAVE, &data, &[]);
    server.input();
}

/// Every file below a folder, with its bytes.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Gives all of it to `owner` with this write permission.
fn hand_over(folder: &Path, owner: Option<u32>, writable: bool) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            hand_over(&path, owner, writable);
        } else {
            chown(&path, owner, owner).unwrap();
            fs::set_permissions(
                &path,
                Permissions::from_mode(if writable { 0o600 } else { 0o400 }),
            )
            .unwrap();
        }
    }
    chown(folder, owner, owner).unwrap();
    fs::set_permissions(folder, Permissions::from_mode(if writable { 0o700 } else { 0o500 }))
        .unwrap();
}

#[test]
fn a_read_only_data_directory_is_told_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let data = folder.path().join("data");
    let input = Server::start_in(AIRWAVE, &data, &[]).input();

    // Root may write everywhere: then somebody else must try, and a program that this somebody can read.
    let this = Command::new("id").arg("-u").output().unwrap().stdout;
    let this: u32 = String::from_utf8(this).unwrap().trim().parse().unwrap();
    let nobody = (this == 0).then_some(65_534);
    let program = folder.path().join("airwave");
    fs::copy(AIRWAVE, &program).unwrap();
    hand_over(&data, nobody, false);
    let before = content(&data);
    let run = |data: &Path| {
        let mut command = serve(&program, &["--data", data.to_str().unwrap()]);
        if let Some(nobody) = nobody {
            command.uid(nobody).gid(nobody);
        }
        fails(&mut command)
    };
    let (code, output) = run(&data);
    assert_eq!(code, 1, "{output}");
    for words in [data.to_str().unwrap(), "ermission denied"] {
        assert!(output.contains(words), "{words} in {output}");
    }
    assert!(content(&data) == before, "nothing was changed");
    // Where it can't even be made.
    let (code, output) = run(&data.join("below"));
    assert_eq!((code, output.contains("can't make the data directory")), (1, true), "{output}");

    hand_over(&data, Some(this), true);
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let there = server.api("GET", &format!("/stream/live_inputs/{}", input.uid), None);
    assert_eq!(there.status, 200, "nothing was lost: {}", there.text());
}

#[test]
fn wrong_files_are_told_with_their_names_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (text, words) in [
        (&b"[http\n"[..], "airwave.toml"),
        (b"\xff\xfe\x00", "can't read the file"),
        (b"http = 1", "http"),
        (b"[hls]\npart_ms = -1\nsegment_ms = \"long\"", "hls.segment_ms"),
        (b"[limits]\ncache_mb = 99999999999", "limits.cache_mb"),
        (b"[data]\ndir = []", "data.dir"),
    ] {
        let file = folder.path().join("airwave.toml");
        fs::write(&file, text).unwrap();
        let arguments = ["--data", data.to_str().unwrap(), "--config", file.to_str().unwrap()];
        let (code, output) = fails(&mut serve(Path::new(AIRWAVE), &arguments));
        assert_eq!(code, 2, "{output}");
        assert!(output.contains(words), "{words} in {output}");
        assert!(!data.exists(), "nothing was made for {words}");
    }
    let absent = folder.path().join("no-such.toml");
    let (code, output) =
        fails(&mut serve(Path::new(AIRWAVE), &["--config", absent.to_str().unwrap()]));
    assert_eq!((code, output.contains("no-such.toml")), (2, true), "{output}");
}

#[test]
fn wrong_certificates_and_folders_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let junk = folder.path().join("junk.pem");
    fs::write(&junk, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let (junk, data) = (junk.to_str().unwrap(), folder.path().join("data"));
    let absent = folder.path().join("absent.pem");
    let absent = absent.to_str().unwrap();
    for (certificate, key, words) in
        [(absent, absent, absent), (junk, junk, "junk.pem"), (junk, "", "tls.key")]
    {
        let certificate = format!("tls.certificate={certificate}");
        let key = format!("tls.key={key}");
        let arguments = ["--data", data.to_str().unwrap(), "--set", &certificate, "--set", &key];
        let (ended, output) = fails(&mut serve(Path::new(AIRWAVE), &arguments));
        assert_eq!((ended, output.contains(words)), (2, true), "{words} in {output}");
    }
    // The data directory is a file.
    let (code, output) = fails(&mut serve(Path::new(AIRWAVE), &["--data", junk]));
    assert_eq!((code, output.contains("junk.pem")), (1, true), "{output}");
}

/// Keys and tokens are in memory.
#[test]
fn a_crash_leaves_no_memory_behind() {
    let mut server = Server::start(AIRWAVE, &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child().id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}
