//! `/v1/drafts`: a basket is priced first, and becomes an order by an idempotent confirmation.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::server::{Answer, Client, fresh, ids, impatient, ordinary, text, two_lungos, until};

/// Two lungos with oat milk, without a total.
fn basket(customer: &str) -> Value {
    let mut body = two_lungos(customer);
    body.as_object_mut().unwrap().remove("total");
    body
}

fn draft(server: &Client, body: &Value) -> Answer {
    server.call("POST", "/v1/drafts").json(body).send()
}

fn confirm(server: &Client, id: &str) -> Answer {
    server.call("PUT", &format!("/v1/drafts/{id}/confirmation")).json(&json!({"confirmed": true})).send()
}

#[test]
fn a_draft_is_priced_and_kept() {
    let server = ordinary();
    let customer = fresh("cus");
    let made = draft(&server, &basket(&customer)).expect(201);
    let id = made.id();
    assert_eq!(made.header("location"), format!("/v1/drafts/{id}"));
    assert_eq!(made.body["total"], json!({"amount": 820, "currency": "EUR"}));
    let at = |member: &str| -> DateTime<Utc> { text(&made.body[member]).parse().unwrap() };
    assert_eq!(at("valid_until") - at("created_at"), chrono::Duration::minutes(10));
    let expected = json!({
        "order_id": id, "customer_id": customer, "shop_id": made.body["shop_id"], "lines": made.body["lines"],
        "total": made.body["total"], "pickup": {"type": "counter", "at": null, "note": null, "vehicle": null, "name": null},
        "valid_until": made.body["valid_until"], "confirmed": false, "created_at": made.body["created_at"],
    });
    assert_eq!(made.body, expected);
    assert_eq!(server.get(&format!("/v1/drafts/{id}")).expect(200).body, expected);

    let mut more = basket(&customer);
    more["lines"][0]["quantity"] = json!(3);
    let put = |body: &Value| server.call("PUT", &format!("/v1/drafts/{id}")).json(body).send();
    let replaced = put(&more).expect(200).body;
    assert_eq!((&replaced["total"]["amount"], &replaced["created_at"]), (&json!(1230), &made.body["created_at"]));
    assert_eq!(server.get(&format!("/v1/drafts/{id}")).expect(200).body, replaced);

    // A stated total must be right, and a draft is no order yet.
    more["total"] = json!({"amount": 1, "currency": "EUR"});
    put(&more).problem(409, "price_mismatch");
    draft(&server, &more).problem(409, "price_mismatch");
    server.get(&format!("/v1/orders/{id}")).problem(404, "not_found");
    assert_eq!(server.ongoing(&customer).body["orders"], json!([]));
    let nowhere = "/v1/drafts/0197ffff-0000-7000-8000-000000000000";
    server.get(nowhere).problem(404, "not_found");
    server.call("PUT", nowhere).json(&basket(&customer)).send().problem(404, "not_found");
    confirm(&server, "0197ffff-0000-7000-8000-000000000000").problem(404, "not_found");
}

