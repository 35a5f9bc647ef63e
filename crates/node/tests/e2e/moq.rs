//! MoQ from outside: an independent client (moq-rs over raw QUIC, in each draft) watches what an encoder
//! publishes, publishes what players watch, and talks over the relay.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{
    Child, Clip, ClipSpec, Follower, Packet, Server, decode_errors, packets, skip, wait_until,
};

use crate::AIRWAVE;

pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The independent client.
pub(crate) fn peer(server: &Server, path: &str, what: &str, rest: &[&str]) -> Child {
    let root = Path::new(ROOT);
    let library = root.join(".cache/moq-peer");
    assert!(library.is_dir(), "the MoQ client is missing: make deps-test fetches it");
    let quic = server.addresses["quic"].as_str().expect("the QUIC listener is on");
    let mut command = Command::new("python3");
    command.env("MOQ_PEER_SECONDS", (size("AIRWAVE_MOQ_SECONDS", 12) + 180).to_string());
    command.env("PYTHONPATH", library).arg(root.join("tests/moq/peer.py")).arg(what);
    command.arg(format!("moqt://{quic}/{path}")).args(rest);
    Child::start(&mut command)
}

/// The independent client, once it has begun to watch an input.
pub(crate) fn watch(server: &Server, uid: &str, folder: &Path) -> Child {
    let namespace = format!("default/{uid}");
    let viewer = peer(server, "", "watch", &[&namespace, folder.to_str().unwrap()]);
    wait_until("the viewer to have begun", 20, || {
        (viewer.output().matches("begun").count() == 3).then_some(())
    });
    viewer
}

/// The independent client says this in the chat of an input's broadcast.
pub(crate) fn chat(server: &Server, uid: &str, text: &str) -> Child {
    peer(server, "", "chat", &[&format!("default/{uid}"), text])
}

pub(crate) fn end(peer: Child) {
    assert!(kept_up(peer), "it was given up");
}

/// The same of one whom the server may have told that he is seconds behind, in the middle of a group: whether he was not.
fn kept_up(mut peer: Child) -> bool {
    let status = peer.wait(60);
    let output = peer.output();
    let behind = ["OLD", "DELIVERY_TIMEOUT"]
        .iter()
        .any(|kind| output.contains(&format!("kind=MoqProtocolKind.{kind}")));
    assert!(status.success() || behind, "{status}: {output}");
    status.success()
}

/// Where `got` begins in `source`: it goes on from there, packet by packet, and every packet is another one.
pub(crate) fn run_of(source: &[Packet], got: &[String], what: &str) -> usize {
    let from = source.iter().position(|packet| packet.hash == got[0]);
    let from = from.unwrap_or_else(|| panic!("{what}: begins with none of the source's packets"));
    let rest = &source[from..];
    assert!(got.len() <= rest.len(), "{what}: {} packets from {from} on", got.len());
    let differs = rest.iter().zip(got).position(|(s, g)| s.hash != *g);
    let there = |at: usize| source.iter().position(|packet| packet.hash == got[at]);
    let all = (got.len(), source.len());
    assert_eq!(
        differs,
        None,
        "{what}: {all:?} packets, from {from} on; then {:?}",
        differs.map(there)
    );
    from
}

pub(crate) fn hashes(packets: &[Packet]) -> Vec<String> {
    packets.iter().map(|packet| packet.hash.clone()).collect()
}

#[test]
fn an_independent_client_watches_an_encoder() {
    println!("{}", watched(18, 3));
}

/// Of three viewers two are there to the end, of two both. On a machine that was too slow for that, once more; and if it is
/// still so busy, the row says that it shows nothing.
fn watched(draft: u8, audience: usize) -> String {
    let words = watches(draft, audience).or_else(|| watches(draft, audience));
    words.unwrap_or_else(|| {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let busy: f64 = load.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert!(busy > 1.5 * cores as f64, "{load}: it is not the machine");
        format!(
            "VOID: too few of {audience} viewers kept up on {cores} cores with a load of {busy}"
        )
    })
}

