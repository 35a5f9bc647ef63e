//! `airwave publish` and `airwave watch` over MoQ: what is sent arrives, and what can't be is said.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use testkit::{Child, Clip, ClipSpec, Server, decode_errors, free_address, packets, wait_until};

use crate::AIRWAVE;
use crate::live::{check_same, follow_to_the_end, received};

pub(crate) fn quic(server: &Server) -> String {
    server.addresses["quic"].as_str().expect("the QUIC listener is on").to_owned()
}

/// The address of an input's broadcast, for who has this in the path.
pub(crate) fn address(server: &Server, path: &str, uid: &str) -> String {
    format!("moqt://{}/{path}#msf:default-{uid}", quic(server))
}

fn publish(file: &Path, url: &str, more: &[&str]) -> Child {
    let mut command = Command::new(AIRWAVE);
    Child::start(command.arg("publish").arg(file).args(["--to", url, "--insecure"]).args(more))
}

pub(crate) fn watch(url: &str, more: &[&str]) -> Child {
    Child::start(Command::new(AIRWAVE).args(["watch", url]).args(more))
}

/// A minute in which every packet is another one.
pub(crate) fn long() -> ClipSpec {
    ClipSpec { rising: true, group: 30, ..ClipSpec::plain("read", 60) }
}

/// Runs to its end; what it said.
pub(crate) fn outcome(mut program: Child) -> (i32, String) {
    let status = program.wait(90);
    (status.code().unwrap_or(-1), program.output())
}

/// Asked to end once it has shown two rows; what it said.
fn seen(program: Child) -> (i32, String) {
    wait_until("two rows", 20, || (program.output().lines().count() > 2).then_some(()));
    program.signal("INT");
    outcome(program)
}

/// The last line that `airwave watch --json` prints.
pub(crate) fn summary(output: &str) -> Value {
    let last = output.lines().last().unwrap_or_default();
    let line: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {output}"));
    line["summary"].clone()
}

#[test]
fn what_is_published_over_moq_is_watched_over_moq_packet_by_packet() {
    let server = Server::start(AIRWAVE, &[]);
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for (packaging, draft) in [("cmaf", "18"), ("loc", "18"), ("cmaf", "16")] {
            let (server, clip, folder) = (&server, &clip, folder.path());
            scope.spawn(move || {
                let input = server.input();
                let file = folder.join(format!("{packaging}{draft}.mp4"));
                let record = ["--insecure", "--wait", "--json", "--record", file.to_str().unwrap()];
                let program = watch(
                    &address(server, "", &input.uid),
                    &[&record[..], &["--draft", draft]].concat(),
                );
                let to = address(server, &input.key, &input.uid);
                let how = ["--packaging", packaging, "--draft", draft];
                let mut publisher = publish(clip.path(), &to, &how);
                let video = server.wait_video(&input, &[]);
                let followed = follow_to_the_end(server, &video);
                assert!(publisher.wait(20).success(), "{packaging}: {}", publisher.output());
                let said = publisher.output();
                assert!(said.contains("sent 00:00:12"), "{packaging}: {said}");
                assert!(!said.contains(&input.key), "{packaging}: {said}");
                let (code, output) = outcome(program);
                assert_eq!(code, 0, "{packaging}: {output}");
                assert_eq!(decode_errors(&file), "", "{packaging} decodes");
                for (kind, follower) in ['v', 'a'].into_iter().zip(&followed) {
                    let own = tempfile::tempdir().unwrap();
                    let source = packets(clip.path(), kind);
                    check_same(&source, &received(own.path(), follower, kind), kind);
                    check_same(&source, &packets(&file, kind), kind);
                }
                let summary = summary(&output);
                let [picture, sound] = &summary["tracks"].as_array().unwrap()[..] else {
                    panic!("{summary}")
                };
                assert_eq!(picture["frames"], 360, "{summary}");
                for track in [picture, sound] {
                    for nothing in ["lost", "holes", "gaps", "discontinuities", "timeJumps"] {
                        assert_eq!(track[nothing], 0, "{packaging}: {nothing}: {summary}");
                    }
                    // How near it is to live is for the bench.
                    assert!(track["latencyMs"].is_number(), "{packaging}: {summary}");
                }
            });
        }
    });
}

