//! `airwave trace`: a frame on its way to a viewer over MoQ, and what was written down of the viewer's session.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Child, Clip, ClipSpec, Server, wait_until};

use crate::AIRWAVE;

fn trace(arguments: &[&str]) -> (i32, String) {
    let mut child = Child::start(Command::new(AIRWAVE).arg("trace").args(arguments));
    let status = child.wait(40);
    (status.code().unwrap_or(-1), child.output())
}

fn watch(server: &Server, more: &[&str]) -> Child {
    let address = format!("moqt://{}/", server.addresses["quic"].as_str().unwrap());
    let mut command = Command::new(AIRWAVE);
    Child::start(command.args(["watch", &address, "--insecure"]).args(more))
}

fn logs(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    files.map(|file| file.unwrap().path()).collect()
}

/// Flips `moq.qlog_dir` and `moq.qlog_peers`.
#[test]
fn a_frame_is_followed_to_its_viewer_and_his_session_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let (mine, nobodys) = (folder.path().join("mine"), folder.path().join("nobodys"));
    let to = |folder: &Path| format!("moq.qlog_dir={}", folder.display());
    let server = Server::start(AIRWAVE, &[&to(&mine), r#"moq.qlog_peers=["127.0.0.1"]"#]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    let mut viewer = watch(&server, &[]);
    let list = |what: &str| {
        let path = format!("/moq/{what}?uid={}", input.uid);
        server.api("GET", &path, None).json()["result"].clone()
    };
    let has =
        |track: &Value, name: &str| track["track"] == name && track["objects"].as_u64() > Some(0);
    let told = wait_until("a subscription that is served", 20, || {
        let told = list("sessions")[0].clone();
        told["tracks"].as_array()?.iter().any(|t| has(t, "video.cmaf")).then_some(told)
    });
    assert_eq!(told["transport"], "quic", "{told}");
    let tracks = list("tracks");
    let video = tracks.as_array().unwrap().iter().find(|track| track["track"] == "video.cmaf");
    assert_eq!(video.unwrap()["subscribers"], 1, "{tracks}");
    assert_eq!(video.unwrap()["namespace"], json!(["default", input.uid]));

    let admin = format!("admin.listen={}", server.addresses["admin"].as_str().unwrap());
    // It waits a second and a half for viewers: where they are served later than that, the next one.
    wait_until("a frame that was followed all the way", 60, || {
        let (code, way) = trace(&[&input.uid, "--set", &admin]);
        assert_eq!(code, 0, "{way}");
        let all =
            ["first byte came in", "its part was made: video.cmaf", "sent over MoQ to 127.0.0.1:"];
        all.iter().all(|words| way.contains(words)).then_some(())
    });
    let (code, words) = trace(&["00c0ffee00c0ffee00c0ffee00c0ffee", "--set", &admin]);
    assert!(code == 1 && words.contains("not on the air"), "{code} {words}");

    viewer.signal("INT");
    viewer.wait(10);
    let log = wait_until("the end of the log", 20, || {
        let [log] = &logs(&mine)[..] else { return None };
        let (code, told) = trace(&[log.to_str().unwrap()]);
        (code == 0 && told.contains("closed by the peer")).then_some(told)
    });
    for words in ["< SUBSCRIBE ", "> SUBSCRIBE_OK", "ms old", "age when sent", "round trip"] {
        assert!(log.contains(words), "{words} in {log}");
    }

    let others = Server::start(AIRWAVE, &[&to(&nobodys), r#"moq.qlog_peers=["192.0.2.1"]"#]);
    let viewer = watch(&others, &["--for", "30"]);
    wait_until("the session", 10, || (others.metric("moq_sessions_total") > 0).then_some(()));
    drop(viewer);
    wait_until("its end", 20, || (others.metric("moq_sessions_open") == 0).then_some(()));
    assert_eq!(logs(&nobodys).len(), 0, "of others nothing is written");
}
