//! What runs for each broadcast: packaging, its shelf, its recorder and its chat.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use control::{
    Away, Claimed, End, Input, InputUid, Owned, OwnerError, RecordingMode, SegmentRecord, VideoUid,
};
use deliver::{About, Past, Shelf};
use encode::Ladder;
use package::{Earlier, Findings, Index, Packaging};
use record::{Outcome, Recorder, Recording, Setup, Status};
use spine::Close;
use spine::broadcast::{Consumer, Liveness};
use tokio::sync::watch;

use super::{Active, Found, Ingest, is_raw, now_ms, path_of};
use crate::limits::{
    GAP_NUMBERS_TIMED, GROUPS_AHEAD, RESERVED_AHEAD, RESERVED_AHEAD_RECORDING, RETRY, RETRY_MAX,
};
use crate::node::random;
use crate::offer::Offer;

impl Ingest {
    /// Packages a new broadcast and puts it on a shelf, for as long as it lasts.
    pub(super) fn begin_broadcast(
        self: &Arc<Self>,
        input: &Input,
        claimed: &Claimed,
        consumer: Consumer,
        owner: watch::Receiver<Owned>,
        past: Option<&Recording>,
    ) {
        let recorded = input.settings.recording.mode == RecordingMode::Automatic;
        let about = About {
            video: claimed.owned.video.to_string(),
            input: input.uid.to_string(),
            name: input.settings.meta.get("name").and_then(|n| n.as_str()).map(str::to_owned),
            low_latency: input.settings.prefer_low_latency,
            started_ms: past.map_or_else(now_ms, |past| past.video.created_ms),
            hide_viewers: input.settings.recording.hide_live_viewer_count,
            allow_clips: input.settings.recording.allow_clips,
            ladder: input.settings.ladder.as_deref().map(Ladder::parse),
        };
        let index = past.map(|past| past.index.clone()).unwrap_or_default();
        let earlier = earlier(claimed, &index);
        let recorder = recorded.then(|| self.recorder(claimed, consumer.clone(), owner));
        let status = recorder.as_ref().map(Recorder::status);
        let found = {
            let mut state = self.state();
            let active = state.active.get_mut(&input.uid).filter(|a| a.broadcast == consumer);
            active.map(|active| {
                active.recorder = status.clone();
                active.found.clone()
            })
        };
        let found = found.unwrap_or_default();
        let history = self.history.clone();
        let past = status.clone().map(|recorder| Past { history, index, recorder });
        let shelf = Shelf::new(about, consumer.clone(), self.counters.clone(), past);
        self.library.open(shelf.clone());
        let levels = self.library.levels().clone();
        let offer = self.over_moq.then(|| Offer::new(levels, shelf.clone()));
        let rules = self.settings().rules;
        let packaging = Packaging::new(consumer.clone(), rules, claimed.first_segment);
        let (ingest, input, video) = (self.clone(), input.uid.clone(), claimed.owned.video.clone());
        let before = claimed.last.is_some();
        let reserved = claimed.first_segment;
        self.tasks.spawn(async move {
            let package = async {
                match packaging {
                    Ok(packaging) => {
                        let packaging = match earlier {
                            Some(earlier) => packaging.go_on_after(earlier),
                            None => packaging,
                        };
                        let status = status.as_deref();
                        let counted = (status, &*found);
                        ingest.package(&input, packaging, offer, reserved, counted).await;
                    }
                    Err(error) => tracing::error!(%input, %error, "can't package"),
                }
            };
            let record = async {
                let recorder = recorder?;
                let status = recorder.status();
                if let Err(error) = ingest.history.expect_objects(&video).await {
                    tracing::warn!(%video, %error, "orphans may stay after a crash");
                }
                let complete = recorder.run().await == Outcome::Complete;
                Some(complete && (before || status.committed() > 0))
            };
            let chat = ingest.chat.run(&input, &video, recorded, consumer.clone());
            let ((), (), recorded, ()) =
                tokio::join!(package, shelf.clone().follow(), record, chat);
            ingest.broadcast_over(&input, &consumer).await;
            ingest.history.forget(&video);
            let committed = before || status.as_ref().is_some_and(|s| s.committed() > 0);
            if recorded.is_some() && !committed {
                ingest.forget_levels(&video).await;
            }
            ingest.library.close(&shelf, recorded == Some(true));
            ingest.tidy(&video).await;
            let gaps = status.as_ref().map_or(0, |status| status.gaps());
            let recording = match recorded {
                Some(true) if gaps > 0 => "with gaps",
                Some(true) => "whole",
                Some(false) => "not whole",
                None => "none",
            };
            let gaps = (gaps > 0).then_some(gaps);
            tracing::info!(%input, %video, recording, gaps, "off the air");
        });
    }

