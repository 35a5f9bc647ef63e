//! Of two people one may watch and the other may not: each rule of who may, over HTTP and over MoQ. The rules of the API's own tokens:
//! `-p api authorisation`.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Instant;

use client::address::MoqAddress;
use io_moq::client::{Client, Denial, Trust};
use moqt::{Filter, GroupOrder, Location, Range, RequestCode};
use serde_json::{Value, json};
use testkit::{Child, Impaired, Input, MediaPlaylist, Server, Shape, request, wait_until};

use crate::AIRWAVE;
use crate::access::{database, locked, now_s, sign_many, token};
use crate::moq_program::{Groups, all_of, outcome, watch};
use crate::reload::reload;

/// Where two people are: in Germany and in France, says the database.
const ONE: &str = "127.0.0.2";
const OTHER: &str = "127.0.0.3";

/// Who asks with this in the path, from this address.
struct Person {
    segment: String,
    from: &'static str,
}

/// A rule, whom it lets in and whom it does not.
struct Rule {
    of: &'static str,
    may: Person,
    may_not: Person,
    status: u16,
    words: &'static str,
}

/// A locked broadcast on the air, and another one's input.
struct Desk {
    server: Server,
    input: Input,
    other: Input,
    video: String,
    _encoder: Child,
    _folder: tempfile::TempDir,
}

/// In which countries the two are.
fn countries(one: &str, other: &str) -> Vec<u8> {
    let host = |text: &str| (text.parse().unwrap(), 32);
    database(&[(host(ONE), one), (host(OTHER), other)])
}

const TRUSTED: &str = r#"http.trusted_proxies=["127.0.0.1"]"#;

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("countries.mmdb");
        std::fs::write(&file, countries("DE", "FR")).unwrap();
        let countries = format!("access.country_database={}", file.display());
        let server = Server::start(AIRWAVE, &[&countries, TRUSTED]);
        let (input, video, encoder) = locked(&server);
        let other = server.input();
        Self { server, input, other, video, _encoder: encoder, _folder: folder }
    }

    /// A segment that is whole: its number, and its name below `/SEGMENT/`.
    fn segment(&self, link: &str) -> (u64, String) {
        let list = self.server.url(&format!("/{link}/manifest/video.cmaf.m3u8"));
        wait_until("a segment", 60, || {
            let list = MediaPlaylist::parse(&self.server.get(&list.path).text()).ok()?;
            let whole = list.segments.iter().rev().find_map(|s| Some((s.number, s.file.clone()?)));
            let (number, (_, uri)) = whole?;
            Some((number, uri.trim_start_matches("../").to_owned()))
        })
    }

    /// Every rule that holds whatever is spoken. docs/access.md.
    fn rules(&self) -> Vec<Rule> {
        let (server, uid) = (&self.server, &self.input.uid);
        let post = |path: &str, body: Value| {
            let answer = server.api("POST", path, Some(&body));
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            answer.json()["result"].clone()
        };
        let delete = |path: &str, id: &Value| {
            let path = format!("{path}/{}", id.as_str().unwrap());
            assert_eq!(server.api("DELETE", &path, None).status, 200, "{path}");
        };
        let keys: [Value; 2] =
            std::array::from_fn(|_| post("/stream/keys", json!({ "algorithm": "EdDSA" })));
        let soon = now_s() + 3_600;
        let signed = |key: &Value, exp: u64, nbf: u64| {
            let claims = json!({ "sub": uid, "exp": exp, "nbf": nbf });
            sign_many(key, "EdDSA", &claims, 1).remove(0)
        };
        let good = signed(&keys[0], soon, 0);
        let (over, early) =
            (signed(&keys[0], now_s() - 1, 0), signed(&keys[0], soon, now_s() + 600));
        let of_a_deleted_key = signed(&keys[1], soon, 0);
        delete("/stream/keys", &keys[1]["id"]);
        let links = format!("/stream/{uid}/links");
        let [kept, taken]: [Value; 2] =
            std::array::from_fn(|_| post(&links, json!({ "name": "a friend" })));
        delete(&links, &taken["id"]);
        let text = |link: &Value| link["token"].as_str().unwrap().to_owned();

        let any = |action: &str| json!({ "type": "any", "action": action });
        let ip = |action: &str, of: &str| json!({ "type": "ip.src", "action": action, "ip": [of] });
        let country = |action: &str, of: &str| json!({ "type": "ip.geoip.country", "action": action, "country": [of] });
        let by = |rules: &[Value]| token(server, uid, &json!({ "accessRules": rules }));
        // Two links, at one place.
        let links = |of, may: &str, may_not: String, status, words| {
            let [may, may_not] =
                [may.to_owned(), may_not].map(|segment| Person { segment, from: ONE });
            Rule { of, may, may_not, status, words }
        };
        // One link, at two places.
        let places = |of, rules: &[Value]| {
            let link = by(rules);
            let [may, may_not] = [ONE, OTHER].map(|from| Person { segment: link.clone(), from });
            Rule { of, may, may_not, status: 403, words: HERE }
        };
        let first = |one: Value, then: Value| by(&[one, then]);
        vec![
            links("requireSignedURLs", &good, uid.clone(), 401, "a signed link only"),
            links("sub", &good, token(server, &self.other.uid, &json!({})), 403, "something else"),
            links("exp", &good, over, 401, "expired"),
            links("nbf", &good, early, 401, "not valid yet"),
            links("kid: a key that was deleted", &good, of_a_deleted_key, 401, "was deleted"),
            links("a link that was taken back", &text(&kept), text(&taken), 401, "taken back"),
            links("any", &by(&[any("allow")]), by(&[any("block")]), 403, HERE),
            links(
                "the first that fits, of two",
                &first(ip("allow", ONE), any("block")),
                first(any("block"), ip("allow", ONE)),
                403,
                HERE,
            ),
            places("ip.src, allow", &[ip("allow", ONE), any("block")]),
            places("ip.src, block", &[ip("block", OTHER)]),
            places(
                "the first that fits, of three",
                &[ip("allow", ONE), ip("block", "127.0.0.0/24"), any("allow")],
            ),
            places("ip.geoip.country, allow", &[country("allow", "DE"), any("block")]),
            places("ip.geoip.country, block", &[country("block", "FR")]),
        ]
    }
}

