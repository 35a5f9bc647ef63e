//! Levels on demand: single flight, what is made ahead, and what is kept.
//!
//! The unit is one segment of one level. Whoever asks for one that nobody has begins a job; a job makes all levels of
//! its segment that are wanted from one decode. At its end, or when somebody asks for what was made already, the next
//! segment is begun for the levels that somebody still watches (`ahead`), live as in the past: live the next segment is
//! just not there yet, and its parts are encoded as they come.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use media::codec::{AudioConfig, VideoConfig};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant as Timestamp;

use crate::allowance::Allowance;
use crate::asks::Asks;
use crate::cache::Cache;
use crate::demand::Demand;
use crate::hardware::Hardware;
use crate::inits::{Inits, Unknown};
use crate::ladder::{Level, codec_of};
use crate::limits::{FILLING, JOBS_MAX, LIVE_BEHIND};
use crate::made::{Failed, Made};
use crate::memory::{TooLarge, fits};
use crate::original::{Original, Unreadable};
use crate::pictures::{Asked, Pictures};
use crate::pool::{Pool, Priority};
use crate::program::Program;
use crate::rate::{LevelBits, OriginalBits, Rates};
use crate::sound;
use crate::worker::Counters;

/// How levels are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Jobs at one time.
    pub workers: usize,
    /// Bytes of memory that jobs may take together.
    pub memory: u64,
    /// Bytes of made segments that are kept.
    pub cache_bytes: usize,
    /// How long after its last request a live level goes on and one of the past is made ahead, and an idle worker is kept.
    pub linger: Duration,
    /// How long a job may wait for a worker.
    pub patience: Duration,
    /// How long nothing may be heard of a worker that has something to do.
    pub silent_max: Duration,
    /// How long a job may take, whatever is heard.
    pub allowance: Allowance,
    /// The H.264 encoder's name in FFmpeg.
    pub encoder: String,
    /// If it is none of the processor's: how long it is left alone when it has failed, before it is tried again.
    pub hardware_again: Duration,
    /// Where made segments are kept when memory has them no more.
    pub disk: Option<Disk>,
}

/// Room on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// A folder for it alone; made if it is not there.
    pub folder: PathBuf,
    /// At most.
    pub bytes_max: u64,
}

/// The encoder that needs no hardware.
pub const SOFTWARE: &str = "libx264";

/// Makes levels. Somebody runs [`run`](Self::run) for as long as it shall.
pub struct Renditions {
    pool: Arc<Pool>,
    settings: Settings,
    jobs: mpsc::Sender<Work>,
    queue: Mutex<Option<mpsc::Receiver<Work>>>,
    pictures: Pictures,
    disk: Option<Arc<Cache>>,
    /// The encoder that is configured, if it is none of the processor's.
    hardware: Option<Hardware>,
    state: Mutex<State>,
}

/// A segment of an original: video, track, number.
pub(crate) type Segment = (String, String, u64);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) made: BTreeMap<(Segment, Level), Entry>,
    /// Jobs that have not begun to encode: levels may still join.
    pub(crate) open: BTreeMap<Segment, Wanted>,
    /// What is watched: by video and track, and level.
    demand: BTreeMap<(String, String), BTreeMap<Level, Demand>>,
    pub(crate) inits: Inits,
    bytes: usize,
    /// What has made all that.
    program: Option<Arc<Program>>,
    pub(crate) clock: u64,
    pub(crate) rates: Rates,
}

/// Levels of a segment, and who waits for them.
pub(crate) type Wanted = Vec<(Level, Arc<Made>)>;

pub(crate) struct Entry {
    pub(crate) made: Arc<Made>,
    pub(crate) used: u64,
}

/// Whether the segment that is under way, or comes next where none is, is this one or one of the next two: players of whole
/// segments watch live from there.
fn is_near_live(original: &Arc<dyn Original>, number: u64) -> bool {
    is_live_within(original, number, number.saturating_add(2))
}

fn is_live_within(original: &Arc<dyn Original>, from: u64, to: u64) -> bool {
    (from..=to).any(|near| match original.segment(near) {
        Some(segment) => !segment.complete,
        None => original.is_ahead(near),
    })
}

/// How a segment that somebody wants is made: whoever plays whole segments live is three of the longest behind, and may be late
/// by one.
pub(crate) fn priority_at(original: &Arc<dyn Original>, number: u64, past: Priority) -> Priority {
    let live = is_live_within(original, number, number.saturating_add(LIVE_BEHIND));
    if live { Priority::Live } else { past }
}