    fn recorder(
        &self,
        claimed: &Claimed,
        broadcast: Consumer,
        owner: watch::Receiver<Owned>,
    ) -> Recorder {
        Recorder::new(Setup {
            control: self.control.clone(),
            store: self.history.store().clone(),
            broadcast,
            owner,
            gap: claimed.gap.clone(),
            first: claimed.first_segment,
            backlog: self.backlog.clone(),
            space: self.space.clone(),
            backlog_bytes: record::limits::BACKLOG_BYTES,
            patience: self.settings().patience,
            random: || u64::from_be_bytes(random()),
        })
    }

    async fn package(
        &self,
        input: &InputUid,
        mut packaging: Packaging,
        mut offer: Option<Offer>,
        mut reserved: u64,
        (recorder, own): (Option<&Status>, &Found),
    ) {
        let ahead = if recorder.is_some() { RESERVED_AHEAD_RECORDING } else { RESERVED_AHEAD };
        let broadcast = packaging.broadcast().clone();
        let (mut looked_at, mut groups, mut before) = (0, 0, Findings::default());
        loop {
            // A number is shown only when it is reserved: by the recorder's commits, else here, before
            // the first part of the segment is made.
            let outcome = poll_fn(|cx| {
                let mut outcome = packaging.poll(cx, Instant::now());
                if let Some(offer) = &mut offer
                    && let Err(error) = offer.poll(&mut packaging, cx)
                {
                    outcome = Poll::Ready(Err(error));
                }
                let found = packaging.findings();
                if found.holes > before.holes {
                    tracing::warn!(%input, "frames were lost before they were packaged: the machine is too busy or limits.cache_mb too small");
                }
                if found != before {
                    self.found.add(&found, &before, now_ms());
                    own.add(&found, &before, now_ms());
                    before = found;
                }
                reserved = reserved.max(recorder.map_or(0, Status::reserved_to));
                match outcome {
                    Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                    Poll::Pending if packaging.next_number() > reserved + 1 => Poll::Ready(None),
                    // Once a segment: are there raw group ids for the next while?
                    Poll::Pending if packaging.next_number() != looked_at => {
                        looked_at = packaging.next_number();
                        let short = groups_end(&broadcast) > groups + GROUPS_AHEAD / 2;
                        if short { Poll::Ready(None) } else { Poll::Pending }
                    }
                    Poll::Pending => Poll::Pending,
                }
            })
            .await;
            match outcome {
                Some(Ok(_)) => return,
                Some(Err(error)) => {
                    tracing::warn!(%input, %error, "packaging ended the broadcast");
                    self.origin.end(&path_of(input), Close::Malformed);
                    return;
                }
                None => {
                    let next = packaging.next_number();
                    let ends = groups_end(&broadcast);
                    if self.reserve(input, next + ahead, ends).await {
                        (reserved, groups) = (next + ahead, ends);
                    } else {
                        // What is live comes first: it is tried again with the next number.
                        reserved = reserved.max(next - 1);
                    }
                }
            }
        }
    }

    /// Whether these numbers may be shown. If they are all the same, the next claim leaves them out.
    pub(super) async fn reserve(&self, input: &InputUid, to: u64, groups: u64) -> bool {
        let owned = self.state().active.get(input).map(|a| a.owner.borrow().clone());
        let Some(owned) = owned else { return true };
        let reserved = self.reserve_in_steps(&owned, to, groups).await;
        let mut state = self.state();
        match reserved {
            Ok(()) => {
                state.unreserved.remove(input);
                true
            }
            Err(error) => {
                tracing::warn!(%input, %error, "can't reserve segment numbers");
                state.unreserved.insert(input.clone(), (owned, to));
                false
            }
        }
    }

    /// Nothing more will be committed: the input is free.
    async fn broadcast_over(&self, input: &InputUid, broadcast: &Consumer) {
        let this = |active: &&Active| active.broadcast == *broadcast;
        let why = match broadcast.liveness() {
            Liveness::Ended(why) => why,
            Liveness::Live | Liveness::Parked => Close::Internal,
        };
        let mut released = None;
        loop {
            let (owned, away) = {
                let mut state = self.state();
                let Some(active) = state.active.get(input).filter(this) else { break };
                let owned = active.owner.borrow().clone();
                // Another claim may have been given back to it meanwhile, and is released, too.
                if released == Some(owned.epoch) {
                    state.active.remove(input);
                    break;
                }
                (owned, active.away)
            };
            self.release(input, &owned, end_of(why, away)).await;
            released = Some(owned.epoch);
        }
        self.finished.notify_waiters();
    }

