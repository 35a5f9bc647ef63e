//! What end-to-end tests use: the built program, encoders, a browser, a plain HTTP client, clips; nginx in front of
//! the program, and an audience behind it.
//!
//! Everything blocks, binds port 0 and stops what it started when it is dropped. A tool that is
//! missing is a failure with words, not a skip; `AIRWAVE_TEST_SKIP=name,...` switches tests off, and
//! what was switched off is written to the file that `AIRWAVE_SKIP_LOG` names.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "test code")]

mod audience;
mod authority;
mod browser;
mod captions;
mod child;
mod clip;
mod dns;
mod edge;
mod gateway;
mod hls;
mod http;
mod impair;
mod key_pictures;
mod media;
mod mount;
mod mpd;
mod multivariant;
mod port;
mod relay;
mod rules;
mod server;
mod wait;

pub use audience::{Seen, watch};
pub use authority::{Authority, listens, tool};
pub use browser::{
    Played, browser_script, change_devices, glass_to_glass, go_between, leaf_through, play,
    publish_from_page, published, read_captions, use_player, watch_while_shut,
    watch_with_stock_moq,
};
pub use child::Child;
pub use clip::{Clip, ClipSpec};
pub use edge::{Edge, NGINX_CONF};
pub use gateway::Gateway;
pub use hls::Follower;
pub use http::{Response, Url, request, try_request};
pub use impair::{Impaired, Path, Shape};
pub use key_pictures::{KeyPicture, check_key_pictures};
pub use media::{Packet, decode_errors, packets, packets_of};
pub use mount::{Mount, can_mount, make_image};
pub use mpd::check_mpd;
pub use multivariant::{Lists, check_multivariant};
pub use package::hls::{MediaPlaylist, PlaylistPart, PlaylistSegment};
pub use port::free_address;
pub use relay::Relay;
pub use rules::{Broken, check, check_codecs, check_hints, check_reports, check_versions};
pub use server::{Input, Server};
pub use wait::{skip, skipped, wait_until};