/// At the same time, each with a server of its own: the client has no way to be told a draft.
#[test]
fn independent_clients_of_drafts_16_20_and_22_watch_an_encoder() {
    std::thread::scope(|scope| {
        let watched = [(16, 3), (20, 2), (22, 2)]
            .map(|(draft, viewers)| scope.spawn(move || (draft, viewers, watches(draft, viewers))));
        for of in watched {
            let (draft, viewers, words) = of.join().unwrap();
            let words = words.unwrap_or_else(|| self::watched(draft, viewers));
            println!("draft {draft}: {words}");
        }
    });
}

/// A server that speaks this draft alone: the independent client offers all that it knows.
pub(crate) fn server_of(draft: u8) -> Server {
    Server::start(AIRWAVE, &[&format!("moq.drafts=[{draft}]")])
}

/// `AIRWAVE_MOQ_SECONDS` is how long the encoder is on the air: 12 s in the gate, ten minutes in soak. One viewer is
/// there from the start, one comes near the end, and of three one in the middle. The end waits for them, however long
/// they need to begin. Each of them has every packet from where it began, one after the other: to the end or, where this
/// machine is too slow for so many, until it was told that it is seconds behind. In the soak nobody is; None: too many were.
fn watches(draft: u8, audience: usize) -> Option<String> {
    if skip("moq") {
        return Some("skipped".to_owned());
    }
    let seconds = size("AIRWAVE_MOQ_SECONDS", 12);
    let server = server_of(draft);
    let input = server.input();
    let clip =
        Clip::make(&ClipSpec { rising: true, group: 30, ..ClipSpec::plain("read", seconds + 48) });
    let mut encoder = clip.publish(&input.rtmp, 1);
    let video = server.wait_live(&input);
    let list = format!("/{video}/manifest/video.cmaf.m3u8");
    let segments = || {
        let text = server.get(&list).text();
        let number = |line: &str| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")?.parse::<u64>().ok();
        text.lines().find_map(number).unwrap_or(0) + text.matches("#EXTINF").count() as u64
    };
    wait_until("the first segment", 20, || (segments() > 0).then_some(()));
    let first_segment = segments() - 1;
    // A segment has two seconds.
    let (all, late) = (u64::from(seconds) / 2, 3);
    let comes_at = match audience {
        3 => vec![0, all / 2, all - late],
        2 => vec![0, all - late],
        _ => vec![0],
    };
    let wait = |what: &str, count: u64| {
        wait_until(what, u64::from(seconds) + 60, || {
            (segments() - first_segment >= count).then_some(())
        });
    };
    let viewers: Vec<(Child, tempfile::TempDir, u64)> = comes_at
        .iter()
        .map(|at| {
            wait("the next viewer's time", *at);
            let folder = tempfile::tempdir().unwrap();
            let viewer = watch(&server, &input.uid, folder.path());
            (viewer, folder, segments() - first_segment)
        })
        .collect();
    // The last one, too, has a segment of its own before the end.
    wait("the end", all.max(viewers[viewers.len() - 1].2 + 2));
    encoder.terminate();
    encoder.wait(60);

    let [pictures, sound] = ['v', 'a'].map(|kind| packets(clip.path(), kind));
    // All of it, from the first packet to where the encoder ended.
    let recorded = crate::live::follow_to_the_end(&server, &video);
    let own = tempfile::tempdir().unwrap();
    let ends = [('v', &pictures), ('a', &sound)].into_iter().zip(&recorded).map(
        |((kind, source), follower)| {
            let got = hashes(&crate::live::received(own.path(), follower, kind));
            assert_eq!(run_of(source, &got, "the recording"), 0);
            got.len()
        },
    );
    let ends: Vec<usize> = ends.collect();
    let (mut accounted, mut to_the_end) = (0, 0);
    for (viewer, folder, begun) in viewers {
        let kept_up = kept_up(viewer);
        to_the_end += usize::from(kept_up);
        // Who has begun is served from the segment that is under way.
        let latest = usize::try_from((begun + 1) * 60).unwrap();
        for (name, kind, source) in [("video.cmaf", 'v', &pictures), ("audio.cmaf", 'a', &sound)] {
            let file = folder.path().join(format!("{name}.mp4"));
            let got = packets(&file, kind);
            // It was told before the first packet was whole.
            if got.is_empty() && !kept_up {
                continue;
            }
            assert!(!got.is_empty(), "{name}: nothing came");
            assert_eq!(decode_errors(&file), "", "{name} decodes");
            let from = run_of(source, &hashes(&got), name);
            let end = ends[usize::from(kind == 'a')];
            let to = from + got.len();
            assert!(if kept_up { to == end } else { to <= end }, "{name}: {from} to {to} of {end}");
            assert!(kind == 'a' || from <= latest, "{name}: from {from} on, and not {latest}");
            accounted += got.len();
        }
        // The raw track: each frame an object, with its time.
        let json = std::fs::read_to_string(folder.path().join("video.json")).unwrap();
        let raw: Vec<(String, i64)> = serde_json::from_str(&json).unwrap();
        if raw.is_empty() && !kept_up {
            continue;
        }
        assert!(!raw.is_empty(), "video: nothing came");
        let got: Vec<String> = raw.iter().map(|(hash, _)| hash.clone()).collect();
        let from = run_of(&pictures, &got, "video");
        let (to, end) = (from + raw.len(), ends[0]);
        assert!(if kept_up { to == end } else { to <= end }, "video: {from} to {to} of {end}");
        assert!(from <= latest, "video: from {from} on, and not {latest}");
        accounted += raw.len();
        let shift = raw[0].1 - pictures[from].present_us;
        for ((_, at), source) in raw.iter().zip(&pictures[from..]) {
            let off = at - source.present_us - shift;
            assert!(off.abs() <= 2_000, "{off} us off at {} us", source.present_us);
        }
    }
    assert!(to_the_end == audience || !crate::browser::soak(), "{to_the_end} of {audience}");
    let words = format!(
        "{accounted} packets over MoQ in {seconds} s to {audience} viewers, none lost; {to_the_end} of \
         them to the end"
    );
    let most = if audience == 3 { 2 } else { audience };
    (to_the_end >= most).then_some(words)
}

