//! Thumbnails, films and storyboards: what is on them is read off the pictures, whose frame number stands in their corner.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use testkit::{
    Child, Clip, ClipSpec, Input, Response, Server, request, skip, use_player, wait_until,
};

use crate::AIRWAVE;
use crate::access::{locked, token};

/// Pictures in grey, as ffmpeg decodes a file of this size.
struct Pictures {
    width: usize,
    frames: Vec<Vec<u8>>,
}

impl Pictures {
    fn of(file: &[u8], (width, height): (usize, usize)) -> Self {
        // ffmpeg reads GIFs from a pipe with complaints.
        let mut picture = tempfile::NamedTempFile::new().unwrap();
        picture.write_all(file).unwrap();
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-i"]).arg(picture.path());
        command.args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]);
        let output = command.output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && words.is_empty(), "{words}");
        let bytes = output.stdout;
        assert!(!bytes.is_empty() && bytes.len().is_multiple_of(width * height), "{}", bytes.len());
        Self { width, frames: bytes.chunks(width * height).map(<[u8]>::to_vec).collect() }
    }

    /// The number in the corner of a picture that begins here and is so much smaller than the source (testkit: `counted`).
    fn number(&self, frame: usize, (left, top): (usize, usize), scale: f64) -> u32 {
        let at = |n: f64| (n * scale) as usize;
        (0..20).fold(0, |number, square| {
            let (x, y) = (left + at(f64::from(square) * 16.0 + 8.0), top + at(8.0));
            number << 1 | u32::from(self.frames[frame][y * self.width + x] > 128)
        })
    }
}

/// The frame that a thumbnail in the source's own size shows.
fn frame_of(answer: &Response) -> u32 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "image/jpeg");
    Pictures::of(&answer.body, (320, 180)).number(0, (0, 0), 1.0)
}

fn thumbnail(server: &Server, id: &str, query: &str) -> Response {
    server.get(&format!("/{id}/thumbnails/thumbnail.jpg?{query}"))
}

const ON: &str = "encode.pictures=true";

/// A broadcast of 12 s, recorded: 360 frames, key frames every two seconds. And another one, on the air for as long as `live`
/// takes to look at it.
fn recorded(server: &Server, live: impl FnOnce(&Input)) -> (Input, String) {
    assert!(
        Path::new(AIRWAVE).with_file_name("airwave-encode").is_file(),
        "cargo build -p encoder"
    );
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let on_air = server.input();
    let live_publisher = clip.publish(&on_air.rtmp, -1);
    server.wait_live(&on_air);
    live(&on_air);
    drop(live_publisher);
    let input = server.input();
    let mut publisher = clip.publish_at(4.0, &input.rtmp, 1);
    let video = server.wait_video(&input, &[]);
    assert!(publisher.wait(30).success(), "{}", publisher.output());
    server.wait_ready(&video);
    (input, video)
}

#[test]
fn thumbnails_show_the_frame_that_was_asked_for() {
    let server = Server::start(AIRWAVE, &[ON]);
    let (input, video) = recorded(&server, |input| {
        let poster = wait_until("a poster", 30, || {
            Some(thumbnail(&server, &input.uid, "")).filter(|answer| answer.status == 200)
        });
        assert_eq!(frame_of(&poster) % 60, 0, "a key frame");
        assert_eq!(poster.headers["cache-control"], "public, max-age=5");
        assert_eq!(server.lifecycle(&input.uid)["thumbnails"], true);
        let address = server.get("/live.json").json()["broadcasts"][0]["thumbnail"].clone();
        let listed = server.get(address.as_str().unwrap());
        assert_eq!((listed.status, &*listed.headers["content-type"]), (200, "image/jpeg"));
        let head = server.get(&format!("/{}/watch", input.uid)).text();
        let image = format!("/{}/thumbnails/thumbnail.jpg?width=1280&amp;height=720", input.uid);
        assert!(head.contains(&image), "{head}");
    });
    for (time, frame) in
        [("0", 0), ("0.5s", 15), ("2s", 60), ("3.3", 99), ("7.9", 237), ("11.9", 357)]
    {
        let found = frame_of(&thumbnail(&server, &video, &format!("time={time}")));
        assert!(found.abs_diff(frame) <= 1, "{time}: {found}");
    }
    let picture = thumbnail(&server, &video, "time=3.3");
    assert_eq!(picture.headers["cache-control"], "public, max-age=3600");
    let url = server.url(&format!("/{video}/thumbnails/thumbnail.jpg?time=3.3"));
    let again = request("GET", &url, &[("if-none-match", &picture.headers["etag"])], b"");
    assert_eq!(again.status, 304);
    for (query, size) in [
        ("width=160", (160, 90)),
        ("height=90", (160, 90)),
        ("width=100&height=100", (100, 100)),
        ("width=101&height=33&fit=scale", (101, 33)),
        ("width=100&height=100&fit=fill", (100, 100)),
        ("width=100&height=100&fit=clip", (100, 56)),
        ("width=1000&height=1000&fit=clip", (320, 180)),
    ] {
        // The number of this one has white squares in the middle.
        let answer = thumbnail(&server, &video, &format!("time=5&{query}"));
        assert_eq!(answer.status, 200, "{query}");
        let pictures = Pictures::of(&answer.body, size);
        assert_eq!(pictures.frames.len(), 1, "{query}");
        let bars = pictures.frames[0][..size.0].iter().all(|light| *light < 24);
        assert_eq!(bars, query.ends_with("fill"), "{query}: black above");
    }
    for (query, status) in
        [("time=12.1", 404), ("time=x", 400), ("width=9999", 400), ("fit=x", 400)]
    {
        assert_eq!(thumbnail(&server, &video, query).status, status, "{query}");
    }
    assert_eq!(server.get(&format!("/{video}/thumbnails/thumbnail.png")).status, 404);
    assert_eq!(thumbnail(&server, &input.uid, "").status, 404, "the input is off the air");
    assert_eq!(server.lifecycle(&input.uid)["thumbnails"], true, "its recording has pictures");
    check_fields(&server, &video);
    // Many who ask for one picture get one picture.
    let made = server.metric("pictures_made_total");
    let answers: Vec<Response> = std::thread::scope(|scope| {
        let ask = || thumbnail(&server, &video, "time=9.9&width=200");
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|a| a.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|a| a.status == 200 && a.body == answers[0].body));
    assert_eq!(server.metric("pictures_made_total"), made + 1);
}

