//! From the answers that name a thing to the operations on that thing, as OpenAPI's links.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::web::openapi::operations_of;

/// An answer by operationId and status; where its parameter's values stand; the operations that take them.
type Links = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const ORDER: &[&str] =
    &["getOrder", "getOrderEvents", "whyOrder", "cancelOrder", "deleteOrder", "putPickup", "reportArrival"];
const OF_SHOP: &[&str] = &[
    "getShopOrder",
    "acceptOrder",
    "rejectOrder",
    "startOrder",
    "readyOrder",
    "recallOrder",
    "collectedOrder",
    "notCollectedOrder",
    "shopCancelOrder",
];

const LINKS: &[Links] = &[
    ("createOrder", "202", &[("order_id", "$response.body#/order_id")], ORDER),
    ("getOngoingOrders", "200", &[("order_id", "$response.body#/orders/0/order_id")], ORDER),
    ("listOrders", "200", &[("order_id", "$response.body#/orders/0/order_id")], ORDER),
    (
        "createDraft",
        "201",
        &[("order_id", "$response.body#/order_id")],
        &["getDraft", "putDraft", "confirmDraft", "deleteOrder"],
    ),
    ("confirmDraft", "202", &[("order_id", "$response.body#/order_id")], ORDER),
    ("listShops", "200", &[("shop_id", "$response.body#/shops/0/shop_id")], &["getMenu"]),
    (
        "createWebhook",
        "201",
        &[("webhook_id", "$response.body#/webhook_id")],
        &["getWebhook", "putWebhook", "deleteWebhook", "rotateWebhook", "listDeliveries", "resendDeliveries"],
    ),
    (
        "listDeliveries",
        "200",
        &[("webhook_id", "$request.path.webhook_id"), ("delivery_id", "$response.body#/deliveries/0/delivery_id")],
        &["resendDelivery"],
    ),
    ("listShopOrders", "200", &[("order_id", "$response.body#/orders/0/order_id")], OF_SHOP),
    ("listItemAvailability", "200", &[("item_id", "$response.body#/items/0/item_id")], &["setItemAvailability"]),
    (
        "listOptionAvailability",
        "200",
        &[("option_id", "$response.body#/options/0/option_id")],
        &["setOptionAvailability"],
    ),
    (
        "createPartner",
        "201",
        &[("partner_id", "$response.body#/partner_id")],
        &["listItems", "getPartnerCalendar", "putPartnerCalendar"],
    ),
    ("createKey", "201", &[("key_id", "$response.body#/key_id")], &["rotateKey", "revokeKey"]),
    (
        "createShop",
        "201",
        &[("shop_id", "$response.body#/shop_id")],
        &[
            "getShop",
            "putShop",
            "endShopHeartbeats",
            "listShopItems",
            "listShopOptions",
            "getShopCalendar",
            "putShopCalendar",
        ],
    ),
    (
        "listShopItems",
        "200",
        &[("shop_id", "$request.path.shop_id"), ("item_id", "$response.body#/items/0/item_id")],
        &["putShopItem"],
    ),
    (
        "listShopOptions",
        "200",
        &[("shop_id", "$request.path.shop_id"), ("option_id", "$response.body#/options/0/option_id")],
        &["putShopOption"],
    ),
    (
        "searchOrders",
        "200",
        &[("order_id", "$response.body#/orders/0/order_id")],
        &[
            "inspectOrder",
            "inspectOrderEvents",
            "operatorCancelOrder",
            "retryOrder",
            "forceCompleteOrder",
            "refundOrder",
            "reduceRefund",
        ],
    ),
    (
        "createReceiver",
        "201",
        &[("webhook_id", "$response.body#/webhook_id")],
        &[
            "inspectWebhook",
            "replaceWebhook",
            "removeWebhook",
            "rotateAnyWebhook",
            "inspectDeliveries",
            "resendAnyDeliveries",
        ],
    ),
    (
        "inspectDeliveries",
        "200",
        &[("webhook_id", "$request.path.webhook_id"), ("delivery_id", "$response.body#/deliveries/0/delivery_id")],
        &["resendAnyDelivery"],
    ),
];

/// Adds every link to its answer.
///
/// # Panics
/// If the document has no such answer or operation, or a link gives other parameters than the operation has in its path.
pub fn add_links(document: &mut Value) {
    let in_path = |operation: &Map<String, Value>| -> Vec<String> {
        let parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let names = parameters.filter(|parameter| parameter["in"] == "path").map(|parameter| &parameter["name"]);
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let wanted: BTreeMap<String, Vec<String>> = operations_of(document)
        .map(|operation| (operation["operationId"].as_str().unwrap_or_default().to_owned(), in_path(operation)))
        .collect();
    for (from, status, given, targets) in LINKS {
        let operation = operations_of(document).find(|operation| operation["operationId"] == *from);
        let operation = operation.unwrap_or_else(|| panic!("`{from}` is no operation"));
        let answer = operation["responses"].get_mut(*status).unwrap_or_else(|| panic!("`{from}` has no {status}"));
        let parameters: Map<String, Value> = given.iter().map(|(name, at)| ((*name).into(), json!(at))).collect();
        for target in *targets {
            let wanted = wanted.get(*target).unwrap_or_else(|| panic!("`{target}` is no operation"));
            assert!(same(wanted, &parameters), "{from} → {target}: {wanted:?}");
            answer["links"][*target] = json!({"operationId": target, "parameters": parameters});
        }
    }
}

fn same(wanted: &[String], given: &Map<String, Value>) -> bool {
    wanted.len() == given.len() && wanted.iter().all(|name| given.contains_key(name))
}
