//! Who publishes a namespace is asked for what is below it (draft-18 §9.5, draft-21 §7.5).

use moqt::session::{Command, Event};
use moqt::{
    Answer, Fetch, GroupOrder, Location, Parameters, Properties, Range, Request, RequestCode,
    RequestId, Version,
};

use super::duties::{code, read_fetch, text};
use super::relay::{send, tell_past};
use super::rig::{Client, Rig, answered, namespace, next_object, soon, track, until, use_value};
use crate::limits::{ANNOUNCED_MAX, UNTOLD_PER_NAMESPACE_MAX};
use crate::link::Told;

fn chat() -> moqt::TrackName {
    track(&["open", "room"], "chat")
}

/// A client that has announced this.
async fn announced(rig: &Rig, fields: &[&str]) -> Client {
    let client = rig.client("/").await;
    assert_eq!(code(&client.publish_namespace(fields).await), None, "{fields:?}");
    client
}

/// Gives the next track that the relay subscribes to, which must be the chat, or refuses it.
async fn asked_for_chat(client: &mut Client, answer: Answer) -> RequestId {
    loop {
        if let (id, Request::Subscribe { track, .. }) = client.asked().await {
            assert_eq!(track, chat());
            client.command(Command::Answer { id, answer });
            return id;
        }
    }
}

fn given() -> Answer {
    let (parameters, properties) = (Parameters::default(), Properties::empty());
    Answer::Ok { parameters, properties }
}

fn subscribe(parameters: Parameters) -> Request {
    Request::Subscribe { track: chat(), parameters }
}

#[tokio::test]
async fn d03_who_publishes_a_prefix_is_asked_and_so_are_all_others() {
    let rig = Rig::new();
    let mut above = announced(&rig, &["open"]).await;
    // Fields match as a whole.
    let mut beside = announced(&rig, &["open", "ro"]).await;
    let listener = rig.client("/").await;
    let prefix = namespace(&["open"]);
    let listen =
        Request::SubscribeNamespace { prefix, tracks: false, parameters: Parameters::default() };
    let (_, _, mut news) = listener.ask(listen).await;
    let viewer = rig.client("/").await;
    let (id, mut told) = viewer.link.request(subscribe(next_object())).unwrap();
    let first = asked_for_chat(&mut above, given()).await;
    let answer = answered(&mut told).await;
    assert_eq!(code(&answer), None);
    let mut seen = viewer.follow(id, answer, told);
    send(&above, first, 0, 0, "from above", true).await;
    assert_eq!(text(&seen.next().await), (0, 0, "from above"));
    // The same namespace, and one above it: both may have it too.
    let mut own = announced(&rig, &["open", "room"]).await;
    let second = asked_for_chat(&mut own, given()).await;
    send(&own, second, 1, 0, "its own", true).await;
    assert_eq!(text(&seen.next().await), (1, 0, "its own"));
    let mut again = announced(&rig, &["open"]).await;
    let third = asked_for_chat(&mut again, given()).await;
    drop((above, own));
    send(&again, third, 2, 0, "alone", true).await;
    assert_eq!(text(&seen.next().await), (2, 0, "alone"));
    let more = std::iter::from_fn(|| beside.events.try_recv().ok());
    let more = more.filter(|event| matches!(event, Event::Request { .. })).count();
    assert_eq!(more, 0, "(open, ro) is no prefix of (open, room)");
    // Nobody is told a namespace that nobody has published: `room` only when it was.
    let mut names = Vec::new();
    while let Ok(Told::Event(Event::Namespace { namespace, .. })) = news.try_recv() {
        names.push(namespace);
    }
    let told: Vec<_> = [&["open"][..], &["open", "ro"], &["open", "room"]].map(namespace).into();
    names.sort();
    assert_eq!(names, told);
}

#[tokio::test]
async fn d03_a_track_that_nobody_above_has_leaves_nothing_behind() {
    let rig = Rig::new();
    let mut above = announced(&rig, &["open"]).await;
    let viewer = rig.client("/").await;
    for _ in 0..2 {
        let (_, mut told) = viewer.link.request(subscribe(next_object())).unwrap();
        let refused = Answer::error(RequestCode::DoesNotExist, "");
        asked_for_chat(&mut above, refused).await;
        assert_eq!(code(&answered(&mut told).await), Some(RequestCode::DoesNotExist));
        let path = spine::Path::new(["open", "room"]).unwrap();
        until("the broadcast to go", || rig.origin.get(&path).is_none()).await;
    }
}

