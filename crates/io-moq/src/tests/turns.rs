//! What QUIC has all of, and has not sent yet: it goes by what is more urgent now, not by what was when it was handed over.

use bytes::Bytes;
use moqt::session::Command;
use moqt::{Filter, GroupOrder, Parameters, Request, RequestId, Version};
use spine::{Header, TrackInfo, TrackName, track};

use super::live::{mile, ms};
use super::rig::{Carrier, Client, Rig, Subscribed, next_object, soon, track as track_name};
use super::streams::end_of;
use crate::clock;
use crate::limits::{INITIAL_WINDOW, SEND_WINDOW_MIN};
use crate::link::Told;
use crate::transport::{Congestion, Network, Read};

/// Two of them fit into what QUIC takes beside one window that is under way; each is several packets.
const BYTES: usize = (SEND_WINDOW_MIN - INITIAL_WINDOW) as usize * 2 / 5;

/// A group of one object.
fn write(track: &track::Producer, id: u64, bytes: usize) {
    let now = clock::now();
    let group = track.group(id, now).unwrap();
    let subgroup = group.subgroup(0, now).unwrap();
    let payload = track.budget().payload(Bytes::from(vec![7; bytes]));
    subgroup.write(Header::new(0, now), vec![payload]).unwrap();
    subgroup.fin();
    group.end(Some(0), now);
}

/// Three tracks, of which the first is the most urgent, and one who watches them over a narrow path.
struct Watched {
    tracks: Vec<track::Producer>,
    client: Client,
    seen: Vec<Subscribed>,
    _held: (Rig, Network, spine::broadcast::Producer),
}

async fn watched() -> Watched {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let client = rig.client_over(&network, mile(1, 1 << 20)).await;
    let (mut tracks, mut seen) = (Vec::new(), Vec::new());
    for (n, of) in (1..).zip(["first", "second", "third"]) {
        tracks.push(broadcast.track(TrackName::from_static(of), TrackInfo::default()).unwrap());
        let group_order = Some(GroupOrder::Descending);
        let parameters =
            Parameters { subscriber_priority: Some(10 * n), group_order, ..next_object() };
        seen.push(client.subscribe(track_name(&["default", "one"], of), parameters).await);
    }
    // As much as may be under way stands before all else.
    write(&tracks[0], 0, INITIAL_WINDOW as usize);
    tokio::time::sleep(ms(1)).await;
    Watched { tracks, client, seen, _held: (rig, network, broadcast) }
}

#[tokio::test(start_paused = true)]
async fn d14_what_a_subscriber_says_of_priorities_is_for_what_is_handed_over_too() {
    for update in [false, true] {
        let Watched { tracks, client, mut seen, _held } = watched().await;
        write(&tracks[1], 0, BYTES);
        write(&tracks[2], 0, BYTES);
        tokio::time::sleep(ms(1)).await;
        if update {
            let parameters = Parameters { subscriber_priority: Some(200), ..Parameters::default() };
            let id: RequestId = seen[1].id;
            client.command(Command::Update { id, parameters });
        }
        let [_, second, third] = &mut seen[..] else { panic!() };
        let third_is_first = soon("one of both", async {
            tokio::select! {
                _ = second.next() => false,
                _ = third.next() => true,
            }
        });
        assert_eq!(third_is_first.await, update);
    }
}

#[tokio::test(start_paused = true)]
async fn d14_groups_that_are_counted_anew_stay_in_order_when_they_are_handed_over() {
    let Watched { tracks, client: _client, mut seen, _held } = watched().await;
    // The second one is so far from the first one that they are counted anew. In descending order: QUIC lets what waits in it become less
    // urgent, not more.
    write(&tracks[1], 500, BYTES);
    tokio::time::sleep(ms(1)).await;
    write(&tracks[1], 612, BYTES);
    assert_eq!(seen[1].next().await.group, 612);
    assert_eq!(seen[1].next().await.group, 500);
}

