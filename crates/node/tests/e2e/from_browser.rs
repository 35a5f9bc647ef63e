//! What a browser broadcasts from the page `/publish`.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use media::properties::{TIMESCALE, TIMESTAMP, Value as Property, pairs};
use serde_json::{Value, json};
use spine::{Objects, Patience, Policy, Read, Start};
use testkit::{
    Clip, ClipSpec, Follower, Server, change_devices, decode_errors, packets, publish_from_page,
    published, skip, wait_until,
};

use crate::AIRWAVE;
use crate::browser::{errors, over_moq};
use crate::moq_program::address;

/// The page makes a key frame each two seconds by itself.
const KEY_FRAMES_EVERY_S: f64 = 2.0;

#[test]
fn a_page_broadcasts_its_camera_and_its_microphone() {
    if !skip("browser") {
        broadcasts("avc1", &[]);
    }
}

/// Of a browser that can encode no H.264.
#[test]
fn a_page_broadcasts_in_vp9() {
    if !skip("browser") {
        broadcasts("vp09", &["--codec", "vp09"]);
    }
}

fn broadcasts(codec: &str, how: &[&str]) {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let url = server.url("/").to_string();
    let page = publish_from_page(url.trim_end_matches('/'), (&input.uid, &input.key), 5, how);
    let video = server.wait_live(&input);
    let steps = group_steps(&server, &input.uid, 4);
    assert!(
        steps.iter().skip(1).all(|step| *step < KEY_FRAMES_EVERY_S),
        "the encoder makes a key frame when a viewer asks for one: {steps:?}"
    );

    // All of it over HLS, to its end.
    let folder = tempfile::tempdir().unwrap();
    let follow = |track: &str| {
        let path = format!("/{video}/manifest/{track}.cmaf.m3u8");
        wait_until("a playlist", 20, || (server.get(&path).status == 200).then_some(()));
        let mut follower = Follower::new(server.url(&path));
        while !follower.reload().ended {}
        let file = folder.path().join(format!("{track}.mp4"));
        let map = follower.inits.keys().next().unwrap();
        std::fs::write(&file, follower.file(map)).unwrap();
        file
    };
    let follow = &follow;
    let [pictures, sound] = std::thread::scope(|scope| {
        ["video", "audio"]
            .map(|track| scope.spawn(move || follow(track)))
            .map(|f| f.join().unwrap())
    });
    for file in [&pictures, &sound] {
        // A camera has no constant rate; ffmpeg's writer, which has one, says so.
        let errors = decode_errors(file);
        let errors: Vec<&str> = errors.lines().filter(|line| !line.contains("monoton")).collect();
        assert_eq!(errors, [""; 0], "ffmpeg decodes what Chromium encoded");
    }
    let (pictures, sound) = (packets(&pictures, 'v'), packets(&sound, 'a'));
    let seconds = |from: i64, to: i64| (to - from) as f64 / 1e6;
    let [first, last] = [pictures.first(), pictures.last()].map(|p| p.unwrap().present_us);
    let [first_sound, last_sound] = [sound.first(), sound.last()].map(|p| p.unwrap().present_us);
    let apart = (seconds(first, first_sound), seconds(last, last_sound));
    eprintln!(
        "sound begins and ends {apart:?} s behind the picture, groups begin after {steps:?} s"
    );
    // A machine that is busy encodes a few pictures a second.
    assert!(apart.0.abs() < 2.0 && apart.1.abs() < 2.0, "{apart:?}");
    let lasts = seconds(first_sound, last_sound);
    assert!(sound.len() as f64 * 0.02 > 0.9 * lasts, "{} packets in {lasts} s", sound.len());

    let seen = published(page);
    for list in ["violations", "errors"] {
        assert_eq!(seen[list], json!([]), "{seen}");
    }
    assert_eq!((&seen["narrow"], &seen["keyInAddress"]), (&true.into(), &false.into()), "{seen}");
    assert!(seen["line"].as_str().unwrap().contains(codec), "{seen}");
    let watched = &seen["watched"];
    assert!(over_moq(&watched["mode"]), "{seen}");
    assert_eq!(watched["width"], 1280, "{seen}");
    let (shown, pictures) = (watched["framesShown"].as_u64().unwrap() as usize, pictures.len());
    assert!(pictures >= shown && shown >= 100, "{pictures} pictures, {shown} shown: {seen}");
}

