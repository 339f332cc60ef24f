//! How does a request to the chat come in? Who asks, how often, what; then an answer, or a stream.

use std::sync::Arc;

use axum::extract::{Request as HttpRequest, State};
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use utoipa::OpenApi;

use super::feed::Feed;
use super::links::Base;
use super::repeats::{self, Found, REUSED_KEY, Running, Standing};
use super::turn::{Plan, Turn};
use super::uploads::{self, http::UploadDesk};
use super::{Asker, Chat, ops, sse};
use crate::agent::Agent;
use crate::door::{ChatDoor, Holder};
use crate::error::{Error, ErrorBody, Kind};
use crate::extract::{BodyLimits, Exception, Reading, read_body};
use crate::limits::client_ip::{AddressKey, Client};
use crate::limits::turns::TurnPlace;
use crate::openapi::Refusals;
use crate::protocol::{BadRequest, Event, Request, Streaming};
use crate::store::{Owner, StoreError};
use crate::telemetry::request::{Failure, RequestContext};
use crate::user::Fingerprint;

/// Where the protocol is spoken.
pub const PATH: &str = "/api/chatkit";
/// The largest body, but for speech.
const MAX_BODY: usize = 1024 * 1024;
/// The largest body with speech, which comes as base64.
const MAX_SPEECH: usize = 36 * 1024 * 1024;
/// The longest name that a client may give a request.
const MAX_KEY: usize = 255;

/// The chat, behind its door.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct ChatDesk {
    /// Who may ask.
    pub door: Arc<ChatDoor>,
    /// What answers.
    pub chat: Arc<Chat>,
}

/// The one route of the protocol, and those of files.
pub fn router(desk: Arc<ChatDesk>) -> Router {
    let files = UploadDesk { door: Arc::clone(&desk.door), uploads: desk.chat.uploads.clone() };
    Router::new().route(PATH, post(chat)).with_state(desk).merge(uploads::http::router(files))
}

/// The same routes, as the OpenAPI document describes them.
#[derive(Debug, OpenApi)]
#[openapi(paths(chat, uploads::http::upload, uploads::http::download))]
pub struct Paths;

/// An event of a stream.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it documents the stream, which `sse` writes")]
struct StreamedEvent {
    /// A `ChatEvent` as JSON.
    data: Event,
}

