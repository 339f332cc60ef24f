//! What the tests need: an authenticator, keys that sign, and a server of keys that can be down,
//! slow or hostile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use chatkit_server::auth::{Answered, Asking, Authenticator, Caller, Error, Rejection, Timing};
use chatkit_server::clock::TestClock;
use chatkit_server::config::auth::AuthConfig;
use chatkit_server::config::env::{Problem, Vars};
use chatkit_server::telemetry::metrics::Metrics;
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const COOKIE_KEY: &str = "fedcba9876543210fedcba9876543210";

macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!("../fixtures/keys/", $name, ".pem"))
    };
}
pub(crate) use pem;

pub(crate) fn configure(vars: &[(&str, &str)]) -> (AuthConfig, Vec<Problem>) {
    let lookup = |name: &str| {
        vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let vars = Vars::new(&lookup);
    let config = AuthConfig::from_vars(&vars);
    (config, vars.into_problems())
}

/// An authenticator whose clock stands at [`NOW`]; its tasks end with it.
pub(crate) struct Auth {
    pub(crate) inner: Authenticator,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) registry: prometheus_client::registry::Registry,
    tasks: TaskTracker,
    stop: DropGuard,
}

/// No waiting time of these ever ends in a test that passes, unless the test sets it.
pub(crate) fn timing() -> Timing {
    let hour = Duration::from_secs(3600);
    let long = Duration::from_secs(20);
    Timing {
        cool_down: hour,
        first_answer: long,
        next_answer: long,
        refresh: hour,
        refresh_bounds: (hour, hour),
        retry_bounds: (hour, hour),
        request: Duration::from_secs(5),
    }
}

impl Auth {
    pub(crate) fn new(vars: &[(&str, &str)]) -> Self {
        Self::timed(vars, &timing())
    }

    pub(crate) fn timed(vars: &[(&str, &str)], timing: &Timing) -> Self {
        let (config, problems) = configure(vars);
        assert_eq!(problems, [], "the configuration is sound");
        let clock = Arc::new(TestClock::at(NOW));
        let stop = CancellationToken::new();
        let (metrics, registry) = Metrics::new(false);
        let tasks = TaskTracker::new();
        let inner = Authenticator::with_timing(
            &config,
            clock.clone(),
            metrics,
            &tasks,
            stop.clone(),
            timing,
        )
        .unwrap();
        Self { inner, clock, registry, tasks, stop: stop.drop_guard() }
    }

    /// Tells the tasks to stop, and waits until they have.
    pub(crate) async fn stop(self) {
        self.stop.disarm().cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(20), self.tasks.wait())
            .await
            .expect("the tasks end");
    }

    /// Asks over https with these headers; `https://shop.example` is an allowed origin.
    pub(crate) async fn ask(&self, headers: &[(&str, &str)]) -> Result<Answered, Rejection> {
        let headers = headers_of(headers);
        let allowed_origin = |origin: &str| origin == "https://shop.example";
        let asking = Asking {
            headers: &headers,
            client_is_loopback: false,
            https: true,
            allowed_origin: &allowed_origin,
        };
        self.inner.authenticate(&asking).await
    }

    /// The user whose bearer token this is, or why it is refused.
    pub(crate) async fn user(&self, token: &str) -> Result<String, Error> {
        let answered = self.ask(&[("authorization", &format!("Bearer {token}"))]).await;
        match answered.map_err(|rejection| rejection.error)?.caller {
            Caller::User { id, .. } => Ok(id.as_str().to_owned()),
            caller @ (Caller::Visitor { .. } | Caller::Service { .. }) => {
                panic!("no user: {caller:?}")
            }
        }
    }
}

pub(crate) fn headers_of(headers: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
    };
    headers.iter().map(pair).collect()
}

/// Claims that are good everywhere.
pub(crate) fn claims() -> Value {
    json!({"sub": "ada", "iat": NOW, "exp": NOW + 300})
}

pub(crate) fn encode(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}

/// A key that signs.
pub(crate) struct Key {
    pub(crate) algorithm: Algorithm,
    pub(crate) encoding: EncodingKey,
    pub(crate) kid: &'static str,
}

impl Key {
    pub(crate) fn hmac(secret: &[u8]) -> Self {
        Self {
            algorithm: Algorithm::HS256,
            encoding: EncodingKey::from_secret(secret),
            kid: "hmac",
        }
    }

    pub(crate) fn rsa() -> Self {
        let encoding = EncodingKey::from_rsa_pem(pem!("rsa2048.private").as_bytes()).unwrap();
        Self { algorithm: Algorithm::RS256, encoding, kid: "rsa" }
    }

    pub(crate) fn p256() -> Self {
        let encoding = EncodingKey::from_ec_pem(pem!("p256.private").as_bytes()).unwrap();
        Self { algorithm: Algorithm::ES256, encoding, kid: "p256" }
    }

