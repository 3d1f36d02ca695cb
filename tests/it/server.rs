//! Runs the real binary on a directory of its own, and talks to it as a partner does.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Method;
use reqwest::blocking::Client as Http;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contract;
use crate::postgres;

/// The demo's shops: simulated; simulated and accepting by itself; without anybody who would ever answer.
pub const CENTRAL: &str = "01970000-0000-7000-8000-000000000011";
pub const STATION: &str = "01970000-0000-7000-8000-000000000012";
pub const BY_HAND: &str = "01970000-0000-7000-8000-000000000013";

/// How long anything that must happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// How often a condition is looked at.
pub const LOOK: Duration = Duration::from_millis(25);

/// Settings under which everything that has to be waited for comes soon.
pub const IMPATIENT: &[&str] = &[
    "--call-timeout=1s",
    "--lease=3s",
    "--breaker-pause=500ms",
    "--authorization-deadline=8s",
    "--unknown-outcome-deadline=9s",
    "--payment-action-deadline=5s",
    "--acceptance-deadline=4s",
    "--draft-valid-for=1s",
    "--deadline-grace=1s",
];

/// Looks until there is something, or panics with what was waited for.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "in vain: {what}");
        thread::sleep(LOOK);
    }
}

/// A name that nobody else in this run uses.
pub fn fresh(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A server that answers the tests that leave it as it is.
pub fn ordinary() -> Shared {
    static RUNNING: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    Shared::of(&RUNNING, &[])
}

/// The same with [`IMPATIENT`] settings.
pub fn impatient() -> Shared {
    static RUNNING: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    Shared::of(&RUNNING, IMPATIENT)
}

/// One whose lists come from a replica that lags by up to three seconds. `None` on real servers, whose replicas have
/// tests of their own.
pub fn lagging() -> Option<Shared> {
    static RUNNING: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    (!is_on_servers()).then(|| Shared::of(&RUNNING, &["--replica-lag=3s"]))
}

fn is_on_servers() -> bool {
    std::env::var("TEST_ENGINE").ok().as_deref() == Some("postgres")
}

/// A server in use by several tests; it ends with the last of them.
pub struct Shared(Arc<Server>);

impl Shared {
    fn of(running: &Mutex<Weak<Server>>, flags: &[&str]) -> Self {
        let mut running = running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(server) = running.upgrade() {
            return Self(server);
        }
        let server = Arc::new(Server::start(flags));
        *running = Arc::downgrade(&server);
        Self(server)
    }
}

impl Deref for Shared {
    type Target = Server;
    fn deref(&self) -> &Server {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.show_log_if_failing();
    }
}

/// A running server, and the client of its demo partner.
pub struct Server {
    pub partner: Client,
    directory: TempDir,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    process: Process,
}

impl Deref for Server {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.partner
    }
}