#[test]
fn a_publisher_comes_back_to_a_server_that_was_away() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    let listen = format!("quic.listen={}", free_address());
    let mut server = Server::start_in(AIRWAVE, &data, &[&listen]);
    let input = server.input();
    // Longer than it takes to start a server.
    let clip = Clip::make(&long());
    let to = address(&server, &input.key, &input.uid);
    let mut publisher = publish(clip.path(), &to, &[]);
    let before = server.wait_live(&input);
    let viewer = watch(&address(&server, "", &input.uid), &["--insecure", "--wait", "--json"]);
    wait_until("something to be watched", 20, || viewer.output().contains("frames").then_some(()));
    server.child().signal("TERM");
    server.child().wait(20);
    drop(server);
    let server = Server::start_in(AIRWAVE, &data, &[&listen]);
    let after = server.wait_live(&input);
    assert_ne!(before, after, "the first broadcast ended with its server");
    let list = format!("/{after}/manifest/video.cmaf.m3u8");
    wait_until("three segments", 60, || {
        (server.get(&list).text().matches("#EXTINF").count() >= 3).then_some(())
    });
    publisher.signal("INT");
    let followed = follow_to_the_end(&server, &after);
    assert!(publisher.wait(20).success(), "{}", publisher.output());
    // A GOAWAY that names nobody else: who watched has come back as well, to another broadcast.
    let (code, output) = outcome(viewer);
    assert_eq!(code, 0, "{output}");
    for track in summary(&output)["tracks"].as_array().unwrap() {
        assert_eq!(track["discontinuities"], 1, "{output}");
        assert_eq!(track["timeJumps"], 0, "{output}");
    }
    for (kind, follower) in ['v', 'a'].into_iter().zip(&followed) {
        let folder = tempfile::tempdir().unwrap();
        let hashes =
            |list: Vec<testkit::Packet>| list.into_iter().map(|p| p.hash).collect::<Vec<_>>();
        let got = hashes(received(folder.path(), follower, kind));
        let source = hashes(packets(clip.path(), kind));
        let from = source.iter().position(|hash| *hash == got[0]).expect("of the clip");
        assert!(source[from..].starts_with(&got), "{kind}: {} packets from {from} on", got.len());
        assert!(got.len() > 100, "{kind}: {} packets", got.len());
    }
}

