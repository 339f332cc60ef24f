//! A secret and the algorithms that it is long enough for.

use chatkit_server::auth::Flaw;
use jsonwebtoken::Algorithm;

use crate::attacks::{refused, with_secret};
use crate::support::{Auth, Key, SECRET, claims};

#[tokio::test]
async fn a_secret_that_is_too_short_for_an_algorithm_does_not_accept_it() {
    let key = Key::hmac(SECRET.as_bytes());
    assert_eq!(with_secret().user(&key.sign(&claims())).await, Ok("ada".into()));
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = Key::hmac(SECRET.as_bytes()).with_algorithm(algorithm).sign(&claims());
        assert_eq!(refused(&with_secret(), &token).await, Flaw::Algorithm, "{algorithm:?}");
    }
    let long = SECRET.repeat(2);
    let auth = Auth::new(&[("JWT_SECRET", &long)]);
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let token = Key::hmac(long.as_bytes()).with_algorithm(algorithm).sign(&claims());
        assert_eq!(auth.user(&token).await, Ok("ada".into()), "{algorithm:?}");
    }
}
