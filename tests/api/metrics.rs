//! What Prometheus sees: on its own address, with bounded labels, and counts that are right.

use crate::support::server::{PATIENCE, TestServer};

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The metrics that a server tells at this address.
pub(crate) async fn scrape(addr: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
    client
        .get(format!("http://{addr}/metrics"))
        .send()
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text")
}

/// The value of a metric, by its name with its labels.
pub(crate) fn value(text: &str, metric: &str) -> Option<f64> {
    let line = text
        .lines()
        .find(|line| line.strip_prefix(metric).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn requests_mints_refusals_and_sessions_are_counted() {
    let addr = format!("127.0.0.1:{}", free_port());
    let sandbox = TestServer::start(&["sandbox", "--port", "0"], &[]);
    let vars = [
        ("METRICS_ADDR", addr.as_str()),
        ("CHATKIT_WORKFLOWS", "broken=wf_missing"),
        ("RATE_LIMIT_USER_BURST", "3"),
    ];
    let server = TestServer::hosted(&format!("http://{}", sandbox.addr()), &vars);
    for status in [200, 200, 200, 429] {
        assert_eq!(server.mint_as("ada").send().await.expect("an answer").status(), status);
    }
    let broken = server.mint_as("bob").json(&serde_json::json!({"workflow": "broken"}));
    assert_eq!(broken.send().await.expect("an answer").status(), 502);
    for path in ["/nope/1", "/nope/2"] {
        assert_eq!(server.get(path).send().await.expect("an answer").status(), 404);
    }
    assert_eq!(
        server.get("/metrics").send().await.expect("an answer").status(),
        404,
        "not on the public address"
    );

    let text = scrape(&addr).await;
    let session = r#"route="/api/chatkit/session",method="POST""#;
    for (metric, expected) in [
        (format!("chatkit_http_requests_total{{{session},status=\"200\"}}"), 3.0),
        (format!("chatkit_http_requests_total{{{session},status=\"429\"}}"), 1.0),
        (r#"chatkit_http_requests_total{route="other",method="GET",status="404"}"#.to_owned(), 3.0),
        (
            r#"chatkit_http_request_duration_seconds_count{route="/api/chatkit/session"}"#
                .to_owned(),
            5.0,
        ),
        (r#"chatkit_mints_total{workflow="default",outcome="ok"}"#.to_owned(), 3.0),
        (r#"chatkit_mints_total{workflow="broken",outcome="upstream_rejected"}"#.to_owned(), 1.0),
        (r#"chatkit_rate_limited_total{limit="user"}"#.to_owned(), 1.0),
        ("chatkit_registry_sessions".to_owned(), 3.0),
        (r#"chatkit_limiter_keys{limit="user"}"#.to_owned(), 2.0),
        (r#"chatkit_limiter_keys{limit="address"}"#.to_owned(), 1.0),
        ("chatkit_http_requests_in_flight".to_owned(), 0.0),
    ] {
        assert_eq!(value(&text, &metric), Some(expected), "{metric} in:\n{text}");
    }
    assert!(text.contains("chatkit_upstream_request_duration_seconds_count{operation="), "{text}");
    assert!(!text.contains("nope") && !text.contains("ada"), "no path and no user becomes a label");
}
