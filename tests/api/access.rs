//! Who is asking, as the upstream and the limits see it: services, cookies, visitors, addresses,
//! and the request's name.

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::server::TestServer;
use crate::support::tokens;
use crate::support::upstream::{Reply, ScriptedUpstream};

const SESSION: &str = "/api/chatkit/session";
const SERVICE_TOKEN: &str = "cks_a_service_of_the_site";
const KEY: &str = "a-key-of-ours-that-has-32-bytes-or-more";

/// A server with these variables, and its upstream, which mints for everybody.
struct Site {
    server: TestServer,
    upstream: ScriptedUpstream,
}

impl Site {
    async fn start(vars: &[(&str, &str)]) -> Self {
        let replies = (0..60).map(|number| Reply::session(&format!("cksess_{number}"), "ek_1"));
        let upstream = ScriptedUpstream::start(replies).await;
        let service = format!(
            "shop:{}",
            HEXLOWER.encode(digest::digest(&digest::SHA256, SERVICE_TOKEN.as_bytes()).as_ref())
        );
        let mut all = vec![("SERVICE_TOKENS", service.as_str())];
        all.extend_from_slice(vars);
        let server = TestServer::hosted(&upstream.base(), &all);
        Self { server, upstream }
    }

    fn post(&self) -> RequestBuilder {
        self.server.post(SESSION)
    }

    fn by_service(&self, body: &Value) -> RequestBuilder {
        self.post().bearer_auth(SERVICE_TOKEN).json(body)
    }

    /// The body that this request made the upstream see.
    async fn minted(&self, request: RequestBuilder) -> Value {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
        self.upstream.requests().last().expect("a request").json()
    }

    /// The user that this request is, as the upstream sees it.
    async fn user(&self, request: RequestBuilder) -> String {
        self.minted(request).await["user"].as_str().expect("a user").to_owned()
    }
}

