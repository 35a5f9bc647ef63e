//! `moof` and the head of `mdat`: ISO 14496-12 §8.8.4 to 8.8.8, §8.8.12, §8.1.1.

use bytes::BufMut;

use super::init::TRACK_ID;
use crate::limits;

/// One sample of a fragment, in decode order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Ticks until the next sample's decode time.
    pub duration: u32,
    /// Bytes of its payload.
    pub size: u32,
    /// Decoding can start here.
    pub sync: bool,
    /// Presentation time minus decode time, in ticks.
    pub composition_offset: i32,
}

/// A caller asked for a fragment that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// A fragment needs a sample.
    #[error("a fragment without samples")]
    Empty,
    /// More samples than a fragment may have.
    #[error("{0} samples in one fragment, at most {max} are allowed", max = limits::FRAGMENT_SAMPLES_MAX)]
    TooManySamples(usize),
    /// The payloads do not fit an `mdat` with 32-bit size.
    #[error("{0} bytes in one fragment do not fit its 32-bit size")]
    TooLarge(u64),
}

/// §8.8.3.1: sample_depends_on = 2 (others not needed).
const FLAGS_SYNC: u32 = 0x0200_0000;
/// §8.8.3.1: sample_depends_on = 1, sample_is_non_sync_sample = 1.
const FLAGS_NON_SYNC: u32 = 0x0101_0000;

/// tfhd §8.8.7.1: default-base-is-moof.
const TFHD_DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;

/// trun §8.8.8.1: data offset, and per sample duration, size, flags.
const TRUN_BASE: u32 = 0x000001 | 0x000100 | 0x000200 | 0x000400;
/// trun §8.8.8.1: composition offsets, signed in version 1.
const TRUN_COMPOSITION: u32 = 0x000800;

const MFHD: u32 = 16;
const TFHD: u32 = 16;
const TFDT: u32 = 20;
const BOX: u32 = 8;
const TRUN_HEAD: u32 = 20;

/// Writes `moof` and the eight bytes that begin `mdat`; the payloads follow in the order of `samples`.
///
/// `sequence` rises by one per fragment of a track, `base_decode_time` is the decode time of the first sample in the
/// track's timescale.
pub fn fragment_header(
    sequence: u32,
    base_decode_time: u64,
    samples: &[Sample],
) -> Result<Vec<u8>, FragmentError> {
    if samples.is_empty() {
        return Err(FragmentError::Empty);
    }
    header(sequence, base_decode_time, samples)
}

/// A whole fragment without samples, of a time in which those of an earlier one last: ISO 14496-12 §8.8.8.1, "the rows can be
/// empty". It is of no use in a file; a list that names what there is by its time has it for a time that brings nothing new.
pub fn empty_fragment(base_decode_time: u64) -> Vec<u8> {
    // Nothing that can be too much.
    header(0, base_decode_time, &[]).unwrap_or_default()
}

/// Whether this is an [`empty_fragment`].
pub fn is_empty_fragment(bytes: &[u8]) -> bool {
    let number = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|b| u32::from_be_bytes(*b));
    let trun = FIRST_SAMPLE - TRUN_HEAD as usize;
    bytes.get(4..8) == Some(b"moof")
        && bytes.get(trun + 4..trun + 8) == Some(b"trun")
        && number(trun + 12) == Some(0)
}

fn header(
    sequence: u32,
    base_decode_time: u64,
    samples: &[Sample],
) -> Result<Vec<u8>, FragmentError> {
    if samples.len() > limits::FRAGMENT_SAMPLES_MAX {
        return Err(FragmentError::TooManySamples(samples.len()));
    }
    let payload: u64 = samples.iter().map(|s| u64::from(s.size)).sum();
    let mdat =
        u32::try_from(payload + u64::from(BOX)).map_err(|_| FragmentError::TooLarge(payload))?;
    let composition = samples.iter().any(|s| s.composition_offset != 0);

    // All sizes are known ahead, so the header is written once from front to back.
    // FRAGMENT_SAMPLES_MAX keeps the sums below 2 MiB.
    let per_sample = if composition { 16 } else { 12 };
    let trun = TRUN_HEAD + per_sample * samples.len() as u32;
    let traf = BOX + TFHD + TFDT + trun;
    let moof = BOX + MFHD + traf;

    let mut out = Vec::with_capacity((moof + BOX) as usize);
    head(&mut out, moof, b"moof");
    head(&mut out, MFHD, b"mfhd");
    out.put_u32(0);
    out.put_u32(sequence);
    head(&mut out, traf, b"traf");
    head(&mut out, TFHD, b"tfhd");
    out.put_u32(TFHD_DEFAULT_BASE_IS_MOOF);
    out.put_u32(TRACK_ID);
    head(&mut out, TFDT, b"tfdt");
    out.put_u32(1 << 24);
    out.put_u64(base_decode_time);
    head(&mut out, trun, b"trun");
    out.put_u32(1 << 24 | TRUN_BASE | if composition { TRUN_COMPOSITION } else { 0 });
    out.put_u32(samples.len() as u32);
    out.put_u32(moof + BOX);
    for sample in samples {
        out.put_u32(sample.duration);
        out.put_u32(sample.size);
        out.put_u32(if sample.sync { FLAGS_SYNC } else { FLAGS_NON_SYNC });
        if composition {
            out.put_i32(sample.composition_offset);
        }
    }
    head(&mut out, mdat, b"mdat");
    Ok(out)
}

/// Where the first sample's entry is in what [`fragment_header`] writes.
const FIRST_SAMPLE: usize = (BOX + MFHD + BOX + TFHD + TFDT + TRUN_HEAD) as usize;

