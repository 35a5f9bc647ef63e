//! REDIRECT (draft-18 §10.6.1): who publishes and who watches go where a server wants what they ask
//! for, with nothing of theirs that was not meant for it, and not for ever.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command as Program;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use moqt::data::{Opening, OpeningReader};
use moqt::session::{Command, Config, Event, Input, Output, StreamId};
use moqt::{Answer, Namespace, Redirect, RequestCode, RequestError, Session, Version};
use quinn::crypto::rustls::QuicServerConfig;
use sansio::{Core, Poll};
use testkit::{Child, Clip, ClipSpec, Server, wait_until};
use tokio::sync::{mpsc, watch as told};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, version::TLS13};

use crate::AIRWAVE;
use crate::moq_program::{address, outcome, watch};

const VERSION: Version = Version::Draft18;

/// A server that sends everybody elsewhere. Stops when it is dropped.
struct Sender {
    at: SocketAddr,
    /// The paths of those who came.
    came: mpsc::UnboundedReceiver<String>,
    /// Ends the first session, if that is kept.
    end: told::Sender<bool>,
    _runtime: tokio::runtime::Runtime,
}

impl Sender {
    /// To this URI, where it is called so.
    fn to(uri: &str, namespace: Namespace) -> Self {
        Self::start(uri, namespace, false)
    }

    /// The same, but for who comes first, if he is kept.
    fn start(uri: &str, namespace: Namespace, keeps: bool) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let made = made.self_signed(&pair).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let tls = tls.with_protocol_versions(&[&TLS13]).unwrap().with_no_client_auth();
        let mut tls = tls.with_single_cert(vec![made.der().clone()], key).unwrap();
        tls.alpn_protocols = vec![VERSION.alpn().into()];
        let crypto = QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let _inside = runtime.enter();
        let endpoint = quinn::Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap();
        let at = endpoint.local_addr().unwrap();
        let (tell, came) = mpsc::unbounded_channel();
        let (end, ended) = told::channel(false);
        let mut kept = keeps.then_some(ended);
        let uri = uri.replace("HERE", &at.to_string());
        let redirect = Redirect { uri, namespace, name: Bytes::new() };
        runtime.spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let (redirect, tell) = (redirect.clone(), tell.clone());
                let (redirect, mut ended) = match kept.take() {
                    Some(ended) => (None, Some(ended)),
                    None => (Some(redirect), None),
                };
                tokio::spawn(async move {
                    let over = async {
                        match &mut ended {
                            Some(ended) => drop(ended.wait_for(|ended| *ended).await),
                            None => std::future::pending().await,
                        }
                    };
                    let connection = incoming.await.ok()?;
                    tokio::select! {
                        _ = serve(connection.clone(), redirect, tell) => {}
                        () = over => connection.close(0_u32.into(), b"")
                    }
                    Some(())
                });
            }
        });
        Self { at, came, end, _runtime: runtime }
    }

    fn url(&self, path: &str, uid: &str) -> String {
        format!("moqt://{}{path}#msf:default-{uid}", self.at)
    }

    fn came(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.came.try_recv().ok()).collect()
    }
}

async fn serve(
    connection: quinn::Connection,
    redirect: Option<Redirect>,
    tell: mpsc::UnboundedSender<String>,
) -> Option<()> {
    let mut session = Session::server(Instant::now(), Config::new(VERSION));
    let mut control = connection.open_uni().await.ok()?;
    let (say, mut said) = mpsc::unbounded_channel();
    let mut answers = BTreeMap::new();
    loop {
        while let Poll::Output(output) = session.poll() {
            match output {
                Output::Control(bytes) => control.write_all(&bytes).await.ok()?,
                Output::Send { stream, bytes } => {
                    let answer: &mut quinn::SendStream = answers.get_mut(&stream)?;
                    answer.write_all(&bytes).await.ok()?;
                }
                Output::Finish(stream) => answers.get_mut(&stream)?.finish().ok()?,
                Output::Event(Event::Ready(peer)) => tell.send(peer.path).ok()?,
                Output::Event(Event::Request { id, .. }) => {
                    let answer = match redirect.clone() {
                        None => Answer::ok(),
                        redirect => {
                            let error = RequestError::new(RequestCode::Redirect, "not here");
                            Answer::Error(RequestError { redirect, ..error })
                        }
                    };
                    session.command(Instant::now(), Command::Answer { id, answer }).unwrap();
                }
                _ => {}
            }
        }
        let input = tokio::select! {
            input = said.recv() => input?,
            stream = connection.accept_uni() => {
                let (mut stream, say) = (stream.ok()?, say.clone());
                tokio::spawn(async move {
                    let mut opening = Some(OpeningReader::new(VERSION));
                    while let Ok(Some(chunk)) = stream.read_chunk(65_536, true).await {
                        let mut bytes = chunk.bytes;
                        if let Some(reader) = &mut opening
                            && let Some(Opening::Control(first)) = reader.read(&mut bytes).unwrap()
                        {
                            let _ = say.send(Input::ControlOpened(first));
                            opening = None;
                        }
                        if opening.is_none() && !bytes.is_empty() {
                            let _ = say.send(Input::Control(bytes));
                        }
                    }
                });
                continue;
            }
            streams = connection.accept_bi() => {
                let (send, mut recv) = streams.ok()?;
                let stream = StreamId::Peers(recv.id().into());
                answers.insert(stream, send);
                let say = say.clone();
                tokio::spawn(async move {
                    while let Ok(Some(chunk)) = recv.read_chunk(65_536, true).await {
                        let _ = say.send(Input::Bytes { stream, bytes: chunk.bytes });
                    }
                    let _ = say.send(Input::Finished(stream));
                });
                continue;
            }
        };
        session.handle(Instant::now(), input).ok()?;
    }
}

