//! The servers of a PostgreSQL URL: which is asked first, and how long each of them is waited for.
//!
//! **Every wait for a server has an end, and the log names the server.** libpq waits without end unless it is told
//! otherwise, so each connection is told: [`DEFAULTS`]. What a URL says itself wins.
//!
//! The hosts of a URL are asked one by one here, not by libpq: so a silent host is named while it is waited for, and the
//! next connection begins with the host that answered last. Otherwise each new connection would wait for the silent one
//! again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::pg::PgConnection;
use diesel::prelude::*;

/// What libpq is told where the URL says nothing. A connection is made within 5 s for each host, which outlasts two lost
/// packets. A machine that is gone is noticed within 15 s: by probes on a connection that is at rest, by data that stays
/// unacknowledged on another.
const DEFAULTS: [(&str, &str); 6] = [
    ("connect_timeout", "5"),
    ("keepalives", "1"),
    ("keepalives_idle", "5"),
    ("keepalives_interval", "3"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

/// How long a host is waited for whose URL says that it may take for ever.
const FOR_EVER: Duration = Duration::from_secs(60);

/// The servers of one URL.
#[derive(Debug)]
pub(super) struct Hosts {
    all: Vec<Host>,
    /// The one that is asked first: who answered last, or who comes behind one that did not.
    first: AtomicUsize,
    name: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Host {
    name: String,
    url: String,
    patience: Duration,
}

impl Hosts {
    /// Those of which one is the primary. Where several are named, a standby among them is passed over.
    pub fn of_primary(url: &str) -> Self {
        let all = Url::parse(url).and_then(|url| url.split()).unwrap_or_else(|| vec![Host::whole(url)]);
        Self { all, first: AtomicUsize::default(), name: without_user(url) }
    }

    /// One server, whichever it is.
    pub fn of_replica(url: &str) -> Self {
        Self { all: vec![Host::whole(url)], first: AtomicUsize::default(), name: without_user(url) }
    }

    /// As it may be shown: without a password.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it takes at most until each of them was asked.
    pub fn patience(&self) -> Duration {
        self.all.iter().map(|host| host.patience).sum()
    }

    /// A connection to the first host that gives one. `asking` is told of each host before it is asked.
    ///
    /// # Errors
    /// What each of them answered.
    pub fn connect(&self, mut asking: impl FnMut(&str)) -> Result<PgConnection, String> {
        let (first, count) = (self.first.load(Ordering::Relaxed), self.all.len());
        let mut faults = Vec::new();
        for at in (first..first + count).map(|at| at % count) {
            let host = &self.all[at];
            asking(&host.name);
            match PgConnection::establish(&host.url) {
                Ok(conn) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(conn);
                }
                Err(fault) => {
                    let next = (at + 1) % count;
                    let _ = self.first.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
                    let fault = fault.to_string();
                    let is_missing = fault.contains("SSL support is not compiled in");
                    let way = if is_missing { ": build this program with `--features tls`" } else { "" };
                    faults.push(format!("{}{way}", fault.trim_end()));
                }
            }
        }
        Err(faults.join("; "))
    }
}

impl Host {
    /// A URL as it stands, with what it does not say.
    fn whole(url: &str) -> Self {
        let Some(parsed) = Url::parse(url) else {
            // libpq says what is wrong with it.
            return Self { name: without_user(url), url: url.to_owned(), patience: FOR_EVER };
        };
        let (more, patience) = parsed.waits();
        let joint = if !url.contains('?') {
            "?"
        } else if url.ends_with(['?', '&']) {
            ""
        } else {
            "&"
        };
        let more: Vec<String> = more.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let url_with_more = if more.is_empty() { url.to_owned() } else { format!("{url}{joint}{}", more.join("&")) };
        let count = u32::try_from(parsed.hosts().map_or(1, |hosts| hosts.len().max(1))).unwrap_or(u32::MAX);
        Self { name: without_user(url), url: url_with_more, patience: patience * count }
    }
}

/// The parts of a URL, as libpq reads them.
struct Url {
    scheme: String,
    /// `user:password`, still encoded.
    user: Option<String>,
    /// `host:port` of each server, still encoded.
    servers: Vec<(String, String)>,
    /// With its slash, still encoded.
    database: String,
    parameters: Vec<(String, String)>,
}

/// What is known of one server.
#[derive(Clone, Default)]
struct Server {
    host: String,
    address: Option<String>,
    port: String,
}

impl Url {
    /// `None` where this does not look like one.
    fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, database) = rest.split_at(slash);
        let (user, servers) = match authority.rsplit_once('@') {
            Some((user, servers)) => (Some(user.to_owned()), servers),
            None => (None, authority),
        };
        let server = |server: &str| {
            // The colons of an IPv6 address stand within brackets.
            let from = server.find(']').unwrap_or(0);
            let (host, port) = match server[from..].find(':') {
                Some(colon) => (&server[..from + colon], &server[from + colon + 1..]),
                None => (server, ""),
            };
            (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port.to_owned())
        };
        let parameter = |parameter: &str| {
            let (name, value) = parameter.split_once('=')?;
            Some((decoded(name)?, decoded(value)?))
        };
        Some(Self {
            scheme: scheme.to_owned(),
            user,
            servers: servers.split(',').map(server).collect(),
            database: database.to_owned(),
            parameters: parameters.split('&').filter(|one| !one.is_empty()).map(parameter).collect::<Option<_>>()?,
        })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// What libpq must be told besides, and how long it then waits for one server.
    fn waits(&self) -> (Vec<(&'static str, &'static str)>, Duration) {
        let environment = std::env::var("PGCONNECT_TIMEOUT").ok();
        let asked = self.parameter("connect_timeout").or(environment.as_deref());
        let is_said = |name: &str| self.parameter(name).is_some() || name == "connect_timeout" && asked.is_some();
        let more = DEFAULTS.into_iter().filter(|(name, _)| !is_said(name)).collect();
        let patience = match asked.unwrap_or(DEFAULTS[0].1).trim().parse::<i64>() {
            Ok(seconds @ 1..) => Duration::from_secs(seconds.unsigned_abs().max(2)),
            _ => FOR_EVER,
        };
        (more, patience)
    }

    /// Each of the servers; `None` where their hosts, addresses and ports do not go together.
    fn hosts(&self) -> Option<Vec<Server>> {
        let list = |name: &str| self.parameter(name).map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
        let names = match list("host") {
            Some(names) => names,
            None => self.servers.iter().map(|(host, _)| decoded(host)).collect::<Option<_>>()?,
        };
        let ports = list("port").unwrap_or_else(|| self.servers.iter().map(|(_, port)| port.clone()).collect());
        let addresses = list("hostaddr");
        let count = addresses.as_ref().map_or(names.len(), Vec::len);
        let has_names = names.len() == count;
        if !has_names && names.iter().any(|name| !name.is_empty()) || ![1, count].contains(&ports.len()) {
            return None;
        }
        let server = |at: usize| Server {
            host: if has_names { names[at].clone() } else { String::new() },
            address: addresses.as_ref().map(|addresses| addresses[at].clone()),
            port: if ports.len() == 1 { ports[0].clone() } else { ports[at].clone() },
        };
        Some((0..count).map(server).collect())
    }

    /// A URL for each of several servers; `None` for one server, and where libpq shall choose among them in a way of its
    /// own.
    fn split(&self) -> Option<Vec<Host>> {
        let hosts = self.hosts()?;
        let is_chosen = self.parameter("target_session_attrs") == Some("prefer-standby")
            || self.parameter("load_balance_hosts").is_some();
        if hosts.len() < 2 || is_chosen {
            return None;
        }
        let (mut more, patience) = self.waits();
        if self.parameter("target_session_attrs").is_none() && std::env::var_os("PGTARGETSESSIONATTRS").is_none() {
            more.push(("target_session_attrs", "primary"));
        }
        let host = |server: Server| {
            let of_place = ["host", "hostaddr", "port"];
            let kept = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let mut parameters: Vec<(&str, &str)> = kept.filter(|(name, _)| !of_place.contains(name)).collect();
            let address = server.address.as_deref().unwrap_or_default();
            let place = [("host", server.host.as_str()), ("hostaddr", address), ("port", server.port.as_str())];
            parameters.extend(place.into_iter().filter(|(_, value)| !value.is_empty()));
            parameters.extend(more.iter().copied());
            let parameters: Vec<String> =
                parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
            let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            let url = format!("{}://{user}{}?{}", self.scheme, self.database, parameters.join("&"));
            let shown = if server.host.is_empty() { address } else { &server.host };
            let port = if server.port.is_empty() { "5432" } else { &server.port };
            Host { name: format!("{shown}:{port}"), url, patience }
        };
        Some(hosts.into_iter().map(host).collect())
    }
}

/// A URL as it may be shown: without user and password.
fn without_user(url: &str) -> String {
    let (shown, _) = url.split_once('?').unwrap_or((url, ""));
    let has_secret = url.len() > shown.len() && url[shown.len()..].contains("password");
    let rest = if has_secret { "?…" } else { &url[shown.len()..] };
    match (shown.find("://"), shown.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…@{}{rest}", &shown[..scheme], &shown[at + 1..]),
        _ => format!("{shown}{rest}"),
    }
}

/// `None` for what is not encoded as it should be.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: &str =
        "keepalives=1&keepalives_idle=5&keepalives_interval=3&keepalives_count=3&tcp_user_timeout=10000";

    fn asked(url: &str) -> Vec<(String, String, u64)> {
        let hosts = Hosts::of_primary(url).all.into_iter();
        hosts.map(|host| (host.name, host.url, host.patience.as_secs())).collect()
    }

    #[test]
    fn each_host_of_a_url_is_asked_by_itself_and_each_wait_has_an_end() {
        let common = format!("connect_timeout=5&{WAITS}&target_session_attrs=primary");
        for (url, hosts) in [
            (
                "postgres://u:p%40@a,b:7/d?sslmode=require",
                vec![("a:5432", "sslmode=require&host=a"), ("b:7", "sslmode=require&host=b&port=7")],
            ),
            (
                "postgresql://u:p%40@/d?host=%2Ftmp%2Fa,/tmp/b&port=5432",
                vec![("/tmp/a:5432", "host=/tmp/a&port=5432"), ("/tmp/b:5432", "host=/tmp/b&port=5432")],
            ),
            (
                "postgres://u:p%40@[::1]:7,[::2]/d?x=%20%26",
                vec![("::1:7", "x=%20%26&host=::1&port=7"), ("::2:5432", "x=%20%26&host=::2")],
            ),
            (
                "postgres://u:p%40@a,b/d?hostaddr=10.0.0.1,10.0.0.2",
                vec![("a:5432", "host=a&hostaddr=10.0.0.1"), ("b:5432", "host=b&hostaddr=10.0.0.2")],
            ),
        ] {
            let scheme = url.split("://").next().unwrap();
            let wanted: Vec<_> = hosts
                .into_iter()
                .map(|(name, own)| (name.to_owned(), format!("{scheme}://u:p%40@/d?{own}&{common}"), 5))
                .collect();
            assert_eq!(asked(url), wanted, "{url}");
        }
    }

    #[test]
    fn what_the_url_says_itself_wins() {
        let waits_of = |url: &str| asked(url).remove(0);
        let (_, url, seconds) = waits_of("postgres://h/d?connect_timeout=12&keepalives=0");
        assert_eq!(seconds, 12);
        assert_eq!(url.matches("connect_timeout").count(), 1);
        assert!(url.contains("keepalives=0") && !url.contains("keepalives=1"), "{url}");
        assert_eq!(waits_of("postgres://h/d?connect_timeout=1").2, 2, "libpq waits no less");
        assert_eq!(waits_of("postgres://h/d?connect_timeout=0").2, 60, "which libpq takes for ever");
        assert_eq!(waits_of("postgres://h/d").1, format!("postgres://h/d?connect_timeout=5&{WAITS}"));
        assert_eq!(waits_of("postgres://h/d?").1, format!("postgres://h/d?connect_timeout=5&{WAITS}"));
        let (_, url, _) = waits_of("postgres://a,b/d?target_session_attrs=read-write");
        assert!(url.contains("target_session_attrs=read-write") && !url.contains("primary"), "{url}");
    }

    #[test]
    fn what_only_libpq_understands_is_left_to_it() {
        for url in [
            "postgres://a,b/d?target_session_attrs=prefer-standby",
            "postgres://a,b/d?load_balance_hosts=random",
            "postgres://a,b/d?port=1,2,3",
            "postgres://a,b/d?x=%zz",
            "postgres:///d",
            "garbage",
        ] {
            let hosts = asked(url);
            assert_eq!(hosts.len(), 1, "{url}");
            assert!(hosts[0].1.starts_with(url), "{hosts:?}");
        }
        assert_eq!(asked("postgres://a,b/d?load_balance_hosts=random")[0].2, 10, "for each of them");
    }

    #[test]
    fn no_password_is_shown() {
        for url in
            ["postgres://u:geheim@a,b/d", "postgres:///d?host=a,b&password=geheim&user=u", "postgres://u:geheim@x"]
        {
            let hosts = Hosts::of_primary(url);
            let shown = [vec![hosts.name().to_owned()], hosts.all.into_iter().map(|host| host.name).collect()].concat();
            assert!(!shown.concat().contains("geheim"), "{shown:?}");
        }
    }
}
