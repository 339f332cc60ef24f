//! Why is nobody let in? The refusals of this room, and how they look from outside.

use std::sync::Arc;

use axum::http::HeaderValue;

use crate::error::{self, Kind};

/// Why a request was refused, or why nobody can be asked at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No credential came with the request.
    #[error("no credential")]
    Missing,
    /// A credential came, and it is bad.
    #[error("{0}")]
    Invalid(#[from] Flaw),
    /// The credential was good once.
    #[error("the credential has expired")]
    Expired,
    /// A client secret came, and it is bad.
    #[error("a client secret: {0}")]
    BadSecret(Flaw),
    /// The client secret was good once.
    #[error("the client secret has expired")]
    ExpiredSecret,
    /// The client secret was revoked before its end.
    #[error("the client secret was revoked")]
    RevokedSecret,
    /// A cookie came along with a request that another site may have started.
    #[error("a cookie with a request of a foreign origin")]
    ForeignOrigin,
    /// The issuer's keys have not been fetched yet; it is named by its origin.
    #[error("no keys from {0} yet")]
    NoKeys(Arc<str>),
    /// The issuer was asked for a key that we don't have, and has not answered in time; it is named
    /// by its origin.
    #[error("{0} took too long to say whether it has the token's key")]
    SlowIssuer(Arc<str>),
    /// The HTTP client for the issuers' keys can't be built; usually the machine has no CA
    /// certificates.
    #[error("the HTTP client for JWKS can't be built: {0}")]
    Client(Arc<str>),
    /// A token was to be signed, and `JWT_SECRET` is not set or too short for the algorithms
    /// allowed.
    #[error(
        "a user token needs a JWT_SECRET that is long enough for an HMAC algorithm of \
         JWT_ALGORITHMS"
    )]
    NoSecret,
    /// The signer, or the system's source of random bytes, failed.
    #[error("the crypto library failed")]
    Crypto,
}

/// What is wrong with a credential. The words go to the client and never repeat a part of the
/// credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its name means")]
pub enum Flaw {
    #[error("there is more than one Authorization header")]
    SeveralHeaders,
    #[error("the Authorization header must read `Bearer`, a blank and one token")]
    NotBearer,
    #[error("there is more than one cookie of that name")]
    SeveralCookies,
    #[error("the token is too long")]
    TooLong,
    #[error("the token is not made of three parts in base64url")]
    NotThreeParts,
    #[error("the token's header can't be read")]
    Header,
    #[error("the token's header has a `crit`, `enc` or `zip`, which are not supported")]
    CriticalHeader,
    #[error("the token is of another kind than an access token of a user (`typ`, `cty`)")]
    WrongType,
    #[error("the token's algorithm is not accepted here")]
    Algorithm,
    #[error("the token's issuer (`iss`) is not accepted here")]
    Issuer,
    #[error("the token is meant for another audience (`aud`)")]
    Audience,
    #[error("the token's signature fits none of the keys")]
    Signature,
    #[error("the token's claims can't be read")]
    Claims,
    #[error("the token has no expiry (`exp`), or one that is not a number")]
    Expiry,
    #[error("the token is not valid yet (`nbf`, `iat`)")]
    TooEarly,
    #[error(
        "the token does not name a user: the claim is missing, or is not 1 to 255 characters or a \
         whole number"
    )]
    User,
    #[error("the service token is not known")]
    Service,
    #[error("the visitor's cookie was not made here")]
    Visitor,
    #[error("the client secret is for a workflow that this server no longer offers")]
    Workflow,
}

impl From<Error> for error::Error {
    fn from(error: Error) -> Self {
        let edge = match &error {
            Error::Missing => {
                return Self::new(
                    Kind::MissingToken,
                    "Sign in first: send the user's token as `Authorization: Bearer`.",
                );
            }
            Error::Invalid(flaw) => {
                Self::new(Kind::InvalidToken, format!("Get a new token and try again: {flaw}."))
            }
            Error::Expired => {
                return Self::new(Kind::ExpiredToken, "Sign in again: the token has expired.");
            }
            Error::BadSecret(flaw) => {
                Self::new(Kind::InvalidToken, format!("Start a new session and try again: {flaw}."))
            }
            Error::ExpiredSecret => {
                let message = "The client secret has expired: get a new one from `POST \
                               /api/chatkit/refresh`.";
                return Self::new(Kind::ExpiredToken, message);
            }
            Error::RevokedSecret => Self::new(
                Kind::InvalidToken,
                "The client secret was revoked: get a new one from `POST /api/chatkit/refresh`.",
            ),
            Error::ForeignOrigin => Self::new(
                Kind::OriginNotAllowed,
                "A request with a cookie must come from an allowed origin: add this page's origin \
                 to CORS_ALLOWED_ORIGINS.",
            ),
            Error::NoKeys(_) | Error::SlowIssuer(_) => Self::new(
                Kind::UpstreamUnavailable,
                "Tokens can't be checked right now, because the sign-in service does not answer. \
                 Try again shortly.",
            ),
            Error::Client(_) | Error::NoSecret | Error::Crypto => return Self::internal(&error),
        };
        edge.because(&error)
    }
}

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub error: Error,
    /// A `Set-Cookie` that takes a bad visitor's cookie out of the browser, so that its next
    /// request can be welcome.
    pub set_cookie: Option<HeaderValue>,
}

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        Self { error, set_cookie: None }
    }
}

impl From<Flaw> for Rejection {
    fn from(flaw: Flaw) -> Self {
        Error::from(flaw).into()
    }
}

impl From<Rejection> for error::Error {
    /// The `Set-Cookie` is the caller's to add: take it out first.
    fn from(rejection: Rejection) -> Self {
        rejection.error.into()
    }
}
