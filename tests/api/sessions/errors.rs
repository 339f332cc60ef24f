//! What a client sees of each failure of OpenAI, and what the log says.

use std::time::Duration;

use super::fixture::{House, KEY, seen};
use crate::support::upstream::Reply;

/// The answer, and what comes of it: status, code, `Retry-After`, and words of the log.
type Row = (Reply, u16, &'static str, Option<&'static str>, &'static str);

fn refusals() -> Vec<Row> {
    let error = |status| Reply::error(status, "invalid_request_error", "some_code", "Some words.");
    let rejected = |status, words| (error(status), 502, "upstream_rejected", None, words);
    let no_entry = |status, words| (error(status), 502, "upstream_auth_failed", None, words);
    let used_up = |r#type, code| {
        let reply = Reply::error(429, r#type, code, "You exceeded your current quota.");
        (reply, 502, "upstream_quota_exhausted", None, "used up")
    };
    let limited = || Reply::error(429, "requests", "rate_limit_exceeded", "Slow down.");
    let busy = |reply, wait, words| (reply, 503, "upstream_rate_limited", Some(wait), words);
    let away = |reply, wait, words| (reply, 503, "upstream_unavailable", Some(wait), words);
    vec![
        rejected(400, "does not accept what the CHATKIT_* variables ask for"),
        no_entry(401, "OPENAI_API_KEY is wrong"),
        no_entry(403, "may not use ChatKit"),
        rejected(404, "different projects, or Agent Builder has ended"),
        rejected(410, "different projects, or Agent Builder has ended"),
        rejected(422, "type invalid_request_error, code some_code"),
        rejected(405, "CHATKIT_API_BASE leads to another server"),
        used_up("insufficient_quota", "insufficient_quota"),
        used_up("requests", "project_spend_limit_exceeded"),
        used_up("insufficient_quota", "new_code"),
        busy(limited(), "1", "code rate_limit_exceeded"),
        busy(limited().header("retry-after", "17"), "17", "status 429"),
        busy(limited().header("retry-after", "17.2"), "18", "status 429"),
        busy(limited().header("retry-after-ms", "17900"), "18", "status 429"),
        busy(limited().header("retry-after", "0"), "1", "status 429"),
        busy(Reply::text(429, "<html>slow down</html>"), "1", "status 429"),
        away(error(408), "1", "status 408"),
        away(error(409), "1", "status 409"),
        away(error(500), "1", "status 500"),
        away(Reply::text(502, "<html>bad gateway</html>"), "1", "status 502"),
        away(error(503).header("retry-after", "30"), "30", "status 503"),
    ]
}

fn unusable() -> Vec<Row> {
    let code = "upstream_invalid_response";
    let huge = " ".repeat(1024 * 1024 + 1);
    let just = format!(r#"{{"x":"{}"}}"#, "x".repeat(1024 * 1024 - 8));
    vec![
        (Reply::text(200, "<html>"), 502, code, None, "not a JSON object"),
        (Reply::text(200, ""), 502, code, None, "not a JSON object"),
        (Reply::text(204, ""), 502, code, None, "not a JSON object"),
        (Reply::text(200, "{}"), 502, code, None, "without a client secret"),
        (Reply::text(200, r#"["cksess_1","ek_1"]"#), 502, code, None, "not a JSON object"),
        (Reply::text(200, r#"{"client_secret":""}"#), 502, code, None, "without a client secret"),
        (
            Reply::text(200, r#"{"client_secret":{"value":"ek_1"}}"#),
            502,
            code,
            None,
            "without a client secret",
        ),
        (Reply::text(200, &just), 502, code, None, "without a client secret"),
        (Reply::text(200, &huge), 502, code, None, "more than 1 MiB"),
        (Reply::text(200, &huge).chunked(), 502, code, None, "more than 1 MiB"),
        (Reply::text(302, "").header("location", "/elsewhere"), 502, code, None, "redirect"),
        (
            Reply::text(307, "").header("location", "http://127.0.0.1:1/"),
            502,
            code,
            None,
            "redirect",
        ),
        (Reply::text(304, ""), 502, code, None, "redirect"),
    ]
}

#[tokio::test]
async fn each_answer_of_openai_becomes_its_row_of_the_error_table() {
    let house = House::with([], &[("UPSTREAM_RETRIES", "0")]).await;
    let rows: Vec<Row> = refusals().into_iter().chain(unusable()).collect();
    for (index, (reply, status, code, retry_after, log)) in rows.iter().enumerate() {
        house.upstream.then(reply.clone());
        let seen = seen(house.mint().await).await;
        assert_eq!((seen.status, seen.code.as_str()), (*status, *code), "row {index}: {seen:?}");
        assert_eq!(seen.retry_after.as_deref(), *retry_after, "row {index}: {seen:?}");
        assert!(seen.log.starts_with(code) && seen.log.contains(log), "{} lacks {log}", seen.log);
        assert_eq!(house.upstream.requests().len(), index + 1, "one request each");
    }
    assert!(house.ids().await.is_empty());
    for (_, _, code, ..) in &rows {
        let count = rows.iter().filter(|row| row.2 == *code).count().to_string();
        let mints = format!(r#"chatkit_mints_total{{workflow="default",outcome="{code}"}}"#);
        assert_eq!(house.metric(&mints).as_ref(), Some(&count), "{mints}");
        let calls = format!(
            r#"chatkit_upstream_request_duration_seconds_count{{operation="create_session",outcome="{code}"}}"#
        );
        assert_eq!(house.metric(&calls).as_ref(), Some(&count), "{calls}");
    }
}

#[tokio::test]
async fn an_error_whose_body_is_cut_or_too_long_still_has_its_status() {
    for reply in [
        Reply::error(401, "t", "c", "words").cut_after(10),
        Reply::text(401, &" ".repeat(1024 * 1024 + 1)),
    ] {
        let house = House::new([reply]).await;
        assert_eq!(seen(house.mint().await).await.code, "upstream_auth_failed");
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_unavailable() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstream = crate::support::upstream::ScriptedUpstream::start([]).await;
    let base = format!("http://{gone}");
    let house = House::at(upstream, &[("CHATKIT_API_BASE", &base), ("UPSTREAM_RETRIES", "0")]);
    let seen = seen(house.mint().await).await;
    assert_eq!((seen.status, seen.code.as_str()), (503, "upstream_unavailable"));
    assert_eq!(seen.retry_after.as_deref(), Some("1"));
    assert!(seen.log.contains("connection failed"), "{}", seen.log);
    assert!(
        !seen.log.contains(&gone.port().to_string()) || seen.log.contains("refused"),
        "{}",
        seen.log
    );
}

#[tokio::test]
async fn the_log_has_openais_request_id_and_message_but_no_key_or_secret() {
    let message = format!(
        "Incorrect API key provided: {KEY}. Try Bearer abc, ek_123, cks_456 or \
         sk-proj-****wxyz.\nSee https://platform.openai.com."
    );
    let reply = Reply::error(401, "invalid_request_error", "invalid_api_key", &message);
    let house = House::new([reply.header("x-request-id", "req_7")]).await;
    let seen = seen(house.mint().await).await;
    assert_eq!(
        seen.log,
        "upstream_auth_failed: status 401, type invalid_request_error, code invalid_api_key, \
         request id req_7, message \"Incorrect API key provided: [redacted]. Try Bearer \
         [redacted], [redacted], [redacted] or [redacted] See https://platform.openai.com.\"; it \
         usually means that OPENAI_API_KEY is wrong, or has been revoked"
    );
}

#[tokio::test]
async fn an_answer_that_takes_its_time_is_waited_for() {
    let house =
        House::new([Reply::session("cksess_1", "ek_1").after(Duration::from_millis(100))]).await;
    assert_eq!(house.mint().await.unwrap().expose(), "ek_1");
    let slow = Reply::session("cksess_2", "ek_2").dripping(Duration::from_micros(200));
    house.upstream.then(slow);
    assert_eq!(house.mint().await.unwrap().expose(), "ek_2");
}