impl Server {
    /// Starts one with these flags on an empty directory and any port.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[])
    }

    /// The same with these variables in its environment.
    pub fn start_with(flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let environment = [environment, database_of_its_own(directory.path())].concat();
        let process = Process::start(directory.path(), &flags, &environment, "127.0.0.1:0");
        let process = process.unwrap_or_else(|log| panic!("{log}"));
        let keys = demo_env(directory.path());
        let partner = Client { url: process.url.clone(), key: Some(keys["LUNGO_PARTNER_KEY"].clone()) };
        assert_eq!(keys["LUNGO_URL"], process.url);
        Self { partner, directory, flags, environment, process }
    }

    /// Starts another instance on the same database, with a directory of its own and the same keys.
    pub fn beside(&self) -> Self {
        self.beside_with(self.flags.clone())
    }

    /// The same with other flags.
    pub fn beside_with(&self, flags: Vec<String>) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let env = "demo.env";
        std::fs::copy(self.data().join(env), directory.path().join(env)).expect("the first one wrote it");
        let process = Process::start(directory.path(), &flags, &self.environment, "127.0.0.1:0");
        let process = process.unwrap_or_else(|log| panic!("{log}"));
        let partner = Client { url: process.url.clone(), key: self.partner.key.clone() };
        Self { partner, directory, flags, environment: self.environment.clone(), process }
    }

    pub fn data(&self) -> &Path {
        self.directory.path()
    }

    /// A client with another key of `demo.env`.
    pub fn with_key(&self, name: &str) -> Client {
        self.partner.with_key(Some(&demo_env(self.data())[name]))
    }

    /// Ends it as a power cut would.
    pub fn kill_9(&mut self) {
        self.process.child.kill().expect("it can be killed");
        self.process.child.wait().expect("it ends");
    }

    /// Asks it to stop, as an init system does.
    pub fn terminate(&self) {
        let pid = self.process.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("there is a kill").success());
    }

    /// Waits until it has stopped.
    pub fn wait(&mut self) -> ExitStatus {
        let process = &mut self.process;
        until("the server stops", || process.child.try_wait().expect("it can be asked"))
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Starts it again on the same directory and address.
    pub fn restart(&mut self) {
        let address = self.partner.url.strip_prefix("http://").expect("an address").to_owned();
        let (directory, flags, environment) = (self.directory.path(), &self.flags, &self.environment);
        let process =
            until("the server starts again", || match Process::start(directory, flags, environment, &address) {
                Ok(process) => Some(process),
                // Somebody's outgoing connection may have the port for a moment.
                Err(log) if log.contains("cannot listen on") => None,
                Err(log) => panic!("{log}"),
            });
        let before = std::mem::replace(&mut self.process, process);
        self.process.log.lock().unwrap().insert_str(0, &before.log.lock().unwrap());
    }

    /// Has one more flag when it is started again.
    pub fn add_flag(&mut self, flag: String) {
        self.flags.push(flag);
    }

    /// All it wrote so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    fn show_log_if_failing(&self) {
        if thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(20_000).map_or(0, |(at, _)| at);
            eprintln!("--- the end of the server's log ---\n{}", &log[from..]);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.show_log_if_failing();
    }
}

/// Which file of a server's data names the database that holds everything durable, where that is none of the files.
const DATABASE: &str = "database.url";

/// `TEST_ENGINE=postgres` runs every server of the tests on a database of its own on real servers.
fn database_of_its_own(data: &Path) -> Vec<(String, String)> {
    if !is_on_servers() {
        return Vec::new();
    }
    let cluster = postgres::shared().expect("PostgreSQL, as was asked for");
    std::fs::write(data.join(DATABASE), cluster.fresh_database().primary).expect("a writable directory");
    database(data)
}

/// What the program has to have in its environment to find the database of a server.
pub fn database(data: &Path) -> Vec<(String, String)> {
    let url = std::fs::read_to_string(data.join(DATABASE)).ok();
    url.map(|url| ("LUNGO_DATABASE".to_owned(), url)).into_iter().collect()
}

/// The simulated gateway as a process of its own, which speaks like Stripe. It keeps its ledger among the data of the
/// server that works with it, where `lungo simulator` finds it.
pub struct GatewayProcess {
    url: String,
    command: Box<dyn Fn() -> Command>,
    process: Option<Process>,
}

/// What both sides of the callbacks know.
pub const WEBHOOK_SECRET: &str = "whsec_of_the_tests";

impl GatewayProcess {
    /// Starts a server with these flags, and the gateway that it works with.
    pub fn start(flags: &[&str]) -> (Server, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let secrets = format!("whsec_of_yesterday,{WEBHOOK_SECRET}");
        let environment = [
            ("LUNGO_GATEWAY", "stripe"),
            ("LUNGO_STRIPE_URL", &*format!("http://{address}")),
            ("LUNGO_STRIPE_KEY", "sk_test_51"),
            ("LUNGO_STRIPE_WEBHOOK_SECRETS", &secrets),
        ];
        let server = Server::start_with(flags, &environment);
        let (ledger, url) = (server.data().join("gateway-ledger.jsonl"), server.url.clone());
        let gateway_url = format!("http://{address}");
        let command = Box::new(move || {
            let mut command = lungo();
            command
                .args(["simulator", "--listen", &address, "--webhook-url"])
                .arg(format!("{url}/v1/callbacks/stripe"));
            command.env("LUNGO_WEBHOOK_SECRET", WEBHOOK_SECRET).arg("--ledger").arg(&ledger);
            command
        });
        let mut gateway = Self { url: gateway_url, command, process: None };
        gateway.restart();
        (server, gateway)
    }

