//! Who is asking? [`Authenticator::authenticate`] turns a request's header or cookie into a
//! [`Caller`], or into a [`Rejection`].
//!
//! One credential decides: the `Authorization` header, else the cookie that may hold a user's
//! token, else the visitor's cookie. One that is there and bad is refused, with no falling back to
//! the next.

mod claims;
mod client_secret;
mod error;
mod fetch;
mod issue;
mod jwks;
mod keys;
mod origin;
mod service;
mod source;
mod token;
mod visitor;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

pub use claims::Claims;
pub use client_secret::{ClientSecrets, Held, Signed, client_secret_of};
pub use error::{Error, Flaw, Rejection};
pub use issue::{run_token, user_token};
pub use service::new_service_token;
pub use source::Timing;

use claims::{Rules, Unverified};
use fetch::Place;
use keys::KeyRing;
use service::Services;
use source::Source;
use visitor::{Known, Visitors};

use crate::clock::Clock;
use crate::config::auth::{AuthConfig, VISITOR_COOKIE};
use crate::telemetry::metrics::Metrics;
use crate::user::UserId;

/// Who asks, as far as a credential has proved it.
#[derive(Clone)]
pub enum Caller {
    /// A user whom the site has signed in.
    User {
        /// Who it is, by the claim that names the user.
        id: UserId,
        /// Everything that the token says.
        claims: Claims,
    },
    /// A browser that nobody has signed in, known again by its cookie.
    Visitor {
        /// `visitor_` and 128 random bits in hex.
        id: UserId,
    },
    /// A server of the site, which names the user it asks for.
    Service {
        /// The name that `SERVICE_TOKENS` gives it.
        name: Arc<str>,
    },
}

impl Caller {
    /// The user that the credential itself names; a service's does not.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::User { id, .. } | Self::Visitor { id } => Some(id),
            Self::Service { .. } => None,
        }
    }
}

/// The claims stay out of logs.
impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User { id, claims: _ } => {
                f.debug_struct("User").field("id", id).finish_non_exhaustive()
            }
            Self::Visitor { id } => f.debug_struct("Visitor").field("id", id).finish(),
            Self::Service { name } => f.debug_struct("Service").field("name", name).finish(),
        }
    }
}

/// What is asked of the [`Authenticator`]: one request, as far as it says who made it.
#[expect(missing_debug_implementations, reason = "the headers hold credentials")]
pub struct Asking<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// Whether the client itself, not the nearest proxy, is on this machine.
    pub client_is_loopback: bool,
    /// Whether the client speaks https, be it with us or with a trusted proxy in front.
    pub https: bool,
    /// Whether CORS allows this origin.
    pub allowed_origin: &'a (dyn Fn(&str) -> bool + Sync),
}

impl Asking<'_> {
    /// Whether a cookie must be kept to https: always, but for trying things out on one's own
    /// machine.
    fn needs_secure_cookie(&self) -> bool {
        self.https || !self.client_is_loopback
    }
}

/// A request that is let in.
#[derive(Debug)]
pub struct Answered {
    /// Who made it.
    pub caller: Caller,
    /// The `Set-Cookie` of a new visitor, or of one whose cookie is getting old.
    pub set_cookie: Option<HeaderValue>,
}

impl From<Caller> for Answered {
    fn from(caller: Caller) -> Self {
        Self { caller, set_cookie: None }
    }
}

/// Says who is asking.
#[derive(Debug)]
pub struct Authenticator {
    keys: KeyRing,
    rules: Rules,
    jwt_cookie: Option<String>,
    visitors: Option<Visitors>,
    services: Services,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl Authenticator {
    /// Prepares every key, and starts on `tasks` to fetch those that have to be fetched, until
    /// `stop`.
    ///
    /// # Errors
    /// When keys have to be fetched and no HTTP client can be built.
    pub fn new(
        config: &AuthConfig,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        Self::with_timing(config, clock, metrics, tasks, stop, &Timing::default())
    }

    /// The same, with other waiting times for the keys that are fetched.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_timing(
        config: &AuthConfig,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        tasks: &TaskTracker,
        stop: CancellationToken,
        timing: &Timing,
    ) -> Result<Self, Error> {
        let sources = start_sources(config, tasks, stop, timing)?;
        Ok(Self {
            keys: KeyRing::new(config, sources),
            rules: Rules::new(config),
            jwt_cookie: config.jwt_cookie.clone(),
            visitors: config.visitors.as_ref().map(Visitors::new),
            services: Services::new(&config.service_tokens),
            clock,
            metrics,
        })
    }

    /// Says who asks. Where visitors are welcome, whoever brings no credential becomes one.
    ///
    /// # Errors
    /// When nobody is known to ask, or a credential is bad, or it can't be checked right now.
    pub async fn authenticate(&self, asking: &Asking<'_>) -> Result<Answered, Rejection> {
        self.authenticate_as(asking, Newcomer::BecomesVisitor).await
    }

    /// Says who asks; `newcomer` says what somebody without a credential is.
    ///
    /// # Errors
    /// As for [`authenticate`](Self::authenticate).
    pub async fn authenticate_as(
        &self,
        asking: &Asking<'_>,
        newcomer: Newcomer,
    ) -> Result<Answered, Rejection> {
        if let Some(token) = token::bearer(asking.headers)? {
            return Ok(self.bearer(token).await?.into());
        }
        if let Some(name) = &self.jwt_cookie
            && let Some(token) = token::cookie(asking.headers, name)?
        {
            let caller = self.user(token).await?;
            return if origin::is_ours(asking) {
                Ok(caller.into())
            } else {
                Err(Error::ForeignOrigin.into())
            };
        }
        let visitors = self.visitors.as_ref().ok_or(Error::Missing)?;
        let answered = self.visitor(visitors, asking, newcomer);
        answered.map_err(|error| {
            let is_bad_cookie = matches!(error, Error::Invalid(_) | Error::Expired);
            let set_cookie =
                is_bad_cookie.then(|| visitors.clearing_cookie(asking.needs_secure_cookie()));
            Rejection { error, set_cookie: set_cookie.flatten() }
        })
    }

