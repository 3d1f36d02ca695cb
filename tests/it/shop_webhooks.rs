//! Shops that are offered their orders by a webhook, from outside.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::receiver::{ALLOW_LOOPBACK, Heard, Manner, Receiver};
use crate::server::{BY_HAND, Client, IMPATIENT, Server, fresh, teas, text, until};

/// A shop without a simulator, and its URL.
struct Till {
    server: Server,
    admin: Client,
    shop: Client,
    receiver: Receiver,
    secret: String,
}

impl Till {
    fn open(flags: &[&str]) -> Self {
        let server = Server::start(&[&[ALLOW_LOOPBACK, "--webhook-timeout=1s"], flags].concat());
        let admin = server.with_key("LUNGO_ADMIN_KEY");
        let key = json!({"kind": "shop", "shop_id": BY_HAND, "label": "till"});
        let key = text(&admin.call("POST", "/v1/admin/keys").json(&key).send().expect(201).body["secret"]);
        let receiver = Receiver::start(Manner::Answer(200));
        let webhook = json!({"shop_id": BY_HAND, "url": receiver.url});
        let made = admin.call("POST", "/v1/admin/webhooks").json(&webhook).send().expect(201).body;
        assert_eq!(made["shop_id"], BY_HAND);
        admin.call("POST", "/v1/admin/webhooks").json(&webhook).send().problem(409, "already_exists");
        let (shop, secret) = (server.partner.with_key(Some(&key)), text(&made["secret"]));
        Self { server, admin, shop, receiver, secret }
    }

    fn order(&self) -> String {
        let mut body = teas(&fresh("cus"), 2, "pm_card_visa", None);
        body["shop_id"] = json!(BY_HAND);
        text(&self.server.created(&body)["order_id"])
    }

    /// What the till heard of an order, by the word for it.
    fn heard(&self, order: &str, notice: &str) -> Vec<Heard> {
        let about = |heard: &Heard| heard.json()["order_id"] == order && heard.json()["type"] == notice;
        self.receiver.heard().into_iter().filter(about).collect()
    }

    #[track_caller]
    fn hears(&self, order: &str, notice: &str) -> Heard {
        until(notice, || self.heard(order, notice).pop())
    }

    fn acts(&self, order: &str, action: &str) -> crate::server::Answer {
        self.shop.call("POST", &format!("/v1/shop/orders/{order}/{action}")).send()
    }
}

#[test]
fn an_order_is_offered_without_prices_and_accepted_by_the_shop_api() {
    let till = Till::open(&[]);
    let order = till.order();
    let offer = till.hears(&order, "order_offered");
    assert!(offer.is_signed_with(&till.secret));
    let body = offer.json();
    assert_eq!(body["order"]["lines"][0]["name"], "Tea");
    assert_eq!(body["order"]["allowed_actions"], json!(["accept", "reject"]));
    for word in ["amount", "price", "EUR", "payment", "pm_card", "cus-"] {
        assert!(!body.to_string().contains(word), "{word}: {body}");
    }
    let board = till.shop.get("/v1/shop/orders").expect(200).body;
    assert_eq!(board["orders"][0]["order_id"], order, "its tablet sees the same");
    for (action, status) in
        [("accept", "accepted"), ("start", "preparing"), ("ready", "ready"), ("collected", "completed")]
    {
        assert_eq!(till.acts(&order, action).expect(200).body["status"], status);
    }
    thread::sleep(Duration::from_millis(600));
    assert_eq!(till.heard(&order, "order_cancelled").len(), 0);
    assert_eq!(till.heard(&order, "order_offered").len(), 1);
    assert_eq!(till.server.get("/v1/webhooks").expect(200).body, json!({"webhooks": []}), "it is not the partner's");
}

#[test]
fn what_ends_without_the_shop_is_told_to_it_and_told_again_when_it_accepts_too_late() {
    let till = Till::open(&["--acceptance-deadline=4s"]);
    let cancelled = till.order();
    till.server.wait_for_status(&cancelled, "awaiting_shop");
    till.hears(&cancelled, "order_offered");
    until("the offer is recorded", || till.server.story(&cancelled).contains(&"offered".into()).then_some(()));
    till.server.cancel(&cancelled).expect(200);
    let told = till.hears(&cancelled, "order_cancelled");
    assert!(told.is_signed_with(&till.secret));
    assert_eq!(told.json()["order"]["reason"]["code"], "customer_request");
    till.acts(&cancelled, "accept").problem(409, "not_possible");
    let again = until("it is told again", || {
        let all = till.heard(&cancelled, "order_cancelled");
        all.get(1).cloned()
    });
    assert_ne!(told.header("webhook-id"), again.header("webhook-id"), "it must not take it for what it has had");

    // Nobody answers: the timer ends it, and the shop is told.
    let forgotten = till.order();
    till.hears(&forgotten, "order_offered");
    assert_eq!(till.server.wait_for_status(&forgotten, "rejected")["reason"]["code"], "acceptance_timeout");
    assert_eq!(till.hears(&forgotten, "order_cancelled").json()["order"]["reason"]["code"], "acceptance_timeout");
    // What the shop refuses by itself it need not be told.
    let refused = till.order();
    till.hears(&refused, "order_offered");
    let path = format!("/v1/shop/orders/{refused}/reject");
    till.shop.call("POST", &path).json(&json!({"reason": "shop_too_busy"})).send().expect(200);
    till.server.wait_for_payment(&refused, "voided");
    assert_eq!(till.heard(&refused, "order_cancelled").len(), 0);
}

