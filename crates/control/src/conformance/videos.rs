//! Videos: listed, edited, kept as long as they should be, deleted for good.

use super::{NOW, an_input, claim, commit_all, random, uid, video_uid};
use crate::ClaimMode::IfFree;
use crate::{
    Claim, ClipOf, Control, DocumentError, End, Expect, InputSettings, List, NewClip, Owned, Page,
    RecordingMode, Rev, SegmentRecord, Usage, Video, VideoChange, VideoFilter, VideoSettings,
    VideoUid,
};

const DAY: u64 = 86_400_000;

async fn broadcast(control: &Control, seed: u8, segments: u64, begun: u64) -> Owned {
    let claimed = control.claim(claim(seed, IfFree, begun)).await.unwrap();
    let first = claimed.first_segment;
    commit_all(control, &claimed.owned, first..first + segments).await;
    claimed.owned
}

async fn recording(control: &Control, seed: u8, segments: u64, ended: u64) -> VideoUid {
    let owned = broadcast(control, seed, segments, NOW).await;
    control.release(&owned, End::Goodbye, ended).await.unwrap();
    owned.video
}

fn ids(list: List<Video>) -> Vec<VideoUid> {
    list.rows.into_iter().map(|video| video.uid).collect()
}

pub async fn a_recording_has_what_its_input_said_when_it_began(control: &Control) {
    let mut settings = InputSettings::default();
    settings.meta.insert("name".into(), "Sunday".into());
    settings.default_creator = Some("me".into());
    settings.recording.require_signed_urls = true;
    settings.delete_recording_after_days = Some(30);
    control.create_input(uid(1), settings.clone(), random(1), NOW).await.unwrap();
    let owned = broadcast(control, 1, 2, NOW).await;
    settings.delete_recording_after_days = Some(90);
    control.update_input(&uid(1), Expect::Any, settings, NOW).await.unwrap();
    control.release(&owned, End::Goodbye, NOW + 5_000).await.unwrap();
    let video = control.video(&owned.video).await.unwrap().unwrap();
    assert_eq!(video.ended, Some((NOW + 5_000, End::Goodbye)));
    assert_eq!(video.delete_ms, Some(NOW + 5_000 + 30 * DAY));
    assert_eq!(video.settings.meta["name"], "Sunday");
    assert_eq!(video.settings.creator.as_deref(), Some("me"));
    assert!(video.settings.require_signed_urls);
}

