//! What an operator does at the command line, beside a running service or without one.

mod backup;
mod migrate;

use std::fmt::Display;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, Subcommand};
use eyre::Result;
use uuid::Uuid;

use crate::access;
use crate::clock::now;
use crate::config::{Endpoint, Pace, PostgresUrl, Secret, or_of_file};
use crate::gateway::simulator::{self, GatewaySimulator};
use crate::keys::{self, KeyKind, Owner};
use crate::order::{PartnerId, ShopId};
use crate::reconcile::{Finding, Verdict, reconcile as compare};
use crate::serve::{self, GATEWAY_LEDGER};
use crate::simulator::server::{self, Subscriber};
use crate::store::{self, Changed, Entry, Policy, Revoked, Store, StoredKey};
use crate::terminal::{Refusal, say};

pub use backup::{BackupArgs, RestoreArgs, RestoredArgs, backup, restore, restored};
pub use migrate::{MigrateArgs, migrate};

#[derive(Args)]
pub struct DataArgs {
    /// Where everything durable is kept
    #[arg(long, env = "LUNGO_DATA", default_value = "./lungo-data", value_name = "DIR")]
    pub data: PathBuf,
    /// The PostgreSQL database that holds everything durable, if it is not a file among the data
    #[arg(long, env = "LUNGO_DATABASE", hide_env_values = true, value_name = "URL")]
    pub database: Option<PostgresUrl>,
    /// A file that holds `database` and nothing else
    #[arg(long, env = "LUNGO_DATABASE_FILE", value_name = "FILE")]
    pub database_file: Option<PathBuf>,
}

impl DataArgs {
    /// The PostgreSQL database, if it is not a file among the data.
    ///
    /// # Errors
    /// When the file that holds its URL cannot be used.
    fn server(&self) -> Result<Option<PostgresUrl>> {
        secret("database", self.database.clone(), self.database_file.as_deref())
    }
}

/// A setting that may have a file of its own.
fn secret<T>(name: &str, given: Option<T>, file: Option<&Path>) -> Result<Option<T>>
where
    T: FromStr,
    T::Err: Display,
{
    let hint = "Give it once: in the environment, or in a file of mode 0600 that holds nothing else.";
    Ok(or_of_file(name, given, file).map_err(|why| Refusal::new(why, hint))?)
}

#[derive(Args)]
pub struct SimulatorArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// The gateway's ledger, if it is not the one among the data
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Print machine-readable JSON
    #[arg(long, conflicts_with = "listen")]
    pub json: bool,
    /// Serve the gateway there, until stopped: `--gateway stripe --stripe-url http://ADDR` uses it
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<Endpoint>,
    /// How fast it is
    #[arg(long, value_enum, default_value = "fast", requires = "listen")]
    pub pace: Pace,
    /// Where callbacks are sent to
    #[arg(long, value_name = "URL", requires = "listen")]
    pub webhook_url: Option<String>,
    /// The secret they are signed with
    #[arg(long, env = "LUNGO_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub webhook_secret: Option<Secret>,
    /// A file that holds `webhook-secret` and nothing else
    #[arg(long, env = "LUNGO_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub webhook_secret_file: Option<PathBuf>,
}

impl SimulatorArgs {
    fn ledger(&self) -> PathBuf {
        self.ledger.clone().unwrap_or_else(|| self.data.data.join(GATEWAY_LEDGER))
    }
}

#[derive(Args)]
pub struct ConsoleLinkArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Whose password it is
    #[arg(long, default_value = store::FIRST_USER, value_name = "NAME")]
    pub user: String,
    /// Where people reach the console, if not where the service of the data directory says
    #[arg(long, env = "LUNGO_CONSOLE_URL", value_name = "URL")]
    pub console_url: Option<String>,
}

#[derive(Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it: this is the only time it is shown
    Create {
        #[command(flatten)]
        data: DataArgs,
        /// What the key opens: the API of a partner, of a shop, or of an operator
        #[arg(long, value_parser = ["partner", "shop", "admin"])]
        kind: String,
        /// The partner that the key is for, with `--kind partner`
        #[arg(long, value_name = "UUID")]
        partner: Option<PartnerId>,
        /// The shop that the key is for, with `--kind shop`
        #[arg(long, value_name = "UUID")]
        shop: Option<ShopId>,
        /// A name by which people tell it from other keys
        #[arg(long, default_value = "command line")]
        label: String,
    },
    /// List all keys, without their secrets
    List {
        #[command(flatten)]
        data: DataArgs,
    },
    /// End a key's validity
    Revoke {
        #[command(flatten)]
        data: DataArgs,
        /// The id of the key, as `lungo keys list` shows it
        key_id: Uuid,
    },
}

