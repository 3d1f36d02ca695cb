//! Which operation may answer with which problems, and what each of them says: both written into the document.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use strum::VariantArray;

use crate::error::{Class, Code};
use crate::web::openapi::{operations_of, parameters};
use crate::web::problem;
use crate::web::problem::members::{self, Declared};

/// Which problems an operation has of its own, by operationId. Those that follow from its form (a key, a body) and
/// `internal_error` are added to it by themselves.
pub const PROBLEMS: &[(&str, &[Code])] = {
    use Code::*;
    &[
        ("createOrder", CREATING),
        ("getOngoingOrders", &[InvalidRequest, InvalidPosition, HistoryDiverged, Overloaded, DatabaseUnavailable]),
        ("getOrder", ONE_ORDER_SEEN),
        (
            "listOrders",
            &[InvalidRequest, InvalidCursor, InvalidPosition, HistoryDiverged, Overloaded, DatabaseUnavailable],
        ),
        ("getOrderEvents", EVENTS_OF_ONE),
        ("whyOrder", ONE_ORDER_SEEN),
        ("cancelOrder", A_WORD),
        ("deleteOrder", A_WORD),
        (
            "putPickup",
            &[
                InvalidRequest,
                InvalidPosition,
                HistoryDiverged,
                NotFound,
                OrderDeleted,
                TooLate,
                StaleVersion,
                SlotFull,
                SlotTooSoon,
                ShopNotAccepting,
                Unprocessable,
                Overloaded,
                OutcomeUnknown,
                DatabaseUnavailable,
            ],
        ),
        ("stripeCallback", &[MalformedRequest, InvalidSignature, BodyTooLarge, RequestTimeout, Overloaded]),
        ("reportArrival", A_WORD),
        (
            "createDraft",
            &[
                NotFound,
                PriceMismatch,
                ItemUnavailable,
                ShopNotAccepting,
                SlotTooSoon,
                Unprocessable,
                Overloaded,
                OutcomeUnknown,
                DatabaseUnavailable,
            ],
        ),
        ("getDraft", ONE_ORDER),
        (
            "putDraft",
            &[
                NotFound,
                PriceMismatch,
                ItemUnavailable,
                ShopNotAccepting,
                SlotTooSoon,
                DraftExpired,
                DraftConfirmed,
                OrderDeleted,
                Unprocessable,
                Overloaded,
                OutcomeUnknown,
                DatabaseUnavailable,
            ],
        ),
        ("confirmDraft", CONFIRMING),
        ("listEvents", &[InvalidRequest, InvalidCursor, CursorInvalid, Overloaded, DatabaseUnavailable]),
        ("listWebhooks", &[DatabaseUnavailable, Overloaded]),
        ("createWebhook", A_RECEIVER),
        ("getWebhook", &[NotFound, DatabaseUnavailable, Overloaded]),
        ("putWebhook", A_REPLACEMENT),
        ("deleteWebhook", A_CHANGE),
        ("rotateWebhook", A_STEP),
        ("listDeliveries", DELIVERIES),
        ("resendDelivery", A_CHANGE),
        ("resendDeliveries", A_REPLACEMENT),
        ("listAllWebhooks", &[InvalidRequest, DatabaseUnavailable, Overloaded]),
        ("createReceiver", A_RECEIVER),
        ("inspectWebhook", &[NotFound, DatabaseUnavailable, Overloaded]),
        ("replaceWebhook", A_REPLACEMENT),
        ("removeWebhook", A_CHANGE),
        ("rotateAnyWebhook", A_STEP),
        ("inspectDeliveries", DELIVERIES),
        ("resendAnyDelivery", A_CHANGE),
        ("resendAnyDeliveries", A_REPLACEMENT),
        ("listShops", &[]),
        ("getMenu", &[NotFound]),
        ("getOwnShop", &[NotFound]),
        ("listShopOrders", &[DatabaseUnavailable, Overloaded]),
        ("getShopOrder", &[NotFound, DatabaseUnavailable, Overloaded]),
        ("acceptOrder", A_STEP_OF_A_SHOP),
        ("rejectOrder", A_STEP_OF_A_SHOP),
        ("startOrder", A_STEP_OF_A_SHOP),
        ("readyOrder", A_STEP_OF_A_SHOP),
        ("recallOrder", A_STEP_OF_A_SHOP),
        ("collectedOrder", A_STEP_OF_A_SHOP),
        ("notCollectedOrder", A_STEP_OF_A_SHOP),
        ("shopCancelOrder", A_STEP_OF_A_SHOP),
        ("setMode", A_REPLACEMENT),
        ("heartbeat", &[NotFound, DatabaseUnavailable, Overloaded, OutcomeUnknown]),
        ("endHeartbeats", &[NotFound, DatabaseUnavailable, Overloaded, OutcomeUnknown]),
        ("endShopHeartbeats", &[NotFound, DatabaseUnavailable, Overloaded, OutcomeUnknown]),
        ("listItemAvailability", &[NotFound]),
        ("setItemAvailability", A_REPLACEMENT),
        ("listOptionAvailability", &[NotFound]),
        ("setOptionAvailability", A_REPLACEMENT),
        ("listPartners", &[DatabaseUnavailable, Overloaded]),
        ("createPartner", A_NEW_ONE),
        ("listKeys", &[DatabaseUnavailable, Overloaded]),
        ("createKey", A_NEW_ONE),
        ("rotateKey", A_STEP),
        ("revokeKey", A_STEP),
        ("listAllShops", &[InvalidRequest]),
        ("createShop", A_NEW_ONE),
        ("getShop", &[NotFound]),
        ("putShop", A_REPLACEMENT),
        ("listItems", &[NotFound, DatabaseUnavailable, Overloaded]),
        ("putItem", A_REPLACEMENT),
        ("listShopItems", &[NotFound]),
        ("putShopItem", A_REPLACEMENT),
        ("listShopOptions", &[NotFound]),
        ("putShopOption", A_REPLACEMENT),
        ("getShopCalendar", &[NotFound]),
        ("putShopCalendar", A_REPLACEMENT),
        ("getPartnerCalendar", &[NotFound, DatabaseUnavailable, Overloaded]),
        ("putPartnerCalendar", A_REPLACEMENT),
        ("searchOrders", &[InvalidRequest, InvalidCursor, DatabaseUnavailable, Overloaded]),
        ("inspectOrder", &[NotFound, DatabaseUnavailable, Overloaded]),
        ("inspectOrderEvents", &[InvalidRequest, NotFound, DatabaseUnavailable, Overloaded]),
        ("operatorCancelOrder", A_DEED),
        ("retryOrder", A_DEED),
        ("forceCompleteOrder", A_DEED),
        ("refundOrder", A_DEED),
        ("reduceRefund", A_DEED),
        ("getSettings", &[]),
        ("getStages", &[DatabaseUnavailable, Overloaded]),
        ("getLifecycle", &[]),
        ("getMetrics", &[]),
        ("getLiveness", &[]),
        ("getReadiness", &[NotReady, Overloaded, OutcomeUnknown, DatabaseUnavailable]),
    ]
};

