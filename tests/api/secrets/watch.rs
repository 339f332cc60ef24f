//! What came out of a server, and the search for what must not be in it.

use std::collections::BTreeSet;
use std::sync::Mutex;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{
    COOKIE_KEY, PROXY_PASSWORD, REDIS_PASSWORD, SECRET, SERVICE_TOKEN, STRAY, USER, USER_ID_KEY,
};
use crate::support::server::{API_KEY, JWT_SECRET};
use crate::support::tokens;

/// What came out so far, and what must not be in it.
#[derive(Default)]
pub(super) struct Watch {
    heard: Mutex<Vec<(String, String)>>,
    /// What was watched for, and one of the forms that it may have.
    needles: Mutex<Vec<(String, String)>>,
    /// The code of every error that was answered.
    pub(super) codes: Mutex<BTreeSet<String>>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let watch = Self::default();
        let service_hash = HEXLOWER.encode(digest(&SHA256, SERVICE_TOKEN.as_bytes()).as_ref());
        for needle in [
            API_KEY,
            JWT_SECRET,
            COOKIE_KEY,
            USER_ID_KEY,
            SERVICE_TOKEN,
            &service_hash,
            REDIS_PASSWORD,
            PROXY_PASSWORD,
            USER,
            SECRET,
            STRAY,
        ] {
            watch.never(needle);
        }
        watch
    }

    /// This must not come out in any form.
    pub(super) fn never(&self, secret: &str) {
        self.needles
            .lock()
            .unwrap()
            .extend(forms(secret).into_iter().map(|form| (secret.to_owned(), form)));
    }

    /// Nor may a part of a token or a cookie, which is encoded already.
    pub(super) fn never_part(&self, part: &str) {
        self.needles.lock().unwrap().push((part.to_owned(), part.to_owned()));
    }

    pub(super) fn hear(&self, place: &str, text: impl Into<String>) {
        self.heard.lock().unwrap().push((place.to_owned(), text.into()));
    }

    /// A user's token; from now on neither its claims nor its signature may be seen.
    pub(super) fn token(&self, user: &str) -> String {
        let token = tokens::signed(
            &json!({"sub": format!("{user}-{USER}"), "exp": tokens::now() + 600, "email": STRAY}),
        );
        token.split('.').skip(1).for_each(|part| self.never_part(part));
        token
    }

    /// Sends a request and keeps the whole answer, but for the client secret and the cookie that
    /// belong there.
    pub(super) async fn ask(&self, request: RequestBuilder, status: u16) -> Value {
        let request =
            request.header("x-api-key", STRAY).header("referer", format!("https://x/?k={STRAY}"));
        let answer =
            request.send().await.unwrap_or_else(|error| panic!("{status} was expected: {error:?}"));
        let place = format!("the answer of {}", answer.url().path());
        assert_eq!(answer.status(), status, "{place}");
        for (name, value) in answer.headers() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            match value.strip_prefix("chatkit_visitor=").filter(|_| name == "set-cookie") {
                Some(cookie) => {
                    cookie
                        .split(['.', ';'])
                        .filter(|part| part.len() > 30)
                        .for_each(|part| self.never_part(part));
                    self.hear(&place, cookie.split_once(';').expect("attributes").1);
                }
                None => self.hear(&place, format!("{name}: {value}")),
            }
        }
        let cookie = answer
            .headers()
            .get("set-cookie")
            .map(|value| value.to_str().expect("text").to_owned());
        let text = answer.text().await.expect("a body");
        let mut body: Value = serde_json::from_str(&text).unwrap_or_default();
        if let Some(code) = body["error"]["code"].as_str() {
            self.codes.lock().unwrap().insert(code.to_owned());
        }
        match body
            .as_object()
            .filter(|body| body.len() == 1)
            .and_then(|body| body.get("client_secret"))
        {
            Some(secret) => {
                assert!(secret.as_str().is_some_and(|secret| secret.starts_with(SECRET)))
            }
            None => self.hear(&place, text),
        }
        if let (Some(cookie), Some(body)) = (cookie, body.as_object_mut()) {
            body.insert("cookie".to_owned(), cookie.split(';').next().into());
        }
        body
    }

    /// Searches everything for every secret, in each form that it may have.
    pub(super) fn assert_nothing_leaked(&self) {
        let needles = self.needles.lock().unwrap();
        for (place, text) in self.heard.lock().unwrap().iter() {
            for (secret, form) in needles.iter() {
                let found =
                    text.contains(form).then(|| text.lines().find(|line| line.contains(form)));
                assert_eq!(found, None, "{secret} came out as {form} in {place}");
            }
        }
    }
}

/// A secret as it stands, percent-encoded, in hex, as a list of bytes, and in base64 at each of
/// three alignments.
fn forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let percent = |plain: fn(u8) -> bool| -> String {
        let each = bytes.iter().map(|b| {
            if plain(*b) {
                char::from(*b).to_string()
            } else {
                format!("%{}", HEXUPPER.encode(&[*b]))
            }
        });
        each.collect()
    };
    let decimal: Vec<_> = bytes.iter().map(u8::to_string).collect();
    let mut forms = vec![
        secret.to_owned(),
        percent(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)),
        percent(|_| false),
        HEXLOWER.encode(bytes),
        HEXUPPER.encode(bytes),
        decimal.join(", "),
    ];
    forms.push(forms[1].to_ascii_lowercase());
    for shift in 0..3 {
        // What stands before and after decides on the first and the last characters; they are left
        // out.
        let shifted = [&b"   "[..shift], bytes].concat();
        let from = [0, 2, 3][shift];
        let to = shifted.len() * 8 / 6;
        forms.push(BASE64.encode(&shifted)[from..to].to_owned());
        forms.push(BASE64URL.encode(&shifted)[from..to].to_owned());
    }
    forms
}

#[test]
fn the_search_finds_a_secret_in_each_of_its_forms() {
    let secret = "ek_canary/secret+1";
    for text in [
        format!("x{secret}y"),
        "ek_canary%2Fsecret%2B1".to_owned(),
        BASE64.encode(format!("Bearer {secret}").as_bytes()),
        BASE64.encode(format!("user:{secret}:x").as_bytes()),
        BASE64URL.encode(format!("a{secret}").as_bytes()),
        HEXLOWER.encode(secret.as_bytes()),
        format!("{:?}", secret.as_bytes()),
    ] {
        assert!(forms(secret).iter().any(|form| text.contains(form)), "{text}");
    }
}
