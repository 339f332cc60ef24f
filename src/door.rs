//! Who is at the other end? First the client's address, then the caller behind it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::request::Parts;

use crate::auth::{self, Asking, Authenticator, Caller, ClientSecrets, Newcomer, client_secret_of};
use crate::config::agents::Agents;
use crate::config::limits::LimitsConfig;
use crate::config::origins::OriginList;
use crate::error::{Error, Kind};
use crate::limits::Limits;
use crate::limits::address::ServiceCall;
use crate::limits::client_ip::Client;
use crate::protocol::Timestamp;
use crate::store::StoreError;
use crate::store::revoked::Revoked;
use crate::telemetry::request::RequestContext;
use crate::user::UserId;

/// Lets callers in.
#[expect(missing_debug_implementations, reason = "it holds the password of Redis")]
pub struct Door {
    /// Who tells callers apart.
    pub authenticator: Authenticator,
    /// Which proxies are believed.
    pub proxies: LimitsConfig,
    /// Which pages may send a cookie.
    pub origins: Arc<OriginList>,
}

impl Door {
    /// Finds out the client's address and whether a service calls, for the limit by address and for
    /// authentication.
    pub fn identify(&self, peer: IpAddr, request: &mut axum::extract::Request) {
        let client = Client::find(peer, request.headers(), &self.proxies);
        let is_service = self.authenticator.service(request.headers()).is_some();
        let extensions = request.extensions_mut();
        extensions.insert(client);
        if is_service {
            extensions.insert(ServiceCall);
        }
    }

    /// Says who asks, and lets nobody pass who is not a caller.
    ///
    /// # Errors
    /// 401 or 403, or 503 while the keys that could tell are not there.
    pub async fn admit(&self, parts: &Parts, context: &RequestContext) -> Result<Caller, Error> {
        self.ask(parts, context, Newcomer::BecomesVisitor).await
    }

    async fn ask(
        &self,
        parts: &Parts,
        context: &RequestContext,
        newcomer: Newcomer,
    ) -> Result<Caller, Error> {
        let client = parts.extensions.get::<Client>().copied();
        let client = client.ok_or_else(|| Error::internal("the client was not identified"))?;
        let allowed_origin = |origin: &str| self.origins.allows(origin);
        let asking = Asking {
            headers: &parts.headers,
            client_is_loopback: client.address.is_loopback(),
            https: client.https,
            allowed_origin: &allowed_origin,
        };
        let outcome = self.authenticator.authenticate_as(&asking, newcomer).await;
        let (cookie, outcome) = match outcome {
            Ok(answered) => (answered.set_cookie, Ok(answered.caller)),
            Err(mut rejection) => (rejection.set_cookie.take(), Err(rejection.into())),
        };
        if let Some(cookie) = cookie {
            context.note_cookie(cookie);
        }
        outcome
    }
}

/// Lets those in who chat, in self-hosted mode: whoever holds a client secret, and every user as
/// well.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct ChatDoor {
    /// Who comes without a client secret.
    pub door: Arc<Door>,
    /// How often a user may ask.
    pub limits: Arc<Limits>,
    /// What client secrets are checked against.
    pub secrets: Arc<ClientSecrets>,
    /// Which of them are no good any more.
    pub revoked: Arc<Revoked>,
    /// Which workflows there are.
    pub agents: Arc<Agents>,
}

/// Who chats, and with whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Who it is. Threads belong to this user within the workflow.
    pub user: UserId,
    /// The name of a configured agent: the one of the client secret, or the default one for a user
    /// without such a secret.
    pub workflow: String,
}

impl ChatDoor {
    /// Says who chats. A bearer token that says it is a client secret is that or nothing; anything
    /// else is a user's or a visitor's own credential. The limits by user are another step:
    /// [`count`](Self::count) and [`count_read`](Self::count_read).
    ///
    /// # Errors
    /// 401 for a credential that is missing, bad, ended or revoked; 403 for a service token, and
    /// for a cookie from a foreign page; 503 while the keys, or the database, that could tell are
    /// not there.
    pub async fn holder(&self, parts: &Parts, context: &RequestContext) -> Result<Holder, Error> {
        self.holder_as(parts, context, Newcomer::BecomesVisitor).await
    }

    /// Says whose things are asked for. Whoever brings no credential has none, also where visitors
    /// are welcome. Such a request came around the limit by address, because one load of a page is
    /// a burst of them: unless it is a holder's it is counted here.
    ///
    /// # Errors
    /// As for [`holder`](Self::holder), and 429 when the address has used up its limit.
    pub async fn known_holder(
        &self,
        parts: &Parts,
        context: &RequestContext,
    ) -> Result<Holder, Error> {
        let holder = self.holder_as(parts, context, Newcomer::IsNobody).await;
        holder.map_err(|error| self.strangers_answer(parts, context, error))
    }

    /// The answer to a request that came around the limit by address and is of nobody: it is
    /// counted, and `answer` stands while the limit lets it.
    pub fn strangers_answer(
        &self,
        parts: &Parts,
        context: &RequestContext,
        answer: Error,
    ) -> Error {
        let Some(client) = parts.extensions.get::<Client>().copied() else { return answer };
        if parts.extensions.get::<ServiceCall>().is_some() {
            return answer;
        }
        self.limits.address().count_address(client, context).err().unwrap_or(answer)
    }

    async fn holder_as(
        &self,
        parts: &Parts,
        context: &RequestContext,
        newcomer: Newcomer,
    ) -> Result<Holder, Error> {
        let holder = match client_secret_of(&parts.headers) {
            Some(secret) => self.holder_of_secret(secret).await?,
            None => match self.door.ask(parts, context, newcomer).await? {
                Caller::User { id: user, .. } | Caller::Visitor { id: user } => {
                    Holder { user, workflow: self.agents.default.clone() }
                }
                Caller::Service { .. } => return Err(not_for_services()),
            },
        };
        context.note_user(&holder.user);
        Ok(holder)
    }

    /// Counts a request of this holder that costs something: see [`Limits::count_user`].
    ///
    /// # Errors
    /// 429 `rate_limited` when the user has used up the limit.
    pub async fn count(&self, holder: &Holder, context: &RequestContext) -> Result<(), Error> {
        self.limits.count_user(&holder.user, context).await
    }

    /// Counts any other request of this holder: see [`Limits::count_read`].
    ///
    /// # Errors
    /// 429 `rate_limited` when the user has used up the limit.
    pub async fn count_read(&self, holder: &Holder, context: &RequestContext) -> Result<(), Error> {
        self.limits.count_read(&holder.user, context).await
    }

    async fn holder_of_secret(&self, secret: &str) -> Result<Holder, Error> {
        let held = self.secrets.verify(secret)?;
        if !self.agents.by_name.contains_key(&held.workflow) {
            return Err(auth::Error::BadSecret(auth::Flaw::Workflow).into());
        }
        let is_revoked = self.revoked.has(&held.user, &held.id, Timestamp(held.after)).await;
        if is_revoked.map_err(nobody_can_tell)? {
            return Err(auth::Error::RevokedSecret.into());
        }
        Ok(Holder { user: held.user, workflow: held.workflow })
    }
}

/// Whether a secret was revoked is in the database, and so is all that its holder could ask for.
fn nobody_can_tell(error: StoreError) -> Error {
    let message = "The database can't be reached right now. Try again in a moment.";
    Error::new(Kind::NotReady, message).because(error)
}

fn not_for_services() -> Error {
    let message = "A service token mints sessions and does not chat: get a client secret from \
                   `POST /api/chatkit/session` for the user, and send that.";
    Error::new(Kind::InsufficientScope, message)
}
