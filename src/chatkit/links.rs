//! Who may use a link? Whoever has it, until it expires: it is signed, for one file and one
//! purpose. An `<img>` sends no `Authorization`, so there is no other way.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use axum::http::header::HOST;
use data_encoding::BASE64URL_NOPAD;
use url::form_urlencoded;

use crate::clock::Clock;
use crate::config::env::Secret;
use crate::error::Error;
use crate::limits::client_ip::Client;

/// What the keys of links are derived with, so that a signature made for something else with the
/// same key is none.
const LABEL: &[u8] = b"chatkit-server attachment links v1";

/// What a link is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To send the bytes, for 9 to 10 minutes.
    Upload,
    /// To see them, for 55 minutes to an hour.
    View,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::View => "view",
        }
    }

    /// The longest life, and how far its end is rounded down. A browser keeps what it loaded from a
    /// link, so the same link is made for a while.
    fn life(self) -> (Duration, Duration) {
        match self {
            Self::Upload => (Duration::from_secs(10 * 60), Duration::from_secs(60)),
            Self::View => (Duration::from_secs(60 * 60), Duration::from_secs(5 * 60)),
        }
    }
}

/// Where this service is for a client, without a path: `https://chat.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// The scheme that the client speaks, and the one `Host` that it names: a name or an address
    /// with an optional port, nothing that could end a string in a script.
    ///
    /// # Errors
    /// 400 when there is no such `Host`.
    pub fn of(client: Client, headers: &HeaderMap) -> Result<Self, Error> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().unwrap_or_default(),
            _ => "",
        };
        let fits = |b: u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        };
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(Error::invalid("`Host` must name this service."));
        }
        let scheme = if client.https { "https" } else { "http" };
        Ok(Self(format!("{scheme}://{host}")))
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes links and knows them again.
#[derive(Debug)]
pub struct Links {
    signs: hmac::Key,
    verify: Vec<hmac::Key>,
    clock: Arc<dyn Clock>,
}

