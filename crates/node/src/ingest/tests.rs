//! Encoders that knock at the same moment: whoever's claim is the newest is on the air and is recorded, in whatever order they
//! come through the door.

mod faults;

use control::{Expect, InputSettings, MasterKey};
use media::timeline::SourceClock;

use super::*;
use crate::config::{Layer, load};

/// A node's door, without listeners.
struct Rig {
    ingest: Arc<Ingest>,
    input: Input,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        Self::with(spine::Limits::default()).await
    }

    async fn with(limits: spine::Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::new(&[7; 32]);
        let control = Arc::new(Control::open(&folder.path().join("db"), key).unwrap());
        let uid = InputUid::from_random([1; 15]);
        let random = std::array::from_fn(|i| i as u8);
        let input = control.create_input(uid, InputSettings::default(), random, 1).await.unwrap();
        let store = store::Store::open(&folder.path().join("media")).unwrap();
        let history = Arc::new(History::new(control.clone(), Arc::new(store)));
        let counters: Arc<Counters> = Arc::default();
        let levels = deliver::Levels::new(encode::Ladder::copy_only(), false);
        let library = Library::new(history.clone(), counters.clone(), levels);
        let ingest = Ingest {
            chat: Arc::new(chat::Rooms::new(control.clone())),
            control,
            history,
            backlog: Backlog::new(record::limits::NODE_BACKLOG_BYTES),
            space: Arc::default(),
            origin: Origin::new(limits),
            library,
            counters,
            found: Arc::default(),
            tasks: Tasks::default(),
            node: NodeId::parse("local").unwrap(),
            over_moq: false,
            settings: RwLock::new(Settings::of(&load(&[]).unwrap().config)),
            parked: Notify::new(),
            finished: Notify::new(),
            attempts: Arc::default(),
            state: Mutex::default(),
        };
        Self { ingest: Arc::new(ingest), input, _folder: folder }
    }

    async fn key(&self) -> Secret {
        self.ingest.control.input_keys(&self.input.uid).await.unwrap().unwrap().stream_key
    }

    async fn claim(&self) -> Result<Claimed, Refused> {
        self.ingest.claim(&self.input, &self.key().await).await
    }

    /// What the database was asked before has been answered.
    async fn asked(&self, owned: &Owned) {
        for _ in 0..2 {
            let _ = self.ingest.control.reserve(owned, 0, 0).await;
            tokio::task::yield_now().await;
        }
    }

    async fn asking(&self, last: u8) -> Asking {
        Asking {
            key: self.key().await.expose().to_owned(),
            path: None,
            peer: ([127, 0, 0, last], 1_000).into(),
            protocol: "rtmp",
            encoder: "a test".to_owned(),
            clock: SourceClock::RTMP,
        }
    }

    /// What the door does once a claim is granted.
    fn publish(&self, claimed: &Claimed) -> Result<spine::broadcast::Producer, Refused> {
        self.ingest.publish(&self.input, claimed)
    }

    fn register(
        &self,
        claimed: &Claimed,
        producer: &spine::broadcast::Producer,
    ) -> Result<Option<watch::Receiver<Owned>>, Refused> {
        let address = [127, 0, 0, claimed.owned.epoch.0 as u8].into();
        self.ingest.register(&claimed.owned, &producer.consume(), address, false)
    }

    /// The claim that the recorder commits under.
    fn owner(&self) -> Owned {
        self.ingest.state().active[&self.input.uid].owner.borrow().clone()
    }

    fn on_air(&self) -> Route {
        self.ingest.origin.get(&path_of(&self.input.uid)).expect("something is on the air").route()
    }
}

/// What two encoders do whose claims were answered together.
#[derive(Debug, Clone, Copy)]
enum Step {
    Publish(usize),
    Register(usize),
}
use Step::{Publish, Register};

const OLDER: usize = 0;
const NEWER: usize = 1;

