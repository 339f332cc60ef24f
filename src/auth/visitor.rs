//! Who is a visitor without a token? A signed cookie says that it is the same browser as last time.
//! It reads `v1.{id}.{expiry}.{HMAC-SHA256 of what stands before, in hex}`.

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::HeaderValue;
use data_encoding::HEXLOWER;

use super::error::{Error, Flaw};
use crate::config::auth::{SameSite, VISITOR_COOKIE, VisitorConfig};
use crate::ids::random_hex;
use crate::user::{UserId, VISITOR_PREFIX};

const VERSION: &str = "v1";
const LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Makes visitors and knows them again.
#[derive(Debug)]
pub(super) struct Visitors {
    key: hmac::Key,
    same_site: SameSite,
}

/// A visitor known again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: UserId,
    /// Less than half of the cookie's life is left.
    pub(super) is_aging: bool,
}

impl Visitors {
    pub(super) fn new(config: &VisitorConfig) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, config.key.expose().as_bytes());
        Self { key, same_site: config.same_site }
    }

    /// A visitor nobody has seen before.
    pub(super) fn invent(&self) -> Result<UserId, Error> {
        UserId::parse(&format!("{VISITOR_PREFIX}{}", random_hex::<16>())).ok_or(Error::Crypto)
    }

    /// Whose cookie this is.
    pub(super) fn recognize(&self, cookie: &str, now: Duration) -> Result<Known, Error> {
        let (signed, signature) = cookie.rsplit_once('.').ok_or(Flaw::Visitor)?;
        let signature = HEXLOWER.decode(signature.as_bytes()).map_err(|_| Flaw::Visitor)?;
        hmac::verify(&self.key, &signed_text(signed), &signature).map_err(|_| Flaw::Visitor)?;
        let mut parts = signed.split('.');
        let (Some(VERSION), Some(id), Some(expiry), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Flaw::Visitor.into());
        };
        let id = UserId::parse(id).ok_or(Flaw::Visitor)?;
        let expiry = Duration::from_secs(expiry.parse().map_err(|_| Flaw::Visitor)?);
        let left = expiry.checked_sub(now).filter(|left| !left.is_zero()).ok_or(Error::Expired)?;
        Ok(Known { id, is_aging: left < LIFE / 2 })
    }

    /// The `Set-Cookie` that makes a browser this visitor for 30 days from now.
    pub(super) fn cookie(
        &self,
        id: &UserId,
        now: Duration,
        secure: bool,
    ) -> Result<HeaderValue, Error> {
        let signed = format!("{VERSION}.{}.{}", id.as_str(), (now + LIFE).as_secs());
        let signature = hmac::sign(&self.key, &signed_text(&signed));
        let value = format!("{signed}.{}", HEXLOWER.encode(signature.as_ref()));
        self.set_cookie(&value, LIFE, secure).ok_or(Error::Crypto)
    }

    /// The `Set-Cookie` that makes a browser forget who it was.
    pub(super) fn clearing_cookie(&self, secure: bool) -> Option<HeaderValue> {
        self.set_cookie("", Duration::ZERO, secure)
    }

    fn set_cookie(&self, value: &str, life: Duration, secure: bool) -> Option<HeaderValue> {
        let site = match (self.same_site, secure) {
            (SameSite::Lax, false) => "SameSite=Lax",
            (SameSite::Lax, true) => "SameSite=Lax; Secure",
            (SameSite::None, _) => "SameSite=None; Secure; Partitioned",
        };
        let life = life.as_secs();
        let text = format!("{VISITOR_COOKIE}={value}; Path=/; Max-Age={life}; HttpOnly; {site}");
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// What is signed starts with a name of its own, so that a signature made for something else with
/// the same key is none.
fn signed_text(signed: &str) -> Vec<u8> {
    [VISITOR_COOKIE.as_bytes(), b"\n", signed.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::env::Secret;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn visitors(same_site: SameSite) -> Visitors {
        Visitors::new(&VisitorConfig { key: Secret::new("k".repeat(32)), same_site })
    }

    fn value_of(header: &HeaderValue) -> String {
        let text = header.to_str().unwrap().strip_prefix("chatkit_visitor=").unwrap();
        text.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_visitor_is_known_again_for_30_days_and_ages_after_15() {
        let visitors = visitors(SameSite::Lax);
        let id = visitors.invent().unwrap();
        assert_eq!(id.as_str().len(), "visitor_".len() + 32, "128 random bits");
        let cookie = value_of(&visitors.cookie(&id, NOW, true).unwrap());
        let at = |days: u32| visitors.recognize(&cookie, NOW + DAY * days);
        assert_eq!(at(0), Ok(Known { id: id.clone(), is_aging: false }));
        assert_eq!(at(15), Ok(Known { id: id.clone(), is_aging: false }));
        assert_eq!(at(16), Ok(Known { id, is_aging: true }));
        assert_eq!(at(30), Err(Error::Expired));
    }

    #[test]
    fn a_changed_cookie_is_not_ours() {
        let visitors = visitors(SameSite::Lax);
        let id = UserId::parse("visitor_0123456789abcdef0123456789abcdef").unwrap();
        let cookie = value_of(&visitors.cookie(&id, NOW, true).unwrap());
        for at in 0..cookie.len() {
            let mut changed = cookie.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(visitors.recognize(&changed, NOW).is_err(), "changed at {at}");
        }
        let other = Visitors::new(&VisitorConfig {
            key: Secret::new("x".repeat(32)),
            same_site: SameSite::Lax,
        });
        assert_eq!(other.recognize(&cookie, NOW), Err(Flaw::Visitor.into()), "another key");
        for bad in
            ["", ".", "...", "v1.visitor_0.9999999999.", &cookie.to_uppercase(), &cookie[1..]]
        {
            assert_eq!(visitors.recognize(bad, NOW), Err(Flaw::Visitor.into()), "{bad:?}");
        }
    }

    #[test]
    fn the_cookie_has_the_attributes_of_its_settings() {
        let id = UserId::parse("visitor_0").unwrap();
        let attributes = |same_site, secure| {
            let header = visitors(same_site).cookie(&id, NOW, secure).unwrap();
            assert!(header.is_sensitive(), "kept out of Debug output");
            header.to_str().unwrap().split_once("; ").unwrap().1.to_owned()
        };
        let plain = "Path=/; Max-Age=2592000; HttpOnly; SameSite=";
        assert_eq!(attributes(SameSite::Lax, true), format!("{plain}Lax; Secure"));
        assert_eq!(attributes(SameSite::Lax, false), format!("{plain}Lax"));
        assert_eq!(attributes(SameSite::None, true), format!("{plain}None; Secure; Partitioned"));
        assert_eq!(attributes(SameSite::None, false), format!("{plain}None; Secure; Partitioned"));
    }

    proptest! {
        #[test]
        fn any_cookie_is_read_without_a_panic_and_never_believed(text in "\\PC{0,200}") {
            prop_assert!(visitors(SameSite::Lax).recognize(&text, NOW).is_err());
        }
    }
}
