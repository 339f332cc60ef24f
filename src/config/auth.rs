//! Who may ask? The settings of user tokens, visitors and service tokens.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use url::{Host, Url};

use super::env::{Secret, Vars};
use super::public_key::{PublicKey, algorithm_named};
use super::upstream::https_proxy;

/// The cookie that makes a browser a visitor.
pub const VISITOR_COOKIE: &str = "chatkit_visitor";

/// Who may ask.
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct AuthConfig {
    /// `JWT_SECRET`: the one key that HMAC tokens are checked against.
    pub jwt_secret: Option<Secret>,
    /// A key of this run alone, by which `dev` signs HS256 tokens. It is good beside every
    /// configured key.
    pub run_key: Option<Secret>,
    /// `JWT_PUBLIC_KEY`, checked.
    pub public_key: Option<PublicKey>,
    /// `JWKS_URL`: https, or http on a loopback host.
    pub jwks_url: Option<Url>,
    /// `JWT_ISSUER`: a token's `iss` must be one of these; none means that `iss` is not looked at.
    pub issuers: Vec<String>,
    /// `JWT_AUDIENCE`: a token's `aud` must name one of these; none means that `aud` is not looked
    /// at.
    pub audiences: Vec<String>,
    /// `JWT_ALGORITHMS`: what is accepted at most; unset means all that the keys can do.
    pub algorithms: Option<Vec<Algorithm>>,
    /// `JWT_USER_CLAIM`: the claim that names the user.
    pub user_claim: String,
    /// `JWT_LEEWAY_SECONDS`: how far the clocks of issuer and server may differ.
    pub leeway: Duration,
    /// `JWT_COOKIE`: the cookie that may hold the user's token.
    pub jwt_cookie: Option<String>,
    /// How visitors without a token are known again; unset means that there are none.
    pub visitors: Option<VisitorConfig>,
    /// `SERVICE_TOKENS`: digests are distinct; a name may have several, so that its token can be
    /// changed.
    pub service_tokens: Vec<ServiceToken>,
    /// `HTTPS_PROXY`: the way to an issuer's keys, for https alone.
    pub https_proxy: Option<Url>,
}

/// How visitors are known again.
#[expect(missing_debug_implementations, reason = "it holds a secret")]
pub struct VisitorConfig {
    /// `CHATKIT_COOKIE_KEY`: signs the visitor's cookie; 32 bytes or more.
    pub key: Secret,
    /// `CHATKIT_COOKIE_SAMESITE`.
    pub same_site: SameSite,
}

/// Which requests of other sites carry the visitor's cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Only a top-level navigation does.
    Lax,
    /// All do: for a page on another site. Browsers then ask for `Secure`, and keep one cookie a
    /// page with `Partitioned`.
    None,
}

/// A server that may mint sessions for users that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceToken {
    /// The name by which logs know it.
    pub name: Arc<str>,
    /// The SHA-256 of the whole token.
    pub digest: [u8; 32],
}

impl AuthConfig {
    /// Reads the variables and notes every problem, also what contradicts and what would let nobody
    /// in.
    #[must_use]
    pub fn from_vars(vars: &Vars<'_>) -> Self {
        Self::with_run_key(vars, None)
    }

    /// The same with a key of this run, with which there is somebody who can authenticate.
    pub(super) fn with_run_key(vars: &Vars<'_>, run_key: Option<Secret>) -> Self {
        let config = Self {
            jwt_secret: jwt_secret(vars),
            run_key,
            public_key: public_key(vars),
            jwks_url: vars.optional(
                "JWKS_URL",
                "an https:// address (http:// on a loopback host)",
                key_url,
            ),
            issuers: distinct(vars.list("JWT_ISSUER")),
            audiences: distinct(vars.list("JWT_AUDIENCE")),
            algorithms: algorithms(vars),
            user_claim: vars.text("JWT_USER_CLAIM").unwrap_or_else(|| "sub".to_owned()),
            leeway: Duration::from_secs(vars.number("JWT_LEEWAY_SECONDS", 30, 0..=3600)),
            jwt_cookie: vars.optional("JWT_COOKIE", "the name of a cookie", |name| {
                name.bytes().all(is_token_byte).then(|| name.to_owned())
            }),
            visitors: visitors(vars),
            service_tokens: service_tokens(vars),
            https_proxy: https_proxy(vars),
        };
        config.note_contradictions(vars);
        config
    }

    /// Whether a cookie can authenticate a request: then CORS must allow credentials.
    #[must_use]
    pub fn cookies_authenticate(&self) -> bool {
        self.jwt_cookie.is_some() || self.visitors.is_some()
    }