/// Flips `limits.moq_connections_per_address`.
#[test]
fn an_address_has_a_share_of_moq_connections() {
    const ONE: &str = "limits.moq_connections_per_address=1";
    for (settings, room) in [
        (&[ONE][..], false),
        (&["limits.moq_connections_per_address=0"], true),
        (&[ONE, r#"http.trusted_proxies=["127.0.0.1"]"#], true),
        (
            &[
                ONE,
                r#"proxy_protocol.trusted=["127.0.0.1"]"#,
                "proxy_protocol.listeners=[\"rtmp\"]",
            ],
            true,
        ),
    ] {
        let server = Server::start(AIRWAVE, settings);
        let input = server.input();
        let begin = || watch(&address(&server, "", &input.uid), &["--insecure", "--wait"]);
        let open = |n| (server.metric("moq_sessions_open") == n).then_some(());
        let _first = begin();
        wait_until("the first to be in", 20, || open(1));
        let second = begin();
        if room {
            wait_until("the second to be in", 20, || open(2));
            continue;
        }
        let (code, output) = outcome(second);
        assert_eq!(code, 1, "{output}");
        assert!(output.contains("refused"), "{output}");
        assert_eq!(server.metric("moq_connections_refused_address_total"), 1);
    }
}

#[test]
fn who_publishes_and_who_watches_go_where_a_server_that_stops_sends_them() {
    let open = "moq.open_namespaces=[\"room\"]";
    let two = Server::start(AIRWAVE, &[open]);
    let elsewhere = format!("moq.goaway_uri=moqt://{}", quic(&two));
    let mut one = Server::start(AIRWAVE, &[open, &elsewhere]);
    // Longer than this takes.
    let clip = Clip::make(&long());
    let room = format!("moqt://{}/KEY#msf:room", quic(&one));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moved.mp4");
    let record = ["--insecure", "--wait", "--json", "--record", file.to_str().unwrap()];
    // A file has the tracks that there were when it was begun.
    let mut publisher = publish(clip.path(), &room, &[]);
    wait_until("both tracks", 60, || publisher.output().contains("kbit/s").then_some(()));
    let watching = watch(&room, &record);
    // As of the last second.
    let frames = || -> u64 {
        let output = watching.output();
        let second = output.lines().last().and_then(|l| serde_json::from_str::<Value>(l).ok());
        second.and_then(|second| second["tracks"][0]["frames"].as_u64()).unwrap_or(0)
    };
    wait_until("something to be watched", 20, || (frames() > 0).then_some(()));
    one.child().signal("TERM");
    assert!(one.child().wait(25).success());
    // Whatever comes now comes from the other one; a second of it may be from before.
    let before = frames();
    wait_until("it to go on", 20, || (frames() > before + 45).then_some(()));
    publisher.signal("INT");
    assert!(publisher.wait(20).success(), "{}", publisher.output());
    let (code, output) = outcome(watching);
    assert_eq!(code, 0, "{output}");
    // A viewer who comes to the other relay later than his publisher lacks what was sent there meanwhile: a relay has nothing of before
    // it was asked. In the soak, at rest, nobody is late.
    let nobody_late = crate::browser::soak();
    for track in summary(&output)["tracks"].as_array().unwrap() {
        for nothing in ["lost", "holes", "gaps", "discontinuities", "timeJumps"] {
            assert!(track[nothing] == 0 || !nobody_late, "{nothing}: {output}");
        }
    }
    // From where it began on, each packet once and in order.
    let hashes = |list: Vec<testkit::Packet>| list.into_iter().map(|p| p.hash).collect::<Vec<_>>();
    for kind in ['v', 'a'] {
        let (got, source) = (hashes(packets(&file, kind)), hashes(packets(clip.path(), kind)));
        let from = source.iter().position(|hash| *hash == got[0]).expect("of the clip");
        let mut rest = source[from..].iter();
        let places = got.iter().map(|hash| source.iter().position(|sent| sent == hash));
        let places: Vec<_> = places.collect();
        assert!(got.iter().all(|hash| rest.any(|sent| sent == hash)), "{kind}: {places:?}");
        let all = source[from..].starts_with(&got);
        assert!(all || !nobody_late, "{kind}: {} packets from {from} on", got.len());
        assert!(got.len() > 45, "{kind}: {} packets", got.len());
    }
}

#[test]
fn who_is_trusted_over_quic_and_which_broadcast_is_meant() {
    let server = Server::start(AIRWAVE, &[]);
    let [one, two] = [server.input(), server.input()];
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let _encoder = clip.publish(&one.rtmp, -1);
    server.wait_live(&one);
    let any = format!("moqt://{}/", quic(&server));
    let (code, output) = outcome(watch(&any, &["--for", "60"]));
    assert_eq!(code, 1, "{output}");
    for word in ["TLS", "--sha256", "--insecure"] {
        assert!(output.contains(word), "{word} in {output}");
    }
    let hash = server.get("/certificate.sha256").text();
    let (code, output) = seen(watch(&any, &["--sha256", &hash]));
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("nothing lost"), "the only broadcast needs no name: {output}");
    let (code, output) = outcome(watch(&any, &["--for", "60", "--sha256", &"00".repeat(32)]));
    assert_eq!(code, 1, "{output}");

    let _other = clip.publish(&two.rtmp, -1);
    server.wait_live(&two);
    let (code, output) = outcome(watch(&any, &["--insecure"]));
    assert_eq!(code, 1, "{output}");
    for input in [&one, &two] {
        assert!(output.contains(&format!("#msf:default-{}", input.uid)), "{output}");
    }
    assert_eq!(seen(watch(&address(&server, "", &two.uid), &["--insecure"])).0, 0);
}

#[test]
fn what_can_not_be_had_over_moq_is_said_in_words() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let uid = &input.uid;
    let table = [
        (address(&server, "", uid), 1, "nothing is on the air at moqt://"),
        (format!("moqt://{}/#default/{uid}", quic(&server)), 2, "#msf:default-ID--catalog"),
        ("moqt://127.0.0.1:x/".to_owned(), 2, "host or port is wrong"),
        ("moqt://nowhere.invalid/".to_owned(), 1, "can't find nowhere.invalid"),
    ];
    for (url, code, words) in &table {
        let (got, output) = outcome(watch(url, &["--insecure", "--for", "60"]));
        assert_eq!(got, *code, "{url}: {output}");
        assert!(output.contains(words), "{words} in {output}");
    }
    let clip = Clip::make(&ClipSpec::plain("short", 4));
    let other = server.input();
    let table = [
        (address(&server, "nonsense", uid), 1, "the server refused: "),
        (address(&server, &other.key, uid), 1, "the server refused: "),
        (format!("moqt://{}/{}", quic(&server), input.key), 2, "names no broadcast"),
    ];
    for (url, code, words) in &table {
        let (got, output) = outcome(publish(clip.path(), url, &[]));
        assert_eq!(got, *code, "{output}");
        assert!(output.contains(words), "{words} in {output}");
        assert!(!output.contains(&input.key) && !output.contains(&other.key), "{output}");
    }
    // Another encoder takes over: this one does not fight.
    let first = publish(clip.path(), &address(&server, &input.key, uid), &["--loop"]);
    server.wait_live(&input);
    let _second = clip.publish(&input.rtmp, -1);
    let (code, output) = outcome(first);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("the server wants no more of it"), "{output}");
}

