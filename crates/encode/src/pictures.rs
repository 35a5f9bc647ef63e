//! Pictures on demand: thumbnails, sheets of them, films. Made once however many ask, kept within a bound, and never in the
//! way of those who watch.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant as Timestamp;

use crate::allowance::Timed;
use crate::asks::{Asks, By};
use crate::job::{JobError, config_of};
use crate::limits::{
    PICTURE_BYTES_MIN, PICTURE_LEFT_MAX, PICTURE_WAIT_MAX, PICTURES_CACHE_BYTES,
    PICTURES_PER_ADDRESS_MAX, PICTURES_WAITING_MAX, PIXELS_MAX, SIDE_MAX,
};
use crate::made::{Failed, Made};
use crate::original::Original;
use crate::picture::{Draw, Picture};
use crate::pool::{NoWorker, Priority, Want};
use crate::renditions::{Renditions, Work};
use crate::worker::WorkerError;

/// The pictures of a node.
pub(crate) struct Pictures {
    at_once: usize,
    room: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By video and picture.
    made: BTreeMap<(String, Picture), Entry>,
    /// Those of each address that come to the room: no more than it holds, so that nobody waits behind all of another one's.
    rooms: BTreeMap<IpAddr, Arc<Semaphore>>,
    clock: u64,
}

struct Entry {
    made: Arc<Made>,
    /// Who asked first.
    address: Option<IpAddr>,
    /// Who has asked.
    asks: Arc<Asks>,
    used: u64,
}

/// A picture that is to be drawn.
pub(crate) struct Asked {
    original: Arc<dyn Original>,
    picture: Picture,
    asks: Arc<Asks>,
    /// Whoever waits hears of its end, also when this is dropped.
    made: Waited,
}

struct Waited(Arc<Made>);

impl Drop for Waited {
    fn drop(&mut self) {
        self.0.finish(Err(Failed::Encoder));
    }
}

impl Pictures {
    pub(crate) fn new(at_once: usize) -> Self {
        Self { at_once, room: Semaphore::new(at_once), state: Mutex::default() }
    }

    /// The picture, and if it is to be made now, for whom.
    fn find(
        &self,
        video: &str,
        picture: &Picture,
        address: Option<IpAddr>,
    ) -> Result<(Arc<Made>, Option<Arc<Asks>>), Failed> {
        let now = Instant::now();
        let mut state = self.state();
        let stale = |made: &Made| made.is_stale(now);
        state.clock += 1;
        let used = state.clock;
        let key = (video.to_owned(), picture.clone());
        if let Some(entry) = state.made.get_mut(&key).filter(|entry| !stale(&entry.made)) {
            entry.used = used;
            entry.asks.ask(address);
            return Ok((entry.made.clone(), None));
        }
        state.made.retain(|_, entry| !stale(&entry.made));
        let waiting = || state.made.values().filter(|e| e.made.outcome().is_none());
        let same = waiting().filter(|e| address.is_some() && e.address == address).count();
        if waiting().count() >= PICTURES_WAITING_MAX || same >= PICTURES_PER_ADDRESS_MAX {
            return Err(Failed::Busy);
        }
        let (made, asks) = (Arc::new(Made::new()), Asks::of(address));
        state.made.insert(key, Entry { made: made.clone(), address, asks: asks.clone(), used });
        Ok((made, Some(asks)))
    }

    /// Where the pictures of an address wait for each other.
    fn room_of(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut state = self.state();
        state.rooms.retain(|_, room| Arc::strong_count(room) > 1);
        let new = || Arc::new(Semaphore::new(self.at_once));
        state.rooms.entry(address).or_insert_with(new).clone()
    }

    /// A place among the pictures of any who ask for it, and when the last one of them came. What many people ask for needs none.
    async fn place_for(&self, asks: &Asks) -> (Option<OwnedSemaphorePermit>, Instant) {
        let (mut waits, mut last): (Vec<Waits>, _) = (Vec::new(), Instant::now());
        loop {
            let By::Addresses(all) = asks.by() else { return (None, last) };
            // Nobody goes who has come.
            for address in all.into_iter().skip(waits.len()) {
                waits.push(Box::pin(self.room_of(address).acquire_owned()));
            }
            let first = poll_fn(|cx| {
                let ready = waits.iter_mut().find_map(|one| match one.as_mut().poll(cx) {
                    Poll::Ready(place) => Some(place),
                    Poll::Pending => None,
                });
                ready.map_or(Poll::Pending, Poll::Ready)
            });
            tokio::select! {
                biased;
                // Nobody closes a room.
                place = first => return (place.ok(), last),
                () = asks.more() => last = Instant::now(),
            }
        }
    }

