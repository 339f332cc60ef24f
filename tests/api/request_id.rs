//! The id of a request: the client's own where it is fit to be written down, else a new one.

use serde_json::Value;

use crate::support::server::TestServer;

#[tokio::test]
async fn a_request_keeps_its_name_if_it_is_one() {
    let server = TestServer::hosted("http://127.0.0.1:9", &[]);
    let longest = "x".repeat(128);
    for good in ["a", "Req_1.2-3", &longest] {
        let answer =
            server.get("/healthz").header("x-request-id", good).send().await.expect("an answer");
        assert_eq!(answer.headers()["x-request-id"], good);
        server.log_line(|line| line["request_id"] == good && line["path"] == "/healthz");
    }
    let mut seen = std::collections::HashSet::new();
    let secrets =
        ["cks_a_service_of_the_site", "sk-canary", "ek_canary", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"];
    let odd = ["", " ", "a b", "a/b", "ä", "{\"x\":1}", "a\tb", &"x".repeat(129)];
    for bad in odd.into_iter().chain(secrets) {
        let answer =
            server.get("/nope").header("x-request-id", bad).send().await.expect("an answer");
        let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{bad}: {id}");
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["error"]["request_id"], *id);
        server.log_line(|line| line["request_id"] == *id && line["status"] == 404);
        assert!(seen.insert(id), "no two are the same");
    }
    for secret in secrets {
        assert!(!server.logs().contains(secret), "{secret} is not repeated");
    }
}
