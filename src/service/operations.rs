//! What is answered at `METRICS_ADDR`? The metrics, and whether the service is well: also while
//! every connection of the front door is taken.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::get;
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use tower::ServiceExt;

use crate::app::{App, healthz, method_not_allowed, readyz};
use crate::error;
use crate::layers::observe::{X_REQUEST_ID, new_request_id};
use crate::page::folder::not_found;
use crate::telemetry::metrics;

/// Answers whoever watches the service. Their requests are neither counted nor logged.
pub(super) fn answer(
    app: Arc<App>,
    registry: Arc<Registry>,
) -> impl Fn(Request) -> BoxFuture<'static, Response> + Clone {
    let gauges = Arc::clone(&app);
    let scrape = async move || {
        gauges.observe_gauges();
        ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&registry))
    };
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(async || not_found())
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app);
    move |request| {
        let is_head = *request.method() == Method::HEAD;
        let answer = router.clone().oneshot(request);
        Box::pin(async move {
            let Ok(mut response) = answer.await;
            let id = new_request_id();
            error::render(&mut response, id.to_str().unwrap_or_default(), is_head);
            response.headers_mut().insert(X_REQUEST_ID, id);
            response
        })
    }
}
