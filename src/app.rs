//! Which path leads where, through what? [`App`] is what a request can reach, [`Front`] is every
//! layer around the routes, and `routes` is every route.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Version};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::OnceCell;
use tower::{Layer, Service, ServiceExt};
use tracing::Instrument;
use utoipa::OpenApi;

use crate::chatkit::http::{self as chatkit, ChatDesk};
use crate::chatkit::links::Base;
use crate::config::origins::is_local;
use crate::dev::DevTokens;
use crate::error::{Error, ErrorBody, Kind};
use crate::extract::Json;
use crate::layers::cors::{ATTACHMENTS, Cors};
use crate::layers::observe::Observed;
use crate::layers::shed::Shed;
use crate::layers::{headers, panic};
use crate::limits::address::AddressService;
use crate::limits::client_ip::Client;
use crate::openapi::{self, FileLimits};
use crate::page::PublicConfig;
use crate::page::assets::{self, CdnProxy};
use crate::page::folder::{Folder, not_found};
use crate::readiness::Readiness;
use crate::sessions::http::{self as sessions, Desk};
use crate::telemetry::metrics::Metrics;

/// What a request can reach.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct App {
    /// Sessions, limits, and who may come in.
    pub desk: Arc<Desk>,
    /// The chat, in self-hosted mode.
    pub chat: Option<Arc<ChatDesk>>,
    /// Whether the service can serve.
    pub readiness: Readiness,
    /// How many may be in at once.
    pub shed: Shed,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether a cookie can authenticate, and so whether browsers may send one from another origin.
    pub credentials: bool,
    /// What an embedding page needs to know.
    pub public_config: PublicConfig,
    /// The built-in page, if it is served.
    pub page: Option<Router>,
    /// The operator's folder, if one is served.
    pub folder: Option<Folder>,
    /// The way to the CDN, if chatkit.js is served from here.
    pub cdn: Option<CdnProxy>,
    /// Who signs anybody in, under `dev` alone.
    pub dev: Option<DevTokens>,
}

impl App {
    /// Brings the gauges up to date before a scrape.
    pub fn observe_gauges(&self) {
        self.desk.door.authenticator.observe();
        self.desk.limits.sweep();
        self.metrics.set_registry_sessions(self.desk.sessions.mint.remembered());
        self.metrics.set_in_flight(self.shed.lifecycle.requests().len());
    }
}

/// The whole service, as a function from requests to answers. The methods below, read from the top,
/// are the layers in the order in which a request meets them.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct Front {
    app: Arc<App>,
    cors: Arc<Cors<Inside>>,
}

impl Front {
    /// The service around the routes of an app.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        let routes = routes(&app);
        let counted = app.desk.limits.address().layer().layer(routes.clone());
        let inside = Inside(Arc::new(Rooms { app: Arc::clone(&app), counted, routes }));
        let cors = Cors::new(Arc::clone(&app.desk.door.origins), app.credentials, inside);
        Self { app, cors: Arc::new(cors) }
    }

    /// Outermost: the request's id, its log line, the body of an error. Then CORS.
    pub async fn answer(self, mut request: Request) -> Response {
        let observed = Observed::begin(&mut request, &self.app.metrics);
        let span = observed.span();
        let response = self.cors.answer(request).instrument(span).await;
        observed.end(response)
    }
}

/// What lies behind CORS.
#[derive(Clone)]
struct Inside(Arc<Rooms>);

struct Rooms {
    app: Arc<App>,
    counted: AddressService<Router>,
    routes: Router,
}

impl Rooms {
    /// Then security headers, load shedding, and panics.
    async fn answer(&self, request: Request) -> Response {
        let uri = request.uri().clone();
        let mut response = match self.app.shed.admit(uri.path()) {
            Ok(place) => place.hold(panic::caught(self.admitted(uri.path(), request)).await),
            Err(refusal) => refusal.into_response(),
        };
        headers::secure(uri.path(), response.headers_mut());
        response
    }

