//! Links between nodes (decision 112): what is published at one is watched at others, for one subscription each; what is gone
//! there is gone everywhere, whoever pulls from whom.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use testkit::{Child, Clip, ClipSpec, Input, Server, decode_errors, free_address, packets};
use testkit::{Packet, wait_until};

use crate::AIRWAVE;
use crate::live::check_same;
use crate::moq_program::{address, long, outcome, quic, summary, watch};

const ANYBODY: &str = "moq.upstream_trust=anybody";

fn upstreams(urls: &[String]) -> String {
    format!("moq.upstreams={}", json!(urls))
}

fn url(at: impl std::fmt::Display) -> String {
    format!("moqt://{at}/")
}

/// A node that pulls from these.
fn edge_of(upstreams_: &[&Server]) -> Server {
    let urls: Vec<String> = upstreams_.iter().map(|server| url(quic(server))).collect();
    Server::start(AIRWAVE, &[&upstreams(&urls), ANYBODY])
}

/// What a node says of an upstream.
fn says(node: &Server, of: &str, upstream: &str) -> u64 {
    node.metric(&format!("moq_upstream_{of}{{upstream=\"{upstream}\"}}"))
}

fn wait_says(node: &Server, of: &str, upstream: &str, value: u64) {
    wait_until(&format!("{of} of {upstream}: {value}"), 60, || {
        (says(node, of, upstream) == value).then_some(())
    });
}

/// Watches to the end, with everything that there was before; keeps it in this file.
fn record(node: &Server, input: &Input, file: &Path, more: &[&str]) -> Child {
    let keep = ["--insecure", "--wait", "--json", "--record", file.to_str().unwrap()];
    watch(&address(node, "", &input.uid), &[&keep[..], more].concat())
}

fn check_whole(program: Child, file: &Path, clip: &Clip) {
    let (code, output) = outcome(program);
    assert_eq!(code, 0, "{output}");
    assert_eq!(decode_errors(file), "");
    for kind in ['v', 'a'] {
        check_same(&packets(clip.path(), kind), &packets(file, kind), kind);
    }
    let summary = summary(&output);
    for track in summary["tracks"].as_array().unwrap() {
        for nothing in ["lost", "holes", "gaps", "discontinuities", "timeJumps"] {
            assert_eq!(track[nothing], 0, "{nothing}: {summary}");
        }
    }
}

#[test]
fn what_is_published_at_one_node_is_watched_at_another_packet_by_packet() {
    let origin = Server::start(AIRWAVE, &[]);
    let (edge, there) = (edge_of(&[&origin]), quic(&origin));
    wait_says(&edge, "connected", &there, 1);
    let input = origin.input();
    let folder = tempfile::tempdir().unwrap();
    let [early, late] = ["early.mp4", "late.mp4"].map(|name| folder.path().join(name));
    let first = record(&edge, &input, &early, &[]);
    let clip = Clip::make(&ClipSpec::plain("linked", 24));
    let mut encoder = clip.publish(&input.rtmp, 1);
    let video = origin.wait_live(&input);
    let list = format!("/{video}/manifest/video.cmaf.m3u8");
    wait_until("some of it to be over", 60, || {
        (origin.get(&list).text().matches("#EXTINF").count() >= 4).then_some(())
    });
    // Who comes now fetches what was before he came; here nobody has watched any of it.
    let other = edge_of(&[&origin]);
    wait_says(&other, "namespaces", &there, 1);
    let second = record(&other, &input, &late, &["--from", "start"]);
    assert!(encoder.wait(60).success(), "{}", encoder.output());
    check_whole(second, &late, &clip);
    check_whole(first, &early, &clip);
    // Of what is relayed there is nothing but MoQ.
    assert_eq!(edge.get(&format!("/{}/manifest/video.m3u8", input.uid)).status, 404);
}

