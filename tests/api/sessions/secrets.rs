//! What nobody may see: no key and no client secret in any log line, error or `Debug`.

use std::io::Write;
use std::sync::{Arc, Mutex};

use chatkit_server::sessions::ClientSecret;
use tracing_subscriber::fmt::MakeWriter;

use super::fixture::{House, KEY, body, user, user_with_claims};
use crate::support::upstream::Reply;

/// Everything that is logged in this process.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const SECRET: &str = "ek_canary_of_the_secret";

/// Every way that an answer with the secret in it can go wrong.
fn script() -> Vec<Reply> {
    let echo = format!("the key {KEY} and the secret {SECRET}");
    let session = || Reply::session("cksess_1", SECRET);
    vec![
        session(),
        // The refresh, and the cancel that fails and echoes.
        session(),
        Reply::error(403, &echo, &echo, &echo).header("x-request-id", SECRET),
        Reply::error(401, &echo, &echo, &echo),
        Reply::text(400, &echo),
        Reply::text(200, &format!(r#"{{"client_secret":["{SECRET}"]}}"#)),
        Reply::text(200, &format!(r#"{{"client_secret":"{SECRET}"#)),
        session().cut_after(60),
        Reply::text(302, &echo).header("location", &format!("http://127.0.0.1:1/{SECRET}")),
    ]
}

#[tokio::test]
async fn no_key_and_no_secret_is_in_any_log_line_at_trace_level_nor_in_any_error() {
    let captured = Captured::default();
    let lines = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone());
    lines.try_init().expect("this is the only test that captures the log");

    let house = House::with(script(), &[("UPSTREAM_RETRIES", "0")]).await;
    let secret = house.mint().await.unwrap();
    let current = format!(r#"{{"currentClientSecret":"{SECRET}"}}"#);
    house.refresh(&user("ada"), &current).await.unwrap();
    house.settle().await;
    for _ in 3..script().len() {
        let error = house.mint().await.unwrap_err();
        tracing::error!("{} {error:?}", error.log_text());
    }
    let caller = user_with_claims("ada", serde_json::json!({"plan": "canary"}));
    tracing::error!("{caller:?} {secret:?} {:?} {:?}", body(&current), ClientSecret::new(SECRET));
    assert_eq!(house.upstream.requests().len(), script().len());

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("an old session was not cancelled"), "the log was captured");
    assert!(log.contains("TRACE"), "at trace level");
    for hidden in [KEY, SECRET, "canary"] {
        let line = log.lines().find(|line| line.contains(hidden));
        assert_eq!(line, None, "{hidden}");
    }
}
