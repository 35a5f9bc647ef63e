//! Documents: linearizable per document, found by key, listed in order.

use super::{NOW, an_input, away, claim, listed, random, uid};
use crate::limits::DOCUMENT_BYTES;
use crate::{
    ClaimMode, Control, Document, DocumentError, DocumentKey, Expect, InputSettings, KeyKind, Once,
    OwnerError, Page, Resolved, Rev, Secret,
};

pub async fn an_input_is_what_was_made_of_it(control: &Control) {
    let made = an_input(control, 1).await;
    assert_eq!((made.created_ms, made.modified_ms, made.rev), (NOW, NOW, Rev(1)));
    assert_eq!(made.keys_rotated_ms, None);
    assert_eq!(control.input(&uid(1)).await.unwrap(), Some(made));
    assert_eq!(control.input(&uid(2)).await.unwrap(), None);
    let settings = InputSettings::default();
    let again = control.create_input(uid(1), settings, random(9), NOW).await;
    assert_eq!(again, Err(DocumentError::Exists));
}

pub async fn an_input_that_is_made_once_is_not_made_again(control: &Control) {
    let key = || DocumentKey::new("once", "a").unwrap();
    let make = |seed: u8, said: &'static str| {
        let (once, settings) = ((key(), said.into()), InputSettings::default());
        control.create_input_once(once, uid(seed), settings, random(seed), NOW)
    };
    // What is refused leaves no document.
    an_input(control, 5).await;
    assert_eq!(make(5, "five").await, Err(DocumentError::Exists));
    assert_eq!(control.document(key()).await.unwrap(), None);
    let (one, two) = tokio::join!(make(1, "one"), make(2, "two"));
    let mut made = Vec::new();
    for outcome in [one, two].map(Result::unwrap) {
        match outcome {
            Once::Made(input) => made.push(input.uid),
            Once::Before(document) => {
                assert!(["one", "two"].map(Into::into).contains(&document.content));
            }
        }
    }
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(control.inputs(Page::default()).await.unwrap().total, 2);
}

pub async fn a_write_that_expects_another_version_is_refused(control: &Control) {
    an_input(control, 1).await;
    let off = InputSettings { enabled: false, ..InputSettings::default() };
    let id = uid(1);
    let write = |expect| control.update_input(&id, expect, off.clone(), NOW + 5);
    assert_eq!(write(Expect::Rev(Rev(1))).await.unwrap().rev, Rev(2));
    let changed = Err(DocumentError::Changed { current: Rev(2) });
    assert_eq!(write(Expect::Rev(Rev(1))).await, changed);
    let last = write(Expect::Any).await.unwrap();
    assert_eq!((last.rev, last.modified_ms, last.settings.enabled), (Rev(3), NOW + 5, false));
    let delete = control.delete_input(&uid(1), Expect::Rev(Rev(1)), NOW).await;
    assert_eq!(delete, Err(DocumentError::Changed { current: Rev(3) }));
    let nobody = control.update_input(&uid(2), Expect::Any, off.clone(), NOW).await;
    assert_eq!(nobody, Err(DocumentError::NotFound));
}

pub async fn a_document_over_its_bound_is_refused(control: &Control) {
    let mut settings = InputSettings::default();
    settings.meta.insert("name".into(), "x".repeat(DOCUMENT_BYTES).into());
    let refused = control.create_input(uid(1), settings, random(1), NOW).await;
    assert_eq!(refused, Err(DocumentError::TooLarge));
    assert_eq!(control.input(&uid(1)).await.unwrap(), None);
}

pub async fn of_two_writers_at_once_one_wins(control: &Control) {
    an_input(control, 1).await;
    let id = uid(1);
    let write = |name: &str| {
        let mut settings = InputSettings::default();
        settings.meta.insert("name".into(), name.into());
        control.update_input(&id, Expect::Rev(Rev(1)), settings, NOW)
    };
    let (one, two) = tokio::join!(write("one"), write("two"));
    let lost = Err(DocumentError::Changed { current: Rev(2) });
    assert!(one.is_ok() != two.is_ok() && (one == lost || two == lost), "{one:?} {two:?}");
}