#[tokio::test]
async fn of_two_claims_the_newer_is_on_whoever_comes_first() {
    let orders = [
        [Publish(OLDER), Register(OLDER), Publish(NEWER), Register(NEWER)],
        [Publish(OLDER), Publish(NEWER), Register(OLDER), Register(NEWER)],
        [Publish(OLDER), Publish(NEWER), Register(NEWER), Register(OLDER)],
        [Publish(NEWER), Publish(OLDER), Register(NEWER), Register(OLDER)],
        [Publish(NEWER), Register(NEWER), Publish(OLDER), Register(OLDER)],
    ];
    for order in orders {
        let rig = Rig::new().await;
        let claims = [rig.claim().await.unwrap(), rig.claim().await.unwrap()];
        assert!(claims[OLDER].owned.epoch < claims[NEWER].owned.epoch);
        let (mut producers, mut refused) = ([None, None], Vec::new());
        for step in order {
            match step {
                Publish(who) => match rig.publish(&claims[who]) {
                    Ok(producer) => producers[who] = Some(producer),
                    Err(why) => refused.push((who, why)),
                },
                Register(who) => {
                    // As in the door: who is refused lets go of what it has.
                    let Some(producer) = producers[who].take() else { continue };
                    match rig.register(&claims[who], &producer) {
                        Ok(_) => producers[who] = Some(producer),
                        Err(why) => refused.push((who, why)),
                    }
                }
            }
        }
        let newer = producers[NEWER].as_ref().unwrap_or_else(|| panic!("{order:?}: {refused:?}"));
        assert_eq!(newer.closed(), None, "{order:?}");
        assert!(refused.iter().all(|r| *r == (OLDER, Refused::TakenOver)), "{order:?} {refused:?}");
        if let Some(older) = &producers[OLDER] {
            assert_eq!(older.closed(), Some(Close::Replaced), "{order:?}");
        }
        assert_eq!(rig.owner(), claims[NEWER].owned, "{order:?}");
        assert_eq!(rig.on_air().epoch, claims[NEWER].owned.epoch.0, "{order:?}");
    }
}

#[tokio::test]
async fn a_claim_that_comes_after_the_broadcast_of_a_newer_one_is_over_begins_nothing() {
    let rig = Rig::new().await;
    let older = rig.claim().await.unwrap();
    let newer = rig.claim().await.unwrap();
    let producer = rig.publish(&newer).unwrap();
    rig.register(&newer, &producer).unwrap();
    producer.end(Close::Ended);
    // The last of the newer one is still being recorded.
    let late = rig.publish(&older).unwrap();
    assert_eq!(rig.register(&older, &late).err(), Some(Refused::TakenOver));
    drop(late);
    assert_eq!(rig.owner(), newer.owned);
    assert_eq!(rig.ingest.origin.get(&path_of(&rig.input.uid)), None);
}

