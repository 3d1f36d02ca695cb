//! Every setting, once: its name, default, unit and meaning. The flags, the environment, the settings file and
//! what `/v1/admin/settings` shows are all derived from this struct.

mod database;
mod endpoint;
mod networks;
mod secrets;
mod sources;
mod stages;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

pub use database::{Durability, PostgresUrl, Servers, without_password};
pub use endpoint::{Endpoint, OtlpEndpoint};
pub use networks::Network;
pub use secrets::{Secret, or_of_file};
pub use sources::{InForce, check_environment, exposed, in_force, reference, with_file};
pub use stages::Stages;

use secrets::all_or_of_file;

use crate::admission::Rules;
use crate::machine::Deadlines;

/// A length of time as people write it: `5s`, `250ms`, `2m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let span = humantime::parse_duration(text).map_err(|fault| format!("{fault} (write it like `5s` or `2m`)"))?;
        if span > Duration::from_secs(366 * 24 * 3600) {
            return Err("more than a year".into());
        }
        Ok(Self(span))
    }
}

impl Span {
    pub fn chrono(self) -> chrono::Duration {
        chrono::Duration::from_std(self.0).expect("spans are at most a year")
    }
}

/// A share, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio(pub f64);

impl FromStr for Ratio {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.map(Self).ok_or_else(|| "it is no number from 0 to 1 (write it like `0.01`)".into())
    }
}

/// Who holds the customers' money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Gateway {
    /// A simulated bank within this process.
    Simulator,
    /// Stripe, or what speaks like it at `stripe-url`.
    Stripe,
}