pub async fn of_changes_at_once_none_is_lost(control: &Control) {
    an_input(control, 1).await;
    let id = uid(1);
    let name = |n: u64| {
        let change = move |settings: &mut InputSettings| {
            settings.meta.insert(format!("{n}"), n.into());
            Ok::<_, DocumentError>(())
        };
        control.change_input(&id, change, NOW + n)
    };
    let all = tokio::join!(name(1), name(2), name(3), name(4), name(5));
    for (before, after) in [all.0, all.1, all.2, all.3, all.4].map(Result::unwrap) {
        assert_eq!(after.rev, Rev(before.rev.0 + 1));
    }
    let settings = control.input(&id).await.unwrap().unwrap().settings;
    assert_eq!(settings.meta.len(), 5, "{settings:?}");
    // One that is refused changes nothing.
    let refuse = |settings: &mut InputSettings| {
        settings.enabled = false;
        Err(DocumentError::TooLarge)
    };
    let refused = control.change_input(&id, refuse, NOW).await;
    assert_eq!(refused, Err(DocumentError::TooLarge));
    assert_eq!(control.input(&id).await.unwrap().unwrap().settings, settings);
    let nobody = control.change_input(&uid(2), |_| Ok::<_, DocumentError>(()), NOW).await;
    assert_eq!(nobody, Err(DocumentError::NotFound));
}

pub async fn inputs_are_found_by_their_keys_until_these_are_rotated(control: &Control) {
    an_input(control, 1).await;
    an_input(control, 2).await;
    let old = control.input_keys(&uid(2)).await.unwrap().unwrap();
    let find = async |kind, key: &Secret, now| {
        control.input_by_key(kind, key, now).await.unwrap().map(|input| input.uid)
    };
    for kind in KeyKind::ALL {
        assert_eq!(find(kind, old.of(kind), NOW).await, Some(uid(2)), "{kind:?}");
    }
    assert_eq!(find(KeyKind::Stream, &old.playback_key, NOW).await, None, "a viewer's key");
    assert_eq!(find(KeyKind::Stream, &Secret::new("guess"), NOW).await, None);

    let rotated = control.rotate_keys(&uid(2), random(3), NOW + 1, Some(NOW + 10)).await.unwrap();
    assert_eq!(rotated.keys_rotated_ms, Some(NOW + 1));
    let new = control.input_keys(&uid(2)).await.unwrap().unwrap();
    assert_ne!(new, old);
    for (key, now, expect) in [
        (&new.stream_key, NOW + 1, Some(uid(2))),
        (&old.stream_key, NOW + 9, Some(uid(2))),
        (&old.stream_key, NOW + 10, None),
    ] {
        assert_eq!(find(KeyKind::Stream, key, now).await, expect, "at {now}");
    }
    control.rotate_keys(&uid(2), random(4), NOW + 2, None).await.unwrap();
    assert_eq!(find(KeyKind::Stream, &new.stream_key, NOW + 2).await, None, "no grace");
    assert_eq!(find(KeyKind::Stream, &old.stream_key, NOW + 2).await, None, "no grace");
}

pub async fn lists_have_pages_in_the_order_of_creation(control: &Control) {
    for seed in [5, 1, 4, 2, 3] {
        an_input(control, seed).await;
    }
    let oldest = Page { rows: 2, newest_first: false, ..Page::default() };
    let (rows, next) = listed(control, oldest).await;
    assert_eq!(rows, [uid(5), uid(1)]);
    let (rows, next) = listed(control, Page { after: next, ..oldest }).await;
    assert_eq!(rows, [uid(4), uid(2)]);
    let (rows, next) = listed(control, Page { after: next, ..oldest }).await;
    assert_eq!((rows, next), (vec![uid(3)], None));
    let newest = Page { rows: 2, ..Page::default() };
    let (rows, next) = listed(control, newest).await;
    assert_eq!(rows, [uid(3), uid(2)]);
    let (rows, _) = listed(control, Page { after: next, ..newest }).await;
    assert_eq!(rows, [uid(4), uid(1)]);
    let counts = async |page| {
        let list = control.inputs(page).await.unwrap();
        (list.rows.len(), list.total, list.remaining)
    };
    assert_eq!(counts(newest).await, (2, 5, 5));
    assert_eq!(counts(Page { after: next, ..newest }).await, (2, 5, 3));
    let skipping = Page { skip: 3, ..newest };
    assert_eq!(listed(control, skipping).await.0, [uid(1), uid(5)]);
    assert_eq!(counts(skipping).await, (2, 5, 2));
    assert_eq!(counts(Page { skip: 9, ..newest }).await, (0, 5, 0));
    let uncounted = Page { counts: false, ..newest };
    assert_eq!(listed(control, uncounted).await, listed(control, newest).await);
    assert_eq!(counts(uncounted).await, (2, 0, 0));
    assert_eq!(counts(Page { after: next, ..uncounted }).await, (2, 0, 0));
}

