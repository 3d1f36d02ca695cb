//! What operators do to orders by the admin API.

use serde_json::{Value, json};

use crate::server::{fresh, ordinary, text, two_lungos};

#[test]
fn a_deed_needs_the_version_it_was_decided_on_and_moves_no_money_on_another() {
    let server = ordinary();
    let operator = server.with_key("LUNGO_ADMIN_KEY");
    let id = text(&server.created(&two_lungos(&fresh("cus")))["order_id"]);
    let path = format!("/v1/admin/orders/{id}");
    let opened = operator.get(&path).expect(200);
    server.wait_for_status(&id, "completed");
    let paid = server.wait_for_payment(&id, "captured");
    let give = |action: &str, tag: Option<&str>, body: &Value| {
        let call = operator.call("POST", &format!("{path}/{action}"));
        tag.into_iter().fold(call, |call, tag| call.header("If-Match", tag)).json(body).send()
    };
    let refund = json!({"amount": 100, "note": "it was cold"});
    let cancel = json!({"reason": "operator_request", "note": "no money was taken"});
    for (action, body) in [("cancel", &cancel), ("refund", &refund), ("retry", &json!({"note": "now"}))] {
        give(action, None, body).problem(428, "version_required");
        let stale = give(action, Some(opened.header("etag")), body).problem(412, "stale_version");
        assert_eq!(
            (&stale.body["order_status"], &stale.body["payment_status"]),
            (&json!("completed"), &json!("captured"))
        );
        assert_eq!(stale.body["version"], paid["version"], "{action}");
        let changes = stale.body["changes"].as_array().expect("what changed");
        assert!(changes.contains(&json!("payment_captured")), "{changes:?}");
    }
    let kept = server.order(&id);
    assert_eq!((&kept["version"], &kept["payment"]), (&paid["version"], &paid["payment"]), "no deed touched it");

    let now = operator.get(&path).expect(200);
    // As a proxy that compresses makes it.
    let weak = format!("W/{}", now.header("etag"));
    give("refund", Some(&weak), &refund).expect(200);
    give("refund", Some(&weak), &refund).problem(412, "stale_version");
    let refunded = server.wait_for_payment(&id, "partially_refunded");
    assert_eq!(refunded["payment"]["refunded"]["amount"], 100);
    let events = operator.get(&format!("{path}/events")).expect(200);
    let events = events.body["events"].as_array().expect("events");
    let asked = events.iter().find(|event| event["type"] == "refund_requested").expect("the refund");
    assert!(text(&asked["by"]).starts_with("key "), "{asked}");
}