/// The node between two is stopped while somebody watches, and sends who pulls from it to the other (draft-18 §10.4): each packet has
/// come, for the same subscriptions.
#[test]
fn draft18_s10_4_d18_nobody_who_watches_notices_that_a_node_on_the_way_is_stopped() {
    let origin = Server::start(AIRWAVE, &[]);
    let there = quic(&origin);
    let (urls, on) = (upstreams(&[url(&there)]), format!("moq.goaway_uri=moqt://{there}"));
    let mut between = Server::start(AIRWAVE, &[&urls, ANYBODY, &on]);
    let (edge, way) = (edge_of(&[&between]), quic(&between));
    wait_says(&edge, "connected", &way, 1);
    let input = origin.input();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seen.mp4");
    let viewer = record(&edge, &input, &file, &[]);
    let clip = Clip::make(&ClipSpec::plain("moved", 24));
    let mut encoder = clip.publish(&input.rtmp, 1);
    origin.wait_live(&input);
    let seen = || edge.metric("moq_objects_total");
    wait_until("something to be watched", 60, || (seen() > 30).then_some(()));
    assert_eq!((says(&edge, "subscriptions", &way), says(&edge, "broadcasts", &way)), (3, 1));
    between.child().terminate();
    wait_says(&edge, "connections_total", &way, 2);
    // It has nobody left who watches: it need not wait.
    between.child().wait(8);
    let before = seen();
    wait_until("more to be watched", 60, || (seen() > before + 30).then_some(()));
    assert_eq!((says(&edge, "subscriptions", &way), says(&edge, "broadcasts", &way)), (3, 1));
    assert!(encoder.wait(60).success(), "{}", encoder.output());
    check_whole(viewer, &file, &clip);
    assert_eq!(edge.metric("moq_subscriptions_total"), 3, "nobody had to subscribe again");
}

#[test]
fn ten_who_watch_at_a_node_cost_one_subscription_at_the_other() {
    let origin = Server::start(AIRWAVE, &[]);
    let (edge, there) = (edge_of(&[&origin]), quic(&origin));
    let input = origin.input();
    let clip = Clip::make(&long());
    let _encoder = clip.publish(&input.rtmp, 1);
    let video = origin.wait_live(&input);
    wait_says(&edge, "namespaces", &there, 1);
    assert_eq!(says(&edge, "subscriptions", &there), 0, "nobody watches");
    assert_eq!(origin.metric("moq_subscriptions_total"), 0, "nobody watches");
    let url = address(&edge, "", &input.uid);
    let viewers: Vec<Child> =
        (0..10).map(|_| watch(&url, &["--insecure", "--wait", "--json"])).collect();
    for viewer in &viewers {
        let sees = || viewer.output().contains("\"frames\":").then_some(());
        wait_until("all to see something", 60, sees);
    }
    // The catalog, pictures and sound.
    let tracks = 3;
    assert_eq!(edge.metric("moq_subscriptions_open"), 10 * tracks);
    assert_eq!(origin.metric("moq_subscriptions_total"), tracks);
    assert_eq!(says(&edge, "subscriptions", &there), tracks);
    for viewer in viewers {
        viewer.signal("INT");
        let (code, output) = outcome(viewer);
        assert_eq!(code, 0, "{output}");
    }
    wait_until("nobody to watch", 60, || {
        (edge.metric("moq_subscriptions_open") == 0).then_some(())
    });
    // Nothing is sent for nobody, while the broadcast goes on: it is paused there.
    let list = format!("/{video}/manifest/video.cmaf.m3u8?dvrEnabled=true");
    let segments = || origin.get(&list).text().matches("#EXTINF").count();
    wait_until("nothing more to be sent", 60, || {
        let (sent, there) = (origin.metric("moq_objects_total"), segments());
        wait_until("a segment", 60, || (segments() > there).then_some(()));
        (origin.metric("moq_objects_total") == sent).then_some(())
    });
}

#[test]
fn a_node_goes_on_with_an_origin_that_was_killed_and_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let [quic_at, rtmp_at] = ["quic", "rtmp"].map(|of| format!("{of}.listen={}", free_address()));
    let settings = [&*quic_at, &rtmp_at];
    let mut origin = Server::start_in(AIRWAVE, &data, &settings);
    let (edge, there) = (edge_of(&[&origin]), quic(&origin));
    let input = origin.input();
    let clip = Clip::make(&long());
    let first = clip.publish(&input.rtmp, 1);
    origin.wait_live(&input);
    wait_says(&edge, "namespaces", &there, 1);
    let url = address(&edge, "", &input.uid);
    let viewer = watch(&url, &["--insecure", "--wait", "--json"]);
    let sees = || viewer.output().contains("\"frames\":").then_some(());
    wait_until("something to be watched", 60, sees);
    origin.child().kill();
    drop((origin, first));
    wait_says(&edge, "connected", &there, 0);
    // What is not told any more does not stay for long.
    wait_says(&edge, "namespaces", &there, 0);
    wait_says(&edge, "subscriptions", &there, 0);
    let (code, output) = outcome(viewer);
    assert_eq!(code, 0, "its broadcast has ended: {output}");
    let origin = Server::start_in(AIRWAVE, &data, &settings);
    let _second = clip.publish(&input.rtmp, 1);
    origin.wait_live(&input);
    wait_says(&edge, "namespaces", &there, 1);
    assert_eq!(says(&edge, "connections_total", &there), 2);
    let viewer = watch(&url, &["--insecure", "--wait", "--json"]);
    let sees = || viewer.output().contains("\"frames\":").then_some(());
    wait_until("the next one to be watched", 60, sees);
}

