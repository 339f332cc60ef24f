//! Which path leads where, through what? [`App`] is what a request can reach; [`router`] holds every route and layer.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method};
use axum::middleware::from_fn;
use axum::middleware::from_fn_with_state as with;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Serialize;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dev::DevTokens;
use crate::error::{Error, ErrorBody, Kind};
use crate::extract::Json;
use crate::layers::access::{self, Door};
use crate::layers::cors::CorsLayer;
use crate::layers::observe::observe;
use crate::layers::shed::{Shed, shed};
use crate::layers::{headers, panic};
use crate::lifecycle::Lifecycle;
use crate::limits::client_ip::Client;
use crate::openapi::Document;
use crate::page::PublicConfig;
use crate::page::assets::CdnProxy;
use crate::page::folder::{Folder, not_found};
use crate::sessions::http::{self as sessions, Desk};
use crate::telemetry::metrics::Metrics;

/// What a request can reach.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct App {
    /// Who may come in.
    pub door: Door,
    /// Sessions and limits.
    pub desk: Desk,
    /// How many may be in at once.
    pub shed: Shed,
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
    fn lifecycle(&self) -> &Lifecycle {
        &self.shed.lifecycle
    }

    fn metrics(&self) -> &Metrics {
        &self.shed.metrics
    }

    /// Brings the gauges up to date before a scrape.
    pub fn observe_gauges(&self) {
        self.door.authenticator.observe();
        self.desk.limits.sweep();
        self.metrics().set_registry_sessions(self.desk.sessions.registry.live());
    }
}

/// Every route, and every layer around them. The last layer added is the first that a request meets.
pub fn router(app: &Arc<App>) -> Router {
    let sessions = sessions::router(app.desk.clone())
        .layer(with(app.door.clone(), access::authenticate))
        .layer(from_fn(access::no_store));
    let (api, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(sessions)
        .merge(OpenApiRouter::new().routes(routes!(public_config)).with_state(Arc::clone(app)))
        .split_for_parts();
    let operations = OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz));
    let (operations, described) = operations.with_state(Arc::clone(app)).split_for_parts();
    document.merge(described);
    document.merge(AssetPaths::openapi());
    // One load of the widget is a burst of files, so they are not counted by address.
    let assets = Router::new().route("/api/chatkit/assets/{*path}", get(asset)).with_state(Arc::clone(app));
    let document = Bytes::from(document.to_json().unwrap_or_default());

    api.method_not_allowed_fallback(method_not_allowed)
        .layer(app.desk.limits.address().layer())
        .merge(assets)
        .merge(operations)
        .route("/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], document)))
        .merge(pages(app))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(with(app.door.clone(), access::identify))
        .layer(with(app.shed.clone(), shed))
        .layer(from_fn(headers::secure))
        .layer(CorsLayer::new(Arc::clone(&app.door.origins), app.credentials))
        .layer(panic::layer())
        .layer(with(app.metrics().clone(), observe))
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

async fn method_not_allowed() -> Error {
    Error::new(Kind::MethodNotAllowed, "This path does not answer that method; `Allow` lists those it does.")
}

/// What an embedding page needs to know: no secret and no workflow id.
#[utoipa::path(
    get,
    path = "/api/chatkit/config",
    tag = "page",
    responses((status = 200, body = PublicConfig), (status = "default", description = "An error", body = ErrorBody))
)]
async fn public_config(State(app): State<Arc<App>>) -> Json<PublicConfig> {
    Json(app.public_config.clone())
}

/// OpenAPI has no parameter of several segments, so the path is described by hand and routed by axum.
#[derive(OpenApi)]
#[openapi(paths(asset))]
struct AssetPaths;

/// chatkit.js and its files, when they are served from here.
#[utoipa::path(
    get,
    path = "/api/chatkit/assets/{path}",
    tag = "page",
    params(("path" = String, Path, description = "`chatkit.js`, or a file that it names")),
    responses((status = 200, description = "The file"), (status = "default", description = "An error", body = ErrorBody))
)]
async fn asset(
    State(app): State<Arc<App>>,
    Path(path): Path<String>,
    Extension(client): Extension<Client>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let cdn = app.cdn.as_ref().ok_or_else(not_found)?;
    let host = own_authority(&headers).ok_or_else(|| Error::invalid("`Host` must name this service."))?;
    let scheme = if client.https { "https" } else { "http" };
    cdn.answer(&method, &path, &headers, &format!("{scheme}://{host}")).await
}

/// The one `Host`, a name or an address with an optional port: nothing that could end a string in a script.
fn own_authority(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    host.to_str().ok().filter(|host| !host.is_empty() && host.bytes().all(fits))
}

/// 200 while the process runs.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, description = "The process runs")))]
async fn healthz() -> Json<Health> {
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
async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Health>, Error> {
    if app.lifecycle().is_draining() {
        return Err(Error::new(Kind::ShuttingDown, "The service is shutting down."));
    }
    match app.door.authenticator.not_ready() {
        Some(missing) => Err(Error::new(Kind::NotReady, missing)),
        None => Ok(Json(Health { status: "ready" })),
    }
}

/// How the service is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Health {
    /// `ok` or `ready`.
    status: &'static str,
}