/// Ends in good order; what it said.
fn stop(mut program: Child) -> String {
    program.signal("INT");
    program.wait(20);
    program.output()
}

#[test]
fn who_watches_over_moq_is_counted_and_its_encoder_is_described() {
    let server = Server::start(AIRWAVE, &[]);
    let [moq, rtmp] = [server.input(), server.input()];
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let publisher = publish(clip.path(), &address(&server, &moq.key, &moq.uid), &["--loop"]);
    let _encoder = clip.publish(&rtmp.rtmp, -1);
    server.wait_live(&moq);
    server.wait_live(&rtmp);
    let protocol = |uid: &str| {
        let answer = server.api("GET", &format!("/stream/live_inputs/{uid}"), None).json();
        answer["result"]["health"]["protocol"].clone()
    };
    assert_eq!((protocol(&moq.uid), protocol(&rtmp.uid)), ("moq".into(), "rtmp".into()));
    let views = |uid: &str| server.get(&format!("/{uid}/views")).json()["liveViewers"].clone();
    assert_eq!(views(&moq.uid), 0);
    let url = address(&server, "", &moq.uid);
    let viewers = [watch(&url, &["--insecure"]), watch(&url, &["--insecure"])];
    wait_until("two viewers", 20, || (views(&moq.uid) == 2).then_some(()));
    assert_eq!(views(&rtmp.uid), 0);
    let metrics = server.metrics();
    for (name, least) in [
        ("moq_publishers", 1),
        ("moq_sessions_open", 3),
        ("viewers", 2),
        // A catalog, pictures and sound for each of two.
        ("moq_subscriptions_open", 2),
        ("moq_objects_total", 2),
        ("moq_object_bytes_total", 1_000),
    ] {
        assert!(metrics[name] >= least, "{name}: {}", metrics[name]);
    }
    for nothing in ["moq_publishes_refused_total", "moq_session_panics_total"] {
        assert_eq!(metrics[nothing], 0, "{nothing}");
    }
    for viewer in viewers {
        let (_, output) = seen(viewer);
        assert!(output.contains("nothing lost"), "{output}");
    }
    wait_until("nobody to watch", 20, || (views(&moq.uid) == 0).then_some(()));
    // Whether its encoder has declared it or not, players learn what each track takes.
    for uid in [&moq.uid, &rtmp.uid] {
        wait_until("bitrates in the catalog", 20, || {
            let range = moqt::Range {
                start: moqt::Location::new(0, 0),
                end: moqt::Location::new(99, moqt::Range::WHOLE_GROUP),
            };
            let groups = fetch(&server, uid, "catalog", range, moqt::GroupOrder::Ascending).ok()?;
            let newest = groups.iter().rev().find_map(|(_, json)| json.as_ref())?;
            let catalog: Value = serde_json::from_slice(newest).unwrap();
            let tracks = catalog["tracks"].as_array().unwrap();
            let known = |name: &str| {
                let track = tracks.iter().find(|track| track["name"] == name);
                track.is_some_and(|track| track["bitrate"].as_u64() > Some(10_000))
            };
            (known("video.cmaf") && known("audio.cmaf")).then_some(())
        });
    }
    // The owner takes the key back: whoever publishes with it is off the air.
    let rotate = format!("/stream/live_inputs/{}/rotate_keys", moq.uid);
    assert_eq!(server.api("POST", &rotate, None).status, 200);
    let (code, output) = outcome(publisher);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("the server"), "{output}");
}

