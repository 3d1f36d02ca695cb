//! What Stripe sends by itself: only which order it is about is read of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::order::OrderId;

/// A callback. Its contents are not believed: whoever wants to know looks the payment up.
#[derive(Debug, Deserialize)]
pub struct Notice {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    object: Object,
}

#[derive(Debug, Deserialize)]
struct Object {
    metadata: Option<BTreeMap<String, String>>,
    payment_intent: Option<String>,
}

impl Notice {
    /// The order it is about, if it is about one of ours: intents, their charges and our refunds carry its id.
    pub fn order_id(&self) -> Option<OrderId> {
        self.data.object.metadata.as_ref()?.get("order_id")?.parse().ok()
    }

    /// The payment it is about, as the gateway calls it. A refund that a person made by hand names nothing else.
    pub fn reference(&self) -> Option<&str> {
        let is_refund = self.kind.starts_with("refund.") || self.kind.starts_with("charge.refund");
        self.data.object.payment_intent.as_deref().filter(|_| is_refund)
    }
}

/// Reads the body of a callback.
///
/// # Errors
/// When it is not an event of Stripe's.
pub fn read(body: &[u8]) -> Result<Notice, serde_json::Error> {
    serde_json::from_slice(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_named_in_the_metadata() {
        let order_of = |object: &str| {
            let body = format!("{{\"id\":\"evt_1\",\"type\":\"x.y\",\"data\":{{\"object\":{object}}}}}");
            read(body.as_bytes()).map(|notice| notice.order_id().map(|id| id.to_string()))
        };
        let id = "01970000-0000-7000-8000-0000000000aa";
        assert_eq!(order_of(&format!("{{\"metadata\":{{\"order_id\":\"{id}\"}}}}")).unwrap().as_deref(), Some(id));
        for foreign in ["{}", "{\"metadata\":null}", "{\"metadata\":{}}", "{\"metadata\":{\"order_id\":\"42\"}}"] {
            assert_eq!(order_of(foreign).unwrap(), None, "{foreign}");
        }
        let by_hand =
            br#"{"id":"evt_1","type":"refund.failed","data":{"object":{"metadata":{},"payment_intent":"pi_1"}}}"#;
        let notice = read(by_hand).unwrap();
        assert_eq!((notice.order_id(), notice.reference()), (None, Some("pi_1")));
        for garbage in ["", "[]", "{}", "{\"id\":1}"] {
            assert!(read(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }
}
