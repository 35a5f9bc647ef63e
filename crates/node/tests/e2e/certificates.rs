//! Names of the server: certificates from a real authority (Pebble), proved in each of the three ways, and what becomes of
//! connections when a new one comes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use acme::validity::Validity;
use io_moq::transport::{Endpoint, Trust, fingerprint};
use serde_json::json;
use testkit::{Authority, Child, Clip, ClipSpec, Server, Url, request, skip, tool, wait_until};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::AIRWAVE;

/// A server that asks this authority for its names.
fn named(authority: &Authority, data: &Path, challenge: &str, names: &[&str]) -> Server {
    let settings = authority.settings(challenge);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let says = |key: &str| settings.iter().any(|setting| setting.starts_with(key));
    assert!(says("acme.challenge=") && says("acme.dns_hook=") == (challenge == "dns-01"));
    // The flag is tls.domain.
    let flags: Vec<&str> = names.iter().flat_map(|name| ["--domain", name]).collect();
    let server = Server::start_with(AIRWAVE, data, &settings, &flags);
    assert_eq!(server.metric("certificates_issued_total"), 0, "it serves before it has one");
    server
}

/// Lets the authority in, and waits until it has signed.
fn let_in(authority: &Authority, server: &Server) {
    let_in_beside(authority, server, || {});
}

/// The same, and does this whenever it looks.
fn let_in_beside(authority: &Authority, server: &Server, mut meanwhile: impl FnMut()) {
    authority.port_80.lead_to(server.addresses["domain_http"].as_str().unwrap());
    authority.port_443.lead_to(server.addresses["domain_https"].as_str().unwrap());
    authority.open();
    wait_until("a certificate", 60, || {
        meanwhile();
        let metrics = server.metrics();
        assert_eq!(metrics["certificate_failures_total"], 0, "{}", ready(server));
        (metrics["certificates_issued_total"] == 1).then_some(())
    });
}

fn ready(server: &Server) -> String {
    let authority = server.addresses["admin"].as_str().unwrap().to_owned();
    request("GET", &Url { authority, path: "/readyz".to_owned() }, &[], b"").text()
}

/// The file with key and chain.
fn kept(server: &Server) -> PathBuf {
    let mut folders = std::fs::read_dir(server.data().join("acme")).unwrap();
    folders.next().unwrap().unwrap().path().join("certificate.pem")
}

pub(crate) fn chain(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).unwrap().map(Result::unwrap).collect()
}

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection over TLS that believes `authority`, as a browser or an encoder makes it.
fn connect(address: &str, name: &str, authority: &CertificateDer<'static>) -> Result<Tls, String> {
    over_tls(TcpStream::connect(address).unwrap(), name, authority)
}

/// The same on a connection that is there.
pub(crate) fn over_tls(
    mut socket: TcpStream,
    name: &str,
    authority: &CertificateDer<'static>,
) -> Result<Tls, String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let config = builder.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut socket).map_err(|error| error.to_string())?;
    }
    Ok(StreamOwned::new(client, socket))
}

fn certificate(tls: &Tls) -> Validity {
    Validity::of(&tls.conn.peer_certificates().unwrap()[0]).unwrap()
}

/// Asks on a connection that stays open; answers the first line.
fn ask(tls: &mut Tls, name: &str) -> String {
    ask_for(tls, name, "/live.json")
}

/// The same, for this.
pub(crate) fn ask_for(tls: &mut Tls, name: &str, path: &str) -> String {
    head(tls, name, path).lines().next().unwrap_or_default().to_owned()
}

/// The same; answers the whole head.
fn head(tls: &mut Tls, name: &str, path: &str) -> String {
    write!(tls, "GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // Its body, too: the next answer comes behind it.
    loop {
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split_once("content-length: ").map(|(_, rest)| rest);
            let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return String::from_utf8_lossy(&answer[..head.len()]).into_owned();
            }
        }
        let mut some = [0; 512];
        let n = tls.read(&mut some).unwrap();
        assert!(n > 0, "closed: {text}");
        answer.extend_from_slice(&some[..n]);
    }
}

/// Asks in clear, for this host; answers the whole answer.
fn plain(address: &str, path: &str, host: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn address<'a>(server: &'a Server, listener: &str) -> &'a str {
    server.addresses[listener].as_str().unwrap_or_else(|| panic!("{listener} is off"))
}

