//! Claims, releases and what becomes of broadcasts without an owner.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::inputs::document;
use super::names::Names;
use super::{index, inputs};
use crate::error::{ClaimError, DocumentError, EngineError, OwnerError};
use crate::ids::{Epoch, InputUid, NodeId, SessionId, VideoUid, column};
use crate::input::{Input, RecordingMode};
use crate::limits::{GROUP_BLOCK, OUTAGE_NUMBERS, RESERVE_AHEAD, RESTORE_SKIP};
use crate::ownership::{
    Away, Claim, ClaimMode, Claimed, End, Ended, Owned, Presence, Reserved, Standing,
};
use crate::video::VideoSettings;

/// A row of `owners`.
pub(super) struct Owner {
    epoch: u64,
    holder: Option<(NodeId, SessionId)>,
    video: Option<VideoUid>,
    expires_ms: Option<u64>,
    pub(super) last_number: u64,
    pub(super) reserved_to: u64,
    group_ceiling: u64,
    /// Why its encoder is away, or its last broadcast over.
    why: Option<End>,
    since_ms: u64,
}

impl Owner {
    fn why(&self) -> End {
        self.why.unwrap_or(End::SourceLost)
    }
}

fn owner(row: &Row<'_>) -> rusqlite::Result<Owner> {
    let node: Option<NodeId> = row.get(1)?;
    Ok(Owner {
        epoch: column::u64(row, 0)?,
        holder: node.map(|node| Ok::<_, rusqlite::Error>((node, row.get(2)?))).transpose()?,
        video: row.get(3)?,
        expires_ms: column::optional(row, 4)?,
        last_number: column::u64(row, 5)?,
        reserved_to: column::u64(row, 6)?,
        group_ceiling: column::u64(row, 7)?,
        why: why(row, 8)?,
        since_ms: column::u64(row, 9)?,
    })
}

