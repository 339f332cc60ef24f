//! How often, and how much at once? The settings of the limits, of the proxies that are believed,
//! and of Redis.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::env::{Secret, Vars};

/// The most that a rate or a burst may be: with it, all times of a limiter fit 53 bits of
/// microseconds.
const MOST: u64 = 1_000_000;

/// How often, and how much at once.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds Redis' password")]
pub struct LimitsConfig {
    /// The peers whose forwarding headers are believed (`TRUSTED_PROXIES`); none by default.
    pub trusted_proxies: Vec<IpNet>,
    /// The one header that is read for a trusted peer (`FORWARDED_HEADER`).
    pub forwarded_header: ForwardedHeader,
    /// Per client address, on `/api/chatkit` and what is below it, files aside
    /// (`RATE_LIMIT_IP_PER_MINUTE`, `RATE_LIMIT_IP_BURST`); `None` is off.
    pub address: Option<Rate>,
    /// Per user, for what costs (`RATE_LIMIT_USER_PER_MINUTE`, `RATE_LIMIT_USER_BURST`); `None` is
    /// off.
    pub user: Option<Rate>,
    /// How many connections one client address may have open, `TRUSTED_PROXIES` aside
    /// (`CONNECTIONS_PER_ADDRESS`); `None` is no limit.
    pub connections_per_address: Option<usize>,
    /// Per user, for everything else of the chat (`RATE_LIMIT_READS_PER_MINUTE`,
    /// `RATE_LIMIT_READS_BURST`); `None` is off.
    pub reads: Option<Rate>,
    /// Where the per-user limits and the sessions are shared by every replica (`REDIS_URL`);
    /// without it they live in this process.
    pub redis_url: Option<Secret>,
    /// How many requests may be under way at once (`MAX_CONCURRENT_REQUESTS`), 1 or more.
    pub max_concurrent_requests: usize,
}

/// A header in which proxies write down for whom they ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, and `X-Forwarded-Proto` beside it.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// A token bucket: the burst at once, then evenly by the minute's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many requests come back in a minute, up to a million.
    pub per_minute: NonZeroU32,
    /// How many requests may come at once, up to a million.
    pub burst: NonZeroU32,
}

impl Rate {
    /// The time in which one request comes back: 60 microseconds to one minute.
    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_secs(60) / self.per_minute.get()
    }
}

impl LimitsConfig {
    /// The chat of hosted mode is at OpenAI: there is no reading here to limit.
    pub(super) fn from_vars(vars: &Vars<'_>, is_hosted: bool) -> Self {
        let reads =
            || rate(vars, "RATE_LIMIT_READS_PER_MINUTE", 600, "RATE_LIMIT_READS_BURST", 120);
        let connections = vars.number("CONNECTIONS_PER_ADDRESS", 1024, 0..=MOST);
        let max_concurrent_requests = vars.number("MAX_CONCURRENT_REQUESTS", 10_000, 1..=MOST);
        Self {
            trusted_proxies: trusted_proxies(vars),
            forwarded_header: vars.or(
                "FORWARDED_HEADER",
                ForwardedHeader::XForwardedFor,
                "`x-forwarded-for` or `forwarded`",
                parse_forwarded_header,
            ),
            address: rate(vars, "RATE_LIMIT_IP_PER_MINUTE", 120, "RATE_LIMIT_IP_BURST", 30),
            user: rate(vars, "RATE_LIMIT_USER_PER_MINUTE", 20, "RATE_LIMIT_USER_BURST", 10),
            connections_per_address: usize::try_from(connections).ok().filter(|most| *most > 0),
            reads: if is_hosted { None } else { reads() },
            redis_url: redis_url(vars),
            max_concurrent_requests: usize::try_from(max_concurrent_requests).unwrap_or(usize::MAX),
        }
    }
}

fn parse_forwarded_header(text: &str) -> Option<ForwardedHeader> {
    if text.eq_ignore_ascii_case("x-forwarded-for") {
        Some(ForwardedHeader::XForwardedFor)
    } else if text.eq_ignore_ascii_case("forwarded") {
        Some(ForwardedHeader::Forwarded)
    } else {
        None
    }
}

fn trusted_proxies(vars: &Vars<'_>) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for (index, item) in vars.list("TRUSTED_PROXIES").iter().enumerate() {
        match parse_net(item) {
            Some(net) => nets.push(net),
            None => vars.problem(
                "TRUSTED_PROXIES",
                format!(
                    "must be networks or addresses like `10.0.0.0/8,::1`; entry {} is not",
                    index + 1
                ),
            ),
        }
    }
    nets
}

/// A network, or a single address. IPv4 networks written as IPv6 ones (`::ffff:10.0.0.0/104`)
/// become what they mean, because addresses are compared in their shortest form.
fn parse_net(text: &str) -> Option<IpNet> {
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let IpNet::V6(v6) = net else { return Some(net) };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(prefix)) => Ipv4Net::new(v4, prefix).ok().map(IpNet::V4),
        _ => Some(net),
    }
}