/// A viewer over MoQ who asks for a new group of the picture whenever one has begun: the time from each to the next, in seconds.
fn group_steps(server: &Server, uid: &str, count: usize) -> Vec<f64> {
    use io_moq::client::{Client, Trust};
    let address = client::address::MoqAddress::parse(&address(server, "", uid)).unwrap();
    let namespace = address.namespace.clone().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let origin = spine::Origin::new(spine::Limits::default());
        let connected = Client::connect(&address.server, Trust::Anybody, origin).await;
        let mut client = connected.map_err(|error| error.to_string()).unwrap();
        let remote = client.handle().remote(namespace).unwrap();
        let work = async {
            let subscribed = remote.subscribe("video", moqt::Filter::NextGroup).await;
            let subscribed = subscribed.map_err(|denial| denial.to_string()).unwrap();
            let track = &subscribed.track;
            let timescale = number(&track.info().properties, TIMESCALE).expect("a picture has one");
            let from = spine::Filter::from(Start::At(spine::Location { group: 0, object: 0 }));
            let wait = Duration::from_secs(10);
            let patience = Patience { missing: wait, stalled: wait };
            let mut objects =
                Objects::in_order(track.subscribe(from, Policy::EVERYTHING), patience);
            let mut begun: Vec<(u64, f64)> = Vec::new();
            while begun.len() <= count {
                let next = poll_fn(|cx| objects.poll(cx, Instant::now())).await;
                let Read::Object { group, header, .. } = next else { continue };
                if begun.last().is_some_and(|(last, _)| *last == group) {
                    continue;
                }
                let time = number(&header.properties, TIMESTAMP).expect("a picture has a time");
                begun.push((group, time / timescale));
                track.request_group(group);
            }
            begun.windows(2).map(|pair| pair[1].1 - pair[0].1).collect()
        };
        let work = tokio::time::timeout(Duration::from_secs(120), work);
        tokio::select! {
            steps = work => steps.expect("groups come"),
            over = client.run() => panic!("{}", over.reason()),
        }
    })
}

fn number(properties: &[u8], of: u64) -> Option<f64> {
    pairs(properties).find_map(|pair| match pair {
        Ok((kind, Property::Number(number))) if kind == of => Some(number as f64),
        _ => None,
    })
}

/// Its first sound comes long after its first picture and is of 44.1 kHz; then it goes, and comes again. Its screen is not shown any more,
/// its camera and its microphone are unplugged, and its network is gone for a while; in the end another encoder takes its place.
#[test]
fn a_page_broadcasts_other_devices_while_it_is_live() {
    if skip("browser") {
        return;
    }
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let url = server.url("/").to_string();
    let page = change_devices(url.trim_end_matches('/'), &input.uid, &input.key);
    wait_until("the page to have seen all the rest", 400, || {
        let output = page.output();
        let waits = output.contains("waits for another encoder");
        (waits || output.contains("Error")).then_some(())
    });
    let mut encoder = clip.publish(&input.rtmp, -1);
    let seen = published(page);
    let steps = seen["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 9, "{seen}");
    for step in steps {
        for viewer in ["Real time", "MoQ"] {
            let (mode, name) = (&step[viewer], &step["step"]);
            assert!(over_moq(mode), "{name}: who watches in {viewer}: {mode}: {seen}");
        }
        let is_unplugged = step["step"] == "the microphone is unplugged";
        let words = if is_unplugged { "The microphone is gone" } else { "" };
        assert_eq!(step["error"], words, "{seen}");
        let is_camera = step["line"].as_str().unwrap().contains("320×180");
        assert_eq!(is_camera, step["step"] != "a screen", "{seen}");
    }
    let not_shared = &seen["notShared"];
    assert!(words_of(not_shared).starts_with("The screen is not shown any more"), "{seen}");
    assert_eq!(not_shared["live"], true, "{seen}");
    let taken = &seen["takenOver"];
    assert_eq!(words_of(taken), "another encoder has taken over this input", "{seen}");
    assert_eq!((&taken["live"], &taken["button"]), (&false.into(), &"Go live".into()), "{seen}");
    assert!(encoder.ended().is_none(), "it stays on: {}", encoder.output());
    assert_eq!(errors(&seen), [""; 0], "{seen}");
}

fn words_of(state: &Value) -> &str {
    state["error"].as_str().unwrap()
}