fn why(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<End>> {
    Ok(row.get::<_, Option<i64>>(index)?.and_then(End::from_column))
}

fn find(db: &Connection, input: &InputUid) -> Result<Option<Owner>, EngineError> {
    Ok(db
        .prepare_cached(
            "SELECT epoch, node, session, video, expires_ms, last_number, reserved_to,
             group_ceiling, why, since_ms FROM owners WHERE input = ?1",
        )?
        .query_row([input], owner)
        .optional()?)
}

pub(crate) fn claim(db: &Connection, claim: &Claim) -> Result<Claimed, ClaimError> {
    let input = inputs::get(db, &claim.input)?.ok_or(ClaimError::NoSuchInput)?;
    let mut owner = find(db, &claim.input)?.ok_or(ClaimError::NoSuchInput)?;
    if let Some(same) = repeated(db, claim, &owner)? {
        return Ok(same);
    }
    if !input.settings.enabled {
        return Err(ClaimError::Disabled);
    }
    let superseded = owner.holder.take();
    if let (Some((node, session)), ClaimMode::IfFree) = (&superseded, claim.mode) {
        let (node, session) = (node.clone(), session.clone());
        return Err(ClaimError::Owned { node, session, epoch: Epoch(owner.epoch) });
    }
    let too_late = claim.mode != ClaimMode::GoOn
        && superseded.is_none()
        && owner.expires_ms.is_some_and(|at| at <= claim.now_ms);
    let ended = match owner.video.take_if(|_| too_late) {
        Some(video) => Some(end(db, &claim.input, video, owner.why(), claim.now_ms)?),
        None => None,
    };
    // What nobody may have seen begins above what was reserved, in this broadcast and the next.
    let first_segment = owner.last_number.max(owner.reserved_to) + 1;
    let first_group = owner.group_ceiling;
    let resumed = owner.video.is_some();
    let waited = owner.expires_ms.filter(|_| resumed && superseded.is_none());
    let waited = waited.map(|until_ms| Away { why: owner.why(), now_ms: owner.since_ms, until_ms });
    let gap =
        if resumed { owner.last_number + 1..first_segment } else { first_segment..first_segment };
    let video = match owner.video {
        Some(video) => video,
        None => begin(db, &input, claim)?,
    };
    let owned =
        Owned { input: claim.input.clone(), epoch: Epoch(owner.epoch + 1), video: video.clone() };
    db.prepare_cached(
        "UPDATE owners SET epoch = ?2, node = ?3, session = ?4, since_ms = ?5, video = ?6,
         resume_ms = ?7, expires_ms = NULL, last_number = ?8, reserved_to = ?9, group_ceiling = ?10,
         why = NULL
         WHERE input = ?1",
    )?
    .execute(params![
        claim.input,
        column::to(owned.epoch.0),
        claim.node,
        claim.session,
        column::to(claim.now_ms),
        video,
        column::to(claim.resume_within_ms),
        column::to(gap.start - 1),
        column::to(first_segment),
        column::to(first_group + GROUP_BLOCK),
    ])?;
    db.prepare_cached(
        "INSERT INTO claims SELECT ?1, ?2, ordinal, ?4, ?5, ?6, ?7, ?8, ?9 FROM videos
         WHERE uid = ?3",
    )?
    .execute(params![
        claim.input,
        column::to(owned.epoch.0),
        video,
        claim.node,
        claim.session,
        column::to(claim.now_ms),
        column::to(first_segment),
        column::to(first_group),
        resumed,
    ])?;
    let last = index::last(db, &owned.video)?;
    Ok(Claimed { owned, resumed, gap, first_segment, first_group, last, superseded, ended, waited })
}

/// The answer to a claim that was granted before, if this is one.
fn repeated(db: &Connection, claim: &Claim, owner: &Owner) -> Result<Option<Claimed>, EngineError> {
    let same = owner.holder.as_ref() == Some(&(claim.node.clone(), claim.session.clone()));
    let Some(video) = owner.video.clone().filter(|_| same) else { return Ok(None) };
    let (first_segment, first_group, resumed) = db
        .prepare_cached(
            "SELECT first_number, first_group, resumed FROM claims WHERE input = ?1 AND epoch = ?2",
        )?
        .query_row(params![claim.input, column::to(owner.epoch)], |row| {
            Ok((column::u64(row, 0)?, column::u64(row, 1)?, row.get(2)?))
        })?;
    let owned = Owned { input: claim.input.clone(), epoch: Epoch(owner.epoch), video };
    let gap = (owner.last_number + 1).min(first_segment)..first_segment;
    let last = index::last(db, &owned.video)?;
    let (superseded, ended, waited) = (None, None, None);
    Ok(Some(Claimed {
        owned,
        resumed,
        gap,
        first_segment,
        first_group,
        last,
        superseded,
        ended,
        waited,
    }))
}

/// The video of the broadcast that is on the air, or waited for.
pub(crate) fn on_air(db: &Connection, input: &InputUid) -> Result<Option<VideoUid>, EngineError> {
    let mut select = db.prepare_cached("SELECT video FROM owners WHERE input = ?1")?;
    Ok(select.query_row([input], |row| row.get(0)).optional()?.flatten())
}

/// A new broadcast's video.
fn begin(db: &Connection, input: &Input, claim: &Claim) -> Result<VideoUid, ClaimError> {
    let taken =
        db.prepare_cached("SELECT 1 FROM videos WHERE uid = ?1")?.exists([&claim.new_video])?;
    if taken {
        return Err(ClaimError::VideoExists);
    }
    let name = input.settings.meta.get("name").cloned();
    let settings = VideoSettings {
        meta: name.map(|name| ("name".to_owned(), name)).into_iter().collect(),
        creator: input.settings.default_creator.clone(),
        require_signed_urls: input.settings.recording.require_signed_urls,
        allowed_origins: input.settings.recording.allowed_origins.clone(),
        origins_chosen: false,
        thumbnail_timestamp_pct: None,
        downloads: crate::video::Downloads::default(),
        allow_clips: input.settings.recording.allow_clips,
        ladder: input.settings.ladder.clone(),
        captions: std::collections::BTreeMap::new(),
        public_details: crate::video::PublicDetails::default(),
    };
    let document = document(&settings).map_err(|error| match error {
        DocumentError::Engine(error) => error,
        other => EngineError::Internal(other.to_string()),
    })?;
    let keep = input.settings.recording.mode == RecordingMode::Automatic;
    let retain_days = input.settings.delete_recording_after_days.filter(|_| keep);
    db.prepare_cached(
        "INSERT INTO videos (uid, input, document, rev, created_ms, modified_ms, retain_days,
         segments, duration_ms, bytes) VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, 0, 0, 0)",
    )?
    .execute(params![
        claim.new_video,
        input.uid,
        document,
        column::to(claim.now_ms),
        retain_days
    ])?;
    Names::Videos.put(db, db.last_insert_rowid(), &settings.meta)?;
    Ok(claim.new_video.clone())
}

