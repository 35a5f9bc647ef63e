//! Real threads on one origin: publishers that are replaced, parked and gone, writers, readers and
//! a clock. Nothing may stand still, and whatever a reader gets is in order and whole.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::sim::{Random, base, bytes};
use crate::*;

const ROUNDS: u64 = 40_000;
const PUBLISHERS: u64 = 2;
const READERS: u64 = 3;
/// Without a wake-up for so long, one was skipped; far more than a busy machine needs.
const STALL: Duration = Duration::from_secs(30);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

struct World {
    origin: Origin,
    path: Path,
    now: Instant,
    operations: AtomicU64,
    over: AtomicBool,
}

impl World {
    fn count(&self) {
        self.operations.fetch_add(1, Ordering::Relaxed);
    }
}

fn video() -> TrackName {
    TrackName::from_static("video")
}

/// Publishes again and again: replaces whoever is there, writes some groups, and leaves.
fn publisher(world: &World, seed: u64) {
    let mut random = Random(seed);
    for _ in 0..ROUNDS {
        world.count();
        let takeover = if random.one_in(3) { Takeover::Replace } else { Takeover::Refuse };
        let route = Route::local(NodeId(seed), 1);
        let Ok(broadcast) = world.origin.publish(&world.path, route, takeover) else { continue };
        // The other one may have taken it by now; then all writes are refused.
        if let Ok(track) = broadcast.track(video(), TrackInfo::default()) {
            for _ in 0..random.below(5) {
                let written = write_group(world, &track, &mut random);
                // Who is refused is told why: a broadcast that looks live takes what is written.
                if let Err(WriteError::Closed(why)) = written
                    && why != Close::Evicted
                {
                    assert!(broadcast.closed().is_some(), "refused ({why}) by a live broadcast");
                }
            }
        }
        match random.below(8) {
            0 => broadcast.end(Close::Ended),
            1 => drop(broadcast),
            _ => broadcast.park(world.now + Duration::from_millis(random.below(40))),
        }
    }
}

fn write_group(
    world: &World,
    track: &track::Producer,
    random: &mut Random,
) -> Result<(), WriteError> {
    let group = track.next_group(world.now)?;
    let subgroup = group.subgroup(0, world.now)?;
    for id in 0..random.below(4) {
        world.count();
        let len = 1 + random.below(60) as usize;
        let Some(mut writer) = subgroup.begin(Header::new(id, world.now), None)? else { break };
        for part in [0..len / 2, len / 2..len] {
            let data = bytes((0, 0), (group.id(), id), part);
            writer.write(world.origin.budget().payload(data))?;
        }
        writer.finish()?;
    }
    if random.one_in(4) {
        subgroup.reset(ResetCode(9));
    } else {
        subgroup.fin();
    }
    group.end(None, world.now);
    Ok(())
}

/// Parks this thread until `poll` is ready; fails if nobody wakes it although it would be.
fn wait<T>(world: &World, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        world.count();
        if let Poll::Ready(value) = poll(&mut cx) {
            return Some(value);
        }
        if world.over.load(Ordering::Acquire) {
            return None;
        }
        let slept = base();
        thread::park_timeout(STALL);
        let skipped = slept.elapsed() >= STALL && poll(&mut cx).is_ready();
        assert!(!skipped, "a reader was not woken");
    }
}

