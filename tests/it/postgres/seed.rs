//! What the service exists for: list, create, crash of the app, list, create. Against two instances and two replicas of
//! which any may be paused, and one instance that is killed, it is one order for each intent, and no list is older than
//! its token.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Cluster, flags, is_there, list, shown};
use crate::server::{Client, LOOK, Server, text, two_lungos};

const INTENTS: usize = 1000;
const PHONES: usize = 40;
/// How long one of them may take, kills and pauses included.
const PATIENCE: Duration = Duration::from_secs(90);

static LISTS: AtomicUsize = AtomicUsize::new(0);
static FROM_REPLICAS: AtomicUsize = AtomicUsize::new(0);

/// One intent of one customer whose app crashes once, at the worst moment: it has sent its order and knows of nothing
/// any more, neither key nor token.
fn order_with_a_crash(instances: &[&Client], customer: &str, chance: &mut StdRng) -> String {
    let end = Instant::now() + PATIENCE;
    let mut crashes = 1;
    let mut token: Option<String> = None;
    let mut seen = BTreeSet::new();
    loop {
        assert!(Instant::now() < end, "{customer} waits in vain");
        let any = |chance: &mut StdRng| instances[chance.random_range(0..instances.len())];
        let Some(answer) = list(any(chance), customer, token.as_deref()).ok().filter(|answer| answer.status == 200)
        else {
            thread::sleep(LOOK);
            continue;
        };
        LISTS.fetch_add(1, Ordering::Relaxed);
        FROM_REPLICAS.fetch_add(usize::from(answer.body["source"] == "replica"), Ordering::Relaxed);
        token = Some(answer.header("lungo-position").to_owned());
        let shown = shown(&answer.body);
        assert!(seen.iter().all(|id| shown.contains(id)), "{customer}: {seen:?} were seen, now {}", answer.text);
        seen.extend(shown.iter().cloned());
        assert!(shown.len() <= 1, "{customer}: a second coffee: {}", answer.text);
        if let Some(id) = shown.into_iter().next() {
            return id;
        }
        let revision = format!("\"{}\"", text(&answer.body["revision"]));
        let mut call = any(chance).call("POST", "/v1/orders").json(&two_lungos(customer));
        // An app that has just listed says what it saw; admission guards one that does not as well.
        if chance.random_bool(0.5) {
            call = call.header("If-Match", &revision);
        }
        let created = call.try_send();
        if crashes > 0 {
            crashes -= 1;
            (token, seen) = (None, BTreeSet::new());
            continue;
        }
        match created {
            Ok(answer) if answer.status == 202 => return answer.id(),
            Ok(answer) => assert!([409, 412, 503].contains(&answer.status), "{customer}: {}", answer.text),
            Err(_) => thread::sleep(LOOK),
        }
    }
}

#[test]
fn a_crash_of_the_app_never_makes_a_second_coffee() {
    if !is_there() {
        return;
    }
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let cluster = Cluster::start(2, false);
    let database = cluster.fresh_database();
    let flags = flags(&cluster, &database);
    // Nobody makes any of them: every order stays in its customer's list.
    let one = Server::start(&flags.iter().map(String::as_str).chain(["--pace=zero"]).collect::<Vec<_>>());
    let mut other = one.beside();
    let (first, second) = (one.partner.clone(), other.partner.clone());
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let orders: Vec<String> = thread::scope(|scope| {
        let phones: Vec<_> = (0..PHONES as u64)
            .map(|phone| {
                let (instances, next) = ([&first, &second], &next);
                scope.spawn(move || {
                    let mut chance = StdRng::seed_from_u64(seed ^ phone);
                    let mut orders = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= INTENTS {
                            return orders;
                        }
                        orders.push(order_with_a_crash(&instances, &format!("seed-{number}"), &mut chance));
                    }
                })
            })
            .collect();
        let pausing = scope.spawn(|| {
            let mut chance = StdRng::seed_from_u64(!seed);
            while !done.load(Ordering::Relaxed) {
                let replica = chance.random_range(0..2);
                cluster.pause_replay(replica);
                thread::sleep(Duration::from_millis(chance.random_range(50..500)));
                cluster.resume_replay(replica);
                thread::sleep(Duration::from_millis(chance.random_range(50..200)));
            }
        });
        // At a moment that nobody knows, somewhere in the middle.
        let at = StdRng::seed_from_u64(seed).random_range(INTENTS / 4..INTENTS * 3 / 4);
        while next.load(Ordering::Relaxed) < at {
            thread::sleep(LOOK);
        }
        other.kill_9();
        println!("an instance was killed at intent {at}");
        let orders: Vec<String> =
            phones.into_iter().flat_map(|phone| phone.join().expect("it gets its coffee")).collect();
        done.store(true, Ordering::Relaxed);
        pausing.join().expect("replicas pause and go on");
        orders
    });
    println!("{INTENTS} intents in {:.1?}", began.elapsed());
    let distinct: BTreeSet<&String> = orders.iter().collect();
    assert_eq!((orders.len(), distinct.len()), (INTENTS, INTENTS));
    let counts = database.psql("SELECT count(*), count(DISTINCT customer_id) FROM orders");
    assert_eq!(counts, format!("{INTENTS}|{INTENTS}"), "orders, and customers who have one");
    let [from_replicas, all] = [&FROM_REPLICAS, &LISTS].map(|count| count.load(Ordering::Relaxed));
    println!("{all} lists, {from_replicas} of them from replicas");
    assert!(from_replicas > 0, "replicas were not asked at all");
}