    /// Whether there is any key that verifies users' tokens, or a place to fetch one from.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.jwt_secret.is_some()
            || self.public_key.is_some()
            || self.jwks_url.is_some()
            || !self.issuers.is_empty()
    }

    /// Whether the keys come from the issuers themselves, by OpenID discovery: there is an issuer
    /// and no other source.
    #[must_use]
    pub fn discovers_keys(&self) -> bool {
        !self.issuers.is_empty()
            && self.jwt_secret.is_none()
            && self.public_key.is_none()
            && self.jwks_url.is_none()
            && self.issuers.iter().all(|issuer| is_discoverable(issuer))
    }

    /// Whether `JWT_ALGORITHMS` lets this algorithm pass. Whether a key can do it is another
    /// question.
    #[must_use]
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.as_ref().is_none_or(|allowed| allowed.contains(&algorithm))
    }

    /// The algorithms that `JWT_SECRET` verifies: allowed, and no stronger than the key is long
    /// (RFC 7518 section 3.2).
    pub fn hmac_algorithms(&self) -> impl Iterator<Item = Algorithm> {
        let bytes = self.jwt_secret.as_ref().map_or(0, |secret| secret.expose().len());
        // In the order in which JWT_ALGORITHMS names them, because the first one signs.
        let named =
            self.algorithms.clone().unwrap_or_else(|| AlgorithmFamily::Hmac.algorithms().to_vec());
        named
            .into_iter()
            .filter(move |algorithm| hmac_key_bytes(*algorithm).is_some_and(|need| bytes >= need))
    }

    fn note_contradictions(&self, vars: &Vars<'_>) {
        // A value that is bad was meant to be there: it is not also reported as missing.
        let is_there = |found: bool, name| found || vars.is_blamed(name);
        let has_source = is_there(self.jwt_secret.is_some(), "JWT_SECRET")
            || is_there(self.public_key.is_some(), "JWT_PUBLIC_KEY")
            || is_there(self.jwks_url.is_some(), "JWKS_URL");
        let has_source = has_source || self.run_key.is_some();
        let has_keys = has_source || is_there(!self.issuers.is_empty(), "JWT_ISSUER");
        if !has_source && !self.issuers.iter().all(|issuer| is_discoverable(issuer)) {
            let expected = "must be https:// addresses (http:// on a loopback host) when no key \
                            source is set, because the keys are then fetched from there";
            vars.problem("JWT_ISSUER", expected);
        }
        if self.jwt_cookie.is_some() && !has_keys {
            vars.problem(
                "JWT_COOKIE",
                "needs a key to check its token: set JWT_SECRET, JWT_PUBLIC_KEY or JWKS_URL",
            );
        }
        if self.jwt_cookie.as_deref() == Some(VISITOR_COOKIE) {
            vars.problem(
                "JWT_COOKIE",
                format!("must not be `{VISITOR_COOKIE}`, which is the visitors' cookie"),
            );
        }
        self.note_short_secret(vars);
        self.note_useless_algorithms(vars);
        let anonymous = vars.text("AUTH_ANONYMOUS").is_some_and(|text| text.trim() != "off");
        let anonymous = is_there(anonymous, "AUTH_ANONYMOUS");
        let has_services = is_there(!self.service_tokens.is_empty(), "SERVICE_TOKENS");
        if !has_keys && !anonymous && !has_services {
            let expected = "nobody could authenticate: set this, or JWT_PUBLIC_KEY, JWKS_URL or \
                            JWT_ISSUER, or AUTH_ANONYMOUS=on, or SERVICE_TOKENS";
            vars.problem("JWT_SECRET", expected);
        }
    }

    fn note_short_secret(&self, vars: &Vars<'_>) {
        let (Some(secret), Some(algorithms)) = (&self.jwt_secret, &self.algorithms) else { return };
        for algorithm in algorithms {
            let Some(need) = hmac_key_bytes(*algorithm) else { continue };
            if secret.expose().len() < need {
                vars.problem(
                    "JWT_SECRET",
                    format!("must have {need} bytes or more for {algorithm:?}"),
                );
            }
        }
    }

    fn note_useless_algorithms(&self, vars: &Vars<'_>) {
        let Some(allowed) = &self.algorithms else { return };
        let secret = allowed.iter().any(|a| a.family() == AlgorithmFamily::Hmac)
            && self.jwt_secret.is_some();
        let public = self.public_key.as_ref();
        let public =
            public.is_some_and(|key| key.kind().algorithms().iter().any(|a| allowed.contains(a)));
        let fetched = self.jwks_url.is_some() || self.discovers_keys();
        let fetched = fetched && allowed.iter().any(|a| a.family() != AlgorithmFamily::Hmac);
        let any_key = self.jwt_secret.is_some()
            || self.public_key.is_some()
            || self.jwks_url.is_some()
            || self.discovers_keys();
        if any_key && !secret && !public && !fetched {
            vars.problem(
                "JWT_ALGORITHMS",
                "must name an algorithm that one of the configured keys can verify",
            );
        }
    }
}

