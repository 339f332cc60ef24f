//! Who answers when a site has no agent of its own? A model: [`ModelAgent`] sends it the thread and
//! passes on what it says.

mod answer;
mod calls;
mod drawing;
mod messages;
mod request;
mod tasks;
#[cfg(test)]
mod tests;
mod title;

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use self::answer::{Answer, Scribe};
use super::history::{Past, let_alternate, take_out_files};
use super::{Agent, AgentError, Turn};
use crate::config::agents::{AgentConfig, ModelApi};
use crate::config::upstream::UpstreamConfig;
use crate::protocol::UserMessage;
use crate::telemetry::request::{RequestContext, Tokens};
use crate::upstream::model::{
    self, ModelClient, ModelEndpoint, ModelError, ModelErrorKind, ModelRequest, ModelStream,
};

/// An answer ends soon after the call of a function that the model was not given. Where it does
/// not, the server runs that function itself.
const SOON: Duration = Duration::from_millis(500);
const TITLE_DEADLINE: Duration = Duration::from_secs(10);

/// The agent that a configuration describes.
#[expect(missing_debug_implementations, reason = "its endpoint and its tools hold keys")]
pub struct ModelAgent {
    config: Arc<AgentConfig>,
    endpoint: ModelEndpoint,
    models: Arc<ModelClient>,
}

impl ModelAgent {
    /// An agent that asks its model over these connections, at the [`endpoint`] of its
    /// configuration.
    #[must_use]
    pub fn new(
        config: Arc<AgentConfig>,
        models: Arc<ModelClient>,
        upstream: &UpstreamConfig,
    ) -> Self {
        let endpoint = endpoint(&config, upstream);
        Self { config, endpoint, models }
    }

    async fn answer(&self, turn: &Turn) -> Result<(), AgentError> {
        turn.request.note_model(&self.config.model);
        // Boxed: what it takes to ask is not kept while the model answers, neither the call nor a
        // request with megabytes of files.
        let (stream, mut answer) = Box::pin(self.begin(turn)).await?;
        let outcome = self.pass_on(stream, &mut answer, turn).await;
        if let Some(tokens) = answer.tokens() {
            self.note_tokens(tokens, &turn.request);
        }
        outcome
    }

    fn note_tokens(&self, tokens: Tokens, request: &RequestContext) {
        let AgentConfig { name: agent, model, .. } = &*self.config;
        self.models.metrics().answer_took(agent, model, tokens);
        if !request.note_tokens(tokens) {
            // Its client left, and the answer went on.
            let (request_id, input_tokens, output_tokens) =
                (request.id(), tokens.input, tokens.output);
            tracing::info!(
                request_id,
                agent,
                model,
                input_tokens,
                output_tokens,
                "an answer that nobody waited for"
            );
        }
    }

    /// Passes on what the model says, until its answer is over.
    async fn pass_on(
        &self,
        mut stream: ModelStream,
        answer: &mut Answer<'_>,
        turn: &Turn,
    ) -> Result<(), AgentError> {
        loop {
            let mut events = Vec::with_capacity(1);
            let next = if answer.has_unshown_calls() {
                timeout(SOON, stream.next()).await
            } else {
                Ok(stream.next().await)
            };
            let applied = match next {
                Ok(Some(Ok(event))) => answer.apply(event, &mut events),
                Ok(Some(Err(error))) => {
                    let cut = answer.cut().filter(|_| error.kind() == ModelErrorKind::Cut);
                    return Err(cut.unwrap_or_else(|| self.failure(&error)));
                }
                Ok(None) => return Ok(()),
                Err(_) => {
                    answer.show_calls(&mut events);
                    Ok(None)
                }
            };
            for event in events {
                turn.emit(event).await?;
            }
            if let Some(drawing) = applied? {
                Box::pin(drawing.show(turn)).await?;
            }
        }
    }

