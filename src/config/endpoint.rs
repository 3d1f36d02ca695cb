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

/// The address of an OTLP collector: `http://127.0.0.1:4318`, `https://otlp.example.com/tenant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

impl OtlpEndpoint {
    /// Where it takes traces.
    pub fn of_traces(&self) -> String {
        format!("{}/v1/traces", self.0)
    }
}

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{what} (write it like `http://127.0.0.1:4318`)"));
        let text = text.trim_end_matches('/');
        let text = text.strip_suffix("/v1/traces").unwrap_or(text);
        let Some((scheme @ ("http" | "https"), rest)) = text.split_once("://") else {
            return wrong("it does not begin with http:// or https://");
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return wrong("it has a user name or a password: use otlp-headers");
        }
        let (port, is_path) =
            (if scheme == "https" { 443 } else { 80 }, |c: char| c.is_ascii_graphic() && !"?#".contains(c));
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let endpoint = if has_port { host.to_owned() } else { format!("{host}:{port}") };
        endpoint.parse::<Endpoint>()?;
        if path.chars().all(is_path) { Ok(Self(text.to_owned())) } else { wrong("its path is not that of a URL") }
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_a_scheme_a_host_and_perhaps_a_path() {
        for (right, traces) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://[::1]/v1/traces", "https://[::1]/v1/traces"),
            ("https://otlp.example.com/tenant/7", "https://otlp.example.com/tenant/7/v1/traces"),
        ] {
            assert_eq!(right.parse::<OtlpEndpoint>().unwrap().of_traces(), traces);
        }
        for wrong in [
            "",
            "localhost:4318",
            "grpc://localhost:4317",
            "http://",
            "http:///",
            "http://a b",
            "http://host:99999",
            "http://user:secret@host",
            "http://host/?a=b",
            "http://host/a b",
            "http://host/#x",
        ] {
            assert!(wrong.parse::<OtlpEndpoint>().is_err(), "{wrong}");
        }
    }

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