#[test]
fn a_token_opens_over_moq_what_is_locked_and_its_end_ends_the_view() {
    let server = Server::start(AIRWAVE, &[]);
    let locked = json!({ "recording": { "requireSignedURLs": true } });
    let [input, other] = [server.create_input(&locked), server.create_input(&locked)];
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let encoders = [&input, &other].map(|input| clip.publish(&input.rtmp, -1));
    for input in [&input, &other] {
        let path = format!("/stream/live_inputs/{}", input.uid);
        wait_until("the broadcast to begin", 20, || {
            let status = server.api("GET", &path, None).json()["result"]["status"].clone();
            status["current"]["videoUID"].as_str().map(str::to_owned)
        });
    }
    let token = |uid: &str, body: Value| {
        let answer = server.api("POST", &format!("/stream/{uid}/token"), Some(&body));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["result"]["token"].as_str().unwrap().to_owned()
    };
    let (good, wrong) = (token(&input.uid, json!({})), token(&other.uid, json!({})));
    let query = format!("?jwt={good}");
    for (path, words) in [
        ("", "signed link"),
        // A stream key is for who publishes.
        (input.key.as_str(), "signed link"),
        (wrong.as_str(), "for something else"),
        (good.as_str(), ""),
        (query.as_str(), ""),
    ] {
        let program = watch(&address(&server, path, &input.uid), &["--insecure"]);
        let (code, output) = if words.is_empty() { seen(program) } else { outcome(program) };
        assert_eq!(code, i32::from(!words.is_empty()), "{output}");
        assert!(output.contains(words), "{words:?} in {output}");
        assert!(!output.contains(&good) && !output.contains(&wrong), "{output}");
    }
    // It ends by itself, and with it what it opened; the neighbour's goes on.
    let neighbour = watch(&address(&server, &wrong, &other.uid), &["--insecure"]);
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    // Where a viewer needs longer to begin, one that lasts longer.
    let watched = [5, 15, 45].into_iter().any(|seconds| {
        let until = now() as u64 + seconds;
        let short = token(&input.uid, json!({ "exp": until }));
        let (code, output) = outcome(watch(&address(&server, &short, &input.uid), &["--insecure"]));
        let watched = output.contains("Mbit/s") || output.contains("kbit/s");
        let ended = output.contains("the server ended the subscription: Expired");
        assert!(code == 1 && (ended || !watched) && now() >= until as f64, "{until}: {output}");
        watched && ended
    });
    assert!(watched, "it watched until then");
    assert!(stop(neighbour).contains("nothing lost"));
    drop(encoders);
}