/// Makes, lists or revokes keys. A running service learns of it within 15 s.
///
/// # Errors
/// When the database cannot be opened, or what is named does not exist.
pub async fn keys(command: KeysCommand) -> Result<ExitCode> {
    match command {
        KeysCommand::Create { data, kind, partner, shop, label } => {
            let store = open(&data)?;
            let owner = match (kind.parse::<KeyKind>()?, partner, shop) {
                (KeyKind::Admin, None, None) => Owner::Admin,
                (KeyKind::Partner, Some(partner), None) => {
                    let partners = store.partners().await?;
                    if !partners.iter().any(|known| known.partner_id == partner) {
                        let hint = "GET /v1/admin/partners lists them, and so does the console.";
                        return Err(Refusal::new(format!("there is no partner {partner}"), hint).into());
                    }
                    Owner::Partner(partner)
                }
                (KeyKind::Shop, None, Some(shop_id)) => {
                    let shops = store.catalogue().await?.shops;
                    let shop = shops.iter().find(|known| known.shop_id == shop_id);
                    let shop = shop.ok_or_else(|| {
                        let hint = "GET /v1/admin/shops lists them, and so does the console.";
                        Refusal::new(format!("there is no shop {shop_id}"), hint)
                    })?;
                    Owner::Shop { shop_id, partner_id: shop.partner_id }
                }
                _ => {
                    let what = "the owner does not fit the kind of key";
                    let hint = "A partner key needs --partner, a shop key needs --shop, an admin key neither.";
                    return Err(Refusal::new(what, hint).into());
                }
            };
            let secret = owner.kind().generate();
            let key = StoredKey {
                key_id: Uuid::now_v7(),
                owner,
                hash: keys::hash(&secret),
                label,
                created_at: now(),
                revoked_at: None,
            };
            store.add_key(key, None).await?;
            say!("{secret}")?;
        }
        KeysCommand::List { data } => {
            for key in open(&data)?.keys().await? {
                let state = key.revoked_at.map_or("valid".into(), |at| format!("revoked {at}"));
                say!("{}  {:7}  {}  {}  {}", key.key_id, key.owner.kind(), key.created_at, state, key.label)?;
            }
        }
        KeysCommand::Revoke { data, key_id } => match open(&data)?.revoke_key(key_id, now()).await? {
            Revoked::Done => {}
            Revoked::Already | Revoked::Unknown => {
                let hint = "`lungo keys list` shows all keys.";
                return Err(Refusal::new(format!("there is no valid key {key_id}"), hint).into());
            }
            Revoked::LastAdmin => {
                let hint = "Make another one first: `lungo keys create --kind admin`.";
                return Err(Refusal::new("this is the last valid key of an operator", hint).into());
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a link by which a user of the console chooses a new password, once and within a day. Its older links end.
///
/// # Errors
/// When the database cannot be opened, or there is no such user.
pub async fn console_link(args: ConsoleLinkArgs) -> Result<ExitCode> {
    // First: a link that cannot be shown would have ended the older ones for nothing.
    let root = args.console_url.or_else(|| Some(serve::address(&args.data.data)?.console_url));
    let data = args.data.data.display();
    let hint = "Start the service there once, or say where its console is reached, by --console-url.";
    let root = root.ok_or_else(|| Refusal::new(format!("no service has run in {data}"), hint))?;
    let (store, link, at) = (open(&args.data)?, access::secret(), now());
    let users = store.users().await?;
    let user = users.iter().find(|user| user.name == args.user);
    let unknown = || {
        let hint = "The console lists all users. The service makes the first one when it starts.";
        Refusal::new(format!("there is no user {}", args.user), hint)
    };
    let user = user.ok_or_else(unknown)?;
    let entry = Entry {
        at,
        user_id: None,
        user_name: "command line".into(),
        action: "invite_user".into(),
        subject: format!("user:{}", user.name),
        reason: None,
        detail: serde_json::json!({}),
        request_id: String::new(),
    };
    if store.recording(entry).add_link(user.id, access::hash(&link), at).await? != Changed::Done {
        return Err(unknown().into());
    }
    say!("{}", access::link(&root, &link))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what the simulated gateway holds for each order, and whether that is what the order's events decided.
/// The exit code says whether everything agrees (0) or not (1).
///
/// # Errors
/// When the ledger or the database cannot be read.
pub async fn reconcile(args: &SimulatorArgs) -> Result<ExitCode> {
    let ledger = args.ledger();
    let charges = if ledger.exists() { simulator::ledger(&ledger)? } else { Vec::new() };
    let store = open(&args.data)?;
    let mut orders = Vec::new();
    loop {
        let page = store.all_orders(orders.last().map(|order: &crate::state::Order| order.id), 10_000).await?;
        let is_last = page.len() < 10_000;
        orders.extend(page);
        if is_last {
            break;
        }
    }
    let findings = compare(&orders, &charges, now());
    if args.json {
        say!("{}", serde_json::to_string_pretty(&findings)?)?;
    } else {
        print_findings(&findings)?;
    }
    let is_sound = findings.iter().all(|finding| !finding.verdict.is_wrong());
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Is the simulated gateway, as a server, until `stop` ends.
///
/// # Errors
/// When it cannot listen, or its ledger cannot be opened.
pub async fn simulate(args: SimulatorArgs, listen: Endpoint, stop: impl Future<Output = ()>) -> Result<ExitCode> {
    let webhook_secret = secret("webhook_secret", args.webhook_secret.clone(), args.webhook_secret_file.as_deref())?;
    if args.webhook_url.is_some() && webhook_secret.is_none() {
        let hint = "Give it by LUNGO_WEBHOOK_SECRET or --webhook-secret-file.";
        return Err(Refusal::new("there is a webhook-url, but no webhook-secret to sign with", hint).into());
    }
    let listener = TcpListener::bind(listen.to_string()).map_err(|fault| {
        let hint = "Stop the program that listens there, or name another address.";
        Refusal::new(format!("cannot listen on {listen}: {fault}"), hint)
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let ledger = args.ledger();
    if let Some(directory) = ledger.parent() {
        crate::files::make_directory(directory)?;
    }
    let gateway = GatewaySimulator::open(Some(&ledger), args.pace.into(), url.clone()).map_err(|fault| {
        let hint = "Check the file and its permissions, or name another --ledger.";
        Refusal::new(format!("the ledger {}: {fault}", ledger.display()), hint)
    })?;
    let subscriber = args.webhook_url.zip(webhook_secret).map(|(url, secret)| Subscriber { url, secret });
    say!("The simulated gateway is listening on {url} (ledger: {})", ledger.display())?;
    server::serve(listener, Arc::new(gateway), subscriber, stop).await?;
    Ok(ExitCode::SUCCESS)
}

fn print_findings(findings: &[Finding]) -> Result<()> {
    say!(
        "{:36}  {:15} {:18} {:16} {:>9} {:>9} {:>9} {:>9}  verdict",
        "order",
        "status",
        "payment",
        "gateway",
        "held",
        "captured",
        "refunded",
        "net"
    )?;
    for finding in findings {
        say!(
            "{:36}  {:15} {:18} {:16} {:>9} {:>9} {:>9} {:>9}  {}",
            finding.order_id.to_string(),
            finding.status.map_or("-", |status| status.word()),
            finding.payment_status.map_or("-", |status| status.word()),
            finding.gateway.as_deref().unwrap_or("-"),
            finding.held,
            finding.captured,
            finding.refunded,
            finding.net(),
            finding.verdict,
        )?;
    }
    let count = |wanted: Verdict| findings.iter().filter(|finding| finding.verdict == wanted).count();
    say!(
        "\n{} orders and charges: {} agree, {} still under way, {} parked, {} overdue, {} charges without order, {} orders without money, \
         {} wrong amounts; net {} minor units",
        findings.len(),
        count(Verdict::Agrees),
        count(Verdict::UnderWay),
        count(Verdict::Parked),
        count(Verdict::Overdue),
        count(Verdict::ChargeWithoutOrder),
        count(Verdict::OrderWithoutMoney),
        count(Verdict::WrongAmount),
        findings.iter().map(Finding::net).sum::<i64>(),
    )
}

/// Opens an existing database without working on it.
fn open(args: &DataArgs) -> Result<Store> {
    let data = &args.data;
    let options = store::Options {
        policy: Policy::default(),
        readers: 1,
        queue: 16,
        local_queue: 1,
        commit_patience: std::time::Duration::from_secs(10),
        replica_lag: None,
        durability: None,
        max_staleness: std::time::Duration::from_millis(100),
        clock: now,
        follow_clock: crate::clock::follow,
    };
    // The claims are dropped: nobody works here, and so no row is ever leased to this process.
    if let Some(url) = args.server()? {
        store::check_version_of(url.expose())?;
        return Ok(Store::connect(url.expose(), &[], options)?.0);
    }
    if !data.join(store::FILE).exists() {
        let hint = "Start the service there once, or name another --data.";
        return Err(Refusal::new(format!("there is no database in {}", data.display()), hint).into());
    }
    if store::is_blank(data)? {
        let hint = "Put a backup in its place by `lungo restore FILE`.";
        return Err(Refusal::new(format!("the database in {} is empty", data.display()), hint).into());
    }
    // Migrating it is for the service: it may be running beside this, in another version.
    store::check_version(data)?;
    Ok(Store::open(data, options)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_at_an_empty_or_an_older_database_does_not_migrate_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(store::FILE);
        let data = DataArgs { data: directory.path().into(), database: None, database_file: None };
        let fault = || {
            let fault = open(&data).err().expect("it is refused").to_string();
            assert!(fault.contains(&directory.path().display().to_string()), "{fault}");
            fault
        };
        assert!(fault().contains("no database"));
        std::fs::write(&file, "").unwrap();
        assert!(fault().contains("is empty"));
        assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
    }

    #[test]
    fn every_word_of_the_commands_is_explained() {
        fn walk(command: &clap::Command) {
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
            command.get_subcommands().for_each(walk);
        }
        let bare = clap::Command::new("bare");
        walk(&KeysCommand::augment_subcommands(bare.clone()));
        walk(&SimulatorArgs::augment_args(bare.clone()));
        walk(&ConsoleLinkArgs::augment_args(bare.clone()));
        walk(&BackupArgs::augment_args(bare.clone()));
        walk(&RestoreArgs::augment_args(bare.clone()));
        walk(&RestoredArgs::augment_args(bare.clone()));
        walk(&MigrateArgs::augment_args(bare));
    }
}
