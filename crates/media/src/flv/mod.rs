//! FLV: the bodies of RTMP audio and video messages, and the framing of a file.
//!
//! Legacy tags (Adobe FLV 10.1, Annex E.4) of AVC, AAC and MP3, and the enhanced tags of E-RTMP v2 with all their packet
//! types, several tracks of one message included. What is parsed never depends on what was negotiated: encoders send
//! FourCC tags that they did not announce. Other codecs are refused by name.

mod body;
mod enhanced;
mod file;
mod write;

pub use crate::codec::{AudioFormat, VideoFormat};
pub use body::{Audio, Codec, Error, Message, Video, audio, video};
pub use file::{FileError, Reader, Tag, TagKind, write_header, write_tag};
pub use write::{
    audio_four_cc, audio_frame, audio_header, record, video_four_cc, video_frame, video_header,
};
