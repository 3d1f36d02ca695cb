//! Lists from replicas: fresh enough, or from elsewhere, or an error; never old, and never empty by mistake.

use std::thread;
use std::time::{Duration, Instant};

use lungo::store::Position;

use super::{Cluster, Intent, Node, flags, is_there, list, shown, until_at_last};
use crate::server::{Answer, Client, Server, fresh, ids, text, two_lungos, until};

fn start(cluster: &Cluster) -> Server {
    let database = cluster.fresh_database();
    let flags = flags(cluster, &database);
    Server::start(&flags.iter().map(String::as_str).chain(["--pace=zero"]).collect::<Vec<_>>())
}

/// The list has the order from the first answer on, whoever answers.
#[track_caller]
fn source_of(server: &Server, customer: &str, order: &str, token: Option<&str>) -> String {
    let answer = list(&server.partner, customer, token).expect("it answers").expect(200);
    assert_eq!(ids(&answer.body["orders"]), [order], "{}", answer.text);
    text(&answer.body["source"])
}

#[test]
fn replicas_serve_lists_while_they_are_fresh_and_nobody_needs_them() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(2, false);
    let server = start(&cluster);
    let create = || {
        let customer = fresh("cus");
        let answer = server.call("POST", "/v1/orders").json(&two_lungos(&customer)).send().expect(202);
        (customer, answer.id(), answer.header("lungo-position").to_owned())
    };
    let from_a_replica = |what: &str| {
        let (customer, id, token) = create();
        until(what, || (source_of(&server, &customer, &id, Some(&token)) == "replica").then_some(()));
        until(what, || (source_of(&server, &customer, &id, None) == "replica").then_some(()));
    };
    from_a_replica("replicas are in use");

    // Frozen in the past: what has just been written is seen by whoever wrote it, with and without a token.
    for replica in [0, 1] {
        cluster.pause_replay(replica);
    }
    thread::sleep(Duration::from_millis(300));
    let (customer, id, token) = create();
    assert_eq!(source_of(&server, &customer, &id, Some(&token)), "primary");
    assert_eq!(source_of(&server, &customer, &id, None), "primary");
    // By an instance that has not written it, too: nothing is proven of a replica that stands still.
    let other = server.beside();
    assert_eq!(source_of(&other, &customer, &id, None), "primary");
    drop(other);
    cluster.resume_replay(1);
    from_a_replica("the one that replays is in use");
    cluster.resume_replay(0);

    // Gone: one, then both, without a word.
    cluster.stop_replica(0, true);
    from_a_replica("the other one is in use");
    cluster.stop_replica(1, true);
    let (customer, id, token) = create();
    assert_eq!(source_of(&server, &customer, &id, Some(&token)), "primary");
    cluster.start_replica(0);
    cluster.start_replica(1);
    from_a_replica("they are in use again");

    // Standing still with their connections open: one, which leaves the other to be used, then both. Nobody waits for
    // long.
    cluster.freeze(Node::Replica(0));
    from_a_replica("the one that answers is in use");
    cluster.freeze(Node::Replica(1));
    for _ in 0..5 {
        let (customer, id, token) = create();
        let asked = Instant::now();
        for token in [Some(&*token), None] {
            source_of(&server, &customer, &id, token);
        }
        assert!(asked.elapsed() < Duration::from_secs(10), "a list took {:?}", asked.elapsed());
    }
    cluster.thaw(Node::Replica(0));
    cluster.thaw(Node::Replica(1));
    from_a_replica("they go on");
}

