//! All chats of a node.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use access::rate::{Limiter, neighbourhood};
use control::{ChatChange, ChatMessage, ChatPage, Control, EngineError, InputUid, VideoUid};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use spine::broadcast::{Consumer, Liveness, Producer};
use tokio::sync::mpsc;

use crate::guest::{Guest, Places, Reading};
use crate::limits::{
    GUEST_SILENCE, PAGE_MESSAGES, PER_ADDRESS, PER_ROOM, PER_SENDER, RATES_KEPT, REFUSED_WAIT,
    SHOWN,
};
use crate::message::{Said, Unfit};
use crate::room::{Before, NotSaid, Room, Waiting};

/// All chats of a node, and how often who may say something.
pub struct Rooms {
    control: Arc<Control>,
    state: Mutex<State>,
    guests: Places,
    numbers: AtomicU64,
    senders: Limiter<(IpAddr, String)>,
    addresses: Limiter<IpAddr>,
    chats: Limiter<String>,
    counters: Counters,
}

/// What chats count.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages that were said.
    pub said: AtomicU64,
    /// Messages that were refused, for whatever reason.
    pub refused: AtomicU64,
    /// Deletions.
    pub deleted: AtomicU64,
}

#[derive(Default)]
struct State {
    /// By video uid.
    rooms: BTreeMap<String, Arc<Room>>,
    /// What each input has on the air.
    on_air: BTreeMap<String, String>,
}

/// Who says something.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Where from.
    pub address: IpAddr,
    /// What tells him from others there, as far as anything does.
    pub who: String,
}

/// Why something was not said, in words for who did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no chat there, or it was closed.
    #[error("the chat is not open")]
    Closed,
    /// It is no message.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// That was too much.
    #[error("that was a lot at once: wait {0} s")]
    TooOften(u32),
    /// The server does not keep up.
    #[error("the chat is too busy at the moment")]
    Busy,
}

impl Rooms {
    /// No chats yet; what is said is kept in `control`.
    pub fn new(control: Arc<Control>) -> Self {
        Self {
            control,
            state: Mutex::default(),
            guests: Places::default(),
            numbers: AtomicU64::new(0),
            senders: Limiter::new(PER_SENDER, RATES_KEPT),
            addresses: Limiter::new(PER_ADDRESS, RATES_KEPT),
            chats: Limiter::new(PER_ROOM, RATES_KEPT),
            counters: Counters::default(),
        }
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Viewers that publish messages over sessions of their own, now.
    pub fn guests(&self) -> usize {
        self.guests.count()
    }

    /// The chat of a broadcast on the air, by the uid of its video or its input.
    pub fn find(&self, id: &str) -> Option<Arc<Room>> {
        let state = self.state();
        let video = state.on_air.get(id).map_or(id, |video| video);
        state.rooms.get(video).cloned()
    }

    /// Runs the chat of a broadcast, for as long as it is on the air. Open or not: as its input has it.
    pub async fn run(&self, input: &InputUid, video: &VideoUid, recorded: bool, on: Consumer) {
        let before = match recorded {
            true => self.before(video).await,
            false => Before::default(),
        };
        let (sender, guests) = mpsc::unbounded_channel();
        let room = match Room::begin(video.clone(), recorded, &on, before, sender, now_ms()) {
            Ok(room) => Arc::new(room),
            Err(error) => return tracing::warn!(%input, %error, "no chat"),
        };
        {
            let mut state = self.state();
            state.rooms.insert(video.to_string(), room.clone());
            state.on_air.insert(input.to_string(), video.to_string());
        }
        // Now that changes reach it.
        match self.control.input(input).await {
            Ok(found) => {
                let allowed = found.is_some_and(|i| i.settings.recording.allow_chat);
                room.open_unless_switched(allowed);
            }
            Err(error) => tracing::warn!(%input, %error, "the chat stays closed"),
        }
        tokio::join!(self.listen(&room, guests, &on), self.keep(&room));
        let mut state = self.state();
        state.rooms.remove(video.as_str());
        if state.on_air.get(input.as_str()).is_some_and(|on_air| on_air == video.as_str()) {
            state.on_air.remove(input.as_str());
        }
    }

    async fn before(&self, video: &VideoUid) -> Before {
        let read = async {
            let end = self.control.chat_end(video).await?;
            let newest = self.control.chat(video, ChatPage::Before(u64::MAX >> 1), SHOWN).await?;
            Ok::<_, EngineError>(Before { end, newest })
        };
        read.await.unwrap_or_else(|error| {
            tracing::warn!(%video, %error, "what was said before is not shown");
            Before::default()
        })
    }

    /// Reads what guests publish, until the broadcast is over.
    async fn listen(
        &self,
        room: &Room,
        mut guests: mpsc::UnboundedReceiver<Guest>,
        broadcast: &Consumer,
    ) {
        let (mut seen, mut changed) = (u64::MAX, spine::Waiting::new());
        let mut following = FuturesUnordered::new();
        while !matches!(broadcast.liveness(), Liveness::Ended(_)) {
            tokio::select! {
                revision = poll_fn(|cx| broadcast.poll_changed(seen, &mut changed, cx)) => seen = revision,
                Some(guest) = guests.recv() => following.push(self.follow(room, guest)),
                Some(()) = following.next() => {}
            }
        }
        room.end();
    }

    async fn follow(&self, room: &Room, guest: Guest) {
        let who = format!("guest {}", guest.number);
        let sender = Sender { address: guest.address, who };
        let mut reading = Reading::new(&guest);
        // Dropped at the end, it is told.
        while let Ok(Some(bytes)) = tokio::time::timeout(GUEST_SILENCE, reading.next()).await {
            // Packaging and recording run in the same task: nobody's messages hold them up.
            match self.say(room, &sender, &bytes, now_ms()) {
                Ok(_) => tokio::task::yield_now().await,
                Err(why) => {
                    tracing::debug!(video = %room.video, peer = %sender.address, %why, "chat: not said");
                    tokio::time::sleep(REFUSED_WAIT).await;
                }
            }
        }
    }

    /// Tells the database what happens, until nothing more does.
    async fn keep(&self, room: &Room) {
        while let Some(waiting) = room.take_waiting() {
            match waiting.is_empty() {
                true => room.changed.notified().await,
                false => self.write(&room.video, waiting).await,
            }
        }
    }

    async fn write(&self, video: &VideoUid, waiting: Vec<Waiting>) {
        let (changes, done): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|waiting| (waiting.change, waiting.done)).unzip();
        let written = self.control.change_chat(video, changes).await;
        if let Err(error) = &written {
            tracing::warn!(%video, %error, "messages are missing in the recording of the chat");
        }
        for (at, done) in done.into_iter().enumerate() {
            let concerned = |rows: &Vec<usize>| rows.get(at).is_some_and(|rows| *rows > 0);
            if let Some(done) = done {
                // Who asked may be gone.
                let _ = done.send(written.as_ref().map(concerned).map_err(Clone::clone));
            }
        }
    }

