//! What our own client asks for of the past, and how urgently (decision 99).

use std::sync::Arc;

use moqt::session::{Command, Config, Event};
use moqt::{Answer, FetchOk, GroupOrder, Location, Range, Request, Session, Version};
use spine::Origin;
use testkit::Shape;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::live::ms;
use super::rig::{certificate, namespace, soon};
use crate::client::{self, Server};
use crate::clock;
use crate::limits::{HURRY_EVERY, HURRY_MAX, PAST_PRIORITY};
use crate::link::Driver;
use crate::listen::protocols;
use crate::qlog::Log;
use crate::transport::{Congestion, Network, Trust};
use crate::upstream::PRIORITY;

#[tokio::test(start_paused = true)]
async fn one_beginning_in_a_while_hurries_for_a_moment() {
    let network = Network::new(7);
    let (certificate, hash) = certificate(0);
    let server = network.server(certificate, &protocols(), Congestion::Ours).unwrap();
    let to = server.local_address().unwrap();
    let (said, mut asked) = mpsc::unbounded_channel();
    // Of what it agrees to nothing comes.
    tokio::spawn(async move {
        let connection = server.accept().await.unwrap().accept().await.unwrap();
        let version = Version::from_alpn(&connection.protocol().unwrap()).unwrap();
        let config = Config { transport: connection.transport(), ..Config::new(version) };
        let session = Session::server(clock::now(), config);
        let mut driver = Driver::new(connection, session, Arc::default(), Log::off());
        while let Ok(event) = driver.next().await {
            match event {
                Event::Request { id, request: Request::Fetch { parameters, .. }, .. } => {
                    said.send(("asked", parameters.subscriber_priority)).unwrap();
                    let (parameters, properties) = Default::default();
                    let end = Location::new(1, 9);
                    let ok = FetchOk { end_of_track: false, end, parameters, properties };
                    driver.link().command(Command::Answer { id, answer: Answer::FetchOk(ok) });
                }
                Event::Update { id, parameters, .. } => {
                    said.send(("updated", parameters.subscriber_priority)).unwrap();
                    driver.link().command(Command::AnswerUpdate { id, answer: Answer::ok() });
                }
                _ => {}
            }
        }
    });
    let endpoint = network.client(Shape::default()).unwrap();
    let trust = Trust::Fingerprint(hash);
    let connection = endpoint.connect(to, "localhost", trust, &protocols()).await.unwrap();
    let (host, path) = ("localhost".to_owned(), "/".to_owned());
    let at = Server { host, port: to.port(), path, draft: None };
    let origin = Origin::new(spine::Limits::default());
    let mut client = client::Client::begin(connection, endpoint, &at, origin, None);
    let remote = client.handle().remote(namespace(&["default", "one"])).unwrap();
    let run = tokio::spawn(async move { client.run().await });
    let range = Range { start: Location::new(1, 0), end: Location::new(1, 9) };
    let fetch = |name: &'static str| remote.fetch(name, range, GroupOrder::Ascending);
    for _ in 0..2 {
        let both = async { tokio::join!(fetch("video"), fetch("audio")) };
        assert!(timeout(2 * HURRY_MAX, both).await.is_err(), "there is no stream");
        for expect in [("asked", Some(PAST_PRIORITY)), ("asked", None), ("updated", Some(PRIORITY))]
        {
            assert_eq!(soon("a message", asked.recv()).await, Some(expect));
        }
        tokio::time::sleep(HURRY_EVERY + ms(1)).await;
        assert!(asked.try_recv().is_err());
    }
    run.abort();
}