    /// Then the client's address, and the limit by address: on the API alone, the chat included,
    /// for whoever needs no token is another user each time. Not on the files of the widget,
    /// because one load of a page is a burst of them; for the same reason those of messages are
    /// counted where it turns out that whoever asks has neither a good link nor a name.
    async fn admitted(&self, path: &str, mut request: Request) -> Response {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        if !has_one_host(&request) {
            return Error::invalid("A request must name its `Host`, and only one.").into_response();
        }
        if self.app.dev.as_ref().is_some_and(|dev| dev.is_local_only)
            && !is_for_this_machine(&request)
        {
            let message = "`dev` answers under localhost, 127.0.0.1 and [::1] alone: use one of \
                           these in the address.";
            return Error::new(Kind::MisdirectedRequest, message).into_response();
        }
        if has_other_coding(&request) {
            let message =
                "A body must come as it is, or `chunked`: no other `Transfer-Encoding` is read.";
            return Error::invalid(message).into_response();
        }
        self.app.desk.door.identify(peer, &mut request);
        let is_asset = path.starts_with(assets::PREFIX);
        let is_api = path == chatkit::PATH || path.starts_with("/api/chatkit/");
        let is_counted = is_api && !is_asset && !self.is_download(path, request.method());
        let Ok(response) = if is_counted {
            self.counted.clone().oneshot(request).await
        } else {
            self.routes.clone().oneshot(request).await
        };
        response
    }

    /// Whether the handler of attachments answers this, which counts strangers itself.
    fn is_download(&self, path: &str, method: &Method) -> bool {
        let id = path.strip_prefix(ATTACHMENTS);
        let is_one = id.is_some_and(|id| !id.is_empty() && !id.contains('/'));
        is_one && self.app.chat.is_some() && matches!(*method, Method::GET | Method::HEAD)
    }
}

/// RFC 9112 section 6.1: of transfer codings only `chunked` is known here.
fn has_other_coding(request: &Request) -> bool {
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// RFC 9112 section 3.2: a request of HTTP/1.1 has exactly one `Host`.
fn has_one_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    hosts.next().is_some_and(|_| hosts.next().is_none()) || request.version() != Version::HTTP_11
}

/// Whether the request was sent to a name that leads to this machine from everywhere. A name of
/// anybody else's may lead here too.
fn is_for_this_machine(request: &Request) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(Authority::as_str);
    host.is_some_and(is_local) && authority.is_none_or(is_local)
}

impl Service<Request> for Inside {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let rooms = Arc::clone(&self.0);
        Box::pin(async move { Ok(rooms.answer(request).await) })
    }
}

/// Every route.
fn routes(app: &Arc<App>) -> Router {
    let chat = match &app.chat {
        Some(chat) => chatkit::router(Arc::clone(chat)),
        None => Router::new().route(chatkit::PATH, any(no_chat_here)),
    };
    let mut own = Router::new()
        .route("/api/chatkit/config", get(public_config))
        .route("/api/chatkit/assets/{*path}", get(asset))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/openapi.json", get(openapi_json).layer(Extension(Document::default())));
    if app.cdn.is_some() {
        own = own.route("/assets/ck1/{*path}", get(root_asset));
    }
    sessions::router(Arc::clone(&app.desk))
        .merge(chat)
        .merge(own.with_state(Arc::clone(app)))
        .merge(pages(app))
        .method_not_allowed_fallback(method_not_allowed)
}

/// The page at `/`, the folder in its place, or nothing; and whatever else no route knows.
fn pages(app: &Arc<App>) -> Router {
    let router = match (&app.page, &app.folder) {
        (Some(page), _) => page.clone().fallback(async || not_found()),
        (None, Some(folder)) => {
            let folder = folder.clone();
            Router::new().fallback(async move |request: Request| folder.answer(request).await)
        }
        (None, None) => Router::new().fallback(async || not_found()),
    };
    match &app.dev {
        Some(dev) => router.route("/dev/token", post(crate::dev::token).with_state(dev.clone())),
        None => router,
    }
}

/// The answer where a path is known and its method is not.
pub(crate) async fn method_not_allowed() -> Error {
    Error::new(
        Kind::MethodNotAllowed,
        "This path does not answer that method; `Allow` lists those it does.",
    )
}