/// Follows the broadcast through all its lives; returns how many objects it got whole.
fn reader(world: &World, seed: u64) -> u64 {
    let mut whole = 0;
    while !world.over.load(Ordering::Acquire) {
        let pending = world.origin.lookup(&world.path, world.now + Duration::from_secs(3600));
        let mut pending = Box::pin(pending);
        // Nobody answers but the publishers: a responder that never does keeps the lookup open.
        let Some(found) = wait(world, |cx| pending.as_mut().poll(cx)) else { break };
        let Ok(broadcast) = found else { continue };
        let mut pending =
            Box::pin(broadcast.track(&video(), world.now + Duration::from_secs(3600)));
        let Some(found) = wait(world, |cx| pending.as_mut().poll(cx)) else { break };
        let Ok(track) = found else { continue };
        let start = if seed == 0 { Start::NewestGroup } else { Start::NextGroup };
        let mut cursor = track.subscribe(Filter::from(start), Policy::EVERYTHING);
        let mut last = None;
        while let Some(event) = wait(world, |cx| cursor.poll(cx, world.now)) {
            match event {
                Event::Group(id) => {
                    assert!(last.is_none_or(|last| id > last), "group {id} after {last:?}");
                    last = Some(id);
                }
                Event::Subgroup(subgroup) => whole += read_subgroup(world, subgroup),
                Event::End(_) => break,
                _ => {}
            }
        }
    }
    whole
}

fn read_subgroup(world: &World, mut subgroup: SubgroupReader) -> u64 {
    let mut whole = 0;
    let mut last = None;
    while let Some(SubgroupEvent::Object(mut object)) = wait(world, |cx| subgroup.poll(cx)) {
        let place = (object.location().group, object.location().object);
        assert!(last < Some(place.1), "object {place:?} after {last:?}");
        last = Some(place.1);
        let mut at = 0;
        loop {
            match wait(world, |cx| object.poll_chunk(cx)) {
                Some(Chunk::Data(data)) => {
                    assert_eq!(data[..], bytes((0, 0), place, at..at + data.len())[..]);
                    at += data.len();
                }
                Some(Chunk::End) => {
                    whole += 1;
                    break;
                }
                Some(Chunk::Reset(_)) | None => break,
            }
        }
    }
    whole
}

/// Time passes: parked broadcasts end at the moment when their publisher may be coming back.
fn clock(world: &World) {
    let mut ms = 0;
    while !world.over.load(Ordering::Acquire) {
        world.count();
        ms = (ms + 1) % 40;
        world.origin.expire(world.now + Duration::from_millis(ms));
        thread::yield_now();
    }
}

#[test]
fn threads_neither_stand_still_nor_mix_things_up() {
    let limits = Limits { cache_bytes: 60_000, ..Limits::default() };
    let path = Path::new(["live", "x"]).unwrap();
    let (operations, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let world =
        Arc::new(World { origin: Origin::new(limits), path, now: base(), operations, over });
    // Never answers, so that lookups wait for a publisher.
    let _responder = world.origin.responder(Path::root(), 1);
    let (done, finished) = mpsc::channel();
    let spawn = |f: Box<dyn FnOnce(&World) -> u64 + Send>| {
        let (world, done) = (world.clone(), done.clone());
        thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| f(&world)));
            done.send(result.ok()).unwrap();
        })
    };
    let publishers = (0..PUBLISHERS).map(|seed| {
        spawn(Box::new(move |world| {
            publisher(world, seed);
            0
        }))
    });
    let publishers: Vec<_> = publishers.collect();
    let mut others: Vec<_> =
        (0..READERS).map(|seed| spawn(Box::new(move |world| reader(world, seed)))).collect();
    others.push(spawn(Box::new(|world| {
        clock(world);
        0
    })));
    let limit = Duration::from_secs(120);
    for _ in &publishers {
        finished.recv_timeout(limit).unwrap().unwrap();
    }
    world.over.store(true, Ordering::Release);
    world.origin.shutdown();
    others.iter().for_each(|t| t.thread().unpark());
    let whole: u64 = others.iter().map(|_| finished.recv_timeout(limit).unwrap().unwrap()).sum();
    for thread in publishers.into_iter().chain(others) {
        thread.join().unwrap();
    }
    let operations = world.operations.load(Ordering::Relaxed);
    assert!(whole > 1_000 && operations > 100_000, "{whole} objects, {operations} operations");
    assert_eq!(world.origin.budget().used(), 0);
}