/// The node between two is killed while somebody watches, and is back some seconds later: a gap, and no end (decision 160).
#[test]
fn d18_nobody_who_watches_has_to_come_again_when_a_node_on_the_way_was_killed() {
    let origin = Server::start(AIRWAVE, &[]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (urls, at) = (upstreams(&[url(quic(&origin))]), free_address());
    let listen = format!("quic.listen={at}");
    let settings = [&*urls, ANYBODY, &listen];
    let mut between = Server::start_in(AIRWAVE, &data, &settings);
    let (edge, way) = (edge_of(&[&between]), at.to_string());
    wait_says(&edge, "connected", &way, 1);
    let input = origin.input();
    let clip = Clip::make(&long());
    let mut encoder = clip.publish(&input.rtmp, 1);
    origin.wait_live(&input);
    let viewer = watch(&address(&edge, "", &input.uid), &["--insecure", "--wait", "--json"]);
    let seen = || edge.metric("moq_objects_total");
    wait_until("something to be watched", 60, || (seen() > 30).then_some(()));
    between.child().kill();
    drop(between);
    let _between = Server::start_in(AIRWAVE, &data, &settings);
    wait_says(&edge, "connections_total", &way, 2);
    let before = seen();
    wait_until("more to be watched", 60, || (seen() > before + 30).then_some(()));
    wait_says(&edge, "subscriptions", &way, 3);
    wait_says(&edge, "broadcasts", &way, 1);
    assert_eq!(edge.metric("moq_subscriptions_total"), 3, "nobody had to subscribe again");
    encoder.terminate();
    encoder.wait(20);
    let (code, output) = outcome(viewer);
    assert_eq!(code, 0, "{output}");
}

/// Nodes by number, each with those that it pulls from.
fn ring(pulls: [&[usize]; 3]) -> (Vec<Server>, [SocketAddr; 3]) {
    let at = [free_address(), free_address(), free_address()];
    let start = |(one, others): (usize, &[usize])| {
        let urls: Vec<String> = others.iter().map(|other| url(at[*other])).collect();
        let listen = format!("quic.listen={}", at[one]);
        let settings = [&listen, &upstreams(&urls), ANYBODY, "ingest.reconnect_s=0"];
        Server::start(AIRWAVE, &settings)
    };
    (pulls.into_iter().enumerate().map(start).collect(), at)
}

#[test]
fn nothing_goes_round_in_a_ring_of_nodes_and_nothing_stays() {
    // Each pulls from the next, and each from all others.
    for (pulls, told) in [
        ([&[2][..], &[0], &[1]], [&[0][..], &[1], &[1]]),
        ([&[1, 2], &[0, 2], &[0, 1]], [&[0, 0], &[1, 1], &[1, 1]]),
    ] {
        let (nodes, at) = ring(pulls);
        let all_say = |of: &str, values: [&[u64]; 3]| {
            for (node, (others, values)) in nodes.iter().zip(pulls.iter().zip(values)) {
                for (other, value) in others.iter().zip(values) {
                    wait_says(node, of, &at[*other].to_string(), *value);
                }
            }
        };
        let pulled = pulls.map(|others| vec![1; others.len()]);
        all_say("connected", [&pulled[0], &pulled[1], &pulled[2]]);
        let input = nodes[0].input();
        let clip = Clip::make(&long());
        let mut encoder = clip.publish(&input.rtmp, 1);
        nodes[0].wait_live(&input);
        all_say("namespaces", told);
        // The only one that there is, at each of them: it need not be named.
        for node in &nodes {
            let viewer = watch(&url(quic(node)), &["--insecure", "--json"]);
            let sees = || viewer.output().contains("\"frames\":").then_some(());
            wait_until("something to be watched", 60, sees);
        }
        all_say("namespaces", told);
        encoder.terminate();
        encoder.wait(20);
        let nothing = pulls.map(|others| vec![0; others.len()]);
        all_say("namespaces", [&nothing[0], &nothing[1], &nothing[2]]);
        all_say("subscriptions", [&nothing[0], &nothing[1], &nothing[2]]);
        for node in &nodes {
            assert_eq!(node.metric("moq_session_panics_total"), 0);
        }
    }
}

/// Flips `moq.upstreams`, `moq.upstream_trust` and `moq.upstream_namespaces`.
#[test]
fn a_node_pulls_what_it_may_and_says_why_it_can_not() {
    let origin = Server::start(AIRWAVE, &[]);
    let there = quic(&origin);
    let (locked, _, _encoder) = crate::access::locked(&origin);
    let open = origin.input();
    let _other = Clip::make(&long()).publish(&open.rtmp, 1);
    origin.wait_live(&open);
    let token = crate::access::token(&origin, &locked.uid, &json!({}));
    let shown = format!("moqt://{there}/?jwt={token}");
    let start = |url: &str, trust: &str, namespaces: &str| {
        let (trust, namespaces) = (
            format!("moq.upstream_trust={trust}"),
            format!("moq.upstream_namespaces=[{namespaces}]"),
        );
        Server::start(AIRWAVE, &[&upstreams(&[url.to_owned()]), &trust, &namespaces])
    };
    let pinned = format!("sha256:{}", origin.get("/certificate.sha256").text().trim());
    for (url, trust, namespaces, told) in [
        (&*url(&there), "anybody", "", 1),
        (&shown, &*pinned, "", 2),
        (&shown, "anybody", "\"default\"", 2),
        (&shown, "anybody", "\"elsewhere\"", 0),
    ] {
        let mut edge = start(url, trust, namespaces);
        wait_says(&edge, "connected", &there, 1);
        wait_says(&edge, "namespaces", &there, told);
        // Whoever may come here may watch what our token opened there.
        if told == 2 {
            let viewer = watch(&address(&edge, "", &locked.uid), &["--insecure", "--json"]);
            let sees = || viewer.output().contains("\"frames\":").then_some(());
            wait_until("what is locked to be watched", 60, sees);
        }
        let log = edge.child().output();
        assert!(log.contains("upstream connected") && !log.contains(&token), "{log}");
    }
    // What a wrong one does not open is said, and all else is there.
    let wrong = format!("{}AAAA", &token[..token.len() - 4]);
    let mut edge = start(&format!("moqt://{there}/?jwt={wrong}"), "anybody", "");
    wait_says(&edge, "token_refused", &there, 1);
    wait_says(&edge, "namespaces", &there, 1);
    wait_says(&edge, "broadcasts", &there, 1);
    let log = edge.child().output();
    let advice = "is the token in moq.upstreams good, and not over?";
    assert!(log.contains(advice) && !log.contains(&wrong[..wrong.len() - 4]), "{log}");
    let nobody = free_address().to_string();
    let other = format!("sha256:{}", "00".repeat(32));
    for (at, trust, advice) in [
        (&*there, "", "moq.upstream_trust says whose certificates are believed"),
        (&there, &other, "moq.upstream_trust says whose certificates are believed"),
        (&nobody, "anybody", "does it run, and does UDP get there?"),
    ] {
        let mut edge = start(&format!("moqt://{at}/?jwt={token}"), trust, "");
        wait_until(advice, 60, || edge.child().output().contains(advice).then_some(()));
        assert!(!edge.child().output().contains(&token), "{}", edge.child().output());
        assert_eq!(says(&edge, "connected", at), 0);
        assert_eq!(edge.admin("/readyz").status, 200, "what is published here is watched here");
    }
}

/// Flips `moq.upstreams`: what is said of them follows a reload, also a token, and who watches does not notice.
#[test]
fn upstreams_and_their_tokens_follow_a_reload() {
    let origins = [Server::start(AIRWAVE, &[]), Server::start(AIRWAVE, &[])];
    let [one, two] = origins.each_ref().map(quic);
    let (input, _, _locked) = crate::access::locked(&origins[0]);
    let token = crate::access::token(&origins[0], &input.uid, &json!({}));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("airwave.toml");
    let say = |urls: &[String]| {
        let text = format!("[moq]\nupstream_trust = \"anybody\"\nupstreams = {}\n", json!(urls));
        std::fs::write(&file, text).unwrap();
    };
    say(&[]);
    let arguments = ["--config", file.to_str().unwrap()];
    let mut edge = Server::start_with(AIRWAVE, &folder.path().join("data"), &[], &arguments);
    let change = |edge: &mut Server, urls: &[String]| {
        let before = edge.child().output().len();
        say(urls);
        edge.child().signal("HUP");
        let reloaded = || edge.child().output()[before..].contains("reloaded").then_some(());
        wait_until("the reload", 20, reloaded);
    };
    // One that comes, at first without a token.
    change(&mut edge, &[url(&one)]);
    wait_says(&edge, "connected", &one, 1);
    assert_eq!(says(&edge, "namespaces", &one), 0, "it needs a token");
    let shown = |token: &str| format!("moqt://{one}/?jwt={token}");
    change(&mut edge, &[shown(&token)]);
    wait_says(&edge, "broadcasts", &one, 1);
    let viewer = watch(&address(&edge, "", &input.uid), &["--insecure", "--json"]);
    let frames = || -> u64 {
        let output = viewer.output();
        let second = output.lines().last().and_then(|l| serde_json::from_str(l).ok());
        second.and_then(|s: serde_json::Value| s["tracks"][0]["frames"].as_u64()).unwrap_or(0)
    };
    wait_until("something to be watched", 60, || (frames() > 0).then_some(()));
    // Another token, and another upstream beside.
    let next = crate::access::token(&origins[0], &input.uid, &json!({ "downloadable": true }));
    assert_ne!(token, next);
    change(&mut edge, &[shown(&next), url(&two)]);
    wait_says(&edge, "connections_total", &one, 3);
    wait_says(&edge, "connected", &two, 1);
    let before = frames();
    wait_until("it to go on", 60, || (frames() > before + 60).then_some(()));
    assert_eq!(edge.metric("moq_subscriptions_total"), 3, "nobody had to subscribe again");
    // None of it any more.
    change(&mut edge, &[url(&two)]);
    let (code, output) = outcome(viewer);
    assert_eq!(code, 0, "its broadcast has ended: {output}");
    let log = edge.child().output();
    assert!(!log.contains("need a restart") && !log.contains(&next), "{log}");
    assert_eq!(says(&edge, "connections_total", &two), 1);
}

/// Who publishes here has the name, whatever an upstream has under it.
#[test]
fn a_name_that_both_have_is_that_of_who_publishes_here() {
    const OPEN: &str = "moq.open_namespaces=[\"room\"]";
    let origin = Server::start(AIRWAVE, &[OPEN]);
    let there = quic(&origin);
    let urls = upstreams(&[url(&there)]);
    let edge = Server::start(AIRWAVE, &[OPEN, &urls, ANYBODY]);
    let there_is = ClipSpec { group: 30, ..ClipSpec::plain("there", 60) };
    let here_is = ClipSpec { name: "here", size: (480, 270), ..there_is.clone() };
    let clips = [Clip::make(&there_is), Clip::make(&here_is)];
    let publish = |server: &Server, clip: &Clip| {
        let to = format!("moqt://{}/#msf:room-one", quic(server));
        let mut command = std::process::Command::new(AIRWAVE);
        Child::start(command.arg("publish").arg(clip.path()).args(["--to", &to, "--insecure"]))
    };
    let room = format!("moqt://{}/#msf:room-one", quic(&edge));
    let folder = tempfile::tempdir().unwrap();
    let of = |clip: &Clip, name: &str| {
        let file = folder.path().join(name);
        let keep = ["--insecure", "--wait", "--for", "6", "--record", file.to_str().unwrap()];
        let (code, output) = outcome(watch(&room, &keep));
        assert_eq!(code, 0, "{output}");
        let source: Vec<Packet> = packets(clip.path(), 'v');
        let got = packets(&file, 'v');
        !got.is_empty() && got.iter().all(|p| source.iter().any(|s| s.hash == p.hash))
    };
    let sends = |publisher: &Child| {
        wait_until("it to be sent", 60, || publisher.output().contains("kbit/s").then_some(()));
    };
    let there_it_is = publish(&origin, &clips[0]);
    sends(&there_it_is);
    wait_says(&edge, "namespaces", &there, 1);
    assert!(of(&clips[0], "before.mp4"));
    let mut here = publish(&edge, &clips[1]);
    sends(&here);
    assert!(of(&clips[1], "meanwhile.mp4"));
    here.signal("INT");
    here.wait(20);
    assert!(of(&clips[0], "after.mp4"), "it is the upstream's again");
}

/// Two origins have the same broadcast: the one that is lost is replaced by the other, and viewers have its end and go on.
#[test]
fn an_edge_goes_on_with_another_origin_when_one_is_lost() {
    const OPEN: &str = "moq.open_namespaces=[\"room\"]";
    let mut origins = [Server::start(AIRWAVE, &[OPEN]), Server::start(AIRWAVE, &[OPEN])];
    let at = origins.each_ref().map(quic);
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("twice", 90) });
    let publish = |to: &String| {
        let to = format!("moqt://{to}/#msf:room-one");
        let mut command = std::process::Command::new(AIRWAVE);
        Child::start(command.arg("publish").arg(clip.path()).args(["--to", &to, "--insecure"]))
    };
    let publishers = at.each_ref().map(publish);
    for publisher in &publishers {
        wait_until("it to be sent", 60, || publisher.output().contains("kbit/s").then_some(()));
    }
    let edge = edge_of(&[&origins[0], &origins[1]]);
    at.iter().for_each(|at| wait_says(&edge, "namespaces", at, 1));
    let room = format!("moqt://{}/#msf:room-one", quic(&edge));
    let sees = |viewer: &Child| {
        let sees = || viewer.output().contains("\"frames\":").then_some(());
        wait_until("something to be watched", 60, sees);
    };
    let viewer = watch(&room, &["--insecure", "--wait", "--json"]);
    sees(&viewer);
    // The catalog, pictures and sound, of one of them.
    let pulls = |n: usize| says(&edge, "subscriptions", &at[n]);
    let used = usize::from(pulls(0) == 0);
    assert_eq!((pulls(used), pulls(1 - used)), (3, 0));
    origins[used].child().kill();
    let (code, output) = outcome(viewer);
    assert_eq!(code, 0, "its track has ended: {output}");
    let viewer = watch(&room, &["--insecure", "--wait", "--json"]);
    sees(&viewer);
    assert_eq!((pulls(used), pulls(1 - used)), (0, 3));
    assert_eq!(says(&edge, "connections_total", &at[1 - used]), 1);
    assert!(says(&edge, "received_bytes_total", &at[1 - used]) > 0);
    // Who is back is not changed to.
    assert_eq!(says(&edge, "connected", &at[used]), 0);
    viewer.signal("INT");
    assert_eq!(outcome(viewer).0, 0);
}