    pub(crate) fn p384() -> Self {
        let encoding = EncodingKey::from_ec_pem(pem!("p384.private").as_bytes()).unwrap();
        Self { algorithm: Algorithm::ES384, encoding, kid: "p384" }
    }

    pub(crate) fn ed25519() -> Self {
        let encoding = EncodingKey::from_ed_pem(pem!("ed25519.private").as_bytes()).unwrap();
        Self { algorithm: Algorithm::EdDSA, encoding, kid: "ed25519" }
    }

    /// An ES256 key that nobody has seen before.
    pub(crate) fn fresh(kid: &'static str) -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .unwrap();
        Self {
            algorithm: Algorithm::ES256,
            encoding: EncodingKey::from_ec_der(pkcs8.as_ref()),
            kid,
        }
    }

    pub(crate) fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// A token with this key's `alg` and `kid`.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({"alg": self.algorithm, "typ": "JWT", "kid": self.kid}), claims)
    }

    /// A token with any header.
    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &self.encoding, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    /// The public half as a member of a JWKS, with its `kid` and without `alg`.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&self.encoding, self.algorithm).unwrap())
                .unwrap();
        jwk["kid"] = json!(self.kid);
        jwk.as_object_mut().unwrap().remove("alg");
        jwk
    }
}

/// A server on a free port that answers each path as it is told to, and counts.
pub(crate) struct Issuer {
    pub(crate) url: String,
    answers: Arc<Answers>,
    _stop: DropGuard,
}

type Answer = (u16, Vec<(&'static str, String)>, String);

struct Answers {
    by_path: Mutex<Vec<(&'static str, Answer)>>,
    asked: watch::Sender<Vec<String>>,
    is_open: watch::Sender<bool>,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = Arc::new(Answers {
            by_path: Mutex::default(),
            asked: watch::Sender::new(Vec::new()),
            is_open: watch::Sender::new(true),
        });
        let router = Router::new().fallback(answer).with_state(answers.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        TaskTracker::new().spawn(async move {
            tokio::select! { _ = axum::serve(listener, router) => {}, () = stopped => {} }
        });
        Self { url, answers, _stop: stop.drop_guard() }
    }

    pub(crate) fn jwks_url(&self) -> String {
        format!("{}/jwks", self.url)
    }

    pub(crate) fn set(
        &self,
        path: &'static str,
        status: u16,
        headers: &[(&'static str, &str)],
        body: &str,
    ) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut by_path = self.answers.by_path.lock().unwrap();
        by_path.retain(|(known, _)| *known != path);
        by_path.push((path, (status, headers, body.to_owned())));
    }

    /// Publishes these keys at `/jwks`.
    pub(crate) fn publish(&self, keys: &[Value]) {
        self.set("/jwks", 200, &[], &json!({"keys": keys}).to_string());
    }

    /// Publishes an OpenID configuration that names `issuer` and the keys at `/jwks`.
    pub(crate) fn publish_configuration(&self, issuer: &str) {
        let body = json!({"issuer": issuer, "jwks_uri": self.jwks_url()}).to_string();
        self.set("/.well-known/openid-configuration", 200, &[], &body);
    }

    /// From now on requests are counted and then kept waiting.
    pub(crate) fn hold(&self) {
        self.answers.is_open.send_replace(false);
    }

    pub(crate) fn release(&self) {
        self.answers.is_open.send_replace(true);
    }

    /// How often `path` has been asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.answers.asked.borrow().iter().filter(|asked| *asked == path).count()
    }

    /// Waits until `path` has been asked for so often.
    pub(crate) async fn asked(&self, path: &str, times: usize) {
        let mut asked = self.answers.asked.subscribe();
        let enough =
            asked.wait_for(|asked| asked.iter().filter(|asked| *asked == path).count() >= times);
        tokio::time::timeout(Duration::from_secs(20), enough)
            .await
            .expect("the path is asked for")
            .unwrap();
    }
}

async fn answer(State(answers): State<Arc<Answers>>, request: Request) -> Response<String> {
    let path = request.uri().path().to_owned();
    answers.asked.send_modify(|asked| asked.push(path.clone()));
    answers.is_open.subscribe().wait_for(|is_open| *is_open).await.unwrap();
    let by_path = answers.by_path.lock().unwrap();
    let known = by_path.iter().find(|(known, _)| *known == path);
    let (status, headers, body) =
        known.map_or_else(|| (404, Vec::new(), String::new()), |(_, answer)| answer.clone());
    let response = Response::builder().status(status);
    let response =
        headers.into_iter().fold(response, |response, (name, value)| response.header(name, value));
    response.body(body).unwrap()
}