/// What reading one order may be answered with that is read at least as fresh as it was seen …
const ONE_ORDER_SEEN: &[Code] = &[
    Code::InvalidPosition,
    Code::NotFound,
    Code::HistoryDiverged,
    Code::OrderDeleted,
    Code::Overloaded,
    Code::DatabaseUnavailable,
];
/// … and what a customer's word about it.
const A_WORD: &[Code] = &[
    Code::InvalidPosition,
    Code::NotFound,
    Code::HistoryDiverged,
    Code::OrderDeleted,
    Code::TooLate,
    Code::Overloaded,
    Code::OutcomeUnknown,
    Code::DatabaseUnavailable,
];
/// What an operator's command to an order may be answered with.
const A_DEED: &[Code] = {
    use Code::*;
    &[
        InvalidRequest,
        NotFound,
        NotPossible,
        StaleVersion,
        VersionRequired,
        Unprocessable,
        DatabaseUnavailable,
        Overloaded,
        OutcomeUnknown,
    ]
};

/// What reading one order or draft may be answered with.
const ONE_ORDER: &[Code] = &[Code::NotFound, Code::OrderDeleted, Code::Overloaded, Code::DatabaseUnavailable];

/// What reading an order's events may be answered with.
const EVENTS_OF_ONE: &[Code] = &[
    Code::InvalidRequest,
    Code::InvalidPosition,
    Code::NotFound,
    Code::HistoryDiverged,
    Code::OrderDeleted,
    Code::Overloaded,
    Code::DatabaseUnavailable,
];