    async fn begin(&self, turn: &Turn) -> Result<(ModelStream, Answer<'_>), AgentError> {
        let Past { input, earlier, newest, held } =
            Past::read(turn, self.config.max_input_tokens).await?;
        let mut request = request::of_turn(&self.config, turn, input);
        let scribe = Scribe { thread_id: turn.thread.id.clone(), clock: Arc::clone(&turn.clock) };
        let answer = Answer::new(&self.config, scribe, newest);
        let asked = self.ask(&mut request, earlier, &turn.request).await;
        drop(held);
        Ok((asked.map_err(|error| self.failure(&error))?, answer))
    }

    /// Asks the model. What it refuses would stand in the way of every further message of the
    /// thread, so it is asked once more without what may be the reason: a broken file of a message
    /// before the one that is answered; and two messages of the user in a row, as after an answer
    /// that failed, or words of the site between them, which many chat templates don't take.
    async fn ask(
        &self,
        request: &mut ModelRequest,
        earlier: usize,
        context: &RequestContext,
    ) -> Result<ModelStream, ModelError> {
        let is_templated = self.endpoint.api == model::ModelApi::ChatCompletions;
        let mut answer = self.models.stream(&self.endpoint, request, Some(context)).await;
        for remedy in [Remedy::NoEarlierFiles, Remedy::Alternation] {
            let Some(refusal) = answer.as_ref().err().filter(|error| is_about_content(error))
            else {
                break;
            };
            let is_other = match remedy {
                Remedy::NoEarlierFiles => {
                    take_out_files(request.input.get_mut(..earlier).unwrap_or_default())
                }
                Remedy::Alternation => is_templated && let_alternate(&mut request.input),
            };
            if is_other {
                tracing::info!(error = %refusal, ?remedy, "a model refused a request: it is asked otherwise");
                answer = self.models.stream(&self.endpoint, request, Some(context)).await;
            }
        }
        answer
    }
}

impl ModelAgent {
    /// What a failure of the model is to the person: only what they can do something about is told.
    /// The log says which model of which agent it was.
    fn failure(&self, error: &ModelError) -> AgentError {
        if error.kind() == ModelErrorKind::ContextTooLong {
            let message = "This conversation is too long for the model. Please start a new one, or \
                           send less at once.";
            return AgentError::Told { message: message.to_owned(), allow_retry: false };
        }
        let AgentConfig { name, model, .. } = &*self.config;
        let cause = format!("the model failed: {error} (agent {name:?}, model {model:?})");
        AgentError::Failed { cause, allow_retry: error.is_retryable() }
    }
}

/// In what a request is changed that a model refused.
#[derive(Debug, Clone, Copy)]
enum Remedy {
    NoEarlierFiles,
    Alternation,
}

/// Where the model of an agent is. The organisation and the project of `upstream` are named to that
/// server alone.
#[must_use]
pub fn endpoint(config: &AgentConfig, upstream: &UpstreamConfig) -> ModelEndpoint {
    let is_ours = config.endpoint.base_url == upstream.base;
    ModelEndpoint {
        base_url: config.endpoint.base_url.clone(),
        api_key: config.endpoint.api_key.clone(),
        api: match config.endpoint.api {
            ModelApi::Responses => model::ModelApi::Responses,
            ModelApi::ChatCompletions => model::ModelApi::ChatCompletions,
        },
        organization: upstream.organization.clone().filter(|_| is_ours),
        project: upstream.project.clone().filter(|_| is_ours),
    }
}

impl Agent for ModelAgent {
    fn respond<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<(), AgentError>> {
        self.answer(turn).boxed()
    }

    fn title<'a>(&'a self, message: &'a UserMessage) -> BoxFuture<'a, Option<String>> {
        async { timeout(TITLE_DEADLINE, self.propose_title(message)).await.ok().flatten() }.boxed()
    }

    fn max_input_tokens(&self) -> Option<u32> {
        Some(self.config.max_input_tokens)
    }

    fn wants_titles(&self) -> bool {
        self.config.titles
    }
}

/// Whether a request was refused for what is in it, rather than for its model or its address.
fn is_about_content(error: &ModelError) -> bool {
    let is_bad =
        matches!(error.status(), Some(StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY));
    is_bad && error.kind() == ModelErrorKind::Rejected
}
