//! `GET /stream/live_inputs`: the newest first, in pages. `reference/cloudflare-api.md` §3.3.
//!
//! The vendor's list has no pages. Ours keeps its shape, `{liveInputs, range, total}`, and takes `limit` with `cursor` or
//! `page`, `search` and `live` besides; `result_info` says how to go on.

use std::task::{Context, Poll, Waker};

use access::Permission::InputsRead;
use access::Resource;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use control::{Input, InputUid, List, Page};
use serde_json::{Value, json};
use spine::{Announce, Path};

use crate::Api;
use crate::auth::Caller;
use crate::envelope::{ApiError, ok_beside};
use crate::inputs::summary;
use crate::limits::{LIST_INPUTS_MAX, PAGE_MAX};
use crate::number;
use crate::videos::decoded;

pub(crate) async fn inputs(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let wanted = Wanted::parse(&query.unwrap_or_default())?;
    let sees = |input: &Input| {
        let resource = Resource::Input(input.uid.as_str());
        caller.principal.may(InputsRead, resource)
    };
    let everything = caller.principal.may(InputsRead, Resource::Account);
    let sees = |input: &Input| everything || sees(input);
    let found = match (wanted.live, everything) {
        (true, _) => {
            let mut found = Found::default();
            let on_air = on_air(&api, wanted.oldest_first).await?;
            let on_air = on_air.into_iter().filter(|input| sees(input) && wanted.has(input));
            on_air.for_each(|input| found.take(&wanted, input));
            found.without(wanted.skipped())
        }
        (false, true) => {
            let list = wanted.list(&api, wanted.page()).await?;
            let next = list.next;
            Found { rows: list.rows, total: list.total, remaining: list.remaining, next }
        }
        (false, false) => wanted.among(&api, sees).await?,
    };
    let rows: Vec<Value> = found.rows.iter().map(summary).collect();
    let info = json!({
        "count": rows.len(),
        "page": wanted.cursor.is_none().then_some(wanted.page),
        "per_page": wanted.limit,
        "total_count": found.total,
        "total_pages": found.total.div_ceil(wanted.limit as u64),
        "cursor": found.next.map(|ordinal| ordinal.to_string()),
    });
    let result = json!({ "liveInputs": rows, "range": found.remaining, "total": found.total });
    Ok(ok_beside(&result, &[("result_info", info)]))
}

/// The live inputs of what is on the air: there are few of these, where there may be very many inputs.
async fn on_air(api: &Api, oldest_first: bool) -> Result<Vec<Input>, ApiError> {
    let mut inputs = Vec::new();
    for uid in broadcasts(api) {
        inputs.extend(api.control.input(&uid).await?);
    }
    inputs.sort_by_key(|input| input.ordinal);
    if !oldest_first {
        inputs.reverse();
    }
    Ok(inputs)
}

fn broadcasts(api: &Api) -> Vec<InputUid> {
    // invariant: one short field.
    let Ok(account) = Path::new(["default"]) else { return Vec::new() };
    let mut news = api.origin.announcements(account);
    let cx = Context::from_waker(Waker::noop());
    let mut uids = Vec::new();
    while let Poll::Ready(Announce::Live(broadcast)) = news.poll(&cx) {
        let uid = broadcast.path().fields().get(1).and_then(|uid| std::str::from_utf8(uid).ok());
        uids.extend(uid.and_then(|uid| InputUid::parse(uid).ok()));
    }
    uids
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    limit: usize,
    /// From 1.
    page: u64,
    /// Where the page before ended.
    cursor: Option<u64>,
    oldest_first: bool,
    /// Only those on the air, or waiting for their encoder to come back.
    live: bool,
    /// Part of the name, or where the id begins, in whatever case.
    search: Option<String>,
}

/// One page of it.
#[derive(Default)]
struct Found {
    rows: Vec<Input>,
    total: u64,
    remaining: u64,
    next: Option<u64>,
}

