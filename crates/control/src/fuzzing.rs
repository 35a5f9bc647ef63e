//! One function per format at rest, for the fuzz targets in `fuzz/` and for tests: any bytes in, no panic out.

use aws_lc_rs::digest::{SHA256, digest};

use crate::limits::PAGE_RECORDS;
use crate::page;
use crate::record::SegmentRecord;
use crate::varint::take_bytes;

/// Records and pages of the index. The first byte says which: a record, a page as it is, a page whose checksum is
/// put right, a page of whatever records there are.
pub fn stored(data: &[u8]) {
    match data.split_first() {
        Some((0, data)) => record(data),
        Some((1, data)) => drop(page::decode(data)),
        Some((2, data)) => drop(page::decode(&[data, digest(&SHA256, data).as_ref()].concat())),
        Some((_, data)) => pages(data),
        None => {}
    }
}

/// What decodes, encodes to something that decodes to the same.
fn record(data: &[u8]) {
    let Ok(record) = SegmentRecord::decode(7, data) else {
        return;
    };
    for track in &record.tracks {
        assert_eq!(track.ranges().count(), track.parts.len());
        let _ = track.end();
    }
    // One that was written wastefully may be within the bounds only after it is written anew.
    if let Ok(again) = record.encode() {
        // Of the shape before it may be longer: it says more.
        let shorter = again.len() <= data.len() || again.first() != data.first();
        assert!(shorter, "no record is longer than it must be");
        assert_eq!(SegmentRecord::decode(7, &again), Ok(record));
    }
}

/// A page of good records holds what was put into it.
fn pages(mut data: &[u8]) {
    let mut records = Vec::new();
    while records.len() < PAGE_RECORDS
        && let Ok(bytes) = take_bytes(&mut data, usize::MAX)
    {
        let number = 7 + records.len() as u64;
        records.extend(SegmentRecord::decode(number, bytes).ok());
    }
    let encoded: Result<Vec<_>, _> = records.iter().map(SegmentRecord::encode).collect();
    if let Ok(encoded) = encoded {
        assert_eq!(page::decode(&page::encode(7, &encoded)), Ok(records));
    }
}
