//! What the service exists for: list, create, crash of the app, list, create; a thousand apps at the same time, against
//! two instances and two replicas. All the while one of the replicas is paused, or both are, and one of the instances killed
//! and started again, whichever and whenever. It is one order for each intent, and no list is older than its token, nor than it
//! says itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Cluster, flags, is_there, list};
use crate::server::{Answer, Client, Server, text, two_lungos};

const INTENTS: u64 = 1000;
/// Within so many milliseconds each app is opened for the first time: half of them in a rush that keeps everybody waiting,
/// the others while answers come so fast that a replica that stands still has not been noticed yet.
const OPENED_WITHIN: [u64; 2] = [2_000, 20_000];
/// How long one of them may take, kills and pauses included.
const PATIENCE: Duration = Duration::from_secs(180);
/// A replica that has stood still for so long is not read from without a token. More than by default, so that it is up to
/// the tokens, and where there is none to admission.
const MAX_STALENESS: &str = "--max-staleness=500ms";
const STALENESS: TimeDelta = TimeDelta::milliseconds(500);
/// By how much the clocks of two servers on one machine may seem to differ.
const CLOCKS: TimeDelta = TimeDelta::milliseconds(50);

/// How often what happened.
#[derive(Default)]
struct Tally(Mutex<BTreeMap<String, usize>>);

impl Tally {
    fn count(&self, what: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what.into()).or_default() += 1;
    }

    /// Of all that begins so.
    fn of(&self, what: &str) -> usize {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.iter().filter(|(name, _)| name.starts_with(what)).map(|(_, times)| times).sum()
    }
}

/// One intent of one customer, whose app crashes once, at the worst moment: it has sent its order.
struct App<'a> {
    customer: String,
    instances: &'a [Client; 2],
    tally: &'a Tally,
    chance: StdRng,
    /// Whether it writes down its position, and its key, before it needs them.
    keeps_token: bool,
    keeps_key: bool,
    key: Option<String>,
    token: Option<String>,
    /// The orders that it has seen at its token, and their versions.
    seen: BTreeMap<String, i64>,
    /// What it need not know: an order that was there by then.
    committed: Option<(String, DateTime<Utc>)>,
}

