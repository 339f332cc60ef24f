//! What does one entry of a forwarding header say? The small grammars of `X-Forwarded-For` and of
//! `Forwarded` (RFC 7239).

use std::net::{IpAddr, Ipv6Addr};

/// What one element of `Forwarded` says of the hop before it.
#[derive(Default)]
pub(super) struct Node {
    /// Where the request came from, if it is a plain address.
    pub(super) address: Option<IpAddr>,
    /// Whether it came over TLS, if the element says so.
    pub(super) https: Option<bool>,
}

impl Node {
    /// RFC 7239 section 4: `;`-separated pairs, names in any case, values as tokens or quoted
    /// strings. A pair that comes twice says nothing.
    pub(super) fn parse(element: &[u8]) -> Self {
        let mut found = Self::default();
        let (mut fors, mut protos) = (0, 0);
        for pair in QuotedRightSplit::new(element, b';') {
            let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) =
                (pair[..equals].trim_ascii(), unquote(pair[equals + 1..].trim_ascii()));
            if name.eq_ignore_ascii_case(b"for") {
                fors += 1;
                found.address = value.and_then(|text| parse_hop(&text)).filter(|_| fors == 1);
            } else if name.eq_ignore_ascii_case(b"proto") {
                protos += 1;
                found.https =
                    value.map(|text| text.eq_ignore_ascii_case("https")).filter(|_| protos == 1);
            }
        }
        found
    }
}

/// A token as it stands; a quoted string (RFC 9110 section 5.6.4) without its quotes and escapes.
fn unquote(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let Some(rest) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let mut plain = String::with_capacity(rest.len());
    let mut chars = rest.strip_suffix('"')?.chars();
    while let Some(next) = chars.next() {
        plain.push(if next == '\\' { chars.next()? } else { next });
    }
    Some(plain)
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`.
pub(super) fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let well_formed = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return well_formed.then(|| address.parse::<Ipv6Addr>().ok()).flatten().map(canonical);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = text.rsplit_once(':')?;
    is_port(port).then(|| address.parse().ok().map(IpAddr::V4)).flatten()
}

fn canonical(address: Ipv6Addr) -> IpAddr {
    IpAddr::V6(address).to_canonical()
}

/// A port number, or an obfuscated port (RFC 7239 section 6.3): `_` and letters, digits, `.`, `_`,
/// `-`.
fn is_port(text: &str) -> bool {
    let number = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let obfuscated = text.strip_prefix('_').is_some_and(|rest| {
        !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    });
    number || obfuscated
}

/// Splits from the right at a separator outside quoted strings. From the right, because what a
/// trusted proxy wrote stands there: a quote that a stranger left open on the left can't swallow
/// it.
pub(super) struct QuotedRightSplit<'h> {
    rest: Option<&'h [u8]>,
    separator: u8,
}

impl<'h> QuotedRightSplit<'h> {
    pub(super) fn new(text: &'h [u8], separator: u8) -> Self {
        Self { rest: Some(text), separator }
    }
}

impl<'h> Iterator for QuotedRightSplit<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let text = self.rest?;
        let mut quoted = false;
        for (at, byte) in text.iter().enumerate().rev() {
            if *byte == b'"' {
                let escapes = text[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
                // An escaped quote is part of a quoted string and ends none.
                quoted ^= escapes % 2 == 0;
            } else if *byte == self.separator && !quoted {
                self.rest = Some(&text[..at]);
                return Some(&text[at + 1..]);
            }
        }
        self.rest = None;
        Some(text)
    }
}
