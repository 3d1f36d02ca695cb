//! The examples in the document are sent to a server as they are.

use chrono::Utc;
use serde_json::{Value, json};

use crate::contract;
use crate::server::{BY_HAND, Server, at, text, two_lungos};

/// The examples of a request, from its schema.
fn examples<'d>(document: &'d Value, operation: &'d Value) -> Vec<&'d Value> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let Some(target) = schema["$ref"].as_str() else { return vec![] };
    let schema = document.pointer(target.trim_start_matches('#')).expect("a reference leads somewhere");
    schema["examples"].as_array().into_iter().flatten().chain(schema.get("example")).collect()
}

/// An end that was an instant of the past when the example is sent is an hour ahead instead.
fn in_time(example: &Value) -> Value {
    let mut body = example.clone();
    if body["until"].is_string() {
        body["until"] = json!(at(Utc::now().timestamp() + 3600));
    }
    body
}

#[test]
fn every_example_of_a_request_is_done() {
    let server = Server::start(&[]);
    let document = contract::document(&server.url);
    let [shop, admin] = ["SHOP", "ADMIN"].map(|kind| server.with_key(&format!("LUNGO_{kind}_KEY")));
    let example_of = |path: &str| in_time(examples(document, &document["paths"][path]["post"])[0]);
    let made = |path: &str, member: &str| {
        text(&admin.call("POST", path).json(&example_of(path)).send().expect(201).body[member])
    };
    let webhook = text(
        &server.call("POST", "/v1/webhooks").json(&example_of("/v1/webhooks")).send().expect(201).body["webhook_id"],
    );
    let new_shop = made("/v1/admin/shops", "shop_id");
    let new_partner = made("/v1/admin/partners", "partner_id");
    // Before an example closes the shop.
    let mut of_two_lines = two_lungos("at the counter");
    of_two_lines["lines"].as_array_mut().expect("lines").push(json!({"item_id": "tea", "quantity": 1}));
    of_two_lines["total"]["amount"] = json!(820 + 300);
    // The shop may drop one of them, as an example does.
    of_two_lines["on_unavailable"] = json!("remove_line");
    let at_the_counter = text(&server.created(&of_two_lines)["order_id"]);
    let mut sent = 0;
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (number, example) in examples(document, operation).into_iter().enumerate() {
                let id = text(&operation["operationId"]);
                let draft = || {
                    let body = example_of("/v1/drafts");
                    server.call("POST", "/v1/drafts").json(&body).send().expect(201).id()
                };
                let order = || {
                    let mut body = two_lungos(&format!("of {id} {number}"));
                    body["shop_id"] = json!(BY_HAND);
                    text(&server.created(&body)["order_id"])
                };
                let fill = |part: &str| match part {
                    "{order_id}" if template.starts_with("/v1/drafts/") => draft(),
                    "{order_id}" if template.starts_with("/v1/shop/") => at_the_counter.clone(),
                    "{order_id}" => order(),
                    "{shop_id}" => new_shop.clone(),
                    "{partner_id}" => new_partner.clone(),
                    "{webhook_id}" => webhook.clone(),
                    "{item_id}" => "lungo".into(),
                    "{option_id}" => "milk_oat".into(),
                    part => part.into(),
                };
                let path = template.split('/').map(fill).collect::<Vec<_>>().join("/");
                let client = match operation["security"][0].as_object().and_then(|schemes| schemes.keys().next()) {
                    Some(scheme) if scheme == "shopKey" => &shop,
                    Some(scheme) if scheme == "adminKey" => &admin,
                    _ => &server.partner,
                };
                let mut call = client.call(&method.to_uppercase(), &path).json(&in_time(example));
                let decides = template.starts_with("/v1/admin/orders/");
                if decides {
                    let order = path.rsplit_once('/').expect("a path has parts").0;
                    call = call.header("If-Match", admin.get(order).expect(200).header("etag"));
                }
                // Whatever the answer is, it was held against the document where it came in.
                let answer = call.send();
                let is_done = (200..300).contains(&answer.status);
                // An order that was just placed is in no status for each deed, and may have moved meanwhile.
                let is_too_early = (decides && [409, 412, 422].contains(&answer.status))
                    || (template.starts_with("/v1/shop/orders/") && answer.status == 409);
                assert!(is_done || is_too_early, "{id} {example}: {answer:#?}");
                sent += usize::from(is_done);
            }
        }
    }
    assert!(sent > 20, "{sent}");
}
