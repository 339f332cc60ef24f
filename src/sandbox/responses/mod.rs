//! How is `POST /v1/responses` answered? The table of contents of the Responses API.

mod events;
mod input;
mod object;
mod request;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use self::object::Generation;
use super::Sandbox;
use super::cues::Break;
use super::error::ApiError;
use super::json::{self, Json};
use super::live::{self, Delivery};
use super::tally::{Endpoint, Open};
use super::{gate, script};

/// `POST /v1/responses`
pub(super) async fn create_response(
    State(sandbox): State<Arc<Sandbox>>,
    request: Request,
) -> Result<Response, ApiError> {
    sandbox.tally.count(Endpoint::Responses);
    let (head, body) = request.into_parts();
    let bytes = gate::read_json(&head.headers, body, gate::MAX_MODEL_BODY).await?;
    let (generation, stream, delivery) = {
        let body = Json::Object(json::parse_object(&bytes)?);
        sandbox.tally.remember(Endpoint::Responses, &bytes);
        let request = request::read(&body)?;
        let bounds =
            script::Bounds { tokens: request.max_output_tokens, ..live::bounds(&head.headers)? };
        let answer = script::answer(&request.conversation, bounds)?;
        let cut = answer.end == Some(Break::Cut);
        let delivery =
            Delivery { delay: answer.delay, cut, open: Open::one_of(&sandbox.tally.open) };
        let stream = request.stream;
        (Generation::new(request, answer, sandbox.clock.unix_seconds()), stream, delivery)
    };
    drop(bytes);
    if stream {
        return Ok(live::stream(generation, delivery));
    }
    Ok(live::whole(&generation.ended(), generation.answer.words(), delivery).await)
}
