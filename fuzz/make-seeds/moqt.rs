//! Seeds of MoQ Transport: messages, streams and whole sessions, byte by byte. Here draft 18.

use std::io::Result;

use crate::{Seeds, moqt16, moqt20};

/// What there is of a draft.
pub(crate) struct Draft {
    pub(crate) number: u8,
    /// A message's type and its body (behind the request that it is about).
    pub(crate) control: &'static [(&'static str, u8, &'static str)],
    /// What it is taken for (0 datagram, 1 descending, 2 ascending), how it is cut, the bytes.
    pub(crate) data: &'static [(&'static str, u8, &'static str)],
    /// What the owner does, then steps.
    pub(crate) session: &'static [(&'static str, u8, &'static [Step])],
}

/// What, on which stream, the bytes.
pub(crate) type Step = (u8, u8, &'static str);

const DRAFT_18: Draft = Draft { number: 18, control: CONTROL, data: DATA, session: SESSION };

const CONTROL: &[(&str, u8, &str)] = &[
    (
        "setup",
        0x00,
        "01012f 03050300 6a7774 018100 0109 612e6578616d706c65 0207 61697277617665 809602 0102",
    ),
    ("setup-node", 0x00, "f041697276 05"),
    ("subscribe", 0x03, "00 02 03616363 0363616d 07636174616c6f67 04 1001 1080 010102 0102"),
    ("subscribe-range", 0x03, "02 01 03616363 00 03 020a 1f03 04 0500 07"),
    (
        "subscribe-token",
        0x03,
        "00 02 03616363 0363616d 07636174616c6f67 02 0305 0300 6a7774 0004 0105 0061",
    ),
    ("subscribe-ok", 0x04, "01 02 0864 01812c07 0e40 1401 0e01"),
    ("error", 0x05, "10 01 076e6f7420796574"),
    ("redirect", 0x05, "34 01 00 11 6d6f71743a2f2f622e6578616d706c652f 01 0161 0178"),
    ("status-ok", 0x07, "01 09812c07 0204 0264 3001"),
    ("namespace", 0x08, "01 0363616d"),
    ("namespace-routed", 0x08, "01 0363616d 02 05 812c"),
    ("publish-done", 0x0b, "02 0c 0462796521"),
    ("blocked", 0x0f, "01 0363616d 05766964656f"),
    ("goaway", 0x10, "116d6f71743a2f2f622e6578616d706c652f 9388 0e"),
    ("update", 0x02, "06 03 02 8bb8 0e00 2208"),
    ("update-prefix", 0x02, "06 01 34 01 0161"),
    ("fetch", 0x16, "02 01 02 03616363 0363616d 07636174616c6f67 0500 0500 02 0a64 1802"),
    ("fetch-joining", 0x16, "02 02 00 03 00"),
    ("fetch-ok", 0x18, "01 0500 00 3001"),
    ("publish", 0x1d, "01 02 03616363 0363616d 05766964656f 03 02 0864 0800 02 8064 2001 0e01"),
    ("publish-immutable", 0x1d, "01 00 0161 03 00 0b 06 0264 3001 0e02 c03ff5 0101"),
    ("subscribe-namespace", 0x50, "04 01 03616363 00"),
    ("subscribe-tracks", 0x51, "04 01 03616363 01 1000"),
];

const DATA: &[(&str, u8, &str)] = &[
    ("subgroup", 2, "03 71 01812c 00 0310 84d2 0461626364 0000 0465666768 00000003"),
    ("subgroup-first", 2, "00 52 0107 80 05 0361 6263 02 00 00"),
    ("subgroup-given", 2, "07 1d 0107 8044 40 00 0b3c010b 0402 053e01 0161 00 00 0000"),
    ("fetch", 2, "02 0502 1c812c 0080 026162 01 026364 0d0000 026566 810c 812e0400"),
    (
        "fetch-descending",
        1,
        "04 0502 1f 09 0705 20 0161 2a 00 02 0207 0162 808c 020900 5c00 0040 0163",
    ),
    ("datagram", 0, "00 0c 01812c 61626364"),
    ("datagram-status", 0, "00 28 01812c 0503"),
    ("datagram-properties", 0, "00 03 0105 07 40 0410 84d2 3e 6162"),
    ("padding", 2, "01 f0132b3e28 000000"),
    ("control", 2, "00 af000000"),
];

const SESSION: &[(&str, u8, &[Step])] = &[
    (
        "server",
        0x9a,
        &[
            (2, 1, "03 000d 00 02 03616363 0363616d 0176 00"),
            (2, 1, "02 0002 02 00"),
            (15, 0, ""),
            (2, 2, "16 0005 04 02 00 01 00"),
            (2, 3, "50 0005 06 01 0161 00"),
            (2, 4, "51 0004 08 00 00"),
            (2, 5, "06 0005 0a 01 0162 00"),
            (2, 6, "0d 000d 0c 02 03616363 0363616d 0176 00"),
            (7, 6, ""),
            (9, 1, ""),
            (8, 5, ""),
        ],
    ),
    (
        "server-publish",
        0x4a,
        &[
            (11, 0, "30 05 01"),
            (13, 0, "0c 05 00 61"),
            (2, 1, "1d 0010 00 02 03616363 0363616d 0176 05 00 3001"),
            (11, 0, "30 05 02"),
            (2, 1, "10 0002 00 64"),
            (2, 1, "0b 0003 02 02 00"),
            (12, 1, ""),
            (12, 2, ""),
            (14, 60, ""),
        ],
    ),
    (
        "client",
        0x0b,
        &[
            (0x82, 0, "04 0004 05 01 0864"),
            (11, 0, "30 05 01"),
            (0x82, 1, "1e 0001 00"),
            (0x82, 1, "02 0004 01 01 1000"),
            (0x82, 2, "18 0004 00 0200 00"),
            (10, 4, ""),
            (12, 2, ""),
            (0x82, 3, "07 0001 00 08 0003 01 0178 0e 0003 01 0178"),
            (0x82, 4, "07 0001 00 0f 0004 01 0178 00"),
            (0x82, 5, "05 0003 05 02 00"),
            (0x82, 0, "0b 0003 00 01 00"),
            (0, 0, "10 0004 00 8064 06"),
        ],
    ),
    (
        "early",
        0x08,
        &[
            (2, 1, "03 000d 00 02 03616363 0363616d 0176 00"),
            (1, 0, "af00 000a 01012f 04 0161"),
            (1, 0, "af00 0006 01012f 04 0161"),
        ],
    ),
    (
        "goaway",
        0xfa,
        &[(2, 1, "03 000d 00 02 03616363 0363616d 0176 00"), (15, 0, ""), (14, 20, "")],
    ),
];

pub(crate) fn write(seeds: &Seeds) -> Result<()> {
    for draft in [DRAFT_18, moqt16::DRAFT, moqt20::DRAFT_20, moqt20::DRAFT_22] {
        let target = |what: &str| format!("moqt{}_{what}", draft.number);
        for (name, kind, body) in draft.control {
            seeds.add(&target("control"), name, *kind, &hex(body))?;
        }
        for (name, how, bytes) in draft.data {
            seeds.add(&target("data"), name, *how, &hex(bytes))?;
        }
        for (name, owner, steps) in draft.session {
            let mut data = Vec::new();
            for (what, stream, bytes) in *steps {
                let bytes = hex(bytes);
                data.extend([*what, *stream, bytes.len() as u8]);
                data.extend(bytes);
            }
            seeds.add(&target("session"), name, *owner, &data)?;
        }
    }
    Ok(())
}

/// The bytes of hexadecimal digits.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8))
        .collect()
}
