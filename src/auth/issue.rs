//! How is a user's token made here? For the `token` command and for `dev`, which stand in for the
//! site's own sign-in.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};

use super::error::Error;
use super::keys::RUN_ALGORITHM;
use crate::clock::Clock;
use crate::config::auth::AuthConfig;
use crate::config::env::Secret;
use crate::ids::random_hex;
use crate::user::UserId;

/// Signs a token for this user with `JWT_SECRET`, such that our own checks let it pass: with the
/// first HMAC algorithm of `JWT_ALGORITHMS` (or HS256), and with the first issuer and the first
/// audience that are configured.
///
/// # Errors
/// When there is no `JWT_SECRET` that is long enough for an algorithm that is allowed.
pub fn user_token(
    config: &AuthConfig,
    user: &UserId,
    ttl: Duration,
    clock: &dyn Clock,
) -> Result<String, Error> {
    let secret = config.jwt_secret.as_ref().ok_or(Error::NoSecret)?;
    let algorithm = config.hmac_algorithms().next().ok_or(Error::NoSecret)?;
    signed(config, (secret, algorithm), user, ttl, clock)
}

/// The same, signed with the key of this run: no other server takes it.
///
/// # Errors
/// When this run has no key.
pub fn run_token(
    config: &AuthConfig,
    user: &UserId,
    ttl: Duration,
    clock: &dyn Clock,
) -> Result<String, Error> {
    let secret = config.run_key.as_ref().ok_or(Error::NoSecret)?;
    signed(config, (secret, RUN_ALGORITHM), user, ttl, clock)
}

fn signed(
    config: &AuthConfig,
    (secret, algorithm): (&Secret, Algorithm),
    user: &UserId,
    ttl: Duration,
    clock: &dyn Clock,
) -> Result<String, Error> {
    let now = clock.unix_seconds();
    let mut claims = Map::new();
    claims.insert("iat".to_owned(), json!(now));
    claims.insert("exp".to_owned(), json!(now.saturating_add(ttl.as_secs())));
    claims.insert("jti".to_owned(), json!(random_hex::<16>()));
    if let Some(issuer) = config.issuers.first() {
        claims.insert("iss".to_owned(), json!(issuer));
    }
    if let Some(audience) = config.audiences.first() {
        claims.insert("aud".to_owned(), json!(audience));
    }
    claims.insert(config.user_claim.clone(), json!(user.as_str()));
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!(
        "{}.{}",
        part(&json!({"alg": algorithm, "typ": "JWT"})),
        part(&Value::Object(claims))
    );
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &key).map_err(|_| Error::Crypto)?;
    let signature = signer.try_sign(message.as_bytes()).map_err(|_| Error::Crypto)?;
    Ok(format!("{message}.{}", BASE64URL_NOPAD.encode(&signature)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::claims::{Rules, Unverified};
    use crate::auth::keys::KeyRing;
    use crate::clock::TestClock;
    use crate::config::env::Vars;

    fn config(vars: &[(&str, &str)]) -> AuthConfig {
        let lookup = |name: &str| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        AuthConfig::from_vars(&Vars::new(&lookup))
    }

    #[tokio::test]
    async fn a_token_made_here_passes_our_own_checks() {
        let secret = "s".repeat(64);
        let some = [
            ("JWT_SECRET", secret.as_str()),
            ("JWT_ISSUER", "https://a.example,https://b.example"),
            ("JWT_AUDIENCE", "chat"),
            ("JWT_USER_CLAIM", "uid"),
            ("JWT_ALGORITHMS", "RS256,HS512,HS256"),
        ];
        for vars in [&some[..1], &some[..]] {
            let config = config(vars);
            let clock = TestClock::at(1_800_000_000);
            let user = UserId::parse("Ada Löve").unwrap();
            let token = user_token(&config, &user, Duration::from_secs(60), &clock).unwrap();
            let token = Unverified::parse(&token).unwrap();
            let first = if vars.len() == 1 { "HS256" } else { "HS512" };
            assert_eq!(format!("{:?}", token.algorithm), first);
            KeyRing::new(&config, Vec::new()).verify(&token).await.unwrap();
            let (seen, claims) = Rules::new(&config).check(&token, clock.now()).unwrap();
            assert_eq!(seen, user);
            assert_eq!(claims["exp"], json!(1_800_000_060));
            assert_eq!(claims["jti"].as_str().map(str::len), Some(32));
            let later = Duration::from_secs(1_800_000_090);
            assert_eq!(Rules::new(&config).check(&token, later).err(), Some(Error::Expired));
        }
    }

    #[test]
    fn without_a_secret_that_fits_no_token_is_made() {
        let user = UserId::parse("ada").unwrap();
        let secret = "s".repeat(32);
        for vars in [&[][..], &[("JWT_SECRET", secret.as_str()), ("JWT_ALGORITHMS", "RS256")]] {
            let made = user_token(&config(vars), &user, Duration::from_secs(60), &TestClock::at(0));
            assert_eq!(made, Err(Error::NoSecret));
        }
    }
}