    /// The name of the service whose valid token the request carries. For what has to be known
    /// before anything else, and waits for nothing.
    #[must_use]
    pub fn service(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        if self.services.is_empty() {
            return None;
        }
        self.services.name_of(token::bearer(headers).ok()??)
    }

    /// What is missing before tokens can be checked, if anything is.
    #[must_use]
    pub fn not_ready(&self) -> Option<String> {
        if self.keys.has_run_key() {
            return None;
        }
        let missing = self.keys.sources().iter().find(|source| !source.is_ready())?;
        Some(format!("no keys from {} yet", missing.origin()))
    }

    /// Sets the gauges of the age of fetched keys. Of several sources on one host the oldest
    /// counts.
    pub fn observe(&self) {
        let sources = self.keys.sources();
        for source in sources {
            let same_host = sources.iter().filter(|other| other.host() == source.host());
            if let Some(age) = same_host.filter_map(|source| source.age()).max() {
                self.metrics.set_jwks_age(source.host(), age);
            }
        }
    }

    /// Waits for each source of keys until it has some: its origin, and how many usable keys it has
    /// or why it has none.
    pub async fn first_keys(&self, within: Duration) -> Vec<(Arc<str>, Result<usize, String>)> {
        let waits = self
            .keys
            .sources()
            .iter()
            .map(|source| async { (source.origin().clone(), source.first_keys(within).await) });
        futures_util::future::join_all(waits).await
    }

    async fn bearer(&self, token: &str) -> Result<Caller, Error> {
        if token.starts_with(service::PREFIX) {
            let name = self.services.name_of(token).ok_or(Flaw::Service)?;
            return Ok(Caller::Service { name });
        }
        self.user(token).await
    }

    async fn user(&self, token: &str) -> Result<Caller, Error> {
        let token = Unverified::parse(token)?;
        self.keys.verify(&token).await?;
        let (id, claims) = self.rules.check(&token, self.clock.now())?;
        Ok(Caller::User { id, claims })
    }

    fn visitor(
        &self,
        visitors: &Visitors,
        asking: &Asking<'_>,
        newcomer: Newcomer,
    ) -> Result<Answered, Error> {
        let now = self.clock.now();
        let secure = asking.needs_secure_cookie();
        let Some(known) = known_visitor(visitors, asking.headers, now)? else {
            if newcomer == Newcomer::IsNobody {
                return Err(Error::Missing);
            }
            let id = visitors.invent()?;
            // Another site must not be able to give a browser a new name here: it would lose its
            // own.
            let is_welcome = !origin::is_foreign(asking);
            let set_cookie = is_welcome.then(|| visitors.cookie(&id, now, secure)).transpose()?;
            return Ok(Answered { caller: Caller::Visitor { id }, set_cookie });
        };
        if !origin::is_ours(asking) {
            return Err(Error::ForeignOrigin);
        }
        let set_cookie =
            known.is_aging.then(|| visitors.cookie(&known.id, now, secure)).transpose()?;
        Ok(Answered { caller: Caller::Visitor { id: known.id }, set_cookie })
    }
}

/// What somebody without a credential is, where visitors are welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newcomer {
    /// A visitor, whom a cookie makes known again.
    BecomesVisitor,
    /// Nobody: what is asked for can only be of somebody who was here before.
    IsNobody,
}

/// The visitor whose cookie the request carries, if it carries any. A page on a sibling domain can
/// set a second cookie of the same name, which no answer of ours can clear: of several the one that
/// is good counts, if there is just one.
fn known_visitor(
    visitors: &Visitors,
    headers: &HeaderMap,
    now: Duration,
) -> Result<Option<Known>, Error> {
    let mut found = token::cookies(headers, VISITOR_COOKIE)
        .map(|cookie| visitors.recognize(cookie?, now))
        .collect::<Vec<Result<Known, Error>>>();
    if found.len() > 1 {
        found.retain(Result::is_ok);
        if found.len() != 1 {
            return Err(Flaw::SeveralCookies.into());
        }
    }
    found.pop().transpose()
}

/// Starts one task for every place that keys are fetched from.
fn start_sources(
    config: &AuthConfig,
    tasks: &TaskTracker,
    stop: CancellationToken,
    timing: &Timing,
) -> Result<Vec<Arc<Source>>, Error> {
    let mut places = Vec::new();
    if let Some(url) = &config.jwks_url {
        places.push((url.clone(), Place::Jwks(url.clone())));
    }
    if config.discovers_keys() {
        for issuer in &config.issuers {
            if let Ok(url) = Url::parse(issuer) {
                places.push((url, Place::Issuer { issuer: issuer.clone(), jwks: None }));
            }
        }
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let client = fetch::build_client(config.https_proxy.as_ref(), timing.request)?;
    let start = move |(url, place): (Url, Place)| {
        let issuer = match &place {
            Place::Issuer { issuer, .. } => Some(issuer.clone()),
            Place::Jwks(_) => None,
        };
        let source = Arc::new(Source::new(&url, issuer, config.algorithms.clone(), timing.clone()));
        tasks.spawn(source.clone().run(client.clone(), place, stop.clone()));
        source
    };
    Ok(places.into_iter().map(start).collect())
}
