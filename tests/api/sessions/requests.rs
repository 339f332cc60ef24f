//! What goes out to OpenAI, compared whole.

use chatkit_server::sessions::create_session;
use chatkit_server::sessions::registry::Registry;
use chatkit_server::telemetry::request::RequestContext;
use chatkit_server::user::Fingerprint;
use serde_json::json;

use super::fixture::{House, KEY, NOW, body, seen, user, user_with_claims};
use crate::support::upstream::{Recorded, Reply, ScriptedUpstream};

fn one_session() -> [Reply; 1] {
    [Reply::session("cksess_1", "ek_1")]
}

/// The headers without those of the transport.
fn own_headers(request: &Recorded) -> Vec<(&str, &str)> {
    let of_transport = ["host", "content-length", "accept"];
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    headers.filter(|(name, _)| !of_transport.contains(name)).collect()
}

#[tokio::test]
async fn the_least_configuration_sends_workflow_user_and_end_of_life_and_nothing_else() {
    let house = House::new(one_session()).await;
    let secret = house.mint().await.unwrap();
    assert_eq!(serde_json::to_value(&secret).unwrap(), json!({"client_secret": "ek_1"}));
    let requests = house.upstream.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].line, "POST /v1/chatkit/sessions");
    assert_eq!(
        own_headers(&requests[0]),
        [
            ("authorization", format!("Bearer {KEY}").as_str()),
            ("content-type", "application/json"),
            ("openai-beta", "chatkit_beta=v1"),
            ("user-agent", concat!("chatkit-server/", env!("CARGO_PKG_VERSION"))),
        ]
    );
    assert_eq!(
        requests[0].json(),
        json!({
            "workflow": {"id": "wf_1"},
            "user": "ada",
            "expires_after": {"anchor": "created_at", "seconds": 600},
        })
    );
}

#[tokio::test]
async fn all_that_is_configured_is_sent() {
    let key = "k".repeat(32);
    let house = House::with(
        one_session(),
        &[
            ("CHATKIT_WORKFLOW_VERSION", "3"),
            ("OPENAI_ORG_ID", "org-1"),
            ("OPENAI_PROJECT_ID", "proj_1"),
            ("CHATKIT_SESSION_TTL_SECONDS", "60"),
            ("CHATKIT_SESSION_REQUESTS_PER_MINUTE", "7"),
            ("CHATKIT_FILE_UPLOAD", "on,max_file_size_mb=20,max_files=3"),
            ("CHATKIT_HISTORY", "on,recent_threads=20"),
            ("CHATKIT_THREAD_TITLES", "off"),
            ("CHATKIT_STATE_CLAIMS", "plan,tenant_id=org,seats,beta,roles,address,nothing,missing"),
            ("CHATKIT_USER_ID_KEY", &key),
        ],
    )
    .await;
    let claims = json!({
        "sub": "ada", "plan": "pro", "org": "o-1", "seats": 4, "beta": true,
        "roles": ["a"], "address": {"city": "x"}, "nothing": null, "other": "not asked for",
    });
    house.create(&user_with_claims("ada", claims), "{}").await.unwrap();
    let request = &house.upstream.requests()[0];
    assert_eq!(request.header("openai-organization"), Some("org-1"));
    assert_eq!(request.header("openai-project"), Some("proj_1"));
    assert_eq!(
        request.json(),
        json!({
            "workflow": {
                "id": "wf_1",
                "version": "3",
                "state_variables": {"plan": "pro", "tenant_id": "o-1", "seats": 4, "beta": true},
            },
            // echo -n ada | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
            "user": HMAC_OF_ADA,
            "expires_after": {"anchor": "created_at", "seconds": 60},
            "rate_limits": {"max_requests_per_1_minute": 7},
            "chatkit_configuration": {
                "automatic_thread_titling": {"enabled": false},
                "file_upload": {"enabled": true, "max_file_size": 20, "max_files": 3},
                "history": {"enabled": true, "recent_threads": 20},
            },
        })
    );
}

const HMAC_OF_ADA: &str = "a8b373bd9a0f9800c50bbfebdb7cf07984ccd62a4ee99e1570b3f601c7fb713f";

#[tokio::test]
async fn a_setting_that_is_made_alone_goes_out_alone() {
    let house = House::with(one_session(), &[("CHATKIT_HISTORY", "off")]).await;
    house.mint().await.unwrap();
    let sent = house.upstream.requests()[0].json();
    assert_eq!(sent["chatkit_configuration"], json!({"history": {"enabled": false}}));
}

