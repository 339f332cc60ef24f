//! Tokens of an issuer whose keys are found by OpenID discovery: signed, checked, and checked again
//! after it has changed its keys.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::server::{PATIENCE, TestServer};
use crate::support::tokens;
use crate::support::upstream::{Reply, ScriptedUpstream};

const SESSION: &str = "/api/chatkit/session";

/// A key of the issuer.
struct Key {
    id: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
}

impl Key {
    fn rsa(id: &'static str) -> Self {
        let pem = include_bytes!("../fixtures/keys/rsa2048.private.pem");
        Self {
            id,
            algorithm: Algorithm::RS256,
            private: EncodingKey::from_rsa_pem(pem).expect("a key"),
        }
    }

    fn ec(id: &'static str) -> Self {
        let pem = include_bytes!("../fixtures/keys/p256.private.pem");
        Self {
            id,
            algorithm: Algorithm::ES256,
            private: EncodingKey::from_ec_pem(pem).expect("a key"),
        }
    }

    fn public(&self) -> Jwk {
        let mut key =
            Jwk::from_encoding_key(&self.private, self.algorithm).expect("its public half");
        key.common.key_id = Some(self.id.to_owned());
        key.common.public_key_use = Some(PublicKeyUse::Signature);
        key
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.private).expect("a token")
    }
}

/// An issuer on a real socket.
struct Issuer {
    address: SocketAddr,
    site: Arc<Site>,
    _running: JoinSet<()>,
}

#[derive(Default)]
struct Site {
    keys: Mutex<Vec<Jwk>>,
    /// What the discovery document says in place of the truth.
    lie: Mutex<Option<String>>,
    is_down: Mutex<bool>,
    asked: Mutex<Vec<String>>,
}

impl Issuer {
    async fn start(keys: &[&Key]) -> Self {
        let site = Arc::new(Site::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer).with_state((address, Arc::clone(&site)));
        let mut running = JoinSet::new();
        running.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        let issuer = Self { address, site, _running: running };
        issuer.publish(keys);
        issuer
    }

    fn name(&self) -> String {
        format!("http://{}/tenant", self.address)
    }

    fn publish(&self, keys: &[&Key]) {
        *self.site.keys.lock().unwrap() = keys.iter().map(|key| key.public()).collect();
    }

    fn asked(&self) -> Vec<String> {
        self.site.asked.lock().unwrap().clone()
    }

    /// A server that takes this issuer's tokens and those of no one else.
    fn server(&self, upstream: &ScriptedUpstream) -> TestServer {
        let issuer = self.name();
        let vars = [("JWT_SECRET", ""), ("JWT_ISSUER", issuer.as_str()), ("JWT_AUDIENCE", "chat")];
        TestServer::hosted(&upstream.base(), &vars)
    }

    fn claims(&self, user: &str) -> Value {
        json!({"iss": self.name(), "aud": ["chat", "other"], "sub": user, "exp": tokens::now() + 300})
    }
}

