//! `/v1/orders`: from the first request to the last coffee, and what cannot happen to an order.

use std::collections::BTreeSet;
use std::thread;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::server::{
    BY_HAND, CENTRAL, Client, STATION, Server, at, fresh, ids, impatient, lagging, ordinary, quarter, teas, text,
    two_lungos, until,
};

fn euro(amount: i64) -> Value {
    json!({"amount": amount, "currency": "EUR"})
}

fn instant(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no text"));
    assert!(text.len() == 24 && text.ends_with('Z'), "{text}");
    text.parse().unwrap()
}

mod creating {
    use super::*;

    #[test]
    fn a_created_order_is_answered_as_the_contract_says() {
        let server = ordinary();
        let customer = fresh("cus");
        let mut body = two_lungos(&customer);
        body["pickup"] = json!({"type": "curbside", "note": "by the door", "vehicle": "blue van", "name": " Ada "});
        body["metadata"] = json!({"table": "4"});
        let before = Utc::now();
        let answer =
            server.call("POST", "/v1/orders").header("Idempotency-Key", "\"5f0c\"").json(&body).send().expect(202);
        let order = answer.body.clone();

        let id = answer.id();
        let short_code = id[id.len() - 4..].to_uppercase();
        assert_eq!(answer.header("location"), format!("/v1/orders/{id}"));
        assert_eq!(answer.header("etag"), "\"1\"");
        assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        assert!(answer.header("lungo-position").len() > 20);
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(order["revision"].as_str().unwrap().len() > 20);
        let created_at = instant(&order["created_at"]);
        assert!((created_at - before).num_seconds().abs() < 30, "{created_at}");
        assert!(instant(&order["next_poll_at"]) > created_at);
        assert!(instant(&order["progress"]["expected_ready_at"]) > created_at);
        assert!(
            instant(&order["progress"]["expected_ready_latest_at"]) >= instant(&order["progress"]["expected_ready_at"])
        );
        let percent = order["progress"]["percent"].as_u64().unwrap();
        assert!(percent < 100);

        assert_eq!(
            order,
            json!({
                "order_id": id, "short_code": short_code, "status": "new", "ongoing": true, "revision": order["revision"],
                "progress": {
                    "percent": percent, "expected_ready_at": order["progress"]["expected_ready_at"],
                    "expected_ready_latest_at": order["progress"]["expected_ready_latest_at"], "late": false,
                },
                "next_poll_at": order["next_poll_at"], "customer_id": customer, "shop_id": CENTRAL,
                "lines": [{
                    "item_id": "lungo", "name": "Lungo", "quantity": 2,
                    "options": [{"option_id": "milk_oat", "name": "Oat milk", "price": euro(60)}],
                    "unit_price": euro(410), "price": euro(820), "dropped": false,
                }],
                "total": euro(820), "amount_due": euro(820),
                "payment": {
                    "status": "none", "authorized": euro(0), "captured": euro(0), "refunded": euro(0),
                    "owed": euro(0), "action": null, "refusal": null, "pending_operation": null,
                },
                "pickup": {"type": "curbside", "at": null, "note": "by the door", "vehicle": "blue van", "name": "Ada"},
                "on_unavailable": "cancel", "metadata": {"table": "4"}, "replaces_order_id": null, "reason": null,
                "promise_at": null, "allowed_actions": ["cancel", "update_pickup"], "arrived_at": null,
                "created_at": order["created_at"], "updated_at": order["created_at"], "closed_at": null,
                "version": 1,
            })
        );
    }

    #[test]
    fn an_order_is_there_right_after_its_creation() {
        let server = ordinary();
        for _ in 0..20 {
            let customer = fresh("cus");
            let id = text(&server.created(&teas(&customer, 1, "pm_silent", None))["order_id"]);
            assert_eq!(server.order(&id)["customer_id"], customer);
            assert_eq!(ids(&server.ongoing(&customer).body["orders"]), [id]);
        }
    }

    #[test]
    fn the_same_key_gives_the_same_order_for_ever_and_another_request_under_it_none() {
        let server = ordinary();
        let (customer, key) = (fresh("cus"), fresh("key"));
        let create = |body: &Value| server.call("POST", "/v1/orders").header("Idempotency-Key", &key).json(body).send();
        let body = teas(&customer, 1, "pm_declined", None);
        let first = create(&body).expect(202);
        assert_eq!(create(&body).expect(202).id(), first.id());
        // As a structured-field string, with its members in another order and its defaults spelled out.
        let mut spelled_out = body.clone();
        spelled_out["pickup"] = json!({"note": null, "type": "counter", "at": null, "name": null});
        spelled_out["on_unavailable"] = json!("cancel");
        let quoted = format!("\"{key}\"");
        let again =
            server.call("POST", "/v1/orders").header("Idempotency-Key", &quoted).json(&spelled_out).send().expect(202);
        assert_eq!(again.id(), first.id());

        server.wait_for_status(&first.id(), "failed");
        let late = create(&body).expect(202);
        assert_eq!((late.id(), text(&late.body["status"])), (first.id(), "failed".into()));
        assert_eq!(late.body["revision"], first.body["revision"]);

        create(&teas(&customer, 2, "pm_declined", None)).problem(422, "idempotency_key_reused");
        let mut for_another = body.clone();
        for_another["pickup"] = json!({"name": "Ada"});
        create(&for_another).problem(422, "idempotency_key_reused");
        // Keys belong to a customer: another one's are his own.
        let other = create(&teas(&fresh("cus"), 1, "pm_declined", None)).expect(202);
        assert_ne!(other.id(), first.id());
    }

