//! What a request selects: filters that a draft can write, range filters that are allowed (draft-21 §3.3),
//! and the past that comes with a subscription (§3.4).

use std::collections::BTreeSet;

use super::Session;
use super::requests::{Kind, Refusal};
use crate::code::RequestCode;
use crate::filter::{InvalidFilter, RangeFilter};
use crate::location::GroupOrder;
use crate::name::TrackName;
use crate::parameters::{Parameters, Scope};
use crate::request::{Request, RequestId};

/// All range filters of a request, also those of its fill, which has its own.
fn range_filters(parameters: &Parameters) -> [&[RangeFilter]; 2] {
    let fill = parameters.fill.as_ref().map_or(&[][..], |fill| &fill.range_filters);
    [&parameters.range_filters, fill]
}

/// How many ranges these filters have (draft-21 §3.3.2).
fn count(filters: &[RangeFilter]) -> Result<u64, InvalidFilter> {
    let (mut seen, mut count) = (BTreeSet::new(), 0);
    for filter in filters {
        let Some(said) = filter.ranges()? else { continue };
        if !seen.insert((filter.of, said.set, said.property)) {
            return Err(InvalidFilter("a range filter twice in one set"));
        }
        count += said.ranges.len() as u64;
    }
    Ok(count)
}

impl Session {
    /// Whether the range filters of a request of the peer can be served (draft-21 §3.3.2, §9.1.6).
    pub(super) fn admit_filters(&self, parameters: &Parameters) -> Result<(), Refusal> {
        for filters in range_filters(parameters) {
            let refusal = match count(filters) {
                Ok(count) if count <= self.config.filter_ranges => continue,
                Ok(_) => "more ranges in filters than MAX_FILTER_RANGES",
                Err(InvalidFilter(what)) => what,
            };
            return Err((RequestCode::InvalidFilter, refusal));
        }
        Ok(())
    }

    /// Whether we may say this.
    pub(super) fn check_parameters(
        &self,
        parameters: &Parameters,
        scope: Scope,
    ) -> Result<(), &'static str> {
        if !parameters.fits(self.config.version, scope) {
            return Err("a parameter where it can't be, or that the draft can't write");
        }
        for filters in range_filters(parameters) {
            match count(filters) {
                Ok(count) if count <= self.peer_filter_ranges => {}
                Ok(_) => return Err("more ranges in filters than the peer takes"),
                Err(InvalidFilter(what)) => return Err(what),
            }
        }
        Ok(())
    }

    /// A track that the peer publishes comes with its past, if a SUBSCRIBE_TRACKS of ours said so: the stream bears the name
    /// of the PUBLISH (draft-21 §6.4.2.1), and may have come before it.
    pub(super) fn await_offered_fill(&mut self, id: RequestId, track: &TrackName) {
        if let Some(order) = self.requests.offered_fill(track) {
            self.await_fill(id, id, order);
            self.serve_waiting_fill(id);
        }
    }

    /// Notes the past that a SUBSCRIBE or an update of ours asks for (draft-21 §3.4.1).
    pub(super) fn await_fill(&mut self, subscription: RequestId, by: RequestId, order: GroupOrder) {
        let kind = self.requests.get(subscription).map(|entry| &entry.kind);
        if self.config.version.fills() && matches!(kind, Some(Kind::Receiving(_))) {
            self.routes.await_fill(by, subscription, order);
        }
    }
}

/// The order of a fill is always said: that of the track, which it would have without, may not be known when its
/// stream comes.
pub(super) fn order_fill(parameters: &mut Parameters) -> Option<GroupOrder> {
    let order = parameters.group_order.unwrap_or_default();
    parameters.fill.as_mut().map(|fill| *fill.group_order.get_or_insert(order))
}

/// The parameters of a SUBSCRIBE, which may bring its past, or of a SUBSCRIBE_TRACKS, whose subscriptions may.
pub(super) fn subscribing(request: &mut Request) -> Option<&mut Parameters> {
    match request {
        Request::Subscribe { parameters, .. } | Request::SubscribeTracks { parameters, .. } => {
            Some(parameters)
        }
        _ => None,
    }
}