#[tokio::test]
async fn who_was_replaced_leaves_without_taking_the_new_one_along() {
    let rig = Rig::new().await;
    let ingest = rig.ingest.clone();
    let first = ingest.clone().admit(rig.asking(1).await).await.unwrap();
    let older = rig.owner();
    let second = ingest.clone().admit(rig.asking(2).await).await.unwrap();
    assert!(
        ingest.state().of(&older).is_none(),
        "what the first one does changes nothing any more"
    );
    (first.leave)(first.publication, Left::Lost);
    assert_eq!(second.publication.closed(), None);
    let state = ingest.state();
    let active = &state.active[&rig.input.uid];
    assert_eq!(active.encoder, Some([127, 0, 0, 2].into()));
    assert!(active.health.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_called_by_many_at_once_has_one_on_the_air() {
    let rig = Rig::new().await;
    let door = rig.ingest.door();
    let asking = rig.asking(1).await;
    let knocks = (0..6).map(|n| {
        let asking = Asking { peer: ([127, 0, 0, n], 1_000).into(), ..asking.clone() };
        tokio::spawn(door(asking))
    });
    let knocks: Vec<_> = knocks.collect();
    let mut admitted = Vec::new();
    for knock in knocks {
        match knock.await.unwrap() {
            Ok(one) => admitted.push(one),
            Err(why) => assert_eq!(why, Refused::TakenOver),
        }
    }
    let on = admitted.iter().filter(|one| one.publication.closed().is_none()).count();
    assert_eq!(on, 1, "of {} admitted", admitted.len());
    let owner = rig.owner();
    assert_eq!(rig.on_air().epoch, owner.epoch.0);
    // The claim that is recorded under is the newest of all: it may reserve numbers.
    rig.ingest.control.reserve(&owner, 100, 100).await.unwrap();
}

#[tokio::test]
async fn numbers_that_were_shown_and_not_reserved_are_left_out() {
    let rig = Rig::new().await;
    let ingest = &rig.ingest;
    let _first = ingest.clone().admit(rig.asking(1).await).await.unwrap();
    let input = &rig.input.uid;
    let shown = || ingest.state().unreserved.get(input).map(|(_, to)| *to);
    assert!(!ingest.reserve(input, 20, u64::MAX).await, "nobody is given so many groups");
    assert_eq!(shown(), Some(20));
    assert!(ingest.reserve(input, 30, 0).await);
    assert_eq!(shown(), None, "it can be written again");
    // It never could, until somebody else is at the door.
    let owner = rig.owner();
    ingest.state().unreserved.insert(input.clone(), (owner, 40));
    let second = rig.claim().await.unwrap();
    assert_eq!((second.resumed, second.first_segment), (true, 41));
    assert_eq!(shown(), None);
    // Hours of it, more than the database gives at once.
    let many = 41 + 3 * control::limits::RESERVE_AHEAD;
    ingest.state().unreserved.insert(input.clone(), (second.owned, many));
    let third = rig.claim().await.unwrap();
    assert_eq!((third.resumed, third.first_segment, shown()), (true, many + 1, None));
    // While the next one asks, another number is shown.
    let note = |to| ingest.state().unreserved.insert(input.clone(), (third.owned.clone(), to));
    note(many + 10);
    let (fourth, _) = tokio::join!(rig.claim(), async { note(many + 11) });
    assert_eq!((fourth.unwrap().first_segment, shown()), (many + 12, None));
    // It is over: what another claim shows is its own.
    note(many + 1_000);
    let fifth = rig.claim().await.unwrap();
    assert_eq!((fifth.first_segment, shown()), (many + 13, None));
}

/// The database takes nothing, and then does again before the broadcast is over: the next one goes on above what was shown.
#[tokio::test]
async fn numbers_that_were_shown_are_left_out_after_the_end_too() {
    let rig = Rig::new().await;
    let ingest = &rig.ingest;
    let admitted = ingest.clone().admit(rig.asking(1).await).await.unwrap();
    let input = &rig.input.uid;
    let owner = rig.owner();
    rig.asked(&owner).await;
    ingest.state().unreserved.insert(input.clone(), (owner, 40));
    (admitted.leave)(admitted.publication, Left::Goodbye);
    loop {
        let mut over = std::pin::pin!(ingest.finished.notified());
        over.as_mut().enable();
        if !ingest.state().active.contains_key(input) {
            break;
        }
        over.await;
    }
    let next = rig.claim().await.unwrap();
    assert_eq!((next.resumed, next.first_segment), (false, 41));
}

#[tokio::test]
async fn numbers_are_reserved_again_however_many_were_not() {
    let rig = Rig::new().await;
    let ingest = &rig.ingest;
    let _first = ingest.clone().admit(rig.asking(1).await).await.unwrap();
    let many = 5 * control::limits::RESERVE_AHEAD;
    assert!(ingest.reserve(&rig.input.uid, many, 0).await);
    let second = rig.claim().await.unwrap();
    assert_eq!(second.first_segment, many + 1);
}

/// Flips `ingest.reconnect_s`.
#[tokio::test]
async fn who_has_left_is_waited_for_as_long_as_settings_say() {
    let (built_in, flipped): (&[&str], &[&str]) = (&[], &["ingest.reconnect_s=600"]);
    for (settings, timeout_seconds, left, wait_s) in [
        (built_in, 0, Left::Lost, 15),
        (flipped, 0, Left::Lost, 600),
        (flipped, 0, Left::Idle, 600),
        (flipped, 0, Left::Goodbye, 0),
        // An input's own setting is for both.
        (built_in, 60, Left::Lost, 60),
        (flipped, 60, Left::Lost, 60),
        (flipped, 60, Left::Goodbye, 60),
    ] {
        let case = format!("{settings:?} {timeout_seconds} {left}");
        let rig = Rig::new().await;
        let ingest = &rig.ingest;
        let layers: Vec<_> = settings.iter().map(|text| Layer::setting(text).unwrap()).collect();
        ingest.change(Settings::of(&load(&layers).unwrap().config));
        let mut of_input = rig.input.settings.clone();
        of_input.recording.timeout_seconds = timeout_seconds;
        ingest.control.update_input(&rig.input.uid, Expect::Any, of_input, 1).await.unwrap();
        let admitted = ingest.clone().admit(rig.asking(1).await).await.unwrap();
        let broadcast = ingest.state().active[&rig.input.uid].broadcast.clone();
        let parked = ingest.parked.notified();
        let from = (Instant::now(), now_ms());
        (admitted.leave)(admitted.publication, left);
        let to = (Instant::now(), now_ms());
        parked.await;
        if wait_s == 0 {
            assert_eq!(broadcast.liveness(), Liveness::Ended(Close::Ended), "{case}");
            continue;
        }
        // In the index a little longer, for what the recorder still has.
        let until = ingest.control.next_expiry().await.unwrap().unwrap() - PARK_MARGIN_MS;
        let wait = Duration::from_secs(wait_s);
        assert!(
            (from.1 + wait_s * 1_000..=to.1 + wait_s * 1_000 + 60_000).contains(&until),
            "{case}"
        );
        ingest.origin.expire(from.0 + wait - Duration::from_millis(1));
        assert_eq!(broadcast.liveness(), Liveness::Parked, "{case}");
        ingest.origin.expire(to.0 + wait);
        assert_eq!(broadcast.liveness(), Liveness::Ended(Close::SourceLost), "{case}");
    }
}

/// However long it says nothing: it stays until it is gone.
#[tokio::test]
async fn who_came_first_stays_where_the_owner_wants_it_so() {
    for (policy, replaced) in [(TakeoverPolicy::First, false), (TakeoverPolicy::Latest, true)] {
        let rig = Rig::new().await;
        rig.ingest.settings.write().unwrap().takeover = policy;
        let door = rig.ingest.door();
        let first = door(rig.asking(1).await).await.unwrap();
        let second = door(rig.asking(2).await).await;
        assert_eq!(second.as_ref().err(), (!replaced).then_some(&Refused::Busy));
        assert_eq!(first.publication.closed().is_some(), replaced);
        (first.leave)(first.publication, Left::Lost);
        let third = door(rig.asking(3).await).await;
        assert!(third.is_ok(), "who has gone has no right to stay");
    }
}

#[tokio::test]
async fn a_video_that_is_deleted_leaves_no_shelf_behind() {
    let rig = Rig::new().await;
    let ingest = rig.ingest.clone();
    let admitted = ingest.clone().admit(rig.asking(1).await).await.unwrap();
    // Something of it is committed, and its recorder does not know: as after a claim of another node.
    let owner = rig.owner();
    let gap = control::SegmentRecord {
        number: 1,
        epoch: owner.epoch,
        gap: true,
        ..control::SegmentRecord::default()
    };
    ingest.control.commit(&owner, vec![gap], 2).await.unwrap();
    let (video, over) = (owner.video, ingest.finished.notified());
    (admitted.leave)(admitted.publication, Left::Goodbye);
    over.await;
    // It is not whole: its shelf stays for its viewers to see the end.
    let shown = async || ingest.library.find(video.as_str()).await;
    assert!(matches!(shown().await, deliver::Found::Shelf { .. }));
    ingest.history.delete(&video, now_ms()).await.unwrap();
    assert!(matches!(shown().await, deliver::Found::Nothing));
}
