//! Where to listen.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A host and a port: `127.0.0.1:8080`, `localhost:8080`, `[::1]:8080`. A name is resolved when it is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{what} (write it like `127.0.0.1:8080` or `localhost:8080`)"));
        let Some((host, port)) = text.rsplit_once(':') else { return wrong("it has no port") };
        if port.parse::<u16>().is_err() {
            return wrong("its port is no number up to 65535");
        }
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_host = match inner {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
        };
        if is_host { Ok(Self(text.to_owned())) } else { wrong("its host is neither a name nor an address") }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_host_and_a_port() {
        for right in ["127.0.0.1:8080", "localhost:0", "[::1]:80", "0.0.0.0:65535", "coffee-1.local:1"] {
            assert_eq!(right.parse::<Endpoint>().unwrap().to_string(), right);
        }
        for wrong in
            ["", ":8080", "localhost", "localhost:", "localhost:65536", "::1:80", "[::1]", "http://localhost:80"]
        {
            assert!(wrong.parse::<Endpoint>().unwrap_err().contains("`localhost:8080`"), "{wrong}");
        }
    }
}
