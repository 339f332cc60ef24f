//! Who is at the other end? First the client's address, then the caller behind it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::request::Parts;

use crate::auth::{Asking, Authenticator, Caller};
use crate::config::limits::LimitsConfig;
use crate::config::origins::OriginList;
use crate::error::Error;
use crate::limits::address::ServiceCall;
use crate::limits::client_ip::Client;
use crate::telemetry::request::RequestContext;

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
    /// Finds out the client's address and whether a service calls, for the limit by address and for authentication.
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
        let client = parts.extensions.get::<Client>().copied();
        let client = client.ok_or_else(|| Error::internal("the client was not identified"))?;
        let allowed_origin = |origin: &str| self.origins.allows(origin);
        let asking = Asking {
            headers: &parts.headers,
            client_is_loopback: client.address.is_loopback(),
            https: client.https,
            allowed_origin: &allowed_origin,
        };
        let outcome = self.authenticator.authenticate(&asking).await;
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