fn size(variable: &str, default: u32) -> u32 {
    let said = std::env::var(variable).ok();
    said.map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{variable}={n}")))
}

/// The clip as fragments of a tenth of a second, of one track each.
fn fragmented(folder: &Path, clip: &Clip) -> PathBuf {
    let path = folder.join("fragmented.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(clip.path()).args(["-c", "copy"]);
    command.args(["-movflags", "empty_moov+default_base_moof", "-frag_duration", "100000"]);
    let mut ffmpeg = Child::start(command.arg(&path));
    assert!(ffmpeg.wait(60).success(), "{}", ffmpeg.output());
    path
}

#[test]
fn an_independent_publisher_plays_in_hls() {
    publishes(18);
}

/// Flips `moq.drafts`.
#[test]
fn independent_publishers_of_drafts_16_20_and_22_play_in_hls() {
    std::thread::scope(|scope| {
        let published = [16, 20, 22].map(|draft| scope.spawn(move || publishes(draft)));
        published.into_iter().for_each(|it| it.join().unwrap());
    });
}

fn publishes(draft: u8) {
    if skip("moq") {
        return;
    }
    let server = server_of(draft);
    let input = server.input();
    let folder = tempfile::tempdir().unwrap();
    let clip = Clip::make(&ClipSpec { rising: true, ..ClipSpec::plain("rising", 8) });
    let file = fragmented(folder.path(), &clip);
    let namespace = format!("default/{}", input.uid);
    let publisher = peer(&server, &input.key, "publish", &[&namespace, file.to_str().unwrap()]);
    let video = server.wait_video(&input, &[]);
    let followers: Vec<Follower> = std::thread::scope(|scope| {
        let follow = |name: &'static str| {
            let path = format!("/{video}/manifest/{name}.m3u8");
            let server = &server;
            scope.spawn(move || {
                wait_until(name, 20, || (server.get(&path).status == 200).then_some(()));
                let mut follower = Follower::new(server.url(&path));
                while !follower.reload().ended {}
                follower
            })
        };
        let all = [follow("video.cmaf"), follow("audio.cmaf")];
        all.into_iter().map(|follower| follower.join().unwrap()).collect()
    });
    end(publisher);
    for (follower, kind) in followers.iter().zip(['v', 'a']) {
        let file = folder.path().join(format!("{kind}.mp4"));
        let map = follower.inits.keys().next().unwrap();
        std::fs::write(&file, follower.file(map)).unwrap();
        assert_eq!(decode_errors(&file), "", "{kind} decodes");
        let (source, got) = (packets(clip.path(), kind), packets(&file, kind));
        let from = run_of(&source, &hashes(&got), &kind.to_string());
        assert_eq!(from + got.len(), source.len(), "{kind}: to the end, from {from} on");
        let seconds = if kind == 'v' { got.len() / 30 } else { got.len() * 1024 / 48_000 };
        // It begins with itself, whenever the server is ready for it.
        assert!(seconds >= 2, "{kind}: {seconds} s");
        let shift = got[0].present_us - source[from].present_us;
        for (g, s) in got.iter().zip(&source[from..]) {
            let off = g.present_us - s.present_us - shift;
            assert!(off.abs() <= 1_000, "{kind}: {off} us off at {} us", s.present_us);
        }
    }
    // It is an input like any other: its recording is there.
    let list = server.api("GET", "/stream", None).json();
    let videos = list["result"].as_array().unwrap();
    assert!(videos.iter().any(|v: &Value| v["uid"] == video.as_str()), "{list}");
}

