//! The audit log.

use super::NOW;
use crate::limits::{AUDIT_AGE, AUDIT_FIELDS, AUDIT_TEXT_CHARS};
use crate::{AuditEntry, AuditFilter, Control};

fn entry(actor: &str, action: &str, at_ms: u64) -> AuditEntry {
    AuditEntry {
        at_ms,
        actor: actor.to_owned(),
        actor_name: "a name".to_owned(),
        via: "api".to_owned(),
        address: Some("192.0.2.1".to_owned()),
        action: action.to_owned(),
        kind: "live_inputs".to_owned(),
        resource: "r".to_owned(),
        fields: vec!["meta".to_owned()],
        status: 200,
        ..AuditEntry::default()
    }
}

pub async fn changes_are_read_back_in_order_and_by_what_is_asked_for(control: &Control) {
    let mut written = Vec::new();
    for (actor, action, after) in [("a", "create", 0), ("b", "update", 1), ("a", "delete", 2)] {
        let entry = entry(actor, action, NOW + after);
        let id = control.record_change(entry.clone()).await.unwrap();
        written.push(AuditEntry { id, ..entry });
    }
    let list = async |filter: AuditFilter, newest_first, skip, rows| {
        control.changes(filter, newest_first, skip, rows).await.unwrap()
    };
    let all = AuditFilter::default();
    assert_eq!(list(all.clone(), false, 0, 10).await, (written.clone(), 3));
    assert_eq!(list(all.clone(), true, 1, 1).await, (vec![written[1].clone()], 3));
    assert_eq!(list(all.clone(), true, 3, 1).await, (vec![], 3));
    let some = |text: &str| Some(text.to_owned());
    for (filter, expect) in [
        (AuditFilter { actor: some("a"), ..all.clone() }, &[0, 2][..]),
        (AuditFilter { action: some("update"), ..all.clone() }, &[1]),
        (AuditFilter { address: some("192.0.2.2"), ..all.clone() }, &[]),
        (AuditFilter { since_ms: Some(NOW + 1), ..all.clone() }, &[1, 2]),
        (AuditFilter { before_ms: Some(NOW + 1), ..all.clone() }, &[0]),
        (AuditFilter { id: Some(written[2].id), ..all.clone() }, &[2]),
    ] {
        let expect: Vec<_> = expect.iter().map(|n: &usize| written[*n].clone()).collect();
        assert_eq!(list(filter.clone(), false, 0, 10).await.0, expect, "{filter:?}");
    }
}

pub async fn what_is_old_or_long_is_not_kept(control: &Control) {
    control.record_change(entry("a", "create", NOW)).await.unwrap();
    let age = u64::try_from(AUDIT_AGE.as_millis()).unwrap();
    let long = AuditEntry {
        actor_name: "x".repeat(AUDIT_TEXT_CHARS + 1),
        fields: vec!["y".repeat(AUDIT_TEXT_CHARS + 1); AUDIT_FIELDS + 1],
        ..entry("b", "create", NOW + age + 1)
    };
    control.record_change(long).await.unwrap();
    let (entries, total) = control.changes(AuditFilter::default(), true, 0, 10).await.unwrap();
    assert_eq!((total, entries[0].actor.as_str()), (1, "b"));
    assert_eq!(entries[0].actor_name.len(), AUDIT_TEXT_CHARS);
    assert_eq!(
        (entries[0].fields.len(), entries[0].fields[0].len()),
        (AUDIT_FIELDS, AUDIT_TEXT_CHARS)
    );
}
