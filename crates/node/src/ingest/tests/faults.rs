//! Who goes away or is refused at the door, and a database that refuses: what the index says goes by what became of it.

use control::limits::PAGE_RECORDS;
use control::{Presence, SegmentRecord};
use store::{Key, Kind, Object};

use super::*;

/// A statement that the database gets beside the program.
fn db(rig: &Rig, sql: &str) {
    let db = rusqlite::Connection::open(rig._folder.path().join("db")).unwrap();
    db.busy_timeout(Duration::from_secs(60)).unwrap();
    db.execute_batch(sql).unwrap();
}

const REFUSE: &str = "CREATE TRIGGER refuse BEFORE UPDATE ON owners
                      BEGIN SELECT RAISE(ABORT, 'no room'); END";
const TAKE: &str = "DROP TRIGGER refuse";

impl Rig {
    async fn presence(&self) -> Presence {
        self.ingest.control.standing(&self.input.uid).await.unwrap().unwrap().presence
    }

    /// A broadcast that has a sealed page, and whose server has died.
    async fn left_open(&self) -> (Claimed, Key) {
        let control = &self.ingest.control;
        let claimed = self.claim().await.unwrap();
        let owned = &claimed.owned;
        let gap = |number| SegmentRecord {
            number,
            epoch: owned.epoch,
            gap: true,
            ..SegmentRecord::default()
        };
        let numbers = claimed.first_segment..=claimed.first_segment + PAGE_RECORDS as u64;
        for number in numbers {
            control.commit(owned, vec![gap(number)], number + 1).await.unwrap();
        }
        let page = control.unsealed_page(&owned.video).await.unwrap().unwrap();
        let (kind, epoch, number) = (Kind::Page, owned.epoch.0, page.first_number);
        let key =
            Key::new(&Object { video: owned.video.to_string(), kind, epoch, number, random: 1 });
        let key = key.unwrap();
        control.seal_page(owned, page, key.as_str()).await.unwrap();
        control.park_all(&self.ingest.node, now_ms(), Duration::from_secs(4)).await.unwrap();
        (claimed, key)
    }
}

#[tokio::test]
async fn who_goes_away_while_its_claim_is_written_has_come_and_was_lost() {
    let rig = Rig::new().await;
    let ingest = &rig.ingest;
    let first = ingest.clone().admit(rig.asking(1).await).await.unwrap();
    let parked = ingest.parked.notified();
    let asking = rig.asking(2).await;
    let mut second = Box::pin(ingest.let_in(rig.input.clone(), rig.key().await, asking));
    assert!(futures_util::poll!(second.as_mut()).is_pending(), "it claims");
    drop(second);
    parked.await;
    // What is recorded goes on under the claim that nobody waited for.
    let owner = rig.owner();
    assert_eq!(owner.epoch.0, 2);
    ingest.control.reserve(&owner, 10, 0).await.unwrap();
    assert_eq!(rig.presence().await, Presence::Away(End::SourceLost));
    assert_eq!(first.publication.closed(), Some(Close::Replaced));
    // And whoever comes now goes on with the broadcast.
    let third = ingest.clone().admit(rig.asking(3).await).await.unwrap();
    assert_eq!((third.publication.closed(), rig.owner().video), (None, owner.video));
}

#[tokio::test]
async fn who_is_refused_after_its_claim_leaves_no_broadcast() {
    let rig = Rig::with(spine::Limits { broadcasts: 1, ..spine::Limits::default() }).await;
    let ingest = &rig.ingest;
    let path = Path::new(["default", "other"]).unwrap();
    let route = Route::local(spine::NodeId(0), 1);
    let other = ingest.origin.publish(&path, route, Takeover::Refuse).unwrap();
    let refused = ingest.clone().admit(rig.asking(1).await).await;
    assert!(matches!(refused.err(), Some(Refused::Unavailable(_))));
    assert_eq!(ingest.control.broadcast_of(&rig.input.uid).await.unwrap(), None);
    assert_eq!(rig.presence().await, Presence::Off(End::Goodbye));
    assert!(matches!(
        ingest.library.find(rig.input.uid.as_str()).await,
        deliver::Found::OffAir { .. }
    ));
    other.end(Close::Ended);
    assert!(ingest.clone().admit(rig.asking(1).await).await.is_ok());
}

