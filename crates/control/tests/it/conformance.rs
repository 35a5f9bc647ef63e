//! The conformance suite over SQLite.

use control::{Control, MasterKey};
use tempfile::TempDir;

fn sqlite() -> (Control, TempDir) {
    let dir = TempDir::new().unwrap();
    let control = Control::open(&dir.path().join("control.db"), MasterKey::new(&[7; 32])).unwrap();
    (control, dir)
}

control::conformance_suite! { super::sqlite:
    documents {
        an_input_is_what_was_made_of_it,
        a_write_that_expects_another_version_is_refused,
        a_document_over_its_bound_is_refused,
        of_two_writers_at_once_one_wins,
        inputs_are_found_by_their_keys_until_these_are_rotated,
        lists_have_pages_in_the_order_of_creation,
        a_deleted_input_is_gone_with_its_keys_and_its_owner_is_fenced,
        an_id_names_an_input_or_a_video_or_nothing,
    }
    ownership {
        a_first_claim_begins_a_broadcast,
        a_claim_needs_an_input_that_is_enabled,
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
        a_video_id_is_used_once,
    }
}
