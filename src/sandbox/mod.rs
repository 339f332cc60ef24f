//! What does OpenAI answer? A local stand-in for the parts of its API that this service calls.
//!
//! It keeps real sessions in memory and checks what OpenAI checks, in this order: the key, the route, the beta
//! header, the content type, the body. Refusals have OpenAI's status, shape and words. It is meant to be developed
//! against, and to be fast enough to stand behind a load test.
//!
//! | call | answers |
//! |---|---|
//! | `POST /v1/chatkit/sessions` | a new session |
//! | `POST /v1/chatkit/sessions/{id}/cancel` | the session, from now on `cancelled`; one past its end is `expired` |
//! | anything else | 404, or 405 for another method |
//!
//! Any bearer key that starts with `sk-` is good, but for two:
//!
//! | key | answer |
//! |---|---|
//! | `sk-revoked` | 401 `invalid_api_key` |
//! | `sk-forbidden` | 403 `missing_scope` |
//!
//! Any workflow id that starts with `wf_` is good, but for these, which fail by name. The rest of the request is
//! checked first.
//!
//! | workflow id | answer |
//! |---|---|
//! | `wf_missing` | 404, "Workflow with id 'wf_missing' not found." |
//! | `wf_slow` | a session, after 15 seconds |
//! | `wf_429` | 429 `rate_limit_exceeded` with `Retry-After: 1` |
//! | `wf_quota` | 429 `insufficient_quota` |
//! | `wf_500` | 500 `server_error` |
//! | `wf_503` | 503 `server_is_overloaded` |
//! | `wf_html` | a 502 in HTML, as a proxy in between sends it, without OpenAI's headers |
//! | `wf_flaky` | 500 on a user's first try, a session on every later one |
//! | `wf_garbage` | 200 with JSON that breaks off |
//! | `wf_no_secret` | 200 with a session that lacks `client_secret` |
//! | `wf_redirect` | 307 to another host, one that does not exist |
//!
//! Unlike OpenAI it takes no other kind of credential, and accepts every organization: `openai-organization` repeats the
//! one that the request names.

mod error;
mod fields;
mod gate;
mod json;
mod request;
mod scenario;
mod sessions;
mod store;
mod variables;

use std::sync::{Arc, Mutex};

use axum::{Router, middleware, routing::post};

use crate::clock::Clock;

/// Everything the stand-in answers, with its own in-memory sessions.
///
/// The paths begin with `/v1`. It remembers the newest 100,000 sessions, each for an hour past its end; what it has
/// forgotten is not found.
pub fn router(clock: Arc<dyn Clock>) -> Router {
    let sandbox = Sandbox { clock, sessions: Mutex::default(), flaky: Mutex::default() };
    Router::new()
        .route("/v1/chatkit/sessions", post(sessions::create_session))
        .route("/v1/chatkit/sessions/{id}/cancel", post(sessions::cancel_session))
        .fallback(gate::refuse_path)
        .method_not_allowed_fallback(gate::refuse_method)
        .layer(middleware::from_fn(gate::pass))
        .with_state(Arc::new(sandbox))
}

/// What a request can reach.
struct Sandbox {
    clock: Arc<dyn Clock>,
    sessions: Mutex<store::Sessions>,
    flaky: Mutex<scenario::Tried>,
}