/// What confirming a draft may be answered with: its key is its id, and its price is bound.
const CONFIRMING: &[Code] = {
    use Code::*;
    &[
        InvalidRequest,
        NotFound,
        HistoryDiverged,
        SimilarOrderOngoing,
        OrderLimitExceeded,
        ItemUnavailable,
        ShopNotAccepting,
        SlotFull,
        SlotTooSoon,
        DraftExpired,
        OrderDeleted,
        StaleRevision,
        Unprocessable,
        Overloaded,
        OutcomeUnknown,
        DatabaseUnavailable,
    ]
};

/// What creating an order may be answered with.
const CREATING: &[Code] = {
    use Code::*;
    &[
        InvalidRequest,
        NotFound,
        HistoryDiverged,
        SimilarOrderOngoing,
        OrderLimitExceeded,
        PriceMismatch,
        ItemUnavailable,
        ShopNotAccepting,
        SlotFull,
        SlotTooSoon,
        OrderDeleted,
        StaleRevision,
        IdempotencyKeyReused,
        Unprocessable,
        Overloaded,
        OutcomeUnknown,
        DatabaseUnavailable,
    ]
};

/// What admission decides against the customer's present orders.
const DECIDED: &[Code] = {
    use Code::*;
    &[
        HistoryDiverged,
        SimilarOrderOngoing,
        OrderLimitExceeded,
        PriceMismatch,
        OrderDeleted,
        StaleRevision,
        IdempotencyKeyReused,
    ]
};

/// What telling of a step may be answered with.
const A_STEP: &[Code] =
    &[Code::NotFound, Code::NotPossible, Code::DatabaseUnavailable, Code::Overloaded, Code::OutcomeUnknown];

/// What a shop's word about an order may be answered with: when it happened may be wrong.
const A_STEP_OF_A_SHOP: &[Code] = &[
    Code::NotFound,
    Code::NotPossible,
    Code::Unprocessable,
    Code::DatabaseUnavailable,
    Code::Overloaded,
    Code::OutcomeUnknown,
];

/// What changing a thing may be answered with that may be changed at any time.
const A_CHANGE: &[Code] = &[Code::NotFound, Code::DatabaseUnavailable, Code::Overloaded, Code::OutcomeUnknown];

/// What making a receiver of webhooks may be answered with.
const A_RECEIVER: &[Code] = &[
    Code::NotPossible,
    Code::AlreadyExists,
    Code::Unprocessable,
    Code::DatabaseUnavailable,
    Code::Overloaded,
    Code::OutcomeUnknown,
];

/// What reading a receiver's deliveries may be answered with.
const DELIVERIES: &[Code] =
    &[Code::InvalidRequest, Code::InvalidCursor, Code::NotFound, Code::DatabaseUnavailable, Code::Overloaded];

/// What replacing a thing may be answered with.
const A_REPLACEMENT: &[Code] =
    &[Code::NotFound, Code::Unprocessable, Code::DatabaseUnavailable, Code::Overloaded, Code::OutcomeUnknown];

/// What making a new thing may be answered with.
const A_NEW_ONE: &[Code] = &[Code::Unprocessable, Code::DatabaseUnavailable, Code::Overloaded, Code::OutcomeUnknown];