/// draft-21 §3.6: who asked through a relay that does not understand a track hears why. Draft 16 has no word for it.
#[tokio::test]
async fn draft18_s2_5_1_d03_a_track_with_an_unknown_mandatory_property_is_refused_downstream_too() {
    let rig = Rig::new();
    let mut above = announced(&rig, &["open"]).await;
    let range = Range { start: Location::default(), end: Location::new(1, 0) };
    let fetch = || Fetch::Standalone { track: chat(), range };
    let wait = || Parameters { rendezvous_timeout_ms: Some(20_000), ..next_object() };
    for (version, expect) in [
        (Version::Draft16, RequestCode::InternalError),
        (Version::Draft18, RequestCode::UnsupportedExtension),
        (Version::Draft22, RequestCode::UnsupportedExtension),
    ] {
        let viewer = rig.client_of(version).await;
        for request in [
            subscribe(next_object()),
            subscribe(wait()),
            Request::Fetch { fetch: fetch(), parameters: Parameters::default() },
            Request::TrackStatus { track: chat(), parameters: Parameters::default() },
        ] {
            let what = format!("{version:?}: {request:?}");
            let (_, mut told) = viewer.link.request(request).unwrap();
            let unknown = [(0x4001, moqt::properties::Value::Bytes(b"?"))];
            let properties = Properties::from_pairs(&unknown).unwrap();
            let answer = Answer::Ok { parameters: Parameters::default(), properties };
            asked_for_chat(&mut above, answer).await;
            assert_eq!(code(&answered(&mut told).await), Some(expect), "{what}");
        }
    }
}

#[tokio::test]
async fn d03_d07_a_subscriber_waits_for_who_publishes_a_prefix() {
    let rig = Rig::new();
    let viewer = rig.client("/").await;
    let wait = Parameters { rendezvous_timeout_ms: Some(20_000), ..next_object() };
    let (id, mut told) = viewer.link.request(subscribe(wait)).unwrap();
    // The request is under way: it is answered behind what was asked before it.
    let status = Request::TrackStatus { track: chat(), parameters: Parameters::default() };
    assert_eq!(code(&viewer.ask(status).await.1), Some(RequestCode::DoesNotExist));
    let mut above = announced(&rig, &["open"]).await;
    let first = asked_for_chat(&mut above, given()).await;
    let answer = answered(&mut told).await;
    let mut seen = viewer.follow(id, answer, told);
    send(&above, first, 0, 0, "late", true).await;
    assert_eq!(text(&seen.next().await), (0, 0, "late"));
}

#[tokio::test]
async fn d03_the_past_is_fetched_from_who_publishes_a_prefix() {
    let rig = Rig::new();
    let mut above = announced(&rig, &["open"]).await;
    let viewer = rig.client("/").await;
    let range = Range { start: Location::new(3, 0), end: Location::new(8, 0) };
    let fetch = Fetch::Standalone { track: chat(), range };
    let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
    let (_, mut told) = viewer.link.request(fetch).unwrap();
    let largest = Some(Location::new(8, 0));
    let parameters = Parameters { largest, ..Parameters::default() };
    let answer = Answer::Ok { parameters, properties: Properties::empty() };
    asked_for_chat(&mut above, answer).await;
    let answer = soon("the answer", answered(&mut told)).await;
    assert_eq!(code(&answer), None);
    let asked = tell_past(&mut above).await;
    assert_eq!((asked.start.group, asked.end.group), (3, 8));
    let got = read_fetch(&mut told, GroupOrder::Ascending).await;
    assert_eq!(got, "3.0old 4.0old ?7 8.0old");
}

/// draft-18 §10.6: more than the relay is willing to enumerate. Draft 16 has no such code.
#[tokio::test]
async fn draft18_s10_6_d22_a_prefix_of_too_many_namespaces_is_refused() {
    let limits = spine::Limits { broadcasts: 2 * ANNOUNCED_MAX, ..spine::Limits::default() };
    let rig = Rig::with(limits);
    let field = |n: usize| format!("{n}");
    let mut many: Vec<_> =
        (0..ANNOUNCED_MAX).map(|n| rig.broadcast(&["default", "many", &field(n)])).collect();
    let _few = rig.broadcast(&["default", "few"]);
    let of_namespaces = |prefix: &[&str]| {
        let (prefix, parameters) = (namespace(prefix), Parameters::default());
        Request::SubscribeNamespace { prefix, tracks: false, parameters }
    };
    let of_tracks = |prefix: &[&str]| {
        let (prefix, parameters) = (namespace(prefix), Parameters::default());
        Request::SubscribeTracks { prefix, parameters }
    };
    for (version, too_large) in [
        (Version::Draft16, RequestCode::InternalError),
        (Version::Draft18, RequestCode::NamespaceTooLarge),
        (Version::Draft22, RequestCode::NamespaceTooLarge),
    ] {
        let client = rig.client_of(version).await;
        let (_, answer, _) = client.ask(of_namespaces(&["default"])).await;
        assert_eq!(code(&answer), Some(too_large), "{version:?}");
        if version != Version::Draft16 {
            let (_, answer, _) = client.ask(of_tracks(&[])).await;
            assert_eq!(code(&answer), Some(too_large), "{version:?}");
        }
        // A longer one is not; moved to where there is too much, it ends.
        let (id, answer, mut told) = client.ask(of_namespaces(&["default", "few"])).await;
        assert_eq!(code(&answer), None, "{version:?}");
        if version == Version::Draft16 {
            continue;
        }
        let namespace_prefix = Some(namespace(&["default"]));
        let parameters = Parameters { namespace_prefix, ..Parameters::default() };
        client.command(Command::Update { id, parameters });
        loop {
            match soon("the answer to an update", told.recv()).await {
                Some(Told::Event(Event::UpdateAnswered { answer, .. })) => {
                    break assert_eq!(code(&answer), Some(too_large), "{version:?}");
                }
                Some(_) => {}
                None => panic!("the request is over"),
            }
        }
    }
    // As many as are told.
    drop(many.pop());
    let client = rig.client("/").await;
    let (_, answer, mut told) = client.ask(of_namespaces(&["default"])).await;
    assert_eq!(code(&answer), None);
    for _ in 0..ANNOUNCED_MAX {
        assert!(matches!(
            soon("a namespace", told.recv()).await,
            Some(Told::Event(Event::Namespace { .. }))
        ));
    }
}