impl Links {
    /// Links of these keys: the first signs, all verify. `None` when there is none.
    #[must_use]
    pub fn new(keys: &[Secret], clock: Arc<dyn Clock>) -> Option<Self> {
        let derived = |key: &Secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, LABEL).as_ref())
        };
        let verify: Vec<_> = keys.iter().map(derived).collect();
        Some(Self { signs: verify.first()?.clone(), verify, clock })
    }

    /// Where the bytes of an attachment are sent.
    #[must_use]
    pub fn upload(&self, base: &Base, attachment_id: &str) -> String {
        let signed = self.sign(Purpose::Upload, attachment_id);
        format!("{base}/api/chatkit/upload?attachment={attachment_id}&{signed}")
    }

    /// Where the bytes of an attachment are seen.
    #[must_use]
    pub fn view(&self, base: &Base, attachment_id: &str) -> String {
        format!(
            "{base}/api/chatkit/attachments/{attachment_id}?{}",
            self.sign(Purpose::View, attachment_id)
        )
    }

    /// How long a link is still good. `None` when it is not.
    #[must_use]
    pub fn time_left(
        &self,
        purpose: Purpose,
        attachment_id: &str,
        link: &LinkQuery,
    ) -> Option<Duration> {
        let expires = link.expires.as_deref()?.parse().ok()?;
        let signature = BASE64URL_NOPAD.decode(link.signature.as_deref()?.as_bytes()).ok()?;
        let text = signed_text(purpose, attachment_id, expires);
        self.verify.iter().find(|key| hmac::verify(key, text.as_bytes(), &signature).is_ok())?;
        Duration::from_secs(expires).checked_sub(self.clock.now()).filter(|left| !left.is_zero())
    }

    fn sign(&self, purpose: Purpose, attachment_id: &str) -> String {
        let (life, step) = purpose.life();
        let step = step.as_secs();
        let expires = (self.clock.now() + life).as_secs() / step * step;
        let signature =
            hmac::sign(&self.signs, signed_text(purpose, attachment_id, expires).as_bytes());
        format!("expires={expires}&signature={}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

fn signed_text(purpose: Purpose, attachment_id: &str, expires: u64) -> String {
    format!("{}\n{attachment_id}\n{expires}", purpose.name())
}

/// What a link carries behind its `?`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkQuery {
    /// Which attachment, in a link for an upload.
    pub attachment: Option<String>,
    /// When it ends, in seconds since the Unix epoch.
    pub expires: Option<String>,
    /// Base64url without padding.
    pub signature: Option<String>,
}

impl LinkQuery {
    /// Reads a query. `None` when nothing of a link is in it.
    #[must_use]
    pub fn parse(query: Option<&str>) -> Option<Self> {
        let mut link = Self::default();
        for (name, value) in form_urlencoded::parse(query?.as_bytes()) {
            let field = match &*name {
                "attachment" => &mut link.attachment,
                "expires" => &mut link.expires,
                "signature" => &mut link.signature,
                _ => continue,
            };
            *field = Some(value.into_owned());
        }
        (link != Self::default()).then_some(link)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::clock::TestClock;

    const NOW: u64 = 1_800_000_000;
    const MINUTE: Duration = Duration::from_secs(60);

    fn links(keys: &[&str], clock: &Arc<TestClock>) -> Links {
        let keys: Vec<Secret> = keys.iter().map(|key| Secret::new(*key)).collect();
        Links::new(&keys, Arc::clone(clock) as Arc<dyn Clock>).unwrap()
    }

    fn base() -> Base {
        Base("https://chat.example".to_owned())
    }

    fn query(link: &str) -> LinkQuery {
        LinkQuery::parse(link.split_once('?').map(|(_, query)| query)).unwrap()
    }

    #[test]
    fn a_link_is_good_for_its_file_and_its_purpose_until_it_expires() {
        let clock = Arc::new(TestClock::at(NOW + 1));
        let links = links(&["one"], &clock);
        let (view, upload) = (links.view(&base(), "atc_1"), links.upload(&base(), "atc_1"));
        assert!(
            view.starts_with("https://chat.example/api/chatkit/attachments/atc_1?expires="),
            "{view}"
        );
        assert!(
            upload.starts_with("https://chat.example/api/chatkit/upload?attachment=atc_1&expires=")
        );
        let (view, upload) = (query(&view), query(&upload));
        assert_eq!(
            links.time_left(Purpose::View, "atc_1", &view),
            Some(Duration::from_secs(60 * 60 - 1))
        );
        assert_eq!(
            links.time_left(Purpose::Upload, "atc_1", &upload),
            Some(Duration::from_secs(10 * 60 - 1))
        );
        assert_eq!(links.time_left(Purpose::Upload, "atc_1", &view), None, "another purpose");
        assert_eq!(links.time_left(Purpose::View, "atc_2", &view), None, "another file");
        let longer = LinkQuery { expires: Some((NOW + 100_000).to_string()), ..view.clone() };
        assert_eq!(links.time_left(Purpose::View, "atc_1", &longer), None, "another end");
        for signature in [None, Some(String::new()), Some("AAAA".to_owned())] {
            let other = LinkQuery { signature, ..view.clone() };
            assert_eq!(links.time_left(Purpose::View, "atc_1", &other), None, "{other:?}");
        }
        clock.advance(60 * MINUTE - Duration::from_secs(2));
        assert_eq!(links.time_left(Purpose::View, "atc_1", &view), Some(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(links.time_left(Purpose::View, "atc_1", &view), None, "it has expired");
    }

    #[test]
    fn the_same_link_comes_back_for_five_minutes_and_none_lives_longer_than_it_says() {
        let clock = Arc::new(TestClock::at(NOW));
        let links = links(&["one"], &clock);
        let first = links.view(&base(), "atc_1");
        clock.advance(Duration::from_secs(299));
        assert_eq!(links.view(&base(), "atc_1"), first);
        for second in 0..600 {
            let now = TestClock::at(NOW + second);
            let links = self::links(&["one"], &Arc::new(now));
            let left =
                |purpose, link: &str| links.time_left(purpose, "atc_1", &query(link)).unwrap();
            let view = left(Purpose::View, &links.view(&base(), "atc_1"));
            assert!((55 * MINUTE..=60 * MINUTE).contains(&view), "{view:?}");
            let upload = left(Purpose::Upload, &links.upload(&base(), "atc_1"));
            assert!((9 * MINUTE..=10 * MINUTE).contains(&upload), "{upload:?}");
        }
        clock.advance(Duration::from_secs(1));
        assert_ne!(links.view(&base(), "atc_1"), first);
    }

    #[test]
    fn the_first_key_signs_and_every_key_verifies() {
        let clock = Arc::new(TestClock::at(NOW));
        let (old, both) = (links(&["old"], &clock), links(&["new", "old"], &clock));
        let good = |links: &Links, link: &str| {
            links.time_left(Purpose::View, "atc_1", &query(link)).is_some()
        };
        assert!(good(&both, &old.view(&base(), "atc_1")));
        assert!(!good(&old, &both.view(&base(), "atc_1")), "the new key signed it");
        assert!(Links::new(&[], clock).is_none());
    }

    #[test]
    fn the_key_of_links_is_not_the_key_they_derive_from() {
        let clock = Arc::new(TestClock::at(NOW));
        let text = signed_text(Purpose::View, "atc_1", NOW + 3600);
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"one"), text.as_bytes());
        let link = LinkQuery {
            attachment: None,
            expires: Some((NOW + 3600).to_string()),
            signature: Some(BASE64URL_NOPAD.encode(signature.as_ref())),
        };
        assert_eq!(links(&["one"], &clock).time_left(Purpose::View, "atc_1", &link), None);
    }

    #[test]
    fn a_base_is_what_the_client_typed_and_nothing_that_breaks_out() {
        let of = |https, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            let client = Client { address: std::net::Ipv4Addr::LOCALHOST.into(), https };
            Base::of(client, &headers).ok().map(|base| base.to_string())
        };
        assert_eq!(of(true, &["chat.example"]).as_deref(), Some("https://chat.example"));
        assert_eq!(of(false, &["[::1]:8080"]).as_deref(), Some("http://[::1]:8080"));
        for hosts in [&[][..], &["a", "b"], &[""], &["a/b"], &["a\"b"], &["a@b"], &["a b"]] {
            assert_eq!(of(false, hosts), None, "{hosts:?}");
        }
    }
}