/// Ends a broadcast: its video stays if anything of it was committed. The input is free after it.
fn end(
    db: &Connection,
    input: &InputUid,
    video: VideoUid,
    why: End,
    now_ms: u64,
) -> Result<Ended, EngineError> {
    db.prepare_cached(
        "UPDATE owners SET node = NULL, session = NULL, video = NULL, expires_ms = NULL,
         since_ms = ?2, why = ?3 WHERE input = ?1",
    )?
    .execute(params![input, column::to(now_ms), why.column()])?;
    let gone = db
        .prepare_cached("DELETE FROM videos WHERE uid = ?1 AND segments = 0")?
        .execute([&video])?;
    db.prepare_cached(
        "UPDATE videos SET ended_ms = max(?2, created_ms), ended_why = ?3, rev = rev + 1,
         delete_ms = coalesce(delete_ms, ?2 + retain_days * 86400000) WHERE uid = ?1",
    )?
    .execute(params![video, column::to(now_ms), why.column()])?;
    Ok(Ended { input: input.clone(), video, kept: gone == 0 })
}

/// Ends the open broadcast of an input, whoever has it.
pub(crate) fn end_open(
    db: &Connection,
    input: &InputUid,
    why: End,
    now_ms: u64,
) -> Result<Option<Ended>, EngineError> {
    let video = find(db, input)?.and_then(|owner| owner.video);
    video.map(|video| end(db, input, video, why, now_ms)).transpose()
}

/// The owner's row, if the broadcast is still this owner's.
pub(super) fn fenced(db: &Connection, owned: &Owned) -> Result<Owner, OwnerError> {
    let owner = find(db, &owned.input)?;
    let current = owner.as_ref().map_or(owned.epoch, |owner| Epoch(owner.epoch));
    owner
        .filter(|o| o.epoch == owned.epoch.0 && o.video.as_ref() == Some(&owned.video))
        .ok_or(OwnerError::Fenced { current })
}

pub(crate) fn release(
    db: &Connection,
    owned: &Owned,
    why: End,
    now_ms: u64,
) -> Result<Ended, OwnerError> {
    fenced(db, owned)?;
    Ok(end(db, &owned.input, owned.video.clone(), why, now_ms)?)
}

/// The encoder is away: whoever claims the input in time goes on with the broadcast. Meanwhile the
/// owner may still commit what it had.
pub(crate) fn park(db: &Connection, owned: &Owned, away: Away) -> Result<(), OwnerError> {
    fenced(db, owned)?;
    db.prepare_cached(
        "UPDATE owners SET node = NULL, session = NULL, expires_ms = ?2, since_ms = ?3, why = ?4
         WHERE input = ?1",
    )?
    .execute(params![
        owned.input,
        column::to(away.until_ms),
        column::to(away.now_ms),
        away.why.column()
    ])?;
    Ok(())
}

pub(crate) fn standing(db: &Connection, input: &InputUid) -> Result<Option<Standing>, EngineError> {
    let found = db
        .prepare_cached(
            "SELECT o.since_ms, o.why, o.node IS NOT NULL, o.video IS NOT NULL, c.resumed
             FROM owners o LEFT JOIN claims c ON c.input = o.input AND c.epoch = o.epoch
             WHERE o.input = ?1",
        )?
        .query_row([input], |row| {
            let (since_ms, why) = (column::u64(row, 0)?, why(row, 1)?);
            let (held, open): (bool, bool) = (row.get(2)?, row.get(3)?);
            let resumed = row.get::<_, Option<bool>>(4)?.unwrap_or(false);
            let presence = match (held, open, why) {
                (true, _, _) => Presence::OnAir { resumed },
                (false, true, why) => Presence::Away(why.unwrap_or(End::SourceLost)),
                (false, false, Some(why)) => Presence::Off(why),
                (false, false, None) => Presence::Never,
            };
            Ok(Standing { presence, since_ms })
        })
        .optional()?;
    Ok(found)
}

