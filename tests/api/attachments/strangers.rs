//! Who asks for files without a link that is good and without a name: counted by address, and known
//! by nobody.

use reqwest::Response;

use super::room::{PNG, form};
use crate::metrics::{free_port, scrape, value};
use crate::support::server::TestServer;
use crate::support::tokens;

const BURST: usize = 5;
const NONE: &str = "/api/chatkit/attachments/atc_00000000000000000000000000000000";

fn server(metrics: &str) -> TestServer {
    TestServer::self_hosted(&[
        ("RATE_LIMIT_IP_PER_MINUTE", "1"),
        ("RATE_LIMIT_IP_BURST", &BURST.to_string()),
        ("RATE_LIMIT_USER_PER_MINUTE", "1000"),
        ("RATE_LIMIT_USER_BURST", "1000"),
        ("AUTH_ANONYMOUS", "on"),
        ("CHATKIT_COOKIE_KEY", "a-key-of-ours-that-has-32-bytes-or-more"),
        ("METRICS_ADDR", metrics),
    ])
}

async fn get(server: &TestServer, path: &str) -> Response {
    server.get(path).send().await.expect("an answer")
}

#[tokio::test]
async fn a_visitor_without_a_cookie_owns_no_files_and_becomes_nobody_by_asking() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let server = server(&metrics);
    for _ in 0..BURST {
        let answer = get(&server, NONE).await;
        assert_eq!(answer.status(), 401);
        assert!(!answer.headers().contains_key("set-cookie"), "nobody is invented");
    }
    let refused = get(&server, NONE).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    let text = scrape(&metrics).await;
    assert_eq!(
        value(&text, r#"chatkit_limiter_keys{limit="user"}"#),
        Some(0.0),
        "no bucket of a user"
    );
    assert_eq!(value(&text, r#"chatkit_rate_limited_total{limit="address"}"#), Some(1.0));
}

#[tokio::test]
async fn only_a_good_link_and_somebody_who_is_known_pass_the_limit_by_address() {
    let metrics = format!("127.0.0.1:{}", free_port());
    let server = server(&metrics);
    let ada = tokens::hs256("ada");
    let upload = server.post("/api/chatkit/upload").bearer_auth(&ada);
    let upload = upload.multipart(form("a.png", "image/png", PNG)).send().await.expect("an answer");
    let image: serde_json::Value = upload.json().await.expect("JSON");
    let link = image["preview_url"].as_str().expect("a link").replace(&server.url(""), "");
    let (path, query) = link.split_once('?').expect("it is signed");

    // The upload was one of the burst.
    let strangers = [
        format!("{path}?{query}x"),
        format!("{path}?expires=1&signature=00"),
        "/api/chatkit/attachments/atc_zz".to_owned(),
        "/api/chatkit/attachments/a/b".to_owned(),
    ];
    for stranger in &strangers {
        let status = get(&server, stranger).await.status().as_u16();
        assert!(matches!(status, 401 | 404), "{stranger}: {status}");
    }
    for stranger in &strangers {
        assert_eq!(get(&server, stranger).await.status(), 429, "{stranger}");
    }
    let bad = server.get(path).bearer_auth("nonsense").send().await.expect("an answer");
    assert_eq!(bad.status(), 429, "a bad token");
    let posted = server.post(path).send().await.expect("an answer");
    assert_eq!(posted.status(), 429, "another method");
    for _ in 0..3 * BURST {
        assert_eq!(get(&server, &link).await.status(), 200, "a good link");
        let own = server.get(path).bearer_auth(&ada).send().await.expect("an answer");
        assert_eq!(own.status(), 200, "its owner");
    }
}