#[test]
fn a_confirmed_draft_is_its_order_for_ever() {
    let server = ordinary();
    let customer = fresh("cus");
    let id = draft(&server, &basket(&customer)).expect(201).id();
    let unsure = server.call("PUT", &format!("/v1/drafts/{id}/confirmation")).json(&json!({"confirmed": false}));
    unsure.send().problem(422, "unprocessable");
    let order = confirm(&server, &id).expect(202);
    assert_eq!((order.id(), order.header("location")), (id.clone(), format!("/v1/orders/{id}").as_str()));
    assert_eq!(order.body["status"], "new");
    assert!(order.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert!(!order.header("lungo-position").is_empty() && order.header("etag") == "\"1\"");
    assert_eq!(confirm(&server, &id).expect(202).id(), id);
    assert_eq!(ids(&server.ongoing(&customer).body["orders"]), [id.as_str()]);
    assert_eq!(server.get(&format!("/v1/drafts/{id}")).expect(200).body["confirmed"], true);
    let put = server.call("PUT", &format!("/v1/drafts/{id}")).json(&basket(&customer));
    put.send().problem(409, "draft_confirmed");

    // Another one, at once: before its shop begins to make it.
    let id = draft(&server, &basket(&fresh("cus"))).expect(201).id();
    confirm(&server, &id).expect(202);
    server.cancel(&id).expect(200);
    let late = confirm(&server, &id).expect(202);
    assert_eq!((late.id(), &late.body["status"]), (id, &json!("cancelled")));
}

#[test]
fn a_confirmation_is_admitted_as_any_order() {
    let server = ordinary();
    let customer = fresh("cus");
    let [first, second] = [0, 1].map(|_| draft(&server, &basket(&customer)).expect(201).id());
    let order = confirm(&server, &first).expect(202);
    let similar = confirm(&server, &second).problem(409, "similar_order_ongoing");
    assert_eq!(similar.body["order"]["order_id"], first);
    let with = |tag: &str| {
        let call = server.call("PUT", &format!("/v1/drafts/{second}/confirmation")).header("If-Match", tag);
        call.json(&json!({"confirmed": true})).send()
    };
    with("*").problem(400, "invalid_request");
    let tag = format!("\"{}\"", text(&order.body["revision"]));
    assert_eq!(with(&tag).expect(202).id(), second);
    // The draft's id is its key: that goes before the revision, which has changed by now.
    assert_eq!(with(&tag).expect(202).id(), second);
}

#[test]
fn a_draft_past_its_time_binds_nobody() {
    let server = impatient();
    let customer = fresh("cus");
    let id = draft(&server, &basket(&customer)).expect(201).id();
    let kept = draft(&server, &basket(&fresh("cus"))).expect(201).id();
    confirm(&server, &kept).expect(202);
    let expired = until("the draft expires", || {
        let put = server.call("PUT", &format!("/v1/drafts/{id}")).json(&json!({}));
        assert_eq!(put.send().status, 400);
        let draft = server.get(&format!("/v1/drafts/{id}")).expect(200).body;
        (Utc::now() > text(&draft["valid_until"]).parse::<DateTime<Utc>>().unwrap()).then_some(draft)
    });
    assert_eq!(expired["confirmed"], false);
    confirm(&server, &id).problem(409, "draft_expired");
    let put = server.call("PUT", &format!("/v1/drafts/{id}")).json(&basket(&customer));
    put.send().problem(409, "draft_expired");
    assert_eq!(confirm(&server, &kept).expect(202).id(), kept);
}

#[test]
fn a_deleted_draft_never_becomes_an_order() {
    let server = ordinary();
    let customer = fresh("cus");
    let id = draft(&server, &basket(&customer)).expect(201).id();
    let deleted = server.call("DELETE", &format!("/v1/orders/{id}")).send().expect(202);
    assert_eq!((&deleted.body["order_id"], &deleted.body["payment"]["status"]), (&json!(id), &json!("none")));
    assert!(!deleted.header("lungo-position").is_empty());
    assert!(!confirm(&server, &id).problem(410, "order_deleted").header("lungo-position").is_empty());
    server.get(&format!("/v1/drafts/{id}")).problem(410, "order_deleted");
    server.call("PUT", &format!("/v1/drafts/{id}")).json(&basket(&customer)).send().problem(410, "order_deleted");
    server.get(&format!("/v1/orders/{id}")).problem(410, "order_deleted");
    server.call("DELETE", &format!("/v1/orders/{id}")).send().problem(410, "order_deleted");
    assert_eq!(server.ongoing(&customer).body["orders"], json!([]));
}

#[test]
fn the_order_of_a_draft_is_deleted_with_it() {
    let server = ordinary();
    let mut body = basket(&fresh("cus"));
    body["payment"]["method"] = json!("pm_silent");
    let id = draft(&server, &body).expect(201).id();
    confirm(&server, &id).expect(202);
    server.call("DELETE", &format!("/v1/orders/{id}")).send().expect(202);
    confirm(&server, &id).problem(410, "order_deleted");
    server.get(&format!("/v1/drafts/{id}")).problem(410, "order_deleted");
}