pub async fn a_deleted_input_is_gone_with_its_keys_and_its_owner_is_fenced(control: &Control) {
    an_input(control, 1).await;
    let key = control.input_keys(&uid(1)).await.unwrap().unwrap().stream_key;
    let claimed = control.claim(claim(1, ClaimMode::IfFree, NOW)).await.unwrap();
    control.delete_input(&uid(1), Expect::Any, NOW).await.unwrap();
    assert_eq!(control.input(&uid(1)).await.unwrap(), None);
    assert_eq!(control.input_by_key(KeyKind::Stream, &key, NOW).await.unwrap(), None);
    let park = control.park(&claimed.owned, away(NOW)).await;
    assert_eq!(park, Err(OwnerError::Fenced { current: claimed.owned.epoch }));
    let again = control.delete_input(&uid(1), Expect::Any, NOW).await;
    assert_eq!(again, Err(DocumentError::NotFound));
}

pub async fn an_id_names_an_input_or_a_video_or_nothing(control: &Control) {
    an_input(control, 1).await;
    let owned = control.claim(claim(1, ClaimMode::IfFree, NOW)).await.unwrap().owned;
    let resolved = async |id: &str| control.resolve(id).await.unwrap();
    assert_eq!(resolved(uid(1).as_str()).await, Some(Resolved::Input(uid(1))));
    let video = Resolved::Video { uid: owned.video.clone(), input: uid(1), live: true };
    assert_eq!(resolved(owned.video.as_str()).await, Some(video));
    for nothing in ["", "favicon.ico", uid(2).as_str(), "' OR 1=1 --"] {
        assert_eq!(resolved(nothing).await, None, "{nothing}");
    }
}

pub async fn other_layers_documents_are_compared_and_set(control: &Control) {
    let key = |id: &str| DocumentKey::new("token", id).unwrap();
    let put =
        |id: &str, text: &'static str, expect| control.put_document(key(id), text.into(), expect);
    let none = put("a", "one", Expect::Rev(Rev(1))).await;
    assert_eq!(none, Err(DocumentError::NotFound));
    let first = put("a", "one", Expect::Absent).await.unwrap();
    assert_eq!(put("a", "two", Expect::Absent).await, Err(DocumentError::Exists));
    let second = put("a", "two", Expect::Rev(first)).await.unwrap();
    let old = put("a", "three", Expect::Rev(first)).await;
    assert_eq!(old, Err(DocumentError::Changed { current: second }));
    let found = Document { key: key("a"), content: "two".into(), rev: second };
    assert_eq!(control.document(key("a")).await.unwrap(), Some(found));
    let more = |word: &'static str| {
        let change = move |old: &[u8]| Ok::<_, DocumentError>([old, word.as_bytes()].concat());
        control.change_document(key("a"), change)
    };
    let (three, four) = tokio::join!(more(" three"), more(" four"));
    assert!(three.is_ok() && four.is_ok(), "{three:?} {four:?}");
    let found = control.document(key("a")).await.unwrap().unwrap();
    assert_eq!(found.content.len(), "two three four".len(), "{found:?}");
    let second = found.rev;
    let none = control.change_document(key("z"), |_| Ok::<_, DocumentError>(Vec::new())).await;
    assert_eq!(none, Err(DocumentError::NotFound));

    put("b", "x", Expect::Any).await.unwrap();
    let other = DocumentKey::new("output", "c").unwrap();
    control.put_document(other, "y".into(), Expect::Any).await.unwrap();
    let ids = async |after: &str| -> Vec<String> {
        let list = control.documents("token", after).await.unwrap();
        list.iter().map(|document| document.key.id().to_owned()).collect()
    };
    assert_eq!((ids("").await, ids("a").await), (vec!["a".into(), "b".into()], vec!["b".into()]));

    let delete = control.delete_document(key("a"), Expect::Rev(first)).await;
    assert_eq!(delete, Err(DocumentError::Changed { current: second }));
    control.delete_document(key("a"), Expect::Rev(second)).await.unwrap();
    assert_eq!(control.document(key("a")).await.unwrap(), None);
    let again = put("a", "one", Expect::Absent).await.unwrap();
    assert!(again > second, "a version is never used again");
}
