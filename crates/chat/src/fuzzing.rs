//! What fuzz targets and tests do with any bytes.

use crate::limits::{MARKS_MAX, NAME_CHARS_MAX, TEXT_CHARS_MAX};
use crate::message::Said;

/// Reads bytes as a message. What is read is within its bounds, and stays as it is when it is sent again.
pub fn any(bytes: &[u8]) {
    let Ok(said) = Said::parse(bytes) else { return };
    for (text, max) in [(&said.name, NAME_CHARS_MAX), (&said.text, TEXT_CHARS_MAX)] {
        assert!((1..=max).contains(&text.chars().count()));
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(!text.contains("  ") && text.trim() == *text, "{text:?}");
        let tower: Vec<char> = vec!['\u{301}'; MARKS_MAX + 1];
        assert!(!text.contains(&tower.iter().collect::<String>()));
    }
    let again = serde_json::json!({ "name": said.name, "text": said.text }).to_string();
    assert_eq!(Said::parse(again.as_bytes()), Ok(said));
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn seeds_and_changes_of_them_pass() {
        sansio::harness::replay("chat", 1_000, super::any);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
            super::any(&bytes);
        }

        #[test]
        fn any_texts(name in "\\PC{0,50}", text in any::<String>(), marks in 0_usize..9) {
            let text = format!("{text}{}", "\u{301}".repeat(marks));
            super::any(serde_json::json!({ "name": name, "text": text }).to_string().as_bytes());
        }
    }
}
