//! Which pages may read the answers: preflights, credentials, and errors that carry the same
//! headers.

use reqwest::Response;

use crate::support::server::TestServer;

const NOWHERE: &str = "http://127.0.0.1:9";
const ORIGINS: (&str, &str) =
    ("CORS_ALLOWED_ORIGINS", "https://shop.example, https://*.apps.example");

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().expect("text"))
}

async fn preflight(server: &TestServer, path: &str, origin: &str) -> Response {
    let request = server.request("OPTIONS", path).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    let headers = "authorization,content-type,chatkit-frame-instance-id";
    request.header("access-control-request-headers", headers).send().await.expect("an answer")
}

#[tokio::test]
async fn a_preflight_from_a_listed_origin_allows_the_methods_the_headers_asked_for_and_a_day() {
    let server = TestServer::hosted(NOWHERE, &[ORIGINS]);
    for origin in ["https://shop.example", "https://a.b.apps.example"] {
        for path in ["/api/chatkit/session", "/api/chatkit/refresh", "/no/such/path"] {
            let answer = preflight(&server, path, origin).await;
            assert!(answer.status().is_success(), "{path}");
            assert_eq!(header(&answer, "access-control-allow-origin"), Some(origin), "{path}");
            assert_eq!(header(&answer, "access-control-allow-methods"), Some("GET,POST,DELETE"));
            let asked = "authorization,content-type,chatkit-frame-instance-id";
            assert_eq!(header(&answer, "access-control-allow-headers"), Some(asked));
            assert_eq!(header(&answer, "access-control-max-age"), Some("86400"));
            assert_eq!(
                header(&answer, "access-control-allow-credentials"),
                None,
                "no cookie can authenticate"
            );
            assert_eq!(header(&answer, "vary"), Some("origin"));
        }
    }
}

#[tokio::test]
async fn another_origin_is_served_without_cors_headers() {
    let server = TestServer::hosted(NOWHERE, &[ORIGINS]);
    for origin in [
        "https://evil.example",
        "https://apps.example",
        "null",
        "https://shop.example.evil.example",
    ] {
        let answer = preflight(&server, "/api/chatkit/session", origin).await;
        let plain =
            server.get("/healthz").header("origin", origin).send().await.expect("an answer");
        assert_eq!(plain.status(), 200, "it is served");
        for answer in [&answer, &plain] {
            let cors =
                answer.headers().keys().find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(cors, None, "{origin}");
            assert_eq!(header(answer, "vary"), Some("origin"), "{origin}");
        }
    }
}

#[tokio::test]
async fn credentials_are_allowed_where_a_cookie_can_authenticate() {
    let key = ("CHATKIT_COOKIE_KEY", "0123456789abcdef0123456789abcdef");
    for vars in
        [vec![ORIGINS, ("JWT_COOKIE", "session")], vec![ORIGINS, ("AUTH_ANONYMOUS", "on"), key]]
    {
        let server = TestServer::hosted(NOWHERE, &vars);
        let answer = preflight(&server, "/api/chatkit/session", "https://shop.example").await;
        assert_eq!(header(&answer, "access-control-allow-credentials"), Some("true"), "{vars:?}");
        assert_eq!(header(&answer, "access-control-allow-origin"), Some("https://shop.example"));
    }
}

#[tokio::test]
async fn errors_carry_the_headers_that_a_success_would() {
    let server = TestServer::hosted(
        NOWHERE,
        &[ORIGINS, ("RATE_LIMIT_IP_BURST", "3"), ("RATE_LIMIT_IP_PER_MINUTE", "1")],
    );
    let origin = "https://shop.example";
    let cases = [
        ("POST", "/api/chatkit/session", 401),
        ("GET", "/api/chatkit/session", 405),
        ("GET", "/nope", 404),
    ];
    let cases = cases
        .into_iter()
        .chain([("POST", "/api/chatkit/session", 401), ("POST", "/api/chatkit/session", 429)]);
    for (method, path, status) in cases {
        let answer =
            server.request(method, path).header("origin", origin).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{method} {path}");
        assert_eq!(header(&answer, "access-control-allow-origin"), Some(origin), "{method} {path}");
        let exposed = header(&answer, "access-control-expose-headers").expect("exposed headers");
        for name in [
            "x-request-id",
            "retry-after",
            "ratelimit-limit",
            "ratelimit-remaining",
            "ratelimit-reset",
        ] {
            assert!(exposed.contains(name), "{name} is exposed in {exposed}");
        }
        assert_eq!(header(&answer, "vary"), Some("origin"));
    }
}
