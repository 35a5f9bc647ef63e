//! What was locked while it was on the air is as locked when it is over, and by the link that it was watched by it is watched again.

use serde_json::json;
use testkit::{Server, request, wait_until};

use crate::AIRWAVE;
use crate::access::{clip, token, watch};

#[test]
fn who_was_let_in_on_the_air_sees_the_recording_and_nobody_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start_in(AIRWAVE, &data, &[]);
    let input = server.create_input(&json!({ "recording": { "timeoutSeconds": 1 } }));
    let mut encoder = clip().publish(&input.rtmp, -1);
    let video = server.wait_live(&input);
    wait_until("a segment", 30, || {
        let list = server.get(&format!("/{video}/manifest/video.cmaf.m3u8")).text();
        list.contains("#EXTINF").then_some(())
    });
    // In the middle of it its owner locks the input, as the dashboard does, and gives a link to a friend.
    let origins = ["good.example"];
    let lock = json!({ "recording": { "requireSignedURLs": true, "allowedOrigins": origins } });
    let path = format!("/stream/live_inputs/{}", input.uid);
    assert_eq!(server.api("PUT", &path, Some(&lock)).status, 200);
    let links = format!("/stream/{}/links", input.uid);
    let friend = server.api("POST", &links, Some(&json!({ "name": "Otto" }))).json();
    let friend = friend["result"].clone();
    let link = friend["token"].as_str().unwrap().to_owned();
    let stranger = token(&server, &server.input().uid, &json!({}));
    watch(&server, &format!("{link}.{video}")).expect("on the air, too");
    encoder.terminate();
    encoder.wait(60);
    wait_until("the recording", 60, || {
        let answer = server.api("GET", &format!("/stream/{video}"), None).json();
        (answer["result"]["readyToStream"] == true).then_some(())
    });
    let settings = server.api("GET", &format!("/stream/{video}"), None).json()["result"].clone();
    assert_eq!(settings["requireSignedURLs"], true, "{settings}");
    assert_eq!(settings["allowedOrigins"], json!(origins), "{settings}");
    wait_until("the end", 60, || {
        let seen = server.get(&format!("/{link}/lifecycle")).json();
        assert_eq!(seen["videoUID"], video.as_str(), "{seen}");
        (seen["live"] == false).then_some(())
    });
    check(&server, &link, &video, &stranger);
    drop(server);
    let server = Server::start_in(AIRWAVE, &data, &[]);
    check(&server, &link, &video, &stranger);
    // Taken back, it opens nothing any more.
    let path = format!("{links}/{}", friend["id"].as_str().unwrap());
    assert_eq!(server.api("DELETE", &path, None).status, 200);
    wait_until("the link to end", 60, || {
        let refused = watch(&server, &format!("{link}.{video}")).err();
        refused.inspect(|refused| assert_eq!(refused.status, 401, "{}", refused.text())).map(drop)
    });
}

/// `link`: of the input. `stranger`: a token for another one.
fn check(server: &Server, link: &str, video: &str, stranger: &str) {
    let files = watch(server, &format!("{link}.{video}")).expect("by the link");
    for file in &files {
        assert!(file.starts_with(&format!("/{link}.{video}/media/{video}/")), "{file}");
    }
    let nobody = "0".repeat(32);
    let refused = [
        (video.to_owned(), 401),
        (format!("{stranger}.{video}"), 403),
        (format!("{link}.{nobody}"), 403),
        (format!("a.b.c.{video}"), 401),
        (format!("{link}.{video}.{video}"), 401),
        (format!("{link}.{video}x"), 401),
        (format!(".{video}"), 401),
    ];
    for (segment, status) in refused {
        let answer = watch(server, &segment).unwrap_err();
        assert_eq!(answer.status, status, "{segment}: {}", answer.text());
        // Nor the files, with the names that the list has.
        let tail = files[1].split_once("/media/").unwrap().1;
        let answer = server.get(&format!("/{segment}/media/{tail}"));
        assert_eq!(answer.status, status, "{segment}: {}", answer.text());
    }
    for (page, status) in [("https://good.example", 200), ("https://evil.example", 403)] {
        let url = server.url(&format!("/{link}.{video}/manifest/video.m3u8"));
        assert_eq!(request("GET", &url, &[("origin", page)], b"").status, status, "{page}");
    }
}