/// What is to be done.
pub(crate) enum Work {
    Segment(Begun),
    Picture(Asked),
    Inits(Unknown),
}

/// A segment that is to be encoded.
pub(crate) struct Begun {
    pub(crate) segment: Segment,
    pub(crate) original: Arc<dyn Original>,
    pub(crate) priority: Priority,
    /// Who has asked for it; nobody yet, if it is made ahead.
    pub(crate) asks: Arc<Asks>,
}

impl State {
    /// Whether who asks for this segment fills a buffer: the one before was asked for a moment ago.
    fn is_filling(&self, of: &(String, String), level: &Level, number: u64) -> bool {
        let demand = self.demand.get(of).and_then(|levels| levels.get(level));
        let (now, before) = (Timestamp::now(), number.checked_sub(1));
        demand.zip(before).is_some_and(|(demand, before)| demand.is_asked(before, now, FILLING))
    }

    /// Live, a level goes on for a while after its last viewer.
    pub(crate) fn goes_on(
        &mut self,
        (video, track, number): &Segment,
        levels: &[Level],
        live: bool,
    ) {
        let demand = self.demand.get_mut(&(video.clone(), track.clone()));
        for (level, demand) in demand.into_iter().flatten() {
            if levels.contains(level) {
                demand.goes_on(*number, live);
            }
        }
    }
}

impl Renditions {
    /// Levels made by this program.
    pub fn new(program: Program, settings: Settings) -> Arc<Self> {
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let listed = program.has_encoder(&settings.encoder);
        if !listed {
            tracing::warn!(encoder = %settings.encoder, "FFmpeg has no such encoder here; {SOFTWARE} does it");
        }
        let hardware = (listed && settings.encoder != SOFTWARE)
            .then(|| Hardware::new(settings.encoder.clone(), settings.hardware_again));
        if let Some(lacks) = program.lacks() {
            tracing::warn!("{lacks}");
        }
        let pool = Pool::new(program, &settings, hardware.is_some());
        let (queue, state) = (Mutex::new(Some(queue)), Mutex::default());
        let pictures = Pictures::new(pool.pictures_at_once());
        let disk = settings.disk.as_ref().and_then(|disk| {
            let opened = Cache::open(disk.folder.clone(), disk.bytes_max);
            let told = opened.inspect_err(|error| {
                tracing::warn!(%error, folder = %disk.folder.display(), "made segments are not kept on the disk");
            });
            told.ok().map(Arc::new)
        });
        Arc::new(Self { pool, settings, jobs, queue, pictures, disk, hardware, state })
    }

    /// Which program makes levels now.
    pub(crate) fn program(&self) -> Arc<Program> {
        self.pool.presence().program()
    }

    /// Another version makes other bits: nothing of the one before goes out as the new one's.
    pub(crate) fn follow_program(&self) {
        let program = self.program();
        let mut state = self.state();
        let same = state.program.as_ref().is_none_or(|before| Arc::ptr_eq(before, &program));
        state.program = Some(program);
        if !same {
            state.made.clear();
            state.inits = Inits::default();
        }
    }

    pub(crate) fn hardware(&self) -> Option<&Hardware> {
        self.hardware.as_ref()
    }

    /// Why nothing can be encoded now, or not by the encoder that is configured, if so.
    pub fn complaint(&self) -> Option<String> {
        let hardware = || self.hardware.as_ref()?.complaint();
        self.pool.presence().complaint().or_else(hardware)
    }

    /// What its FFmpeg lacks, in words.
    pub fn lacks(&self) -> Option<String> {
        self.program().lacks()
    }

    /// Whether pictures can be drawn at all.
    pub fn draws(&self) -> bool {
        self.program().has_encoder("mjpeg")
    }

    /// Whether what begins so can be decoded here.
    pub fn decodes(&self, original: &VideoConfig) -> bool {
        codec_of(original).is_some_and(|codec| self.program().has_decoder(codec.name()))
    }

    /// The same of sound.
    pub fn decodes_sound(&self, original: &AudioConfig) -> bool {
        let source = sound::source_of(original);
        source.is_some_and(|source| self.program().has_decoder(source.codec.name()))
    }

    /// The encoder in hardware does not work: libx264 does it until it does again.
    pub(crate) fn hardware_fails(&self, why: &str) {
        if self.hardware.as_ref().is_some_and(|hardware| hardware.fails(why)) {
            self.counters().hardware_failed.fetch_add(1, Ordering::Relaxed);
            self.pool.use_hardware(false);
        }
    }