impl App<'_> {
    /// Gets its coffee, and gives the order's id.
    fn run(mut self) -> String {
        let comes_in_the_rush = self.chance.random_bool(0.5);
        self.wait(OPENED_WITHIN[usize::from(!comes_in_the_rush)]);
        let end = Instant::now() + PATIENCE;
        let mut has_crashed = false;
        thread::scope(|scope| {
            let mut stray = None;
            let id = loop {
                assert!(Instant::now() < end, "{} waits in vain", self.customer);
                let Some(revision) = self.look() else {
                    self.wait(50);
                    continue;
                };
                if let Some(id) = self.seen.keys().next() {
                    break id.clone();
                }
                let call = self.order(&revision);
                if has_crashed {
                    if let Some(id) = self.judge(call()) {
                        break id;
                    }
                    self.wait(50);
                    continue;
                }
                has_crashed = true;
                if self.chance.random_bool(0.5) {
                    self.tally.count("crash before the answer");
                    stray = Some(scope.spawn(call));
                } else {
                    self.tally.count("crash after the answer");
                    self.judge(call());
                }
                self.crash();
                self.wait_or_not(1_000);
            };
            if let Some(answer) = stray.map(|stray| stray.join().expect("it is only a call")) {
                let its = self.judge(answer);
                assert!(its.is_none_or(|its| its == id), "{}: two orders for one intent", self.customer);
            }
            // It goes on looking, as an app does, and loses its memory once more: then it may be shown what was before.
            let mut looks = 0;
            while looks < 6 || !self.seen.contains_key(&id) {
                assert!(Instant::now() < end, "{} waits in vain for {id}", self.customer);
                looks += usize::from(self.look().is_some());
                if looks == 3 {
                    self.token = None;
                    self.seen.clear();
                }
                self.wait_or_not(300);
            }
            id
        })
    }

    fn wait(&mut self, most: u64) {
        sleep(&mut self.chance, 0..most);
    }

    /// While all is still under way, or later.
    fn wait_or_not(&mut self, most: u64) {
        let most = if self.chance.random_bool(0.5) { 10 } else { most };
        self.wait(most);
    }

    fn any(&mut self) -> Client {
        self.instances[self.chance.random_range(0..2)].clone()
    }

    fn crash(&mut self) {
        if !self.keeps_token {
            self.token = None;
            self.seen.clear();
        }
        if !self.keeps_key {
            self.key = self.key.take().map(|key| key + "-again");
        }
    }

    /// Lists, and gives the revision; `None` if there was no answer or an error, which is never a list.
    fn look(&mut self) -> Option<String> {
        let sent = Utc::now();
        let Ok(answer) = list(&self.any(), &self.customer, self.token.as_deref()) else {
            self.tally.count("list: no answer");
            return None;
        };
        if answer.status != 200 {
            self.tally.count(format!("list: {} {}", answer.status, text(&answer.body["code"])));
            assert!(matches!(answer.status, 408 | 503), "{}: {}", self.customer, answer.text);
            return None;
        }
        let with = if self.token.is_some() { "with" } else { "without" };
        self.tally.count(format!("list: from a {} {with} a token", text(&answer.body["source"])));
        let told = |what: &str| format!("{}: {what}: {}", self.customer, answer.text);
        let both = ["orders", "recently_closed"].map(|member| answer.body[member].as_array().expect("a list"));
        let shown: BTreeMap<String, i64> = both
            .into_iter()
            .flatten()
            .map(|order| (text(&order["order_id"]), order["version"].as_i64().expect("a number")))
            .collect();
        assert!(shown.len() <= 1, "{}", told("a second coffee"));
        let is_there = |(id, version)| shown.get(id).is_some_and(|shown| shown >= version);
        assert!(self.seen.iter().all(is_there), "{}", told(&format!("older than its token: {:?}", self.seen)));
        let as_of: DateTime<Utc> = text(&answer.body["as_of"]).parse().expect("an instant");
        if let Some((id, at)) = &self.committed {
            assert!(as_of < *at + CLOCKS || shown.contains_key(id), "{}", told(&format!("{id} was there at {at}")));
        }
        if self.token.is_none() {
            assert!(as_of >= sent - STALENESS - CLOCKS, "{}", told(&format!("asked at {sent}")));
        }
        if let Some(id) = shown.keys().next() {
            self.committed.get_or_insert_with(|| (id.clone(), Utc::now()));
        }
        self.token = Some(answer.header("lungo-position").to_owned());
        self.seen = shown;
        Some(text(&answer.body["revision"]))
    }

    /// Its order, ready to be sent. An app that has just listed may say what it saw, or have a key, or neither.
    fn order(&mut self, revision: &str) -> impl FnOnce() -> reqwest::Result<Answer> + Send + use<> {
        let (instance, body, key) = (self.any(), two_lungos(&self.customer), self.key.clone());
        let revision = self.chance.random_bool(0.5).then(|| format!("\"{revision}\""));
        move || {
            let mut call = instance.call("POST", "/v1/orders").json(&body);
            for (name, value) in [("If-Match", revision), ("Idempotency-Key", key)] {
                call = value.iter().fold(call, |call, value| call.header(name, value));
            }
            call.try_send()
        }
    }

    /// What came of its order: the id, or a reason to list again.
    fn judge(&mut self, answer: reqwest::Result<Answer>) -> Option<String> {
        let Ok(answer) = answer else {
            self.tally.count("create: no answer");
            return None;
        };
        let code = text(&answer.body["code"]);
        self.tally.count(format!("create: {} {code}", answer.status));
        match (answer.status, code.as_str()) {
            (202, _) => {
                let id = answer.id();
                self.committed.get_or_insert_with(|| (id.clone(), Utc::now()));
                self.token = Some(answer.header("lungo-position").to_owned());
                self.seen = BTreeMap::from([(id.clone(), answer.body["version"].as_i64().expect("a number"))]);
                Some(id)
            }
            (409, "similar_order_ongoing") | (412, "stale_revision") | (408 | 503, _) => None,
            _ => panic!("{}: {} {}", self.customer, answer.status, answer.text),
        }
    }
}