const HERE: &str = "may not be used from here";

#[test]
fn of_two_people_each_rule_lets_one_watch() {
    let desk = Desk::new();
    let server = &desk.server;
    let get = |segment: &str, path: &str, field: (&str, &str)| {
        request("GET", &server.url(&format!("/{segment}/{path}")), &[field], b"")
    };
    let open = token(server, &desk.input.uid, &json!({}));
    let media = desk.segment(&open).1;
    for rule in desk.rules() {
        let ask = |person: &Person, path: &str| {
            get(&person.segment, path, ("x-forwarded-for", person.from))
        };
        for path in ["manifest/video.cmaf.m3u8", &media, &format!("allowed/{}", desk.video)] {
            let (may, may_not) = (ask(&rule.may, path), ask(&rule.may_not, path));
            let expect = if path.starts_with("allowed") { 204 } else { 200 };
            assert_eq!(may.status, expect, "{}: {path}: {}", rule.of, may.text());
            // A link for something else opens that, which is not on the air.
            if rule.of == "sub" && path.starts_with("manifest") {
                assert_eq!(may_not.status, 204, "{}", may_not.text());
                continue;
            }
            let told = may_not.text();
            assert_eq!(may_not.status, rule.status, "{}: {path}: {told}", rule.of);
            assert!(told.contains(rule.words), "{}: {path}: {told}", rule.of);
        }
    }
    // What only HTTP has: files, and pages.
    let keep = token(server, &desk.input.uid, &json!({ "downloadable": true }));
    for (of, link, status) in [("downloadable", &keep, 200), ("not downloadable", &open, 403)] {
        let clip = get(link, "clip.mp4?time=0&duration=1", ("x-forwarded-for", ONE));
        assert_eq!(clip.status, status, "{of}: {} bytes", clip.body.len());
    }
    let recording = json!({ "requireSignedURLs": true, "allowedOrigins": ["good.example"] });
    let path = format!("/stream/live_inputs/{}", desk.input.uid);
    let changed = server.api("PUT", &path, Some(&json!({ "recording": recording })));
    assert_eq!(changed.status, 200, "{}", changed.text());
    for (page, status) in [("https://good.example", 200), ("https://evil.example", 403)] {
        for path in ["manifest/video.cmaf.m3u8", &media] {
            let answer = get(&open, path, ("origin", page));
            assert_eq!(answer.status, status, "{page}: {path}: {}", answer.text());
        }
    }
}

/// A live subscription, and a fetch of one segment.
type Watched = (Result<(), Denial>, Result<Groups, Denial>);

/// What comes of both in one session, at this address, of who has this in the path.
fn watched(at: SocketAddr, segment: &str, uid: &str, group: u64) -> Watched {
    let url = format!("moqt://{at}/{segment}#msf:default-{uid}");
    let address = MoqAddress::parse(&url).unwrap();
    let namespace = address.namespace.clone().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let origin = spine::Origin::new(spine::Limits::default());
        let client = Client::connect(&address.server, Trust::Anybody, origin).await;
        let mut client = client.map_err(|error| error.to_string()).unwrap();
        let remote = client.handle().remote(namespace).unwrap();
        let asking = async {
            let live = match remote.subscribe("video.cmaf", Filter::NextObject).await {
                Err(denial) => Err(denial),
                Ok(subscribed) => {
                    let from = spine::Filter::from(spine::Start::NextObject);
                    let mut cursor = subscribed.track.subscribe(from, spine::Policy::EVERYTHING);
                    loop {
                        match poll_fn(|cx| cursor.poll(cx, Instant::now())).await {
                            spine::Event::Subgroup(_) => break Ok(()),
                            spine::Event::End(end) => panic!("{end:?}"),
                            _ => {}
                        }
                    }
                }
            };
            let (start, end) = (Location::new(group, 0), Location::new(group, Range::WHOLE_GROUP));
            let range = Range { start, end };
            let past = match remote.fetch("video.cmaf", range, GroupOrder::Ascending).await {
                Ok(fetched) => Ok(all_of(fetched).await.unwrap()),
                Err(denial) => Err(denial),
            };
            (live, past)
        };
        tokio::select! {
            watched = asking => watched,
            over = client.run() => panic!("{}", over.reason()),
        }
    })
}