    /// Whether it works again. Nobody's segment is at stake: a process of its own encodes one picture.
    async fn try_hardware(self: Arc<Self>) {
        let Some(hardware) = &self.hardware else { return };
        if hardware.tried(self.program().try_out_by_name(hardware.name()).await) {
            self.pool.use_hardware(true);
            // It may have failed again by now.
            if !hardware.works() {
                self.pool.use_hardware(false);
            }
        }
    }

    /// Why a job fails whose second worker was lost, too.
    pub(crate) fn lost_again(&self) -> Failed {
        if self.pool.presence().is_off() { Failed::Program } else { Failed::Encoder }
    }

    pub(crate) fn allowance(&self) -> Allowance {
        self.settings.allowance
    }

    pub(crate) fn disk(&self) -> Option<&Arc<Cache>> {
        self.disk.as_ref()
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(crate) fn pictures(&self) -> &Pictures {
        &self.pictures
    }

    /// Somebody does it, unless there is too much to do.
    pub(crate) fn take_on(&self, work: Work) -> Result<(), Failed> {
        self.would_take_on().map(|place| place.send(work))
    }

    /// The same of what is told now.
    pub(crate) fn would_take_on(&self) -> Result<mpsc::Permit<'_, Work>, Failed> {
        self.jobs.try_reserve().map_err(|_| Failed::Busy)
    }