/// Flips `moq.open_namespaces`.
#[test]
fn others_talk_over_the_relay_and_nobody_takes_an_input() {
    if skip("moq") {
        return;
    }
    let server = Server::start(AIRWAVE, &["moq.open_namespaces=[\"anon\"]"]);
    let _speaker = peer(&server, "", "say", &["anon/room", "chat"]);
    let mut listener = peer(&server, "", "hear", &["anon/room", "chat"]);
    assert!(listener.wait(120).success(), "{}", listener.output());
    let lines: Vec<u32> = listener
        .output()
        .lines()
        .filter_map(|line| line.strip_prefix("line ")?.parse().ok())
        .collect();
    assert_eq!(lines.len(), 5, "{}", listener.output());
    assert!(lines.windows(2).all(|pair| pair[1] == pair[0] + 1), "none left out: {lines:?}");
    // Elsewhere nothing is open: nobody hears of what is refused.
    let mut closed = Server::start(AIRWAVE, &[]);
    let speaker = peer(&closed, "", "say", &["anon/room", "chat"]);
    let mut listener = peer(&closed, "", "hear", &["anon/room", "chat"]);
    wait_until("a publish to be refused", 20, || {
        closed.child().output().contains("publish refused").then_some(())
    });
    assert!(listener.ended().is_none(), "{}", listener.output());
    drop((speaker, listener));
    // With the key of another input, and with none.
    let [one, two] = [server.input(), server.input()];
    let folder = tempfile::tempdir().unwrap();
    let file = fragmented(folder.path(), &Clip::make(&ClipSpec::plain("short", 2)));
    let namespace = format!("default/{}", one.uid);
    let thieves = [two.key.as_str(), "", "nonsense"]
        .map(|path| peer(&server, path, "publish", &[&namespace, file.to_str().unwrap()]));
    for mut thief in thieves {
        thief.wait(60);
        for input in [&one, &two] {
            let now = server.lifecycle(&input.uid);
            assert_eq!((&now["live"], &now["videoUID"]), (&false.into(), &Value::Null), "{now}");
        }
    }
}
