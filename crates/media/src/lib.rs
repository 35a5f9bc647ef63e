//! Media as values: codec configurations, the sane clock, fMP4/CMAF, FLV and the catalog.
//!
//! Nothing here opens, waits, spawns or asks for the time. A driver hands in bytes and gets values back:
//!
//! ```text
//! flv::video(body) --> codec::h264::Stream::access_unit --> timeline::Timeline::push --> fmp4::fragment_header
//!                            |                                                             fmp4::init_segment
//!                            '--> codec::Config ------------------------------------------> catalog::Description
//! ```
//!
//! | document | sections done | where |
//! |---|---|---|
//! | ISO 14496-10 (H.264) | 7.3.1, 7.3.2.1 (SPS with VUI), 7.3.2.3 (SEI of recovery points and registered user data), head of 7.3.3, Annex B | [`codec::h264`] |
//! | ATSC A/53 part 4, SCTE 214-1 | 6.2.3 (cc_data in SEI); 7.2.1 (descriptors) | [`codec::captions`] |
//! | ISO 14496-15 | 5.3.3 (avcC) | [`codec::h264`] |
//! | ISO 14496-3 | 1.6.2.1, 1.6.6 (AudioSpecificConfig), 4.4.1.1 (PCE) | [`codec::aac`] |
//! | ISO 14496-12 | 4.3, 8.2 to 8.8, 12.1 | [`fmp4`], [`mp4`] |
//! | WebVTT (W3C) | 4.1 to 4.4: blocks and times; what cues say is passed on | [`webvtt`] |
//! | ISO 23000-19 (CMAF) | 7.3, 7.5 | [`fmp4`] |
//! | FLV 10.1, E-RTMP v2 | all packet types, multitrack, ModEx; codecs that are not carried are refused by name | [`flv`] |
//! | draft-ietf-moq-msf-01, cmsf-01 | full catalogs with `cmaf` and `loc` tracks; objects of `cmaf` tracks are read | [`catalog`], [`moq`] |
//! | CTA-5004 (CMCD), version 1 | `sid`, `bs`, `su`, `br`, `ot` in header fields, query and messages; of version 2 `msd` | [`cmcd`], [`playback`] |
//! | draft-ietf-moq-loc-04 | bare frames; TIMESTAMP, TIMESCALE, VIDEO_FRAME_MARKING, VIDEO_CONFIG, AUDIO_CONFIG | [`properties`], [`moq`] |

#![forbid(unsafe_code)]

pub mod admission;
pub mod catalog;
pub mod cmcd;
pub mod codec;
pub mod date;
pub mod flv;
pub mod fmp4;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
pub mod limits;
pub mod markup;
pub mod moq;
pub mod mp4;
pub mod playback;
pub mod properties;
mod publication;
mod read;
pub mod rung;
pub mod timeline;
pub mod trace;
mod unreadable;
pub mod webvtt;

pub use frames::{FrameEvent, Frames};
pub use publication::{Arrival, Counts, IngestError, Publication, Slot};
pub use unreadable::Unreadable;
