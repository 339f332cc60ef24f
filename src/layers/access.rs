//! Who is at the other end? First the client's address, then the caller behind it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::auth::{Asking, Authenticator};
use crate::config::limits::LimitsConfig;
use crate::config::origins::OriginList;
use crate::error::Error;
use crate::limits::address::ServiceCall;
use crate::limits::client_ip::Client;

/// What these layers need to know.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds the password of Redis")]
pub struct Door {
    /// Who tells callers apart.
    pub authenticator: Arc<Authenticator>,
    /// Which proxies are believed.
    pub proxies: Arc<LimitsConfig>,
    /// Which pages may send a cookie.
    pub origins: Arc<OriginList>,
}

/// Finds out the client's address and whether a service calls, for the limit by address and for authentication.
pub async fn identify(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let client = Client::find(peer, request.headers(), &door.proxies);
    request.extensions_mut().insert(client);
    if door.authenticator.service(request.headers()).is_some() {
        request.extensions_mut().insert(ServiceCall);
    }
    next.run(request).await
}

/// Lets nobody pass who is not a caller; the handler finds the caller in the request's extensions.
pub async fn authenticate(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let Some(client) = request.extensions().get::<Client>().copied() else {
        return Error::internal("the client's address was not determined").into_response();
    };
    let asking = Asking {
        headers: request.headers(),
        client_is_loopback: client.address.is_loopback(),
        https: client.https,
        allowed_origin: &|origin| door.origins.allows(origin),
    };
    match door.authenticator.authenticate(&asking).await {
        Ok(answered) => {
            request.extensions_mut().insert(answered.caller);
            with_cookie(next.run(request).await, answered.set_cookie)
        }
        Err(rejection) => {
            let cookie = rejection.set_cookie.clone();
            with_cookie(Error::from(rejection).into_response(), cookie)
        }
    }
}

fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// Answers about sessions are kept by nobody.
pub async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