async fn answer(State((address, site)): State<(SocketAddr, Arc<Site>)>, uri: Uri) -> Response {
    site.asked.lock().unwrap().push(uri.path().to_owned());
    if *site.is_down.lock().unwrap() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let truth = format!("http://{address}/tenant");
    let body = match uri.path() {
        "/tenant/.well-known/openid-configuration" => {
            let issuer = site.lie.lock().unwrap().clone().unwrap_or_else(|| truth.clone());
            json!({"issuer": issuer, "jwks_uri": format!("{truth}/keys"), "authorization_endpoint": "x"})
        }
        "/tenant/keys" => json!({"keys": *site.keys.lock().unwrap()}),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([("content-type", "application/json")], body.to_string()).into_response()
}

/// Status and code of a request with this token.
async fn outcome(server: &TestServer, token: &str) -> (u16, String) {
    let answer = server.post(SESSION).bearer_auth(token).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

async fn until_ready(server: &TestServer) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while server.get("/readyz").send().await.expect("an answer").status() != 200 {
        assert!(std::time::Instant::now() < deadline, "it gets its keys:\n{}", server.logs());
    }
}

async fn minting() -> ScriptedUpstream {
    ScriptedUpstream::start(
        (0..9).map(|number| Reply::session(&format!("cksess_{number}"), "ek_1")),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_issuer_is_good_and_any_other_is_not() {
    let (rsa, ec, stranger) = (Key::rsa("rsa-1"), Key::ec("ec-1"), Key::ec("rsa-1"));
    let issuer = Issuer::start(&[&rsa, &ec]).await;
    let upstream = minting().await;
    let server = issuer.server(&upstream);
    until_ready(&server).await;
    for (key, user) in [(&rsa, "ada"), (&ec, "bob")] {
        assert_eq!(outcome(&server, &key.sign(&issuer.claims(user))).await, (200, String::new()));
        assert_eq!(upstream.requests().last().expect("a request").json()["user"], user);
    }
    let with = |name: &str, value: Value| {
        let mut claims = issuer.claims("ada");
        claims[name] = value;
        claims
    };
    for (token, code) in [
        (rsa.sign(&with("iss", json!("https://evil.example"))), "invalid_token"),
        (rsa.sign(&with("aud", json!("another"))), "invalid_token"),
        (rsa.sign(&with("aud", Value::Null)), "invalid_token"),
        (rsa.sign(&with("exp", json!(tokens::now() - 60))), "expired_token"),
        (rsa.sign(&with("exp", Value::Null)), "invalid_token"),
        (rsa.sign(&with("nbf", json!(tokens::now() + 300))), "invalid_token"),
        (rsa.sign(&with("sub", Value::Null)), "invalid_token"),
        (stranger.sign(&issuer.claims("ada")), "invalid_token"),
        (tokens::signed(&issuer.claims("ada")), "invalid_token"),
    ] {
        assert_eq!(outcome(&server, &token).await, (401, code.to_owned()));
    }
    assert_eq!(
        issuer.asked(),
        ["/tenant/.well-known/openid-configuration", "/tenant/keys"],
        "asked once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_fetched_when_a_token_names_it_and_an_old_one_ends_with_that() {
    let (old, new) = (Key::rsa("2025"), Key::ec("2026"));
    let issuer = Issuer::start(&[&old]).await;
    let upstream = minting().await;
    let server = issuer.server(&upstream);
    until_ready(&server).await;
    let (by_old, by_new) = (old.sign(&issuer.claims("ada")), new.sign(&issuer.claims("ada")));
    assert_eq!(outcome(&server, &by_old).await.0, 200);

    issuer.publish(&[&new]);
    assert_eq!(outcome(&server, &by_old).await.0, 200, "nothing has been fetched since");
    assert_eq!(
        outcome(&server, &by_new).await.0,
        200,
        "fetched for the unknown key, within the request"
    );
    assert_eq!(
        outcome(&server, &by_old).await,
        (401, "invalid_token".to_owned()),
        "the old key is gone"
    );
    let fetches = issuer.asked().len();
    for number in 0..20 {
        let invented = Key { id: ["a", "b", "c", "d"][number % 4], ..Key::ec("") };
        assert_eq!(outcome(&server, &invented.sign(&issuer.claims("ada"))).await.0, 401);
    }
    assert_eq!(issuer.asked().len(), fetches, "invented keys don't make it ask again and again");

    *issuer.site.is_down.lock().unwrap() = true;
    assert_eq!(
        outcome(&server, &by_new).await.0,
        200,
        "what is known is kept while the issuer is down"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_nobody_comes_in_until_the_issuer_is_there() {
    let key = Key::rsa("k");
    let issuer = Issuer::start(&[&key]).await;
    *issuer.site.lie.lock().unwrap() = Some("https://another.example".to_owned());
    let upstream = minting().await;
    let server = issuer.server(&upstream);
    let token = key.sign(&issuer.claims("ada"));
    let unavailable = (503, "upstream_unavailable".to_owned());
    assert_eq!(
        outcome(&server, &token).await,
        unavailable,
        "its configuration names another issuer"
    );
    assert_eq!(server.get("/readyz").send().await.expect("an answer").status(), 503);
    server.log_line(|line| {
        line["error"].as_str().is_some_and(|error| error.contains("names another issuer"))
    });

    *issuer.site.lie.lock().unwrap() = None;
    until_ready(&server).await;
    assert_eq!(outcome(&server, &token).await.0, 200, "tried again by itself");
}
