//! Who is the client, and did it come over TLS? Proxies say so in headers that anybody can write,
//! so a header is believed only as far as a trusted proxy wrote it: from right to left, past
//! trusted hops.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::FORWARDED;

use super::hop::{Node, QuotedRightSplit, parse_hop};
use crate::config::limits::{ForwardedHeader, LimitsConfig};

/// Where a request comes from, as far as we can believe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The client's address in its shortest form: IPv4-mapped IPv6 is IPv4.
    pub address: IpAddr,
    /// Whether the client spoke TLS with a trusted proxy. We speak none ourselves.
    pub https: bool,
}

impl Client {
    /// The client behind the peer of this connection.
    ///
    /// Of a peer that is no trusted proxy no header is read. Otherwise the one configured header is
    /// read, all its lines joined in order. A hop that can't be parsed (`unknown`, an obfuscated
    /// name, rubbish) ends the walk, and the last good address counts.
    #[must_use]
    pub fn find(peer: IpAddr, headers: &HeaderMap, config: &LimitsConfig) -> Self {
        let trusted =
            |address: IpAddr| config.trusted_proxies.iter().any(|net| net.contains(&address));
        let peer = peer.to_canonical();
        if !trusted(peer) {
            return Self { address: peer, https: false };
        }
        match config.forwarded_header {
            ForwardedHeader::XForwardedFor => by_x_forwarded_for(peer, headers, trusted),
            ForwardedHeader::Forwarded => by_forwarded(peer, headers, trusted),
        }
    }
}

/// What a limit files an address under: an IPv4 address whole, of an IPv6 address the /64, because
/// one subscriber has all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressKey {
    /// The whole address.
    V4([u8; 4]),
    /// The first 64 bits.
    V6([u8; 8]),
}

impl AddressKey {
    /// The key of an address; IPv4-mapped IPv6 counts as IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let mut network = [0; 8];
                network.copy_from_slice(&v6.octets()[..8]);
                Self::V6(network)
            }
        }
    }
}

fn by_x_forwarded_for(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: impl Fn(IpAddr) -> bool,
) -> Client {
    let mut address = peer;
    let mut visited = 0_usize;
    for hop in from_the_right(headers, "x-forwarded-for", |line| line.rsplit(|byte| *byte == b','))
    {
        visited += 1;
        let Some(found) = std::str::from_utf8(hop).ok().and_then(parse_hop) else { break };
        address = found;
        if !trusted(address) {
            break;
        }
    }
    // Each trusted proxy may have added a scheme, or passed on the one it was given: the scheme of
    // the client's own hop stands as far from the right as its address, or is the leftmost.
    let schemes =
        from_the_right(headers, "x-forwarded-proto", |line| line.rsplit(|byte| *byte == b','));
    let scheme = schemes.take(visited.max(1)).last();
    Client {
        address,
        https: scheme.is_some_and(|scheme| scheme.trim_ascii().eq_ignore_ascii_case(b"https")),
    }
}

