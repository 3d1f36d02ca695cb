//! Speaking to URLs that partners chose: the receivers of webhooks. A partner may try to have this service speak to its
//! own neighbours by such a URL, so that every rule of speaking to strangers is held here and nowhere else:
//!
//! - https only, no user information, no fragment, the usual port or an unprivileged one, and no name that only a private
//!   network knows;
//! - a host is resolved once for each connection, ALL of its addresses have to be public ones, and the connection goes
//!   to one of exactly these: what the name means a moment later is of no interest;
//! - no redirect is followed, no proxy is used, and the status line is the answer: a body is read only to keep the
//!   connection, and no further than that is worth;
//! - everything within one span of time;
//! - what a partner reads of a failure names no address and no cause that would map our network: the `Display` of the
//!   errors here is for partners, [`Trouble::detail`] for operators.
//!
//! Hosts that the operator lists are spoken to without the first two rules, for development and tests.

mod address;

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect, retry};
use thiserror::Error;

/// No URL is longer than that.
pub const LONGEST_URL: usize = 2_000;
/// What is read of an answer's body so that the connection can be used again.
const WORTH_READING: usize = 16 * 1024;
/// How long that may take.
const READING: Duration = Duration::from_secs(1);

/// Who may be spoken to.
#[derive(Clone, Debug)]
pub struct Rules {
    allowed: Arc<[String]>,
    is_public: fn(IpAddr) -> bool,
}

impl Rules {
    /// The usual rules, but for these hosts (as they stand in a URL, without a port).
    pub fn allowing<H: AsRef<str>>(hosts: &[H]) -> Self {
        let plain = |host: &H| host.as_ref().trim_matches(['[', ']']).to_ascii_lowercase();
        Self { allowed: hosts.iter().map(plain).collect(), is_public: address::is_public }
    }

    fn allow(&self, host: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == host)
    }

    fn check(&self, host: &str, addresses: &[IpAddr]) -> Result<(), Unfit> {
        match addresses.iter().find(|address| !(self.is_public)(**address)) {
            Some(address) if !self.allow(host) => Err(Unfit::Address(*address)),
            _ => Ok(()),
        }
    }
}

/// Why a URL is not spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    #[error("it is longer than {LONGEST_URL} characters")]
    TooLong,
    #[error("it is no absolute URL with a host")]
    Malformed,
    #[error("it must begin with https://")]
    NotHttps,
    #[error("it must not carry a user name or a password")]
    Userinfo,
    #[error("it must not have a fragment")]
    Fragment,
    #[error("its port must be 443 or above 1023")]
    Port,
    /// A name that is looked up on this machine or in its own network: no resolver is asked.
    #[error("it must name a public host, such as hooks.example.com")]
    Local,
    /// The host has this address.
    #[error("{NO_PUBLIC_ADDRESS}")]
    Address(IpAddr),
    /// The host has no address, for this reason. A partner must not tell it from [`Unfit::Address`]: that would say which
    /// names exist in our network.
    #[error("{NO_PUBLIC_ADDRESS}")]
    Unresolved(String),
}

const NO_PUBLIC_ADDRESS: &str = "its host has no public address";

/// Last labels of names that no public resolver knows: reserved ones (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`),
/// and those that private networks use all the same.
const PRIVATE_LABELS: &[&str] =
    &["localhost", "localdomain", "local", "internal", "intranet", "private", "lan", "home", "corp", "arpa"];

/// Whether a name can be one of the public Internet. A name of one label would be completed by a search domain.
fn is_public_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    name.rsplit_once('.').is_some_and(|(_, last)| !last.is_empty() && !PRIVATE_LABELS.contains(&last))
}

/// A URL that keeps the rules, as far as can be seen without resolving its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignUrl(Url);

impl ForeignUrl {
    /// # Errors
    /// Which rule it breaks.
    pub fn parse(text: &str, rules: &Rules) -> Result<Self, Unfit> {
        if text.len() > LONGEST_URL {
            return Err(Unfit::TooLong);
        }
        // Blanks and control characters are dropped by the parser: then it is not the URL that was written.
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Unfit::Malformed);
        }
        let url = Url::parse(text).map_err(|_| Unfit::Malformed)?;
        let host = host_of(&url).ok_or(Unfit::Malformed)?;
        let is_allowed = rules.allow(&host);
        if url.scheme() != "https" && !(is_allowed && url.scheme() == "http") {
            return Err(Unfit::NotHttps);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Unfit::Userinfo);
        }
        if url.fragment().is_some() {
            return Err(Unfit::Fragment);
        }
        if !is_allowed && url.port_or_known_default().is_none_or(|port| port != 443 && port <= 1023) {
            return Err(Unfit::Port);
        }
        // A host that is an address is never resolved. The parser has read every way to write one.
        match host.parse::<IpAddr>() {
            Ok(address) => rules.check(&host, &[address])?,
            Err(_) if !is_allowed && !is_public_name(&host) => return Err(Unfit::Local),
            Err(_) => {}
        }
        Ok(Self(url))
    }
}

/// The host as it is resolved or read as an address: without the brackets of an IPv6 address.
fn host_of(url: &Url) -> Option<String> {
    Some(url.host_str().filter(|host| !host.is_empty())?.trim_matches(['[', ']']).to_owned())
}