#[test]
fn a_name_is_proved_on_port_80_and_kept_over_a_restart() {
    if skip("acme") {
        return;
    }
    let (mut authority, folder) = (Authority::start(), tempfile::tempdir().unwrap());
    let (data, names) = (folder.path().join("data"), ["live.example.test", "tv.example.test"]);
    let server = named(&authority, &data, "http-01", &names);
    assert!(ready(&server).starts_with("ready, but there is no certificate for live.example.test"));
    let_in(&authority, &server);
    assert_eq!(ready(&server), "ready\n");

    // Key and account are for nobody else's eyes.
    let file = kept(&server);
    for path in [file.clone(), file.with_file_name("account.json")] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let signed = chain(&file);
    for (listener, name) in
        [("https", names[0]), ("https", names[1]), ("domain_https", names[0]), ("rtmps", names[1])]
    {
        let tls = connect(address(&server, listener), name, &signed[1]).unwrap();
        assert_eq!(tls.conn.peer_certificates().unwrap()[0], signed[0], "{listener}");
        assert!(certificate(&tls).covers(&names.map(str::to_owned)), "{listener}");
    }
    let refused = connect(address(&server, "https"), "other.example.test", &signed[1]);
    assert!(refused.unwrap_err().contains("not valid for name"));
    let mut tls = connect(address(&server, "domain_https"), names[0], &signed[1]).unwrap();
    // Browsers ask in clear no more, once they were here; in clear they are told nothing.
    let told = head(&mut tls, names[0], "/live.json");
    assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told}");
    assert!(told.contains("\r\nstrict-transport-security: max-age=15552000\r\n"), "{told}");
    let told = plain(address(&server, "http"), "/live.json", names[0]);
    assert!(!told.contains("strict-transport"), "{told}");
    let end = server.metric("certificate_not_after_timestamp_seconds");
    assert_eq!(end, certificate(&tls).not_after_ms / 1_000);

    // Port 80 leads everybody else to HTTPS.
    let (http, https) = (address(&server, "domain_http"), address(&server, "domain_https"));
    let port = https.rsplit(':').next().unwrap();
    let led = plain(http, "/a?b", "tv.example.test");
    assert!(led.starts_with("HTTP/1.1 308 "), "{led}");
    assert!(led.contains(&format!("location: https://tv.example.test:{port}/a?b\r\n")), "{led}");
    let proof = plain(http, "/.well-known/acme-challenge/x", "tv.example.test");
    assert!(proof.starts_with("HTTP/1.1 404 "), "proofs come down again: {proof}");
    // URLs that are handed out have the name.
    let made = server.api("POST", "/stream/live_inputs", Some(&json!({}))).json();
    assert!(
        made["result"]["rtmps"]["url"].as_str().unwrap().contains("//live.example.test:"),
        "{made}"
    );

    // The next run needs no authority.
    drop(server);
    authority.child().kill();
    let settings = authority.settings("http-01");
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let flags = ["--domain", names[0], "--domain", names[1]];
    let again = Server::start_with(AIRWAVE, &data, &settings, &flags);
    let tls = connect(address(&again, "https"), names[0], &signed[1]).unwrap();
    assert_eq!(tls.conn.peer_certificates().unwrap()[0], signed[0]);
    assert_eq!(again.get("/certificate.sha256").status, 404, "QUIC has it too");
    assert_eq!(ready(&again), "ready\n");
}

/// Flips `acme.challenge`: nobody leads port 80 anywhere. And the authority forgets its nonces now and then.
#[test]
fn names_are_proved_over_tls_while_others_are_served() {
    if skip("acme") {
        return;
    }
    let (authority, folder) = (Authority::rejecting(20), tempfile::tempdir().unwrap());
    let server =
        named(&authority, &folder.path().join("data"), "tls-alpn-01", &["live.example.test"]);
    let_in(&authority, &server);
    let signed = chain(&kept(&server));
    let tls = connect(address(&server, "https"), "live.example.test", &signed[1]).unwrap();
    assert!(certificate(&tls).names.contains("live.example.test"));
}