    /// What was done so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.pool.counters
    }

    /// How many bits a second a level of a track takes, as well as it is known by now.
    pub fn bits(
        &self,
        video: &str,
        track: &str,
        level: &Level,
        original: OriginalBits,
    ) -> LevelBits {
        self.state().rates.of((video, track), level, original)
    }

    /// What was made tells what lists say of its level.
    fn measure(&self, begun: &Begun, levels: &Wanted) {
        let (video, track, number) = &begun.segment;
        let Some(original) = begun.original.segment(*number) else { return };
        let mut state = self.state();
        for (level, made) in levels.iter().filter(|(_, made)| made.whole().is_some()) {
            let (bytes, of) = (made.bytes() as u64, (original.bytes, original.duration_ns));
            state.rates.made((video, track), level, bytes, of);
        }
    }

    /// Whether FFmpeg here has what makes a level.
    pub fn makes(&self, level: &Level) -> bool {
        // An encoder in hardware has that one to fall back to, and is never without it.
        let encoder = level.as_sound().map_or(SOFTWARE, |sound| sound.encoder());
        self.program().has_encoder(encoder)
    }

    /// What a job of all these levels of pictures like these takes of the memory, in bytes; an error where that is more than may be.
    pub fn fits(&self, source: &VideoConfig, levels: &[Level]) -> Result<u64, TooLarge> {
        fits(source, levels, self.settings.memory)
    }

    /// Whether nobody has asked for a segment lately, and nothing of one is kept.
    pub fn is_idle(&self) -> bool {
        let state = self.state();
        state.demand.is_empty() && state.open.is_empty() && state.made.is_empty()
    }

    /// A segment of a level, which may still be being made. Who asks for it will want the next one too.
    pub fn segment(
        &self,
        original: &Arc<dyn Original>,
        number: u64,
        level: &Level,
    ) -> Result<Arc<Made>, Failed> {
        self.segment_for(original, number, level, None)
    }

    /// The same, for this address, which has a share of what waits. None: many people, or the server itself.
    pub fn segment_for(
        &self,
        original: &Arc<dyn Original>,
        number: u64,
        level: &Level,
        address: Option<IpAddr>,
    ) -> Result<Arc<Made>, Failed> {
        let now = Instant::now();
        let (video, track) = (original.video().to_owned(), original.track().to_owned());
        let live = original.segment(number).is_none_or(|s| !s.complete);
        let at_edge = live || is_near_live(original, number);
        let priority = match live {
            true => Priority::Live,
            false => priority_at(original, number, Priority::Seeking),
        };
        self.follow_program();
        let mut state = self.state();
        let filling = state.is_filling(&(video.clone(), track.clone()), level, number);
        let demand = state.demand.entry((video.clone(), track.clone())).or_default();
        let asked = demand.entry(level.clone()).or_insert_with(|| Demand::new(level));
        asked.ask(number, at_edge);
        let segment = (video, track, number);
        state.clock += 1;
        let used = state.clock;
        let key = (segment.clone(), level.clone());
        if let Some(entry) = state.made.get_mut(&key).filter(|entry| !entry.made.is_stale(now)) {
            entry.used = used;
            let made = entry.made.clone();
            drop(state);
            if made.ask(address) {
                self.counters().prefetched_used.fetch_add(1, Ordering::Relaxed);
            }
            // What is being made begins the next one at its end; what can't be made does not.
            if made.outcome().is_some_and(|(how, _)| how.is_ok()) {
                self.make_ahead(&segment, original, filling);
            }
            return Ok(made);
        }
        let open = state.open.get(&segment);
        let asks = open.and_then(|levels| levels.iter().find_map(|(_, made)| made.asks().cloned()));
        let asks = asks.unwrap_or_else(|| Asks::of(address));
        let made = Arc::new(Made::asked_by(asks.clone()));
        made.ask(address);
        state.made.insert(key, Entry { made: made.clone(), used });
        if let Some(open) = state.open.get_mut(&segment) {
            open.push((level.clone(), made.clone()));
            return Ok(made);
        }
        let levels = vec![(level.clone(), made.clone())];
        let begun = Begun { segment, original: original.clone(), priority, asks };
        self.begin(&mut state, begun, levels)?;
        Ok(made)
    }

    pub(crate) fn begin(
        &self,
        state: &mut State,
        begun: Begun,
        levels: Wanted,
    ) -> Result<(), Failed> {
        let segment = begun.segment.clone();
        if self.take_on(Work::Segment(begun)).is_err() {
            for (level, made) in levels {
                made.finish(Err(Failed::Busy));
                state.made.remove(&(segment.clone(), level));
            }
            return Err(Failed::Busy);
        }
        state.open.insert(segment, levels);
        Ok(())
    }

    /// Does the jobs, each in a task of its own that ends with it, and ends workers that have nothing to do. Runs until it
    /// is dropped, and its jobs with it.
    pub async fn run(self: Arc<Self>) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut queue) = queue else { return };
        let mut jobs = JoinSet::new();
        loop {
            let now = Instant::now();
            let next = self.pool.reap(now, self.settings.linger);
            self.forget_stale(now);
            let next = next.unwrap_or(now + self.settings.linger.max(Duration::from_secs(1)));
            if self.hardware.as_ref().is_some_and(Hardware::is_due) {
                jobs.spawn(self.clone().try_hardware());
            }
            if self.pool.presence().is_due() {
                let renditions = self.clone();
                jobs.spawn(async move { renditions.pool.look().await });
            }
            let hardware = self.hardware.as_ref().and_then(Hardware::again_at);
            let again = [hardware, self.pool.presence().again_at()].into_iter().flatten().min();
            let next = again.map_or(next.into(), |again| again.min(next.into()));
            tokio::select! {
                work = queue.recv() => match work {
                    Some(Work::Segment(begun)) => _ = jobs.spawn(self.clone().work(begun)),
                    Some(Work::Picture(asked)) => _ = jobs.spawn(self.clone().draw(asked)),
                    Some(Work::Inits(unknown)) => _ = jobs.spawn(self.clone().answer(unknown)),
                    // The sender is ours.
                    None => return,
                },
                Some(ended) = jobs.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a job panicked");
                    }
                }
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    async fn work(self: Arc<Self>, begun: Begun) {
        let (video, _, number) = begun.segment.clone();
        let original = begun.original.clone();
        let mut guard = Abandoned::new(&self, &begun.segment);
        // Live this waits until the segment begins. What is whole may have been made already.
        let whole = original.segment(number).is_some_and(|s| s.complete);
        let program = self.program();
        let mut first = Ok(None);
        if !whole {
            first = original.part(number, 0).await;
            if !matches!(first, Ok(Some(_))) {
                guard.close(&[]);
                let failed = first.map_or(Failed::Store, |_| Failed::NoOriginal);
                return guard.finish(Err(failed));
            }
        }
        if !guard.take_up(matches!(begun.priority, Priority::Live | Priority::LiveAhead)) {
            return;
        }
        if whole {
            let levels = guard.levels.clone();
            self.take_from_disk(&begun, &mut guard.levels).await;
            self.measure(&begun, &levels);
            if !guard.levels.is_empty() {
                first = original.part(number, 0).await;
            }
        }
        if !guard.levels.is_empty() {
            let outcome = match first {
                Ok(Some(first)) => self.attempts(&begun, first, &guard.levels).await,
                Ok(None) => Err(Failed::NoOriginal),
                Err(Unreadable) => Err(Failed::Store),
            };
            if let Err(error) = &outcome {
                // What nobody has asked for is nobody's loss.
                let nobody = !guard.levels.iter().any(|(_, made)| made.is_asked());
                match error {
                    Failed::Busy if nobody => {
                        tracing::debug!(%video, number, "what was begun ahead is not made");
                    }
                    // That is told once, when it is missed.
                    Failed::Program => tracing::debug!(%video, number, "no encoder"),
                    _ => tracing::warn!(%video, number, %error, "a segment can't be encoded"),
                }
            }
            let made = guard.levels.clone();
            guard.finish(outcome);
            if outcome.is_err() {
                // Whoever wants what comes next asks for it.
                return;
            }
            self.measure(&begun, &made);
            // It may have been replaced meanwhile, and names are by what it is now.
            if Arc::ptr_eq(&program, &self.program()) {
                self.put_on_disk(&begun, made).await;
            }
        }
        self.trim();
        self.make_ahead(&begun.segment, &original, false);
    }

    /// Nobody joins any more. Levels of `wanted` that nobody asked for yet join last.
    fn close(&self, segment: &Segment, wanted: &[Level]) -> Wanted {
        let mut state = self.state();
        let mut levels = state.open.remove(segment).unwrap_or_default();
        // The job hears of who asks for these, too.
        let asks = levels.iter().find_map(|(_, made)| made.asks().cloned()).unwrap_or_default();
        for level in wanted {
            let key = (segment.clone(), level.clone());
            if !state.made.contains_key(&key) {
                let made = Arc::new(Made::ahead(asks.clone()));
                let used = state.clock;
                state.made.insert(key, Entry { made: made.clone(), used });
                levels.push((level.clone(), made));
                self.counters().prefetched.fetch_add(1, Ordering::Relaxed);
            }
        }
        levels.sort_by_key(|(level, _)| std::cmp::Reverse(level.size().map(|(w, h)| (h, w))));
        levels
    }

    /// Levels of which somebody has asked for the segment before this one, not long ago; or for a live one that was followed by what nobody
    /// asked for.
    pub(crate) fn wanted(&self, (video, track, next): &Segment) -> Vec<Level> {
        let Some(number) = next.checked_sub(1) else { return Vec::new() };
        let now = Timestamp::now();
        let state = self.state();
        let demand = state.demand.get(&(video.clone(), track.clone()));
        let fresh = |d: &&Demand| d.is_followed(number, now, self.settings.linger);
        let levels = demand.into_iter().flat_map(BTreeMap::values).filter(fresh);
        levels.map(|d| d.level.clone()).collect()
    }

    /// Forgets what was not used for longest, beyond the bound.
    fn trim(&self) {
        let mut state = self.state();
        let done = |e: &Entry| e.made.outcome().is_some();
        state.bytes = state.made.values().filter(|e| done(e)).map(|e| e.made.bytes()).sum();
        while state.bytes > self.settings.cache_bytes {
            let kept = state.made.iter().filter(|(_, e)| done(e));
            let oldest = kept.min_by_key(|(_, e)| e.used).map(|(key, _)| key.clone());
            let Some(entry) = oldest.and_then(|key| state.made.remove(&key)) else { return };
            state.bytes -= entry.made.bytes();
        }
    }

    /// Forgets failures and what nobody watches any more.
    fn forget_stale(&self, now: Instant) {
        let mut state = self.state();
        state.made.retain(|_, entry| !entry.made.is_stale(now));
        let (now, linger) = (Timestamp::now(), self.settings.linger);
        state.demand.retain(|_, levels| {
            levels.values_mut().for_each(|demand| demand.forget(now, linger));
            levels.retain(|_, demand| !demand.is_over());
            !levels.is_empty()
        });
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job's levels: whoever waits for them hears of its end, also when it is dropped or panics.
pub(crate) struct Abandoned<'a> {
    renditions: &'a Renditions,
    segment: &'a Segment,
    pub(crate) levels: Wanted,
    /// It has taken its levels: what is open of this segment now is another job's.
    closed: bool,
}

