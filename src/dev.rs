//! Who signs anybody in under `dev`? `POST /dev/token`, so that the page and curl work with nothing
//! configured.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::auth::{self, run_token};
use crate::clock::Clock;
use crate::config::auth::AuthConfig;
use crate::error::{Error, Kind};
use crate::extract::{Json, JsonBytes};
use crate::user::UserId;

/// How long a token lives that `dev` signs: eight hours, a day at the desk.
pub const TTL: std::time::Duration = std::time::Duration::from_secs(8 * 60 * 60);

/// Who one is that gives no name.
const ADA: &str = "ada";

/// Signs user tokens for whoever asks.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds the key that signs")]
pub struct DevTokens {
    /// How tokens are signed.
    pub auth: Arc<AuthConfig>,
    /// When they were.
    pub clock: Arc<dyn Clock>,
    /// Whether only requests are answered whose `Host` names this machine. A page whose own name is
    /// made to lead here is of the same origin as this service and could read the tokens.
    pub is_local_only: bool,
}

impl DevTokens {
    /// A token for this user, which lives for [`TTL`].
    ///
    /// # Errors
    /// When this run has no key.
    pub fn sign(&self, user: &UserId) -> Result<String, auth::Error> {
        run_token(&self.auth, user, TTL, &*self.clock)
    }
}

/// The answer of `POST /dev/token`.
#[derive(Debug, Serialize)]
pub struct DevToken {
    token: String,
}

/// Answers `{"user":"ada"}` with a token for that user. Without a name it is for `ada`.
///
/// # Errors
/// `invalid_json` or `invalid_request` for a body that names what is no user.
pub async fn token(
    State(dev): State<DevTokens>,
    JsonBytes(body): JsonBytes,
) -> Result<Json<DevToken>, Error> {
    let message = "The body must be a JSON object like {\"user\":\"ada\"}.";
    let body = if body.is_empty() { b"{}" } else { &*body };
    let body: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| Error::new(Kind::InvalidJson, message).because(error))?;
    let user = body.get("user").map_or_else(|| UserId::parse(ADA), UserId::from_json);
    let user =
        user.ok_or_else(|| Error::invalid("`user` must be a string of 1 to 255 characters."))?;
    let token = dev.sign(&user).map_err(Error::internal)?;
    Ok(Json(DevToken { token }))
}