/// Knows the addresses of a host.
#[async_trait]
pub trait Resolver: Send + Sync {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// As it was sent.
    pub retry_after: Option<String>,
}

/// The soonest that a receiver is asked again which asks for no time at all …
const SHORTEST_ASKED: Duration = Duration::from_secs(1);
/// … and the latest, whatever it asks for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

impl Answer {
    /// How long it asks to be left alone, in `Retry-After` of 429 or 503; `None` if it does not, or not in a way that can
    /// be read.
    pub fn asks_for(&self, now: DateTime<Utc>) -> Option<Duration> {
        let text = self.retry_after.as_deref().filter(|_| matches!(self.status, 429 | 503))?;
        Some(retry_after(text, now, LONGEST_ASKED)?.max(SHORTEST_ASKED))
    }
}

/// The wait that `Retry-After` asks for, `longest` at most: whole seconds, or a date in one of the three forms of HTTP
/// (RFC 9110, 5.6.7). A date that has passed asks for no wait. `None` if it is neither.
pub fn retry_after(text: &str, now: DateTime<Utc>, longest: Duration) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) {
        // More seconds than can be counted are too many in any case.
        text.parse().map_or(longest, Duration::from_secs)
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::from(now)).unwrap_or_default()
    };
    Some(wait.min(longest))
}

/// Why there is no answer. Its `Display` is what a partner may read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// Nothing was sent.
    #[error("the URL may not be spoken to: {0}")]
    Unfit(#[from] Unfit),
    /// For a partner a closed port, a reset and a certificate that is not valid are the same: what they tell apart is the
    /// network that this service stands in.
    #[error("it cannot be reached")]
    Unreachable(String),
    #[error("no answer within {0:?}")]
    Unanswered(Duration),
}

impl Trouble {
    /// What happened in full: for operators, in the log and where only they look.
    pub fn detail(&self) -> String {
        match self {
            Self::Unfit(Unfit::Address(address)) => format!("{self}: {address}"),
            Self::Unfit(Unfit::Unresolved(why)) | Self::Unreachable(why) => format!("{self}: {why}"),
            Self::Unfit(_) | Self::Unanswered(_) => self.to_string(),
        }
    }
}

/// Posts to foreign URLs.
#[derive(Clone)]
pub struct Caller {
    http: Client,
    rules: Rules,
    patience: Duration,
}

impl Caller {
    /// Every call ends within `patience`.
    ///
    /// # Errors
    /// When no connection could be secured.
    pub fn new(rules: Rules, resolver: Arc<dyn Resolver>, patience: Duration) -> Result<Self, reqwest::Error> {
        crate::tls::install();
        let checked = Checked { rules: rules.clone(), resolver };
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            // One of the environment would resolve the host once more, out of our sight.
            .no_proxy()
            .referer(false)
            .dns_resolver(Arc::new(checked))
            .timeout(patience)
            .pool_max_idle_per_host(2)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("lungo/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, rules, patience })
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Posts a JSON document, once.
    ///
    /// # Errors
    /// Why there is no answer. It may have been received all the same, unless the URL is unfit.
    pub async fn post(
        &self,
        url: &ForeignUrl,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, Trouble> {
        let mut request = self.http.post(url.0.clone()).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answered = request.send().await.map_err(|fault| self.trouble(&fault))?;
        let retry_after = answered.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let answer = Answer { status: answered.status().as_u16(), retry_after: retry_after.map(str::to_owned) };
        let _ = tokio::time::timeout(READING, drain(answered)).await;
        Ok(answer)
    }

    fn trouble(&self, fault: &reqwest::Error) -> Trouble {
        let mut cause = fault.source();
        while let Some(fault) = cause {
            if let Some(unfit) = fault.downcast_ref::<Unfit>() {
                return Trouble::Unfit(unfit.clone());
            }
            cause = fault.source();
        }
        if fault.is_timeout() {
            return Trouble::Unanswered(self.patience);
        }
        Trouble::Unreachable(innermost(fault))
    }
}

/// The last cause says what happened; those around it repeat the URL.
fn innermost(fault: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = fault;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

/// Reads a body as far as that is worth it. Dropped before its end, the connection is closed.
async fn drain(mut answered: reqwest::Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = answered.chunk().await {
        read += chunk.len();
        if read > WORTH_READING {
            return;
        }
    }
}

/// Gives the connector the addresses it may connect to: those that were checked, from one resolution.
struct Checked {
    rules: Rules,
    resolver: Arc<dyn Resolver>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, resolver) = (self.rules.clone(), self.resolver.clone());
        Box::pin(async move {
            let host = name.as_str();
            // With a dot at its end a name is complete: the system appends no search domain to it, which would lead into
            // our own network.
            let complete = format!("{}.", host.trim_end_matches('.'));
            let asked = if rules.allow(host) { host } else { &complete };
            let addresses = resolver.resolve(asked).await.map_err(|fault| Unfit::Unresolved(fault.to_string()))?;
            if addresses.is_empty() {
                return Err(Unfit::Unresolved("it has no address".into()).into());
            }
            rules.check(host, &addresses)?;
            let sockets = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(sockets.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