/// How fast the simulated bank and shops are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pace {
    /// No delay, and the gateway's ledger in memory: for load tests.
    Zero,
    /// A life takes 3–10 s.
    Fast,
    /// As long as in a real coffee shop.
    Real,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The settings of `lungo serve`.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// A TOML file with settings; a flag or a variable of the environment goes before it
    #[arg(long, env = "LUNGO_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where to listen: an address or a name of this machine, and a port
    #[arg(long, env = "LUNGO_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: Endpoint,

    /// Where else to listen, for `/metrics` without a key: an address that only the monitoring can reach
    #[arg(long, env = "LUNGO_METRICS_LISTENER", value_name = "ADDR")]
    pub metrics_listener: Option<Endpoint>,

    /// Where everything durable is kept
    #[arg(long, env = "LUNGO_DATA", default_value = "./lungo-data", value_name = "DIR")]
    pub data: PathBuf,

    #[command(flatten)]
    pub servers: Servers,

    /// The stages that this instance works on, where several work on one database: `all`, `none`, or some of them, as in
    /// `payment,shop`
    #[arg(long, env = "LUNGO_STAGES", default_value = "all", value_name = "STAGES")]
    pub stages: Stages,

    /// Addresses and networks, with commas between them, of the proxies in front, as in `10.0.0.7,fd00::/8`. The client
    /// is the last address in `X-Forwarded-For` that none of them has. Without this setting the header is ignored, and
    /// all clients behind a proxy count as one
    #[arg(long, env = "LUNGO_TRUSTED_PROXIES", value_delimiter = ',', value_name = "NETWORKS")]
    pub trusted_proxies: Vec<Network>,

    /// Where people reach the console, if a proxy stands in front: its links and checks go by it. With https its cookies
    /// are sent by TLS only
    #[arg(long, env = "LUNGO_CONSOLE_URL", value_name = "URL")]
    pub console_url: Option<String>,

    /// How long a user stays logged in to the console without looking at it
    #[arg(long, env = "LUNGO_CONSOLE_IDLE", default_value = "4h", value_name = "TIME")]
    pub console_idle: Span,

    /// How long a user stays logged in to the console in all
    #[arg(long, env = "LUNGO_CONSOLE_SESSION", default_value = "24h", value_name = "TIME")]
    pub console_session: Span,

    /// How long a tablet stays signed in to the board of its shop, if the key it was signed in by is not revoked before
    #[arg(long, env = "LUNGO_BOARD_SESSION", default_value = "90d", value_name = "TIME")]
    pub board_session: Span,

    /// Make a demo partner with shops, a menu and keys in an empty database
    #[arg(long, env = "LUNGO_DEMO", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub demo: bool,

    /// How fast the simulated bank and shops are
    #[arg(long, env = "LUNGO_PACE", value_enum, default_value = "fast")]
    pub pace: Pace,

    /// Who holds the customers' money
    #[arg(long, env = "LUNGO_GATEWAY", value_enum, default_value = "simulator")]
    pub gateway: Gateway,

    /// Where Stripe's API is: https, or http to this machine itself
    #[arg(long, env = "LUNGO_STRIPE_URL", default_value = "https://api.stripe.com", value_name = "URL")]
    pub stripe_url: String,

    /// The secret key of the account (`sk_…` or `rk_…`); not as a flag, which others could see
    #[arg(long, env = "LUNGO_STRIPE_KEY", hide_env_values = true, hide_default_value = true, value_name = "SECRET")]
    pub stripe_key: Option<Secret>,

    /// A file that holds `stripe-key` and nothing else
    #[arg(long, env = "LUNGO_STRIPE_KEY_FILE", value_name = "FILE")]
    pub stripe_key_file: Option<PathBuf>,

    /// The signing secrets of the webhook endpoint (`whsec_…`), with commas between them while one is being replaced;
    /// not as a flag
    #[arg(
        long,
        env = "LUNGO_STRIPE_WEBHOOK_SECRETS",
        hide_env_values = true,
        hide_default_value = true,
        value_delimiter = ',',
        value_name = "SECRETS"
    )]
    pub stripe_webhook_secrets: Vec<Secret>,

    /// A file that holds `stripe-webhook-secrets` and nothing else
    #[arg(long, env = "LUNGO_STRIPE_WEBHOOK_SECRETS_FILE", value_name = "FILE")]
    pub stripe_webhook_secrets_file: Option<PathBuf>,

    /// Where the bank sends the customer back to after 3-D Secure; without it the app finishes that with Stripe's
    /// library
    #[arg(long, env = "LUNGO_STRIPE_RETURN_URL", value_name = "URL")]
    pub stripe_return_url: Option<String>,

    /// Hosts, with commas between them, that webhooks may go to although they are not public or not https: for
    /// development and tests
    #[arg(long, env = "LUNGO_WEBHOOK_ALLOW", value_delimiter = ',', value_name = "HOSTS")]
    pub webhook_allow: Vec<String>,

    /// How long a receiver of a webhook may take to answer
    #[arg(long, env = "LUNGO_WEBHOOK_TIMEOUT", default_value = "10s", value_name = "TIME")]
    pub webhook_timeout: Span,

    /// How long a delivery to a receiver is tried
    #[arg(long, env = "LUNGO_WEBHOOK_GIVE_UP_AFTER", default_value = "3d", value_name = "TIME")]
    pub webhook_give_up_after: Span,

    /// How long the old secret of a webhook signs beside the new one, if its owner does not say
    #[arg(long, env = "LUNGO_WEBHOOK_ROTATION", default_value = "24h", value_name = "TIME")]
    pub webhook_rotation: Span,

    /// Read customers' lists from a snapshot that is up to this old, as from a lagging replica (simulators only)
    #[arg(long, env = "LUNGO_REPLICA_LAG", value_name = "TIME")]
    pub replica_lag: Option<Span>,

    /// Ongoing orders that one customer may have
    #[arg(long, env = "LUNGO_MAX_ONGOING_ORDERS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50), value_name = "COUNT")]
    pub max_ongoing_orders: u32,

    /// How long after its end an order that succeeded still counts as the same coffee
    #[arg(long, env = "LUNGO_SIMILAR_ORDER_WITHIN", default_value = "10m", value_name = "TIME")]
    pub similar_order_within: Span,

    /// How long a closed order stays in the customer's list as recently closed
    #[arg(long, env = "LUNGO_RECENTLY_CLOSED_WITHIN", default_value = "10m", value_name = "TIME")]
    pub recently_closed_within: Span,

    /// How long a draft binds the shop to its price
    #[arg(long, env = "LUNGO_DRAFT_VALID_FOR", default_value = "10m", value_name = "TIME")]
    pub draft_valid_for: Span,

    /// `new`, with the gateway answering: an order that is not authorized by then fails
    #[arg(long, env = "LUNGO_AUTHORIZATION_DEADLINE", default_value = "60s", value_name = "TIME")]
    pub authorization_deadline: Span,

    /// `new`, while the outcome of the authorization is unknown
    #[arg(long, env = "LUNGO_UNKNOWN_OUTCOME_DEADLINE", default_value = "2m", value_name = "TIME")]
    pub unknown_outcome_deadline: Span,

    /// `action_required`: for the customer to answer the bank
    #[arg(long, env = "LUNGO_PAYMENT_ACTION_DEADLINE", default_value = "5m", value_name = "TIME")]
    pub payment_action_deadline: Span,

    /// `awaiting_shop`: for the shop to accept
    #[arg(long, env = "LUNGO_ACCEPTANCE_DEADLINE", default_value = "3m", value_name = "TIME")]
    pub acceptance_deadline: Span,

    /// Before `accepted`: past the chosen pickup time (or the time told, for as soon as possible) until the order is too
    /// late. No shop is asked then; an order for a slot ends as `cancelled` with reason `slot_missed`
    #[arg(long, env = "LUNGO_SLOT_MISSED_AFTER", default_value = "30m", value_name = "TIME")]
    pub slot_missed_after: Span,

    /// `accepted` and `preparing`: past the promise
    #[arg(long, env = "LUNGO_PREPARATION_DEADLINE", default_value = "2h", value_name = "TIME")]
    pub preparation_deadline: Span,

    /// `ready`: until it counts as not collected
    #[arg(long, env = "LUNGO_COLLECTION_DEADLINE", default_value = "60m", value_name = "TIME")]
    pub collection_deadline: Span,

    /// `ready`, where the shop does not track hand-over: until it counts as completed
    #[arg(long, env = "LUNGO_UNTRACKED_COLLECTION_DEADLINE", default_value = "30m", value_name = "TIME")]
    pub untracked_collection_deadline: Span,

    /// `not_collected`: how late a customer may still come
    #[arg(long, env = "LUNGO_LATE_COLLECTION", default_value = "12h", value_name = "TIME")]
    pub late_collection: Span,

    /// After a start, after the database took no writes for 5 s, and after a step of the clock: how long the deadlines of
    /// the orders that were there before wait, so that what shops, customers and the gateway say is heard first
    #[arg(long, env = "LUNGO_DEADLINE_GRACE", default_value = "60s", value_name = "TIME")]
    pub deadline_grace: Span,

    /// From the end of an order whose payment was once unknown to the last look at the gateway
    #[arg(long, env = "LUNGO_LAST_LOOK", default_value = "24h", value_name = "TIME")]
    pub last_look: Span,

    /// How long before the gateway lets go of the money an order ends that its shop has not begun
    #[arg(long, env = "LUNGO_HOLD_MARGIN", default_value = "10m", value_name = "TIME")]
    pub hold_margin: Span,

    /// From when it is noticed that a failover lost orders to when their payments are given back
    #[arg(long, env = "LUNGO_RELEASE_LOST_AFTER", default_value = "2m", value_name = "TIME")]
    pub release_lost_after: Span,

    /// How long a claim on an order lasts; what a crashed process held is taken over then
    #[arg(long, env = "LUNGO_LEASE", default_value = "30s", value_name = "TIME")]
    pub lease: Span,

    /// The longest call to the gateway or a shop; at most a third of the lease
    #[arg(long, env = "LUNGO_CALL_TIMEOUT", default_value = "10s", value_name = "TIME")]
    pub call_timeout: Span,

    /// How long a dependency is left alone after it did not answer ten times in a row
    #[arg(long, env = "LUNGO_BREAKER_PAUSE", default_value = "5s", value_name = "TIME")]
    pub breaker_pause: Span,

    /// Authorizations under way at once; one payment method takes at most half of them
    #[arg(long, env = "LUNGO_AUTHORIZE_LIMIT", default_value_t = 256, value_name = "COUNT")]
    pub authorize_limit: usize,

    /// Look-ups under way at once; one payment method takes at most half of them
    #[arg(long, env = "LUNGO_LOOK_UP_LIMIT", default_value_t = 256, value_name = "COUNT")]
    pub look_up_limit: usize,

    /// Offers to shops under way at once; one shop takes at most half of them
    #[arg(long, env = "LUNGO_OFFER_LIMIT", default_value_t = 256, value_name = "COUNT")]
    pub offer_limit: usize,

    /// Captures under way at once; one payment method takes at most half of them
    #[arg(long, env = "LUNGO_CAPTURE_LIMIT", default_value_t = 256, value_name = "COUNT")]
    pub capture_limit: usize,

    /// Releases under way at once; one payment method takes at most half of them
    #[arg(long, env = "LUNGO_RELEASE_LIMIT", default_value_t = 256, value_name = "COUNT")]
    pub release_limit: usize,

    /// Orders a second that what operators do to many at once acts on: it can be stopped between them
    #[arg(long, env = "LUNGO_BULK_RATE", default_value = "100", value_name = "COUNT")]
    pub bulk_rate: std::num::NonZeroU32,

    /// Minor units of any currency that one operator may decide about alone, by evidence; for more another one has to
    /// agree
    #[arg(long, env = "LUNGO_SETTLE_LIMIT", default_value_t = 5000, value_parser = clap::value_parser!(i64).range(0..), value_name = "MINOR")]
    pub settle_limit: i64,

    /// Requests a second that one partner may make for ever, and twice as many at once
    #[arg(long, env = "LUNGO_PARTNER_RATE", default_value = "5000", value_name = "COUNT")]
    pub partner_rate: std::num::NonZeroU32,

    /// Threads that answer HTTP
    #[arg(long, env = "LUNGO_HTTP_THREADS", default_value_t = 2, value_name = "COUNT")]
    pub http_threads: usize,

    /// When stopping: how long to say so in /readyz, and by `Connection: close` in every answer, before new connections
    /// are refused. Clients that keep a connection open are told as well, which takes up to 5 s more; `0s` waits for
    /// nothing
    #[arg(long, env = "LUNGO_UNREADY_FOR", default_value = "500ms", value_name = "TIME")]
    pub unready_for: Span,

    /// Threads that read the database
    #[arg(long, env = "LUNGO_READERS", default_value_t = 2, value_name = "COUNT")]
    pub readers: usize,

    /// Requests that may wait for the database before others are turned away
    #[arg(long, env = "LUNGO_QUEUE", default_value_t = 4096, value_name = "COUNT")]
    pub queue: usize,

    /// How long a caller waits for a commit before it is told that the outcome is unknown
    #[arg(long, env = "LUNGO_COMMIT_PATIENCE", default_value = "2s", value_name = "TIME")]
    pub commit_patience: Span,

    /// How far back durations are measured, to tell clients when to come back
    #[arg(long, env = "LUNGO_PACE_WINDOW", default_value = "6h", value_name = "TIME")]
    pub pace_window: Span,

    /// The address of a collector that takes the traces of orders by OTLP over HTTP, as in `http://127.0.0.1:4318`; its
    /// path `/v1/traces` is added. Without this setting no traces are made. The build needs the feature `otlp`
    #[arg(long, env = "LUNGO_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<OtlpEndpoint>,

    /// Headers for the collector, as in `api-key=…,x-team=coffee`; not as a flag
    #[arg(
        long,
        env = "LUNGO_OTLP_HEADERS",
        hide_env_values = true,
        hide_default_value = true,
        value_delimiter = ',',
        value_name = "SECRETS"
    )]
    pub otlp_headers: Vec<Secret>,

    /// A file that holds `otlp-headers` and nothing else
    #[arg(long, env = "LUNGO_OTLP_HEADERS_FILE", value_name = "FILE")]
    pub otlp_headers_file: Option<PathBuf>,

    /// The share of orders that are traced, from 0 to 1. Where a request brings a `traceparent`, its sampled flag decides
    #[arg(long, env = "LUNGO_TRACE_SAMPLE", default_value = "0.01", value_name = "RATIO")]
    pub trace_sample: Ratio,

    /// How log lines look
    #[arg(long, env = "LUNGO_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged, for example `info` or `lungo=debug`
    #[arg(long, env = "LUNGO_LOG", default_value = "info,actix_server=warn", value_name = "FILTER")]
    pub log: String,
}

