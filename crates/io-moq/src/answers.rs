//! What is said of a track to who asks for it.

use moqt::{Answer, Location, Parameters, Properties};
use spine::track;

use crate::play::location;

/// What an answer says of a track.
pub(crate) fn track_ok(track: &track::Consumer) -> Answer {
    answer_of(track, track.largest().map(location))
}

fn answer_of(track: &track::Consumer, largest: Option<Location>) -> Answer {
    Answer::Ok {
        parameters: Parameters { largest, ..Parameters::default() },
        properties: Properties::from_checked(track.info().properties.clone()),
    }
}

/// Answers that players of browsers do not read as the draft has them. Who follows live can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Misread {
    /// `@moq/net` (0.2, 0.3) looks for a length before LARGEST_OBJECT, as draft 16 has it, and ends what it asked for if
    /// there is none.
    Largest,
    /// shaka-player 5.2 does not step over the properties of a track, and is out of step with its control stream then.
    Properties,
}

impl Misread {
    /// By what a peer says of itself.
    pub(crate) fn by(implementation: &str) -> Option<Self> {
        match implementation {
            "moq-lite-js" => Some(Self::Largest),
            shaka if shaka.starts_with("ShakaPlayer/") => Some(Self::Properties),
            _ => None,
        }
    }
}

/// The answer to a subscription that begins behind this largest object.
pub(crate) fn subscribed(
    track: &track::Consumer,
    largest: Option<Location>,
    misread: Option<Misread>,
) -> Answer {
    match (answer_of(track, largest), misread) {
        (Answer::Ok { properties, .. }, Some(Misread::Largest)) => {
            Answer::Ok { parameters: Parameters::default(), properties }
        }
        (Answer::Ok { parameters, .. }, Some(Misread::Properties)) => {
            Answer::Ok { parameters, properties: Properties::empty() }
        }
        (answer, _) => answer,
    }
}