/// `thumbnail` and `thumbnailTimestampPct` of the API say what is so.
fn check_fields(server: &Server, video: &str) {
    let path = format!("/stream/{video}");
    let fields = server.api("GET", &path, None).json()["result"].clone();
    let address = fields["thumbnail"].as_str().unwrap();
    let (_, path_of_it) = address.split_once("://").unwrap().1.split_once('/').unwrap();
    let first = server.get(&format!("/{path_of_it}"));
    assert_eq!(frame_of(&first), 0, "thumbnailTimestampPct is {}", fields["thumbnailTimestampPct"]);
    assert_eq!(first.headers["cache-control"], "public, max-age=60");
    for (share, frame) in [(0.5, 180), (1.0, 357)] {
        let body = json!({ "thumbnailTimestampPct": share });
        assert_eq!(server.api("POST", &path, Some(&body)).status, 200);
        let found = frame_of(&thumbnail(server, video, ""));
        assert!(found.abs_diff(frame) <= 4, "{share}: {found}");
    }
}

#[test]
fn a_storyboard_shows_each_time_its_picture_and_a_film_moves() {
    let server = Server::start(AIRWAVE, &[ON]);
    let (_, video) = recorded(&server, |input| {
        let board = wait_until("a storyboard of what is on the air", 30, || {
            let answer = server.get(&format!("/{}/thumbnails/storyboard.vtt", input.uid));
            Some(answer).filter(|answer| answer.text().contains("-->"))
        });
        assert_eq!(board.headers["cache-control"], "max-age=0, s-maxage=1");
        check_storyboard(&server, &input.uid, &board);
    });
    let board = server.get(&format!("/{video}/thumbnails/storyboard.vtt"));
    assert_eq!(board.headers["content-type"], "text/vtt; charset=utf-8");
    assert_eq!(check_storyboard(&server, &video, &board), 6, "one for each segment");
    let film = server.get(&format!("/{video}/thumbnails/thumbnail.gif?time=1s&duration=4s&fps=5"));
    assert_eq!(
        (film.status, &*film.headers["content-type"]),
        (200, "image/gif"),
        "{}",
        film.text()
    );
    let pictures = Pictures::of(&film.body, (320, 180));
    assert_eq!(pictures.frames.len(), 20);
    for (n, expected) in (0..).zip((30..).step_by(6)).take(20) {
        let found = pictures.number(n, (0, 0), 1.0);
        assert!(found.abs_diff(expected) <= 1, "picture {n} is frame {found}");
    }
}

/// Every cue's tile shows the frame of its time; answers how many there are.
fn check_storyboard(server: &Server, id: &str, board: &Response) -> usize {
    let text = board.text();
    let mut cues = 0;
    for block in text.split("\n\n").skip(1) {
        let lines: Vec<&str> = block.lines().collect();
        let [_, time, place] = lines[..] else { panic!("{text}") };
        let (begin, _) = time.split_once(" --> ").unwrap();
        let seconds: u32 = begin[6..8].parse().unwrap();
        let (sheet, tile) = place.split_once("#xywh=").unwrap();
        let numbers: Vec<usize> = tile.split(',').map(|n| n.parse().unwrap()).collect();
        let [left, top, 192, 108] = numbers[..] else { panic!("{text}") };
        let answer = server.get(&format!("/{id}/thumbnails/{sheet}"));
        assert_eq!(answer.status, 200, "{sheet}: {}", answer.text());
        assert_eq!(answer.headers["cache-control"], "public, max-age=31536000, immutable");
        let pictures = Pictures::of(&answer.body, (960, 540));
        let found = pictures.number(0, (left, top), 0.6);
        assert_eq!(found, seconds * 30, "{block}");
        cues += 1;
    }
    cues
}

