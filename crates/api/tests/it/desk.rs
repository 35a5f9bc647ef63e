//! An API with its state in a folder of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use access::api_token::Wanted;
use access::permission::{Policy, Resources};
use access::{Access, ApiTokens, Sessions};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use control::conformance::{NOW, claim, commit_all};
use control::{
    Claim, ClaimMode, Control, End, InputSettings, InputUid, MasterKey, Secret, VideoUid,
};
use record::History;
use serde_json::{Value, json};
use store::Store;
use tempfile::TempDir;
use tower_service::Service;

pub(crate) const ROOT: &str = "aw_root";

pub(crate) struct Desk {
    pub(crate) api: api::Api,
    _folder: TempDir,
    made: AtomicU64,
}

/// A live input and a video of it.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) input: String,
    pub(crate) video: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn result(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()["result"].clone()
    }
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let key = MasterKey::new(&[7; 32]);
        let control = Arc::new(Control::open(&folder.path().join("control.db"), key).unwrap());
        let store = Arc::new(Store::open(&folder.path().join("media")).unwrap());
        let api = api::Api {
            access: Arc::new(Access::load(control.clone(), &[7; 32], None).await.unwrap()),
            history: Arc::new(History::new(control.clone(), store)),
            chat: Arc::new(chat::Rooms::new(control.clone())),
            tokens: Arc::new(ApiTokens::new(control.clone(), &Secret::new(ROOT))),
            sessions: Arc::new(Sessions::load(control.clone()).await.unwrap()),
            control,
            rates: Arc::default(),
            origin: spine::Origin::new(spine::Limits::default()),
            rtmp_port: Some(1935),
            rtmps_port: None,
            quic_port: Some(4443),
            space: Arc::default(),
            clip_video_max_s: 600,
            public_host: None,
            public_url: None,
            allow_plain: false,
            tls: false,
            random,
            health: Arc::new(|_| None),
            playback: Arc::new(|_| None),
            moq: Arc::new(|which| {
                let track = |uid: &str| json!({ "namespace": ["default", uid], "track": "video" });
                let session = |id: u64, uid: &str| json!({ "id": id, "tracks": [track(uid)] });
                match which {
                    api::MoqList::Sessions => vec![session(2, "b"), session(1, "a")],
                    api::MoqList::Tracks => vec![track("a"), track("b")],
                }
            }),
            dismiss: Arc::new(|_| Box::pin(async {})),
            pictures: Arc::new(|| true),
            levels: Arc::new(|_| None),
        };
        Self { api, _folder: folder, made: AtomicU64::new(1) }
    }

    /// The router anew: nobody has asked anything yet.
    pub(crate) fn router(&self) -> Router {
        api::router(api::Api { rates: Arc::default(), ..self.api.clone() })
    }

    /// The same, where all that is asked is asked in one moment.
    pub(crate) fn router_of_a_moment(&self) -> Router {
        let rates = Arc::new(api::Rates::by(|| NOW));
        api::router(api::Api { rates, ..self.api.clone() })
    }

    /// A live input, and a recording of it.
    pub(crate) async fn owned(&self) -> Owned {
        let n = self.made.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let (mut input, mut video) = ([1; 15], [2; 16]);
        input[..8].copy_from_slice(&n);
        video[..8].copy_from_slice(&n);
        let (input, video) = (InputUid::from_random(input), VideoUid::from_random(video));
        let mut keys = [0; control::KEY_RANDOM_BYTES];
        random(&mut keys);
        let control = &self.api.control;
        control.create_input(input.clone(), InputSettings::default(), keys, NOW).await.unwrap();
        let claim = claim(1, ClaimMode::IfFree, NOW);
        let claim = Claim { input: input.clone(), new_video: video.clone(), ..claim };
        let claimed = control.claim(claim).await.unwrap();
        let first = claimed.first_segment;
        commit_all(control, &claimed.owned, first..first + 1).await;
        control.release(&claimed.owned, End::Goodbye, NOW).await.unwrap();
        Owned { input: input.to_string(), video: video.to_string() }
    }

    /// A token with these scopes on that.
    pub(crate) async fn token(&self, scopes: &[&str], resources: Resources) -> (String, String) {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let policies = vec![Policy { allow: true, scopes, resources }];
        let wanted = Wanted { name: "test".to_owned(), policies, ..Wanted::default() };
        let mut bytes = [0; 40];
        random(&mut bytes);
        let (token, value) = self.api.tokens.create(wanted, bytes, NOW).await.unwrap();
        (token.id, value.expose().to_owned())
    }
}

pub(crate) fn only(owned: &Owned) -> Resources {
    Resources::Only { inputs: [owned.input.clone()].into(), videos: [].into() }
}

/// Never the same twice, and good enough for tests.
pub(crate) fn random(bytes: &mut [u8]) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    for chunk in bytes.chunks_mut(8) {
        let n = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&n.to_be_bytes()[..chunk.len()]);
    }
}

/// Asks from this machine.
pub(crate) async fn ask(
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    ask_from(peer, router, method, path, headers, body).await
}

pub(crate) async fn ask_from(
    peer: SocketAddr,
    router: &Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "here:8080");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request = request.header("content-length", body.len());
    let mut request = request.body(Body::from(body.to_owned())).unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.clone().call(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let text = String::from_utf8_lossy(&body).into_owned();
    Answer { status: head.status, headers: head.headers, text }
}

pub(crate) fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}