impl<'a> Abandoned<'a> {
    pub(crate) fn new(renditions: &'a Renditions, segment: &'a Segment) -> Self {
        Self { renditions, segment, levels: Vec::new(), closed: false }
    }

    fn close(&mut self, wanted: &[Level]) {
        self.levels = self.renditions.close(self.segment, wanted);
        self.closed = true;
    }

    /// Nobody joins any more. False if nobody wants any of it by now: live, what was begun ahead may have outlived its
    /// viewers.
    pub(crate) fn take_up(&mut self, live: bool) -> bool {
        let wanted = self.renditions.wanted(self.segment);
        self.close(&wanted);
        if live {
            let wants =
                |(level, made): &(Level, Arc<Made>)| made.is_asked() || wanted.contains(level);
            let (stay, gone): (Wanted, Wanted) = self.levels.drain(..).partition(wants);
            self.levels = stay;
            self.renditions.counters().dropped.fetch_add(gone.len() as u64, Ordering::Relaxed);
            self.tell(gone, Err(Failed::Busy));
        }
        !self.levels.is_empty()
    }

    pub(crate) fn finish(&mut self, outcome: Result<(), Failed>) {
        let levels = std::mem::take(&mut self.levels);
        self.tell(levels, outcome);
    }

    fn tell(&self, levels: Wanted, outcome: Result<(), Failed>) {
        for (level, made) in levels {
            made.finish(outcome);
            // Whoever asks now begins anew.
            if outcome.is_err_and(Failed::is_passing) {
                let key = (self.segment.clone(), level);
                let mut state = self.renditions.state();
                if state.made.get(&key).is_some_and(|entry| Arc::ptr_eq(&entry.made, &made)) {
                    state.made.remove(&key);
                }
            }
        }
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if !self.closed {
            self.close(&[]);
        }
        self.finish(Err(Failed::Encoder));
    }
}