fn by_forwarded(peer: IpAddr, headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Client {
    let mut client = Client { address: peer, https: false };
    for element in
        from_the_right(headers, FORWARDED.as_str(), |line| QuotedRightSplit::new(line, b','))
    {
        let node = Node::parse(element);
        if let Some(https) = node.https {
            client.https = https;
        }
        let Some(address) = node.address else { break };
        client.address = address;
        if !trusted(address) {
            break;
        }
    }
    client
}

/// The parts of all lines of a header, the last part of the last line first.
fn from_the_right<'h, I>(
    headers: &'h HeaderMap,
    name: &'static str,
    split: impl Fn(&'h [u8]) -> I,
) -> impl Iterator<Item = &'h [u8]>
where
    I: Iterator<Item = &'h [u8]>,
{
    headers.get_all(name).into_iter().rev().flat_map(move |line| split(line.as_bytes()))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn config(proxies: &str, header: &str) -> LimitsConfig {
        LimitsConfig {
            trusted_proxies: proxies.split(',').filter_map(|net| net.parse().ok()).collect(),
            forwarded_header: match header {
                "forwarded" => ForwardedHeader::Forwarded,
                _ => ForwardedHeader::XForwardedFor,
            },
            address: None,
            user: None,
            connections_per_address: None,
            reads: None,
            redis_url: None,
            max_concurrent_requests: 1,
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    /// The client behind 10.0.0.1, with 10.0.0.0/8 and fd00::/8 trusted.
    fn client(header: &str, lines: &[(&'static str, &str)]) -> (String, bool) {
        let config = config("10.0.0.0/8,fd00::/8", header);
        let client = Client::find("10.0.0.1".parse().unwrap(), &headers(lines), &config);
        (client.address.to_string(), client.https)
    }

    fn by_xff(lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        client("x-forwarded-for", &lines).0
    }

    fn by_rfc7239(line: &str) -> (String, bool) {
        client("forwarded", &[("forwarded", line)])
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_its_headers_say() {
        let lines = headers(&[
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=198.51.100.1;proto=https"),
        ]);
        for (proxies, header) in
            [("", "x-forwarded-for"), ("10.0.0.0/8", "x-forwarded-for"), ("", "forwarded")]
        {
            let found =
                Client::find("203.0.113.5".parse().unwrap(), &lines, &config(proxies, header));
            assert_eq!(found, Client { address: "203.0.113.5".parse().unwrap(), https: false });
        }
    }

    #[test]
    fn hops_are_read_from_the_right_past_trusted_ones() {
        assert_eq!(by_xff(&["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            by_xff(&["6.6.6.6, 198.51.100.1"]),
            "198.51.100.1",
            "what the client made up is on the left"
        );
        assert_eq!(by_xff(&["6.6.6.6,198.51.100.1 , 10.2.0.1,10.1.0.1"]), "198.51.100.1");
        assert_eq!(
            by_xff(&["6.6.6.6", "198.51.100.1", "10.2.0.1"]),
            "198.51.100.1",
            "lines are joined in order"
        );
        assert_eq!(by_xff(&["10.3.0.1, 10.2.0.1"]), "10.3.0.1", "all trusted: the leftmost");
        assert_eq!(by_xff(&[]), "10.0.0.1", "no header: the proxy itself");
    }

    #[test]
    fn a_hop_that_cannot_be_parsed_ends_the_walk_at_the_last_good_address() {
        assert_eq!(by_xff(&["198.51.100.1, unknown, 10.2.0.1"]), "10.2.0.1");
        assert_eq!(by_xff(&["198.51.100.1, 10.2.0.1, nonsense"]), "10.0.0.1");
        assert_eq!(by_xff(&["198.51.100.1, , 10.2.0.1"]), "10.2.0.1");
        assert_eq!(by_xff(&["198.51.100.1:port"]), "10.0.0.1");
        assert_eq!(by_xff(&["256.0.0.1"]), "10.0.0.1");
        assert_eq!(by_xff(&["fe80::1%eth0"]), "10.0.0.1");
    }

    #[test]
    fn a_hop_may_carry_a_port_or_be_ipv6_in_every_common_spelling() {
        assert_eq!(by_xff(&["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(by_xff(&["2001:db8::1"]), "2001:db8::1");
        assert_eq!(by_xff(&["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(by_xff(&["[2001:db8::1]:4711, [fd00::2]:80"]), "2001:db8::1");
        assert_eq!(by_xff(&["::ffff:198.51.100.1"]), "198.51.100.1", "IPv4 in IPv6 is IPv4");
        assert_eq!(by_xff(&["6.6.6.6, 198.51.100.1, ::ffff:10.1.1.1"]), "198.51.100.1");
    }

    #[test]
    fn an_ipv4_mapped_peer_is_compared_as_ipv4() {
        let config = config("10.0.0.0/8", "x-forwarded-for");
        let lines = headers(&[("x-forwarded-for", "198.51.100.1")]);
        let found = Client::find("::ffff:10.0.0.1".parse().unwrap(), &lines, &config);
        assert_eq!(found.address.to_string(), "198.51.100.1");
    }

    #[test]
    fn only_the_configured_header_is_read() {
        let both = [
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=203.0.113.9;proto=http"),
        ];
        assert_eq!(client("x-forwarded-for", &both), ("198.51.100.1".to_owned(), true));
        assert_eq!(client("forwarded", &both), ("203.0.113.9".to_owned(), false));
    }

    #[test]
    fn the_scheme_is_that_of_the_clients_own_hop() {
        let scheme = |hops: &str, scheme: &str| {
            client("x-forwarded-for", &[("x-forwarded-for", hops), ("x-forwarded-proto", scheme)]).1
        };
        assert!(scheme("198.51.100.1", "https"));
        assert!(scheme("198.51.100.1", " HTTPS "));
        assert!(!scheme("198.51.100.1", "http"));
        assert!(!scheme("198.51.100.1", "https, http"), "the client wrote the left one");
        assert!(scheme("198.51.100.1, 10.1.0.1", "https, http"), "TLS ended at the outer proxy");
        assert!(scheme("198.51.100.1, 10.1.0.1", "https"), "the inner proxy passed it on");
        assert!(
            client("x-forwarded-for", &[("x-forwarded-proto", "https")]).1,
            "a proxy that sends nothing else"
        );
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        assert_eq!(by_rfc7239("for=198.51.100.1;proto=https"), ("198.51.100.1".to_owned(), true));
        assert_eq!(
            by_rfc7239(r#"For="[2001:db8::1]:4711";Proto=HTTPS"#),
            ("2001:db8::1".to_owned(), true)
        );
        assert_eq!(
            by_rfc7239(r#"by=10.0.0.1; for="198.51.100.1:_gate" ;host=a"#).0,
            "198.51.100.1"
        );
        assert_eq!(
            by_rfc7239(r#"for="6.6.6.6", for=198.51.100.1;proto=http, for="10.1.0.1";proto=https"#)
                .0,
            "198.51.100.1"
        );
        assert_eq!(by_rfc7239(r"for=198.51.100.1, for=unknown").0, "10.0.0.1");
        assert_eq!(by_rfc7239(r#"for=198.51.100.1, for="_hidden", for=10.1.0.1"#).0, "10.1.0.1");
        assert_eq!(by_rfc7239(r"for=unknown;proto=https"), ("10.0.0.1".to_owned(), true));
        assert_eq!(by_rfc7239(r#"for="\1\9\8.51.100.1""#).0, "198.51.100.1", "escapes");
        assert_eq!(
            by_rfc7239("for=198.51.100.1;for=203.0.113.9").0,
            "10.0.0.1",
            "twice says nothing"
        );
        assert_eq!(by_rfc7239("proto=https"), ("10.0.0.1".to_owned(), true));
    }

    #[test]
    fn what_a_stranger_leaves_open_on_the_left_swallows_nothing() {
        assert_eq!(by_rfc7239(r#"for="6.6.6.6, for=198.51.100.1"#).0, "198.51.100.1");
        assert_eq!(by_rfc7239(r#"for=x\", for="198.51.100.1""#).0, "198.51.100.1");
        assert_eq!(
            by_rfc7239(r#"for="a,b;c\"", for="198.51.100.1";host="x,y;z\"w""#).0,
            "198.51.100.1"
        );
    }

    #[test]
    fn an_ipv6_client_is_its_64() {
        let key = |text: &str| AddressKey::of(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    /// Pieces of which forwarding headers are made, and rubbish.
    fn header_text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "for=",
                "proto=https",
                "\"",
                "\\",
                ",",
                ";",
                "=",
                "[",
                "]",
                ":",
                "10.0.0.1",
                "2001:db8::1",
                "::ffff:",
                "unknown",
                "_x",
                " ",
                "\t",
                "80",
                "198.51.100.1",
                "%",
                "%eth0",
                "."
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn no_header_makes_us_panic_or_believe_a_stranger(lines in prop::collection::vec(header_text(), 0..4)) {
            let peer: IpAddr = "10.0.0.1".parse().unwrap();
            let stranger: IpAddr = "203.0.113.5".parse().unwrap();
            for (header, name) in [("x-forwarded-for", "x-forwarded-for"), ("forwarded", "forwarded")] {
                let config = config("10.0.0.0/8", header);
                let mut map = HeaderMap::new();
                for line in &lines {
                    if let Ok(value) = HeaderValue::from_bytes(line) {
                        map.append(HeaderName::from_static(name), value.clone());
                        map.append("x-forwarded-proto", value);
                    }
                }
                let found = Client::find(peer, &map, &config);
                prop_assert_eq!(found.address, found.address.to_canonical());
                prop_assert_eq!(Client::find(stranger, &map, &config), Client { address: stranger, https: false });
                // A proxy that appends the address it saw, as proxies do, decides whatever stands
                // to the left.
                map.append(HeaderName::from_static(name), HeaderValue::from_static(
                    if name == "forwarded" { "for=198.51.100.7" } else { "198.51.100.7" },
                ));
                let appended = Client::find(peer, &map, &config).address.to_string();
                prop_assert_eq!(appended, "198.51.100.7");
            }
        }
    }
}