/// Status and code of an answer.
async fn outcome(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn a_service_names_the_user_and_a_user_is_who_their_token_says() {
    let site = Site::start(&[]).await;
    for (named, seen) in [
        (json!("ada"), "ada"),
        (json!({"id": "bob", "name": "Bob"}), "bob"),
        (json!(42), "42"),
        (json!({"id": 43}), "43"),
        (json!(" Ada\u{a0}Ł "), " Ada\u{a0}Ł "),
    ] {
        assert_eq!(site.user(site.by_service(&json!({"user": named}))).await, seen, "{named}");
    }
    for named in [
        json!({}),
        json!({"user": null}),
        json!({"user": ""}),
        json!({"user": {}}),
        json!({"user": {"id": null}}),
        json!({"user": ["ada"]}),
        json!({"user": true}),
        json!({"user": 4.2}),
        json!({"user": "a\u{0}b"}),
        json!({"user": "x".repeat(256)}),
        json!({"user": format!("visitor_{}", "0".repeat(32))}),
        json!({"user": {"id": format!("visitor_{}", "aF".repeat(16))}}),
    ] {
        assert_eq!(
            outcome(site.by_service(&named)).await,
            refused(400, "invalid_request"),
            "{named}"
        );
    }
    assert_eq!(
        outcome(site.post().bearer_auth(SERVICE_TOKEN)).await,
        refused(400, "invalid_request")
    );
    for user in [json!("eve"), json!({"id": "eve"}), json!([1])] {
        let request = site.server.mint_as("ada").json(&json!({"user": user}));
        assert_eq!(
            site.user(request).await,
            "ada",
            "what a user calls themselves is ignored: {user}"
        );
    }
    let unknown =
        site.post().bearer_auth(format!("{SERVICE_TOKEN}x")).json(&json!({"user": "ada"}));
    assert_eq!(outcome(unknown).await, refused(401, "invalid_token"));
    let revoked = site.server.delete(SESSION).bearer_auth(SERVICE_TOKEN);
    assert_eq!(outcome(revoked).await, refused(400, "invalid_request"), "whose sessions?");
}

#[tokio::test]
async fn a_service_is_counted_for_the_users_it_names_and_not_by_its_address() {
    let vars = [
        ("RATE_LIMIT_IP_BURST", "2"),
        ("RATE_LIMIT_IP_PER_MINUTE", "1"),
        ("RATE_LIMIT_USER_PER_MINUTE", "0"),
    ];
    let site = Site::start(&vars).await;
    for user in ["a", "b", "c", "d", "e"] {
        assert_eq!(site.user(site.by_service(&json!({"user": user}))).await, user);
    }
    assert_eq!(site.user(site.by_service(&json!({"user": "a"}))).await, "a");
    let third = site.by_service(&json!({"user": {"id": "a"}}));
    assert_eq!(outcome(third).await, refused(429, "rate_limited"), "its own two are used up");
    for status in [200, 200, 429] {
        let answer = site.server.mint_as("f").send().await.expect("an answer");
        assert_eq!(answer.status(), status, "the address was not touched until now");
    }
    let forged = site.post().bearer_auth("cks_forged").json(&json!({"user": "z"}));
    assert_eq!(
        outcome(forged).await,
        refused(429, "rate_limited"),
        "a bad token counts by address"
    );
}

#[tokio::test]
async fn a_token_in_a_cookie_counts_only_from_a_page_that_may_ask() {
    let vars = [
        ("JWT_COOKIE", "site_session"),
        ("CORS_ALLOWED_ORIGINS", "https://shop.example"),
        ("TRUSTED_PROXIES", "127.0.0.1/32"),
        ("RATE_LIMIT_USER_PER_MINUTE", "0"),
        ("RATE_LIMIT_IP_PER_MINUTE", "0"),
    ];
    let site = Site::start(&vars).await;
    let own = site.server.url("");
    let own_tls = own.replace("http://", "https://");
    let cookie = format!("theme=dark; site_session={}; x=y", tokens::hs256("ada"));
    let by_cookie = |headers: &[(&str, &str)]| {
        headers.iter().fold(site.post().header("cookie", &cookie), |request, (name, value)| {
            request.header(*name, *value)
        })
    };
    for headers in [
        &[("origin", "https://shop.example")][..],
        &[("origin", own.as_str())],
        &[("origin", own.as_str()), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-origin")],
        &[("origin", own_tls.as_str()), ("x-forwarded-proto", "https")],
    ] {
        assert_eq!(site.user(by_cookie(headers)).await, "ada", "{headers:?}");
    }
    for headers in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "https://shop.example.evil.example")],
        &[("origin", "https://shop.example:8443")],
        &[("origin", "http://shop.example")],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", own_tls.as_str())],
        &[("origin", own.as_str()), ("x-forwarded-proto", "https")],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
        &[("origin", "https://evil.example"), ("origin", "https://shop.example")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "none")],
    ] {
        assert_eq!(
            outcome(by_cookie(headers)).await,
            refused(403, "origin_not_allowed"),
            "{headers:?}"
        );
    }

    let ours = ("sec-fetch-site", "same-origin");
    let header = site.post().bearer_auth(tokens::hs256("bob")).header("cookie", &cookie);
    assert_eq!(
        site.user(header.header("origin", "https://evil.example")).await,
        "bob",
        "a header wins"
    );
    let bad_header = by_cookie(&[ours]).bearer_auth("nonsense");
    assert_eq!(outcome(bad_header).await, refused(401, "invalid_token"), "with no falling back");
    let twice =
        by_cookie(&[ours]).bearer_auth(tokens::hs256("ada")).bearer_auth(tokens::hs256("ada"));
    assert_eq!(outcome(twice).await, refused(401, "invalid_token"), "two headers");
    let expired = tokens::signed(&json!({"sub": "ada", "exp": tokens::now() - 60}));
    for (value, code) in [
        ("site_session=nonsense".to_owned(), "invalid_token"),
        (format!("site_session={expired}"), "expired_token"),
        (format!("{cookie}; site_session={}", tokens::hs256("eve")), "invalid_token"),
    ] {
        let request = site.post().header("cookie", value).header(ours.0, ours.1);
        assert_eq!(outcome(request).await, refused(401, code));
    }
    let other = site.post().header("cookie", format!("other={}", tokens::hs256("ada")));
    assert_eq!(
        outcome(other).await,
        refused(401, "missing_token"),
        "a cookie of another name is nobody's"
    );
}