/// Who may watch little of what is here does not learn how much there is.
#[tokio::test]
async fn draft18_s10_6_a_prefix_is_too_large_by_what_may_be_watched() {
    let limits = spine::Limits { broadcasts: 2 * ANNOUNCED_MAX, ..spine::Limits::default() };
    let rig = Rig::with(limits);
    let field = |n: usize| format!("{n}");
    let _many: Vec<_> =
        (0..=ANNOUNCED_MAX).map(|n| rig.broadcast(&["default", &field(n), "secret"])).collect();
    let _few = rig.broadcast(&["default", "few"]);
    for (version, too_large) in [
        (Version::Draft16, RequestCode::InternalError),
        (Version::Draft22, RequestCode::NamespaceTooLarge),
    ] {
        let client = rig.client_of(version).await;
        let ask = |prefix: &[&str], tokens| Request::SubscribeNamespace {
            prefix: namespace(prefix),
            tracks: false,
            parameters: Parameters { tokens, ..Parameters::default() },
        };
        let (id, answer, mut told) = client.ask(ask(&["elsewhere"], Vec::new())).await;
        assert_eq!(code(&answer), None);
        if version == Version::Draft22 {
            let namespace_prefix = Some(namespace(&["default"]));
            let parameters = Parameters { namespace_prefix, ..Parameters::default() };
            client.command(Command::Update { id, parameters });
            let answered = soon("an answer", told.recv()).await;
            let Some(Told::Event(Event::UpdateAnswered { answer, .. })) = answered else {
                panic!("no answer");
            };
            assert_eq!(code(&answer), None);
        } else {
            let (_, answer, more) = client.ask(ask(&["default"], Vec::new())).await;
            assert_eq!(code(&answer), None);
            told = more;
        }
        match soon("a namespace", told.recv()).await {
            Some(Told::Event(Event::Namespace { namespace: here, .. })) => {
                assert_eq!(here, namespace(&["default", "few"]));
            }
            _ => panic!("no namespace"),
        }
        // Who may watch all of it.
        let other = rig.client_of(version).await;
        let (_, answer, _) = other.ask(ask(&["default"], vec![use_value("TOKEN")])).await;
        assert_eq!(code(&answer), Some(too_large), "{version:?}");
    }
}

/// Of a name that nobody was asked for, because too many others are, nobody says that it does not exist.
#[tokio::test]
async fn d03_a_name_below_for_which_there_is_no_room_is_told_so() {
    let rig = Rig::new();
    let _above = announced(&rig, &["open"]).await;
    let viewer = rig.client("/").await;
    let name = |n: usize| track(&["open", &n.to_string()], "chat");
    let subscribe = |n| Request::Subscribe { track: name(n), parameters: next_object() };
    let asked = (0..UNTOLD_PER_NAMESPACE_MAX).map(|n| viewer.link.request(subscribe(n)).unwrap());
    let _asked: Vec<_> = asked.collect();
    let here =
        |n: usize| rig.origin.get(&spine::Path::new(["open".to_owned(), n.to_string()]).unwrap());
    until("all are looked for", || (0..UNTOLD_PER_NAMESPACE_MAX).all(|n| here(n).is_some())).await;
    let (_, answer, _) = viewer.ask(subscribe(UNTOLD_PER_NAMESPACE_MAX)).await;
    assert_eq!(code(&answer), Some(RequestCode::ExcessiveLoad));
}