/// Adds to every operation the problems that it may answer with, grouped by status.
///
/// # Panics
/// If an operation has no entry in the table, or an entry no operation.
pub fn add_problems(document: &mut Value, table: &[(&str, &[Code])]) {
    let mut table: BTreeMap<&str, &[Code]> = table.iter().copied().collect();
    for operation in operations_of(document) {
        let Some(id) = operation["operationId"].as_str() else { continue };
        let own = table.remove(id).unwrap_or_else(|| panic!("`{id}` says nothing of its problems"));
        parameters::add_forms(operation, own);
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in own.iter().copied().chain(problems_of_form(operation)) {
            let codes = by_status.entry(problem::status(code.class()).as_u16()).or_default();
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        for (status, codes) in by_status {
            operation["responses"][status.to_string()] = response(&codes);
        }
    }
    assert!(table.is_empty(), "problems of no operation: {:?}", table.keys());
}

/// What an operation can answer merely because it has an address, needs a key or takes a body.
fn problems_of_form(operation: &Map<String, Value>) -> impl Iterator<Item = Code> {
    let needs_key = operation.get("security").and_then(Value::as_array).is_some_and(|schemes| !schemes.is_empty());
    let of_a_key: &[Code] =
        if needs_key { &[Code::Unauthenticated, Code::Forbidden, Code::TooManyRequests] } else { &[] };
    let body = operation.get("requestBody").and_then(|body| body["content"].get("application/json"));
    let of_a_body: &[Code] = match body {
        Some(_) => &[
            Code::MalformedRequest,
            Code::InvalidRequest,
            Code::RequestTimeout,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
        ],
        None => &[],
    };
    // Of every address: it may be no UTF-8.
    [of_a_key, of_a_body, &[Code::MalformedRequest, Code::InternalError]].concat().into_iter()
}

fn response(codes: &[Code]) -> Value {
    let words: Vec<String> = codes.iter().map(|code| format!("- `{code}`: {}", code.title())).collect();
    let mut headers = json!({});
    let header = |what: &str, kind: Value| json!({"description": what, "required": true, "schema": kind});
    match codes[0].class() {
        Class::Unauthenticated => {
            headers["WWW-Authenticate"] = header("The scheme to use.", json!({"type": "string"}));
        }
        Class::TooMany | Class::Unavailable => {
            headers["Retry-After"] = header("Whole seconds.", json!({"type": "integer", "minimum": 1}));
        }
        _ => {}
    }
    if codes.iter().any(|code| DECIDED.contains(code)) {
        headers["Lungo-Position"] = json!({
            "description": "Where this was decided: the next reading should be at least as fresh. Not with every code.",
            "schema": {"type": "string"},
        });
    }
    json!({
        "description": words.join("\n"),
        "headers": headers,
        "content": { problem::MEDIA_TYPE: { "schema": one_of(codes) } },
    })
}

/// The schemas of all problems, by name: one of each code, `Problem` for any of them, and what these refer to.
pub fn schemas() -> Map<String, Value> {
    let declared = members::declared();
    let mut schemas = Map::new();
    for (name, schema) in declared.iter().flat_map(|declared| &declared.referred) {
        schemas.insert(name.clone(), json!(schema));
    }
    schemas.extend(Code::VARIANTS.iter().map(|code| (schema_name(*code), schema_of(*code, &declared))));
    let mut any = one_of(Code::VARIANTS);
    any["description"] = json!("A problem of any code (RFC 9457). Treat one of an unknown code by its `status`.");
    schemas.insert("Problem".into(), any);
    schemas
}

/// A problem with one of these codes.
fn one_of(codes: &[Code]) -> Value {
    let reference = |code: &Code| format!("#/components/schemas/{}", schema_name(*code));
    if let [code] = codes {
        return json!({"$ref": reference(code)});
    }
    let mapping: Map<String, Value> = codes.iter().map(|code| (code.to_string(), json!(reference(code)))).collect();
    json!({
        "oneOf": codes.iter().map(|code| json!({"$ref": reference(code)})).collect::<Vec<_>>(),
        "discriminator": { "propertyName": "code", "mapping": mapping },
    })
}

fn schema_name(code: Code) -> String {
    format!("{code:?}Problem")
}

fn schema_of(code: Code, declared: &[Declared]) -> Value {
    let status = problem::status(code.class()).as_u16();
    let retryable = code.is_retryable();
    let mut schema = json!({
        "type": "object",
        "description": code.title(),
        "required": ["type", "title", "status", "detail", "instance", "code", "retryable", "request_id"],
        "properties": {
            "type": { "type": "string", "const": problem::type_uri(code) },
            "title": { "type": "string", "description": "The same words for each problem of this code." },
            "status": { "type": "integer", "const": status },
            "detail": { "type": "string", "description": "What is wrong with this request, for people." },
            "instance": { "type": "string", "description": "The path of the request." },
            "code": { "type": "string", "enum": [code] },
            // Without `const`: OpenAPI Generator makes it an enum of the text "false", which reads no boolean.
            "retryable": {
                "type": "boolean",
                "description": format!(
                    "Whether the same request may succeed later without being changed. Always `{retryable}` here."
                ),
            },
            "request_id": { "type": "string", "description": "Under which the log has this request." },
        },
    });
    for Declared { always, sometimes, schema: members, .. } in declared {
        if !always.contains(&code) && !sometimes.contains(&code) {
            continue;
        }
        let members = json!(members);
        let own = members["properties"].as_object().expect("members are an object").clone();
        schema["properties"].as_object_mut().expect("made above").extend(own);
        if always.contains(&code) {
            let required = members["required"].as_array().cloned().unwrap_or_default();
            schema["required"].as_array_mut().expect("made above").extend(required);
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_grouped_by_status() {
        let mut document = json!({"paths": {"/x": {"post": {
            "operationId": "x", "security": [{"partnerKey": []}], "responses": {},
            "requestBody": {"content": {"application/json": {}}},
        }}}});
        add_problems(&mut document, &[("x", &[Code::SlotFull, Code::TooLate, Code::Overloaded])]);
        let responses = document["paths"]["/x"]["post"]["responses"].as_object().unwrap();
        let statuses: Vec<&str> = responses.keys().map(String::as_str).collect();
        assert_eq!(statuses, ["400", "401", "403", "408", "409", "413", "415", "429", "500", "503"]);
        let conflict = &responses["409"]["content"][problem::MEDIA_TYPE]["schema"];
        let [full, late] = ["SlotFullProblem", "TooLateProblem"].map(|name| format!("#/components/schemas/{name}"));
        assert_eq!(conflict["oneOf"], json!([{"$ref": full}, {"$ref": late}]));
        let mapping = json!({"slot_full": full, "too_late": late});
        assert_eq!(conflict["discriminator"], json!({"propertyName": "code", "mapping": mapping}));
        let gone = json!({"$ref": "#/components/schemas/BodyTooLargeProblem"});
        assert_eq!(responses["413"]["content"][problem::MEDIA_TYPE]["schema"], gone);
        assert!(responses["503"]["headers"]["Retry-After"].is_object());
    }

    #[test]
    fn a_problem_has_the_members_of_its_code() {
        let schemas = schemas();
        let similar = &schemas["SimilarOrderOngoingProblem"];
        assert_eq!(similar["properties"]["code"]["enum"], json!(["similar_order_ongoing"]));
        assert_eq!(similar["properties"]["order"]["$ref"], "#/components/schemas/OrderView");
        let required = |schema: &str, member: &str| {
            let names = schemas[schema]["required"].as_array().unwrap();
            names.iter().any(|name| name == member)
        };
        assert!(required("SimilarOrderOngoingProblem", "revision") && required("ShopNotAcceptingProblem", "resume_at"));
        assert!(required("TooLateProblem", "order_status") && !required("NotPossibleProblem", "order_status"));
        assert!(required("ItemUnavailableProblem", "errors") && !required("InvalidRequestProblem", "errors"));
        assert!(schemas["NotPossibleProblem"]["properties"]["version"].is_object());
        assert_eq!(schemas["TooManyRequestsProblem"]["properties"].as_object().unwrap().len(), 8);
        assert_eq!(schemas["Problem"]["oneOf"].as_array().unwrap().len(), Code::VARIANTS.len());
    }

    #[test]
    #[should_panic(expected = "says nothing of its problems")]
    fn an_operation_must_say_what_its_problems_are() {
        add_problems(&mut json!({"paths": {"/x": {"get": {"operationId": "x", "responses": {}}}}}), &[]);
    }
}