#[tokio::test]
async fn a_broadcast_whose_past_can_not_be_read_is_waited_for_no_longer_than_before() {
    let rig = Rig::new().await;
    let ingest = &rig.ingest;
    let (claimed, page) = rig.left_open().await;
    let until = ingest.control.next_expiry().await.unwrap();
    // A disk that fails, until it is replaced.
    let page = rig._folder.path().join("media").join(page.as_str());
    std::fs::create_dir_all(page.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&page, &page).unwrap();
    for _ in 0..2 {
        let refused = ingest.clone().admit(rig.asking(1).await).await;
        assert!(matches!(refused.err(), Some(Refused::Unavailable(_))));
        assert_eq!(rig.presence().await, Presence::Away(End::NodeLost));
        assert_eq!(ingest.control.next_expiry().await.unwrap(), until);
    }
    let id = claimed.owned.video.as_str();
    assert!(matches!(ingest.library.find(id).await, deliver::Found::Unknown));
    let ended = ingest.control.expire(until.unwrap(), Default::default()).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert!(ingest.clone().admit(rig.asking(1).await).await.is_ok());
    assert_ne!(rig.owner().video, claimed.owned.video);
}

#[tokio::test]
async fn a_broadcast_that_has_lost_a_page_of_its_index_goes_on() {
    let rig = Rig::new().await;
    let (claimed, _lost) = rig.left_open().await;
    let admitted = rig.ingest.clone().admit(rig.asking(1).await).await;
    assert!(admitted.is_ok(), "{:?}", admitted.err());
    assert_eq!(rig.owner().video, claimed.owned.video);
}

#[tokio::test]
async fn who_asks_with_a_key_that_is_changed_meanwhile_is_not_let_in() {
    let rig = Rig::new().await;
    let control = &rig.ingest.control;
    let (uid, old, asking) = (&rig.input.uid, rig.key().await, rig.asking(1).await);
    let rotate = async |seed: u8| {
        let random = std::array::from_fn(|i| (i as u8).wrapping_mul(seed));
        control.rotate_keys(uid, random, 2, None).await.unwrap();
    };
    // Before its claim: whoever has the input keeps it.
    rotate(3).await;
    let claimed = rig.ingest.claim(&rig.input, &old).await;
    assert_eq!(claimed.err(), Some(Refused::UnknownKey));
    assert_eq!(rig.presence().await, Presence::Never);
    // Between its claim and the air.
    let (key, asking) =
        (rig.key().await, Asking { key: rig.key().await.expose().to_owned(), ..asking });
    let claimed = rig.ingest.claim(&rig.input, &key).await.unwrap();
    rotate(5).await;
    let admitted = rig.ingest.go_on_air(&rig.input, &claimed, asking, false).await.unwrap();
    let entered = rig.ingest.still_welcome(&key, Untaken(Some(admitted))).await;
    assert_eq!(entered.err(), Some(Refused::UnknownKey));
    assert_eq!(rig.ingest.origin.get(&path_of(uid)), None);
}

#[tokio::test]
async fn what_has_become_of_a_broadcast_is_told_until_the_index_takes_it() {
    for left in [Left::Goodbye, Left::Lost] {
        let rig = Rig::new().await;
        let ingest = &rig.ingest;
        let admitted = ingest.clone().admit(rig.asking(1).await).await.unwrap();
        let owner = rig.owner();
        let mut told = std::pin::pin!(async {
            match left {
                Left::Goodbye => ingest.finished.notified().await,
                _ => ingest.parked.notified().await,
            }
        });
        assert!(futures_util::poll!(told.as_mut()).is_pending());
        db(&rig, REFUSE);
        (admitted.leave)(admitted.publication, left);
        for _ in 0..50 {
            rig.asked(&owner).await;
            if futures_util::poll!(told.as_mut()).is_ready() {
                panic!("{left}: {:?} is as it stays", rig.presence().await);
            }
        }
        db(&rig, TAKE);
        told.await;
        let expect = match left {
            Left::Goodbye => Presence::Off(End::Goodbye),
            _ => Presence::Away(End::SourceLost),
        };
        assert_eq!(rig.presence().await, expect, "{left}");
    }
}

/// Its encoder is waited for for so long, and not until a time of day.
#[tokio::test]
async fn a_step_of_the_wall_clock_ends_nothing_that_is_waited_for() {
    let rig = Rig::new().await;
    let ingest = &rig.ingest;
    let admitted = ingest.clone().admit(rig.asking(1).await).await.unwrap();
    let (owner, parked) = (rig.owner(), ingest.parked.notified());
    (admitted.leave)(admitted.publication, Left::Lost);
    parked.await;
    // As if it were hours later.
    let away = Away { why: End::SourceLost, now_ms: 1, until_ms: 2 };
    ingest.control.park(&owner, away).await.unwrap();
    ingest.end_left().await;
    assert_eq!(rig.presence().await, Presence::Away(End::SourceLost));
    let _back = ingest.clone().admit(rig.asking(1).await).await.unwrap();
    assert_eq!(rig.owner().video, owner.video);
}
