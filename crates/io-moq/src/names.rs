//! Names and codes of the wire and of the spine.

use moqt::{DoneCode, Namespace, ResetCode, Version};
use spine::{Close, Path, TrackName};

/// A namespace as the path of a broadcast. Both have the same bounds.
pub(crate) fn path_of(namespace: &Namespace) -> Option<Path> {
    Path::new(namespace.fields().iter().cloned()).ok()
}

/// The path of a broadcast as a namespace; nothing, if a field is empty, which MoQ has not.
pub(crate) fn namespace_of(path: &Path) -> Option<Namespace> {
    Namespace::new(path.fields().iter().cloned()).ok()
}

/// A track's name on the spine.
pub(crate) fn name_of(track: &moqt::TrackName) -> Option<TrackName> {
    TrackName::new(track.name().clone()).ok()
}

/// Why a track is over, as PUBLISH_DONE says it to who reads it. A key that is changed, or an input that is taken away, is its
/// publisher's to know: no right of a reader has ended (draft-18 §15.10.3), and what he has seen may be there to be seen again.
pub(crate) fn done_code(why: Close) -> DoneCode {
    match why {
        Close::Ended
        | Close::SourceLost
        | Close::Replaced
        | Close::Evicted
        | Close::KeyChanged
        | Close::Disabled
        | Close::Deleted => DoneCode::TrackEnded,
        Close::TooFarBehind => DoneCode::TooFarBehind,
        Close::Malformed => DoneCode::MalformedTrack,
        Close::Expired => DoneCode::Expired,
        Close::GoingAway | Close::Shutdown => DoneCode::GoingAway,
        Close::Internal => DoneCode::InternalError,
    }
}

/// Why a stream of a subscription is reset. On the spine stand the numbers of the drafts from 17 on. What is gone from memory, or
/// was given up by its publisher, is DELIVERY_TIMEOUT: TOO_FAR_BEHIND would be the end of the subscription (draft-21 §12.5).
pub(crate) fn reset_code(version: Version, code: spine::ResetCode) -> u64 {
    let why = Version::Draft18.reset_code_of(code.0);
    let too_late = why == ResetCode::TooFarBehind;
    version.reset_code(if too_late { ResetCode::DeliveryTimeout } else { why })
}

/// The code of a stream that the peer reset, on the spine.
pub(crate) fn reset_of(version: Version, code: u64) -> spine::ResetCode {
    spine::ResetCode(Version::Draft18.reset_code(version.reset_code_of(code)))
}

/// CANCELLED and the like, on the spine.
pub(crate) fn reset(code: ResetCode) -> spine::ResetCode {
    spine::ResetCode(Version::Draft18.reset_code(code))
}