/// Flips `acme.contact`: the authority looks at it, and refuses one that is none.
#[test]
fn the_authority_is_told_whom_to_write_to() {
    if skip("acme") {
        return;
    }
    let (authority, folder) = (Authority::start(), tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    let start = |contact: &str| {
        let mut settings = authority.settings("tls-alpn-01");
        settings.push(format!("acme.contact={contact}"));
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        Server::start_with(AIRWAVE, &data, &settings, &["--domain", "live.example.test"])
    };
    let server = start("some..body@example.org");
    authority.open();
    wait_until("the authority to refuse whom to write to", 60, || {
        ready(&server).contains("some..body@example.org").then_some(())
    });
    drop(server);
    authority.shut();
    let server = start("somebody@example.org");
    let_in(&authority, &server);
}

/// Flips `acme.eab_kid` and `acme.eab_hmac_key`: an authority that signs for its customers only.
#[test]
fn an_authority_of_customers_is_shown_whose_account_it_is() {
    if skip("acme") {
        return;
    }
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let authority = Authority::of_customers(&[("kid-1", key)]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start = |more: &[String]| {
        let mut settings = authority.settings("http-01");
        settings.extend_from_slice(more);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        Server::start_with(AIRWAVE, &data, &settings, &["--domain", "live.example.test"])
    };
    authority.open();
    let server = start(&[]);
    wait_until("the authority to refuse a stranger", 60, || {
        ready(&server).contains("externalAccountRequired").then_some(())
    });
    drop(server);
    authority.shut();
    let mut server = start(&["acme.eab_kid=kid-1".into(), format!("acme.eab_hmac_key={key}")]);
    let_in(&authority, &server);
    assert!(!server.child().output().contains(key), "the key is in the log");
}

/// Flips `acme.dns_hook`.
#[test]
fn wildcards_are_proved_in_the_dns_by_the_operators_program() {
    if skip("acme") {
        return;
    }
    let (authority, folder) = (Authority::start(), tempfile::tempdir().unwrap());
    let names = ["example.test", "*.example.test"];
    let server = named(&authority, &folder.path().join("data"), "dns-01", &names);
    let_in(&authority, &server);
    let signed = chain(&kept(&server));
    for name in ["example.test", "any.example.test"] {
        connect(address(&server, "https"), name, &signed[1]).unwrap();
    }
    wait_until("the records to be taken away", 20, || {
        std::fs::read_dir(authority.records()).unwrap().next().is_none().then_some(())
    });
}

#[test]
fn a_new_certificate_disturbs_nobody() {
    if skip("acme") || skip("moq") {
        return;
    }
    let (authority, folder) = (Authority::start(), tempfile::tempdir().unwrap());
    let name = "live.example.test";
    authority.build_gate();
    let server = named(&authority, &folder.path().join("data"), "dns-01", &[name]);
    // All of them began with the certificate that was made here.
    let own = chain(&server.data().join("self-signed.pem")).remove(0);
    let input = server.input();
    let rtmps = format!("rtmps://{}/live/{}", address(&server, "rtmps"), input.key);
    let mut encoder = Clip::make(&ClipSpec::plain("plain", 12)).publish(&rtmps, -1);
    let video = server.wait_live(&input);
    let over_quic = folder.path().join("moq");
    std::fs::create_dir(&over_quic).unwrap();
    let mut subscriber = crate::moq::watch(&server, &input.uid, &over_quic);
    // He goes on asking: whoever says nothing for ten seconds is let go.
    let mut viewer = connect(address(&server, "https"), name, &own).unwrap();
    assert_eq!(ask(&mut viewer, name), "HTTP/1.1 200 OK");
    let before = server.get("/certificate.sha256").text();
    authority.open();
    authority.open_gate();
    let_in_beside(&authority, &server, || assert_eq!(ask(&mut viewer, name), "HTTP/1.1 200 OK"));

    let signed = chain(&kept(&server));
    assert_eq!(certificate(&viewer), Validity::of(&own).unwrap());
    let count = server.get(&format!("/{}/manifest/video.cmaf.m3u8", input.uid)).text();
    wait_until("the broadcast to go on", 30, || {
        let list = server.get(&format!("/{}/manifest/video.cmaf.m3u8", input.uid)).text();
        (list.lines().last() != count.lines().last()).then_some(())
    });
    assert!(encoder.ended().is_none() && subscriber.ended().is_none(), "{}", subscriber.output());
    assert_eq!(server.wait_live(&input), video, "one broadcast");
    // Who comes now gets the new one, over QUIC too.
    for listener in ["https", "rtmps"] {
        connect(address(&server, listener), name, &signed[1]).unwrap();
    }
    assert_ne!(server.get("/certificate.sha256").text(), before);
    let quic = address(&server, "quic").parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let endpoint = Endpoint::client(quic).unwrap();
        let trust = Trust::Fingerprint(fingerprint(&signed[0]));
        endpoint.connect(quic, name, trust, &io_moq::listen::protocols()).await.unwrap();
    });
}