pub async fn what_is_locked_on_the_air_stays_locked(control: &Control) {
    let list = |host: &str| Some(vec![host.to_owned()]);
    // What the input said when it began, what it says then, what the owner has chosen for the video meanwhile; what holds
    // afterwards.
    let (none, a, b, c) = (None, list("a.example"), list("b.example"), list("c.example"));
    // No lock either.
    let empty = Some(Vec::new());
    let open = (false, &none);
    for (n, (was, is, chosen, expect)) in (1..).zip([
        (open, vec![(true, &none)], None, (true, &none)),
        (open, vec![(true, &a)], None, (true, &a)),
        ((true, &a), vec![open], None, (true, &a)),
        ((true, &a), vec![(true, &b)], None, (true, &b)),
        ((false, &a), vec![(false, &b)], Some(&c), (false, &c)),
        ((false, &a), vec![(true, &a)], Some(&c), (true, &c)),
        ((true, &a), vec![(false, &empty)], None, (true, &a)),
        (open, vec![(false, &a)], Some(&empty), (false, &a)),
        // What was taken off meanwhile is no choice of anybody's.
        ((false, &a), vec![open, (false, &b)], None, (false, &b)),
        ((false, &a), vec![(false, &empty), (false, &b)], None, (false, &b)),
        (open, vec![(false, &a), open, (false, &b)], None, (false, &b)),
        ((false, &a), vec![open, (false, &b), open], None, (false, &b)),
        ((false, &a), vec![open, (false, &b)], Some(&c), (false, &c)),
        ((false, &a), vec![open, (false, &b)], Some(&none), (false, &b)),
        ((false, &a), vec![open], Some(&none), open),
    ]) {
        let said = |(require_signed_urls, origins): (bool, &Option<Vec<String>>)| {
            let mut settings = InputSettings::default();
            settings.recording.require_signed_urls = require_signed_urls;
            settings.recording.allowed_origins = origins.clone();
            settings
        };
        // Keys of each in steps of its own: none is another one's.
        let keys = std::array::from_fn(|at| (at as u8).wrapping_mul(2 * n + 1));
        control.create_input(uid(n), said(was), keys, NOW).await.unwrap();
        let of_it = Claim { input: uid(n), ..claim(n, IfFree, NOW) };
        let claimed = control.claim(of_it).await.unwrap();
        let owned = claimed.owned;
        commit_all(control, &owned, claimed.first_segment..claimed.first_segment + 1).await;
        if let Some(chosen) = chosen {
            let chosen = chosen.clone();
            let change = move |_: &Video, change: &mut VideoChange| {
                change.settings.allowed_origins = chosen;
                Ok::<_, DocumentError>(())
            };
            control.change_video(&owned.video, change, NOW).await.unwrap();
        }
        for is in &is {
            control.update_input(&uid(n), Expect::Any, said(*is), NOW).await.unwrap();
        }
        control.release(&owned, End::Goodbye, NOW + 10).await.unwrap();
        // Whatever is changed between two broadcasts is not about the one that is over.
        control.update_input(&uid(n), Expect::Any, said((true, &c)), NOW).await.unwrap();
        let settings = control.video(&owned.video).await.unwrap().unwrap().settings;
        let found = (settings.require_signed_urls, &settings.allowed_origins);
        assert_eq!(found, (expect.0, expect.1), "{was:?} {is:?} {chosen:?}");
    }
}

pub async fn videos_are_listed_by_what_is_asked_for(control: &Control) {
    an_input(control, 1).await;
    let one = recording(control, 1, 1, NOW + 10).await;
    let two = recording(control, 2, 1, NOW + 20).await;
    let live = broadcast(control, 3, 1, NOW + 30).await.video;
    let check = async |filter: VideoFilter, expect: &[&VideoUid]| {
        let list = control.videos(filter.clone(), Page::default()).await.unwrap();
        assert_eq!(list.total, expect.len() as u64, "{filter:?}");
        assert_eq!(ids(list).iter().collect::<Vec<_>>(), expect, "{filter:?}");
    };
    let any = VideoFilter::default();
    check(any.clone(), &[&live, &two, &one]).await;
    check(VideoFilter { input: Some(uid(1)), ..any.clone() }, &[&live, &two, &one]).await;
    check(VideoFilter { input: Some(uid(2)), ..any.clone() }, &[]).await;
    check(VideoFilter { live: Some(true), ..any.clone() }, &[&live]).await;
    check(VideoFilter { live: Some(false), ..any.clone() }, &[&two, &one]).await;
    check(VideoFilter { ended_before_ms: Some(NOW + 20), ..any.clone() }, &[&one]).await;
    let page = Page { rows: 1, newest_first: false, ..Page::default() };
    let first = control.videos(any.clone(), page).await.unwrap();
    let after = Page { after: first.next, ..page };
    let uncounted = Page { counts: false, ..after };
    let alike = control.videos(any.clone(), uncounted).await.unwrap();
    assert_eq!((alike.total, alike.remaining), (0, 0));
    let second = control.videos(any, after).await.unwrap();
    assert_eq!(ids(alike), ids(second.clone()));
    assert_eq!((ids(first), ids(second)), (vec![one], vec![two]));
}