    /// Forgets what was not asked for for longest, beyond the bound.
    fn trim(&self) {
        let mut state = self.state();
        // A small one is not only its bytes, and many small ones are slow to look through.
        let weight = |e: &Entry| e.made.bytes().max(PICTURE_BYTES_MIN);
        let mut bytes: usize = state.made.values().map(weight).sum();
        while bytes > PICTURES_CACHE_BYTES {
            let done = state.made.iter().filter(|(_, e)| e.made.outcome().is_some());
            let oldest = done.min_by_key(|(_, e)| e.used).map(|(key, _)| key.clone());
            let Some(entry) = oldest.and_then(|key| state.made.remove(&key)) else { return };
            bytes -= weight(&entry);
        }
    }

    /// A video is gone.
    pub(crate) fn forget(&self, video: &str) {
        self.state().made.retain(|(of, _), _| of != video);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renditions {
    /// A picture of a video, which may still be being made: its bytes are part 0.
    pub fn picture(
        &self,
        original: &Arc<dyn Original>,
        picture: &Picture,
    ) -> Result<Arc<Made>, Failed> {
        self.picture_for(original, picture, None)
    }

    /// The same, for this address, which has a share of what waits. None: many people, or the server itself.
    pub fn picture_for(
        &self,
        original: &Arc<dyn Original>,
        picture: &Picture,
        address: Option<IpAddr>,
    ) -> Result<Arc<Made>, Failed> {
        let (made, new) = self.pictures().find(original.video(), picture, address)?;
        if let Some(asks) = new {
            let Ok(place) = self.would_take_on() else {
                // Who asks next asks anew.
                made.finish(Err(Failed::Busy));
                return Err(Failed::Busy);
            };
            let (original, picture) = (original.clone(), picture.clone());
            let asked = Asked { original, picture, asks, made: Waited(made.clone()) };
            place.send(Work::Picture(asked));
        }
        Ok(made)
    }

    /// Draws it. A worker may die over it: then it is done once more.
    pub(crate) async fn draw(self: Arc<Self>, asked: Asked) {
        let Asked { original, picture, asks, made } = asked;
        let (_own, at) = self.pictures().place_for(&asks).await;
        let Ok(_room) = self.pictures().room.acquire().await else { return };
        // Whoever asked has been told "busy" meanwhile: a pile of them must not keep out those who ask now.
        if at.elapsed() >= PICTURE_WAIT_MAX {
            return made.0.finish(Err(Failed::Busy));
        }
        let twice = async {
            let drawn = self.draw_once(original.as_ref(), &picture).await;
            let Err(Undrawn::Lost(error)) = &drawn else { return drawn };
            tracing::warn!(video = original.video(), %error, "an encoder was lost over a picture");
            self.draw_once(original.as_ref(), &picture).await
        };
        let drawn = tokio::select! {
            drawn = twice => drawn,
            () = left(&made.0) => {
                self.counters().dropped.fetch_add(1, Ordering::Relaxed);
                Err(Undrawn::Failed(Failed::Busy))
            }
        };
        let outcome = match drawn {
            Ok(bytes) => {
                self.counters().drawn.fetch_add(1, Ordering::Relaxed);
                made.0.push(0, vec![bytes]);
                Ok(())
            }
            Err(Undrawn::Failed(failed)) => Err(failed),
            Err(Undrawn::Lost(error)) => {
                tracing::warn!(video = original.video(), %error, "a picture can't be made");
                Err(self.lost_again())
            }
        };
        made.0.finish(outcome);
        self.pictures().trim();
    }

    async fn draw_once(
        &self,
        original: &dyn Original,
        picture: &Picture,
    ) -> Result<Bytes, Undrawn> {
        let no_original = Undrawn::Failed(Failed::NoOriginal);
        let found = picture.what.first().and_then(|n| Some((n, original.segment(n)?)));
        let Some((number, segment)) = found else { return Err(no_original) };
        let init = original.init(segment.init).await;
        let init = init.map_err(|_| Undrawn::Failed(Failed::Store))?;
        let Some(init) = init else { return Err(no_original) };
        let config = config_of(&init).filter(|c| {
            let pixels = u64::from(c.width) * u64::from(c.height);
            c.width.max(c.height) <= SIDE_MAX && pixels <= PIXELS_MAX
        });
        let config = config.ok_or(Undrawn::Failed(Failed::Encoder))?;
        let bytes = self.fits(&config, &[]).map_err(|too_large| {
            tracing::warn!(video = original.video(), %too_large, "no picture");
            Undrawn::Failed(Failed::Encoder)
        })?;
        let mut lease = match self.pool().lease(Want { bytes, ..Priority::Picture.into() }).await {
            Ok(lease) => lease,
            Err(NoWorker::Busy) => return Err(Undrawn::Failed(Failed::Busy)),
            Err(NoWorker::Worker(WorkerError::Gone)) => {
                return Err(Undrawn::Failed(Failed::Program));
            }
            Err(NoWorker::Worker(error)) => {
                self.counters().lost.fetch_add(1, Ordering::Relaxed);
                return Err(Undrawn::Lost(error.into()));
            }
        };
        let counters = self.counters();
        let init = (segment.init, &init);
        let timed = Timed::new(original, number, self.allowance());
        let (config, begun) = (&config, AtomicBool::new(false));
        let draw = Draw { original: &timed, picture, config, init, counters, begun };
        let drawn = tokio::select! {
            drawn = draw.run(&mut lease) => drawn,
            () = timed.overdue() => Err(WorkerError::Overdue.into()),
        };
        match drawn {
            Ok(bytes) => {
                lease.done();
                Ok(bytes)
            }
            Err(error @ (JobError::NoOriginal | JobError::Store(_))) => {
                // Unless it is in the middle of it.
                if !draw.begun.load(Ordering::Relaxed) {
                    lease.done();
                }
                let store = matches!(error, JobError::Store(_));
                Err(Undrawn::Failed(if store { Failed::Store } else { Failed::NoOriginal }))
            }
            Err(error) if error.spares_worker() => {
                tracing::info!(video = original.video(), %error, "no picture");
                Err(Undrawn::Failed(Failed::Encoder))
            }
            Err(error) => {
                counters.lost.fetch_add(1, Ordering::Relaxed);
                match error.is_final() {
                    true => {
                        tracing::warn!(video = original.video(), %error, "a picture is given up");
                        Err(Undrawn::Failed(Failed::Encoder))
                    }
                    false => Err(Undrawn::Lost(error)),
                }
            }
        }
    }
}

/// Ends when nobody has waited for it for a while. Who was told to try again comes back sooner.
async fn left(made: &Made) {
    let mut last = Timestamp::now();
    while last.elapsed() < PICTURE_LEFT_MAX {
        tokio::time::sleep(LOOK).await;
        if made.is_awaited() {
            last = Timestamp::now();
        }
    }
}

/// How often it is looked whether anybody waits.
const LOOK: Duration = Duration::from_millis(500);

/// A place that is waited for.
type Waits = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

enum Undrawn {
    /// For good.
    Failed(Failed),
    /// The worker, not necessarily the picture.
    Lost(JobError),
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::ahead::tests::{Film, level, renditions};
    use crate::fit::Size;
    use crate::picture::What;

    fn picture(segment: u64) -> Picture {
        Picture { size: Size::default(), what: What::Key(segment) }
    }

    fn keep(pictures: &Pictures, segment: u64, bytes: &Bytes) {
        let made = Arc::new(Made::new());
        made.push(0, vec![bytes.clone()]);
        made.finish(Ok(()));
        let mut state = pictures.state();
        state.clock += 1;
        let used = state.clock;
        let entry = Entry { made, address: None, asks: Arc::default(), used };
        state.made.insert(("film".to_owned(), picture(segment)), entry);
    }

    #[test]
    fn pictures_that_were_not_asked_for_for_longest_are_forgotten_beyond_the_bound() {
        let pictures = Pictures::new(1);
        let large = Bytes::from(vec![0; PICTURES_CACHE_BYTES / 32]);
        (0..40).for_each(|segment| keep(&pictures, segment, &large));
        let (_, new) = pictures.find("film", &picture(0), None).unwrap();
        assert!(new.is_none(), "it is there, and asked for again");
        pictures.trim();
        let left = std::mem::take(&mut pictures.state().made).into_keys();
        let left: Vec<_> = left.filter_map(|(_, picture)| picture.what.first()).collect();
        assert_eq!(left, std::iter::once(0).chain(9..40).collect::<Vec<_>>());
        // Small ones are bounded by their number.
        let pictures = Pictures::new(1);
        let most = PICTURES_CACHE_BYTES / PICTURE_BYTES_MIN;
        (0..most as u64 + 5).for_each(|segment| keep(&pictures, segment, &Bytes::new()));
        pictures.trim();
        assert_eq!(pictures.state().made.len(), most);
    }

    #[tokio::test(start_paused = true)]
    async fn a_picture_that_nobody_waits_for_is_given_up() {
        let (made, began) = (Made::new(), Timestamp::now());
        let viewer = async {
            let _ = tokio::time::timeout(Duration::from_secs(30), made.part(0)).await;
        };
        tokio::join!(left(&made), viewer);
        let waited = began.elapsed().saturating_sub(Duration::from_secs(30));
        assert!(waited.abs_diff(PICTURE_LEFT_MAX) <= 2 * LOOK, "{waited:?}");
    }

    #[test]
    fn only_so_many_pictures_are_waited_for() {
        let pictures = Pictures::new(1);
        let find = |segment: usize| pictures.find("film", &picture(segment as u64), None);
        let waited: Vec<_> = (0..PICTURES_WAITING_MAX).map(|n| find(n).unwrap().0).collect();
        assert_eq!(find(PICTURES_WAITING_MAX).err(), Some(Failed::Busy));
        assert!(
            find(0).is_ok_and(|(_, new)| new.is_none()),
            "who asks for the same waits with others"
        );
        waited[7].finish(Ok(()));
        assert!(find(PICTURES_WAITING_MAX).is_ok_and(|(_, new)| new.is_some()));
    }

    /// One that asks for everything at once has its share, and others wait behind as many as are drawn at one time.
    #[tokio::test]
    async fn an_address_has_a_share_of_the_pictures() {
        let pictures = Pictures::new(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|a| a.parse::<IpAddr>().ok());
        let find = |n: usize, of| {
            pictures.find("film", &picture(n as u64), of).map(|(_, new)| new.is_some())
        };
        assert!((0..PICTURES_PER_ADDRESS_MAX).all(|n| find(n, one) == Ok(true)));
        assert_eq!(find(PICTURES_PER_ADDRESS_MAX, one), Err(Failed::Busy));
        assert_eq!(find(0, one), Ok(false), "who asks for the same waits with others");
        assert_eq!(find(1, other), Ok(false));
        let asks = pictures.state().made[&("film".to_owned(), picture(1))].asks.by();
        assert_eq!(asks, By::Addresses(one.into_iter().chain(other).collect()), "and is known");
        assert_eq!(find(PICTURES_PER_ADDRESS_MAX, other), Ok(true));
        assert_eq!(find(PICTURES_PER_ADDRESS_MAX + 1, None), Ok(true));
        let asks: Vec<Arc<Asks>> = (0..4).map(|_| Asks::of(one)).collect();
        let place = async |asks: &Arc<Asks>| pictures.place_for(asks).await.0;
        let mut wake = Context::from_waker(Waker::noop());
        {
            let (first, _second) = (place(&asks[0]).await, place(&asks[1]).await);
            let (mut third, mut fourth) = (pin!(place(&asks[2])), pin!(place(&asks[3])));
            assert!(third.as_mut().poll(&mut wake).is_pending());
            assert!(fourth.as_mut().poll(&mut wake).is_pending(), "it waits for others of its own");
            assert!(place(&Asks::of(other)).await.is_some(), "others do not");
            assert!(place(&Asks::of(None)).await.is_none());
            // Who joins has his own turn, and what others wait for stays where it is.
            asks[3].ask(other);
            assert!(matches!(fourth.as_mut().poll(&mut wake), Poll::Ready(Some(_))));
            assert!(third.as_mut().poll(&mut wake).is_pending());
            drop(first);
            assert!(matches!(third.as_mut().poll(&mut wake), Poll::Ready(Some(_))));
        }
        assert!(place(&Asks::of(other)).await.is_some());
        assert_eq!(pictures.state().rooms.len(), 1, "who has gone is forgotten");
    }

    /// So much is going on for a moment that nobody takes it up: it is asked for again, and not refused for long.
    #[tokio::test]
    async fn a_picture_that_nobody_takes_up_may_be_asked_for_again_at_once() {
        let renditions = renditions(Duration::from_secs(10), None);
        let original: Arc<dyn Original> = Arc::new(Film { kept: false });
        let mut segments = 1..;
        assert!(segments.any(|number| renditions.segment(&original, number, &level()).is_err()));
        for _ in 0..2 {
            let asked = renditions.picture(&original, &picture(1));
            assert_eq!(asked.map(|made| made.outcome()).err(), Some(Failed::Busy));
        }
    }
}
