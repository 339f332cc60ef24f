//! Which browsers may read our answers? For a listed origin tower-http's CORS layer answers preflights and adds the
//! headers; a request from any other origin passes without them.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, RETRY_AFTER, VARY};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use futures_util::future::{BoxFuture, Either};
use tower::{Layer, Service};
use tower_http::cors::{AllowHeaders, AllowOrigin, Cors as TowerCors, CorsLayer as TowerCorsLayer};

use crate::config::origins::OriginList;

/// The layer for one list of origins.
#[derive(Debug, Clone)]
pub struct CorsLayer {
    origins: Arc<OriginList>,
    tower: TowerCorsLayer,
}

impl CorsLayer {
    /// `credentials` says whether a cookie can authenticate, and so whether browsers may send one.
    #[must_use]
    pub fn new(origins: Arc<OriginList>, credentials: bool) -> Self {
        let exposed = ["x-request-id", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];
        let exposed = exposed.into_iter().map(HeaderName::from_static).chain([RETRY_AFTER]);
        let tower = TowerCorsLayer::new()
            .allow_origin(AllowOrigin::mirror_request())
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed.collect::<Vec<_>>())
            .max_age(Duration::from_secs(24 * 60 * 60))
            .allow_credentials(credentials)
            .vary([]);
        Self { origins, tower }
    }
}

impl<S: Clone> Layer<S> for CorsLayer {
    type Service = Cors<S>;

    fn layer(&self, inner: S) -> Cors<S> {
        Cors { origins: Arc::clone(&self.origins), listed: self.tower.layer(inner.clone()), unlisted: inner }
    }
}

/// The service that [`CorsLayer`] makes.
#[derive(Debug, Clone)]
pub struct Cors<S> {
    origins: Arc<OriginList>,
    listed: TowerCors<S>,
    unlisted: S,
}

impl<S> Service<Request> for Cors<S>
where
    S: Service<Request, Response = Response> + Send,
    S::Future: Send + 'static,
    TowerCors<S>: Service<Request, Response = Response<Body>, Error = S::Error>,
    <TowerCors<S> as Service<Request>>::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.unlisted.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let listed = origin.is_some_and(|origin| self.origins.allows(origin));
        // tower-http takes every OPTIONS for a preflight; only one that names a method is.
        let preflight = request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let answer = if listed && (request.method() != Method::OPTIONS || preflight) {
            Either::Left(self.listed.call(request))
        } else {
            Either::Right(self.unlisted.call(request))
        };
        Box::pin(async move {
            let mut response = answer.await?;
            response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
            Ok(response)
        })
    }
}
