//! Sealed pages: 64 records as one immutable object, so that the database holds live tails only.
//!
//! `AWPG`, the format (1 byte), then as numbers of variable length: how many records, the first
//! number; each record with its length before it; SHA-256 of all that.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use crate::limits::{PAGE_BYTES, PAGE_RECORDS, RECORD_BYTES};
use crate::record::{Damaged, SegmentRecord};
use crate::varint::{put, take, take_bytes, take_count};

const MAGIC: &[u8; 4] = b"AWPG";

/// The format that this program writes. The one before had records without key pictures, which say so themselves.
const FORMAT: u8 = 2;

/// Why a page can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// A newer program wrote it.
    #[error("this page was written by a newer Airwave (format {0}, this program knows {FORMAT})")]
    Newer(u8),
    /// It is not what was written.
    #[error("a damaged page")]
    Damaged,
}

impl From<Damaged> for PageError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

/// Makes a page of encoded records, numbered from `first` on.
pub(crate) fn encode(first: u64, records: &[Vec<u8>]) -> Bytes {
    let mut out = MAGIC.to_vec();
    out.push(FORMAT);
    put(&mut out, records.len() as u64);
    put(&mut out, first);
    for record in records {
        put(&mut out, record.len() as u64);
        out.extend_from_slice(record);
    }
    let sum = digest(&SHA256, &out);
    out.extend_from_slice(sum.as_ref());
    out.into()
}

/// The records of a page, in the order of their numbers.
pub fn decode(page: &[u8]) -> Result<Vec<SegmentRecord>, PageError> {
    let rest = page.strip_prefix(MAGIC).filter(|_| page.len() <= PAGE_BYTES);
    let format = *rest.and_then(<[u8]>::first).ok_or(PageError::Damaged)?;
    if format > FORMAT {
        return Err(PageError::Newer(format));
    }
    let (content, sum) = page.split_last_chunk::<32>().ok_or(PageError::Damaged)?;
    if digest(&SHA256, content).as_ref() != sum {
        return Err(PageError::Damaged);
    }
    let input = &mut content.get(MAGIC.len() + 1..).ok_or(PageError::Damaged)?;
    let count = take_count(input, PAGE_RECORDS)?;
    let first = take(input)?;
    let end = first.checked_add(count as u64).ok_or(PageError::Damaged)?;
    let mut records = Vec::with_capacity(count);
    for number in first..end {
        records.push(SegmentRecord::decode(number, take_bytes(input, RECORD_BYTES)?)?);
    }
    if input.is_empty() { Ok(records) } else { Err(PageError::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_survives_and_damage_is_found() {
        let records: Vec<_> = (7..7 + 64)
            .map(|n| SegmentRecord { number: n, bytes: n, ..Default::default() })
            .collect();
        let encoded: Vec<_> = records.iter().map(|r| r.encode().unwrap()).collect();
        let page = encode(7, &encoded);
        assert_eq!(decode(&page), Ok(records));
        for at in 0..page.len() {
            let mut damaged = page.to_vec();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&page[..at]).is_err(), "cut at {at}");
        }
        let mut newer = page.to_vec();
        newer[4] = FORMAT + 1;
        assert_eq!(decode(&newer), Err(PageError::Newer(FORMAT + 1)));
    }
}
