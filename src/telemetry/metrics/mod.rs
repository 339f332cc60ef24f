//! What can be counted? Every metric of the service, in Prometheus naming, with bounded label
//! values.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::request::Tokens;

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// The counters of one running service. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    request_durations: Durations<RouteLabels>,
    upstream_durations: Durations<UpstreamLabels>,
    upstream_retries: Family<OperationLabels, Counter>,
    mints: Family<MintLabels, Counter>,
    refusals: Family<LimitLabels, Counter>,
    limiter_keys: Family<LimitLabels, Gauge>,
    registry_sessions: Gauge,
    registry_evictions: Counter,
    jwks_age: Family<SourceLabels, Gauge<f64, AtomicU64>>,
    redis_up: Gauge,
    redis_failures: Counter,
    in_flight: Gauge,
    connections_open: Gauge,
    connections_refused: Counter,
    turns: Family<OutcomeLabels, Counter>,
    agent_turns: Family<AgentLabels, Counter>,
    model_tokens: Family<TokenLabels, Counter>,
    title_tokens: Family<TokenLabels, Counter>,
    turns_running: Gauge,
    first_events: Histogram,
    streams_open: Gauge,
    repeated_requests: Counter,
    store_failures: Counter,
}

/// Something that a gauge counts as long as it is held.
#[derive(Debug)]
pub struct Held(Gauge);

impl Held {
    fn by(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MintLabels {
    workflow: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgentLabels {
    agent: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    agent: String,
    model: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: String,
}

/// 0.25 ms to 16 s in powers of two.
fn duration_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 17))
}

impl Metrics {
    /// All metrics at zero, and the registry that encodes them. `with_redis` says whether the Redis
    /// gauges make sense.
    #[must_use]
    pub fn new(with_redis: bool) -> (Self, Registry) {
        let metrics = Self {
            requests: Family::default(),
            request_durations: Family::new_with_constructor(duration_buckets as fn() -> Histogram),
            upstream_durations: Family::new_with_constructor(duration_buckets as fn() -> Histogram),
            upstream_retries: Family::default(),
            mints: Family::default(),
            refusals: Family::default(),
            limiter_keys: Family::default(),
            registry_sessions: Gauge::default(),
            registry_evictions: Counter::default(),
            jwks_age: Family::default(),
            redis_up: Gauge::default(),
            redis_failures: Counter::default(),
            in_flight: Gauge::default(),
            connections_open: Gauge::default(),
            connections_refused: Counter::default(),
            turns: Family::default(),
            agent_turns: Family::default(),
            model_tokens: Family::default(),
            title_tokens: Family::default(),
            turns_running: Gauge::default(),
            first_events: duration_buckets(),
            streams_open: Gauge::default(),
            repeated_requests: Counter::default(),
            store_failures: Counter::default(),
        };
        let registry = metrics.register(with_redis);
        (metrics, registry)
    }

    #[rustfmt::skip]
    fn register(&self, with_redis: bool) -> Registry {
        let mut r = Registry::with_prefix("chatkit");
        r.register("http_requests", "Requests answered", self.requests.clone());
        r.register("http_request_duration_seconds",
            "Time from a request's head to its answer's head", self.request_durations.clone());
        r.register("http_requests_in_flight",
            "Requests whose answer is not complete", self.in_flight.clone());
        r.register("connections_open",
            "Connections of clients that are open", self.connections_open.clone());
        r.register("connections_refused",
            "Connections closed at once because their address had too many open",
            self.connections_refused.clone());
        r.register("upstream_request_duration_seconds",
            "Time that one call of the upstream took, retries included",
            self.upstream_durations.clone());
        r.register("upstream_retries",
            "Further tries of upstream calls", self.upstream_retries.clone());
        r.register("mints", "Sessions asked for, by workflow name", self.mints.clone());
        r.register("rate_limited", "Requests that a limit refused", self.refusals.clone());
        r.register("limiter_keys",
            "Callers that a limiter in this process remembers", self.limiter_keys.clone());
        r.register("registry_sessions",
            "Live sessions that this process remembers", self.registry_sessions.clone());
        r.register("registry_evictions",
            "Live sessions forgotten because the registry was full",
            self.registry_evictions.clone());
        r.register("jwks_age_seconds",
            "Time since the keys were last fetched", self.jwks_age.clone());
        r.register("turns", "Answers of the chat that have ended", self.turns.clone());
        r.register("agent_turns",
            "Answers of the chat that have ended, by agent", self.agent_turns.clone());
        r.register("model_tokens",
            "Tokens that answers took, by their models' count", self.model_tokens.clone());
        r.register("title_tokens",
            "Tokens that titles took, by their models' count", self.title_tokens.clone());
        r.register("turns_running", "Answers of the chat under way", self.turns_running.clone());
        r.register("turn_first_event_seconds",
            "Time from the beginning of a turn to the first event of its answer",
            self.first_events.clone());
        r.register("streams_open", "Clients that hear an answer", self.streams_open.clone());
        r.register("repeated_requests",
            "Requests that were answered by the turn of an earlier one",
            self.repeated_requests.clone());
        r.register("store_failures",
            "Calls of the database that failed or took too long", self.store_failures.clone());
        if with_redis {
            r.register("redis_up",
                "1 while Redis answers; at 0 the limits and sessions are this process's own",
                self.redis_up.clone());
            r.register("redis_failures",
                "Redis commands that failed or took too long", self.redis_failures.clone());
        }
        r
    }

    /// Counts one answered request. `route` is the route's pattern, never the path that was asked
    /// for.
    pub fn request(&self, route: &'static str, method: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { route, method, status }).inc();
        self.request_durations.get_or_create(&RouteLabels { route }).observe(took.as_secs_f64());
    }

