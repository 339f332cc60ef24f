//! What does OpenAI answer? A local stand-in for the parts of its API that this service calls.
//!
//! It keeps real sessions in memory, plays the model from a script, and checks what OpenAI checks,
//! in this order: the key, the route, the beta header, the content type, the body. Refusals have
//! OpenAI's status, shape and words. It is meant to be developed against, and to be fast enough to
//! stand behind a load test.
//!
//! | call | answers |
//! |---|---|
//! | `POST /v1/chatkit/sessions` | a new session |
//! | `POST /v1/chatkit/sessions/{id}/cancel` | the session, from now on `cancelled`; one past its end is `expired` |
//! | `POST /v1/responses` | what the scripted model says, whole or as a stream |
//! | `POST /v1/chat/completions` | the same in the older form |
//! | `POST /v1/audio/transcriptions` | a text that names the file and its size, whole or as a stream |
//! | `GET /sandbox/stats` | how many answers are under way, and how many were asked for; needs no key |
//! | `GET /sandbox/last` | the last body that each of these three got; needs no key |
//! | anything else | 404, or 405 for another method |
//!
//! Any bearer key that starts with `sk-` is good, but for two:
//!
//! | key | answer |
//! |---|---|
//! | `sk-revoked` | 401 `invalid_api_key` |
//! | `sk-forbidden` | 403 `missing_scope` |
//!
//! Any workflow id that starts with `wf_` is good, but for these, which fail by name. The rest of
//! the request is checked first.
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
//! Unlike OpenAI it takes no other kind of credential, and accepts every organization:
//! `openai-organization` repeats the one that the request names.
//!
//! # The scripted model
//!
//! It repeats the last user message, and tells how many messages came before it, which images and
//! files came with it, what was quoted, which context was given, and what tools answered. These
//! words in the last user message make it do more, whatever their case, and several at once:
//!
//! | word | does |
//! |---|---|
//! | `long` | an answer of 300 words, 20 ms a word, so that it can be stopped |
//! | `think` | a reasoning item first. Its two summaries come only when `reasoning.summary` asks for them; in chat completions they are `reasoning_content` |
//! | `search` | a web search first, then an answer with `url_citation`. Its sources come only when `include` asks for them |
//! | `cite` | an answer with a `file_citation` and a `url_citation` |
//! | `tool` | a call of the function tool that the message names, or else of the first; then an answer that tells its output |
//! | `tools` | a call of each function tool at once |
//! | `refuse` | a refusal |
//! | `image` | a generated image, a small PNG (Responses only) |
//! | `fail` | the model fails in the middle of its answer |
//! | `cut` | the connection ends in the middle of the answer |
//! | `incomplete` | the answer ends in the middle, for want of tokens |
//! | `error 429` | this HTTP status, with OpenAI's body; any from 400 to 599 |
//! | `delay 50` | a pause of so many milliseconds before each delta; the header `x-sandbox-delay-ms` does the same |
//! | `deltas 400` | an answer of exactly so many words; the header `x-sandbox-deltas` does the same |
//! | `untitled` | a request for a title fails with a 500; the answer does not |
//!
//! A function is called, too, when `tool_choice` demands it. An answer is never longer than the
//! request's limit of tokens, a word being a token. When the instructions ask for a title, the
//! answer is a title of a few words, made from the first thing that the user said, and no word does
//! anything but `untitled`.
//!
//! Where the request asks for JSON (`text.format` of a response, `response_format` of a chat
//! completion), the answer is JSON: with a JSON schema a value that fits it, whatever the words ask
//! for in a text. Of a schema `pattern` alone is not followed.
//!
//! Any model is good but `gpt-missing`, which does not exist. Responses are not stored: one that
//! refers to an earlier one is refused as OpenAI refuses an unknown id. Two headers set the pace of
//! a model's answer: `x-sandbox-delay-ms` is the pause before each delta, `x-sandbox-deltas` is the
//! number of deltas. Closing the connection ends the answer.

mod completions;
mod conversation;
mod cues;
mod error;
mod fields;
mod fitting;
mod format;
mod gate;
mod json;
mod live;
mod node;
mod request;
mod responses;
mod scenario;
mod script;
mod sessions;
mod store;
mod tally;
mod tools;
mod transcript;
mod transcriptions;
mod variables;
mod wording;

use std::sync::{Arc, Mutex};

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Router, middleware};

use crate::clock::Clock;

/// Everything the stand-in answers, with its own in-memory sessions.
///
/// The paths begin with `/v1`. It remembers the newest 100,000 sessions, each for an hour past its
/// end; what it has forgotten is not found.
pub fn router(clock: Arc<dyn Clock>) -> Router {
    let sandbox = Sandbox {
        clock,
        sessions: Mutex::default(),
        flaky: Mutex::default(),
        tally: tally::Tally::default(),
    };
    let transcribe = post(transcriptions::transcribe).layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/v1/chatkit/sessions", post(sessions::create_session))
        .route("/v1/chatkit/sessions/{id}/cancel", post(sessions::cancel_session))
        .route("/v1/responses", post(responses::create_response))
        .route("/v1/chat/completions", post(completions::create_completion))
        .route("/v1/audio/transcriptions", transcribe)
        .fallback(gate::refuse_path)
        .method_not_allowed_fallback(gate::refuse_method)
        .layer(middleware::from_fn(gate::pass))
        // What a test asks about the stand-in itself: no key, and none of OpenAI's headers.
        .route("/sandbox/stats", get(tally::show_stats))
        .route("/sandbox/last", get(tally::show_last))
        .with_state(Arc::new(sandbox))
}

/// What a request can reach.
struct Sandbox {
    clock: Arc<dyn Clock>,
    sessions: Mutex<store::Sessions>,
    flaky: Mutex<scenario::Tried>,
    tally: tally::Tally,
}