/// What comes of the past with a subscription is as urgent as that, also when that changes.
#[tokio::test(start_paused = true)]
async fn draft21_s3_4_d14_the_past_is_as_urgent_as_its_subscription_is_now() {
    for (said, update, expect) in
        [(None, false, false), (None, true, true), (Some(20), true, false)]
    {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let broadcast = rig.broadcast(&["default", "one"]);
        let carrier = Carrier::Quic(Version::Draft21);
        let client = rig.client_by(&network, mile(1, 1 << 20), carrier).await;
        let tracks = ["first", "second", "third"]
            .map(|of| broadcast.track(TrackName::from_static(of), TrackInfo::default()).unwrap());
        write(&tracks[1], 0, BYTES);
        let wish = |n: u8| Parameters { subscriber_priority: Some(10 * n), ..next_object() };
        let of = |name: &str| track_name(&["default", "one"], name);
        let _first = client.subscribe(of("first"), wish(1)).await;
        let request = Request::Subscribe { track: of("second"), parameters: wish(2) };
        let (id, _, mut told) = client.ask(request).await;
        let mut third = client.subscribe(of("third"), wish(3)).await;
        write(&tracks[0], 0, INITIAL_WINDOW as usize);
        tokio::time::sleep(ms(1)).await;
        let fill = Parameters {
            filter: Some(Filter::Recent(1)),
            subscriber_priority: said,
            ..Parameters::default()
        };
        let fill = Parameters { fill: Some(Box::new(fill)), ..Parameters::default() };
        client.command(Command::Update { id, parameters: fill });
        tokio::time::sleep(ms(50)).await;
        write(&tracks[2], 0, BYTES);
        tokio::time::sleep(ms(1)).await;
        if update {
            let parameters = Parameters { subscriber_priority: Some(200), ..Parameters::default() };
            client.command(Command::Update { id, parameters });
        }
        let mut past = Client::fetched(&mut told).await;
        let third_is_first = soon("one of both", async {
            tokio::select! {
                end = end_of(&mut past) => {
                    assert_eq!(end, Read::Fin);
                    false
                }
                _ = third.next() => true,
            }
        });
        assert_eq!(third_is_first.await, expect, "{said:?} {update}");
    }
}

/// QUIC sends datagrams before all streams: those that are less urgent are kept from it while what
/// is more urgent has to wait.
#[tokio::test(start_paused = true)]
async fn d14_datagrams_that_are_less_urgent_do_not_starve_streams() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let client = rig.client_over(&network, mile(1, 1 << 20)).await;
    let [video, beside] = ["video", "beside"]
        .map(|of| broadcast.track(TrackName::from_static(of), TrackInfo::default()).unwrap());
    let wish = |n| Parameters { subscriber_priority: Some(n), ..next_object() };
    let mut seen = client.subscribe(track_name(&["default", "one"], "video"), wish(10)).await;
    let request = Request::Subscribe {
        track: track_name(&["default", "one"], "beside"),
        parameters: wish(200),
    };
    let (_, _, mut told) = client.ask(request).await;
    // 0.8 Mbit/s of what is urgent, and four of what is not.
    let mut lone = None;
    for n in 0..200 {
        let now = clock::now();
        if n % 4 == 0 {
            write(&video, n / 4, 4_000);
        }
        let group = match n % 100 {
            0 => lone.insert(beside.group(n / 100, now).unwrap()),
            _ => lone.as_mut().unwrap(),
        };
        for id in 0..5 {
            let payload = beside.budget().payload(Bytes::from(vec![7; 1_000]));
            group.datagram(Header::new(5 * (n % 100) + id, now), payload).unwrap();
        }
        tokio::time::sleep(ms(10)).await;
    }
    let mut came = 0;
    while seen.objects.try_recv().is_ok() {
        came += 1;
    }
    assert!(came >= 30, "{came} of 50");
    let datagrams = std::iter::from_fn(|| told.try_recv().ok());
    let datagrams = datagrams.filter(|told| matches!(told, Told::Datagram(_))).count();
    assert!(datagrams >= 20, "{datagrams} came beside");
}