/// Speaks the ChatKit protocol: one request, `{"type", "params"}`, answered with JSON or with a
/// stream of events.
///
/// In self-hosted mode alone. What `StreamingRequest` lists is answered with a stream, the rest
/// with JSON. Where an answer fails, the stream's last event is an `error`. A header
/// `Idempotency-Key` (1 to 255 visible ASCII characters) names a streaming request, so that it is
/// done once however often it is sent.
#[utoipa::path(
    post,
    path = "/api/chatkit",
    tag = "chat",
    request_body(content = Request, content_type = "application/json"),
    responses(
        (status = 200, description = "An object, or a stream whose events are each one `data:` \
                                      line of JSON", content(
            (ops::Answer = "application/json"),
            (StreamedEvent = "text/event-stream"),
        )),
        (status = 404, description = "`not_found`: there is no such thread, item or attachment for \
                                      the caller", body = ErrorBody),
        (status = 409, description = "`conflict`: the thread is locked or closed, no call waits, \
                                      or a file is in use", body = ErrorBody),
        (status = 413, description = "`body_too_large` or `quota_exceeded`: over 1 MiB (36 MiB for \
                                      `input.transcribe`), more text than one message may have, \
                                      more than the model reads, or more files than one user may \
                                      keep", body = ErrorBody),
        (status = 422, description = "`idempotency_key_reused`: the key named another request \
                                      before", body = ErrorBody),
        Refusals
    ),
    security(("client_secret" = []), ("user_token" = []), ("user_cookie" = []), ("visitor_cookie" = []))
)]
async fn chat(
    State(desk): State<Arc<ChatDesk>>,
    Extension(context): Extension<Arc<RequestContext>>,
    request: HttpRequest,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let holder = desk.door.holder(&parts, &context).await?;
    let speech = Exception { what: "a recording", most: MAX_SPEECH };
    let limits = BodyLimits { most: MAX_BODY, exception: Some(speech) };
    let read = match read_body(&parts.headers, body, limits).await {
        Ok(Reading::Whole(body)) => {
            Request::parse(&body).map(|request| (request, body)).map_err(Error::from)
        }
        Ok(Reading::Longer(body)) if may_be_speech(body.beginning()) => {
            desk.door.count(&holder, &context).await?;
            let asker = asker(holder, &parts, context)?;
            let answer = ops::answer_long(&desk.chat, &asker, body).await?;
            return answer.ok_or_else(|| limits.too_large());
        }
        Ok(Reading::Longer(_)) => Err(limits.too_large()),
        Err(error) => Err(error),
    };
    // What is no request counts as one that costs nothing.
    if read.as_ref().is_ok_and(|(request, _)| request.costs()) {
        desk.door.count(&holder, &context).await?;
    } else {
        desk.door.count_read(&holder, &context).await?;
    }
    let (request, body) = read?;
    let asker = asker(holder, &parts, context)?;
    asker.context.note_asked(request.name(), &asker.owner.workflow);
    if let Some(id) = request.thread_id() {
        asker.context.note_thread(id);
    }
    match request {
        Request::Plain(request) => ops::answer(&desk.chat, &asker, request).await,
        Request::Streaming(request) => {
            let name = client_key(&parts.headers)?;
            desk.chat.stream(asker, request, Fingerprint::of(&body), name.as_deref()).await
        }
    }
}

impl Chat {
    /// Begins a turn for a request, or hears the one that was begun for it before.
    async fn stream(
        self: &Arc<Self>,
        asker: Asker,
        request: Streaming,
        body: Fingerprint,
        client_key: Option<&str>,
    ) -> Result<Response, Error> {
        let key = match client_key {
            Some(name) => repeats::key(&asker.owner, name.as_bytes()),
            None => repeats::key(&asker.owner, &body.0),
        };
        let found = self.repeats.find(key).await;
        let agent = self.agent(&asker)?;
        let known = match found.running() {
            Some(running) if client_key.is_none() => match self.is_over(&asker, &running).await {
                Ok(is_over) => Some(running).filter(|_| !is_over),
                Err(error) => return Ok(self.broken(&asker, &error.into())),
            },
            found => found,
        };
        let resumption = match known {
            Some(running) if running.body != body => return Err(reused_key()),
            Some(running) => {
                self.metrics.repeated_request();
                // Before it is asked: a turn that somebody listens to is not stopped.
                let listener = running.feed.listen();
                match running.standing() {
                    Standing::Heard => return Ok(sse::stream(listener, &self.metrics)),
                    Standing::Resumed(resumption) => Some(resumption),
                    Standing::Anew => None,
                }
            }
            None if client_key.is_some() => {
                let (key, body, thread_id) = (key.hex(), body.hex(), request.thread_id());
                // Another replica may have begun, and a stream that has begun is no place for a
                // status.
                match self.store.is_key_reused(&asker.owner, thread_id, &key, &body).await {
                    Ok(true) => return Err(reused_key()),
                    Ok(false) => None,
                    Err(error) => return Ok(self.broken(&asker, &error.into())),
                }
            }
            None => None,
        };
        let plan = match resumption {
            Some(resumption) => Plan::Resume(*resumption),
            None => match ops::plan(self, &asker, request).await {
                Ok(plan) => plan,
                Err(error) if matches!(error.kind(), Kind::InternalError | Kind::NotReady) => {
                    return Ok(self.broken(&asker, &error));
                }
                Err(refusal) => return Err(refusal),
            },
        };
        let place = self.turns.take(&asker.owner.user, asker.address)?;
        Ok(self.begin(asker, agent, plan, body, client_key.is_some(), found, key, place))
    }