pub async fn changes_of_a_video_see_it_as_it_is(control: &Control) {
    an_input(control, 1).await;
    let uid = recording(control, 1, 1, NOW).await;
    let name = |n: u64| {
        let change = move |video: &crate::Video, change: &mut VideoChange| {
            change.settings.meta.insert(format!("{n} {}", video.rev.0), n.into());
            Ok::<_, DocumentError>(())
        };
        control.change_video(&uid, change, NOW + n)
    };
    let all = tokio::join!(name(1), name(2), name(3));
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok(), "{all:?}");
    let names = control.video(&uid).await.unwrap().unwrap().settings.meta;
    let revs = names.keys().filter_map(|name| name.split(' ').next_back()?.parse().ok());
    let revs: std::collections::BTreeSet<u64> = revs.collect();
    assert_eq!(revs.len(), 3, "each saw what the one before had made: {names:?}");
}

pub async fn a_video_is_edited_by_version(control: &Control) {
    an_input(control, 1).await;
    let uid = recording(control, 1, 1, NOW).await;
    let mut change = VideoChange { delete_ms: Some(NOW + DAY), ..VideoChange::default() };
    change.settings.meta.insert("name".into(), "renamed".into());
    let rev = control.video(&uid).await.unwrap().unwrap().rev;
    let old = control.update_video(&uid, Expect::Rev(Rev(0)), change.clone(), NOW + 1).await;
    assert_eq!(old, Err(DocumentError::Changed { current: rev }));
    let new = control.update_video(&uid, Expect::Rev(rev), change.clone(), NOW + 1).await.unwrap();
    assert_eq!(
        (new.settings, new.delete_ms, new.modified_ms),
        (change.settings, change.delete_ms, NOW + 1)
    );
    assert_eq!(control.due_videos(NOW + DAY - 1).await.unwrap(), []);
    assert_eq!(control.due_videos(NOW + DAY).await.unwrap(), [uid]);
}

pub async fn a_deleted_video_is_gone_and_its_objects_are_remembered(control: &Control) {
    an_input(control, 1).await;
    let gone = recording(control, 1, 2, NOW).await;
    let kept = recording(control, 2, 3, NOW).await;
    let usage = |videos, bytes| {
        vec![Usage { input: uid(1), videos, bytes, max_bytes: Some(4_000), clips: false }]
    };
    let input = control.input(&uid(1)).await.unwrap().unwrap();
    let mut settings = input.settings;
    settings.recording.max_total_bytes = Some(4_000);
    control.update_input(&uid(1), Expect::Rev(input.rev), settings, NOW).await.unwrap();
    assert_eq!(control.usage().await.unwrap(), usage(2, 5_000));
    control.delete_video(&gone, NOW).await.unwrap();
    assert_eq!(control.video(&gone).await.unwrap(), None);
    assert_eq!(control.resolve(gone.as_str()).await.unwrap(), None);
    assert_eq!(control.committed_index(&gone, 0..99).await.unwrap().tail, []);
    assert_eq!(control.usage().await.unwrap(), usage(1, 3_000));
    assert_eq!(control.delete_video(&gone, NOW).await, Err(DocumentError::NotFound));
    assert_eq!(control.doomed().await.unwrap(), std::slice::from_ref(&gone));
    control.forget(&gone).await.unwrap();
    assert_eq!(control.doomed().await.unwrap(), []);
    assert!(control.video(&kept).await.unwrap().is_some());
}

pub async fn a_broadcast_on_the_air_is_not_deleted(control: &Control) {
    an_input(control, 1).await;
    let owned = broadcast(control, 1, 1, NOW).await;
    assert_eq!(control.delete_video(&owned.video, NOW).await, Err(DocumentError::Live));
    assert_eq!(control.delete_video(&video_uid(9), NOW).await, Err(DocumentError::NotFound));
}

pub async fn recordings_outlive_their_input(control: &Control) {
    an_input(control, 1).await;
    let owned = broadcast(control, 1, 1, NOW).await;
    control.delete_input(&uid(1), Expect::Any, NOW + 1).await.unwrap();
    let video = control.video(&owned.video).await.unwrap().unwrap();
    assert_eq!(video.ended, Some((NOW + 1, End::InputDeleted)));
    assert_eq!(video.input, uid(1));
}

