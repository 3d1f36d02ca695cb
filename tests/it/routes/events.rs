//! `/v1/events`: the partner's feed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::server::{Client, LOOK, Server, fresh, ordinary, teas, text};

/// All that has happened so far.
pub fn all(server: &Client) -> Vec<Value> {
    let mut events = Vec::new();
    let mut cursor = String::new();
    while step(server, &mut events, &mut cursor, 1000) > 0 {}
    events
}

/// One page; how many events it had.
fn step(server: &Client, events: &mut Vec<Value>, cursor: &mut String, limit: usize) -> usize {
    let page = server.get(&format!("/v1/events?limit={limit}{cursor}")).expect(200);
    assert!(!page.header("lungo-position").is_empty());
    *cursor = format!("&cursor={}", text(&page.body["cursor"]));
    let new = page.body["events"].as_array().expect("a list");
    assert!(new.len() <= limit);
    events.extend(new.iter().cloned());
    new.len()
}

#[test]
fn the_feed_skips_nothing_and_repeats_nothing_while_orders_come_and_go() {
    let server = Server::start(&[]);
    let writing = AtomicBool::new(true);
    let (ids, walked) = thread::scope(|scope| {
        let walker = scope.spawn(|| {
            let (mut events, mut cursor) = (Vec::new(), String::new());
            loop {
                let is_last = !writing.load(Ordering::Relaxed);
                match step(&server, &mut events, &mut cursor, 7) {
                    0 if is_last => break events,
                    0 => thread::sleep(LOOK),
                    _ => {}
                }
            }
        });
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let create =
                        |n| text(&server.created(&teas(&fresh("cus"), 1 + n % 9, "pm_card_visa", None))["order_id"]);
                    let ids: Vec<String> = (0..10_i64).map(create).collect();
                    ids.iter().step_by(2).for_each(|id| drop(server.cancel(id)));
                    ids
                })
            })
            .collect();
        let ids: Vec<String> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        for id in &ids {
            let is_over = |order: &Value| order["ongoing"] == false && order["payment"]["status"] != "authorized";
            server.wait_for(id, "over", is_over);
        }
        writing.store(false, Ordering::Relaxed);
        (ids, walker.join().unwrap())
    });
    assert_eq!(walked, all(&server), "another walk tells another story");
    let mut stories: HashMap<String, Vec<Value>> = HashMap::new();
    for event in walked {
        let mut bare = event.clone();
        bare.as_object_mut().unwrap().remove("order_id");
        stories.entry(text(&event["order_id"])).or_default().push(bare);
    }
    assert_eq!(stories.len(), ids.len());
    for id in ids {
        assert_eq!(stories[&id], server.events(&id));
    }
}

#[test]
fn an_empty_page_keeps_its_place() {
    let server = ordinary();
    server.created(&teas(&fresh("cus"), 1, "pm_declined", None));
    let (mut events, mut cursor) = (Vec::new(), String::new());
    while step(&server, &mut events, &mut cursor, 1000) > 0 {}
    let mut before = cursor.clone();
    // Other tests may add to the feed; as long as they do not, the cursor stays what it is.
    while step(&server, &mut events, &mut cursor, 1000) > 0 {
        before = cursor.clone();
    }
    assert_eq!(cursor, before);
    assert_eq!(events[0]["type"], "created");
    assert_eq!(events[0]["from"], json!(null));
}

#[test]
fn a_cursor_belongs_to_its_list() {
    let server = ordinary();
    let customer = fresh("cus");
    let history = server.get(&format!("/v1/orders?customer_id={customer}")).expect(200).body;
    server.get(&format!("/v1/events?cursor={}", text(&history["cursor"]))).problem(400, "invalid_cursor");
    server.get("/v1/events?cursor=garbage").problem(400, "invalid_cursor");
    for query in ["limit=0", "limit=1001", "limit=x", "since=now"] {
        server.get(&format!("/v1/events?{query}")).problem(400, "invalid_request");
    }
}