    /// Where it listens: a host and a port.
    #[cfg(feature = "otlp")]
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("an address")
    }

    /// A person, or a bank, does something to the payment of that name at the gateway.
    pub fn by_hand(&self, reference: &str, what: &str, amount: Option<i64>) {
        let form = amount.map(|amount| format!("amount={amount}")).unwrap_or_default();
        let request = HTTP.post(format!("{}/simulator/payments/{reference}/{what}", self.url)).bearer_auth("sk_test_1");
        let answer = request.header("content-type", "application/x-www-form-urlencoded").body(form).send();
        assert_eq!(answer.expect("an answer").status(), 200, "{what}");
    }

    pub fn kill_9(&mut self) {
        drop(self.process.take());
    }

    /// Stops it without ending it (`-STOP`), or has it go on (`-CONT`).
    pub fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().expect("it runs").child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("there is a kill").success());
    }

    pub fn restart(&mut self) {
        self.process = Some(until("the gateway starts", || match Process::listening(&mut (self.command)()) {
            Ok(process) => Some(process),
            Err(log) if log.contains("cannot listen on") => None,
            Err(log) => panic!("{log}"),
        }));
    }
}

/// The binary, without any setting of this process's environment.
pub fn lungo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lungo"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LUNGO_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command that ends by itself, and returns how it ended and all it wrote.
pub fn run(mut command: Command) -> (ExitStatus, String) {
    let mut process = Process::spawn(&mut command).0;
    let ended = until("the command ends", || process.child.try_wait().expect("it can be asked"));
    until("its last words", || (Arc::strong_count(&process.log) == 1).then_some(()));
    let log = process.log.lock().unwrap().clone();
    (ended, log)
}