impl Wanted {
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        let (mut limit, mut page, mut cursor) = (LIST_INPUTS_MAX, None, None);
        let (mut oldest_first, mut live, mut search) = (false, false, None);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = decoded(value);
            match name {
                "limit" | "per_page" => {
                    limit = number::of_query(name, &value, LIST_INPUTS_MAX as u64)? as usize;
                }
                "page" => page = Some(number::of_query(name, &value, PAGE_MAX)?),
                "cursor" if value.is_empty() => cursor = None,
                "cursor" => {
                    let words = "must be the cursor of the page before, as result_info has it";
                    let at = value.parse().map_err(|_| ApiError::field(name, words))?;
                    cursor = Some(at);
                }
                "asc" => oldest_first = value == "true",
                "live" => live = value == "true",
                "search" => search = Some(value).filter(|text| !text.is_empty()),
                _ => {}
            }
        }
        if cursor.is_some() && page.is_some_and(|page| page > 1) {
            return Err(ApiError::field("page", "goes without a cursor: send one of them"));
        }
        Ok(Self { limit, page: page.unwrap_or(1), cursor, oldest_first, live, search })
    }

    fn skipped(&self) -> u64 {
        (self.page - 1).saturating_mul(self.limit as u64)
    }

    fn page(&self) -> Page {
        let (after, skip, newest_first) = (self.cursor, self.skipped(), !self.oldest_first);
        Page { after, skip, rows: self.limit, newest_first, counts: true }
    }

    async fn list(&self, api: &Api, page: Page) -> Result<List<Input>, ApiError> {
        Ok(match &self.search {
            Some(part) => api.control.find_inputs(part, page).await?,
            None => api.control.inputs(page).await?,
        })
    }

    /// Among all that there are: whoever may see some of them finds these also where there are many others, and how many
    /// others there are is nobody's business.
    async fn among(&self, api: &Api, sees: impl Fn(&Input) -> bool) -> Result<Found, ApiError> {
        let mut found = Found::default();
        let newest_first = !self.oldest_first;
        let mut page = Page { newest_first, counts: false, ..Page::default() };
        loop {
            let list = self.list(api, page).await?;
            list.rows.into_iter().filter(&sees).for_each(|input| found.take(self, input));
            match list.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        Ok(found.without(self.skipped()))
    }

    fn has(&self, input: &Input) -> bool {
        let Some(search) = &self.search else { return true };
        let name = input.settings.meta.get("name").and_then(Value::as_str).unwrap_or_default();
        let search = search.to_lowercase();
        name.to_lowercase().contains(&search) || input.uid.as_str().starts_with(&search)
    }
}

impl Found {
    /// What stands on pages before does not remain.
    fn without(self, skipped: u64) -> Self {
        Self { remaining: self.remaining.saturating_sub(skipped), ..self }
    }

    fn take(&mut self, wanted: &Wanted, input: Input) {
        self.total += 1;
        let at = input.ordinal;
        let before = |cursor| if wanted.oldest_first { at <= cursor } else { at >= cursor };
        if wanted.cursor.is_some_and(before) {
            return;
        }
        self.remaining += 1;
        if self.remaining <= wanted.skipped() {
            return;
        }
        match self.rows.len() < wanted.limit {
            true => self.rows.push(input),
            false => self.next = self.rows.last().map(|last| last.ordinal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let (cursor, search) = (None, None);
        let plain =
            Wanted { limit: 1_000, page: 1, cursor, oldest_first: false, live: false, search };
        let wanted = |query: &str| Wanted::parse(query).unwrap();
        assert_eq!(wanted("include_counts=true&cursor=&search="), plain);
        assert_eq!(wanted("limit=7.0&page=3").page().skip, 14);
        assert_eq!(wanted("per_page=7&cursor=12&page=1").page().after, Some(12));
        assert_eq!(wanted("search=Hall%201").search.as_deref(), Some("Hall 1"));
        assert!(!wanted("asc=true").page().newest_first);
        for wrong in [
            "limit=0",
            "limit=1001",
            "limit=",
            "limit=1.5",
            "limit=NaN",
            "page=0",
            "page=2e9",
            "cursor=x",
            "cursor=-1",
            "cursor=5&page=2",
        ] {
            assert!(Wanted::parse(wrong).is_err(), "{wrong}");
        }
    }
}
