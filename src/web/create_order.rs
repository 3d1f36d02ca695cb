//! The bodies that ask for an order: createOrder's, and a draft's, whose total is optional.
//!
//! Their limits stand in the attributes below and nowhere else: the OpenAPI document is made from them, and
//! `web::body` validates against that document.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::order::{
    CustomerId, Instant, Money, NewOrder, OnUnavailable, OrderId, Pickup, PickupType, RequestedLine, ShopId, text,
};

macro_rules! order_bodies {
    ($($(#[$meta:meta])* $name:ident { $(#[$total_meta:meta])* total: $($total:tt)+ })*) => {$(
        #[derive(Clone, Debug, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        pub struct $name {
            /// The partner's own name for its customer. Names are compared byte by byte: `Ada` and `ada` are two customers,
            /// and so are two Unicode forms of `é`.
            #[schema(min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$")]
            customer_id: String,
            shop_id: Uuid,
            #[schema(min_items = 1, max_items = 50)]
            lines: Vec<LineRequest>,
            $(#[$total_meta])*
            total: $($total)+,
            payment: PaymentRequest,
            pickup: Option<PickupRequest>,
            on_unavailable: Option<OnUnavailable>,
            metadata: Option<Metadata>,
            /// An order that this one takes the place of. It is noted, not cancelled.
            replaces_order_id: Option<Uuid>,
        }

        impl $name {
            /// What was asked for, in the words of the domain.
            pub fn parse(self) -> NewOrder {
                NewOrder {
                    customer_id: CustomerId(self.customer_id),
                    shop_id: ShopId(self.shop_id),
                    lines: self.lines.into_iter().map(LineRequest::parse).collect(),
                    total: self.total.into(),
                    payment_method: self.payment.method,
                    pickup: self.pickup.map(PickupRequest::parse).unwrap_or_default(),
                    on_unavailable: self.on_unavailable.unwrap_or_default(),
                    metadata: self.metadata.unwrap_or_default().0,
                    replaces_order_id: self.replaces_order_id.map(OrderId),
                }
            }
        }
    )*};
}

order_bodies! {
    /// An order, with the total that the customer was shown.
    #[schema(example = json!({
        "customer_id": "cus_82f1", "shop_id": "01970000-0000-7000-8000-000000000011",
        "lines": [{"item_id": "lungo", "quantity": 2, "options": ["milk_oat"]}],
        "total": {"amount": 820, "currency": "EUR"}, "payment": {"method": "pm_card_visa"},
        "pickup": {"type": "counter", "name": "Ada"},
    }))]
    CreateOrder {
        total: Money
    }
    /// A basket to be priced; with a total, it must be the present one.
    #[schema(example = json!({
        "customer_id": "cus_82f1", "shop_id": "01970000-0000-7000-8000-000000000011",
        "lines": [{"item_id": "cappuccino", "quantity": 1, "options": ["milk_whole"]}],
        "payment": {"method": "pm_card_visa"},
    }))]
    DraftOrder {
        total: Option<Money>
    }
}

/// One line of a basket.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LineRequest {
    #[schema(min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$")]
    item_id: String,
    #[schema(minimum = 1, maximum = 99)]
    quantity: u32,
    /// Option ids; the same one twice is two of it.
    #[schema(max_items = 20)]
    options: Option<Vec<OptionRequest>>,
}

impl LineRequest {
    fn parse(self) -> RequestedLine {
        let options = self.options.unwrap_or_default().into_iter().map(|OptionRequest(id)| id).collect();
        RequestedLine { item_id: self.item_id, options, quantity: self.quantity }
    }
}

/// The id of an option.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$")]
pub struct OptionRequest(String);

/// How it is paid.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentRequest {
    /// The gateway's own name for a card or wallet.
    #[schema(min_length = 1, max_length = 64, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$")]
    method: String,
}

/// Where and when the customer picks the order up.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"type": "curbside", "vehicle": "red van", "name": "Ada"}))]
pub struct PickupRequest {
    #[serde(rename = "type")]
    kind: Option<PickupType>,
    /// The wanted time; absent or null for as soon as possible.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Instant>,
    /// Lines are stored with a line feed at their ends, whatever the client ends them with.
    #[schema(max_length = 280, pattern = "^[^\\u0000-\\u0008\\u000B\\u000C\\u000E-\\u001F\\u007F-\\u009F]*$")]
    note: Option<String>,
    #[schema(max_length = 80, pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F]*$")]
    vehicle: Option<String>,
    /// The name that is called out when the order is ready. White space around it is cut off, and something
    /// of it has to be visible.
    #[schema(
        min_length = 1,
        max_length = 40,
        example = "Ada",
        pattern = "^[^\\u0000-\\u001F\\u007F-\\u009F]*[^\\s\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F\\u200B-\\u200F\\u202A-\\u202E\\u2060-\\u206F\\u2800\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\u0000-\\u001F\\u007F-\\u009F][^\\u0000-\\u001F\\u007F-\\u009F]*$"
    )]
    name: Option<String>,
}

