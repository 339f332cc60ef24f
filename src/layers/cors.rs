//! Which browsers may read our answers? For a listed origin tower-http's CORS layer answers
//! preflights and adds the headers; a request from any other origin passes without them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, RETRY_AFTER, VARY};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use tower::{Layer, Service, ServiceExt};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::config::origins::OriginList;

/// Where the widget itself runs. It loads what it shows of a conversation by links, and those may
/// come from any site.
const WIDGET: &str = "https://cdn.platform.openai.com";

/// Where those links lead.
pub const ATTACHMENTS: &str = "/api/chatkit/attachments/";

/// A service, and the same service for pages that may read its answers.
#[derive(Debug)]
pub struct Cors<S> {
    origins: Arc<OriginList>,
    listed: tower_http::cors::Cors<S>,
    widget: tower_http::cors::Cors<S>,
    unlisted: S,
}

impl<S> Cors<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    /// `credentials` says whether a cookie can authenticate, and so whether browsers may send one.
    #[must_use]
    pub fn new(origins: Arc<OriginList>, credentials: bool, inner: S) -> Self {
        let exposed = ["x-request-id", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];
        let exposed = exposed.into_iter().map(HeaderName::from_static).chain([RETRY_AFTER]);
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::mirror_request())
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed.collect::<Vec<_>>())
            .max_age(Duration::from_secs(24 * 60 * 60))
            .vary([]);
        // A link needs no cookie.
        let widget = layer.clone().layer(inner.clone());
        let listed = layer.allow_credentials(credentials).layer(inner.clone());
        Self { origins, listed, widget, unlisted: inner }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request) -> Response {
        let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let listed = origin.is_some_and(|origin| self.origins.allows(origin));
        let widget = origin == Some(WIDGET) && request.uri().path().starts_with(ATTACHMENTS);
        // tower-http takes every OPTIONS for a preflight; only one that names a method is.
        let preflight = request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let asks = request.method() != Method::OPTIONS || preflight;
        let answer = if listed && asks {
            self.listed.clone().oneshot(request).await
        } else if widget && asks {
            self.widget.clone().oneshot(request).await
        } else {
            self.unlisted.clone().oneshot(request).await
        };
        let Ok(mut response) = answer;
        response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
        response
    }
}