/// Where a page is set up for the other mode.
async fn no_chat_here() -> Error {
    let message = "In hosted mode the chat is at OpenAI: give the page `getClientSecret` in place \
                   of `url`, or set CHATKIT_MODE=self-hosted here.";
    Error::new(Kind::NotFound, message)
}

/// What an embedding page needs to know: no secret and no workflow id.
#[utoipa::path(
    get,
    path = "/api/chatkit/config",
    tag = "page",
    responses((status = 200, description = "The configuration", body = PublicConfig), (status = 429, description = "`rate_limited`: wait for `Retry-After` seconds", body = ErrorBody))
)]
async fn public_config(State(app): State<Arc<App>>) -> Json<PublicConfig> {
    Json(app.public_config.clone())
}

/// The paths of this file, as the OpenAPI document describes them.
#[derive(OpenApi)]
#[openapi(paths(public_config, asset, openapi_json, healthz, readyz))]
struct Paths;

/// The OpenAPI document as JSON. It is written when it is first asked for, because the schemas take
/// some 7 MB while it is written.
#[derive(Clone, Default)]
struct Document(Arc<OnceCell<Bytes>>);

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operations", responses((status = 200, description = "OpenAPI 3.1")))]
async fn openapi_json(
    State(app): State<Arc<App>>,
    Extension(Document(document)): Extension<Document>,
) -> Result<Response, Error> {
    let write = async || tokio::task::spawn_blocking(move || describe(&app)).await.map(Bytes::from);
    let document = document.get_or_try_init(write).await.map_err(Error::internal)?;
    Ok(([(CONTENT_TYPE, "application/json")], document.clone()).into_response())
}

/// The OpenAPI document of the routes that this app has.
fn describe(app: &App) -> String {
    let mut document = openapi::Document::openapi();
    document.merge(sessions::Paths::openapi());
    document.merge(Paths::openapi());
    let files = app.chat.as_ref().map(|desk| {
        document.merge(chatkit::Paths::openapi());
        let uploads = &desk.chat.uploads;
        FileLimits { bytes: uploads.config.max_bytes, count: uploads.files_of_a_message() }
    });
    openapi::to_json(&document, files)
}

/// chatkit.js and its files, when they are served from here.
#[utoipa::path(
    get,
    path = "/api/chatkit/assets/{path}",
    tag = "page",
    params(("path" = String, Path, description = "`chatkit.js`, or a file that it names")),
    responses(
        (status = 200, description = "The file"),
        (status = 404, description = "`not_found`: there is no such file, or none is served from \
                                      here", body = ErrorBody),
        (status = 502, description = "`upstream_invalid_response`: the CDN's answer is no \
                                      file", body = ErrorBody),
        (status = 503, description = "`upstream_unavailable`, `overloaded` or \
                                      `shutting_down`", body = ErrorBody),
        (status = 504, description = "`upstream_timeout`: the CDN took too long", body = ErrorBody)
    )
)]
async fn asset(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    Extension(client): Extension<Client>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let Path(path) = path.map_err(|_| not_found())?;
    let cdn = app.cdn.as_ref().ok_or_else(not_found)?;
    let base = Base::of(client, &headers)?;
    cdn.answer(&method, &path, &headers, &base.to_string()).await
}

/// The same for what the widget names by its address at the CDN's root: its bundler makes these
/// addresses as it runs.
async fn root_asset(
    state: State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    client: Extension<Client>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let path = path.map(|Path(path)| Path(format!("ck1/{path}")));
    asset(state, path, client, method, headers).await
}

/// 200 while the process runs.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, description = "The process runs", body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// 200 when the service can serve, else 503 with what is missing.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses(
        (status = 200, description = "Ready", body = Health),
        (status = 503, description = "What is missing", body = ErrorBody)
    )
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Health>, Error> {
    app.readiness.check().await?;
    Ok(Json(Health { status: "ready" }))
}

/// How the service is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Health {
    /// `ok` or `ready`.
    status: &'static str,
}
