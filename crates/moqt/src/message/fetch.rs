//! FETCH and FETCH_OK (draft-18 §10.12, §10.13; draft-16 §9.16, §9.17; draft-21 §9.11, §9.12).

use bytes::Bytes;

use super::{Message, TooLong, frame_about};
use crate::error::Violation;
use crate::filter::Filter;
use crate::location::Range;
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::{Fetch, FetchOk, JoiningStart, Request, RequestId};
use crate::version::{Past, Version};
use crate::wire::{Body, Writer};

const STANDALONE: u64 = 1;
const RELATIVE: u64 = 2;
const ABSOLUTE: u64 = 3;

pub(super) fn decode(version: Version, body: &mut Body) -> Result<Request, Violation> {
    if version.row().past == Past::Fill {
        return decode_filtered(version, body);
    }
    let fetch = match body.number()? {
        STANDALONE => {
            let track = body.track()?;
            let start = body.location()?;
            let end = body.location()?;
            Fetch::Standalone { track, range: Range::from_wire(start, end) }
        }
        joining @ (RELATIVE | ABSOLUTE) => {
            let subscription = RequestId(body.number()?);
            let group = body.number()?;
            let start = match joining {
                RELATIVE => JoiningStart::Relative(group),
                _ => JoiningStart::Absolute(group),
            };
            Fetch::Joining { subscription, start }
        }
        // draft-18 §10.12
        _ => return Err(Violation::protocol("a fetch of an unknown type")),
    };
    let parameters = Parameters::decode(version, Scope::Fetch, body)?;
    Ok(Request::Fetch { fetch, parameters })
}

/// draft-21 §9.11: the range is a parameter; without one it is everything.
fn decode_filtered(version: Version, body: &mut Body) -> Result<Request, Violation> {
    let track = body.track()?;
    let mut parameters = Parameters::decode(version, Scope::Fetch, body)?;
    let filter = parameters.filter.take().unwrap_or(Filter::All);
    let fetch = match filter.range() {
        Some(range) => Fetch::Standalone { track, range },
        None => Fetch::Filtered { track, filter },
    };
    Ok(Request::Fetch { fetch, parameters })
}

pub(super) fn encode(
    version: Version,
    fetch: &Fetch,
    parameters: &Parameters,
    out: &mut Writer<'_>,
) {
    match fetch {
        Fetch::Standalone { track, range } if version.row().past == Past::Fill => {
            out.track(track);
            let filter = Some(Filter::of_range(*range));
            return Parameters { filter, ..parameters.clone() }.encode(version, out);
        }
        Fetch::Filtered { track, filter } => {
            out.track(track);
            let filter = Some(*filter).filter(|filter| *filter != Filter::All);
            return Parameters { filter, ..parameters.clone() }.encode(version, out);
        }
        Fetch::Standalone { track, range } => {
            out.number(STANDALONE);
            out.track(track);
            out.location(range.start);
            out.location(Range::end_to_wire(range.end));
        }
        Fetch::Joining { subscription, start } => {
            let (kind, group) = match start {
                JoiningStart::Relative(groups) => (RELATIVE, *groups),
                JoiningStart::Absolute(group) => (ABSOLUTE, *group),
            };
            out.number(kind);
            out.number(subscription.0);
            out.number(group);
        }
    }
    parameters.encode(version, out);
}

impl FetchOk {
    pub(crate) fn decode(version: Version, mut body: Body) -> Result<FetchOk, Violation> {
        // draft-18 §10.13 defines 0 and 1, and says nothing of others: what is not 1 is not the end.
        let end_of_track = body.byte()? == 1;
        let end = body.location()?;
        let end = match version.row().past {
            Past::Fill => end,
            _ => Range::from_wire(end, end).end,
        };
        let parameters = Parameters::decode(version, Scope::FetchOk, &mut body)?;
        let properties = Properties::of_track(version, body)?;
        Ok(FetchOk { end_of_track, end, parameters, properties })
    }

    pub(crate) fn encode(&self, version: Version, id: RequestId) -> Result<Bytes, TooLong> {
        frame_about(version, Message::FetchOk, id, |out| {
            out.byte(u8::from(self.end_of_track));
            out.location(match version.row().past {
                Past::Fill => self.end,
                _ => Range::end_to_wire(self.end),
            });
            self.parameters.encode(version, out);
            out.properties(version, &self.properties);
        })
    }
}