    #[test]
    fn the_same_coffee_again_needs_the_revision() {
        let server = ordinary();
        let customer = fresh("cus");
        let body = teas(&customer, 2, "pm_silent", None);
        let first = server.created(&body);
        let again = |key: &str| server.call("POST", "/v1/orders").header("Idempotency-Key", key).json(&body);
        let similar = again(&fresh("key")).send().problem(409, "similar_order_ongoing");
        assert_eq!(similar.body["order"]["order_id"], first["order_id"]);
        // Whoever is told of an order can go and look at it.
        let list = server.call("GET", &format!("/v1/orders/ongoing?customer_id={customer}"));
        let list = list.header("Lungo-Position", similar.header("lungo-position")).send().expect(200);
        assert_eq!(ids(&list.body["orders"]), [text(&first["order_id"])]);
        assert_eq!(similar.body["revision"], first["revision"]);
        server.create(&body).problem(409, "similar_order_ongoing");
        // The same basket in two lines, for another slot, by another card and with a note, is still the same coffee.
        let mut dressed_up = body.clone();
        let line = json!({"item_id": "tea", "quantity": 1, "options": []});
        dressed_up["lines"] = json!([line, line]);
        dressed_up["payment"]["method"] = json!("pm_card_visa");
        dressed_up["pickup"] = json!({"note": "hot", "at": quarter(8)});
        dressed_up["metadata"] = json!({"a": "b"});
        server.create(&dressed_up).problem(409, "similar_order_ongoing");

        let tag = format!("\"{}\"", text(&similar.body["revision"]));
        let second = again(&fresh("key")).header("If-Match", &tag).send().expect(202);
        assert_ne!(second.id(), text(&first["order_id"]));
        assert_eq!(server.ongoing(&customer).body["orders"].as_array().unwrap().len(), 2);

        let stale = again(&fresh("key")).header("If-Match", &tag).send().problem(412, "stale_revision");
        assert_eq!(stale.body["revision"], second.body["revision"]);
        assert_eq!(ids(&stale.body["orders"]), [second.id(), text(&first["order_id"])]);
    }

    #[test]
    fn what_is_no_revision_of_this_customer_is_refused_as_such() {
        let server = ordinary();
        let (customer, other) = (fresh("cus"), fresh("cus"));
        let revision = text(&server.ongoing(&customer).body["revision"]);
        let foreign = text(&server.ongoing(&other).body["revision"]);
        let body = teas(&customer, 1, "pm_silent", None);
        let create = |tag: &str| server.call("POST", "/v1/orders").header("If-Match", tag).json(&body).send();
        for tag in [
            "*".to_owned(),
            format!("\"{revision}\", \"{revision}\""),
            revision.clone(),
            format!("\"{foreign}\""),
            "\"nonsense\"".to_owned(),
        ] {
            create(&tag).problem(400, "invalid_request");
        }
        let tag = format!("\"{revision}\"");
        let twice = server.call("POST", "/v1/orders").header("If-Match", &tag).header("If-Match", &tag);
        twice.json(&body).send().problem(400, "invalid_request");
        assert_eq!(ids(&server.ongoing(&customer).body["orders"]), [""; 0]);
        // As a proxy that compresses the list makes its tag.
        create(&format!("W/{tag}")).expect(202);
        create(&tag).problem(412, "stale_revision");
    }

    #[test]
    fn a_customer_has_at_most_five_ongoing_orders() {
        let server = ordinary();
        let customer = fresh("cus");
        let order = |quantity| {
            let mut body = teas(&customer, quantity, "pm_card_visa", None);
            body["shop_id"] = json!(BY_HAND);
            body
        };
        let all: Vec<String> = (1..=5).map(|n| text(&server.created(&order(n))["order_id"])).collect();
        let refused = server.create(&order(6)).problem(409, "order_limit_exceeded");
        assert_eq!((&refused.body["limit"], &refused.body["retryable"]), (&json!(5), &json!(true)));
        server.cancel(&all[2]).expect(200);
        server.create(&order(6)).expect(202);
        server.create(&order(7)).problem(409, "order_limit_exceeded");
    }