fn publish(file: &Path, url: &str) -> Child {
    let mut command = Program::new(AIRWAVE);
    Child::start(command.arg("publish").arg(file).args(["--to", url, "--insecure"]))
}

#[test]
fn draft18_s10_6_1_who_is_redirected_goes_there_without_what_was_not_meant_for_it() {
    let server = Server::start(AIRWAVE, &[]);
    let (input, other) = (server.input(), server.input());
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let there = address(&server, "", &input.uid);
    let there = there.split('#').next().unwrap();
    let root = Namespace::root;

    // A publisher, who is told the key of where he goes; and one who is told none, and keeps his.
    let told = format!("{there}{}", input.key);
    let mut sends = Sender::to(&told, root());
    let publisher = publish(clip.path(), &sends.url("/own-secret?a=b", &input.uid));
    server.wait_live(&input);
    assert_eq!(sends.came(), ["/own-secret?a=b"]);
    let without = Sender::to(there, root());
    let (code, output) =
        outcome(publish(clip.path(), &without.url(&format!("/{}", other.key), &other.uid)));
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("says that it is at moqt://"), "{output}");
    assert!(!output.contains(&other.key), "{output}");
    assert!(!server.lifecycle(&other.uid)["live"].as_bool().unwrap());

    // A viewer, also of what is called otherwise there.
    let name =
        Namespace::new(["default", &input.uid].map(|f| Bytes::copy_from_slice(f.as_bytes())));
    let below = Namespace::new([Bytes::from_static(b"default")]).unwrap();
    for (namespace, called) in [
        (root(), format!("#msf:default-{}", input.uid)),
        (name.unwrap(), "#msf:default-elsewhere".to_owned()),
        // Who asks for a list of what is there is told below what it is.
        (below, String::new()),
    ] {
        let sends = Sender::to(there, namespace);
        let viewer = watch(&format!("moqt://{}/token{called}", sends.at), &["--insecure"]);
        wait_until("two rows", 20, || (viewer.output().lines().count() > 2).then_some(()));
        viewer.signal("INT");
        let (code, output) = outcome(viewer);
        assert_eq!(code, 0, "{output}");
    }
    drop(publisher);

    // Over several: to itself it shows the same again, to another one nothing.
    let mut last = Sender::to("https://example.net/", root());
    let mut sends = Sender::to(&format!("moqt://{}/given", last.at), root());
    let (code, output) = outcome(watch(&sends.url("/token", "x"), &["--insecure"]));
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("at https://example.net/, where this can't be asked for"), "{output}");
    assert_eq!((sends.came(), last.came()), (vec!["/token".into()], vec!["/given".into()]));
    for uri in ["", "moqt://HERE"] {
        let mut itself = Sender::to(uri, root());
        let (code, output) = outcome(watch(&itself.url("/token", "x"), &["--insecure"]));
        assert_eq!(code, 1, "{output}");
        assert!(output.contains("sent on too often"), "{output}");
        assert_eq!(itself.came(), vec!["/token"; 6]);
    }
}

/// As one that does not answer does not.
#[test]
fn draft18_s10_6_1_what_is_on_the_air_is_not_ended_by_a_redirect_to_nowhere() {
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut sends = Sender::start("https://example.net/", Namespace::root(), true);
    let mut command = Program::new(AIRWAVE);
    let url = sends.url("/key", "x");
    command.arg("publish").arg(clip.path()).args(["--to", &url, "--insecure", "--loop"]);
    let publisher = Child::start(&mut command);
    wait_until("it to be on the air", 30, || publisher.output().contains("bit/s").then_some(()));
    sends.end.send_replace(true);
    let mut came = Vec::new();
    wait_until("it to come again after that", 30, || {
        came.extend(sends.came());
        (came.len() > 2).then_some(())
    });
}
