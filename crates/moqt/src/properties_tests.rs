use super::*;
use proptest::prelude::*;

fn object(bytes: &'static [u8]) -> Result<(), DataError> {
    Properties::of_object(Version::Draft18, Bytes::from_static(bytes), 10, 10).map(drop)
}

fn of_track_bytes(bytes: Bytes) -> Result<Properties, Violation> {
    Properties::of_track(Version::Draft18, Body::new(Coding::Vi64, bytes))
}

fn track(bytes: &'static [u8]) -> Result<(), Violation> {
    of_track_bytes(Bytes::from_static(bytes)).map(drop)
}

fn malformed(result: Result<(), DataError>) -> bool {
    matches!(result, Err(DataError::MalformedTrack(_)))
}

#[test]
fn draft18_s1_4_3_pairs() {
    let bytes =
        Bytes::from_static(&[0x02, 0x05, 0x09, 0x02, 0x08, 0x07, 0x17, 0x02, 0x25, 0x01, 0xff]);
    let properties = of_track_bytes(bytes.clone()).unwrap();
    let pairs = [
        (0x02, Value::Number(5)),
        (0x0b, Value::Bytes(&[8, 7])),
        (0x22, Value::Number(2)),
        (0x47, Value::Bytes(&[0xff])),
    ];
    assert!(properties.iter().eq(pairs));
    assert_eq!(Properties::from_pairs(&pairs).unwrap().as_bytes(), &bytes);
    assert_eq!(properties.default_group_order(), GroupOrder::Descending);
    assert_eq!(properties.object_delivery_timeout_ms(), 5);
    assert_eq!(properties.number(8), Some(7), "from inside the immutable ones");
    assert_eq!(properties.number(9), None);
}

/// Its numbers have 62 bits, and only steps between types are written.
#[test]
fn draft16_s1_4_2_types_above_62_bits_are_kept() {
    let v = Version::Draft16;
    let bytes = [&[0x2c, 0x01][..], &[0xff; 8], &[0x00]].concat();
    let properties = Properties::of_object(v, bytes.clone().into(), 10, 10).unwrap();
    assert!(properties.iter().map(|(kind, _)| kind).eq([0x2c, 0x4000_0000_0000_002b]));
    assert_eq!(properties.to_wire(v), bytes);
    let far = Properties::from_pairs(&[(1 << 62, Value::Number(1))]).unwrap();
    assert!(far.to_wire(v).is_empty(), "no step is that long");
}

#[test]
fn draft18_s1_4_3_violations() {
    use crate::code::SessionCode::{KeyValueFormattingError, ProtocolViolation};
    for (bytes, code) in [
        // Types that overflow.
        (
            &[0x02, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0][..],
            ProtocolViolation,
        ),
        // A value of 65,536 bytes.
        (&[0x01, 0xc1, 0x00, 0x00], ProtocolViolation),
        (&[0x01], KeyValueFormattingError),
        (&[0x01, 0x02, 0x00], KeyValueFormattingError),
        (&[0x02, 0x80], KeyValueFormattingError),
        // Values out of their range, draft-18 §12.4 to §12.6.
        (&[0x0e, 0x81, 0x00], ProtocolViolation),
        (&[0x22, 0x00], ProtocolViolation),
        (&[0x22, 0x03], ProtocolViolation),
        (&[0x30, 0x02], ProtocolViolation),
    ] {
        assert_eq!(track(bytes).map_err(|violation| violation.code), Err(code), "{bytes:02x?}");
    }
    assert_eq!(track(&[0x0e, 0x80, 0xff]), Ok(()));
    assert!(matches!(object(&[0x01]), Err(DataError::Session(_))));
}

