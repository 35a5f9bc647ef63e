//! Lines of the log that strangers cause: a few at a time, and how many were left out.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::limits::{LINES, LINES_SPAN};

/// One kind of line. Whoever connects a thousand times writes a few lines, and the next one says how
/// many there would have been: nobody fills a disk from outside.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Span>);

#[derive(Debug, Default)]
struct Span {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// A line may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// How many were left out since the last one, if any were.
    pub left_out: Option<u64>,
}

impl Seldom {
    /// Asks for a line.
    pub fn line(&self, now: Instant) -> Option<Line> {
        let mut span = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |began| now.saturating_duration_since(began) >= LINES_SPAN;
        if span.began.is_none_or(over) {
            (span.began, span.lines) = (Some(now), 0);
        }
        if span.lines >= LINES {
            span.left_out += 1;
            return None;
        }
        span.lines += 1;
        let left_out = std::mem::take(&mut span.left_out);
        Some(Line { left_out: (left_out > 0).then_some(left_out) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_flood_writes_a_few_lines_and_the_next_one_counts_it() {
        let (seldom, began) = (Seldom::default(), Instant::now());
        let at = |second| began + Duration::from_secs(second);
        let lines = (0..1_000).filter_map(|_| seldom.line(at(0)));
        assert_eq!(lines.collect::<Vec<_>>(), [Line { left_out: None }; LINES as usize]);
        assert_eq!(seldom.line(at(9)), None);
        let left_out = Some(1_001 - u64::from(LINES));
        assert_eq!(seldom.line(at(10)), Some(Line { left_out }));
        assert_eq!(seldom.line(at(10)), Some(Line { left_out: None }));
    }
}