#[test]
fn what_a_list_shows_is_not_newer_than_its_token() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(2, false);
    // Nobody works on the orders: what is written of one is there when it is acknowledged, and its place is told then.
    let flags = flags(&cluster, &cluster.fresh_database());
    let server = Server::start(&flags.iter().map(String::as_str).chain(["--stages=none"]).collect::<Vec<_>>());
    // It does not know of what the other one writes, and asks a replica at once.
    let other = server.beside();
    let place = |answer: &Answer| Position::parse(answer.header("lungo-position")).expect("a position").at.place;
    let mut from_replicas = 0;
    let end = Instant::now() + Duration::from_secs(60);
    while from_replicas < 20 {
        assert!(Instant::now() < end, "{from_replicas} lists were from a replica");
        let customer = fresh("cus");
        let created = server.call("POST", "/v1/orders").json(&two_lungos(&customer)).send().expect(202);
        let listed = until("it is in the list", || {
            let listed = list(&other.partner, &customer, None).expect("it answers").expect(200);
            (ids(&listed.body["orders"]) == [created.id()]).then_some(listed)
        });
        assert!(place(&listed) >= place(&created), "{} shown at {}", place(&created), place(&listed));
        from_replicas += usize::from(listed.body["source"] == "replica");
        // The order itself, on the primary, is told with a place that is no older either.
        let order = other.call("GET", &format!("/v1/orders/{}", created.id())).send().expect(200);
        assert!(place(&order) >= place(&created));
    }
}

#[test]
fn without_a_primary_a_list_is_right_or_an_error() {
    if !is_there() {
        return;
    }
    let cluster = Cluster::start(1, false);
    let server = start(&cluster);
    let customer = fresh("cus");
    let answer = server.call("POST", "/v1/orders").json(&two_lungos(&customer)).send().expect(202);
    let (id, token) = (answer.id(), answer.header("lungo-position").to_owned());
    cluster.catch_up(0);
    until("the replica is in use", || (source_of(&server, &customer, &id, Some(&token)) == "replica").then_some(()));
    cluster.kill_primary();
    for n in 0..20 {
        let token = (n % 2 == 0).then_some(&*token);
        let answer = list(&server.partner, &customer, token).expect("it answers");
        match answer.status {
            200 => assert!(shown(&answer.body).contains(&id), "{}", answer.text),
            _ => {
                answer.expect(503).header("retry-after");
            }
        }
    }
    let mut late = Intent::new();
    assert!(late.insist(&[&server.partner], Duration::from_secs(3)).is_none(), "nobody can accept it");
    cluster.start_primary();
    let back = Instant::now();
    late.insist(&[&server.partner], Duration::from_secs(30)).expect("it goes on by itself");
    println!("the first order was accepted {:.1?} after the primary was back", back.elapsed());
    until_at_last("lists as well", || {
        let answer = list(&server.partner, &customer, Some(&token)).ok()?;
        (answer.status == 200).then(|| assert!(shown(&answer.body).contains(&id), "{}", answer.text))
    });
}

/// A service that asks one replica, while a commit waits for the other one.
fn with_one_ahead(more: &[&str]) -> (Cluster, Server) {
    let cluster = Cluster::start(2, true);
    let database = cluster.fresh_database();
    // Only the replica that will be ahead is asked: one that stands still would keep the other from being looked at.
    let primary = format!("--database={}", database.primary);
    let replica = format!("--replica={}", database.replicas[1]);
    let server = Server::start(&[&[primary.as_str(), &replica], more].concat());
    // A commit waits for the one replica, and the other one shows it meanwhile.
    cluster.set(Node::Primary, "synchronous_standby_names", "replica_0");
    until("one replica counts", || {
        let ask = "SELECT string_agg(application_name, ' ') FROM pg_stat_replication WHERE sync_state = 'sync'";
        (cluster.psql(Node::Primary, ask) == "replica_0").then_some(())
    });
    (cluster, server)
}

/// What has become of an order, by its customer's position if there is one.
fn order(instance: &Client, id: &str, more: &str, token: Option<&str>) -> Answer {
    let call = instance.call("GET", &format!("/v1/orders/{id}{more}"));
    token.into_iter().fold(call, |call, token| call.header("Lungo-Position", token)).send()
}

fn version_of(answer: &Answer) -> i64 {
    let list = ["orders", "recently_closed"].into_iter().find_map(|member| answer.body[member].get(0));
    list.unwrap_or(&answer.body)["version"].as_i64().expect("a number")
}