/// Whoever asks over QUIC is judged by where he comes from too: the same link opens here and not there.
#[test]
fn of_two_people_each_rule_lets_one_watch_over_moq() {
    let desk = Desk::new();
    let to = desk.server.addresses["quic"].as_str().unwrap().parse().unwrap();
    let relays = [ONE, OTHER].map(|from| {
        let line = Shape::default();
        (from, Impaired::start_from(from.parse().unwrap(), to, line, line, 1))
    });
    let uid = &desk.input.uid;
    let open = token(&desk.server, uid, &json!({}));
    for rule in desk.rules() {
        let (number, media) = desk.segment(&open);
        let watch = |person: &Person| {
            let relay = relays.iter().find(|(from, _)| *from == person.from).unwrap();
            watched(relay.1.address(), &person.segment, uid, number)
        };
        let (live, past) = watch(&rule.may);
        assert_eq!(live, Ok(()), "{}", rule.of);
        let bytes = desk.server.get(&format!("/{open}/{media}")).body;
        assert!(past == Ok(vec![(number, Some(bytes))]), "{}: segment {number}", rule.of);
        let (live, past) = watch(&rule.may_not);
        for refused in [live.err(), past.err()] {
            let Some(Denial::Answered(error)) = refused else { panic!("{}: {refused:?}", rule.of) };
            let code = if rule.of == "exp" {
                RequestCode::ExpiredAuthToken
            } else {
                RequestCode::Unauthorized
            };
            assert_eq!(error.code, code, "{}: {}", rule.of, error.reason);
            assert!(error.reason.contains(rule.words), "{}: {}", rule.of, error.reason);
        }
    }
}

/// The file has something else in it, or another one is named: that holds without a restart, for who is watching too.
#[test]
fn another_database_of_countries_follows_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (file, config) = (at("countries.mmdb"), at("airwave.toml"));
    let text = format!("[access]\ncountry_database = {file:?}\n");
    std::fs::write(&file, countries("DE", "FR")).unwrap();
    std::fs::write(&config, &text).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let mut server = Server::start_with(AIRWAVE, &at("data"), &[TRUSTED], &arguments);
    let (input, _, _encoder) = locked(&server);
    let rules = json!({ "accessRules": [
        { "type": "ip.geoip.country", "action": "allow", "country": ["DE"] },
        { "type": "any", "action": "block" },
    ] });
    let link = token(&server, &input.uid, &rules);
    let status = |server: &Server| {
        let url = server.url(&format!("/{link}/manifest/video.cmaf.m3u8"));
        [ONE, OTHER].map(|from| request("GET", &url, &[("x-forwarded-for", from)], b"").status)
    };
    assert_eq!(status(&server), [200, 403]);
    let to = server.addresses["quic"].as_str().unwrap().parse().unwrap();
    let line = Shape::default();
    let relay = Impaired::start_from(ONE.parse().unwrap(), to, line, line, 1);
    let url = format!("moqt://{}/{link}#msf:default-{}", relay.address(), input.uid);
    let viewer = watch(&url, &["--insecure", "--json"]);
    wait_until("something to be watched", 60, || {
        viewer.output().contains("\"frames\":").then_some(())
    });

    std::fs::write(&file, countries("FR", "DE")).unwrap();
    assert_eq!(status(&server), [200, 403], "nobody has asked for it");
    reload(&mut server, &text, &config, "configuration reloaded changed=\"none\"");
    assert_eq!(status(&server), [403, 200]);
    let (code, output) = outcome(viewer);
    let ended = output.contains("the server ended the subscription: Unauthorized");
    assert!(code == 1 && ended, "{code}: {output}");

    // What is no database changes nothing.
    std::fs::write(&file, "no database").unwrap();
    let log = reload(&mut server, &text, &config, "nothing was changed");
    assert!(log.contains("access.country_database"), "{log}");
    assert_eq!(status(&server), [403, 200]);
    // Without one nobody is in a country, and no such token is made.
    reload(&mut server, "", &config, "changed=\"access.country_database\"");
    assert_eq!(status(&server), [403, 403]);
    let path = format!("/stream/{}/token", input.uid);
    assert_eq!(server.api("POST", &path, Some(&rules)).status, 400);
}
