//! What QUIC has all of, and has not sent yet: it goes by what is more urgent now, not by what was when it was handed over.

use bytes::Bytes;
use moqt::session::Command;
use moqt::{GroupOrder, Parameters, RequestId};
use spine::{Header, TrackInfo, TrackName, track};

use super::live::{mile, ms};
use super::rig::{Client, Rig, Subscribed, next_object, soon, track as name};
use crate::clock;
use crate::limits::{INITIAL_WINDOW, SEND_WINDOW_MIN};
use crate::transport::{Congestion, Network};

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
        seen.push(client.subscribe(name(&["default", "one"], of), parameters).await);
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