/// Whether an issuer's keys may be fetched from the address that it is.
fn is_discoverable(issuer: &str) -> bool {
    key_url(issuer).is_some_and(|url| url.query().is_none() && url.fragment().is_none())
}

/// How long an HMAC key must be (RFC 7518 section 3.2); nothing for other algorithms.
fn hmac_key_bytes(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::HS256 => Some(32),
        Algorithm::HS384 => Some(48),
        Algorithm::HS512 => Some(64),
        _ => None,
    }
}

fn jwt_secret(vars: &Vars<'_>) -> Option<Secret> {
    let secret = vars.secret("JWT_SECRET")?;
    if secret.expose().contains("-----BEGIN ") {
        vars.problem(
            "JWT_SECRET",
            "holds a PEM key; a public key goes to JWT_PUBLIC_KEY, a private one nowhere",
        );
        return None;
    }
    if secret.expose().len() < 32 {
        vars.problem("JWT_SECRET", "must have 32 bytes or more (HS384 needs 48, HS512 needs 64)");
        return None;
    }
    Some(secret)
}

fn public_key(vars: &Vars<'_>) -> Option<PublicKey> {
    let pem = vars.secret("JWT_PUBLIC_KEY")?;
    PublicKey::from_pem(pem.expose())
        .map_err(|problem| vars.problem("JWT_PUBLIC_KEY", problem.to_string()))
        .ok()
}

fn algorithms(vars: &Vars<'_>) -> Option<Vec<Algorithm>> {
    let names = vars.list("JWT_ALGORITHMS");
    let algorithms: Option<Vec<_>> = names.iter().map(|name| algorithm_named(name)).collect();
    if algorithms.is_none() {
        let expected = "must be a comma-separated list of HS256, HS384, HS512, RS256, RS384, \
                        RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA (or Ed25519)";
        vars.problem("JWT_ALGORITHMS", expected);
    }
    algorithms.filter(|algorithms| !algorithms.is_empty())
}

fn visitors(vars: &Vars<'_>) -> Option<VisitorConfig> {
    let anonymous = vars.switch("AUTH_ANONYMOUS", false);
    let same_site =
        vars.or("CHATKIT_COOKIE_SAMESITE", SameSite::Lax, "`lax` or `none`", |text| match text {
            "lax" => Some(SameSite::Lax),
            "none" => Some(SameSite::None),
            _ => None,
        });
    let key = vars.key("CHATKIT_COOKIE_KEY");
    if anonymous && key.is_none() && !vars.is_blamed("CHATKIT_COOKIE_KEY") {
        let expected = "is required with AUTH_ANONYMOUS=on: 32 bytes or more, `openssl rand -hex \
                        32` makes one";
        vars.problem("CHATKIT_COOKIE_KEY", expected);
    }
    key.filter(|_| anonymous).map(|key| VisitorConfig { key, same_site })
}

fn service_tokens(vars: &Vars<'_>) -> Vec<ServiceToken> {
    let Some(list) = vars.secret("SERVICE_TOKENS") else { return Vec::new() };
    let mut tokens: Vec<ServiceToken> = Vec::new();
    for (index, entry) in list.expose().split(',').map(str::trim).enumerate() {
        let at = index + 1;
        match parse_service_token(entry) {
            None if entry.is_empty() && index > 0 => {}
            None if entry.contains("cks_") => vars.problem(
                "SERVICE_TOKENS",
                format!(
                    "entry {at} holds a token itself; give `name:` and the hex of the token's \
                         SHA-256"
                ),
            ),
            None => vars.problem(
                "SERVICE_TOKENS",
                format!(
                    "entry {at} must be `name:sha256hex`, with a name of up to 64 letters, digits, \
                     `.`, `_` or `-`"
                ),
            ),
            Some(token) if tokens.iter().any(|other| other.digest == token.digest) => {
                vars.problem(
                    "SERVICE_TOKENS",
                    format!("entry {at} has the digest of an earlier one"),
                );
            }
            Some(token) => tokens.push(token),
        }
    }
    tokens
}

fn parse_service_token(entry: &str) -> Option<ServiceToken> {
    let (name, hex) = entry.split_once(':')?;
    let digest = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?.try_into().ok()?;
    is_service_name(name).then(|| ServiceToken { name: name.into(), digest })
}

/// Whether a service may have this name: 1 to 64 letters, digits, `.`, `_` or `-`.
#[must_use]
pub fn is_service_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// An address from which keys may be fetched: nobody on the way can change what it answers.
#[must_use]
pub fn key_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
    (safe && url.has_host() && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// Whether the address names this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// RFC 9110's `token`: what a cookie's name is made of.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn distinct(list: Vec<String>) -> Vec<String> {
    let mut seen = Vec::with_capacity(list.len());
    for item in list {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}
