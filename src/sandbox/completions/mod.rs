//! How is `POST /v1/chat/completions` answered? The table of contents of the older API, which other
//! model servers speak too.

mod chunks;
mod messages;
mod request;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use self::chunks::Completion;
use super::Sandbox;
use super::cues::Break;
use super::error::ApiError;
use super::json::{self, Json};
use super::live::{self, Delivery};
use super::tally::{Endpoint, Open};
use super::{gate, script};

/// `POST /v1/chat/completions`
pub(super) async fn create_completion(
    State(sandbox): State<Arc<Sandbox>>,
    request: Request,
) -> Result<Response, ApiError> {
    sandbox.tally.count(Endpoint::Completions);
    let (head, body) = request.into_parts();
    let bytes = gate::read_json(&head.headers, body, gate::MAX_MODEL_BODY).await?;
    let (completion, stream, delivery) = {
        let body = Json::Object(json::parse_object(&bytes)?);
        sandbox.tally.remember(Endpoint::Completions, &bytes);
        let request = request::read(&body)?;
        let bounds = script::Bounds { tokens: request.max_tokens, ..live::bounds(&head.headers)? };
        let answer = script::answer(&request.conversation, bounds)?;
        if answer.end == Some(Break::Failed) && !request.stream {
            return Err(ApiError::server_error());
        }
        let cut = answer.end == Some(Break::Cut);
        let delivery =
            Delivery { delay: answer.delay, cut, open: Open::one_of(&sandbox.tally.open) };
        let stream = request.stream;
        (Completion::new(&request, answer, sandbox.clock.unix_seconds()), stream, delivery)
    };
    drop(bytes);
    if stream {
        return Ok(live::stream(completion, delivery));
    }
    Ok(live::whole(&completion.whole(), completion.answer.words(), delivery).await)
}
