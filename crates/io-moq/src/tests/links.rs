//! Over which nodes a namespace came, as others are told it, and whom that is believed of (docs/protocols/moq-relay.md).

use moqt::session::Event;
use moqt::{Namespace, Node, Parameters, Request};
use spine::{NodeId, Path, Route, Takeover};
use tokio::sync::mpsc;

use super::duties::code;
use super::rig::{Client, Rig, Set, namespace, soon};
use crate::link::Told;

const HERE: u64 = 5;

fn route(nodes: &[u64]) -> moqt::Route {
    moqt::Route::new(nodes.iter().map(|id| Node::new(*id).unwrap()).collect()).unwrap()
}

/// What a client hears that asks for `open`.
async fn listens(client: &Client) -> mpsc::UnboundedReceiver<Told> {
    let prefix = namespace(&["open"]);
    let request =
        Request::SubscribeNamespace { prefix, tracks: false, parameters: Parameters::default() };
    client.ask(request).await.2
}

async fn next(news: &mut mpsc::UnboundedReceiver<Told>) -> (Namespace, Option<moqt::Route>) {
    loop {
        match soon("news", news.recv()).await.unwrap() {
            Told::Event(Event::Namespace { namespace, route, .. }) => {
                return (namespace, Some(route));
            }
            Told::Event(Event::NamespaceDone { namespace, .. }) => return (namespace, None),
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_came_over_a_node_is_told_to_others_and_ends_somewhere() {
    let rig = Rig::configured(Set { node: Node::new(HERE), ..Set::default() });
    let [seven, nine, viewer] =
        [rig.node(Some(7)).await, rig.node(Some(9)).await, rig.node(None).await];
    let mut hear = [listens(&seven).await, listens(&nine).await, listens(&viewer).await];
    let publish = |name: &str, nodes: &[u64]| {
        let mut nodes = nodes.iter().map(|id| NodeId(*id));
        let origin = nodes.next().unwrap_or(NodeId(0));
        let came = Route { origin, hops: nodes.collect(), epoch: 0 };
        let path = Path::new(["open".to_owned(), name.to_owned()]).unwrap();
        rig.origin.publish(&path, came, Takeover::Refuse).unwrap()
    };
    let long = [11, 12, 13, 14, 15, 16, 17, 18];
    let over_seven = publish("over seven", &[7, 8]);
    let far = publish("far", &long);
    let near = publish("near", &long[1..]);
    let own = publish("own", &[]);
    let on = |came: &[u64]| Some(route(&[came, &[HERE]].concat()));
    let plain = || Some(moqt::Route::default());
    for (news, expect) in hear.iter_mut().zip([
        vec![("near", on(&long[1..])), ("own", on(&[]))],
        vec![("over seven", on(&[7, 8])), ("near", on(&long[1..])), ("own", on(&[]))],
        vec![("over seven", plain()), ("far", plain()), ("near", plain()), ("own", plain())],
    ]) {
        let mut heard = Vec::new();
        for _ in &expect {
            heard.push(next(news).await);
        }
        let mut expect: Vec<_> =
            expect.into_iter().map(|(name, route)| (namespace(&["open", name]), route)).collect();
        heard.sort_by(|a, b| a.0.cmp(&b.0));
        expect.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(heard, expect);
    }
    // One that is there again by another way is told anew, or no more.
    drop(own);
    rig.origin.expire(crate::clock::now());
    let _again = publish("own", &[9]);
    let own = namespace(&["open", "own"]);
    assert_eq!(next(&mut hear[1]).await, (own.clone(), None), "not to nine");
    assert_eq!(next(&mut hear[0]).await, (own.clone(), None));
    assert_eq!(next(&mut hear[0]).await, (own, on(&[9])));
    drop((over_seven, far, near));
}

#[tokio::test]
async fn what_a_stranger_publishes_is_published_here_whoever_he_says_he_is() {
    let rig = Rig::configured(Set { node: Node::new(HERE), ..Set::default() });
    let (stranger, nine) = (rig.node(Some(7)).await, rig.node(Some(9)).await);
    assert_eq!(code(&stranger.publish_namespace(&["open", "his"]).await), None);
    let mut news = listens(&nine).await;
    let his = namespace(&["open", "his"]);
    assert_eq!(next(&mut news).await, (his, Some(route(&[HERE]))));
    let path = Path::new(["open", "his"].map(str::to_owned)).unwrap();
    assert!(rig.origin.get(&path).unwrap().route().is_local());
}