    /// Whether a request that comes again is a new one: the answer got through, or the conversation
    /// has gone on without it.
    async fn is_over(&self, asker: &Asker, running: &Running) -> Result<bool, StoreError> {
        if running.feed.has_got_through() {
            return Ok(true);
        }
        match running.place() {
            Some(place) => self.has_gone_on(&asker.owner, place).await,
            None => Ok(false),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a turn is made of all of these, and made here alone"
    )]
    fn begin(
        self: &Arc<Self>,
        asker: Asker,
        agent: Arc<dyn Agent>,
        plan: Plan,
        body: Fingerprint,
        is_keyed: bool,
        found: Found,
        key: Fingerprint,
        place: TurnPlace,
    ) -> Response {
        asker.context.note_thread(plan.thread_id());
        let running = Arc::new(Running::new(body));
        // Before the turn begins: one that nobody listens to is stopped.
        let listener = running.feed.listen();
        let is_again = found.running().is_some();
        found.begin(Arc::clone(&running));
        let turn = Turn {
            chat: Arc::clone(self),
            asker,
            agent,
            key,
            is_keyed,
            is_again,
            running,
            place: Some(place),
        };
        self.lifecycle.tasks().spawn(turn.run(Box::new(plan)));
        sse::stream(listener, &self.metrics)
    }

    /// A browser that gets a 5xx for a stream sends the same request five times more. It gets a
    /// stream that says so instead.
    fn broken(&self, asker: &Asker, error: &Error) -> Response {
        // Its line is yet to be written.
        let _ = asker.context.note_failure(Failure { cause: error.log_text(), is_fault: true });
        let feed = Arc::new(Feed::default());
        let listener = feed.listen();
        feed.say(&Event::Error {
            code: "stream.error".to_owned(),
            message: None,
            allow_retry: true,
        });
        feed.end();
        sse::stream(listener, &self.metrics)
    }
}

fn asker(holder: Holder, parts: &Parts, context: Arc<RequestContext>) -> Result<Asker, Error> {
    let client = parts.extensions.get::<Client>().copied();
    let client = client.ok_or_else(|| Error::internal("the client was not identified"))?;
    let locale = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let locale = locale.and_then(|value| value.split([',', ';']).next()).map(str::trim);
    Ok(Asker {
        owner: Owner { workflow: holder.workflow.into(), user: holder.user },
        locale: locale.filter(|locale| !locale.is_empty()).map(str::to_owned),
        base: Base::of(client, &parts.headers)?,
        address: AddressKey::of(client.address),
        context,
    })
}

/// `Idempotency-Key`: a name that the client gives a request, so that it is done once however often
/// it is sent.
fn client_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let name = value.to_str().unwrap_or_default();
    if name.is_empty() || name.len() > MAX_KEY {
        return Err(Error::invalid("`Idempotency-Key` must be 1 to 255 visible ASCII characters."));
    }
    Ok(Some(name.to_owned()))
}

fn reused_key() -> Error {
    Error::new(Kind::IdempotencyKeyReused, REUSED_KEY)
}

/// Whether it makes sense to read on: the type may stand behind the speech, so the beginning alone
/// does not decide.
fn may_be_speech(beginning: &[u8]) -> bool {
    let has = |needle: &[u8]| beginning.windows(needle.len()).any(|window| window == needle);
    has(b"\"input.transcribe\"") || has(b"\"audio_base64\"")
}

impl From<BadRequest> for Error {
    fn from(bad: BadRequest) -> Self {
        let kind = match bad {
            BadRequest::Json => Kind::InvalidJson,
            BadRequest::Field(_) => Kind::InvalidRequest,
        };
        Self::new(kind, bad.to_string())
    }
}