/// What `lungo simulator --json` finds, and whether it says that all is well.
pub fn reconcile(data: &Path) -> (bool, Vec<Value>) {
    let output =
        lungo().args(["simulator", "--json", "--data"]).arg(data).envs(database(data)).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let found = serde_json::from_str(&text).unwrap_or_else(|fault| {
        panic!("{fault}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.success(), found)
}

/// A process that says where it listens; it ends with this.
pub struct Process {
    child: Child,
    pub url: String,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts the server and waits until it is ready. The error is what it wrote before it gave up.
    fn start(data: &Path, flags: &[String], environment: &[(String, String)], listen: &str) -> Result<Self, String> {
        let mut command = lungo();
        command.args(flags).env("LUNGO_LOG", "lungo=debug,lungo::web::edge=warn");
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.arg("--data").arg(data).args(["--listen", listen]);
        let process = Self::listening(&mut command)?;
        let url = format!("{}/readyz", process.url);
        until("the server is ready", || HTTP.get(&url).send().ok().filter(|answer| answer.status() == 200));
        // While it certainly answers: a test may kill it at any time.
        contract::document(&process.url);
        Ok(process)
    }

    /// Starts anything that says where it listens. The error is what it wrote before it gave up.
    pub fn listening(command: &mut Command) -> Result<Self, String> {
        let (mut process, lines) = Self::spawn(command);
        let end = Instant::now() + PATIENCE;
        process.url = loop {
            match lines.recv_timeout(LOOK) {
                Ok(line) => match line.split_once("listening on ").and_then(|(_, rest)| rest.split(' ').next()) {
                    Some(url) => break url.to_owned(),
                    None => continue,
                },
                Err(RecvTimeoutError::Timeout) if Instant::now() < end => {}
                Err(_) => {
                    let _ = process.child.kill();
                    let _ = process.child.wait();
                    until("its last words", || (Arc::strong_count(&process.log) == 1).then_some(()));
                    return Err(process.log.lock().unwrap().clone());
                }
            }
        };
        Ok(process)
    }

    /// All it wrote so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Starts anything; its lines on standard output come one by one, and all it writes is kept.
    fn spawn(command: &mut Command) -> (Self, mpsc::Receiver<String>) {
        let mut child = command.spawn().expect("the binary runs");
        let log = Arc::new(Mutex::new(String::new()));
        let (told, lines) = mpsc::channel();
        let out = child.stdout.take().expect("it is piped");
        let errors = child.stderr.take().expect("it is piped");
        keep(out, log.clone(), move |line| drop(told.send(line.to_owned())));
        keep(errors, log.clone(), |_| {});
        (Self { child, url: String::new(), log }, lines)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep(from: impl Read + Send + 'static, log: Arc<Mutex<String>>, each: impl Fn(&str) + Send + 'static) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            each(&line);
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

pub fn demo_env(data: &Path) -> HashMap<String, String> {
    let path: PathBuf = data.join("demo.env");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

/// Every call has a connection of its own, so that no call meets one that a killed server left behind.
static HTTP: LazyLock<Http> = LazyLock::new(|| {
    lungo::tls::install();
    let builder = Http::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(30)).no_proxy();
    builder.redirect(reqwest::redirect::Policy::none()).build().expect("a client")
});

/// One who calls the API with one key.
#[derive(Clone)]
pub struct Client {
    pub url: String,
    pub key: Option<String>,
}

impl Client {
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { url: self.url.clone(), key: key.map(str::to_owned) }
    }

    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        Call { client: self, method: method.parse().expect("a method"), path: path.into(), headers: vec![], body: None }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send()
    }

    pub fn create(&self, body: &Value) -> Answer {
        self.call("POST", "/v1/orders").json(body).send()
    }

    /// Creates an order that must be accepted, under a key of its own.
    #[track_caller]
    pub fn created(&self, body: &Value) -> Value {
        let key = fresh("key");
        self.call("POST", "/v1/orders").header("Idempotency-Key", &key).json(body).send().expect(202).body
    }

    #[track_caller]
    pub fn order(&self, id: &str) -> Value {
        self.get(&format!("/v1/orders/{id}")).expect(200).body
    }

    #[track_caller]
    pub fn ongoing(&self, customer: &str) -> Answer {
        self.get(&format!("/v1/orders/ongoing?customer_id={customer}")).expect(200)
    }

    pub fn cancel(&self, id: &str) -> Answer {
        self.call("POST", &format!("/v1/orders/{id}/cancel")).send()
    }

    #[track_caller]
    pub fn events(&self, id: &str) -> Vec<Value> {
        self.get(&format!("/v1/orders/{id}/events")).expect(200).body["events"].as_array().unwrap().clone()
    }

    /// The types of an order's events.
    #[track_caller]
    pub fn story(&self, id: &str) -> Vec<String> {
        self.events(id).iter().map(|event| text(&event["type"])).collect()
    }

    /// Waits for a status, and gives up at once when the order ended with another one.
    #[track_caller]
    pub fn wait_for_status(&self, id: &str, status: &str) -> Value {
        self.wait_for(id, status, |order| {
            assert!(order["status"] == status || order["ongoing"] == true, "{order:#}\n{:#?}", self.events(id));
            order["status"] == status
        })
    }

    /// Waits until the order's payment is `status`.
    #[track_caller]
    pub fn wait_for_payment(&self, id: &str, status: &str) -> Value {
        self.wait_for(id, status, |order| order["payment"]["status"] == status)
    }

    #[track_caller]
    pub fn wait_for(&self, id: &str, what: &str, mut is_it: impl FnMut(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let order = self.order(id);
            if is_it(&order) {
                return order;
            }
            assert!(Instant::now() < end, "never `{what}`: {order:#}\n{:#?}", self.events(id));
            thread::sleep(LOOK);
        }
    }
}

impl Client {
    /// What a browser finds on a page of the simulated bank, or after sending its form.
    #[track_caller]
    pub fn visit(&self, method: &str, path: &str, form: &str) -> String {
        let request = HTTP.request(method.parse().expect("a method"), format!("{}{path}", self.url));
        let form_type = "application/x-www-form-urlencoded";
        let answer = request.header("content-type", form_type).body(form.to_owned()).send().expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.text().expect("text")
    }
}

/// A call being made.
pub struct Call<'c> {
    client: &'c Client,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("Content-Type", content_type)
    }

    /// The answer. Whatever it is, it must be as `/openapi.json` says.
    #[track_caller]
    pub fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        self.try_send().unwrap_or_else(|fault| panic!("{what}: {fault:?}"))
    }

    /// The same, where the server may not be there.
    #[track_caller]
    pub fn try_send(self) -> reqwest::Result<Answer> {
        let mut request = HTTP.request(self.method.clone(), format!("{}{}", self.client.url, self.path));
        if let Some(key) = &self.client.key {
            request = request.bearer_auth(key);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(body) = self.body {
            request = request.body(body);
        }
        let answer = request.send()?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text()?;
        let is_json = headers.get("content-type").is_some_and(|kind| kind.to_str().unwrap().ends_with("json"));
        let body = if is_json && !text.is_empty() { serde_json::from_str(&text).expect("JSON") } else { Value::Null };
        let answer = Answer { status, headers, body, text };
        contract::check(&self.client.url, self.method.as_str(), &self.path, &answer);
        Ok(answer)
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// A problem with this status and code.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, text(&self.body["code"]).as_str()), (status, code), "{}", self.text);
        self
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.maybe(name).unwrap_or_else(|| panic!("there is no {name}: {self:#?}"))
    }

    pub fn maybe(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    pub fn id(&self) -> String {
        text(&self.body["order_id"])
    }

    /// The `pointer` and `code` of each fault.
    pub fn faults(&self) -> Vec<(String, String)> {
        let faults = self.body["errors"].as_array().cloned().unwrap_or_default();
        faults.iter().map(|fault| (text(&fault["pointer"]), text(&fault["code"]))).collect()
    }
}

/// The text of a JSON string; empty for anything else.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The ids of a list of orders.
pub fn ids(orders: &Value) -> Vec<String> {
    orders.as_array().expect("a list").iter().map(|order| text(&order["order_id"])).collect()
}

/// Two lungos with oat milk, as in the contract.
pub fn two_lungos(customer: &str) -> Value {
    json!({
        "customer_id": customer, "shop_id": CENTRAL,
        "lines": [{"item_id": "lungo", "quantity": 2, "options": ["milk_oat"]}],
        "total": {"amount": 820, "currency": "EUR"}, "payment": {"method": "pm_card_visa"},
    })
}

/// So many teas, paid by that method, with that wish to the simulated shop.
pub fn teas(customer: &str, quantity: i64, method: &str, simulate: Option<&str>) -> Value {
    let mut body = json!({
        "customer_id": customer, "shop_id": CENTRAL, "lines": [{"item_id": "tea", "quantity": quantity}],
        "total": {"amount": 300 * quantity, "currency": "EUR"}, "payment": {"method": method},
    });
    if let Some(simulate) = simulate {
        body["metadata"] = json!({"simulate": simulate});
    }
    body
}

/// The beginning of the quarter of an hour that is so many quarters ahead.
pub fn quarter(ahead: i64) -> String {
    let now = Utc::now().timestamp();
    at((now.div_euclid(900) + ahead) * 900)
}

pub fn at(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).expect("an instant").to_rfc3339_opts(SecondsFormat::Millis, true)
}
