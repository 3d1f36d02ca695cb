//! Which addresses belong to the public Internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a host of the public Internet can have this address. Whatever means something else within a network, or
/// carries another address inside (which a gateway would unpack), is not public.
/// Source: the IANA registries of special-purpose addresses for IPv4 and IPv6.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|(net, bits)| is_in_v4(address, *net, *bits)),
        // Everything public is handed out from 2000::/3: mapped, translated, local and multicast addresses are outside.
        IpAddr::V6(address) => {
            is_in_v6(address, Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)
                && !SPECIAL_V6.iter().any(|(net, bits)| is_in_v6(address, *net, *bits))
        }
    }
}

const SPECIAL_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, reserved, broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

const SPECIAL_V6: &[(Ipv6Addr, u32)] = &[
    // Protocol assignments, Teredo and ORCHIDs among them.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4 carries an IPv4 address.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn is_in_v4(address: Ipv4Addr, net: Ipv4Addr, bits: u32) -> bool {
    (address.to_bits() ^ net.to_bits()) >> (32 - bits) == 0
}

fn is_in_v6(address: Ipv6Addr, net: Ipv6Addr, bits: u32) -> bool {
    (address.to_bits() ^ net.to_bits()) >> (128 - bits) == 0
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::private("10.0.0.1")]
    #[case::private("172.31.255.255")]
    #[case::private("192.168.1.1")]
    #[case::loopback("127.8.9.1")]
    #[case::unspecified("0.0.0.0")]
    #[case::link_local_with_the_clouds_metadata("169.254.169.254")]
    #[case::carrier_grade_nat("100.100.100.200")]
    #[case::benchmarks("198.19.0.1")]
    #[case::documentation("203.0.113.9")]
    #[case::relays("192.88.99.1")]
    #[case::multicast("224.0.0.1")]
    #[case::reserved("240.0.0.1")]
    #[case::broadcast("255.255.255.255")]
    #[case::v6_loopback("::1")]
    #[case::v6_unspecified("::")]
    #[case::v6_mapped("::ffff:10.0.0.1")]
    #[case::v6_mapped_public("::ffff:8.8.8.8")]
    #[case::v6_compatible("::127.0.0.1")]
    #[case::nat64("64:ff9b::7f00:1")]
    #[case::v6_link_local("fe80::1")]
    #[case::v6_unique_local("fd00:ec2::254")]
    #[case::v6_multicast("ff02::1")]
    #[case::six_to_four("2002:7f00:1::")]
    #[case::teredo("2001::1")]
    #[case::v6_documentation("2001:db8::1")]
    fn is_not_public(#[case] address: &str) {
        assert!(!is_public(address.parse().unwrap()));
    }

    #[rstest]
    #[case("8.8.8.8")]
    #[case("172.32.0.1")]
    #[case("100.128.0.1")]
    #[case("223.255.255.254")]
    #[case("2606:4700:4700::1111")]
    #[case("2a00:1450:4001::1")]
    fn is_public_indeed(#[case] address: &str) {
        assert!(is_public(address.parse().unwrap()));
    }
}