#[test]
fn what_a_replica_showed_before_the_primary_does_is_not_taken_back() {
    if !is_there() {
        return;
    }
    let (cluster, server) = with_one_ahead(&["--pace=zero"]);
    cluster.freeze(Node::Replica(0));
    let mut intent = Intent::new();
    assert_eq!(intent.call(&server.partner).expect("it answers").status, 503);
    let shows_it = |token: Option<&str>| {
        let answer = list(&server.partner, &intent.customer, token).expect("it answers");
        (answer.status == 200 && shown(&answer.body).len() == 1).then_some(answer)
    };
    let ahead = until_at_last("the other replica shows it", || shows_it(None));
    assert_eq!(ahead.body["source"], "replica");
    let token = ahead.header("lungo-position").to_owned();
    let id = shown(&ahead.body).remove(0);
    cluster.stop_replica(1, true);
    for _ in 0..2 {
        let answer = list(&server.partner, &intent.customer, Some(&token)).expect("it answers");
        assert!(answer.status == 503 || shown(&answer.body).len() == 1, "taken back: {}", answer.text);
        for more in ["", "/events", "/why"] {
            let answer = order(&server.partner, &id, more, Some(&token));
            assert!([200, 503].contains(&answer.status), "{more}: taken back: {}", answer.text);
        }
    }
    cluster.thaw(Node::Replica(0));
    until_at_last("the primary shows it", || shows_it(Some(&token)));
    order(&server.partner, &id, "", Some(&token)).expect(200);
    intent.insist(&[&server.partner], Duration::from_secs(30)).expect("it is known");
}

#[test]
fn a_version_that_a_replica_showed_before_the_primary_does_is_not_taken_back() {
    if !is_there() {
        return;
    }
    let (cluster, server) = with_one_ahead(&["--stages=none"]);
    let other = server.beside();
    let customer = fresh("cus");
    let id = server.call("POST", "/v1/orders").json(&two_lungos(&customer)).send().expect(202).id();
    cluster.freeze(Node::Replica(0));
    let arrival = || server.call("POST", &format!("/v1/orders/{id}/arrival")).send();
    arrival().expect(503);
    let ahead = until_at_last("the other replica shows it", || {
        let answer = list(&server.partner, &customer, None).expect("it answers").expect(200);
        (version_of(&answer) == 2).then_some(answer)
    });
    assert_eq!(ahead.body["source"], "replica");
    let token = ahead.header("lungo-position").to_owned();
    assert_eq!(version_of(&order(&other.partner, &id, "", None).expect(200)), 1, "the primary does not show it yet");
    cluster.stop_replica(1, true);
    let history = format!("?customer_id={customer}");
    for instance in [&server.partner, &other.partner] {
        let list = list(instance, &customer, Some(&token)).expect("it answers");
        let history = instance.call("GET", &format!("/v1/orders{history}")).header("Lungo-Position", &token).send();
        for answer in [list, history, order(instance, &id, "", Some(&token))] {
            assert!(answer.status == 503 || version_of(&answer) == 2, "taken back: {}", answer.text);
        }
    }
    cluster.thaw(Node::Replica(0));
    let now = until_at_last("the primary shows it", || {
        let answer = list(&other.partner, &customer, Some(&token)).expect("it answers");
        (answer.status == 200).then_some(answer)
    });
    assert_eq!((version_of(&now), text(&now.body["source"])), (2, "primary".into()));
    assert_eq!(version_of(&order(&server.partner, &id, "", Some(&token)).expect(200)), 2);
    assert!(now.header("lungo-position").len() < token.len(), "what the primary shows it shows for ever");
    // What is no longer listed was seen, too.
    server.call("DELETE", &format!("/v1/orders/{id}")).header("Lungo-Position", &token).send().expect(202);
    let gone = list(&other.partner, &customer, Some(&token)).expect("it answers").expect(200);
    assert!(shown(&gone.body).is_empty(), "{}", gone.text);
    order(&other.partner, &id, "", Some(&token)).expect(410);
}
