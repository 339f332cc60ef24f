//! When does a cookie count? Visitors are known again by theirs, and only our own pages may use it.

use std::time::Duration;

use axum::http::HeaderValue;
use chatkit_server::auth::{Answered, Asking, Caller, Error, Flaw, Rejection};

use crate::support::{Auth, COOKIE_KEY, Key, SECRET, claims, headers_of};

const SHOP: (&str, &str) = ("origin", "https://shop.example");
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn visitors() -> Auth {
    Auth::new(&[("AUTH_ANONYMOUS", "on"), ("CHATKIT_COOKIE_KEY", COOKIE_KEY)])
}

fn visitor(answered: &Answered) -> String {
    match &answered.caller {
        Caller::Visitor { id } => id.as_str().to_owned(),
        caller @ (Caller::User { .. } | Caller::Service { .. }) => panic!("no visitor: {caller:?}"),
    }
}

fn text(cookie: Option<&HeaderValue>) -> &str {
    cookie.expect("a cookie is set").to_str().unwrap()
}

/// What a browser sends back of a `Set-Cookie`.
fn pair(cookie: Option<&HeaderValue>) -> String {
    text(cookie).split(';').next().unwrap().to_owned()
}

fn error(answered: Result<Answered, Rejection>) -> Option<Error> {
    answered.err().map(|rejection| rejection.error)
}

