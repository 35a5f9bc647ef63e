//! The conformance suite over SQLite.

use control::{Control, MasterKey};
use tempfile::TempDir;

fn sqlite() -> (Control, TempDir) {
    let dir = TempDir::new().unwrap();
    let control = Control::open(&dir.path().join("control.db"), MasterKey::new(&[7; 32])).unwrap();
    (control, dir)
}

control::conformance_suite! { super::sqlite:
    changes {
        changes_are_read_back_in_order_and_by_what_is_asked_for,
        what_is_old_or_long_is_not_kept,
    }
    chat {
        a_chat_is_read_back_in_order_and_by_what_is_asked_for,
        a_deleted_message_is_gone_and_its_number_is_not_used_again,
        a_chat_goes_with_its_video,
    }
    documents {
        an_input_is_what_was_made_of_it,
        an_input_that_is_made_once_is_not_made_again,
        a_write_that_expects_another_version_is_refused,
        a_document_over_its_bound_is_refused,
        of_two_writers_at_once_one_wins,
        of_changes_at_once_none_is_lost,
        inputs_are_found_by_their_keys_until_these_are_rotated,
        lists_have_pages_in_the_order_of_creation,
        a_deleted_input_is_gone_with_its_keys_and_its_owner_is_fenced,
        an_id_names_an_input_or_a_video_or_nothing,
        other_layers_documents_are_compared_and_set,
    }
    index {
        what_was_committed_is_read_back_exactly,
        a_video_is_as_long_as_its_longest_track,
        commit_ok_ack_lost,
        put_ok_commit_failed_or_unknown,
        a_refused_batch_leaves_nothing,
        ingest_node_dies_mid_segment,
        a_new_owner_writes_the_gap_before_anything_else,
        old_node_returns_after_a_pause_or_partition,
        numbers_go_on_above_in_the_next_broadcast,
        pages_read_like_the_records_that_they_replace,
        a_broadcast_that_is_over_can_still_be_sealed,
        the_catalog_stays_with_the_video,
    }
    ownership {
        a_first_claim_begins_a_broadcast,
        a_claim_needs_an_input_that_is_enabled,
        a_claim_with_a_key_needs_the_inputs_own,
        who_was_waited_for_can_be_waited_for_as_before,
        a_claim_whose_answer_was_lost_is_repeated,
        if_free_leaves_the_owner_alone_and_take_over_does_not,
        encoder_reconnects_elsewhere_while_a_is_alive,
        numbers_that_were_reserved_are_a_gap_for_the_next_owner,
        groups_come_in_blocks_that_are_given_out_once,
        reservations_are_bounded,
        a_broadcast_without_media_leaves_no_video_and_its_numbers_are_not_reused,
        back_in_time_goes_on_and_too_late_begins_anew,
        ownerless_broadcasts_expire,
        a_node_that_starts_again_waits_for_its_encoders,
        numbers_that_a_node_may_have_shown_are_left_out,
        gaps_of_one_crash_do_not_make_more_of_the_next,
        an_input_says_since_when_it_is_so_and_why,
        a_video_id_is_used_once,
    }
    videos {
        a_recording_has_what_its_input_said_when_it_began,
        what_is_locked_on_the_air_stays_locked,
        videos_are_listed_by_what_is_asked_for,
        changes_of_a_video_see_it_as_it_is,
        a_video_is_edited_by_version,
        a_deleted_video_is_gone_and_its_objects_are_remembered,
        a_clip_is_a_video_of_its_own,
        a_broadcast_on_the_air_is_not_deleted,
        recordings_outlive_their_input,
        a_broadcast_that_is_not_recorded_has_no_time_to_be_deleted,
    }
}

/// A case that is written and never run proves nothing.
#[test]
fn every_case_is_run() {
    let here = include_str!("conformance.rs");
    let written = [
        include_str!("../../src/conformance/chat.rs"),
        include_str!("../../src/conformance/documents.rs"),
        include_str!("../../src/conformance/index.rs"),
        include_str!("../../src/conformance/ownership.rs"),
        include_str!("../../src/conformance/videos.rs"),
    ];
    for line in written.iter().flat_map(|file| file.lines()) {
        let Some(rest) = line.strip_prefix("pub async fn ") else { continue };
        let name = rest.split('(').next().unwrap();
        assert!(here.contains(&format!("        {name},")), "{name}");
    }
}
