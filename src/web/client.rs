//! Where a request comes from: the one answer that sessions, lock-outs, the audit log and the request log all use.
//!
//! A client may write any `X-Forwarded-For` it likes. Each proxy adds the address that it was called from at the end.
//! So the header is read from its end, and only as far as trusted proxies wrote it. `Forwarded` (RFC 7239) is not
//! read: a proxy that only adds to one of the two would let the client write the other.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

use crate::app::App;
use crate::config::Network;

/// Proxies one behind the other that are followed. More are a mistake, or an attempt to keep this service busy.
const MOST_HOPS: usize = 16;

/// The client's address; `None` only where there is no connection, as in some tests.
pub fn address(app: &App, request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|peer| behind(peer.ip(), request.headers(), &app.settings.trusted_proxies))
}

/// The last address on the way from the client to `peer` that is not a trusted proxy's. If all are trusted, the first
/// one that they name.
fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let mut known = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(known) {
        return known;
    }
    // `get_all` has no end to begin from.
    let lines: Vec<&[u8]> = headers.get_all("x-forwarded-for").map(|line| line.as_bytes()).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    for hop in hops.take(MOST_HOPS) {
        // Garbage came from the client, or the proxy that we know of wrote it: it is the last one that counts.
        let Some(address) = parse(hop) else { break };
        known = address;
        if !is_trusted(known) {
            break;
        }
    }
    known
}

/// An address with or without a port, and with or without the brackets of IPv6.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    // The longest is `[` 39 characters `]:65535`.
    let text = std::str::from_utf8(hop.trim_ascii()).ok().filter(|text| text.len() <= 60)?;
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    text.parse().ok().or_else(bare).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::*;

    fn client(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            let name = HeaderName::from_static("x-forwarded-for");
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let trusted: Vec<Network> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        behind(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    const PROXIES: &[&str] = &["10.0.0.0/8", "fd00::/8", "127.0.0.1"];

    #[rstest]
    #[case::direct("203.0.113.9", &[], "203.0.113.9")]
    #[case::forged_without_a_proxy("203.0.113.9", &["1.1.1.1"], "203.0.113.9")]
    #[case::one_proxy("10.0.0.1", &["203.0.113.9"], "203.0.113.9")]
    #[case::forged_in_the_same_line("10.0.0.1", &["1.1.1.1, 10.0.0.2, 203.0.113.9"], "203.0.113.9")]
    #[case::forged_in_a_line_before("10.0.0.1", &["1.1.1.1", "203.0.113.9"], "203.0.113.9")]
    #[case::two_proxies("10.0.0.1", &["1.1.1.1, 203.0.113.9,10.0.0.2"], "203.0.113.9")]
    #[case::two_proxies_two_lines("10.0.0.1", &["203.0.113.9", "10.0.0.2"], "203.0.113.9")]
    #[case::all_trusted("10.0.0.1", &["10.0.0.3", "10.0.0.2"], "10.0.0.3")]
    #[case::no_header("10.0.0.1", &[], "10.0.0.1")]
    #[case::empty("10.0.0.1", &[""], "10.0.0.1")]
    #[case::garbage("10.0.0.1", &["203.0.113.9", "unknown"], "10.0.0.1")]
    #[case::garbage_before("10.0.0.1", &["<script>, 203.0.113.9"], "203.0.113.9")]
    #[case::garbage_behind_a_proxy("10.0.0.1", &["1.1.1.1, käse, 10.0.0.2"], "10.0.0.2")]
    #[case::port("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9")]
    #[case::v6("fd00::1", &["2001:db8::1"], "2001:db8::1")]
    #[case::v6_brackets("fd00::1", &["[2001:db8::1]"], "2001:db8::1")]
    #[case::v6_brackets_port("fd00::1", &["[2001:db8::1]:443"], "2001:db8::1")]
    #[case::v6_scope("fd00::1", &["fe80::1%eth0"], "fd00::1")]
    #[case::mapped_client("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9")]
    #[case::mapped_peer("::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9")]
    #[case::mapped_proxy("::ffff:10.0.0.1", &["203.0.113.9, [::ffff:10.0.0.2]:80"], "203.0.113.9")]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has(
        #[case] peer: &str,
        #[case] lines: &[&str],
        #[case] expected: &str,
    ) {
        assert_eq!(client(peer, lines, PROXIES), expected);
    }

    #[test]
    fn without_trusted_proxies_the_header_is_ignored() {
        assert_eq!(client("10.0.0.1", &["203.0.113.9"], &[]), "10.0.0.1");
        assert_eq!(client("::ffff:127.0.0.1", &["203.0.113.9"], &["10.0.0.0/8"]), "127.0.0.1");
    }

    #[test]
    fn however_long_the_header_is_little_of_it_is_read() {
        let long = "1".repeat(20_000);
        assert_eq!(client("10.0.0.1", &[&long], PROXIES), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[&long, "203.0.113.9"], PROXIES), "203.0.113.9");
        let many = vec!["10.0.0.2"; 5_000].join(",");
        let lines: Vec<&str> = ["203.0.113.9"].into_iter().chain(std::iter::repeat_n(&*many, 90)).collect();
        assert_eq!(client("10.0.0.1", &lines, PROXIES), "10.0.0.2", "a chain of proxies has an end");
    }
}
