//! An encoder without a connection, for the fuzz targets in `fuzz/` and for tests.

use std::time::Instant;

use media::Publication;
use rtmp::Media;

use crate::publish::Live;

/// What takes the media messages of one encoder.
pub struct Encoder(Live);

impl Encoder {
    /// Publishes here.
    pub fn new(publication: Publication) -> Self {
        Self(Live::new(publication))
    }

    /// Takes one message; false if the encoder would be told to go.
    pub fn media(&mut self, media: &Media, now: Instant) -> bool {
        self.0.media(media, now).is_ok()
    }

    /// The publication again.
    pub fn into_publication(self) -> Publication {
        self.0.into_publication()
    }
}