/// Who watches over MoQ is looked at whenever a link is taken back, and else so seldom that it would not do; the end of his own is his.
#[test]
fn who_watches_over_moq_is_looked_at_when_a_link_is_taken_back() {
    let server = Server::start(AIRWAVE, &[]);
    let (input, _, _encoder) = crate::access::locked(&server);
    let links = format!("/stream/{}/links", input.uid);
    let link = || {
        let link = server.api("POST", &links, Some(&json!({ "name": "a friend" })));
        let link = link.json()["result"].clone();
        let text = |key: &str| link[key].as_str().unwrap().to_owned();
        (format!("{links}/{}", text("id")), text("token"))
    };
    let delete = |path: &str| assert_eq!(server.api("DELETE", path, None).status, 200);
    let (own, token) = link();
    let viewer = watch(&address(&server, &token, &input.uid), &["--insecure", "--json"]);
    wait_until("something to be watched", 60, || {
        viewer.output().contains("\"frames\":").then_some(())
    });
    let looks = || server.metric("moq_looks_total");
    // Each subscription has so many looks by itself.
    let by_itself = |since: Instant| {
        let each = since.elapsed().as_secs() / io_moq::limits::GATE_SELDOM.as_secs() + 1;
        server.metric("moq_subscriptions_open") * each
    };
    let (begun, before) = (Instant::now(), looks());
    let seconds = || viewer.output().lines().count();
    let first = seconds();
    wait_until("it to be watched for a while", 90, || (seconds() > first + 10).then_some(()));
    let (made, most) = (looks() - before, by_itself(begun));
    assert!(made <= most, "{made}, where {most} come by themselves");
    // Links of others are taken back.
    let (begun, before) = (Instant::now(), looks());
    for _ in 0..8 {
        let (friends, _) = link();
        let seen = looks();
        delete(&friends);
        wait_until("a look", 60, || (looks() > seen).then_some(()));
    }
    let (made, least) = (looks() - before, by_itself(begun));
    assert!(made > least, "{made}, where {least} come by themselves");
    delete(&own);
    let (code, output) = outcome(viewer);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("the server ended the subscription"), "{output}");
}

/// What anybody may relay has nothing to do with what is recorded here, also where it is named like that.
#[test]
fn a_recording_that_is_locked_is_not_to_be_had_by_an_open_namespace() {
    let server = Server::start(AIRWAVE, &["moq.open_namespaces=[\"room\"]"]);
    let locked = json!({ "recording": { "requireSignedURLs": true } });
    let input = server.create_input(&locked);
    let mut encoder = Clip::make(&ClipSpec::plain("short", 4)).publish_at(2.0, &input.rtmp, 1);
    let path = format!("/stream/live_inputs/{}", input.uid);
    let video = wait_until("the broadcast to begin", 20, || {
        let status = server.api("GET", &path, None).json()["result"]["status"].clone();
        status["current"]["videoUID"].as_str().map(str::to_owned)
    });
    encoder.wait(60);
    wait_until("the recording", 20, || {
        let video = server.api("GET", &format!("/stream/{video}"), None).json();
        (video["result"]["status"]["state"] == "ready").then_some(())
    });
    let answer = server.api("POST", &format!("/stream/{video}/token"), Some(&json!({})));
    let token = answer.json()["result"]["token"].as_str().unwrap().to_owned();
    let (code, output) = outcome(watch(&address(&server, &token, &video), &["--insecure"]));
    assert_eq!(code, 0, "{output}");
    for (account, words) in [("default", "signed link"), ("room", "nothing is on the air")] {
        let url = format!("moqt://{}/#msf:{account}-{video}", quic(&server));
        let (code, output) = outcome(watch(&url, &["--insecure"]));
        assert!(code == 1 && output.contains(words), "{account}: {code} {output}");
    }
}

