//! Captions inside pictures: CEA-608 in SEI messages, as encoders of television write them, for clips.

/// H.264 in Annex B form with this text in the first field of its pictures, a caption for every `every` pictures, each a
/// line `TEXT N`. Pop-on (CEA-608 §C): loaded unseen, shown at once, and gone when the next one comes.
pub(crate) fn write_captions(pictures: &[u8], text: &str, every: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(pictures.len() * 11 / 10);
    let mut shown = 0;
    for unit in units(pictures) {
        // The first slice of a picture begins with first_mb_in_slice 0: a one bit.
        let slice = matches!(unit.first().map(|b| b & 0x1f), Some(1 | 5));
        if slice && unit.get(1).is_some_and(|b| b & 0x80 != 0) {
            let line = caption(&format!("{text} {}", shown / every));
            let pair = line.get(shown % every).copied().unwrap_or([0x80, 0x80]);
            out.extend([0, 0, 0, 1]);
            out.extend(sei(pair));
            shown += 1;
        }
        out.extend([0, 0, 0, 1]);
        out.extend(unit);
    }
    out
}

/// NAL units between their start codes.
fn units(mut stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let start = stream.windows(3).position(|w| w == [0, 0, 1])? + 3;
        let rest = &stream[start..];
        let end = rest.windows(3).position(|w| w[..2] == [0, 0] && w[2] <= 1);
        let end = end.unwrap_or(rest.len());
        stream = &rest[end..];
        Some(&rest[..end])
    })
}

/// The pairs of one caption: control codes are sent twice.
fn caption(text: &str) -> Vec<[u8; 2]> {
    let control = |two: u8| [[0x14, two]; 2];
    // Load unseen, clear what is unseen, bottom row, white; the characters; show.
    let begin = [0x20, 0x2e, 0x70].into_iter().flat_map(control);
    let characters = text.as_bytes().chunks(2).map(|c| [c[0], c.get(1).copied().unwrap_or(0)]);
    let all = begin.chain(characters).chain(control(0x2f));
    all.map(|pair| pair.map(odd_parity)).collect()
}

fn odd_parity(byte: u8) -> u8 {
    byte | ((byte.count_ones() as u8 & 1) ^ 1) << 7
}

/// One pair, as ATSC A/53 part 4 §6.2.3 has it.
fn sei(pair: [u8; 2]) -> Vec<u8> {
    let mut payload = b"\xb5\x00\x31GA94\x03\xc1\xff\xfc".to_vec();
    payload.extend(pair);
    payload.push(0xff);
    let mut unit = vec![0x06, 0x04, payload.len() as u8];
    // No two zeros in a row come about: nothing to escape.
    unit.extend(payload);
    unit.push(0x80);
    unit
}