impl PickupRequest {
    /// Instants are cut to the milliseconds that are stored, so that a replayed request stays equal.
    pub fn parse(self) -> Pickup {
        Pickup {
            kind: self.kind.unwrap_or_default(),
            at: self.at.and_then(|at| Instant::from_timestamp_millis(at.timestamp_millis())),
            note: self.note.map(text::with_line_feeds),
            vehicle: self.vehicle,
            name: self.name.map(|name| text::trimmed(&name).to_owned()),
        }
    }
}

/// The partner's own notes on the order.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metadata(BTreeMap<String, String>);

impl PartialSchema for Metadata {
    fn schema() -> utoipa::openapi::RefOr<Schema> {
        const NO_NUL: &str = "^[^\\u0000]*$";
        let bounded =
            |longest| ObjectBuilder::new().schema_type(Type::String).max_length(Some(longest)).pattern(Some(NO_NUL));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("The partner's own notes on the order: up to 20 texts."))
            .max_properties(Some(20))
            .property_names(Some(Schema::Object(bounded(40).min_length(Some(1)).build())))
            .additional_properties(Some(AdditionalProperties::<Schema>::RefOr(bounded(500).into())))
            .into()
    }
}

impl ToSchema for Metadata {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_left_out_is_what_null_says() {
        let shop = Uuid::now_v7();
        let short = json!({"customer_id": "c", "shop_id": shop, "lines": [{"item_id": "lungo", "quantity": 2}],
            "total": {"amount": 820, "currency": "EUR"}, "payment": {"method": "pm"}});
        let mut long = short.clone();
        long["pickup"] = json!({"type": "counter", "at": null, "note": null, "vehicle": null, "name": null});
        long["on_unavailable"] = json!("cancel");
        long["metadata"] = json!({});
        long["replaces_order_id"] = json!(null);
        long["lines"][0]["options"] = json!([]);
        let parse = |body| serde_json::from_value::<CreateOrder>(body).unwrap().parse();
        assert_eq!(parse(short.clone()), parse(long));
        let mut draft = short;
        draft.as_object_mut().unwrap().remove("total");
        assert_eq!(serde_json::from_value::<DraftOrder>(draft).unwrap().parse().total, None);
    }

    #[test]
    fn a_note_has_line_feeds_and_a_name_something_to_be_seen() {
        let parse = |note: &str, name: &str| {
            let body = json!({"customer_id": "c", "shop_id": Uuid::nil(), "payment": {"method": "pm"},
                "lines": [{"item_id": "lungo", "quantity": 2.0}], "total": {"amount": 82e1, "currency": "EUR"},
                "pickup": {"note": note, "name": name}});
            crate::web::body::parse::<CreateOrder>(body.to_string().as_bytes()).map(CreateOrder::parse)
        };
        let NewOrder { pickup, lines, .. } = parse("hot\r\n\r\nno lid\r", "\u{3000}Ada\u{200B}").unwrap();
        assert_eq!(pickup.note.as_deref(), Some("hot\n\nno lid\n"));
        assert_eq!((pickup.name.as_deref(), lines[0].quantity), (Some("Ada"), 2));
        // The schema knows the same letters as the function, as far as a schema can name them.
        for letter in (0x20..=0xFFFF).filter_map(char::from_u32).filter(|letter| !letter.is_control()) {
            if text::is_unseen(letter) || (letter as u32).is_multiple_of(997) {
                let name = letter.to_string();
                assert_eq!(parse("", &name).is_ok(), !text::is_blank(&name), "U+{:04X}", letter as u32);
            }
        }
    }

    #[test]
    fn a_pickup_time_is_kept_to_the_millisecond() {
        let pickup: PickupRequest = serde_json::from_value(json!({"at": "2026-01-02T03:04:05.123456Z"})).unwrap();
        assert_eq!(pickup.parse().at.unwrap().timestamp_subsec_nanos(), 123_000_000);
    }
}
