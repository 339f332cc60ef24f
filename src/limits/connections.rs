//! May this address open one more connection? Counted before anything is read, for whoever is no
//! trusted proxy.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

use super::client_ip::AddressKey;
use crate::config::limits::LimitsConfig;
use crate::telemetry::metrics::{Held, Metrics};

/// No more than one warning about refused connections in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// How many connections an address may have open. Cloning shares the count.
#[derive(Debug, Clone)]
pub struct ConnectionLimit {
    /// `CONNECTIONS_PER_ADDRESS`; none is no limit.
    most: Option<usize>,
    /// Their connections are those of many clients.
    proxies: Vec<IpNet>,
    counts: Arc<Mutex<Counts>>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Counts {
    open: HashMap<AddressKey, usize>,
    warned_at: Option<Instant>,
}

/// An open connection's place. The address may open another one when it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    _held: Held,
    counted: Option<(AddressKey, Arc<Mutex<Counts>>)>,
}

impl ConnectionLimit {
    /// The limit that the configuration asks for.
    #[must_use]
    pub fn new(config: &LimitsConfig, metrics: &Metrics) -> Self {
        let (most, proxies) = (config.connections_per_address, config.trusted_proxies.clone());
        Self { most, proxies, counts: Arc::default(), metrics: metrics.clone() }
    }

    /// Gives a new connection of this peer a place, or nothing where the peer has too many.
    #[must_use]
    pub fn admit(&self, peer: IpAddr) -> Option<OpenConnection> {
        let peer = peer.to_canonical();
        let Some(most) = self.most.filter(|_| !self.proxies.iter().any(|net| net.contains(&peer)))
        else {
            return Some(OpenConnection { _held: self.metrics.connection_open(), counted: None });
        };
        let key = AddressKey::of(peer);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let open = counts.open.entry(key).or_default();
        if *open >= most {
            self.metrics.connection_refused();
            if counts.warned_at.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                counts.warned_at = Some(Instant::now());
                drop(counts);
                tracing::warn!(
                    most,
                    "connections are closed because their address has too many open; if it is that \
                     of a proxy, TRUSTED_PROXIES must name it"
                );
            }
            return None;
        }
        *open += 1;
        drop(counts);
        let counted = Some((key, Arc::clone(&self.counts)));
        Some(OpenConnection { _held: self.metrics.connection_open(), counted })
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let Some((key, counts)) = self.counted.take() else { return };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = counts.open.get_mut(&key) {
            *open -= 1;
            if *open == 0 {
                counts.open.remove(&key);
            }
        }
        // A crowd leaves no empty table behind, and a table that is nearly right is not made anew
        // each time.
        if counts.open.capacity() > 64 && counts.open.len() < counts.open.capacity() / 4 {
            let twice = counts.open.len() * 2;
            counts.open.shrink_to(twice);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::config::limits::ForwardedHeader;

    fn limit(most: Option<usize>) -> ConnectionLimit {
        let config = LimitsConfig {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            forwarded_header: ForwardedHeader::XForwardedFor,
            address: None,
            user: None,
            reads: None,
            connections_per_address: most,
            redis_url: None,
            max_concurrent_requests: 1,
        };
        ConnectionLimit::new(&config, &Metrics::new(false).0)
    }

    #[test]
    fn an_address_has_so_many_and_gets_another_when_one_ends() {
        let limit = limit(Some(2));
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let ada = address("203.0.113.5");
        let first = limit.admit(ada).unwrap();
        let _second = limit
            .admit(address("::ffff:203.0.113.5"))
            .expect("the same address, as IPv6 writes it");
        assert!(limit.admit(ada).is_none());
        assert!(limit.admit(address("203.0.113.6")).is_some(), "another address");
        drop(first);
        assert!(limit.admit(ada).is_some());

        let _net = [
            limit.admit(address("2001:db8::1")).unwrap(),
            limit.admit(address("2001:db8::2")).unwrap(),
        ];
        assert!(limit.admit(address("2001:db8:0:0:ffff::3")).is_none(), "the same /64");
        assert!(limit.admit(address("2001:db8:0:1::3")).is_some(), "the next /64");
    }

    #[test]
    fn a_trusted_proxy_has_as_many_as_it_likes_and_so_has_everybody_without_a_limit() {
        for (limit, peer) in [(limit(Some(1)), "10.1.2.3"), (limit(None), "203.0.113.5")] {
            let peer = peer.parse().unwrap();
            let open: Vec<_> = (0..1000).filter_map(|_| limit.admit(peer)).collect();
            assert_eq!(open.len(), 1000, "{peer}");
            assert_eq!(limit.counts.lock().unwrap().open.len(), 0);
        }
    }

    #[test]
    fn a_crowd_that_has_left_takes_no_memory() {
        let limit = limit(Some(4));
        let mut open = Vec::new();
        for number in 0..50_000_u32 {
            open.extend(limit.admit(IpAddr::V4(Ipv4Addr::from_bits(0xc000_0000 + number))));
            open.extend(limit.admit(IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64))));
        }
        let capacity = || limit.counts.lock().unwrap().open.capacity();
        assert_eq!((open.len(), capacity() >= 100_000), (100_000, true));
        drop(open);
        assert!(capacity() <= 64, "{}", capacity());
        assert!(limit.counts.lock().unwrap().open.is_empty());
    }
}
