//! What is not read, by its name, and the line that converts it.

use media::mp4::Unsupported;

use super::SourceError;

/// An MP4 or QuickTime file by its first boxes.
pub(super) fn is_mp4(head: &[u8]) -> bool {
    let kind = head.get(4..8).unwrap_or_default();
    [&b"ftyp"[..], b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide"].contains(&kind)
}

fn container(head: &[u8]) -> &'static str {
    let at = |offset: usize| head.get(offset..).unwrap_or_default();
    match head {
        [] => "is empty",
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "is Matroska or WebM",
        [0x47, ..] => "is MPEG-TS, it seems",
        [0xff, b, ..] if b & 0xf6 == 0xf0 => "is raw AAC (ADTS)",
        _ if head.starts_with(b"OggS") => "is Ogg",
        _ if head.starts_with(b"RIFF") && at(8).starts_with(b"AVI") => "is AVI",
        _ if head.starts_with(b"RIFF") => "is WAV",
        _ if head.starts_with(b"ID3") => "is MP3",
        _ if head.starts_with(b"fLaC") => "is raw FLAC",
        _ if head.starts_with(&[0, 0, 1, 0xba]) => "is an MPEG program stream",
        _ if head.starts_with(&[0, 0, 0, 1]) || head.starts_with(&[0, 0, 1]) => {
            "is a raw video stream"
        }
        _ if head.starts_with(b"#EXTM3U") => "is a playlist",
        _ => "is neither MP4 nor FLV",
    }
}

/// Another container than those that are read.
pub(super) fn refuse(name: &str, head: &[u8]) -> SourceError {
    SourceError::Unusable {
        name: name.to_owned(),
        problem: format!("{}; MP4 and FLV are read.", container(head)),
        remedy: remedy(name, "-c copy"),
    }
}

/// A progressive file out of a pipe.
pub(super) fn not_fragmented(name: &str) -> SourceError {
    SourceError::Unusable {
        name: name.to_owned(),
        problem: "is an MP4 that is not fragmented, and can't be read as it comes.".to_owned(),
        remedy: remedy(name, "-c copy"),
    }
}

pub(super) fn no_tracks(name: &str) -> SourceError {
    SourceError::Unusable {
        name: name.to_owned(),
        problem: "has neither pictures nor sound.".to_owned(),
        remedy: remedy(name, "-c copy"),
    }
}

/// Pictures or sound of a codec that no protocol here carries. Other tracks (subtitles, time codes) are left out.
pub(super) fn refuse_tracks(name: &str, unsupported: &[Unsupported]) -> Option<SourceError> {
    let kind = |track: &Unsupported| match &track.handler {
        b"vide" => Some("video"),
        b"soun" => Some("sound"),
        _ => None,
    };
    let (track, kind) = unsupported.iter().find_map(|t| Some((t, kind(t)?)))?;
    let codec = codec(&track.entry);
    Some(SourceError::Unusable {
        name: name.to_owned(),
        problem: format!(
            "has {kind} in {codec}, which can't be sent: H.264, HEVC, AV1, VP9 or VP8 and AAC, Opus, AC-3, E-AC-3, \
             FLAC or MP3 can."
        ),
        remedy: match kind {
            "video" => remedy(name, "-c:v libx264 -pix_fmt yuv420p -g 60 -c:a aac"),
            _ => remedy(name, "-c:v copy -c:a aac"),
        },
    })
}

fn codec(entry: &str) -> String {
    let name = match entry {
        "apch" | "apcn" | "apcs" | "apco" | "ap4h" | "ap4x" => "ProRes",
        "mp4v" => "MPEG-4 Part 2",
        "jpeg" | "mjpa" | "mjpb" => "Motion JPEG",
        "vvc1" | "vvi1" => "VVC",
        "sowt" | "twos" | "lpcm" | "ipcm" | "fpcm" | "in24" | "in32" | "fl32" | "raw " => "PCM",
        "alac" => "ALAC",
        "dtsc" | "dtsh" | "dtsl" | "dtse" => "DTS",
        "samr" | "sawb" => "AMR",
        "encv" | "enca" => "an encrypted form",
        "mp4a" => "an MPEG-4 audio that is not AAC",
        other => return format!("codec {other}"),
    };
    name.to_owned()
}

fn remedy(name: &str, options: &str) -> String {
    let from = match name {
        "standard input" => "-",
        name => &format!("'{}'", name.replace('\'', "'\\''")),
    };
    format!(
        "Convert it on the way:\n  ffmpeg -i {from} {options} -f mp4 -movflags \
         frag_keyframe+empty_moov+default_base_moof - | airwave publish - --to URL"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_by_their_first_bytes() {
        for (head, expect) in [
            (&b"\x1a\x45\xdf\xa3\x01"[..], "Matroska"),
            (b"G@\x00\x10", "MPEG-TS"),
            (b"OggS\0", "Ogg"),
            (b"RIFF\x24\0\0\0AVI ", "AVI"),
            (b"RIFF\x24\0\0\0WAVE", "WAV"),
            (b"ID3\x04", "MP3"),
            (b"\xff\xf1\x50", "ADTS"),
            (b"\0\0\0\x01\x67", "raw video"),
            (b"hello", "neither MP4 nor FLV"),
            (b"", "empty"),
        ] {
            let text = refuse("it's.mkv", head).to_string();
            assert!(text.contains(expect), "{text}");
            assert!(text.contains("ffmpeg -i 'it'\\''s.mkv' -c copy -f mp4"), "{text}");
        }
        for head in [&b"\0\0\0\x20ftypisom"[..], b"\0\0\0\x08free", b"\0\0\0\x18stypmsdh"] {
            assert!(is_mp4(head));
        }
        assert!(!is_mp4(b"FLV\x01"));
    }

    #[test]
    fn codecs_are_named_and_other_tracks_left_out() {
        let track = |handler: &[u8; 4], entry: &str| Unsupported {
            handler: *handler,
            entry: entry.to_owned(),
        };
        assert!(refuse_tracks("a", &[track(b"text", "tx3g"), track(b"tmcd", "tmcd")]).is_none());
        let text = refuse_tracks("a", &[track(b"text", "tx3g"), track(b"vide", "apcn")]);
        let text = text.unwrap().to_string();
        assert!(text.contains("video in ProRes") && text.contains("-c:v libx264"), "{text}");
        let text = refuse_tracks("a", &[track(b"soun", "sowt")]).unwrap().to_string();
        assert!(text.contains("sound in PCM") && text.contains("-c:v copy -c:a aac"), "{text}");
    }
}