#[test]
fn a_cancellation_is_told_at_least_once_whatever_happens_to_receiver_and_server() {
    let mut till = Till::open(&["--lease=3s", "--call-timeout=1s"]);
    let order = till.order();
    till.hears(&order, "order_offered");
    until("the offer is recorded", || till.server.story(&order).contains(&"offered".into()).then_some(()));
    till.receiver.becomes(Manner::Hang);
    till.server.cancel(&order).expect(200);
    till.server.kill_9();
    till.server.restart();
    till.hears(&order, "order_cancelled");
    till.server.kill_9();
    till.receiver.becomes(Manner::Answer(503));
    till.server.restart();
    until("it is tried again", || till.heard(&order, "order_cancelled").get(2).cloned());
    till.receiver.becomes(Manner::Answer(204));
    let list = till.admin.get(&format!("/v1/admin/webhooks?shop_id={BY_HAND}")).expect(200).body;
    let log = format!("/v1/admin/webhooks/{}/deliveries", text(&list["webhooks"][0]["webhook_id"]));
    until("it is taken", || {
        let log = till.admin.get(&log).expect(200).body;
        (log["deliveries"][0]["result"] == "delivered").then_some(())
    });
}

#[test]
fn an_offer_is_repeated_until_the_url_takes_it_and_the_order_ends_where_it_never_does() {
    let till = Till::open(IMPATIENT);
    till.receiver.becomes(Manner::Answer(500));
    let order = till.order();
    until("it is offered again", || till.heard(&order, "order_offered").get(1).cloned());
    let all = till.heard(&order, "order_offered");
    assert_eq!(all[0].header("webhook-id"), all[1].header("webhook-id"));
    till.receiver.becomes(Manner::Endless(200));
    until("the offer is recorded", || till.server.story(&order).contains(&"offered".into()).then_some(()));
    till.acts(&order, "accept").expect(200);

    for manner in [Manner::Hang, Manner::With(307, "location: http://127.0.0.1:9/\r\n"), Manner::Answer(410)] {
        till.receiver.becomes(manner);
        let order = till.order();
        let ended = till.server.wait_for_status(&order, "rejected");
        assert_eq!(ended["reason"]["code"], "shop_unreachable", "{manner:?}");
        assert_eq!(till.server.wait_for_payment(&order, "voided")["payment"]["captured"]["amount"], 0);
        // It may have heard of it all the same.
        till.receiver.becomes(Manner::Answer(200));
        till.hears(&order, "order_cancelled");
    }
}

#[test]
fn a_shop_that_accepts_by_itself_still_has_to_take_the_offer() {
    let till = Till::open(&[]);
    let shop = format!("/v1/admin/shops/{BY_HAND}");
    let known = till.admin.get(&shop).expect(200).body;
    let mut settings = json!({"auto_accept": true});
    for name in ["partner_id", "name", "currency", "timezone", "hours"] {
        settings[name] = known[name].clone();
    }
    till.admin.call("PUT", &shop).json(&settings).send().expect(200);
    till.receiver.becomes(Manner::HangUp);
    let order = till.order();
    till.hears(&order, "order_offered");
    assert_eq!(till.server.wait_for_status(&order, "awaiting_shop")["status"], "awaiting_shop");
    till.receiver.becomes(Manner::Answer(200));
    till.server.wait_for_status(&order, "accepted");
    let accepted: Vec<Value> =
        till.server.events(&order).into_iter().filter(|e| e["type"] == "shop_accepted").collect();
    assert_eq!(accepted[0]["actor"], "worker");

    // At its capacity it takes nothing more.
    settings["max_in_progress"] = json!(1);
    till.admin.call("PUT", &shop).json(&settings).send().expect(200);
    let create = || {
        let mut body = teas(&fresh("cus"), 1, "pm_card_visa", None);
        body["shop_id"] = json!(BY_HAND);
        till.server.create(&body)
    };
    // What it has in its hands is counted every second.
    let full = until("the shop counts as full", || Some(create()).filter(|answer| answer.status == 409));
    let full = full.problem(409, "shop_not_accepting");
    assert_eq!(full.body["why"], "full");
}
