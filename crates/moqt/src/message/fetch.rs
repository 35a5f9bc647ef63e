//! FETCH (draft-18 §10.12) and FETCH_OK (§10.13).

use bytes::{BufMut, Bytes, BytesMut};

use super::{TooLong, frame, kind};
use crate::error::Violation;
use crate::location::Range;
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::{Fetch, FetchOk, JoiningStart, Request, RequestId};
use crate::varint;
use crate::version::Version;
use crate::wire::{Body, put_location, put_track};

const STANDALONE: u64 = 1;
const RELATIVE: u64 = 2;
const ABSOLUTE: u64 = 3;

pub(super) fn decode(version: Version, body: &mut Body) -> Result<Request, Violation> {
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

pub(super) fn encode(version: Version, fetch: &Fetch, parameters: &Parameters, out: &mut BytesMut) {
    match fetch {
        Fetch::Standalone { track, range } => {
            varint::write(STANDALONE, out);
            put_track(track, out);
            put_location(range.start, out);
            put_location(Range::end_to_wire(range.end), out);
        }
        Fetch::Joining { subscription, start } => {
            let (kind, group) = match start {
                JoiningStart::Relative(groups) => (RELATIVE, *groups),
                JoiningStart::Absolute(group) => (ABSOLUTE, *group),
            };
            varint::write(kind, out);
            varint::write(subscription.0, out);
            varint::write(group, out);
        }
    }
    parameters.encode(version, out);
}

impl FetchOk {
    pub(crate) fn decode(version: Version, mut body: Body) -> Result<FetchOk, Violation> {
        // draft-18 §10.13 defines 0 and 1, and says nothing of others: what is not 1 is not the end.
        let end_of_track = body.byte()? == 1;
        let end = body.location()?;
        let end = Range::from_wire(end, end).end;
        let parameters = Parameters::decode(version, Scope::FetchOk, &mut body)?;
        let properties = Properties::of_track(body.rest())?;
        Ok(FetchOk { end_of_track, end, parameters, properties })
    }

    pub(crate) fn encode(&self, version: Version) -> Result<Bytes, TooLong> {
        frame(kind::FETCH_OK, |out| {
            out.put_u8(u8::from(self.end_of_track));
            put_location(Range::end_to_wire(self.end), out);
            self.parameters.encode(version, out);
            out.put_slice(self.properties.as_bytes());
        })
    }
}