#[cfg(test)]
impl Settings {
    /// One worker, nothing on the disk.
    pub(crate) fn of_tests() -> Self {
        Self {
            workers: 1,
            memory: u64::MAX,
            cache_bytes: 1 << 20,
            linger: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            silent_max: Duration::from_secs(10),
            allowance: Allowance::default(),
            encoder: SOFTWARE.to_owned(),
            hardware_again: crate::limits::HARDWARE_AGAIN,
            disk: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ahead::tests::level;

    fn renditions(settings: Settings) -> Arc<Renditions> {
        let (path, words) = ("/nowhere".into(), "airwave-encode".to_owned());
        Renditions::new(Program { path, words }, settings)
    }

    fn segment(number: u64) -> Segment {
        ("film".to_owned(), "video.cmaf".to_owned(), number)
    }

    #[test]
    fn what_was_not_used_for_longest_is_forgotten_beyond_the_bound() {
        let renditions = renditions(Settings { cache_bytes: 3_000, ..Settings::of_tests() });
        let keep = |number: u64, used: u64, done: bool| {
            let made = Arc::new(Made::new());
            made.push(0, vec![Bytes::from_static(&[0; 1_000])]);
            if done {
                made.finish(Ok(()));
            }
            let key = (segment(number), level());
            renditions.state().made.insert(key, Entry { made, used });
        };
        let kept = || -> Vec<u64> {
            renditions.state().made.keys().map(|((.., number), _)| *number).collect()
        };
        // The first one is still being made, however long that takes.
        keep(1, 1, false);
        (2..=4).for_each(|number| keep(number, 10 - number, true));
        renditions.trim();
        assert_eq!(kept(), [1, 2, 3, 4], "there is room");
        keep(5, 100, true);
        renditions.trim();
        assert_eq!(kept(), [1, 2, 3, 5]);
        (6..=8).for_each(|number| keep(number, 100 + number, true));
        renditions.trim();
        assert_eq!(kept(), [1, 6, 7, 8]);
    }

    #[test]
    fn a_job_that_ends_leaves_what_another_one_has_opened() {
        let renditions = renditions(Settings::of_tests());
        let (segment, level) = (segment(1), level());
        let open = || {
            let made = Arc::new(Made::new());
            let wanted = vec![(level.clone(), made.clone())];
            renditions.state().open.insert(segment.clone(), wanted);
            made
        };
        let failed = |made: &Made| made.outcome().map(|(how, _)| how);
        let first = open();
        let mut job = Abandoned::new(&renditions, &segment);
        job.close(&[]);
        job.finish(Ok(()));
        let second = open();
        drop(job);
        assert_eq!((failed(&first), failed(&second)), (Some(Ok(())), None));
        // That one is dropped before it has begun: who waits hears of it.
        drop(Abandoned::new(&renditions, &segment));
        assert_eq!(failed(&second), Some(Err(Failed::Encoder)));
        assert!(renditions.state().open.is_empty());
    }
}