    #[test]
    fn the_catalogue_refuses_what_it_does_not_sell_so() {
        let server = ordinary();
        let customer = fresh("cus");
        let mut cheap = two_lungos(&customer);
        cheap["total"]["amount"] = json!(700);
        let refused = server.create(&cheap).problem(409, "price_mismatch");
        assert_eq!(refused.body["present_total"], euro(820));

        let mut elsewhere = two_lungos(&customer);
        elsewhere["shop_id"] = json!("0197ffff-0000-7000-8000-000000000011");
        server.create(&elsewhere).problem(404, "not_found");

        let mut nonsense = two_lungos(&customer);
        nonsense["lines"] = json!([
            {"item_id": "mate", "quantity": 1},
            {"item_id": "flat_white", "quantity": 1},
            {"item_id": "tea", "quantity": 1, "options": ["milk_oat"]},
        ]);
        nonsense["total"]["currency"] = json!("USD");
        nonsense["pickup"] = json!({"at": at((Utc::now().timestamp().div_euclid(900) + 8) * 900 + 60)});
        let refused = server.create(&nonsense).problem(422, "unprocessable");
        let faults: BTreeSet<_> = refused.faults().into_iter().collect();
        let expected = [
            ("/lines/0/item_id", "unknown_item"),
            ("/lines/1/options", "too_few_options"),
            ("/lines/2/options/0", "unknown_option"),
            ("/pickup/at", "not_a_slot"),
            ("/total/currency", "currency_mismatch"),
        ];
        assert_eq!(faults, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())).into());

        for (slot, code) in [(quarter(-4), "in_the_past"), (quarter(98), "too_far_ahead")] {
            let mut body = two_lungos(&customer);
            body["pickup"] = json!({"at": slot});
            let refused = server.create(&body).problem(422, "unprocessable");
            assert_eq!(refused.faults(), [("/pickup/at".to_owned(), code.to_owned())]);
        }
        assert_eq!(server.ongoing(&customer).body["orders"], json!([]));
    }

    #[test]
    fn a_slot_that_cannot_be_kept_is_refused_with_one_that_can() {
        let server = ordinary();
        // They take more than two hours.
        let mut body = teas(&fresh("cus"), 99, "pm_card_visa", None);
        body["pickup"] = json!({"at": quarter(2)});
        let refused = server.create(&body).problem(409, "slot_too_soon");
        let earliest = text(&refused.body["earliest_at"]);
        let ahead = earliest.parse::<DateTime<Utc>>().unwrap() - Utc::now();
        assert!(ahead > chrono::Duration::seconds(99 * 75) && ahead < chrono::Duration::hours(4), "{earliest}");
        let draft = || server.call("POST", "/v1/drafts").json(&body).send();
        draft().problem(409, "slot_too_soon");

        body["pickup"] = json!({"at": quarter(20)});
        let order = server.created(&body);
        assert_eq!(order["progress"]["expected_ready_at"], body["pickup"]["at"]);
        let id = text(&order["order_id"]);
        server.wait_for_status(&id, "scheduled");
        let put = |at: &str| server.call("PUT", &format!("/v1/orders/{id}/pickup")).json(&json!({"at": at})).send();
        put(&quarter(2)).problem(409, "slot_too_soon");
        assert_eq!(put(&quarter(19)).expect(200).body["pickup"]["at"], quarter(19));
    }

    #[test]
    fn a_full_slot_takes_no_more_orders() {
        let server = ordinary();
        let slot = quarter(40);
        let order = || {
            let mut body = teas(&fresh("cus"), 1, "pm_card_visa", None);
            (body["pickup"], body["shop_id"]) = (json!({"at": slot}), json!(STATION));
            body
        };
        for _ in 0..20 {
            server.created(&order());
        }
        server.create(&order()).problem(409, "slot_full");
    }

    #[test]
    fn what_was_accepted_or_promised_stays_so_when_the_catalogue_changes() {
        let server = Server::start(&[]);
        let (shop, admin) = (server.with_key("LUNGO_SHOP_KEY"), server.with_key("LUNGO_ADMIN_KEY"));
        let mut body = two_lungos(&fresh("cus"));
        body["payment"]["method"] = json!("pm_silent");
        let replay = || server.call("POST", "/v1/orders").header("Idempotency-Key", "kept").json(&body).send();
        let id = replay().expect(202).id();
        let draft = || server.call("POST", "/v1/drafts").json(&two_lungos(&fresh("cus"))).send();
        let confirm = |id: &str| {
            server.call("PUT", &format!("/v1/drafts/{id}/confirmation")).json(&json!({"confirmed": true})).send()
        };
        let [first, second] = [0, 1].map(|_| draft().expect(201).id());
        let anybody = || server.create(&two_lungos(&fresh("cus")));

        let until = at(Utc::now().timestamp() + 3600);
        let mode = |body: Value| shop.call("PUT", "/v1/shop/mode").json(&body).send().expect(200);
        let mut later = two_lungos(&fresh("cus"));
        later["pickup"] = json!({"at": quarter(12)});
        let scheduled = server.create(&later).expect(202).id();
        server.wait_for_status(&scheduled, "scheduled");
        let now_please = || server.call("PUT", &format!("/v1/orders/{scheduled}/pickup")).json(&json!({})).send();
        mode(json!({"mode": "paused", "until": until}));
        assert_eq!(now_please().problem(409, "shop_not_accepting").body["why"], "paused");
        let refused = anybody().problem(409, "shop_not_accepting");
        assert_eq!((&refused.body["why"], &refused.body["resume_at"]), (&json!("paused"), &json!(until)));
        confirm(&first).problem(409, "shop_not_accepting");
        assert_eq!(replay().expect(202).id(), id);
        mode(json!({"mode": "open"}));
        now_please().expect(200);

        let item = format!("/v1/admin/shops/{CENTRAL}/items/lungo");
        admin.call("PUT", &item).json(&json!({"price": 390})).send().expect(200);
        assert_eq!(anybody().problem(409, "price_mismatch").body["present_total"], euro(900));
        assert_eq!(confirm(&first).expect(202).body["total"], euro(820));
        assert_eq!(replay().expect(202).body["total"], euro(820));

        admin.call("PUT", &item).json(&json!({"available": false})).send().expect(200);
        let refused = anybody().problem(409, "item_unavailable");
        assert!(refused.faults()[0].0.starts_with("/lines/0"), "{}", refused.text);
        confirm(&second).problem(409, "item_unavailable");
        assert_eq!(confirm(&first).expect(202).id(), first);
        assert_eq!(replay().expect(202).id(), id);
    }

    #[test]
    fn forty_phones_at_once_order_one_coffee() {
        let server = ordinary();
        let customer = fresh("cus");
        let body = two_lungos(&customer);
        let answers: Vec<_> = thread::scope(|scope| {
            let calls: Vec<_> = (0..40)
                .map(|n| {
                    let (server, body) = (&server, &body);
                    let create = move || {
                        let call = server.call("POST", "/v1/orders").header("Idempotency-Key", &format!("phone-{n}"));
                        call.json(body).send()
                    };
                    scope.spawn(create)
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == 202).collect();
        assert_eq!(accepted.len(), 1);
        for refused in answers.iter().filter(|answer| answer.status != 202) {
            refused.clone().problem(409, "similar_order_ongoing");
            assert_eq!(refused.body["order"]["order_id"], accepted[0].body["order_id"]);
        }
        let history = server.get(&format!("/v1/orders?customer_id={customer}")).expect(200);
        assert_eq!(ids(&history.body["orders"]), [accepted[0].id()]);
    }

    #[test]
    fn one_phone_that_repeats_itself_gets_one_answer() {
        let server = ordinary();
        let customer = fresh("cus");
        let body = two_lungos(&customer);
        let got: BTreeSet<String> = thread::scope(|scope| {
            let calls: Vec<_> = (0..20)
                .map(|_| {
                    let create = || {
                        let call = server.call("POST", "/v1/orders").header("Idempotency-Key", "impatient");
                        call.json(&body).send().expect(202).id()
                    };
                    scope.spawn(create)
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert_eq!(got.len(), 1);
        let history = server.get(&format!("/v1/orders?customer_id={customer}")).expect(200);
        assert_eq!(history.body["orders"].as_array().unwrap().len(), 1);
    }
}

mod living {
    use super::*;

    #[test]
    fn an_order_lives_until_it_is_handed_over() {
        let server = ordinary();
        let id = text(&server.created(&two_lungos(&fresh("cus")))["order_id"]);
        let mut seen = 0;
        let order = server.wait_for(&id, "completed", |order| {
            let percent = order["progress"]["percent"].as_u64().unwrap();
            let ready = matches!(order["status"].as_str().unwrap(), "ready" | "completed");
            assert!(percent >= seen && (percent == 100) == ready, "{seen} → {order:#}");
            seen = percent;
            order["status"] == "completed" && order["payment"]["status"] == "captured"
        });
        assert_eq!(order["payment"]["captured"], euro(820));
        assert_eq!(
            (&order["ongoing"], &order["next_poll_at"], &order["reason"]),
            (&json!(false), &json!(null), &json!(null))
        );
        assert_eq!(order["allowed_actions"], json!([]));
        assert!(instant(&order["closed_at"]) >= instant(&order["promise_at"]) || order["promise_at"].is_string());
        let answer = server.get(&format!("/v1/orders/{id}")).expect(200);
        assert_eq!(
            (answer.maybe("retry-after"), answer.header("etag")),
            (None, format!("\"{}\"", order["version"]).as_str())
        );

        let events = server.events(&id);
        let tell = |event: &Value| ["type", "from", "to", "actor"].map(|member| text(&event[member]));
        let told: Vec<[String; 4]> = events.iter().map(tell).collect();
        // The money is taken while the coffee is made: in between, at whatever moment the gateway answers.
        let (capture, others): (Vec<_>, Vec<_>) = told.into_iter().partition(|event| event[0] == "payment_captured");
        assert_eq!(
            others,
            [
                ["created", "", "new", "partner"],
                ["payment_authorized", "new", "awaiting_shop", "worker"],
                ["offered", "awaiting_shop", "awaiting_shop", "worker"],
                ["shop_accepted", "awaiting_shop", "accepted", "shop"],
                ["preparation_started", "accepted", "preparing", "shop"],
                ["made", "preparing", "ready", "shop"],
                ["collected", "ready", "completed", "shop"],
            ]
        );
        assert_eq!((capture.len(), capture[0][3].as_str()), (1, "worker"));
        let versions: Vec<u64> = events.iter().map(|event| event["version"].as_u64().unwrap()).collect();
        assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(events.windows(2).all(|two| instant(&two[0]["at"]) <= instant(&two[1]["at"])));
        let why = server.get(&format!("/v1/orders/{id}/why")).expect(200).body;
        assert_eq!(
            (&why["code"], &why["next_attempt_at"], &why["deadline_at"]),
            (&json!("nothing"), &json!(null), &json!(null))
        );

        // What was handed over stays in sight and stays paid for.
        server.cancel(&id).problem(409, "too_late");
        server.call("DELETE", &format!("/v1/orders/{id}")).send().problem(409, "too_late");
        let recent = server.ongoing(&text(&order["customer_id"])).body;
        assert_eq!((ids(&recent["orders"]).len(), ids(&recent["recently_closed"])), (0, vec![id]));
        // It was the customer's coffee: the same again within ten minutes is asked about.
        server.create(&two_lungos(&text(&order["customer_id"]))).problem(409, "similar_order_ongoing");
    }

    #[test]
    fn a_shop_that_accepts_by_itself_is_not_waited_for() {
        let server = ordinary();
        let mut body = teas(&fresh("cus"), 1, "pm_card_visa", None);
        body["shop_id"] = json!(STATION);
        let id = text(&server.created(&body)["order_id"]);
        let accepted =
            until("the shop accepts", || server.events(&id).into_iter().find(|event| event["type"] == "shop_accepted"));
        assert_eq!(accepted["actor"], "worker");
    }

    /// Creates an order that is paid by `method` and waits until it ends as `status`.
    fn ends(server: &Client, method: &str, simulate: Option<&str>, status: &str) -> Value {
        let id = text(&server.created(&teas(&fresh("cus"), 2, method, simulate))["order_id"]);
        server.wait_for_status(&id, status)
    }

    fn pay_at_bank(server: &Client, answer: &str) -> String {
        let id = text(&server.created(&teas(&fresh("cus"), 1, "pm_action_required", None))["order_id"]);
        let order = server.wait_for_status(&id, "action_required");
        let action = &order["payment"]["action"];
        assert_eq!(action["type"], "redirect");
        let page = text(&action["url"]);
        let path = page.strip_prefix(&server.url).expect("the simulated bank is part of the server").to_owned();
        let bank = server.with_key(None);
        assert!(bank.get(&path).expect(200).text.contains("3.00 EUR"));
        let form = "application/x-www-form-urlencoded";
        bank.call("POST", &path).body(form, "answer=perhaps").send().problem(400, "invalid_request");
        bank.call("POST", &path).body(form, format!("answer={answer}")).send().expect(200);
        assert!(bank.get(&path).expect(200).text.contains("nothing to answer"));
        let nowhere = "/simulator/bank/nothing";
        bank.call("POST", nowhere).body(form, "answer=approve").send().problem(404, "not_found");
        id
    }

    #[test]
    fn every_payment_method_ends_as_its_gateway_decides() {
        let server = impatient();
        let server: &Client = &server;
        thread::scope(|scope| {
            scope.spawn(|| {
                let order = ends(server, "pm_declined", None, "failed");
                assert_eq!(order["reason"], json!({"code": "payment_declined", "actor": "worker", "retryable": true}));
                assert_eq!(order["payment"]["refusal"], "card_declined");
                assert_eq!(server.story(&text(&order["order_id"])), ["created", "payment_declined"]);
            });
            scope.spawn(|| {
                let order = ends(server, "pm_of_the_future", None, "failed");
                assert_eq!(order["payment"]["refusal"], "unknown_method");
            });
            scope.spawn(|| {
                let id = pay_at_bank(server, "approve");
                server.wait_for_status(&id, "completed");
                assert_eq!(server.wait_for_payment(&id, "captured")["payment"]["captured"], euro(300));
            });
            scope.spawn(|| {
                let id = pay_at_bank(server, "decline");
                let order = server.wait_for_status(&id, "failed");
                assert_eq!(order["reason"]["code"], "payment_declined");
                assert_eq!(order["payment"]["refusal"], "bank_declined");
            });
            scope.spawn(|| {
                let order = ends(server, "pm_action_required", None, "failed");
                let expired = json!({"code": "payment_action_expired", "actor": "timer", "retryable": true});
                assert_eq!(order["reason"], expired);
                let order = server.wait_for_payment(&text(&order["order_id"]), "voided");
                assert_eq!(order["payment"]["owed"], euro(0));
            });
            for method in ["pm_timeout_after_charge", "pm_slow", "pm_flaky"] {
                scope.spawn(move || {
                    let order = ends(server, method, None, "completed");
                    let id = text(&order["order_id"]);
                    let order = server.wait_for_payment(&id, "captured");
                    assert_eq!(order["payment"]["captured"], euro(600));
                    let story = server.story(&id);
                    assert_eq!(story.iter().filter(|event| *event == "payment_authorized").count(), 1, "{story:?}");
                    assert!(story.contains(&"payment_unanswered".to_owned()), "{story:?}");
                });
            }
            scope.spawn(|| {
                let order = ends(server, "pm_silent", None, "failed");
                assert_eq!(order["reason"]["code"], "payment_outcome_unknown");
                assert!(matches!(order["payment"]["status"].as_str(), Some("unknown" | "voided")), "{order:#}");
                // The gateway's word that nothing is held, nor ever will be under this key.
                let order = server.wait_for_payment(&text(&order["order_id"]), "voided");
                assert_eq!((&order["payment"]["owed"], &order["payment"]["captured"]), (&euro(0), &euro(0)));
            });
        });
    }

    #[test]
    fn every_whim_of_a_shop_is_dealt_with() {
        let server = impatient();
        let server: &Client = &server;
        let rejected = |simulate, reason, actor| {
            let order = ends(server, "pm_card_visa", Some(simulate), "rejected");
            assert_eq!((&order["reason"]["code"], &order["reason"]["actor"]), (&json!(reason), &json!(actor)));
            let order = server.wait_for_payment(&text(&order["order_id"]), "voided");
            assert_eq!((&order["payment"]["owed"], &order["payment"]["captured"]), (&euro(0), &euro(0)));
            assert_eq!(order["allowed_actions"], json!(["delete"]));
        };
        thread::scope(|scope| {
            scope.spawn(|| rejected("shop_reject", "cannot_fulfil_request", "shop"));
            scope.spawn(|| rejected("shop_silent", "acceptance_timeout", "timer"));
            scope.spawn(|| rejected("shop_slow", "acceptance_timeout", "timer"));
            scope.spawn(|| rejected("sold_out", "item_unavailable", "shop"));
            scope.spawn(|| {
                let mut body = two_lungos(&fresh("cus"));
                body["lines"] = json!([{"item_id": "cookie", "quantity": 2}, {"item_id": "tea", "quantity": 1}]);
                body["total"] = euro(740);
                body["on_unavailable"] = json!("remove_line");
                body["metadata"] = json!({"simulate": "sold_out"});
                let id = text(&server.created(&body)["order_id"]);
                server.wait_for_status(&id, "completed");
                let order = server.wait_for_payment(&id, "captured");
                let dropped: Vec<&Value> =
                    order["lines"].as_array().unwrap().iter().map(|line| &line["dropped"]).collect();
                assert_eq!(dropped, [&json!(true), &json!(false)]);
                assert_eq!((&order["total"], &order["amount_due"]), (&euro(740), &euro(300)));
                assert_eq!((&order["payment"]["authorized"], &order["payment"]["captured"]), (&euro(740), &euro(300)));
                assert_eq!(order["payment"]["owed"], euro(0));
            });
        });
    }

    /// An order that its shop has accepted and will not start for minutes: croissants for a slot, so many that the
    /// shop must be told at once, and so few that it need not begin.
    fn accepted(server: &Client) -> String {
        let now = Utc::now().timestamp();
        let slot = (now.div_euclid(900) + 2) * 900;
        let quantity = (slot - now - 900 + 60) / 15;
        let mut body = teas(&fresh("cus"), quantity, "pm_card_visa", None);
        body["lines"][0]["item_id"] = json!("croissant");
        body["total"] = euro(280 * quantity);
        body["pickup"] = json!({"at": at(slot)});
        let id = text(&server.created(&body)["order_id"]);
        server.wait_for_status(&id, "accepted");
        id
    }

    fn scheduled(server: &Client, slot: &str) -> String {
        scheduled_teas(server, slot, 1)
    }

    fn scheduled_teas(server: &Client, slot: &str, quantity: i64) -> String {
        let mut body = teas(&fresh("cus"), quantity, "pm_card_visa", None);
        body["pickup"] = json!({"at": slot});
        let id = text(&server.created(&body)["order_id"]);
        let order = server.wait_for_status(&id, "scheduled");
        assert_eq!(order["pickup"]["at"], slot);
        id
    }

    fn in_status(server: &Client, status: &str) -> String {
        let (method, simulate) = match status {
            "new" => ("pm_silent", None),
            "action_required" => ("pm_action_required", None),
            "awaiting_shop" => ("pm_card_visa", Some("shop_silent")),
            "accepted" => return accepted(server),
            _ => return scheduled(server, &quarter(12)),
        };
        let id = text(&server.created(&teas(&fresh("cus"), 1, method, simulate))["order_id"]);
        server.wait_for_status(&id, status);
        id
    }

    #[test]
    fn a_customer_cancels_until_the_shop_begins() {
        let server = ordinary();
        let server: &Client = &server;
        thread::scope(|scope| {
            for status in ["new", "action_required", "scheduled", "awaiting_shop", "accepted"] {
                scope.spawn(move || {
                    let id = in_status(server, status);
                    assert!(server.order(&id)["allowed_actions"].as_array().unwrap().contains(&json!("cancel")));
                    let cancelled = server.cancel(&id).expect(200);
                    assert_eq!(cancelled.header("etag"), format!("\"{}\"", cancelled.body["version"]));
                    assert!(!cancelled.header("lungo-position").is_empty());
                    let reason = json!({"code": "customer_request", "actor": "partner", "retryable": false});
                    assert_eq!((&cancelled.body["status"], &cancelled.body["reason"]), (&json!("cancelled"), &reason));
                    assert_eq!(cancelled.body["ongoing"], false);
                    // Repeated, it is the same cancellation.
                    assert_eq!(server.cancel(&id).expect(200).body["closed_at"], cancelled.body["closed_at"]);
                    let order = server.wait_for(&id, "released", |order| {
                        matches!(order["payment"]["status"].as_str(), Some("voided" | "none"))
                    });
                    assert_eq!((&order["payment"]["owed"], &order["payment"]["captured"]), (&euro(0), &euro(0)));
                    let customer = text(&order["customer_id"]);
                    assert_eq!(server.ongoing(&customer).body["orders"], json!([]), "{status}");
                });
            }
            scope.spawn(move || {
                let id = text(&server.created(&teas(&fresh("cus"), 1, "pm_card_visa", None))["order_id"]);
                let making =
                    |order: &Value| matches!(order["status"].as_str(), Some("preparing" | "ready" | "completed"));
                let order = server.wait_for(&id, "being made", making);
                let refused = server.cancel(&id).problem(409, "too_late");
                assert!(making(&json!({"status": refused.body["order_status"]})), "{order:#}");
            });
        });
    }

    #[test]
    fn a_scheduled_order_waits_for_its_time() {
        let server = ordinary();
        let id = scheduled(&server, &quarter(12));
        assert_eq!(server.story(&id), ["created", "payment_authorized"]);
        let why = server.get(&format!("/v1/orders/{id}/why")).expect(200).body;
        assert_eq!(why["code"], "pickup_time");
        // Tea takes 75 s, and the shop is told 15 min before it must begin.
        let slot: DateTime<Utc> = quarter(12).parse().unwrap();
        assert_eq!(instant(&why["deadline_at"]), slot - chrono::Duration::seconds(900 + 75));

        let later = quarter(16);
        let put = |at: &Value| {
            server.call("PUT", &format!("/v1/orders/{id}/pickup")).json(&json!({"at": at, "note": "no sugar"})).send()
        };
        let moved = put(&json!(later)).expect(200);
        assert_eq!((&moved.body["pickup"]["at"], &moved.body["status"]), (&json!(later), &json!("scheduled")));
        assert_eq!(
            put(&json!(quarter(-2))).problem(422, "unprocessable").faults(),
            [("/at".into(), "in_the_past".into())]
        );
        assert_eq!(server.story(&id).last().unwrap(), "pickup_changed");
    }

    #[test]
    fn a_scheduled_order_that_is_wanted_now_goes_to_the_shop_now() {
        let server = ordinary();
        let server: &Client = &server;
        thread::scope(|scope| {
            scope.spawn(|| {
                let id = scheduled(server, &quarter(12));
                let put = server.call("PUT", &format!("/v1/orders/{id}/pickup")).json(&json!({"at": null}));
                assert_eq!(put.send().expect(200).body["pickup"]["at"], json!(null));
                server
                    .wait_for(&id, "being made", |order| order["status"] == "preparing" || order["status"] == "ready");
            });
            scope.spawn(|| {
                // A slot in 5 to 20 minutes, and so many teas that the shop must be told at once.
                let now = Utc::now().timestamp();
                let slot = ((now + 300).div_euclid(900) + 1) * 900;
                let id = scheduled_teas(server, &quarter(12), 1 + (slot - now - 870).max(0) / 75);
                let put = server.call("PUT", &format!("/v1/orders/{id}/pickup")).json(&json!({"at": at(slot)}));
                put.send().expect(200);
                server.wait_for_status(&id, "accepted");
            });
        });
    }

    #[test]
    fn the_pickup_is_replaced_by_whoever_has_seen_it_last() {
        let server = ordinary();
        let id = in_status(&server, "awaiting_shop");
        // The offer to the shop is the last thing that happens to it by itself.
        server.wait_for(&id, "offered", |_| server.story(&id).contains(&"offered".to_owned()));
        let version = server.get(&format!("/v1/orders/{id}")).header("etag").to_owned();
        let put = |tag: Option<&str>, body: &Value| {
            let call = server.call("PUT", &format!("/v1/orders/{id}/pickup")).json(body);
            tag.into_iter().fold(call, |call, tag| call.header("If-Match", tag)).send()
        };
        let curbside = json!({"type": "curbside", "vehicle": "red bicycle"});
        let changed = put(Some(&version), &curbside).expect(200);
        assert_eq!(
            changed.body["pickup"],
            json!({"type": "curbside", "at": null, "note": null, "vehicle": "red bicycle", "name": null})
        );
        assert_ne!(changed.header("etag"), version);
        let stale = put(Some(&version), &curbside).problem(412, "stale_version");
        assert_eq!(stale.body["version"], changed.body["version"]);
        put(Some("\"seven\""), &curbside).problem(400, "invalid_request");
        put(Some("*"), &curbside).problem(400, "invalid_request");
        // As a proxy that compresses makes it; what a client reads in the body says the same.
        let weak = put(Some(&format!("W/{}", changed.header("etag"))), &json!({"note": "ring"})).expect(200);
        put(Some(&format!("W/{version}")), &curbside).problem(412, "stale_version");
        put(Some(&format!("\"{}\"", weak.body["version"])), &curbside).expect(200);
        let inside = put(None, &json!({"note": "inside after all"})).expect(200);
        let again = put(Some(inside.header("etag")), &json!({"note": "inside after all"})).expect(200);
        assert_eq!(again.header("etag"), inside.header("etag"), "said again, it changes nothing");
        let named = put(None, &json!({"name": "  Zoë  "})).expect(200);
        assert_eq!(named.body["pickup"]["name"], "Zoë");
        for (name, code) in [
            (json!(7), "wrong_type"),
            (json!(""), "too_short"),
            (json!("  "), "too_short"),
            (json!("x".repeat(41)), "too_long"),
            (json!("Ada\u{0}"), "bad_format"),
        ] {
            let refused = put(None, &json!({"name": name})).problem(400, "invalid_request");
            assert!(refused.faults().contains(&("/name".into(), code.into())), "{}", refused.text);
        }
        put(None, &json!({"at": quarter(8)})).problem(409, "too_late");
        put(None, &json!({"note": 7, "type": "drone", "door": 1})).problem(400, "invalid_request");
        server.cancel(&id).expect(200);
        put(None, &curbside).problem(409, "too_late");
    }

    #[test]
    fn an_arrival_counts_once() {
        let server = ordinary();
        let id = in_status(&server, "awaiting_shop");
        let arrive = || server.call("POST", &format!("/v1/orders/{id}/arrival")).send();
        let first = arrive().expect(200);
        assert!(instant(&first.body["arrived_at"]) >= instant(&first.body["created_at"]));
        assert!(!first.body["allowed_actions"].as_array().unwrap().contains(&json!("report_arrival")));
        assert_eq!(arrive().expect(200).body["arrived_at"], first.body["arrived_at"]);
        assert_eq!(server.story(&id).iter().filter(|event| *event == "arrived").count(), 1);
        let other = in_status(&server, "awaiting_shop");
        server.cancel(&other).expect(200);
        server.call("POST", &format!("/v1/orders/{other}/arrival")).send().problem(409, "too_late");
    }

    #[test]
    fn an_order_says_what_it_waits_for() {
        let server = ordinary();
        let server: &Client = &server;
        for (status, code) in [
            ("new", "payment_authorization"),
            ("action_required", "customer_at_bank"),
            ("awaiting_shop", "shop_decision"),
            ("scheduled", "pickup_time"),
        ] {
            let id = in_status(server, status);
            let why = until("the reason", || {
                let why = server.get(&format!("/v1/orders/{id}/why")).expect(200).body;
                // Between the payment and the shop the order waits for its offer.
                (why["code"] != "offer_to_shop").then_some(why)
            });
            assert_eq!((&why["code"], &why["status"]), (&json!(code), &json!(status)), "{why:#}");
            assert!(why["sentence"].as_str().unwrap().ends_with('.'));
            assert!(why["deadline_at"].is_string());
        }
    }

    #[test]
    fn a_deleted_order_is_gone_everywhere_but_from_the_feed() {
        let server = ordinary();
        let (customer, key) = (fresh("cus"), fresh("key"));
        let body = teas(&customer, 1, "pm_card_visa", Some("shop_silent"));
        let create = || server.call("POST", "/v1/orders").header("Idempotency-Key", &key).json(&body).send();
        let id = create().expect(202).id();
        server.wait_for_status(&id, "awaiting_shop");
        let deleted = server.call("DELETE", &format!("/v1/orders/{id}")).send().expect(202);
        assert_eq!(deleted.body["order_id"], id);
        instant(&deleted.body["deleted_at"]);
        assert!(deleted.body["payment"]["status"].is_string());

        for (method, path) in [
            ("GET", ""),
            ("GET", "/events"),
            ("GET", "/why"),
            ("POST", "/cancel"),
            ("PUT", "/pickup"),
            ("POST", "/arrival"),
            ("DELETE", ""),
        ] {
            let call = server.call(method, &format!("/v1/orders/{id}{path}"));
            let call = if method == "PUT" { call.json(&json!({"note": "late"})) } else { call };
            let gone = call.send().problem(410, "order_deleted");
            assert_eq!(gone.body["deleted_at"], deleted.body["deleted_at"], "{method} {path}");
            assert!(gone.body["payment"]["status"].is_string(), "{method} {path}");
        }
        create().problem(410, "order_deleted");
        let money = until("the money is back", || {
            let gone = server.get(&format!("/v1/orders/{id}")).problem(410, "order_deleted");
            (gone.body["payment"]["status"] == "voided").then_some(gone)
        });
        assert_eq!(money.body["deleted_at"], deleted.body["deleted_at"]);

        let list = server.ongoing(&customer).body;
        assert_eq!((&list["orders"], &list["recently_closed"]), (&json!([]), &json!([])));
        let history = server.get(&format!("/v1/orders?customer_id={customer}")).expect(200);
        assert_eq!(history.body["orders"], json!([]));
        let told: Vec<String> = super::super::events::all(&server)
            .iter()
            .filter(|event| event["order_id"] == id)
            .map(|event| text(&event["type"]))
            .collect();
        assert!(told.contains(&"customer_cancelled".to_owned()) && told.contains(&"deleted".to_owned()), "{told:?}");
        // It is not the same coffee any more.
        server.create(&body).expect(202);
    }

    #[test]
    fn an_order_without_a_sale_is_deleted_as_it_is() {
        let server = ordinary();
        let id = text(&server.created(&teas(&fresh("cus"), 1, "pm_declined", None))["order_id"]);
        server.wait_for_status(&id, "failed");
        server.call("DELETE", &format!("/v1/orders/{id}")).send().expect(202);
        server.get(&format!("/v1/orders/{id}")).problem(410, "order_deleted");
    }
}

mod listing {
    use super::*;

    #[test]
    fn an_unchanged_list_is_not_sent_again() {
        let server = ordinary();
        let customer = fresh("cus");
        let path = format!("/v1/orders/ongoing?customer_id={customer}");
        let empty = server.ongoing(&customer);
        assert_eq!((&empty.body["orders"], &empty.body["recently_closed"]), (&json!([]), &json!([])));
        assert_eq!(empty.body["source"], "primary");
        instant(&empty.body["as_of"]);
        assert_eq!(
            (empty.header("cache-control"), empty.header("vary")),
            ("private, no-cache", "Authorization, Lungo-Position")
        );

        let id = text(&server.created(&teas(&customer, 1, "pm_card_visa", Some("shop_silent")))["order_id"]);
        server.wait_for(&id, "offered", |_| server.story(&id).contains(&"offered".to_owned()));
        let list = server.ongoing(&customer);
        let tag = list.header("etag").to_owned();
        assert_ne!(tag, empty.header("etag"));
        assert_ne!(list.body["revision"], empty.body["revision"]);

        // Progress alone does not change the tag.
        let percent = |list: &Value| list["orders"][0]["progress"]["percent"].as_u64().unwrap();
        let before = percent(&list.body);
        let later = until("progress", || Some(server.ongoing(&customer)).filter(|list| percent(&list.body) > before));
        assert_eq!(later.header("etag"), tag);
        for tags in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let same = server.call("GET", &path).header("If-None-Match", &tags).send().expect(304);
            assert!(same.header("retry-after").parse::<u32>().unwrap() >= 1);
            assert!(!same.header("lungo-position").is_empty());
            // A cache finds what it keeps by the tag in the form that it has it in.
            let held = if tags.starts_with("W/") { &tags } else { &tag };
            assert_eq!((same.text.as_str(), same.header("etag")), ("", held.as_str()));
        }

        server.cancel(&id).expect(200);
        let closed = server.call("GET", &path).header("If-None-Match", &tag).send().expect(200);
        assert_eq!((&closed.body["orders"], closed.maybe("retry-after")), (&json!([]), None));
        assert_eq!(ids(&closed.body["recently_closed"]), [id]);
        assert_eq!(closed.body["revision"], list.body["revision"]);
    }

    #[test]
    fn an_unchanged_order_is_not_sent_again() {
        let server = ordinary();
        let id = text(&server.created(&teas(&fresh("cus"), 1, "pm_declined", None))["order_id"]);
        server.wait_for_status(&id, "failed");
        let path = format!("/v1/orders/{id}");
        let tag = server.get(&path).header("etag").to_owned();
        let same = server.call("GET", &path).header("If-None-Match", &tag).send().expect(304);
        assert!(!same.header("lungo-position").is_empty());
        server.call("GET", &path).header("If-None-Match", "\"0\"").send().expect(200);
    }

    #[test]
    fn at_most_ten_recently_closed_orders_are_told_newest_first() {
        let server = ordinary();
        let customer = fresh("cus");
        let mut all = Vec::new();
        for n in 1..=11 {
            let id = text(&server.created(&teas(&customer, n, "pm_card_visa", Some("shop_silent")))["order_id"]);
            server.cancel(&id).expect(200);
            all.insert(0, id);
        }
        let list = server.ongoing(&customer).body;
        assert_eq!(ids(&list["recently_closed"]), all[..10]);
    }

    #[test]
    fn a_list_is_as_fresh_as_its_reader_has_to_have_it() {
        let Some(server) = lagging() else { return };
        let mut fresh_ones = 0;
        // A create right after the snapshot was taken: the replica cannot have it for a while.
        let (customer, created) = until("a stale read", || {
            let customer = fresh("cus");
            let before = server.ongoing(&customer);
            assert_eq!(before.body["source"], "replica");
            let answer = server.create(&teas(&customer, 1, "pm_silent", None)).expect(202);
            let after = server.ongoing(&customer);
            assert_eq!(after.body["source"], "replica");
            if after.body["as_of"] != before.body["as_of"] {
                fresh_ones += 1;
                return None;
            }
            // The truth about the answer: it is as old as it says, and so has no order.
            assert!(instant(&after.body["as_of"]) < instant(&answer.body["created_at"]));
            assert_eq!((&after.body["orders"], &after.body["revision"]), (&json!([]), &before.body["revision"]));
            assert_eq!(after.header("etag"), before.header("etag"));
            Some((customer, answer))
        });
        assert!(fresh_ones < 10, "the snapshot is not kept");
        let path = format!("/v1/orders/ongoing?customer_id={customer}");
        let with = |position: &str| server.call("GET", &path).header("Lungo-Position", position).send();

        let own = with(created.header("lungo-position")).expect(200);
        assert_eq!((ids(&own.body["orders"]), &own.body["source"]), (vec![created.id()], &json!("primary")));
        assert_eq!(own.body["revision"], created.body["revision"]);
        // Reading what was read: the answer's own position is as good.
        assert_eq!(ids(&with(own.header("lungo-position")).expect(200).body["orders"]), [created.id()]);
        // In the end the replica has it, and answers even the strictest reader.
        let replicated = until("the replica catches up", || {
            let list = with(own.header("lungo-position")).expect(200);
            (list.body["source"] == "replica").then_some(list)
        });
        assert_eq!(ids(&replicated.body["orders"]), [created.id()]);
        assert!(instant(&replicated.body["as_of"]) >= instant(&created.body["created_at"]));

        // A deletion is a write like any other.
        let deleted = server.call("DELETE", &format!("/v1/orders/{}", created.id())).send().expect(202);
        assert_eq!(with(deleted.header("lungo-position")).expect(200).body["orders"], json!([]));

        with("garbage").problem(400, "invalid_position");
        with("").problem(400, "invalid_position");
        let twice = server.call("GET", &path).header("Lungo-Position", created.header("lungo-position"));
        let twice = twice.header("Lungo-Position", created.header("lungo-position")).send();
        twice.problem(400, "invalid_position");

        // Another database's position means nothing here: only the primary is certainly fresh enough.
        let elsewhere = ordinary();
        let foreign = elsewhere.ongoing(&customer).header("lungo-position").to_owned();
        assert_eq!(with(&foreign).expect(200).body["source"], "primary");
    }

    #[test]
    fn a_client_that_lost_everything_orders_one_coffee() {
        let Some(server) = lagging() else { return };
        let order = |customer: &str, key: &str| {
            let call = server.call("POST", "/v1/orders").header("Idempotency-Key", key);
            call.json(&teas(customer, 3, "pm_silent", None)).send()
        };
        let list = |customer: &str| server.ongoing(customer);
        let customer = until("a list that is still empty after the crash", || {
            let customer = fresh("cus");
            assert_eq!(ids(&list(&customer).body["orders"]).len(), 0);
            let lost = order(&customer, &fresh("key")).expect(202);
            // The crash: key, order and position are forgotten. The list says that there is nothing.
            if !ids(&list(&customer).body["orders"]).is_empty() {
                return None;
            }
            let refused = order(&customer, &fresh("key")).problem(409, "similar_order_ongoing");
            assert_eq!(refused.body["order"]["order_id"], lost.id());
            Some(customer)
        });
        let history = server.get(&format!("/v1/orders?customer_id={customer}")).expect(200);
        assert_eq!(ids(&history.body["orders"]).len(), 1);
    }

    #[test]
    fn a_history_is_walked_once_while_it_grows() {
        let server = Server::start(&["--similar-order-within=1s", "--max-ongoing-orders=50"]);
        let customer = fresh("cus");
        let create = |n: i64| text(&server.created(&teas(&customer, n, "pm_silent", None))["order_id"]);
        let mut old: Vec<String> = (1..=25).map(create).collect();
        old.reverse();
        let mut seen = Vec::new();
        let mut cursor = String::new();
        let mut grown = 25;
        loop {
            let page = server.get(&format!("/v1/orders?customer_id={customer}&limit=4{cursor}")).expect(200);
            let found = ids(&page.body["orders"]);
            cursor = format!("&cursor={}", text(&page.body["cursor"]));
            if found.is_empty() {
                let again = server.get(&format!("/v1/orders?customer_id={customer}{cursor}")).expect(200);
                assert_eq!((&again.body["orders"], &again.body["cursor"]), (&json!([]), &page.body["cursor"]));
                break;
            }
            assert!(found.len() <= 4);
            seen.extend(found);
            grown += 1;
            create(grown);
        }
        assert_eq!(seen, old);
        let all = server.get(&format!("/v1/orders?customer_id={customer}&limit=100")).expect(200);
        assert_eq!(all.body["orders"].as_array().unwrap().len() as i64, grown);

        for (query, code) in [
            ("limit=0", "invalid_request"),
            ("limit=101", "invalid_request"),
            ("limit=many", "invalid_request"),
            ("cursor=garbage", "invalid_cursor"),
            ("page=2", "invalid_request"),
        ] {
            server.get(&format!("/v1/orders?customer_id={customer}&{query}")).problem(400, code);
        }
        server.get(&format!("/v1/orders?customer_id=other{cursor}")).problem(400, "invalid_cursor");
        server.get("/v1/orders").problem(400, "invalid_request");
        server.get("/v1/orders/ongoing").problem(400, "invalid_request");
        server.get("/v1/orders/ongoing?customer_id=").problem(400, "invalid_request");
        server.get(&format!("/v1/orders/ongoing?customer_id={}", "x".repeat(65))).problem(400, "invalid_request");
    }
}