    /// Sets how many requests are under way.
    pub fn set_in_flight(&self, requests: usize) {
        self.in_flight.set(i64::try_from(requests).unwrap_or(i64::MAX));
    }

    /// Counts a client's connection as open until it is dropped.
    #[must_use]
    pub fn connection_open(&self) -> Held {
        Held::by(&self.connections_open)
    }

    /// Counts one connection that was closed because its address had too many open.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Counts one call of the upstream, whatever number of tries it took. `outcome` is `ok` or an
    /// error code.
    pub fn upstream_call(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        self.upstream_durations
            .get_or_create(&UpstreamLabels { operation, outcome })
            .observe(took.as_secs_f64());
    }

    /// Counts one further try of an upstream call.
    pub fn upstream_retry(&self, operation: &'static str) {
        self.upstream_retries.get_or_create(&OperationLabels { operation }).inc();
    }

    /// Counts one session asked for. `workflow` is the configured name (`default` for the default
    /// workflow).
    pub fn mint(&self, workflow: &str, outcome: &'static str) {
        self.mints.get_or_create(&MintLabels { workflow: workflow.to_owned(), outcome }).inc();
    }

    /// Counts one request that the limit (`address` or `user`) refused.
    pub fn rate_limited(&self, limit: &'static str) {
        self.refusals.get_or_create(&LimitLabels { limit }).inc();
    }

    /// Sets how many callers a limiter in this process remembers.
    pub fn set_limiter_keys(&self, limit: &'static str, keys: usize) {
        self.limiter_keys
            .get_or_create(&LimitLabels { limit })
            .set(i64::try_from(keys).unwrap_or(i64::MAX));
    }

    /// Sets how many live sessions this process remembers.
    pub fn set_registry_sessions(&self, sessions: usize) {
        self.registry_sessions.set(i64::try_from(sessions).unwrap_or(i64::MAX));
    }

    /// Counts live sessions that were forgotten because the registry was full.
    pub fn registry_evicted(&self, sessions: u64) {
        self.registry_evictions.inc_by(sessions);
    }

    /// Sets the age of the keys of one source, named by its host.
    pub fn set_jwks_age(&self, source: &str, age: Duration) {
        self.jwks_age
            .get_or_create(&SourceLabels { source: source.to_owned() })
            .set(age.as_secs_f64());
    }

    /// Says whether Redis answers.
    pub fn set_redis_up(&self, up: bool) {
        self.redis_up.set(i64::from(up));
    }

    /// Counts one answer of the chat that has ended: `done`, `failed`, `cancelled` (its client
    /// left) or `shutdown`. `agent` is the name of a configured one.
    pub fn turn_ended(&self, agent: &str, outcome: &'static str) {
        self.turns.get_or_create(&OutcomeLabels { outcome }).inc();
        self.agent_turns.get_or_create(&AgentLabels { agent: agent.to_owned(), outcome }).inc();
    }

    /// Counts what an answer of a configured agent took of its model.
    pub fn answer_took(&self, agent: &str, model: &str, tokens: Tokens) {
        count_tokens(&self.model_tokens, agent, model, tokens);
    }

    /// Counts what a title took.
    pub fn title_took(&self, agent: &str, model: &str, tokens: Tokens) {
        count_tokens(&self.title_tokens, agent, model, tokens);
    }

    /// Counts an answer of the chat as under way until it is dropped.
    #[must_use]
    pub fn turn_running(&self) -> Held {
        Held::by(&self.turns_running)
    }

    /// Notes how long a turn took to the first event of its answer.
    pub fn turn_first_event(&self, after: Duration) {
        self.first_events.observe(after.as_secs_f64());
    }

    /// Counts a client as one that hears an answer until it is dropped.
    #[must_use]
    pub fn stream_open(&self) -> Held {
        Held::by(&self.streams_open)
    }

    /// Counts one request that an earlier one's turn answers.
    pub fn repeated_request(&self) {
        self.repeated_requests.inc();
    }

    /// Counts one call of the database that failed or took too long.
    pub fn store_failed(&self) {
        self.store_failures.inc();
    }

    /// Counts one Redis command that failed or took too long.
    pub fn redis_failed(&self) {
        self.redis_failures.inc();
    }
}

fn count_tokens(counter: &Family<TokenLabels, Counter>, agent: &str, model: &str, tokens: Tokens) {
    let (agent, model) = (agent.to_owned(), model.to_owned());
    let labels = TokenLabels { agent, model, kind: "input" };
    counter.get_or_create(&labels).inc_by(tokens.input);
    counter.get_or_create(&TokenLabels { kind: "output", ..labels }).inc_by(tokens.output);
}

/// The content type of what [`render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text that Prometheus and its kin scrape: format 0.0.4, which every one of them reads.
#[must_use]
pub fn render(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = encode_registry(&mut text, registry);
    plain_text(&text)
}

/// OpenMetrics, which the library writes, as the older text format. There a counter's `HELP` and
/// `TYPE` carry the name of its samples, with `_total`; without that its samples have no type.
/// `UNIT` is not known there.
fn plain_text(open_metrics: &str) -> String {
    let typed = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    let counters: HashSet<&str> = typed.collect();
    let mut text = String::with_capacity(open_metrics.len() + 16 * counters.len());
    for line in open_metrics.lines().filter(|line| !line.starts_with("# UNIT ")) {
        let about = ["# HELP ", "# TYPE "].into_iter().find_map(|start| line.strip_prefix(start));
        match about.and_then(|about| about.split_once(' ')) {
            Some((name, rest)) if counters.contains(name) => {
                let start = &line[..line.len() - rest.len() - 1];
                text.extend([start, "_total ", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
