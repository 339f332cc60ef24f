//! How are the keys of issuers discovered? Each issuer speaks for itself alone.

use chatkit_server::auth::{Error, Flaw};
use serde_json::json;

use crate::fetched::no_keys;
use crate::support::{Auth, Issuer, Key, claims};

fn ada() -> Result<String, Error> {
    Ok("ada".into())
}

fn wrong() -> Result<String, Error> {
    Err(Flaw::Signature.into())
}

#[tokio::test]
async fn keys_are_discovered_from_an_issuer_that_names_itself() {
    let server = Issuer::start().await;
    server.publish(&[Key::p256().jwk()]);
    for issuer in [server.url.clone(), format!("{}/", server.url)] {
        server.publish_configuration(&issuer);
        let auth = Auth::new(&[("JWT_ISSUER", &issuer)]);
        let mut claims = claims();
        claims["iss"] = json!(issuer);
        assert_eq!(auth.user(&Key::p256().sign(&claims)).await, ada(), "{issuer}");
        claims["iss"] = json!("https://other.example");
        assert_eq!(auth.user(&Key::p256().sign(&claims)).await, Err(Flaw::Issuer.into()));
    }
    server.publish_configuration("https://other.example");
    let vars = [("JWT_ISSUER", server.url.as_str())];
    assert_eq!(no_keys(&vars).await, "its OpenID configuration names another issuer");
    server.publish_configuration(&format!("{}/", server.url));
    assert_eq!(
        no_keys(&vars).await,
        "its OpenID configuration names another issuer",
        "to the letter"
    );
    let unsafe_keys =
        json!({"issuer": server.url, "jwks_uri": "http://keys.example/jwks"}).to_string();
    server.set("/.well-known/openid-configuration", 200, &[], &unsafe_keys);
    assert_eq!(no_keys(&vars).await, "its OpenID configuration has a jwks_uri that is not https");
}

#[tokio::test]
async fn the_keys_of_one_issuer_never_verify_a_token_of_another() {
    let (one, two) = (Issuer::start().await, Issuer::start().await);
    let keys = [Key::fresh("a"), Key::fresh("a")];
    for (server, key) in [(&one, &keys[0]), (&two, &keys[1])] {
        server.publish(&[key.jwk()]);
        server.publish_configuration(&server.url);
    }
    let auth = Auth::new(&[("JWT_ISSUER", &format!("{},{}", one.url, two.url))]);
    let signed = |key: &Key, issuer: &str| {
        let mut claims = claims();
        claims["iss"] = json!(issuer);
        key.sign(&claims)
    };
    for (key, own, foreign) in [(&keys[0], &one.url, &two.url), (&keys[1], &two.url, &one.url)] {
        assert_eq!(auth.user(&signed(key, own)).await, ada());
        assert_eq!(auth.user(&signed(key, foreign)).await, wrong());
    }
    assert_eq!(
        auth.user(&keys[0].sign(&claims())).await,
        Err(Flaw::Issuer.into()),
        "no iss at all"
    );
}

#[tokio::test]
async fn an_issuer_that_moves_its_keys_is_discovered_again() {
    let server = Issuer::start().await;
    let configuration = |path: &str| {
        let body =
            json!({"issuer": server.url, "jwks_uri": format!("{}{path}", server.url)}).to_string();
        server.set("/.well-known/openid-configuration", 200, &[], &body);
    };
    server.publish(&[Key::p256().jwk()]);
    configuration("/jwks");
    let auth = Auth::new(&[("JWT_ISSUER", &server.url)]);
    let new = Key::fresh("new");
    let mut claims = claims();
    claims["iss"] = json!(server.url);
    assert_eq!(auth.user(&Key::p256().sign(&claims)).await, ada());
    server.set("/jwks", 404, &[], "");
    server.set("/moved", 200, &[], &json!({"keys": [new.jwk()]}).to_string());
    configuration("/moved");
    assert_eq!(auth.user(&new.sign(&claims)).await, ada());
}
