//! The limit per client address, over a real socket, with the layers around it that the service
//! has.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use chatkit_server::config::limits::{ForwardedHeader, LimitsConfig, Rate};
use chatkit_server::error::{self, Error, Kind};
use chatkit_server::limits::Limits;
use chatkit_server::limits::address::ServiceCall;
use chatkit_server::limits::client_ip::Client;
use chatkit_server::telemetry::metrics::{Metrics, render};
use chatkit_server::telemetry::request::RequestContext;
use chatkit_server::user::UserId;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct App {
    config: LimitsConfig,
    limits: Limits,
}

/// A running service; it stops when the test ends.
struct Server {
    address: SocketAddr,
    app: Arc<App>,
    metered: prometheus_client::registry::Registry,
    http: reqwest::Client,
    _running: tokio_util::sync::DropGuard,
}

fn rate(per_minute: u32, burst: u32) -> Option<Rate> {
    Some(Rate { per_minute: NonZeroU32::new(per_minute)?, burst: NonZeroU32::new(burst)? })
}

fn config(address: Option<Rate>, user: Option<Rate>, proxies: &[&str]) -> LimitsConfig {
    LimitsConfig {
        trusted_proxies: proxies.iter().map(|net| net.parse().unwrap()).collect(),
        forwarded_header: ForwardedHeader::XForwardedFor,
        address,
        user,
        connections_per_address: None,
        reads: None,
        redis_url: None,
        max_concurrent_requests: 100,
    }
}

/// What the service does around the limit: find the client and the service, and write down where
/// the caller stands.
async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let context = RequestContext::shared("limits");
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied()
    {
        let client = Client::find(peer.ip(), request.headers(), &app.config);
        if !request.headers().contains_key("x-test-no-client") {
            request.extensions_mut().insert(client);
        }
    }
    if request.headers().get("authorization").is_some_and(|token| token == "Bearer cks_good") {
        request.extensions_mut().insert(ServiceCall);
    }
    request.extensions_mut().insert(Arc::clone(&context));
    let mut response = next.run(request).await;
    error::render(&mut response, "test-1", false);
    if let Some(rate) = context.rate_limit() {
        let headers = response.headers_mut();
        headers.insert("ratelimit-limit", rate.limit.into());
        headers.insert("ratelimit-remaining", rate.remaining.into());
        headers.insert("ratelimit-reset", rate.reset.into());
    }
    response
}

/// A handler as the service has them: a service names its user, and a user is counted after
/// authentication.
async fn session(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Arc<RequestContext>>,
    service: Option<Extension<ServiceCall>>,
    headers: HeaderMap,
) -> Result<&'static str, Error> {
    let name = headers.get("x-test-user").and_then(|name| name.to_str().ok()).unwrap_or("ada");
    let user = UserId::parse(name).ok_or_else(|| Error::invalid("`user` must be a user"))?;
    if service.is_some() {
        app.limits.address().count_user(&user, &context)?;
    }
    app.limits.count_user(&user, &context).await?;
    Ok("minted")
}

async fn failing() -> Response {
    Error::new(Kind::UpstreamUnavailable, "Try again.").into_response()
}

impl Server {
    async fn start(config: LimitsConfig) -> Self {
        let (metrics, metered) = Metrics::new(false);
        let limits = Limits::new(&config, None, &metrics);
        let app = Arc::new(App { config, limits });
        let router = Router::new()
            .route("/session", post(session))
            .route("/failing", post(failing))
            .layer(app.limits.address().layer())
            .layer(from_fn_with_state(Arc::clone(&app), around))
            .with_state(Arc::clone(&app))
            .into_make_service_with_connect_info::<SocketAddr>();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        TaskTracker::new()
            .spawn(axum::serve(listener, router).with_graceful_shutdown(stopped).into_future());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { address, app, metered, http, _running: stop.drop_guard() }
    }

    fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.post(format!("http://{}{path}", self.address))
    }

    /// The status of a request with this `X-Forwarded-For`.
    async fn from(&self, hops: &str) -> StatusCode {
        self.post("/session").header("x-forwarded-for", hops).send().await.unwrap().status()
    }
}

/// The values of `RateLimit-Limit`, `-Remaining` and `-Reset`.
fn standing(answer: &reqwest::Response) -> [Option<&str>; 3] {
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
        .map(|name| answer.headers().get(name).map(|value| value.to_str().unwrap()))
}

/// tower_governor's own headers, which must not be seen.
fn leaked(answer: &reqwest::Response) -> Vec<&str> {
    answer
        .headers()
        .keys()
        .map(|name| name.as_str())
        .filter(|name| name.starts_with("x-ratelimit"))
        .collect()
}