/// Groups with their payloads; without one, what is said to be missing up to and with this group.
pub(crate) type Groups = Vec<(u64, Option<Vec<u8>>)>;

/// How the past is asked for.
#[derive(Clone, Copy)]
enum By {
    /// By FETCH, in draft 18.
    Fetch,
    /// As the past of a subscription, in this draft.
    Fill(u8),
}

/// Everything of a range of a track.
pub(crate) fn fetch(
    server: &Server,
    uid: &str,
    track: &str,
    range: moqt::Range,
    order: moqt::GroupOrder,
) -> Result<Groups, String> {
    past(server, uid, track, (range, order), By::Fetch)
}

/// Reads it to its end.
pub(crate) async fn all_of(mut fetched: io_moq::client::Fetched) -> Result<Groups, String> {
    use io_moq::client::Item;
    let mut groups = Groups::new();
    while let Some(item) = fetched.next().await? {
        match item {
            Item::Object { at, payload, .. } => match groups.last_mut() {
                Some((group, Some(bytes))) if *group == at.group => bytes.extend(&payload),
                _ => groups.push((at.group, Some(payload.to_vec()))),
            },
            Item::Gap { end, .. } => groups.push((end.group, None)),
        }
    }
    Ok(groups)
}

fn past(
    server: &Server,
    uid: &str,
    track: &str,
    (range, order): (moqt::Range, moqt::GroupOrder),
    by: By,
) -> Result<Groups, String> {
    use io_moq::client::{Client, Trust};
    let draft = match by {
        By::Fetch => 18,
        By::Fill(draft) => draft,
    };
    let address = client::address::MoqAddress::parse(&address(server, "", uid)).unwrap();
    let address = address.speaking(Some(draft));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let namespace = address.namespace.clone().unwrap();
    runtime.block_on(async {
        let origin = spine::Origin::new(spine::Limits::default());
        let mut client = Client::connect(&address.server, Trust::Anybody, origin)
            .await
            .map_err(|e| e.to_string())?;
        let remote = client.handle().remote(namespace).unwrap();
        let work = async {
            let fetched = match by {
                By::Fetch => remote.fetch(track, range, order).await,
                By::Fill(_) => remote.fill(track, range, order).await,
            };
            all_of(fetched.map_err(|denial| denial.to_string())?).await
        };
        tokio::select! {
            done = work => done,
            over = client.run() => Err(over.reason().to_owned()),
        }
    })
}