fn rate(vars: &Vars<'_>, rate_name: &str, rate: u64, burst_name: &str, burst: u64) -> Option<Rate> {
    let per_minute = vars.number(rate_name, rate, 0..=MOST);
    let burst = vars.number(burst_name, burst, 0..=MOST);
    let per_minute = NonZeroU32::new(u32::try_from(per_minute).ok()?)?;
    let burst = NonZeroU32::new(u32::try_from(burst).ok()?);
    if burst.is_none() {
        vars.problem(
            burst_name,
            format!("must be 1 or more, or nobody gets in; {rate_name}=0 switches the limit off"),
        );
    }
    burst.map(|burst| Rate { per_minute, burst })
}

fn redis_url(vars: &Vars<'_>) -> Option<Secret> {
    let url = vars.secret("REDIS_URL")?;
    let known =
        ["redis://", "rediss://", "unix://"].iter().any(|scheme| url.expose().starts_with(scheme));
    if known && redis::Client::open(url.expose()).is_ok() {
        return Some(url);
    }
    vars.problem(
        "REDIS_URL",
        "must look like redis://:password@host:6379/0, rediss://… (TLS) or \
         unix:///path/to/redis.sock",
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> (LimitsConfig, Vec<String>) {
        let lookup = |name: &str| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let vars = Vars::new(&lookup);
        let config = LimitsConfig::from_vars(&vars, false);
        (config, vars.into_problems().iter().map(ToString::to_string).collect())
    }

    fn rate_of(per_minute: u32, burst: u32) -> Option<Rate> {
        Some(Rate { per_minute: NonZeroU32::new(per_minute)?, burst: NonZeroU32::new(burst)? })
    }

    #[test]
    fn nothing_set_means_the_documented_defaults() {
        let (config, problems) = read(&[]);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(config.address, rate_of(120, 30));
        assert_eq!(config.user, rate_of(20, 10));
        assert_eq!(config.connections_per_address, Some(1024));
        assert_eq!(config.max_concurrent_requests, 10_000);
        assert_eq!(config.forwarded_header, ForwardedHeader::XForwardedFor);
        assert!(config.trusted_proxies.is_empty() && config.redis_url.is_none());
    }

    #[test]
    fn zero_per_minute_switches_a_limit_off_whatever_its_burst() {
        let (config, problems) = read(&[
            ("RATE_LIMIT_IP_PER_MINUTE", "0"),
            ("RATE_LIMIT_USER_PER_MINUTE", "0"),
            ("RATE_LIMIT_USER_BURST", "0"),
            ("CONNECTIONS_PER_ADDRESS", "0"),
        ]);
        assert_eq!((config.address, config.user, problems), (None, None, vec![]));
        assert_eq!(config.connections_per_address, None);
    }

    #[test]
    fn a_burst_of_zero_with_the_limit_on_is_a_problem() {
        let (_, problems) = read(&[("RATE_LIMIT_IP_BURST", "0"), ("RATE_LIMIT_USER_BURST", "0")]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("RATE_LIMIT_IP_BURST: must be 1 or more"), "{problems:?}");
        assert!(problems[1].contains("RATE_LIMIT_USER_PER_MINUTE=0"), "{problems:?}");
    }

    #[test]
    fn proxies_are_networks_or_single_addresses() {
        let (config, problems) = read(&[(
            "TRUSTED_PROXIES",
            "10.0.0.0/8, 192.0.2.7,2001:db8::/32,::1, ::ffff:172.16.0.0/108",
        )]);
        assert_eq!(problems, Vec::<String>::new());
        let nets: Vec<_> = config.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(
            nets,
            ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::1/128", "172.16.0.0/12"]
        );
    }

    #[test]
    fn each_bad_value_is_a_problem_of_its_own() {
        let (_, problems) = read(&[
            ("TRUSTED_PROXIES", "10.0.0.0/40,proxy.local"),
            ("FORWARDED_HEADER", "x-real-ip"),
            ("RATE_LIMIT_IP_PER_MINUTE", "-1"),
            ("RATE_LIMIT_USER_PER_MINUTE", "many"),
            ("MAX_CONCURRENT_REQUESTS", "0"),
        ]);
        let names: Vec<_> = problems.iter().filter_map(|text| text.split(':').next()).collect();
        assert_eq!(
            names,
            [
                "MAX_CONCURRENT_REQUESTS",
                "TRUSTED_PROXIES",
                "TRUSTED_PROXIES",
                "FORWARDED_HEADER",
                "RATE_LIMIT_IP_PER_MINUTE",
                "RATE_LIMIT_USER_PER_MINUTE"
            ]
        );
    }

    #[test]
    fn a_redis_url_has_one_of_three_schemes_and_a_bad_one_is_never_shown() {
        for good in
            ["redis://localhost", "rediss://:hunter2@cache:6380/1", "unix:///run/redis.sock"]
        {
            let (config, problems) = read(&[("REDIS_URL", good)]);
            assert_eq!(config.redis_url.map(|url| url.expose().to_owned()).as_deref(), Some(good));
            assert_eq!(problems, Vec::<String>::new());
        }
        for bad in [
            "http://:hunter2@cache",
            "cache:6379",
            "redis://:hunter2@cache/x",
            "redis://:hunter2@:x",
        ] {
            let (config, problems) = read(&[("REDIS_URL", bad)]);
            assert!(config.redis_url.is_none(), "{bad}");
            assert_eq!(problems.len(), 1, "{bad}");
            assert!(problems[0].starts_with("REDIS_URL: must look like"), "{problems:?}");
            assert!(
                !problems[0].contains("hunter2") && !problems[0].contains("cache"),
                "{problems:?}"
            );
        }
    }
}