#[tokio::test]
async fn the_burst_passes_at_once_and_the_next_request_is_told_how_long_to_wait() {
    let server = Server::start(config(rate(20, 3), None, &[])).await;
    for (remaining, reset) in [("2", "3"), ("1", "6"), ("0", "9")] {
        let answer = server.post("/session").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(standing(&answer), [Some("3"), Some(remaining), Some(reset)]);
        assert_eq!(leaked(&answer), Vec::<&str>::new());
    }
    let answer = server.post("/session").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "3", "2.9 seconds, rounded up");
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(standing(&answer), [Some("3"), Some("0"), Some("9")]);
    assert_eq!(leaked(&answer), Vec::<&str>::new());
    let message = "Too many requests: try again in 3 seconds.";
    assert_eq!(
        serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap(),
        json!({
            "error": {
                "type": "rate_limit_error", "code": "rate_limited", "message": message, "request_id": "test-1"
            },
            "message": message,
        })
    );
    assert!(render(&server.metered).contains(r#"chatkit_rate_limited_total{limit="address"} 1"#));
}

#[tokio::test]
async fn after_the_burst_requests_come_back_evenly_and_a_refused_one_costs_nothing() {
    // One every 200 ms.
    let server = Server::start(config(rate(300, 2), None, &[])).await;
    let start = Instant::now();
    let mut passed = 0;
    while passed < 5 {
        passed +=
            u32::from(server.post("/session").send().await.unwrap().status() == StatusCode::OK);
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "refused requests must not push the wait away"
        );
    }
    assert!(
        start.elapsed() >= Duration::from_millis(600),
        "three came back in {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_made_up_forwarding_header_changes_nothing() {
    let server = Server::start(config(rate(1, 2), None, &[])).await;
    assert_eq!(server.from("198.51.100.1").await, StatusCode::OK);
    assert_eq!(server.from("198.51.100.2").await, StatusCode::OK);
    assert_eq!(server.from("198.51.100.3").await, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_a_limit_and_cannot_choose_another() {
    let server = Server::start(config(rate(1, 1), None, &["127.0.0.0/8"])).await;
    assert_eq!(server.from("198.51.100.1").await, StatusCode::OK);
    assert_eq!(server.from("198.51.100.2").await, StatusCode::OK, "another client");
    assert_eq!(server.from("6.6.6.6, 198.51.100.1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(server.from("7.7.7.7,198.51.100.1:80").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(server.from("2001:db8:0:1::1").await, StatusCode::OK);
    assert_eq!(
        server.from("2001:db8:0:1:ffff::2").await,
        StatusCode::TOO_MANY_REQUESTS,
        "the same /64"
    );
    assert_eq!(server.from("2001:db8:0:2::1").await, StatusCode::OK, "the next /64");
    assert_eq!(server.app.limits.address().keys(), 4);
}

#[tokio::test]
async fn a_service_is_counted_for_the_user_it_names_and_not_for_its_address() {
    let server = Server::start(config(rate(1, 2), None, &[])).await;
    let as_service = async |user: &'static str| {
        let request = server.post("/session").bearer_auth("cks_good").header("x-test-user", user);
        request.send().await.unwrap()
    };
    for user in ["ada", "bob", "eve", "joe"] {
        assert_eq!(
            as_service(user).await.status(),
            StatusCode::OK,
            "{user}: one address, many users"
        );
    }
    assert_eq!(standing(&as_service("ada").await), [Some("2"), Some("0"), Some("120")]);
    let refused = as_service("ada").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "60");
    assert_eq!(
        server.post("/session").send().await.unwrap().status(),
        StatusCode::OK,
        "the address is fresh"
    );
}

#[tokio::test]
async fn of_two_limits_the_tighter_is_reported() {
    let server = Server::start(config(rate(60, 30), rate(60, 2), &[])).await;
    let answer = server.post("/session").send().await.unwrap();
    assert_eq!(standing(&answer), [Some("2"), Some("1"), Some("1")], "the user's");
    server.post("/session").send().await.unwrap();
    let refused = server.post("/session").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(standing(&refused), [Some("2"), Some("0"), Some("2")]);
    assert!(render(&server.metered).contains(r#"chatkit_rate_limited_total{limit="user"} 1"#));
    let other = server.post("/session").header("x-test-user", "bob").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::OK, "another user at the same address");
}

#[tokio::test]
async fn an_error_of_a_handler_also_says_where_the_client_stands() {
    let server = Server::start(config(rate(60, 30), None, &[])).await;
    let answer = server.post("/failing").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(standing(&answer), [Some("30"), Some("29"), Some("1")]);
    assert_eq!(leaked(&answer), Vec::<&str>::new());
}

#[tokio::test]
async fn limits_that_are_off_let_everything_pass_and_say_nothing() {
    let server = Server::start(config(None, None, &[])).await;
    for _ in 0..50 {
        let answer = server.post("/session").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(standing(&answer), [None, None, None]);
    }
    let answer = server.post("/session").bearer_auth("cks_good").send().await.unwrap();
    assert_eq!((answer.status(), standing(&answer)), (StatusCode::OK, [None, None, None]));
}

#[tokio::test]
async fn a_request_whose_client_nobody_found_is_an_internal_error_in_json() {
    let server = Server::start(config(rate(60, 30), None, &[])).await;
    let answer = server.post("/session").header("x-test-no-client", "1").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "internal_error");
}

#[tokio::test]
async fn callers_whose_burst_is_whole_again_are_forgotten_and_the_timer_ends_with_the_service() {
    // A million a minute: back within 60 microseconds.
    let (metrics, metered) = Metrics::new(false);
    let limits =
        Arc::new(Limits::new(&config(rate(1_000_000, 5), rate(1_000_000, 5), &[]), None, &metrics));
    let context = RequestContext::default();
    for number in 0..100 {
        let user = UserId::parse(&format!("user {number}")).unwrap();
        limits.address().count_user(&user, &context).unwrap();
        limits.count_user(&user, &context).await.unwrap();
    }
    assert_eq!(limits.address().keys(), 100);
    let (tasks, shutdown) = (TaskTracker::new(), CancellationToken::new());
    limits.keep_swept(&tasks, shutdown.clone());
    let deadline = Instant::now() + Duration::from_secs(30);
    while !render(&metered).contains(r#"chatkit_limiter_keys{limit="user"} 0"#) {
        assert!(
            Instant::now() < deadline,
            "swept by the second tick at the latest:\n{}",
            render(&metered)
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(limits.address().keys(), 0);
    shutdown.cancel();
    tasks.close();
    tokio::time::timeout(Duration::from_secs(5), tasks.wait()).await.expect("the timer ends");
}