#[test]
fn draft18_s12_malformed_objects() {
    for bytes in [
        // §12.7: twice, nested, unreadable.
        &[0x0b, 0x00, 0x00, 0x00][..],
        &[0x0b, 0x02, 0x0b, 0x00],
        &[0x0b, 0x01, 0x02],
        // §12.8, §12.9: twice, also half inside the immutable ones; too large.
        &[0x3c, 0x01, 0x00, 0x01],
        &[0x0b, 0x02, 0x3e, 0x01, 0x33, 0x01],
        &[0x3c, 0x0b],
        &[0x3e, 0x0b],
        // §2.5.1
        &[0xc0, 0x40, 0x00, 0x00],
    ] {
        assert!(malformed(object(bytes)), "{bytes:02x?}");
    }
    for bytes in
        [&[][..], &[0x3c, 0x0a, 0x02, 0x0a], &[0x0b, 0x02, 0x3e, 0x01], &[0xc0, 0x80, 0x00, 0x00]]
    {
        assert_eq!(object(bytes), Ok(()), "{bytes:02x?}");
    }
}

/// draft-18 §2.5: what is forwarded is what came, also in longer forms than need be, and what is not understood.
#[test]
fn draft18_s2_5_properties_are_kept_as_they_came_and_found_in_the_immutable_ones() {
    for (bytes, kind, number) in [
        (&[0x3c, 0x80, 0x03][..], 0x3c, Some(3)),
        (&[0x80, 0x3c, 0x03], 0x3c, Some(3)),
        // Unknown ones, of both kinds, and what is behind them.
        (&[0x39, 0x02, 0xde, 0xad, 0x03, 0x01, 0x02, 0x05], 0x3e, Some(5)),
        // Immutable ones, and a pair of the same type before them, which comes first.
        (&[0x0b, 0x03, 0x3c, 0x80, 0x03], 0x3c, Some(3)),
        (&[0x08, 0x01, 0x03, 0x02, 0x08, 0x07], 0x08, Some(1)),
        (&[0x0b, 0x02, 0x08, 0x07], 0x0a, None),
    ] {
        let came = Bytes::from_static(bytes);
        for version in [Version::Draft18, Version::Draft21] {
            let kept = Properties::of_object(version, came.clone(), 10, 10).unwrap();
            assert_eq!(kept.as_bytes(), &came, "{bytes:02x?}");
            assert_eq!(kept.to_wire(version), came, "{bytes:02x?}");
            assert_eq!(kept.number(kind), number, "{bytes:02x?}");
        }
    }
}

#[test]
fn draft18_s2_5_1_mandatory_properties() {
    for (bytes, unknown) in [
        (&[0xc0, 0x40, 0x00, 0x00][..], Some(0x4000)),
        (&[0xc0, 0x7f, 0xff, 0x00], Some(0x7fff)),
        (&[0xc0, 0x3f, 0xff, 0x00], None),
        (&[0xc0, 0x80, 0x00, 0x00], None),
        (&[0x0b, 0x04, 0xc0, 0x40, 0x02, 0x00], Some(0x4002)),
        (&[0xc0, 0x40, 0x04, 0x00], None),
    ] {
        let properties = of_track_bytes(Bytes::from_static(bytes)).unwrap();
        assert_eq!(properties.mandatory_unknown(&[0x4004]), unknown, "{bytes:02x?}");
    }
}

proptest! {
    #[test]
    fn pairs_that_are_written_are_read(
        mut pairs in prop::collection::vec((any::<u64>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..40)), 0..12),
        shift in 0u32..64,
    ) {
        for pair in &mut pairs {
            pair.0 >>= shift;
        }
        pairs.sort_by_key(|pair| pair.0);
        let pairs: Vec<(u64, Value<'_>)> = pairs
            .iter()
            .map(|(kind, number, bytes)| match kind % 2 {
                0 => (*kind, Value::Number(*number)),
                _ => (*kind, Value::Bytes(bytes)),
            })
            .collect();
        let properties = Properties::from_pairs(&pairs).unwrap();
        prop_assert!(properties.iter().eq(pairs.iter().copied()));
        prop_assert!(Pairs::new(Coding::Vi64, properties.as_bytes()).all(|pair| pair.is_ok()));
    }

    #[test]
    fn no_bytes_make_the_iterator_run_on(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let pairs: Vec<_> = Pairs::new(Coding::Vi64, &bytes).collect();
        prop_assert!(pairs.len() <= bytes.len());
        prop_assert!(pairs.iter().rev().skip(1).all(Result::is_ok));
    }
}
