//! Lists in pages of numbers (`page`, `per_page`), as the vendor's `V4PagePaginationArray` has them.

use serde_json::{Value, json};

use crate::envelope::ApiError;
use crate::limits::{PAGE_MAX, PER_PAGE_MAX};
use crate::number;

/// Which page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paging {
    /// From 1.
    pub(crate) page: u64,
    pub(crate) per_page: u64,
    /// The newest first.
    pub(crate) descending: bool,
}

impl Paging {
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut paging = Self { page: 1, per_page: 100, descending: true };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "page" => paging.page = number::of_query(name, value, PAGE_MAX)?,
                "per_page" => paging.per_page = number::of_query(name, value, PER_PAGE_MAX)?,
                "direction" => paging.descending = value != "asc",
                _ => {}
            }
        }
        Ok(paging)
    }

    /// How many rows stand before this page.
    pub(crate) fn skipped(self) -> u64 {
        (self.page - 1).saturating_mul(self.per_page)
    }

    pub(crate) fn page_of<T>(self, rows: &[T]) -> &[T] {
        let from = usize::try_from(self.skipped()).unwrap_or(usize::MAX).min(rows.len());
        let to = from.saturating_add(self.per_page as usize).min(rows.len());
        &rows[from..to]
    }

    pub(crate) fn info(self, count: usize, total: u64) -> Value {
        json!({
            "page": self.page,
            "per_page": self.per_page,
            "count": count,
            "total_count": total,
            "total_pages": total.div_ceil(self.per_page),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end() {
        let rows: Vec<u32> = (0..5).collect();
        for (query, expect) in [
            ("", Some(&rows[..])),
            ("page=1&per_page=2", Some(&rows[..2])),
            ("page=3.0&per_page=2", Some(&rows[4..])),
            ("page=4&per_page=2", Some(&[])),
            ("page=1000000000&per_page=1000", Some(&[])),
            ("page=0", None),
            ("page=-1", None),
            ("page=NaN", None),
            ("page=1e300", None),
            ("per_page=0", None),
            ("per_page=1001", None),
        ] {
            let paging = Paging::parse(query).ok();
            assert_eq!(paging.map(|p| p.page_of(&rows)), expect, "{query}");
        }
    }
}
