//! Behind load balancers: whom a connection or a request is for, and who may say so.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use testkit::{Clip, ClipSpec, Gateway, Input, Server, Url, request, wait_until};

use crate::AIRWAVE;
use crate::certificates::{ask_for, chain, over_tls};
use crate::hostile::{closed, connect};

/// A link that opens from one address only.
fn link(server: &Server, input: &Input, from: &str) -> String {
    let rules = json!({ "accessRules": [
        { "type": "ip.src", "action": "allow", "ip": [from] },
        { "type": "any", "action": "block" },
    ] });
    let answer = server.api("POST", &format!("/stream/{}/token", input.uid), Some(&rules));
    answer.json()["result"]["token"]
        .as_str()
        .unwrap_or_else(|| panic!("{}", answer.text()))
        .to_owned()
}

fn locked(server: &Server) -> Input {
    server.create_input(&json!({ "recording": { "requireSignedURLs": true } }))
}

/// Flips `http.trusted_proxies`.
#[test]
fn who_asks_is_whom_a_trusted_proxy_names_and_nobody_else() {
    for (trusted, allowed) in
        [("[]", false), (r#"["127.0.0.1"]"#, true), (r#"["10.0.0.0/8"]"#, false)]
    {
        let server = Server::start(AIRWAVE, &[&format!("http.trusted_proxies={trusted}")]);
        let input = locked(&server);
        let path = format!("/{}/lifecycle", link(&server, &input, "198.51.100.7"));
        let ask = |forwarded: &str| {
            request("GET", &server.url(&path), &[("x-forwarded-for", forwarded)], b"").status
        };
        let expect = if allowed { 200 } else { 403 };
        assert_eq!(ask("198.51.100.7"), expect, "{trusted}");
        // What the client wrote itself, in front of what the proxy saw.
        assert_eq!(ask("198.51.100.7, 203.0.113.9"), 403, "{trusted}");
        assert_eq!(ask("203.0.113.9, 198.51.100.7"), expect, "{trusted}");
        assert_eq!(ask("203.0.113.9, nonsense"), 403, "{trusted}");
        assert_eq!(server.get(&path).status, 403, "{trusted}: the proxy itself");
        // URLs are handed out as their reader will use them.
        let authorization = format!("Bearer {}", server.token);
        let headers = [("authorization", &*authorization), ("x-forwarded-proto", "https")];
        let url =
            server.url(&format!("/client/v4/accounts/default/stream/live_inputs/{}", input.uid));
        let seen = request("GET", &url, &headers, b"").json();
        let watch = seen["result"]["playback"]["hls"].as_str().unwrap().to_owned();
        assert_eq!(watch.starts_with("https://"), allowed, "{trusted}: {watch}");
        // Viewers are counted by their own addresses.
        if allowed {
            viewers(&server);
        }
    }
}

fn viewers(server: &Server) {
    let input = server.input();
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 10) });
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    let list = server.url(&format!("/{}/manifest/video.cmaf.m3u8", input.uid));
    for viewer in ["198.51.100.1", "198.51.100.2", "198.51.100.2", "2001:db8::1", "2001:db8::2"] {
        let agent = [("x-forwarded-for", viewer), ("user-agent", "player")];
        assert_eq!(request("GET", &list, &agent, b"").status, 200);
    }
    let views = server.get(&format!("/{}/views", input.uid)).json();
    assert_eq!(views["liveViewers"], 3, "{views}");
}

const V1: &[u8] = b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 80\r\n";

