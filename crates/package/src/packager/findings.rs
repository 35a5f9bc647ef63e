//! What packaging misses, makes and leaves out.

/// What an encoder does that its owner should know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    /// Segments that had to begin without a key frame, because the last one was too long ago.
    pub segments_without_key_frame: u64,
    /// Frames left out, as they came when their place was taken: by what came before, by silence, by a picture that stands.
    pub frames_late: u64,
    /// Pictures left out, as no key frame had come that they could be decoded after.
    pub pictures_without_key_frame: u64,
    /// Frames left out, as they came before the picture that they could begin beside.
    pub frames_early: u64,
    /// Audio that went on without the video that should have cut it.
    pub cuts_not_waited_for: u64,
    /// Places where frames had left the cache before they were packaged.
    pub holes: u64,
    /// Frames of silence in the place of sound that did not come.
    pub silent_frames: u64,
    /// Key pictures shown again, each for a part at most, in the place of pictures that did not come.
    pub pictures_shown_again: u64,
}

impl Findings {
    /// Frames that came and were left out.
    pub fn frames_dropped(&self) -> u64 {
        self.frames_late + self.pictures_without_key_frame + self.frames_early
    }
}