    /// Opens or closes the chat of what an input has on the air.
    pub fn switch(&self, input: &InputUid, open: bool) {
        if let Some(room) = self.find(input.as_str()) {
            room.switch(open);
        }
    }

    /// A place for a viewer to publish messages in, for what this input has on the air.
    pub fn guest(&self, input: &str, address: IpAddr) -> Result<Producer, Refused> {
        let room = self.find(input).filter(|room| room.is_open()).ok_or(Refused::Closed)?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (guest, producer) =
            Guest::new(address, number, &self.guests).map_err(|_| Refused::Busy)?;
        room.guests.send(guest).map_err(|_| Refused::Closed)?;
        Ok(producer)
    }

    /// Everybody sees this from now on, if it is fit and not too much; answers its number.
    pub fn say(
        &self,
        room: &Room,
        sender: &Sender,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<u64, Refused> {
        let said = self.try_say(room, sender, bytes, now_ms);
        let counter = if said.is_ok() { &self.counters.said } else { &self.counters.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        said
    }

    fn try_say(
        &self,
        room: &Room,
        sender: &Sender,
        bytes: &[u8],
        now_ms: u64,
    ) -> Result<u64, Refused> {
        if !room.is_open() {
            return Err(Refused::Closed);
        }
        // What is not fit counts too: reading it is work.
        let address = neighbourhood(sender.address);
        let wait = Refused::TooOften;
        self.senders.take((address, sender.who.clone()), now_ms).map_err(wait)?;
        self.addresses.take(address, now_ms).map_err(wait)?;
        let said = Said::parse(bytes)?;
        self.chats.take(room.video.to_string(), now_ms).map_err(wait)?;
        room.say(said, now_ms).map_err(|why| match why {
            NotSaid::Closed => Refused::Closed,
            NotSaid::Busy => Refused::Busy,
        })
    }

    /// Takes a message away, or all: from everybody's screen, and from the recording. Answers whether there was one.
    pub async fn delete(&self, video: &VideoUid, id: Option<u64>) -> Result<bool, EngineError> {
        let live = self.find(video.as_str()).and_then(|room| room.delete(id));
        let answer = match live {
            Some(answer) => answer.await.unwrap_or(Err(EngineError::Closed)),
            None => {
                let change = id.map_or(ChatChange::Cleared, ChatChange::Deleted);
                let rows = self.control.change_chat(video, vec![change]).await;
                rows.map(|rows| rows.iter().any(|rows| *rows > 0))
            }
        };
        if answer == Ok(true) {
            self.counters.deleted.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Whether anything is kept of what was said in a video.
    pub async fn anything(&self, video: &VideoUid) -> Result<bool, EngineError> {
        Ok(!self.control.chat(video, ChatPage::After(0), 1).await?.is_empty())
    }

    /// Messages of a video in their order, [`PAGE_MESSAGES`] at most.
    pub async fn messages(
        &self,
        video: &VideoUid,
        page: ChatPage,
    ) -> Result<Vec<ChatMessage>, EngineError> {
        let Some(room) = self.find(video.as_str()).filter(|room| !room.recorded) else {
            return self.control.chat(video, page, PAGE_MESSAGES).await;
        };
        let fits = |message: &ChatMessage| match page {
            ChatPage::After(id) => message.id > id,
            ChatPage::Before(id) => message.id < id,
            ChatPage::Until(ms) => message.at_ms <= ms,
        };
        Ok(room.newest().into_iter().filter(fits).collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