    /// Whoever owns nothing can't reserve any more, so first what was shown without it.
    pub(super) async fn release(&self, input: &InputUid, owned: &Owned, end: End) {
        let (ended_ms, mut pause) = (now_ms(), RETRY);
        loop {
            let told = match self.leave_out_shown(input).await {
                Ok(()) => self.control.release(owned, end, ended_ms).await.map(drop),
                refused => refused,
            };
            if !again(input, told, &mut pause).await {
                return;
            }
        }
    }

    pub(super) async fn park(&self, owned: &Owned, away: Away) {
        let mut pause = RETRY;
        while again(&owned.input, self.control.park(owned, away).await, &mut pause).await {}
    }

    /// What was made of a video that there never was: nothing of it was committed.
    pub(super) async fn forget_levels(&self, video: &VideoUid) {
        let Some(renditions) = self.library.levels().renditions().cloned() else { return };
        let video = video.to_string();
        let _ = tokio::task::spawn_blocking(move || renditions.forget(&video)).await;
    }

    /// A video that is over keeps nothing that its index does not name.
    pub(super) async fn tidy(&self, video: &VideoUid) {
        match self.history.tidy(video).await {
            Ok(0) => {}
            Ok(orphans) => tracing::info!(%video, orphans, "objects that nothing named, deleted"),
            Err(error) => tracing::warn!(%video, %error, "orphans stay"),
        }
    }
}

/// Whether the index is to be told again, after a pause: until it knows, or the broadcast is somebody else's or over. What it
/// is not told of stays on the air there.
async fn again(input: &InputUid, told: Result<(), OwnerError>, pause: &mut Duration) -> bool {
    match told {
        Ok(()) => return false,
        Err(error @ OwnerError::Fenced { .. }) => {
            tracing::debug!(%input, %error, "not the owner any more");
            return false;
        }
        Err(error) => {
            tracing::warn!(%input, %error, "the index does not take what has become of a broadcast");
        }
    }
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(RETRY_MAX);
    true
}

/// Why a broadcast ended whose encoder was gone for this reason, in the words of the index.
fn end_of(why: Close, away: End) -> End {
    match why {
        Close::Ended => End::Goodbye,
        Close::Shutdown | Close::GoingAway => End::Shutdown,
        Close::Malformed => End::Malformed,
        Close::KeyChanged => End::KeysChanged,
        Close::Disabled => End::Disabled,
        Close::Deleted => End::InputDeleted,
        _ => away,
    }
}

/// What the packager of a broadcast must know that goes on in another process.
fn earlier(claimed: &Claimed, index: &Index) -> Option<Earlier> {
    // The newest record may be a gap that knows nothing of tracks.
    let newest = index.renditions().filter_map(|(_, r)| r.segments.back());
    let parts = index.renditions().map(|(name, r)| (name.to_owned(), r.part_target_ms));
    claimed.resumed.then(|| Earlier {
        discontinuities: newest.map(|s| s.info.discontinuity_sequence).max().unwrap_or(0),
        target_duration: index.target_duration(),
        part_targets_ms: parts.collect(),
    })
}

/// Where what viewers may have seen of a broadcast ends: what is committed, and behind it the numbers
/// that were lost, a target duration each.
pub(super) fn shown_end(claimed: &Claimed, past: Option<&Recording>) -> Option<Duration> {
    // The newest record may be a gap that has no times.
    let timed = |r: &&SegmentRecord| r.tracks.iter().any(|t| t.timescale > 0);
    let last = claimed.last.as_ref().filter(timed).map(|last| (last, 0));
    let (last, untimed) = match last {
        Some(last) => last,
        None => past?.newest_timed()?,
    };
    let nanos = last
        .tracks
        .iter()
        .filter(|t| t.timescale > 0)
        .map(|t| u128::from(t.end()) * 1_000_000_000 / u128::from(t.timescale));
    let committed = Duration::from_nanos(u64::try_from(nanos.max()?).unwrap_or(u64::MAX / 2));
    let target = past.and_then(|p| p.index.target_duration()).unwrap_or(2);
    let lost = (claimed.gap.end - claimed.gap.start + untimed).min(GAP_NUMBERS_TIMED);
    Some(committed + Duration::from_secs(u64::from(target)) * u32::try_from(lost).unwrap_or(0))
}

/// One more than the last raw group id that the next while may need.
fn groups_end(broadcast: &Consumer) -> u64 {
    let raw = broadcast.tracks().into_iter().filter(|n| n.as_str().is_some_and(is_raw));
    let newest = raw.filter_map(|name| broadcast.get(&name)?.largest()).map(|l| l.group).max();
    newest.unwrap_or(0) + GROUPS_AHEAD
}