/// Flips `tls.domain`: a name more is a new certificate, and the old one is served until then.
#[test]
fn another_name_is_another_certificate() {
    if skip("acme") {
        return;
    }
    let (authority, folder) = (Authority::start(), tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    let server = named(&authority, &data, "http-01", &["live.example.test"]);
    let_in(&authority, &server);
    let old = chain(&kept(&server));
    drop(server);
    // Nobody is there: the proof fails, in words, and what is kept is served.
    authority.port_80.lead_to("127.0.0.1:1");
    let both = ["live.example.test", "tv.example.test"];
    let server = named(&authority, &data, "http-01", &both);
    let words = wait_until("the proof to fail", 60, || {
        (server.metric("certificate_failures_total") == 1).then(|| ready(&server))
    });
    let begins = "ready, but the certificate for live.example.test, tv.example.test ends in ";
    assert!(
        words.starts_with(begins) && words.contains("could not be proved by http-01"),
        "{words}"
    );
    connect(address(&server, "https"), both[0], &old[1]).unwrap();
    assert!(connect(address(&server, "https"), both[1], &old[1]).is_err());
    drop(server);
    authority.shut();
    let server = named(&authority, &data, "tls-alpn-01", &both);
    let_in(&authority, &server);
    let new = chain(&kept(&server));
    connect(address(&server, "https"), both[1], &new[1]).unwrap();
}

/// Trials are cleared now and then, and an office may set up its own authority anew: the account that is kept is nobody's then, nor
/// has the authority ever signed what is to be replaced.
#[test]
fn an_authority_that_has_lost_its_accounts_gets_a_new_one() {
    if skip("acme") {
        return;
    }
    let (mut authority, folder) = (Authority::start(), tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    let server = named(&authority, &data, "http-01", &["live.example.test"]);
    let_in(&authority, &server);
    drop(server);
    authority.forget();
    let both = ["live.example.test", "tv.example.test"];
    let lost = "does not know our account";
    let mut server = named(&authority, &data, "http-01", &both);
    let_in(&authority, &server);
    let new = chain(&kept(&server));
    connect(address(&server, "https"), both[1], &new[1]).unwrap();
    assert!(server.child().output().contains(lost), "{}", server.child().output());
    drop(server);
    // The new one is the one that is kept.
    authority.shut();
    let mut server = named(&authority, &data, "http-01", &["radio.example.test"]);
    let_in(&authority, &server);
    assert!(!server.child().output().contains(lost), "{}", server.child().output());
}

/// Flips `acme.directory`, `acme.authority`, `acme.http_listen` and `acme.https_listen`.
#[test]
fn who_is_asked_believed_and_where_names_are_looked_for() {
    if skip("acme") {
        return;
    }
    let authority = Authority::start();
    authority.open();
    let names = r#"tls.domain=["live.example.test"]"#;
    for (more, expect, listeners) in [
        (
            ["acme.directory=https://127.0.0.1:1/dir", "acme.http_listen=off"],
            "can't connect to 127.0.0.1:1",
            [false, true],
        ),
        // Its server has a certificate that this machine does not know.
        (["acme.authority=", "acme.https_listen=off"], ": TLS: ", [true, false]),
    ] {
        let mut settings = authority.settings("http-01");
        settings.push(names.to_owned());
        settings.extend(more.map(str::to_owned));
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let server = Server::start(AIRWAVE, &settings);
        let on = ["domain_http", "domain_https"].map(|l| server.addresses[l].is_string());
        assert_eq!(on, listeners, "{more:?}");
        let words = wait_until("the attempt to fail", 60, || {
            (server.metric("certificate_failures_total") > 0).then(|| ready(&server))
        });
        assert!(words.contains(expect), "{more:?}: {words}");
    }
}

/// All of it over TLS: Chromium believes the authority, and finds the name by its own resolver; nothing is overlooked.
#[test]
fn browser_a_page_of_that_name_plays_in_chromium() {
    if skip("acme") || skip("browser") {
        return;
    }
    let (authority, folder) = (Authority::start(), tempfile::tempdir().unwrap());
    let name = "live.example.test";
    let server = named(&authority, &folder.path().join("data"), "tls-alpn-01", &[name]);
    let_in(&authority, &server);
    let input = server.input();
    let rtmps = format!("rtmps://{}/live/{}", address(&server, "rtmps"), input.key);
    let _encoder = crate::browser::clip().publish(&rtmps, -1);
    server.wait_live(&input);

    // A home in which the authority is believed.
    let home = folder.path().join("home");
    let database = home.join(".pki/nssdb");
    std::fs::create_dir_all(&database).unwrap();
    let root = folder.path().join("root.pem");
    let pem = std::fs::read_to_string(kept(&server)).unwrap();
    let begin = pem.rfind("-----BEGIN CERTIFICATE-----").unwrap();
    std::fs::write(&root, &pem[begin..]).unwrap();
    let database = format!("sql:{}", database.display());
    let mut certutil = Command::new(tool("certutil"));
    certutil.args(["-d", &database, "-A", "-t", "C,,", "-n", "authority", "-i"]).arg(&root);
    // The password of a database that has none.
    certutil.args(["-f", "/dev/null"]);
    let mut certutil = Child::start(&mut certutil);
    assert!(certutil.wait(20).success(), "{}", certutil.output());

    let port = address(&server, "domain_https").rsplit(':').next().unwrap();
    let url = format!("https://{name}:{port}/{}/watch", input.uid);
    let map = format!("{name}=127.0.0.1");
    let more = ["--strict-tls", "--map", &map, "--home", home.to_str().unwrap()];
    crate::browser::check_url_with(&url, "airwave", &more);
}