/// One origin that stands in the list several times is one broadcast, and none when it has ended there.
#[test]
fn an_origin_that_is_named_several_times_is_there_once() {
    let origin = Server::start(AIRWAVE, &["ingest.reconnect_s=0"]);
    let there = quic(&origin);
    let edge = edge_of(&[&origin, &origin, &origin]);
    let names = [there.clone(), format!("{there}#2"), format!("{there}#3")];
    names.iter().for_each(|name| wait_says(&edge, "connected", name, 1));
    let input = origin.input();
    let clip = Clip::make(&long());
    let mut encoder = clip.publish(&input.rtmp, 1);
    origin.wait_live(&input);
    names.iter().for_each(|name| wait_says(&edge, "namespaces", name, 1));
    // The only one that there is: it need not be named.
    let viewer = watch(&url(quic(&edge)), &["--insecure", "--json"]);
    let sees = || viewer.output().contains("\"frames\":").then_some(());
    wait_until("something to be watched", 60, sees);
    let pulls = || names.iter().map(|name| says(&edge, "subscriptions", name)).sum::<u64>();
    assert_eq!(pulls(), 3, "once");
    encoder.terminate();
    encoder.wait(20);
    assert_eq!(outcome(viewer).0, 0);
    names.iter().for_each(|name| wait_says(&edge, "namespaces", name, 0));
    assert_eq!(pulls(), 0);
    let (code, output) = outcome(watch(&url(quic(&edge)), &["--insecure", "--json"]));
    assert_ne!(code, 0, "there is nothing: {output}");
}