/// The first sample of a fragment that [`fragment_header`] began, as a fragment of its own: it begins at `base_decode_time` and
/// lasts for `duration`. None if it is another's fragment, or ends before its first sample does.
pub fn first_sample_alone(
    fragment: &[u8],
    base_decode_time: u64,
    duration: u32,
) -> Option<Vec<u8>> {
    let number =
        |at: usize| fragment.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
    let trun = FIRST_SAMPLE - TRUN_HEAD as usize;
    if fragment.get(4..8)? != b"moof" || fragment.get(trun + 4..trun + 8)? != b"trun" {
        return None;
    }
    let composition = number(trun + 8)? & TRUN_COMPOSITION != 0;
    let sample = Sample {
        duration,
        size: number(FIRST_SAMPLE + 4)?,
        sync: number(FIRST_SAMPLE + 8)? == FLAGS_SYNC,
        composition_offset: if composition { number(FIRST_SAMPLE + 12)?.cast_signed() } else { 0 },
    };
    let begin = usize::try_from(number(0)?.checked_add(BOX)?).ok()?;
    let end = begin.checked_add(usize::try_from(sample.size).ok()?)?;
    let payload = fragment.get(begin..end)?;
    let mut out =
        fragment_header(number((BOX + 12) as usize)?, base_decode_time, &[sample]).ok()?;
    out.extend_from_slice(payload);
    Some(out)
}

fn head(out: &mut Vec<u8>, size: u32, kind: &[u8; 4]) {
    out.put_u32(size);
    out.put_slice(kind);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(size: u32, composition_offset: i32) -> Sample {
        Sample { duration: 3003, size, sync: size == 5, composition_offset }
    }

    /// Walks boxes and checks that sizes nest exactly.
    fn paths(data: &[u8], prefix: &str, found: &mut Vec<String>) {
        let mut rest = data;
        while !rest.is_empty() {
            let size = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let name = format!("{prefix}/{}", std::str::from_utf8(&rest[4..8]).unwrap());
            if name.ends_with("moof") || name.ends_with("traf") {
                paths(&rest[8..size], &name, found);
            }
            found.push(name);
            rest = &rest[size..];
        }
    }

    #[test]
    fn the_first_sample_alone_lasts_as_long_as_it_is_told_to() {
        for cts in [0, -3003, 6006] {
            let written = |samples: &[Sample], at| fragment_header(9, at, samples).unwrap();
            let mut fragment = written(&[sample(5, cts), sample(3, 0)], 1 << 40);
            fragment.extend_from_slice(b"first");
            // What follows is not needed.
            for rest in [&b""[..], b"2nd"] {
                let whole = [&fragment[..], rest].concat();
                let alone = first_sample_alone(&whole, 77, 180_000).unwrap();
                let expect = Sample { duration: 180_000, ..sample(5, cts) };
                assert_eq!(alone, [&written(&[expect], 77)[..], b"first"].concat());
                assert_eq!(first_sample_alone(&alone, 77, 180_000), Some(alone.clone()));
            }
            for cut in 0..fragment.len() {
                assert_eq!(first_sample_alone(&fragment[..cut], 77, 1), None, "{cut}");
            }
        }
        for bytes in [&b""[..], b"\xff\xff\xff\xffmoof", &[0xff; 200], &[0; 200]] {
            assert_eq!(first_sample_alone(bytes, 0, 1), None);
        }
        let mut lies = fragment_header(1, 0, &[sample(5, 0)]).unwrap();
        lies[..4].copy_from_slice(&[0xff; 4]);
        lies.extend_from_slice(b"12345");
        assert_eq!(first_sample_alone(&lies, 0, 1), None);
    }

    #[test]
    fn boxes_nest_and_the_offset_points_behind_the_header() {
        for cts in [0, -3003] {
            let mut bytes = fragment_header(7, 1 << 40, &[sample(5, cts), sample(3, 0)]).unwrap();
            let len = bytes.len() as u32;
            bytes.extend([0; 8]);
            let mut found = Vec::new();
            paths(&bytes, "", &mut found);
            assert_eq!(
                found,
                [
                    "/moof/mfhd",
                    "/moof/traf/tfhd",
                    "/moof/traf/tfdt",
                    "/moof/traf/trun",
                    "/moof/traf",
                    "/moof",
                    "/mdat"
                ]
            );
            let trun = bytes.windows(4).position(|w| w == b"trun").unwrap();
            assert_eq!(bytes[trun + 12..trun + 16], len.to_be_bytes());
        }
    }

    #[test]
    fn a_fragment_without_samples_is_a_moof_and_an_mdat() {
        let bytes = empty_fragment(1 << 40);
        let mut found = Vec::new();
        paths(&bytes, "", &mut found);
        assert_eq!(found.last().map(String::as_str), Some("/mdat"));
        assert!(is_empty_fragment(&bytes));
        let mut other = fragment_header(7, 1 << 40, &[sample(5, 0)]).unwrap();
        other.extend([0; 5]);
        assert!(!is_empty_fragment(&other));
        for cut in 0..FIRST_SAMPLE - 4 {
            assert!(!is_empty_fragment(&bytes[..cut.min(bytes.len())]) || cut >= FIRST_SAMPLE - 4);
        }
        let mut reader = crate::mp4::Reader::new();
        reader.push(&bytes);
        assert!(
            !matches!(reader.next_event(), Ok(Some(crate::mp4::Event::Fragment(f))) if !f.is_empty())
        );
    }

    #[test]
    fn misuse() {
        assert_eq!(fragment_header(1, 0, &[]), Err(FragmentError::Empty));
        let huge = sample(u32::MAX, 0);
        assert_eq!(
            fragment_header(1, 0, &[huge]),
            Err(FragmentError::TooLarge(u64::from(u32::MAX)))
        );
    }
}
