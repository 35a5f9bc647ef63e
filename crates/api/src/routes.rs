//! Every route with who may use it. There is no route without a row: the router is made of this list, and so is the
//! table in `docs/security.md`.

use std::future::poll_fn;
use std::pin::Pin;

use access::table::Row;
use access::{Permission, Resource};
use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::{Router, routing};
use control::VideoUid;
use tokio::time::timeout;

use crate::audit::Change;
use crate::auth::Caller;
use crate::envelope::{ApiError, enveloped, no_such_route};
use crate::inputs::check_account;
use crate::limits::{BODY_BYTES_MAX, CAPTIONS_BODY_MAX, LINGER, LINGER_BYTES};
use crate::{
    Api, audit, auth, captions, chat, clips, downloads, embed, inputs, links, list, moq, session,
    signing, tokens, videos,
};

/// What a route is about: whoever asks must be allowed it *on that*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// The account as a whole.
    Account,
    /// The live input `{uid}`.
    Input,
    /// The video `{uid}`.
    Video,
    /// The video or the live input `{uid}`.
    Either,
    /// The video that the body names: the handler asks [`may_with_video`].
    Named,
    /// A list: the handler leaves out what the caller may not see.
    List,
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A token with this permission on that.
    Needs(Permission, Of),
    /// Any token: it is about itself.
    Itself,
    /// Everybody: it is about signing in.
    Everybody,
}

/// One route.
pub(crate) struct Route {
    method: &'static str,
    path: String,
    rule: Rule,
    handler: MethodRouter<Api>,
}