fn set_cookie(answer: &Response) -> (String, String) {
    let text = answer.headers()["set-cookie"].to_str().expect("text");
    let (cookie, attributes) = text.split_once("; ").expect("attributes");
    (cookie.to_owned(), attributes.to_owned())
}

#[tokio::test]
async fn a_visitor_is_known_again_by_a_signed_cookie() {
    let vars = [
        ("AUTH_ANONYMOUS", "on"),
        ("CHATKIT_COOKIE_KEY", KEY),
        ("JWT_SECRET", ""),
        ("SERVICE_TOKENS", ""),
        ("CORS_ALLOWED_ORIGINS", "https://shop.example"),
    ];
    let site = Site::start(&vars).await;
    let first = site.post().send().await.expect("an answer");
    assert_eq!(first.status(), 200);
    let (cookie, attributes) = set_cookie(&first);
    assert!(cookie.starts_with("chatkit_visitor="), "{cookie}");
    assert_eq!(
        attributes, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax",
        "plain http on this machine"
    );
    let visitor = site.upstream.requests()[0].json()["user"].as_str().expect("a user").to_owned();
    assert!(visitor.starts_with("visitor_") && visitor.len() == 40, "{visitor}");

    let again = || site.post().header("cookie", &cookie);
    let known = again().header("sec-fetch-site", "same-origin").send().await.expect("an answer");
    assert_eq!((known.status().as_u16(), known.headers().get("set-cookie")), (200, None));
    assert_eq!(site.upstream.requests()[1].json()["user"], *visitor, "the same user");
    assert_eq!(site.user(again().header("origin", "https://shop.example")).await, visitor);
    for headers in
        [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("x", "y")]
    {
        let request = again().header(headers.0, headers.1);
        assert_eq!(outcome(request).await, refused(403, "origin_not_allowed"), "{headers:?}");
    }
    assert_ne!(
        site.user(site.post()).await,
        visitor,
        "a request without the cookie is somebody else"
    );

    let other = cookie.replace(&visitor, &format!("visitor_{}", "0".repeat(32)));
    for tampered in [
        other,
        format!("{cookie}0"),
        "chatkit_visitor=".to_owned(),
        "chatkit_visitor=v1.x.9.00".into(),
    ] {
        let request =
            site.post().header("cookie", &tampered).header("sec-fetch-site", "same-origin");
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 401, "{tampered}");
        let cleared = "Path=/; Max-Age=0; HttpOnly; SameSite=Lax".to_owned();
        assert_eq!(set_cookie(&answer), ("chatkit_visitor=".to_owned(), cleared), "{tampered}");
        assert!(answer.headers().contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn a_visitors_cookie_is_secure_unless_the_client_itself_is_on_this_machine_without_tls() {
    let visitors = [("AUTH_ANONYMOUS", "on"), ("CHATKIT_COOKIE_KEY", KEY)];
    let behind =
        Site::start(&[&visitors[..], &[("TRUSTED_PROXIES", "127.0.0.1/32")]].concat()).await;
    let direct = Site::start(&visitors).await;
    let across =
        Site::start(&[&visitors[..], &[("CHATKIT_COOKIE_SAMESITE", "none")]].concat()).await;
    let remote = ("x-forwarded-for", "192.0.2.1");
    let tls = ("x-forwarded-proto", "https");
    let (lax, none) = ("SameSite=Lax", "SameSite=None; Secure; Partitioned");
    for (site, headers, expected) in [
        (&behind, &[][..], lax),
        (&behind, &[tls], "SameSite=Lax; Secure"),
        (&behind, &[remote], "SameSite=Lax; Secure"),
        (&behind, &[remote, tls], "SameSite=Lax; Secure"),
        (&behind, &[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http")], lax),
        (&direct, &[remote, tls], lax),
        (&across, &[], none),
    ] {
        let request = headers
            .iter()
            .fold(site.post(), |request, (name, value)| request.header(*name, *value));
        let (_, attributes) = set_cookie(&request.send().await.expect("an answer"));
        assert_eq!(
            attributes,
            format!("Path=/; Max-Age=2592000; HttpOnly; {expected}"),
            "{headers:?}"
        );
    }
}

/// How many of these requests, each with its own forwarding header, pass a limit of two by address.
async fn passed(vars: &[(&str, &str)], header: &str, values: &[&str]) -> usize {
    let limit = [
        ("RATE_LIMIT_IP_BURST", "2"),
        ("RATE_LIMIT_IP_PER_MINUTE", "1"),
        ("RATE_LIMIT_USER_PER_MINUTE", "0"),
    ];
    let site = Site::start(&[&limit, vars].concat()).await;
    let mut passed = 0;
    for value in values {
        let answer =
            site.server.mint_as("ada").header(header, *value).send().await.expect("an answer");
        assert!(matches!(answer.status().as_u16(), 200 | 429));
        passed += usize::from(answer.status() == 200);
    }
    passed
}

#[tokio::test]
async fn only_a_trusted_proxy_says_whose_address_is_counted() {
    let header = "x-forwarded-for";
    let distinct = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
    assert_eq!(passed(&[], header, &distinct).await, 2, "a stranger's header is not read");
    let trusted = [("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")];
    assert_eq!(passed(&trusted, header, &distinct).await, 4, "each is a client");
    let invented =
        ["1.1.1.1, 192.0.2.9", "2.2.2.2, 192.0.2.9", "3.3.3.3,192.0.2.9, 10.0.0.7", "x, 192.0.2.9"];
    assert_eq!(
        passed(&trusted, header, &invented).await,
        2,
        "what stands left of the client is invented"
    );
    let same =
        ["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "[2001:db8:1:2::3]:443", "2001:db8:1:2::4"];
    assert_eq!(passed(&trusted, header, &same).await, 2, "one IPv6 subscriber");
    let several = ["2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:1:4::1"];
    assert_eq!(passed(&trusted, header, &several).await, 3, "another /64 is another client");
    let mapped = ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"];
    assert_eq!(
        passed(&trusted, header, &mapped).await,
        2,
        "one IPv4 address however it is written"
    );

    let by_forwarded = [trusted[0], ("FORWARDED_HEADER", "forwarded")];
    let nodes = ["for=192.0.2.1", "for=192.0.2.2;proto=https", "for=\"[2001:db8::1]:1\""];
    assert_eq!(passed(&by_forwarded, "forwarded", &nodes).await, 3);
    assert_eq!(
        passed(&by_forwarded, header, &distinct).await,
        2,
        "the one header that is read is the other"
    );
}

#[tokio::test]
async fn the_upstream_sees_a_pseudonym_and_the_claims_that_are_meant_for_it() {
    let vars = [
        ("CHATKIT_USER_ID_KEY", KEY),
        ("CHATKIT_STATE_CLAIMS", "plan,tenant_id=org,age,beta,roles,missing"),
        ("JWT_USER_CLAIM", "uid"),
    ];
    let site = Site::start(&vars).await;
    let claims = json!({"uid": 7, "sub": "not-this", "exp": tokens::now() + 60, "plan": "pro", "org": "acme", "age": 3,
                        "beta": true, "roles": ["admin"], "email": "ada@example.com"});
    let body = site.minted(site.post().bearer_auth(tokens::signed(&claims))).await;
    let tag = |user: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
        HEXLOWER.encode(hmac::sign(&key, user.as_bytes()).as_ref())
    };
    assert_eq!(body["user"], *tag("7"));
    let expected = json!({"plan": "pro", "tenant_id": "acme", "age": 3, "beta": true});
    assert_eq!(body["workflow"]["state_variables"], expected);
    let body = site.minted(site.by_service(&json!({"user": "ada", "plan": "pro"}))).await;
    assert_eq!(body["user"], *tag("ada"));
    assert_eq!(body["workflow"].get("state_variables"), None, "a service's user has no claims");
}