pub(crate) fn park_all(
    db: &Connection,
    node: &NodeId,
    now_ms: u64,
    segment_ms: u64,
) -> Result<Vec<Owned>, EngineError> {
    let parked = db
        .prepare_cached(
            "UPDATE owners SET node = NULL, session = NULL, expires_ms = ?2 + resume_ms,
             since_ms = ?2, why = ?3 WHERE node = ?1 RETURNING input, epoch, video",
        )?
        .query_map(params![node, column::to(now_ms), End::NodeLost.column()], |row| {
            let epoch = Epoch(column::u64(row, 1)?);
            Ok(Owned { input: row.get(0)?, epoch, video: row.get(2)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for owned in &parked {
        leave_out(db, owned, now_ms, segment_ms)?;
    }
    Ok(parked)
}

/// A broadcast whose node died may have gone on while nothing could be reserved: as many numbers are left out as
/// segments, as long as the last one, fit between its last record, or else its claim, and now; some tens at most.
fn leave_out(
    db: &Connection,
    owned: &Owned,
    now_ms: u64,
    segment_ms: u64,
) -> Result<(), EngineError> {
    let (claimed_ms, first) = db
        .prepare_cached("SELECT at_ms, first_number FROM claims WHERE input = ?1 AND epoch = ?2")?
        .query_row(params![owned.input, column::to(owned.epoch.0)], |row| {
            Ok((column::u64(row, 0)?, column::u64(row, 1)?))
        })?;
    let last = index::last(db, &owned.video)?;
    // A gap has no length.
    let each_ms = last.as_ref().map(|r| r.duration_ms).filter(|ms| *ms > 0).unwrap_or(segment_ms);
    // A record of this claim, by a clock that can be true.
    let last = last.filter(|r| r.epoch == owned.epoch);
    let last = last.map(|r| (r.wall_clock_ms.saturating_add(r.duration_ms), r.number));
    let (from_ms, number) =
        last.filter(|(end_ms, _)| *end_ms >= claimed_ms).unwrap_or((claimed_ms, first - 1));
    let shown_to = number + now_ms.saturating_sub(from_ms).div_ceil(each_ms.max(1));
    db.prepare_cached(
        "UPDATE owners SET reserved_to = max(reserved_to, min(?2, reserved_to + ?3))
         WHERE input = ?1",
    )?
    .execute(params![owned.input, column::to(shown_to), column::to(OUTAGE_NUMBERS)])?;
    Ok(())
}

pub(crate) fn expire(
    db: &Connection,
    now_ms: u64,
    but: &BTreeSet<InputUid>,
) -> Result<Vec<Ended>, EngineError> {
    let due: Vec<(InputUid, VideoUid, Option<End>)> = db
        .prepare_cached(
            "SELECT input, video, why FROM owners WHERE expires_ms <= ?1 AND video IS NOT NULL
             ORDER BY expires_ms, input",
        )?
        .query_map([column::to(now_ms)], |row| Ok((row.get(0)?, row.get(1)?, why(row, 2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let why = |why: Option<End>| why.unwrap_or(End::SourceLost);
    due.into_iter()
        .filter(|(input, ..)| !but.contains(input))
        .map(|(input, video, w)| end(db, &input, video, why(w), now_ms))
        .collect()
}

/// What was given out since the backup is not known: nothing open goes on, and all counters jump.
pub(crate) fn restored(db: &Connection, now_ms: u64) -> Result<Vec<Ended>, EngineError> {
    let open: Vec<(InputUid, VideoUid)> = db
        .prepare_cached("SELECT input, video FROM owners WHERE video IS NOT NULL ORDER BY input")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    db.prepare_cached(
        "UPDATE owners SET epoch = epoch + ?1, reserved_to = reserved_to + ?1,
         group_ceiling = group_ceiling + ?1",
    )?
    .execute([column::to(RESTORE_SKIP)])?;
    open.into_iter().map(|(input, video)| end(db, &input, video, End::NodeLost, now_ms)).collect()
}

pub(crate) fn next_expiry(db: &Connection) -> Result<Option<u64>, EngineError> {
    let mut first =
        db.prepare_cached("SELECT min(expires_ms) FROM owners WHERE expires_ms IS NOT NULL")?;
    Ok(first.query_row([], |row| column::optional(row, 0))?)
}

/// Reserves numbers ahead, never fewer than were reserved before. Groups come in whole blocks.
pub(crate) fn reserve(
    db: &Connection,
    owned: &Owned,
    segments_to: u64,
    groups_end: u64,
) -> Result<Reserved, OwnerError> {
    let owner = fenced(db, owned)?;
    let blocks_end = groups_end.checked_next_multiple_of(GROUP_BLOCK);
    let groups_end = blocks_end.ok_or(OwnerError::TooFarAhead)?.max(owner.group_ceiling);
    let segments_to = segments_to.max(owner.reserved_to);
    let ahead = (segments_to - owner.reserved_to.min(segments_to))
        .max((groups_end - owner.group_ceiling) / GROUP_BLOCK);
    if ahead > RESERVE_AHEAD {
        return Err(OwnerError::TooFarAhead);
    }
    db.prepare_cached("UPDATE owners SET reserved_to = ?2, group_ceiling = ?3 WHERE input = ?1")?
        .execute(params![owned.input, column::to(segments_to), column::to(groups_end)])?;
    Ok(Reserved { segments_to, groups_end })
}