fn route<H, T>(method: &'static str, path: &str, rule: Rule, handler: H) -> Route
where
    H: Handler<T, Api>,
    T: 'static,
{
    let handler = match method {
        "GET" => routing::get(handler),
        "POST" => routing::post(handler),
        "PUT" => routing::put(handler),
        _ => routing::delete(handler),
    };
    Route { method, path: format!("/client/v4{path}"), rule, handler }
}

/// Add a route here, with the permission that it needs and what of. Then write the table anew
/// (`AIRWAVE_WRITE_SNAPSHOTS=1 cargo nextest run -p node authorisation`); the tests of `tests/it/authorisation.rs` try every row
/// with two owners by themselves.
#[rustfmt::skip]
fn routes() -> Vec<Route> {
    use Of::{Account, Either, Input, List, Named, Video};
    use Permission::{AuditRead, InputsRead, InputsWrite, KeysRead, KeysWrite, LinksWrite, TokensRead, TokensWrite, VideosRead,
        VideosWrite};
    let needs = |permission, of| Rule::Needs(permission, of);
    let large = DefaultBodyLimit::max(CAPTIONS_BODY_MAX);
    let mut routes = vec![
        route("GET", "/accounts/{account}/stream", needs(VideosRead, List), videos::list),
        route("POST", "/accounts/{account}/stream/clip", needs(VideosWrite, Named), clips::create),
        route("GET", "/accounts/{account}/stream/{uid}", needs(VideosRead, Video), videos::get),
        route("POST", "/accounts/{account}/stream/{uid}", needs(VideosWrite, Video), videos::edit),
        route("DELETE", "/accounts/{account}/stream/{uid}", needs(VideosWrite, Video), videos::delete),
        route("GET", "/accounts/{account}/stream/{uid}/embed", needs(VideosRead, Video), embed::html),
        route("GET", "/accounts/{account}/stream/{uid}/downloads", needs(VideosRead, Video), downloads::get),
        route("POST", "/accounts/{account}/stream/{uid}/downloads", needs(VideosWrite, Video), downloads::create),
        route("DELETE", "/accounts/{account}/stream/{uid}/downloads", needs(VideosWrite, Video), downloads::delete),
        route("GET", "/accounts/{account}/stream/{uid}/downloads/{kind}", needs(VideosRead, Video), downloads::get_one),
        route("POST", "/accounts/{account}/stream/{uid}/downloads/{kind}", needs(VideosWrite, Video), downloads::create_one),
        route("DELETE", "/accounts/{account}/stream/{uid}/downloads/{kind}", needs(VideosWrite, Video), downloads::delete_one),
        route("GET", "/accounts/{account}/stream/{uid}/captions", needs(VideosRead, Video), captions::list),
        route("GET", "/accounts/{account}/stream/{uid}/captions/{language}", needs(VideosRead, Video), captions::get),
        route("PUT", "/accounts/{account}/stream/{uid}/captions/{language}", needs(VideosWrite, Video), captions::put.layer(large)),
        route("DELETE", "/accounts/{account}/stream/{uid}/captions/{language}", needs(VideosWrite, Video), captions::delete),
        route("GET", "/accounts/{account}/stream/{uid}/captions/{language}/vtt", needs(VideosRead, Video), captions::file),
        route("GET", "/accounts/{account}/stream/{uid}/chat", needs(VideosRead, Either), chat::list),
        route("DELETE", "/accounts/{account}/stream/{uid}/chat", needs(VideosWrite, Either), chat::delete_all),
        route("DELETE", "/accounts/{account}/stream/{uid}/chat/{message}", needs(VideosWrite, Either), chat::delete_one),
        route("POST", "/accounts/{account}/stream/{uid}/token", needs(LinksWrite, Either), signing::token),
        route("GET", "/accounts/{account}/stream/{uid}/links", needs(LinksWrite, Either), links::list),
        route("POST", "/accounts/{account}/stream/{uid}/links", needs(LinksWrite, Either), links::create),
        route("DELETE", "/accounts/{account}/stream/{uid}/links/{id}", needs(LinksWrite, Either), links::delete),
        route("GET", "/accounts/{account}/stream/keys", needs(KeysRead, Account), signing::keys),
        route("POST", "/accounts/{account}/stream/keys", needs(KeysWrite, Account), signing::create_key),
        route("DELETE", "/accounts/{account}/stream/keys/{id}", needs(KeysWrite, Account), signing::delete_key),
        route("GET", "/accounts/{account}/stream/live_inputs", needs(InputsRead, List), list::inputs),
        route("POST", "/accounts/{account}/stream/live_inputs", needs(InputsWrite, Account), inputs::create),
        route("GET", "/accounts/{account}/stream/live_inputs/{uid}", needs(InputsRead, Input), inputs::get),
        route("PUT", "/accounts/{account}/stream/live_inputs/{uid}", needs(InputsWrite, Input), inputs::update),
        route("DELETE", "/accounts/{account}/stream/live_inputs/{uid}", needs(InputsWrite, Input), inputs::delete),
        route("POST", "/accounts/{account}/stream/live_inputs/{uid}/rotate_keys", needs(InputsWrite, Input), inputs::rotate_keys),
        route("GET", "/accounts/{account}/stream/live_inputs/{uid}/videos", needs(VideosRead, Input), videos::of_input),
        route("GET", "/accounts/{account}/moq/sessions", needs(InputsRead, Account), moq::sessions),
        route("GET", "/accounts/{account}/moq/tracks", needs(InputsRead, Account), moq::tracks),
        route("GET", "/accounts/{account}/audit_logs", needs(AuditRead, Account), audit::list),
        route("POST", "/session", Rule::Everybody, session::sign_in),
        route("GET", "/session", Rule::Everybody, session::current),
        route("DELETE", "/session", Rule::Itself, session::sign_out),
    ];
    // The vendor has these twice: of a user, and of an account.
    for of in ["/user", "/accounts/{account}"] {
        let at = |rest: &str| format!("{of}/tokens{rest}");
        routes.extend([
            route("GET", &at(""), needs(TokensRead, Account), tokens::list),
            route("POST", &at(""), needs(TokensWrite, Account), tokens::create),
            route("GET", &at("/verify"), Rule::Itself, tokens::verify),
            route("GET", &at("/permission_groups"), needs(TokensRead, Account), tokens::scopes),
            route("GET", &at("/{id}"), needs(TokensRead, Account), tokens::get),
            route("PUT", &at("/{id}"), needs(TokensWrite, Account), tokens::update),
            route("DELETE", &at("/{id}"), needs(TokensWrite, Account), tokens::delete),
            route("PUT", &at("/{id}/value"), needs(TokensWrite, Account), tokens::roll),
        ]);
    }
    routes
}

/// The router of the list, each route behind its rule; what is not in it needs a token too.
pub(crate) fn router(api: &Api) -> Router<Api> {
    let known = || from_fn_with_state(api.clone(), auth::identify);
    let nothing = ["/client/v4", "/client/v4/", "/client/v4/{*rest}"];
    let nothing = nothing.into_iter().fold(Router::new(), |router, path| {
        router.route(path, routing::any(no_such_route).layer(known()))
    });
    let router = routes().into_iter().fold(nothing, |router, route| {
        let Route { method, path, rule, handler } = route;
        let handler = handler.route_layer(from_fn_with_state(body_max(&path), bounded));
        let handler = match rule {
            Rule::Everybody => handler,
            _ => {
                let behind = Behind { api: api.clone(), method, path: path.clone(), rule };
                handler.route_layer(from_fn_with_state(behind, authorise)).route_layer(known())
            }
        };
        router.route(&path, handler)
    });
    // Not `layer`: that one would guard the fallback of the router that this one is merged into.
    router.route_layer(from_fn_with_state(api.clone(), auth::admit)).route_layer(from_fn(enveloped))
}

/// How long the body of a request may be.
fn body_max(path: &str) -> usize {
    if path.ends_with("/captions/{language}") { CAPTIONS_BODY_MAX } else { BODY_BYTES_MAX }
}

/// A body that says it is too long is not waited for. What is on its way is read nevertheless, a little of it: who is cut off while
/// he sends may never see the answer (RFC 9112 §9.6).
async fn bounded(State(most): State<usize>, request: Request, next: Next) -> Response {
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > most as u64) {
        let _ = timeout(LINGER, read_past(request.into_body())).await;
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    next.run(request).await
}

async fn read_past(mut body: Body) {
    let mut read = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
        && read < LINGER_BYTES
    {
        read += frame.data_ref().map_or(0, bytes::Bytes::len);
    }
}

/// The rows of the authorisation table.
pub fn table() -> Vec<Row> {
    let row = |route: Route| {
        let (who, of) = match route.rule {
            Rule::Needs(permission, of) => (permission.name(), of.name()),
            Rule::Itself => ("any API token or session", "itself"),
            Rule::Everybody => ("everybody", "signing in"),
        };
        Row { method: route.method, path: route.path, who, of }
    };
    routes().into_iter().map(row).collect()
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Self::Account => "the account",
            Self::Input => "the live input",
            Self::Video => "the video",
            Self::Either => "the video or live input",
            Self::Named => "the video that it names",
            Self::List => "each of the list",
        }
    }
}