#[tokio::test]
async fn a_named_workflow_goes_out_by_its_id_and_without_the_version_of_the_default_one() {
    let named =
        [("CHATKIT_WORKFLOWS", "support=wf_2,sales=wf_3"), ("CHATKIT_WORKFLOW_VERSION", "3")];
    let house =
        House::with((0..3).map(|n| Reply::session(&format!("cksess_{n}"), "ek_1")), &named).await;
    for asked in
        [r#"{"workflow":"sales"}"#, r#"{"workflow":{"id":"wf_3"}}"#, r#"{"workflowId":"wf_3"}"#]
    {
        house.create(&user("ada"), asked).await.unwrap();
    }
    for request in house.upstream.requests() {
        assert_eq!(request.json()["workflow"], json!({"id": "wf_3"}));
    }
    let count = house.metric(r#"chatkit_mints_total{workflow="sales",outcome="ok"}"#);
    assert_eq!(count.as_deref(), Some("3"), "counted by name, however it was asked for");
}

#[tokio::test]
async fn a_workflow_that_is_not_offered_never_reaches_openai() {
    let house = House::new([]).await;
    for (asked, status) in [
        (r#"{"workflow":"wf_1"}"#, 403),
        (r#"{"workflowId":"wf_9"}"#, 403),
        (r#"{"workflow":1}"#, 400),
    ] {
        let seen = seen(house.create(&user("ada"), asked).await).await;
        assert_eq!(seen.status, status, "{asked}: {seen:?}");
    }
    assert!(house.upstream.requests().is_empty());
}

#[tokio::test]
async fn the_body_of_the_client_stays_here() {
    let house = House::new(one_session()).await;
    let extra = r#"{"user":"mallory","scope":{"x":1},"expires_after":{"seconds":1},"chatkit_configuration":{},"extra":"e"}"#;
    house.create(&user("ada"), extra).await.unwrap();
    assert_eq!(
        house.upstream.requests()[0].json(),
        json!({
            "workflow": {"id": "wf_1"},
            "user": "ada",
            "expires_after": {"anchor": "created_at", "seconds": 600},
        })
    );
}

#[tokio::test]
async fn a_base_with_a_path_keeps_it() {
    for end in ["/gate", "/gate/", "/gate/v1", "/gate/v1/"] {
        let upstream = ScriptedUpstream::start(one_session()).await;
        let base = format!("{}{end}", upstream.base());
        let house = House::at(upstream, &[("CHATKIT_API_BASE", &base)]);
        house.mint().await.unwrap();
        assert_eq!(house.upstream.lines(), ["POST /gate/v1/chatkit/sessions"], "{end}");
    }
}

#[tokio::test]
async fn a_cancel_has_no_body_and_its_id_stays_one_part_of_the_path() {
    let house =
        House::new([Reply::session("cksess_a/../b ?#%2F", "ek_1"), Reply::session("", "")]).await;
    house.mint().await.unwrap();
    house.revoke(&user("ada")).await.unwrap();
    let cancel = &house.upstream.requests()[1];
    assert_eq!(cancel.line, "POST /v1/chatkit/sessions/cksess_a%2F..%2Fb%20%3F%23%252F/cancel");
    assert_eq!(cancel.body, b"");
    assert_eq!(cancel.header("content-length"), Some("0"), "some gateways answer 411 without it");
    assert_eq!(
        own_headers(cancel),
        [
            ("authorization", format!("Bearer {KEY}").as_str()),
            ("openai-beta", "chatkit_beta=v1"),
            ("user-agent", concat!("chatkit-server/", env!("CARGO_PKG_VERSION"))),
        ]
    );
}

#[tokio::test]
async fn a_session_is_remembered_under_the_hash_of_its_secret_until_its_end_by_our_clock() {
    let house = House::with(one_session(), &[("CHATKIT_SESSION_TTL_SECONDS", "90")]).await;
    house.mint().await.unwrap();
    let session = house.registry.find(Fingerprint::of(b"ek_1")).await.expect("it is remembered");
    assert_eq!(&*session.id, "cksess_1");
    assert_eq!(session.user, user("ada").user.fingerprint());
    assert_eq!(session.ends_at, NOW + 90, "whatever OpenAI's clock says");
}

#[tokio::test]
async fn the_request_id_of_openai_is_noted_if_it_is_fit_for_a_log() {
    for (sent, noted) in
        [("req_a.B-1", Some("req_a.B-1")), ("two words", None), ("ek_secret", None)]
    {
        let house = House::new(one_session().map(|reply| reply.header("x-request-id", sent))).await;
        let context = RequestContext::default();
        create_session(&house.sessions, &user("ada"), body(""), &context).await.unwrap();
        assert_eq!(context.upstream_request_id(), noted);
    }
}

#[tokio::test]
async fn one_connection_serves_one_call_after_another() {
    let house = House::new((0..3).map(|n| Reply::session(&format!("cksess_{n}"), "ek_1"))).await;
    for _ in 0..3 {
        house.mint().await.unwrap();
    }
    assert_eq!(house.upstream.connections(), 1);
}

#[tokio::test]
async fn an_https_upstream_is_reached_through_the_proxy_that_is_set() {
    let refusal = Reply::text(407, "not you").header("x-request-id", "of-the-proxy");
    let proxy = ScriptedUpstream::start([refusal]).await;
    let address = proxy.base().replace("http://", "http://name:canary-password@");
    let extra = [
        ("CHATKIT_API_BASE", "https://api.openai.invalid"),
        ("HTTPS_PROXY", address.as_str()),
        ("UPSTREAM_RETRIES", "0"),
    ];
    let house = House::at(proxy, &extra);
    let seen = seen(house.mint().await).await;
    assert_eq!(seen.code, "upstream_unavailable");
    assert!(!seen.log.contains("canary"), "{}", seen.log);
    let requests = house.upstream.requests();
    assert_eq!(house.upstream.lines(), ["CONNECT api.openai.invalid:443"]);
    assert!(
        requests[0].headers.iter().all(|(_, value)| !value.contains(KEY)),
        "the key is not for the proxy"
    );
}

#[tokio::test]
async fn an_http_upstream_is_reached_without_the_proxy() {
    let extra = [("HTTPS_PROXY", "http://127.0.0.1:1")];
    let house = House::with(one_session(), &extra).await;
    assert_eq!(house.mint().await.unwrap().expose(), "ek_1");
}