impl Settings {
    /// The settings with the secrets that have files of their own.
    ///
    /// # Errors
    /// Which file cannot be used, or which secret is given twice. No error has a secret.
    pub fn with_secrets(mut self) -> Result<Self, String> {
        let servers = &mut self.servers;
        self.stripe_key = or_of_file("stripe_key", self.stripe_key, self.stripe_key_file.as_deref())?;
        let file = self.stripe_webhook_secrets_file.as_deref();
        self.stripe_webhook_secrets = all_or_of_file("stripe_webhook_secrets", self.stripe_webhook_secrets, file, ',')?;
        let file = self.otlp_headers_file.as_deref();
        self.otlp_headers = all_or_of_file("otlp_headers", self.otlp_headers, file, ',')?;
        servers.database = or_of_file("database", servers.database.take(), servers.database_file.as_deref())?;
        let (given, file) = (std::mem::take(&mut servers.replicas), servers.replicas_file.as_deref());
        servers.replicas = all_or_of_file("replicas", given, file, ' ')?;
        Ok(self)
    }

    /// What does not fit together, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.call_timeout.0 * 3 > self.lease.0 {
            return Err("call-timeout is more than a third of the lease: a claim could lapse under its own work".into());
        }
        if self.console_url.as_deref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            return Err("console-url must begin with https:// or http://".into());
        }
        if self.servers.database.is_some() && self.replica_lag.is_some() {
            return Err("replica-lag is for the embedded database: name a replica of this one".into());
        }
        if self.servers.database.is_none() && !self.servers.replicas.is_empty() {
            return Err("there are replicas, but no database that they follow".into());
        }
        if self.gateway == Gateway::Stripe {
            self.check_stripe()?;
        }
        self.collector_headers()?;
        if self.otlp_endpoint.is_none() && !self.otlp_headers.is_empty() {
            return Err("there are otlp-headers, but no otlp-endpoint that takes them".into());
        }
        let counts = [
            ("readers", self.readers),
            ("http-threads", self.http_threads),
            ("queue", self.queue),
            ("authorize-limit", self.authorize_limit),
            ("look-up-limit", self.look_up_limit),
            ("offer-limit", self.offer_limit),
            ("capture-limit", self.capture_limit),
            ("release-limit", self.release_limit),
        ];
        match counts.iter().find(|(_, count)| *count == 0 || *count > 100_000) {
            Some((name, count)) => Err(format!("{name} is {count}: it must be between 1 and 100000")),
            None => Ok(()),
        }
    }

    fn check_stripe(&self) -> Result<(), String> {
        let Some(key) = self.stripe_key.as_ref().filter(|key| !key.expose().is_empty()) else {
            return Err("gateway is stripe, but there is no stripe-key".into());
        };
        let kinds = ["sk_test_", "rk_test_", "sk_live_", "rk_live_"];
        let is_visible = key.expose().bytes().all(|byte| byte.is_ascii_graphic());
        if !is_visible || !kinds.iter().any(|kind| key.expose().starts_with(kind)) {
            return Err(format!("stripe-key is no secret key: those begin with {}", kinds.join(", ")));
        }
        if self.stripe_webhook_secrets.is_empty() || self.stripe_webhook_secrets.iter().any(|s| s.expose().is_empty()) {
            return Err("gateway is stripe, but stripe-webhook-secrets are missing or empty".into());
        }
        let is_here = self.stripe_url.strip_prefix("http://").is_some_and(|rest| {
            let host = rest.split('/').next().unwrap_or(rest);
            host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
        });
        if !is_here && !self.stripe_url.starts_with("https://") {
            return Err("stripe-url must be https, or http to a loopback address with a port".into());
        }
        if self.demo && key.expose().contains("_live_") {
            return Err("a live stripe-key and the demo do not go together: set demo to false".into());
        }
        Ok(())
    }

    /// The headers for the collector: names and values.
    ///
    /// # Errors
    /// Which one is not a header. No error has a value.
    pub fn collector_headers(&self) -> Result<Vec<(String, String)>, String> {
        let header = |(at, header): (usize, &Secret)| {
            let wrong = || format!("otlp-headers: number {} is not written like `name=value`", at + 1);
            let (name, value) = header.expose().split_once('=').ok_or_else(wrong)?;
            let (name, value) = (name.trim(), value.trim());
            let is_name =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            let is_value = !value.is_empty() && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            if is_name && is_value { Ok((name.to_ascii_lowercase(), value.to_owned())) } else { Err(wrong()) }
        };
        self.otlp_headers.iter().enumerate().map(header).collect()
    }

    pub fn rules(&self) -> Rules {
        Rules {
            similar_within: self.similar_order_within.chrono(),
            max_ongoing: self.max_ongoing_orders as usize,
            ..Rules::default()
        }
    }

    pub fn deadlines(&self) -> Deadlines {
        Deadlines {
            authorization: self.authorization_deadline.chrono(),
            unknown_outcome: self.unknown_outcome_deadline.chrono(),
            payment_action: self.payment_action_deadline.chrono(),
            acceptance: self.acceptance_deadline.chrono(),
            slot_missed: self.slot_missed_after.chrono(),
            preparation: self.preparation_deadline.chrono(),
            collection: self.collection_deadline.chrono(),
            untracked_collection: self.untracked_collection_deadline.chrono(),
            late_collection: self.late_collection.chrono(),
            last_look: self.last_look.chrono(),
            hold_margin: self.hold_margin.chrono(),
        }
    }
}

#[cfg(test)]
mod tests;