/// A route, as its guard knows it.
#[derive(Clone)]
struct Behind {
    api: Api,
    method: &'static str,
    path: String,
    rule: Rule,
}

/// Lets a caller pass who is allowed to, and writes down what was changed. What belongs to others is not there: 404, in
/// the very words of what is not there.
async fn authorise(
    State(behind): State<Behind>,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    let param = |name| params.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return ApiError::unauthorized("who asks is not known").into_response();
    };
    let Behind { api, method, path, rule } = behind;
    let uid = param("uid").unwrap_or_default();
    let resource = match param("message") {
        // Its number says nothing by itself.
        Some(message) => format!("{uid}/{message}"),
        None => param("id").unwrap_or(uid).to_owned(),
    };
    let (change, request) = match Change::begin(&caller, method, &path, &resource, request).await {
        Ok(begun) => begun,
        Err(error) => return error.into_response(),
    };
    let checked = match param("account").map_or(Ok(()), check_account) {
        Ok(()) => may(&api, &caller, rule, param("uid").unwrap_or_default()).await,
        Err(error) => Err(error),
    };
    let answer = async move {
        match checked {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    let Some(change) = change else { return answer.await };
    // In a task of its own: who asked may have gone away, and what is changed is told and written down nevertheless.
    let changing = tokio::spawn(async move {
        let response = answer.await;
        change.ended(&response).write(&api).await;
        response
    });
    changing.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a change has failed");
        ApiError::internal("the change could not be made").into_response()
    })
}

async fn may(api: &Api, caller: &Caller, rule: Rule, uid: &str) -> Result<(), ApiError> {
    let Rule::Needs(permission, of) = rule else { return Ok(()) };
    let decide = |resource, missing: &str| decide(caller, permission, resource, missing);
    let video = async || match VideoUid::parse(uid) {
        Ok(parsed) => Ok(api.control.video(&parsed).await?),
        Err(_) => Ok::<_, ApiError>(None),
    };
    match of {
        Of::Account => decide(Resource::Account, ""),
        Of::List | Of::Named if caller.principal.may_somewhere(permission) => Ok(()),
        Of::List | Of::Named => Err(ApiError::lacks(permission)),
        Of::Input => decide(Resource::Input(uid), inputs::MISSING),
        Of::Video => may_with_video(api, caller, permission, uid).await,
        Of::Either => match video().await? {
            Some(video) => {
                decide(Resource::Video { uid, input: video.input.as_str() }, signing::MISSING)
            }
            None => decide(Resource::Input(uid), signing::MISSING),
        },
    }
}

/// What somebody else has is answered as if it were not there.
fn decide(
    caller: &Caller,
    permission: Permission,
    resource: Resource<'_>,
    missing: &str,
) -> Result<(), ApiError> {
    let allowed = caller.principal.may(permission, resource);
    match resource == Resource::Account || caller.principal.knows(resource) {
        _ if allowed => Ok(()),
        true => Err(ApiError::lacks(permission)),
        false => Err(ApiError::not_found(missing)),
    }
}

/// Whether this caller may do something with this video.
pub(crate) async fn may_with_video(
    api: &Api,
    caller: &Caller,
    permission: Permission,
    uid: &str,
) -> Result<(), ApiError> {
    let missing = || ApiError::not_found(videos::MISSING);
    let parsed = VideoUid::parse(uid).map_err(|_| missing())?;
    let video = api.control.video(&parsed).await?.ok_or_else(missing)?;
    let resource = Resource::Video { uid, input: video.input.as_str() };
    decide(caller, permission, resource, videos::MISSING)
}
