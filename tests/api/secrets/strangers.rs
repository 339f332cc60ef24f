//! What strangers send, in the search for secrets.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::watch::Watch;
use super::{JSON, REFRESH, SECRET, SERVICE_TOKEN, SESSION, STRAY, USER};
use crate::support::server::{API_KEY, PATIENCE, TestServer};
use crate::support::tokens;

/// What strangers send and what this service itself refuses.
pub(super) async fn strangers(watch: &Watch, server: &TestServer) {
    let ada = watch.token("stranger");
    let expired = tokens::signed(&json!({"sub": format!("old-{USER}"), "exp": 1}));
    let forged = tokens::signed_with(
        &json!({"alg": "HS256"}),
        &json!({"sub": USER, "exp": 9_999_999_999_u64}),
        STRAY,
    );
    for token in [&expired, &forged] {
        token.split('.').skip(1).for_each(|part| watch.never_part(part));
    }
    let post = || server.post(SESSION);
    for bad in
        [&expired, &forged, STRAY, &format!("{SERVICE_TOKEN}x"), &format!("{API_KEY}.{SECRET}.x")]
    {
        watch.ask(post().bearer_auth(bad), 401).await;
    }
    watch.ask(post().basic_auth(USER, Some(STRAY)), 401).await;
    watch
        .ask(post().bearer_auth(&ada).header("authorization", format!("Bearer {STRAY}")), 401)
        .await;
    let as_ada = |body: String| post().bearer_auth(&ada).header(JSON.0, JSON.1).body(body);
    watch.ask(as_ada(format!("{{\"password\":{STRAY}}}")), 400).await;
    watch.ask(as_ada(json!([STRAY]).to_string()), 400).await;
    watch.ask(as_ada(json!({"workflow": STRAY}).to_string()), 403).await;
    watch
        .ask(as_ada(json!({"workflow": {"id": STRAY}, "workflowId": "wf_x"}).to_string()), 400)
        .await;
    watch.ask(as_ada(format!("\"{}\"", STRAY.repeat(10_000))), 413).await;
    watch.ask(post().bearer_auth(&ada).header(JSON.0, "text/plain").body(STRAY), 415).await;
    let refresh = server.post(REFRESH).bearer_auth(&ada);
    watch.ask(refresh.json(&json!({"currentClientSecret": [SECRET]})), 400).await;
    let query = format!("/?code={STRAY}");
    for (path, status) in [
        (query.as_str(), 200),
        ("/sample.js", 200),
        ("/sample.json", 200),
        ("/api/chatkit/config", 200),
        ("/openapi.json", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/nope", 404),
        ("/api/chatkit/assets/chatkit.js", 404),
        (SESSION, 405),
    ] {
        watch.ask(server.get(path).bearer_auth(&ada).header("cookie", STRAY), status).await;
    }
    let preflight = server.request("OPTIONS", SESSION).header("origin", "https://x.example");
    watch.ask(preflight.header("access-control-request-method", "POST"), 200).await;
    let greedy = watch.token("greedy");
    for _ in 0..10 {
        watch.ask(server.delete(SESSION).bearer_auth(&greedy), 204).await;
    }
    watch.ask(server.delete(SESSION).bearer_auth(&greedy), 429).await;
    for garbage in [
        format!("GET / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {STRAY}\u{1}\r\n\r\n"),
        format!("POST {SESSION} HTTP/9.9\r\ncookie: {STRAY}\r\n\r\n"),
        format!("{STRAY}\r\n\r\n"),
        format!("POST {SESSION} HTTP/1.1\r\nhost: x\r\ncontent-length: {STRAY}\r\n\r\n{STRAY}"),
    ] {
        let mut stream = TcpStream::connect(server.addr()).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        stream.write_all(garbage.as_bytes()).expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it ends");
        watch.hear("the answer to garbage", String::from_utf8_lossy(&answer));
    }
}