pub async fn a_broadcast_that_is_not_recorded_has_no_time_to_be_deleted(control: &Control) {
    let mut settings =
        InputSettings { delete_recording_after_days: Some(30), ..Default::default() };
    settings.recording.mode = RecordingMode::Off;
    control.create_input(uid(1), settings, random(1), NOW).await.unwrap();
    let owned = broadcast(control, 1, 0, NOW).await;
    let ended = control.release(&owned, End::Goodbye, NOW).await.unwrap();
    assert!(!ended.kept);
}

pub async fn a_clip_is_a_video_of_its_own(control: &Control) {
    an_input(control, 1).await;
    let source = recording(control, 1, 2, NOW).await;
    let records = control.committed_index(&source, 0..99).await.unwrap().tail;
    let records: Vec<_> =
        records.into_iter().zip(1..).map(|(r, number)| SegmentRecord { number, ..r }).collect();
    let clip = NewClip {
        uid: video_uid(9),
        input: uid(1),
        of: ClipOf {
            video: source.clone(),
            from_ms: 1_500,
            duration_ms: 2_000,
            hidden_ns: 7,
            seen_ns: 9,
        },
        source: VideoSettings::default(),
        now_ms: NOW + 5,
        delete_ms: None,
        settings: VideoSettings { creator: Some("me".into()), ..VideoSettings::default() },
        catalog: "{}".into(),
        records: records.clone(),
    };
    // Locked while it was copied.
    let locked = VideoSettings { require_signed_urls: true, ..VideoSettings::default() };
    let late = NewClip { source: locked, ..clip.clone() };
    let late = control.create_clip(late).await;
    assert!(matches!(late, Err(DocumentError::Changed { .. })), "{late:?}");
    let of = ClipOf { video: video_uid(8), ..clip.of.clone() };
    let gone = control.create_clip(NewClip { of, ..clip.clone() }).await;
    assert!(matches!(gone, Err(DocumentError::NotFound)), "{gone:?}");
    let made = control.create_clip(clip.clone()).await.unwrap();
    assert_eq!((made.clip.as_ref(), &made.settings), (Some(&clip.of), &clip.settings));
    assert_eq!(
        (made.ended, made.numbers, made.segments),
        (Some((NOW + 5, End::Goodbye)), Some((1, 2)), 2)
    );
    let sum = |f: fn(&SegmentRecord) -> u64| records.iter().map(f).sum::<u64>();
    assert_eq!((made.bytes, made.duration_ms), (sum(|r| r.bytes), sum(|r| r.duration_ms)));
    assert_eq!(control.committed_index(&made.uid, 0..99).await.unwrap().tail, records);
    assert_eq!(control.catalog(&made.uid).await.unwrap().as_deref(), Some(&b"{}"[..]));
    // It is no broadcast of its input's, and none of what that may keep.
    assert_eq!(control.broadcast_of(&uid(1)).await.unwrap().map(|v| v.uid), Some(source.clone()));
    let list = async |clips| {
        let filter = VideoFilter { clips, ..VideoFilter::default() };
        ids(control.videos(filter, Page::default()).await.unwrap())
    };
    assert_eq!(list(None).await, [made.uid.clone(), source.clone()]);
    assert_eq!(
        (list(Some(true)).await, list(Some(false)).await),
        (vec![made.uid.clone()], vec![source.clone()])
    );
    let usage = control.usage().await.unwrap();
    assert_eq!(
        usage.iter().map(|u| (u.clips, u.videos, u.bytes)).collect::<Vec<_>>(),
        [(false, 1, 2_000), (true, 1, sum(|r| r.bytes))]
    );
    // Whole or not at all, and it outlives its source.
    assert!(control.create_clip(clip).await.is_err(), "the id is in use");
    control.delete_video(&source, NOW).await.unwrap();
    assert_eq!(control.video(&made.uid).await.unwrap(), Some(made));
}