fn sleep(chance: &mut StdRng, millis: Range<u64>) {
    thread::sleep(Duration::from_millis(chance.random_range(millis)));
}

#[test]
fn a_crash_of_the_app_never_makes_a_second_coffee() {
    if !is_there() {
        return;
    }
    let seed = std::env::var("TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("TEST_SEED={seed}");
    let of = |part: u64| StdRng::seed_from_u64(seed.wrapping_add(part));
    let cluster = Cluster::start(2, false);
    let database = cluster.fresh_database();
    let flags = flags(&cluster, &database);
    // Nobody makes any of them: every order stays in its customer's list.
    let one =
        Server::start(&flags.iter().map(String::as_str).chain(["--pace=zero", MAX_STALENESS]).collect::<Vec<_>>());
    let other = one.beside();
    let clients = [one.partner.clone(), other.partner.clone()];
    let (tally, is_done, began) = (Tally::default(), AtomicBool::new(false), Instant::now());
    let mut ids = thread::scope(|scope| {
        let apps = (0..INTENTS).map(|number| {
            let mut chance = of(number);
            let app = App {
                customer: format!("seed-{number}"),
                instances: &clients,
                tally: &tally,
                keeps_token: chance.random_bool(0.5),
                keeps_key: chance.random_bool(0.5),
                key: chance.random_bool(0.5).then(|| format!("intent-{number}")),
                chance,
                token: None,
                seen: BTreeMap::new(),
                committed: None,
            };
            scope.spawn(|| app.run())
        });
        let apps: Vec<_> = apps.collect();
        let pausing = scope.spawn(|| {
            let mut chance = of(INTENTS);
            while !is_done.load(Ordering::Relaxed) {
                // Now and then both: where one of them goes on, a slow machine may never need the primary.
                let paused = [0..1, 1..2, 0..2][chance.random_range(0..3)].clone();
                paused.clone().for_each(|replica| cluster.pause_replay(replica));
                sleep(&mut chance, 50..1_000);
                for replica in paused {
                    cluster.resume_replay(replica);
                    tally.count(format!("pause of replica {replica}"));
                }
                sleep(&mut chance, 10..200);
            }
        });
        let killing = scope.spawn(|| {
            let (mut chance, mut instances) = (of(INTENTS + 1), [one, other]);
            while !is_done.load(Ordering::Relaxed) {
                sleep(&mut chance, 500..3_000);
                let instance = chance.random_range(0..2);
                instances[instance].kill_9();
                tally.count(format!("kill of instance {instance}"));
                sleep(&mut chance, 0..1_500);
                instances[instance].restart();
            }
        });
        let ended: Vec<_> = apps.into_iter().map(|app| app.join()).collect();
        is_done.store(true, Ordering::Relaxed);
        pausing.join().expect("replicas pause and go on");
        killing.join().expect("instances are killed and start again");
        ended.into_iter().map(|id| id.expect("it gets its coffee")).collect::<Vec<String>>()
    });
    println!("{INTENTS} intents in {:.1?}", began.elapsed());
    tally.0.lock().unwrap().iter().for_each(|(what, times)| println!("{times:>6}  {what}"));
    ids.sort();
    let stored = database.psql("SELECT id FROM orders ORDER BY id::text");
    assert_eq!(stored.lines().collect::<Vec<_>>(), ids, "every order is of an intent, every intent has its own");
    let told = database.psql("SELECT count(*), count(DISTINCT order_id) FROM order_events WHERE version = 1");
    assert_eq!(told, format!("{INTENTS}|{INTENTS}"), "orders that were born, by the log");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), INTENTS as usize);
    for what in [
        "list: from a replica with a",
        "list: from a replica without",
        "list: from a primary",
        "create: 409",
        "create: 412",
        "crash before",
        "crash after",
        "pause of replica 0",
        "pause of replica 1",
        "kill",
    ] {
        assert!(tally.of(what) > 0, "this never happened: {what}: {:?}", tally.0);
    }
}