#[test]
fn pictures_of_what_is_locked_are_for_those_who_are_let_in() {
    let server = Server::start(AIRWAVE, &[ON]);
    let (input, video, _encoder) = locked(&server);
    for id in [&input.uid, &video] {
        for file in ["thumbnail.jpg", "thumbnail.gif", "storyboard.vtt", "sheet-1-1-1.jpg"] {
            let answer = server.get(&format!("/{id}/thumbnails/{file}"));
            assert_eq!(answer.status, 401, "{file}: {}", answer.text());
        }
    }
    let token = token(&server, &input.uid, &json!({}));
    let answer = wait_until("a poster", 30, || {
        Some(thumbnail(&server, &token, "")).filter(|answer| answer.status == 200)
    });
    assert_eq!(answer.headers["cache-control"], "private, max-age=5");
}

/// There is nothing to see: neither while it is on the air nor in its recording.
#[test]
fn sound_alone_has_no_pictures_and_nothing_points_to_any() {
    let server = Server::start(AIRWAVE, &[ON]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-readrate", "2", "-i"]).arg(clip.path());
    command.args(["-vn", "-c", "copy", "-f", "flv", &input.rtmp]);
    let mut publisher = Child::start(&mut command);
    let video = server.wait_live(&input);
    wait_until("a list", 30, || {
        Some(server.get(&format!("/{video}/manifest/video.m3u8"))).filter(|list| list.status == 200)
    });
    let check = |id: &str, when: &str| {
        assert_eq!(server.lifecycle(id)["thumbnails"], false, "{when}");
        assert_eq!(thumbnail(&server, &video, "").status, 404, "{when}");
        let head = server.get(&format!("/{id}/watch")).text();
        assert!(!head.contains("thumbnails"), "{when}: {head}");
    };
    check(&input.uid, "live");
    check(&video, "live, by its video");
    assert_eq!(server.get("/live.json").json()["broadcasts"][0]["thumbnail"], json!(null));
    assert!(publisher.wait(30).success(), "{}", publisher.output());
    server.wait_ready(&video);
    check(&video, "recorded");
    check(&input.uid, "off the air");
    let fields = server.api("GET", &format!("/stream/{video}"), None).json();
    assert_eq!(fields["result"].get("thumbnail"), None);
}

/// Flips `encode.pictures`.
#[test]
fn without_pictures_or_a_program_it_is_said_and_nothing_points_to_them() {
    for settings in [
        vec!["encode.pictures=false", "encode.ladder=[\"96p\"]"],
        vec![ON, "encode.program=/nowhere/airwave-encode"],
    ] {
        let server = Server::start(AIRWAVE, &settings);
        let input = server.input();
        let _publisher = Clip::make(&ClipSpec::plain("plain", 12)).publish(&input.rtmp, -1);
        let video = server.wait_live(&input);
        let answer = thumbnail(&server, &video, "");
        assert_eq!(answer.status, 501, "{}", answer.text());
        assert!(answer.text().contains("airwave-encode"), "{}", answer.text());
        assert_eq!(server.lifecycle(&video)["thumbnails"], false);
        let fields = server.api("GET", &format!("/stream/{video}"), None).json();
        assert_eq!(fields["result"].get("thumbnail"), None);
        let head = server.get(&format!("/{video}/watch")).text();
        assert!(!head.contains("thumbnails"), "{head}");
    }
}

/// Above the player's bar: by pointer, finger and key, in a replay and in a broadcast that can be sought back.
#[test]
fn the_player_shows_what_is_at_the_place_that_is_looked_for_in_chromium() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &[ON]);
    let input = server.input();
    // A bar is shown from half a minute on, which comes sooner so; how evenly it plays is no matter here.
    let mut publisher = crate::browser::clip().publish_at(3.0, &input.rtmp, -1);
    let video = server.wait_live(&input);
    wait_until("a broadcast of 32 s", 90, || {
        let board = server.get(&format!("/{video}/thumbnails/storyboard.vtt")).text();
        (board.matches("-->").count() >= 16).then_some(())
    });
    let live = server.url(&format!("/{}/watch?dvrEnabled=true", input.uid)).to_string();
    check_seen(&use_player(&live, &["--seek"]));
    let seen = use_player(&live, &["--seek", "--phone"]);
    check_seen(&seen);
    assert_eq!(seen["hiddenAfterFinger"], true, "{seen}");
    publisher.terminate();
    publisher.wait(60);
    server.wait_ready(&video);
    check_seen(&use_player(&server.url(&format!("/{video}/watch")).to_string(), &["--seek"]));
}

fn check_seen(seen: &serde_json::Value) {
    assert_eq!(seen["errors"], json!([]), "{seen}");
    let tiles: Vec<_> = seen["tiles"].as_array().unwrap().iter().chain([&seen["byKey"]]).collect();
    for tile in &tiles {
        assert_eq!((&tile["width"], &tile["height"]), (&192.into(), &108.into()), "{seen}");
        assert!(tile["light"].as_f64() > Some(100.0) && tile["within"] == true, "{seen}");
    }
    assert!(tiles[0]["time"] != tiles[1]["time"], "{seen}");
}
