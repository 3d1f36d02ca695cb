//! Several instances on one database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Intent, flags, shared, until_at_last};
use crate::server::{Client, GatewayProcess, IMPATIENT, LOOK, PATIENCE, fresh, lungo, text, two_lungos, until};

const PHONES: usize = 4;

/// What the simulated shop of the dead instance had begun to make, or had ready, nobody finishes: that ends by these.
const DEADLINES: &[&str] = &["--preparation-deadline=6s", "--collection-deadline=6s"];

#[test]
fn what_a_killed_instance_held_goes_on_elsewhere() {
    let Some(cluster) = shared() else { return };
    let database = cluster.fresh_database();
    let mut flags = flags(cluster, &database);
    flags.extend(IMPATIENT.iter().chain(DEADLINES).map(|flag| (*flag).to_owned()));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    // It is told by callbacks, and lives; the other one dies.
    let (survivor, _gateway) = GatewayProcess::start(&flags);
    let mut victim = survivor.beside();
    let (one, other) = (survivor.partner.clone(), victim.partner.clone());
    let ordering = AtomicBool::new(true);
    let (intents, took) = thread::scope(|scope| {
        let phones: Vec<_> = (0..PHONES)
            .map(|phone| {
                let (one, other, ordering) = (&one, &other, &ordering);
                scope.spawn(move || {
                    let mut intents = Vec::new();
                    while ordering.load(Ordering::Relaxed) {
                        let mut intent = Intent::new();
                        let instances = if phone % 2 == 0 { [one, other] } else { [other, one] };
                        intent.insist(&instances, PATIENCE).expect("one of them takes it");
                        intents.push(intent);
                    }
                    intents
                })
            })
            .collect();
        thread::sleep(Duration::from_secs(3));
        victim.kill_9();
        let killed = Instant::now();
        // What is leased at that moment, by whichever of them, is somewhere else before long: the fence tells.
        let leased = database.psql(
            "SELECT coalesce(string_agg(format('(%L::uuid, %s)', id, fence), ', '), '(NULL, NULL)') FROM orders
                 WHERE leased_until > now()",
        );
        let left = format!(
            "SELECT count(*) FROM orders WHERE (id, fence) IN ({leased}) AND stage IS NOT NULL AND parked_at IS NULL"
        );
        until_at_last("nothing waits for the dead", || (database.psql(&left) == "0").then_some(()));
        let took = killed.elapsed();
        ordering.store(false, Ordering::Relaxed);
        // As long as the shops are full of what the dead instance left, they wait.
        let intents: Vec<Intent> = phones.into_iter().flat_map(|phone| phone.join().unwrap()).collect();
        (intents, took)
    });
    println!("{} orders; the last lease was taken over {took:.1?} after the kill", intents.len());
    for intent in &intents {
        survivor.wait_for(intent.id.as_ref().expect("it was accepted"), "over", |order| order["ongoing"] == false);
    }
    assert_eq!(database.psql("SELECT count(*) FROM orders"), intents.len().to_string());
    let simulator = ["simulator", "--json", flags[0], "--data"];
    let findings = until("the money is settled", || {
        let output = lungo().args(simulator).arg(survivor.data()).output().expect("it runs");
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(&output.stderr)));
        output.status.success().then_some(findings)
    });
    assert_eq!(findings.len(), intents.len(), "there are orders that nobody wanted");
}

#[test]
fn an_order_is_never_unknown_to_another_instance() {
    let Some(cluster) = shared() else { return };
    let database = cluster.fresh_database();
    let flags = flags(cluster, &database);
    let one = crate::server::Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let other = one.beside();
    for _ in 0..30 {
        let customer = fresh("cus");
        let created = one.created(&two_lungos(&customer));
        let id = text(&created["order_id"]);
        other.order(&id);
        // Nobody but the other instance has written for this customer: without a token its list may miss the last
        // moment, and no more than that.
        until("the list has it", || super::shown(&other.ongoing(&customer).body).contains(&id).then_some(()));
        thread::sleep(LOOK);
    }
    // What one has created is the same order to the other, and one key is one order.
    let mut intent = Intent::new();
    for instance in [&one.partner, &other.partner, &one.partner] {
        intent.insist(&[instance], Duration::from_secs(10)).expect("it is taken");
    }
}

/// Every page of the console, as an administrator sees it.
fn page(instance: &Client, path: &str) -> (u16, String) {
    let answer = instance.call("GET", path).header("Cookie", "lungo_session=secret").try_send().expect("an answer");
    (answer.status, answer.text)
}

#[test]
fn the_console_shows_who_works_and_every_page_of_it_can_be_read() {
    let Some(cluster) = shared() else { return };
    let database = cluster.fresh_database();
    let both = flags(cluster, &database);
    let with = |stages: &str| -> Vec<String> { both.iter().cloned().chain([format!("--stages={stages}")]).collect() };
    let start =
        |flags: Vec<String>| crate::server::Server::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let one = start(with("payment"));
    let id = text(&one.created(&two_lungos(&fresh("cus")))["order_id"]);
    database.psql(
        "INSERT INTO users VALUES (gen_random_uuid(), 'ada', NULL, 'admin', now(), NULL);
         INSERT INTO sessions SELECT sha256('secret'), gen_random_uuid(), id, 'a', 'b', now(), now(), NULL FROM users WHERE name = 'ada'",
    );
    let anonymous = one.partner.with_key(None);
    let stages = |wanted: &dyn Fn(&str) -> bool| {
        until_at_last("the stages are told", || wanted(&page(&anonymous, "/console/stages").1).then_some(()));
    };
    stages(&|page| page.contains("Nobody works the stage offer") && !page.contains("Nobody works the stage capture"));

    let mut other = one.beside_with(with("shop"));
    stages(&|page| !page.contains("Nobody works") && page.matches("badge good\">there").count() == 2);
    stages(&|page| page.matches("badge good\">proven").count() == 2 * database.replicas.len());
    // Who is asked about an order for long is known by name, also where two could hold it.
    let silent = text(&one.created(&crate::server::teas(&fresh("cus"), 1, "pm_silent", None))["order_id"]);
    stages(&|page| {
        let its_row = page.split("</tr>").find(|row| row.contains(&silent));
        its_row.is_some_and(|row| row.contains("authorize") && row.contains("<span class=\"mono\">"))
    });
    for path in [
        "/console",
        "/console/live",
        "/console/orders",
        "/console/orders?tab=struggling",
        "/console/orders?tab=parked",
        "/console/orders?tab=late",
        "/console/orders?tab=done",
        "/console/orders?q=age%3C1h",
        "/console/money",
        "/console/shops",
        "/console/stages",
        "/console/bulk",
        "/console/partners",
        "/console/requests",
        "/console/audit",
        "/console/users",
        "/console/me",
        "/console/drills",
        &format!("/console/orders/{id}"),
        &format!("/console/money/{id}"),
        &format!("/console/requests?q={id}"),
    ] {
        let (status, page) = page(&anonymous, path);
        assert_eq!(status, 200, "{path}: {page}");
    }
    other.kill_9();
    stages(&|page| page.contains("Nobody works the stage offer") && page.contains("Nothing was heard of"));
    assert_eq!(database.psql("SELECT count(*) FROM instances"), "2");
}