#[tokio::test]
async fn a_visitor_gets_a_cookie_once_and_is_known_again_by_it() {
    let auth = visitors();
    let first = auth.ask(&[]).await.unwrap();
    let set = text(first.set_cookie.as_ref());
    assert!(set.starts_with("chatkit_visitor=v1.visitor_"), "{set}");
    assert!(set.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"), "{set}");
    let cookie = pair(first.set_cookie.as_ref());
    let again = auth.ask(&[("cookie", &cookie), SHOP]).await.unwrap();
    assert_eq!(visitor(&again), visitor(&first));
    assert_eq!(again.set_cookie, None, "a fresh cookie is left alone");
    assert_ne!(
        visitor(&auth.ask(&[]).await.unwrap()),
        visitor(&first),
        "without it everybody is somebody else"
    );
}

#[tokio::test]
async fn a_cookie_in_the_second_half_of_its_life_is_renewed_for_the_same_visitor() {
    let auth = visitors();
    let first = auth.ask(&[]).await.unwrap();
    let cookie = pair(first.set_cookie.as_ref());
    auth.clock.advance(DAY * 16);
    let again = auth.ask(&[("cookie", &cookie), SHOP]).await.unwrap();
    assert_eq!(visitor(&again), visitor(&first));
    let renewed = pair(again.set_cookie.as_ref());
    auth.clock.advance(DAY * 20);
    assert_eq!(error(auth.ask(&[("cookie", &cookie), SHOP]).await), Some(Error::Expired));
    let later = auth.ask(&[("cookie", &renewed), SHOP]).await.unwrap();
    assert_eq!(visitor(&later), visitor(&first), "the renewed one lives on");
}

#[tokio::test]
async fn a_bad_visitor_cookie_is_refused_and_taken_out_of_the_browser() {
    let auth = visitors();
    let cookie = pair(auth.ask(&[]).await.unwrap().set_cookie.as_ref());
    let forged = cookie.replace("visitor_", "visitor_0");
    let twice = format!("{cookie}; {cookie}");
    for (cookie, flaw) in [
        ("chatkit_visitor=", Flaw::Visitor),
        ("chatkit_visitor=visitor_0123", Flaw::Visitor),
        (forged.as_str(), Flaw::Visitor),
        (twice.as_str(), Flaw::SeveralCookies),
    ] {
        let rejection = auth.ask(&[("cookie", cookie), SHOP]).await.unwrap_err();
        assert_eq!(rejection.error, flaw.into(), "{cookie}");
        let cleared = text(rejection.set_cookie.as_ref());
        assert_eq!(cleared, "chatkit_visitor=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
    }
}

#[tokio::test]
async fn of_several_visitor_cookies_the_one_that_is_good_counts() {
    let auth = visitors();
    let first = auth.ask(&[]).await.unwrap();
    let cookie = pair(first.set_cookie.as_ref());
    let other = pair(auth.ask(&[]).await.unwrap().set_cookie.as_ref());
    let forged = cookie.replace("visitor_", "visitor_0");
    for cookies in [
        format!("{cookie}; chatkit_visitor=tossed"),
        format!("chatkit_visitor=; theme=dark; {cookie}"),
        format!("{forged}; {cookie}; chatkit_visitor=\u{e9}"),
    ] {
        let known = auth.ask(&[("cookie", &cookies), SHOP]).await.unwrap();
        assert_eq!(visitor(&known), visitor(&first), "{cookies}");
    }
    for cookies in [format!("{cookie}; {other}"), format!("{forged}; chatkit_visitor=tossed")] {
        let refused = error(auth.ask(&[("cookie", &cookies), SHOP]).await);
        assert_eq!(refused, Some(Flaw::SeveralCookies.into()), "{cookies}");
    }
    let lines = [("cookie", cookie.as_str()), ("cookie", "chatkit_visitor=tossed"), SHOP];
    assert_eq!(visitor(&auth.ask(&lines).await.unwrap()), visitor(&first), "in two lines");
}

#[tokio::test]
async fn a_good_cookie_with_a_foreign_origin_is_403_and_stays() {
    let auth = visitors();
    let cookie = pair(auth.ask(&[]).await.unwrap().set_cookie.as_ref());
    let cookie = ("cookie", cookie.as_str());
    let host = ("host", "us.example");
    for headers in [
        &[cookie, host][..],
        &[cookie, host, ("origin", "https://evil.example")],
        &[cookie, host, ("origin", "null")],
        &[cookie, host, ("origin", "http://us.example")],
        &[cookie, host, ("sec-fetch-site", "same-site")],
        &[cookie, host, ("sec-fetch-site", "none")],
        &[cookie, host, ("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
        &[cookie, host, SHOP, ("origin", "https://evil.example")],
    ] {
        let rejection = auth.ask(headers).await.unwrap_err();
        assert_eq!(
            rejection,
            Rejection { error: Error::ForeignOrigin, set_cookie: None },
            "{headers:?}"
        );
    }
    for headers in [
        &[cookie, SHOP][..],
        &[cookie, host, ("origin", "https://us.example")],
        &[cookie, host, ("sec-fetch-site", "same-origin")],
    ] {
        assert!(auth.ask(headers).await.is_ok(), "{headers:?}");
    }
}

#[tokio::test]
async fn a_user_token_in_a_cookie_obeys_the_same_rule() {
    let auth = Auth::new(&[("JWT_SECRET", SECRET), ("JWT_COOKIE", "session")]);
    let cookie = format!("theme=dark; session={}", Key::hmac(SECRET.as_bytes()).sign(&claims()));
    let cookie = ("cookie", cookie.as_str());
    assert_eq!(error(auth.ask(&[cookie]).await), Some(Error::ForeignOrigin));
    assert_eq!(
        error(auth.ask(&[cookie, ("origin", "https://evil.example")]).await),
        Some(Error::ForeignOrigin)
    );
    assert_eq!(error(auth.ask(&[cookie, SHOP]).await), None);
}

#[tokio::test]
async fn another_site_cannot_give_a_browser_a_new_name() {
    let auth = visitors();
    for headers in [&[("origin", "https://evil.example")], &[("sec-fetch-site", "cross-site")]] {
        let answered = auth.ask(headers).await.unwrap();
        assert!(visitor(&answered).starts_with("visitor_"));
        assert_eq!(answered.set_cookie, None, "{headers:?}");
    }
    assert!(auth.ask(&[SHOP]).await.unwrap().set_cookie.is_some(), "an allowed page can");
}

#[tokio::test]
async fn a_cookie_is_secure_unless_the_client_is_on_this_machine_over_plain_http() {
    let lax = visitors();
    let none = Auth::new(&[
        ("AUTH_ANONYMOUS", "on"),
        ("CHATKIT_COOKIE_KEY", COOKIE_KEY),
        ("CHATKIT_COOKIE_SAMESITE", "none"),
    ]);
    for (auth, client_is_loopback, https, ending) in [
        (&lax, true, false, "SameSite=Lax"),
        (&lax, true, true, "SameSite=Lax; Secure"),
        (&lax, false, false, "SameSite=Lax; Secure"),
        (&none, true, false, "SameSite=None; Secure; Partitioned"),
        (&none, false, true, "SameSite=None; Secure; Partitioned"),
    ] {
        let headers = headers_of(&[]);
        let asking =
            Asking { headers: &headers, client_is_loopback, https, allowed_origin: &|_| false };
        let answered = auth.inner.authenticate(&asking).await.unwrap();
        let set = text(answered.set_cookie.as_ref());
        assert!(set.ends_with(&format!("; HttpOnly; {ending}")), "{set}");
    }
}
