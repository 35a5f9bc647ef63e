//! FLV: the bodies of RTMP audio and video messages, and the framing of a file.
//!
//! Legacy tags (Adobe FLV 10.1, Annex E.4) of AVC and AAC are read. The enhanced tags of E-RTMP v2 are recognised by
//! their first byte and refused with the name of their codec, as are the old codecs.

mod body;
mod file;

pub use body::{
    Audio, AudioFormat, DeclaredMetadata, Error, Video, VideoFormat, audio, audio_frame,
    audio_header, video, video_frame, video_header,
};
pub use file::{FileError, Reader, Tag, TagKind, write_header, write_tag};