#[test]
fn the_past_is_fetched_from_the_recording_while_on_the_air_and_when_it_is_over() {
    use moqt::{GroupOrder, Location, Range};
    // Memory for some seconds only: the rest of the broadcast is on the disk.
    let server = Server::start(AIRWAVE, &["limits.cache_mb=2"]);
    let input = server.input();
    let spec = ClipSpec { size: (640, 360), ..ClipSpec::plain("past", 12) };
    let clip = Clip::make(&spec);
    // Until it has to stop, however long the checks take.
    let mut encoder = clip.publish_at(2.0, &input.rtmp, -1);
    let video = server.wait_live(&input);
    // Segments as players load them; the list of all of them is that of DVR.
    let segments = |id: &str| -> Vec<(u64, Vec<u8>)> {
        let list = server.url(&format!("/{id}/manifest/video.cmaf.m3u8?dvrEnabled=true"));
        let text = server.get(&list.path).text();
        let files = text.lines().filter(|line| line.ends_with(".m4s") && !line.starts_with('#'));
        let number = |file: &str| {
            let name = file.rsplit('/').next().unwrap();
            name.trim_end_matches(".m4s").split('-').nth(1).unwrap().parse().unwrap()
        };
        files.map(|file| (number(file), server.get(&list.join(file).path).body)).collect()
    };
    let whole = |from: u64, to: u64| Range {
        start: Location::new(from, 0),
        end: Location::new(to, Range::WHOLE_GROUP),
    };
    let check_by = |id: &str, order, by| {
        let listed = segments(id);
        let (first, last) = (listed[0].0, listed.last().unwrap().0);
        let range = (whole(first, last), order);
        let mut got = past(&server, id, "video.cmaf", range, by).unwrap();
        if order == GroupOrder::Descending {
            assert!(got.windows(2).all(|pair| pair[0].0 > pair[1].0), "{id}: descending");
            got.reverse();
        }
        assert_eq!(got.len(), listed.len(), "{id}: every segment");
        for ((number, bytes), (group, object)) in listed.iter().zip(&got) {
            assert_eq!(number, group, "{id}");
            assert!(object.as_ref() == Some(bytes), "{id}: segment {number}, byte for byte");
        }
        (first, last)
    };
    let check = |id: &str, order| check_by(id, order, By::Fetch);
    let number_of = || segments(&input.uid).len();
    wait_until("eight segments", 40, || (number_of() >= 8).then_some(()));
    for order in [GroupOrder::Ascending, GroupOrder::Descending] {
        check(&input.uid, order);
        check_by(&input.uid, order, By::Fill(22));
    }
    encoder.signal("INT");
    encoder.wait(20);
    server.wait_ready(&video);
    // The second viewer, and the one of much later, get the same from the video's own namespace.
    for order in [GroupOrder::Ascending, GroupOrder::Descending, GroupOrder::Ascending] {
        check(&video, order);
        check_by(&video, order, By::Fill(20));
    }
    let (first, last) = check(&video, GroupOrder::Ascending);
    // Before the first segment nothing ever was; a range behind the last is none.
    let early =
        fetch(&server, &video, "video.cmaf", whole(first - 1, first), GroupOrder::Ascending);
    assert_eq!(early.unwrap()[0], (first - 1, None));
    let late =
        fetch(&server, &video, "video.cmaf", whole(last + 1, last + 2), GroupOrder::Ascending);
    assert!(late.unwrap_err().contains("behind the largest"), "INVALID_RANGE");
    // Its catalog says that it is over.
    let catalog = fetch(&server, &video, "catalog", whole(0, 0), GroupOrder::Ascending).unwrap();
    let catalog: Value = serde_json::from_slice(catalog[0].1.as_ref().unwrap()).unwrap();
    assert_eq!(catalog["tracks"][0]["isLive"], false, "{catalog}");
    assert!(catalog["tracks"][0]["trackDuration"].as_u64().unwrap() > 14_000, "{catalog}");
    // What was never there is denied.
    let missing = fetch(&server, &video, "video2.cmaf", whole(0, 0), GroupOrder::Ascending);
    assert!(missing.is_err());
    let nobody = "0".repeat(32);
    assert!(fetch(&server, &nobody, "video.cmaf", whole(0, 0), GroupOrder::Ascending).is_err());
}

/// Flips `moq.goaway_uri`.
#[test]
fn a_server_that_stops_sends_its_peers_where_it_is_told_to() {
    use io_moq::client::{Client, Over, Trust};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (settings, to) in
        [(&["moq.goaway_uri=moqt://two.example:7"][..], "two.example:7"), (&[], "")]
    {
        let mut server = Server::start(AIRWAVE, settings);
        let uid = "0".repeat(32);
        let address = client::address::MoqAddress::parse(&address(&server, "", &uid)).unwrap();
        let over = runtime.block_on(async {
            let origin = spine::Origin::new(spine::Limits::default());
            let connected = Client::connect(&address.server, Trust::Anybody, origin).await;
            let mut client = connected.map_err(|error| error.to_string()).unwrap();
            server.child().terminate();
            tokio::time::timeout(std::time::Duration::from_secs(30), client.run()).await.unwrap()
        });
        let Over::GoAway { uri } = over else { panic!("{over:?}") };
        assert!(uri.contains(to) && uri.is_empty() == to.is_empty(), "{uri} is not {to}");
        server.child().wait(30);
    }
}