fn v2() -> Vec<u8> {
    let addresses = [198, 51, 100, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
}

/// Flips `proxy_protocol.trusted`.
#[test]
fn a_connection_is_for_whom_its_balancer_says() {
    // Ports 80 and 443 too; nobody is asked for a certificate.
    let server = Server::start(
        AIRWAVE,
        &[
            r#"proxy_protocol.trusted=["127.0.0.1/32"]"#,
            "http.allow_plain_api=true",
            r#"tls.domain=["live.example.test"]"#,
            "acme.directory=https://127.0.0.1:1/dir",
            "acme.http_listen=127.0.0.1:0",
            "acme.https_listen=127.0.0.1:0",
        ],
    );
    let gateway = Gateway::new();
    let http = server.addresses["http"].as_str().unwrap();
    let url = |path: &str| Url { authority: gateway.address().to_string(), path: path.to_owned() };
    // The API too is reached through it.
    gateway.lead_with(http, V1);
    let authorization = format!("Bearer {}", server.token);
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let api = |path: &str, body: &serde_json::Value| {
        let url = url(&format!("/client/v4/accounts/default{path}"));
        request("POST", &url, &headers, body.to_string().as_bytes()).json()["result"].clone()
    };
    let input = api("/stream/live_inputs", &json!({ "recording": { "requireSignedURLs": true } }));
    let rules = json!({ "accessRules": [
        { "type": "ip.src", "action": "allow", "ip": ["198.51.100.7"] },
        { "type": "any", "action": "block" },
    ] });
    let token = api(&format!("/stream/{}/token", input["uid"].as_str().unwrap()), &rules);
    let path = format!("/{}/lifecycle", token["token"].as_str().unwrap());
    for (first, status) in [
        (V1, 200),
        (&*v2(), 200),
        (b"PROXY TCP4 198.51.100.8 10.0.0.1 4711 80\r\n", 403),
        // The balancer's own look whether somebody is there.
        (b"PROXY UNKNOWN\r\n", 403),
    ] {
        gateway.lead_with(http, first);
        assert_eq!(
            request("GET", &url(&path), &[], b"").status,
            status,
            "{}",
            first.escape_ascii()
        );
    }
    for first in [V1, &*v2()] {
        gateway.lead_with(server.addresses["domain_http"].as_str().unwrap(), first);
        assert_eq!(request("GET", &url("/"), &[], b"").status, 308, "{}", first.escape_ascii());
    }
    let dismissed = |port: &str, mut socket: TcpStream, says: &[u8]| {
        socket.write_all(says).unwrap();
        assert!(closed(&mut socket, Duration::from_secs(60)), "{port}: {}", says.escape_ascii());
    };
    for port in ["http", "https", "domain_http", "domain_https", "rtmp", "rtmps"] {
        // It must say so,
        let balancer = || TcpStream::connect(server.addresses[port].as_str().unwrap()).unwrap();
        dismissed(port, balancer(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        dismissed(
            port,
            balancer(),
            b"PROXY TCP4 198.51.100.7 10.0.0.1 4711 80 80\r\nGET / HTTP/1.1\r\n",
        );
    }
    assert_eq!(server.metric("http_proxy_lies_total"), 8);
    assert_eq!(server.metric("rtmp_proxy_lies_total"), 4);
    // and a stranger's words are what they are: no HTTP.
    for port in ["http", "domain_http"] {
        let mut stranger = connect(&server, port, 9);
        stranger.write_all(&[V1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).unwrap();
        let mut answer = String::new();
        stranger.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{port}: {answer}");
    }
}

/// In front of the handshake, where a balancer hands TLS on as it is. On port 443 of a name too.
#[test]
fn access_rules_ask_for_whom_a_balancer_names_before_tls() {
    const NAME: &str = "live.example.test";
    let server = Server::start(
        AIRWAVE,
        &[
            r#"proxy_protocol.trusted=["127.0.0.1/32"]"#,
            r#"proxy_protocol.listeners=["https"]"#,
            &format!("tls.domain=[\"{NAME}\"]"),
            "acme.directory=https://127.0.0.1:1/dir",
            "acme.http_listen=127.0.0.1:0",
            "acme.https_listen=127.0.0.1:0",
        ],
    );
    let path = format!("/{}/lifecycle", link(&server, &locked(&server), "198.51.100.7"));
    let own = chain(&server.data().join("self-signed.pem")).remove(0);
    let asked = |socket: TcpStream| {
        let mut tls = over_tls(socket, NAME, &own)?;
        Ok::<_, String>(ask_for(&mut tls, NAME, &path)["HTTP/1.1 ".len()..][..3].to_owned())
    };
    for port in ["https", "domain_https"] {
        let address = server.addresses[port].as_str().unwrap();
        for (first, status) in [
            (V1, "200"),
            (&*v2(), "200"),
            (b"PROXY TCP4 198.51.100.8 10.0.0.1 4711 443\r\n", "403"),
            (b"PROXY UNKNOWN\r\n", "403"),
        ] {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.write_all(first).unwrap();
            assert_eq!(asked(socket).as_deref(), Ok(status), "{port} {}", first.escape_ascii());
        }
        // A stranger speaks for himself, and whom he names is no handshake.
        assert_eq!(asked(connect(&server, port, 9)).as_deref(), Ok("403"), "{port}");
        for first in [V1, &*v2()] {
            let mut stranger = connect(&server, port, 9);
            stranger.write_all(first).unwrap();
            assert!(asked(stranger).is_err(), "{port} {}", first.escape_ascii());
        }
    }
    assert_eq!(server.metric("http_proxy_lies_total"), 0);
}

/// Flips `http.allow_plain_api`.
#[test]
fn in_clear_the_api_answers_this_machine_only_unless_told_otherwise() {
    for (allowed, status) in [(false, 403), (true, 200)] {
        let allow = format!("http.allow_plain_api={allowed}");
        let server =
            Server::start(AIRWAVE, &[r#"proxy_protocol.trusted=["127.0.0.1/32"]"#, &allow]);
        let gateway = Gateway::new();
        let path = "/client/v4/accounts/default/stream/live_inputs".to_owned();
        let url = Url { authority: gateway.address().to_string(), path };
        let authorization = format!("Bearer {}", server.token);
        for (from, expect) in
            [(V1, status), (b"PROXY TCP4 127.0.0.1 10.0.0.1 4711 80\r\n".as_slice(), 200)]
        {
            gateway.lead_with(server.addresses["http"].as_str().unwrap(), from);
            let answer = request("GET", &url, &[("authorization", &*authorization)], b"");
            assert_eq!(answer.status, expect, "{allow}: {}", answer.text());
            let told = answer.text().contains("set http.allow_plain_api = true");
            assert_eq!(told, expect == 403, "{}", answer.text());
        }
    }
}

/// Flips `proxy_protocol.listeners`.
#[test]
fn encoders_come_through_a_balancer_too() {
    let settings = [
        r#"proxy_protocol.trusted=["127.0.0.1"]"#,
        r#"proxy_protocol.listeners=["rtmp", "rtmps"]"#,
    ];
    let mut server = Server::start(AIRWAVE, &settings);
    // HTTP is not behind it.
    let input = server.input();
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let gateway = Gateway::new();
    for port in ["rtmp", "rtmps"] {
        gateway.lead_with(server.addresses[port].as_str().unwrap(), &v2());
        let url = format!("{port}://{}/live/{}", gateway.address(), input.key);
        let encoder = clip.publish(&url, -1);
        server.wait_live(&input);
        // What it says is read a moment after it happens.
        wait_until("whom it speaks for, in the log", 20, || {
            server.child().output().contains("peer=198.51.100.7:4711").then_some(())
        });
        drop(encoder);
    }
    // Wrong keys count against who sent them, and not against all who come through the balancer.
    let wrong = |from: &str| {
        let first = format!("PROXY TCP4 {from} 10.0.0.1 4711 1935\r\n");
        gateway.lead_with(server.addresses["rtmp"].as_str().unwrap(), first.as_bytes());
        let mut encoder = clip.publish(&format!("rtmp://{}/live/wrong", gateway.address()), 1);
        encoder.wait(20);
    };
    for _ in 0..11 {
        wrong("203.0.113.9");
    }
    let told = |server: &mut Server, words: &str| {
        let lines = server.child().output();
        lines.lines().filter(|line| line.contains(words) && line.contains("refused")).count()
    };
    assert_eq!(server.metric("rtmp_publishes_refused_total"), 11);
    // A few of them are in the log.
    assert!(told(&mut server, "203.0.113.9") > 0);
    gateway.lead_with(server.addresses["rtmp"].as_str().unwrap(), V1);
    let _encoder = clip.publish(&format!("rtmp://{}/live/{}", gateway.address(), input.key), -1);
    server.wait_live(&input);
}

/// Flips `http.public_url`.
#[test]
fn addresses_are_those_of_the_proxy_in_front() {
    const PUBLIC: &str = "https://tv.example.test:8443";
    let server = Server::start(
        AIRWAVE,
        &[&format!("http.public_url={PUBLIC}/"), r#"http.trusted_proxies=["127.0.0.1"]"#],
    );
    let input = server.create_input(&json!({ "recording": { "allowedOrigins": ["a.example"] } }));
    let seen = server.api("GET", &format!("/stream/live_inputs/{}", input.uid), None).json();
    let seen = &seen["result"];
    for (address, expect) in [
        (&seen["playback"]["hls"], format!("{PUBLIC}/{}/manifest/video.m3u8", input.uid)),
        (&seen["watch"], format!("{PUBLIC}/{}/watch", input.uid)),
    ] {
        assert_eq!(address, &json!(expect));
    }
    // Encoders go where the name leads, to our own port.
    let rtmp = seen["rtmp"]["url"].as_str().unwrap();
    assert!(rtmp.starts_with("rtmp://tv.example.test:"), "{rtmp}");
    let page = server.get(&format!("/{}/watch", input.uid)).text();
    assert!(
        page.contains(&format!("<link rel=\"canonical\" href=\"{PUBLIC}/{}/", input.uid)),
        "{page}"
    );
    let oembed = format!("/oembed?url={PUBLIC}/{}/watch", input.uid);
    assert_eq!(server.get(&oembed).json()["provider_url"], format!("{PUBLIC}/"));
    // Pages of that name are this server's own, whatever the proxy calls it; pages of others are not.
    let path = format!("/{}/lifecycle", input.uid);
    for (origin, status) in
        [(PUBLIC, 200), ("https://tv.example.test", 403), ("http://b.example", 403)]
    {
        assert_eq!(
            request("GET", &server.url(&path), &[("origin", origin)], b"").status,
            status,
            "{origin}"
        );
        let body = json!({ "token": server.token }).to_string();
        let headers = [("origin", origin), ("x-forwarded-proto", "https")];
        let answer = request("POST", &server.url("/client/v4/session"), &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{origin}: {}", answer.text());
        // Whoever came to the proxy over TLS has a cookie that never goes out in clear.
        let cookie = answer.headers.get("set-cookie");
        assert_eq!(cookie.is_some(), status == 200);
        assert!(
            cookie.is_none_or(|c| c.starts_with("__Secure-") && c.ends_with("; Secure")),
            "{cookie:?}"
        );
    }
    // What says nothing of TLS, or is said by somebody whom nobody trusts, gets the one in clear.
    let plain = Server::start(AIRWAVE, &[]);
    for (server, proto) in [(&server, "http"), (&plain, "https")] {
        let body = json!({ "token": server.token }).to_string();
        let url = server.url("/client/v4/session");
        let answer = request("POST", &url, &[("x-forwarded-proto", proto)], body.as_bytes());
        assert!(
            answer.headers["set-cookie"].starts_with("airwave-session="),
            "{:?}",
            answer.headers
        );
        assert!(!answer.headers.contains_key("strict-transport-security"), "no name is ours");
    }
}

/// Flips `limits.http_connections_per_address`.
#[test]
fn an_address_has_a_share_of_the_connections() {
    for (max, open) in [(3, 3), (0, 40)] {
        let server =
            Server::start(AIRWAVE, &[&format!("limits.http_connections_per_address={max}")]);
        let hold = |from: u8| {
            let mut socket = connect(&server, "http", from);
            socket.write_all(b"GET /live.json HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut byte = [0; 1];
            matches!(socket.read(&mut byte), Ok(1)).then_some(socket)
        };
        let mut held: Vec<TcpStream> = (0..40).filter_map(|_| hold(7)).collect();
        assert_eq!(held.len(), open, "{max}");
        assert_eq!(server.metric("http_connections_refused_address_total"), 40 - open as u64);
        assert!(hold(8).is_some(), "another one has its own share");
        held.pop();
        wait_until("room for one more", 20, || hold(7));
    }
}
