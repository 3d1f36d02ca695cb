//! How the words and values of the domain look in JSON and in the OpenAPI document. The domain itself knows
//! neither; the lists of words are its own `VARIANTS`, so that the document cannot drift.

pub mod shapes;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize, Serializer};
use strum::VariantArray;
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::catalogue::{NotAccepting, Presence};
use crate::keys::KeyKind;
use crate::lifecycle::{Actor, EventKind, PaymentStatus, Reason, Stage, Status};
use crate::order::{Currency, Instant, Money, OnUnavailable, PickupType};
use crate::store::DeliveryResult;
use crate::why::Waits;

/// An instant as the API writes it: RFC 3339, UTC, milliseconds, `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub Instant);

impl Timestamp {
    /// For members that may be null.
    pub fn maybe(at: Option<Instant>) -> Option<Self> {
        at.map(Self)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into()
    }
}

impl ToSchema for Timestamp {}

macro_rules! word_schemas {
    ($($word:ty: $description:literal;)*) => {$(
        impl PartialSchema for $word {
            fn schema() -> RefOr<Schema> {
                let words = <$word>::VARIANTS.iter().map(<&'static str>::from);
                text().enum_values(Some(words)).description(Some($description)).into()
            }
        }
        impl ToSchema for $word {}
    )*};
}

word_schemas! {
    Status: "What the customer and the shop see of an order.";
    PaymentStatus: "Where the money of an order is.";
    Actor: "Who caused an event.";
    Reason: "Why an order failed, was rejected, cancelled or not collected.";
    EventKind: "What happened to an order.";
    Stage: "The work that is to be done next on an order.";
    KeyKind: "Which family of operations a key opens.";
    Waits: "What an order waits for.";
    DeliveryResult: "Whether something is still on its way to a receiver.";
}

macro_rules! choice_schemas {
    ($($choice:ident { $($variant:ident),* }: $description:literal;)*) => {$(
        impl PartialSchema for $choice {
            fn schema() -> RefOr<Schema> {
                // A variant that is not listed here does not compile.
                fn _all_are_listed(choice: $choice) {
                    match choice { $($choice::$variant => ()),* }
                }
                let words = [$($choice::$variant),*].map(|choice| {
                    serde_json::to_value(choice).expect("plain data serialises")
                });
                text().enum_values(Some(words)).description(Some($description)).into()
            }
        }
        impl ToSchema for $choice {}
    )*};
}

choice_schemas! {
    PickupType { Counter, Curbside }: "How the customer gets the order.";
    OnUnavailable { Cancel, RemoveLine }: "What the customer wants when a line is sold out.";
    Presence { Unknown, Online, Late, Offline }: "What the heartbeats say about a shop; `unknown` while none is expected.";
    NotAccepting { Closed, LastOrder, Paused, Offline, Full }: "Why a shop takes no order.";
    ModeName { Open, Busy, Paused }: "`open`; `busy`: everything takes longer; `paused`: no new orders.";
}

/// The name of a shop's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeName {
    Open,
    Busy,
    Paused,
}

impl ModeName {
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Busy => "busy",
            Self::Paused => "paused",
        }
    }
}

/// The reasons a shop may give when it rejects an order.
pub fn rejecting() -> Object {
    reasons(Reason::REJECTING)
}

/// The reasons a shop may give when it cancels an order.
pub fn shop_cancelling() -> Object {
    reasons(Reason::SHOP_CANCELLING)
}

/// The reasons an operator may give when cancelling an order.
pub fn operator_cancelling() -> Object {
    reasons(Reason::OPERATOR_CANCELLING)
}

fn reasons(reasons: &[Reason]) -> Object {
    text().enum_values(Some(reasons.iter().map(|reason| reason.word()))).build()
}

/// The format name of currency codes, asserted by `web::body`.
pub const CURRENCY_FORMAT: &str = "iso-4217";

impl PartialSchema for Currency {
    fn schema() -> RefOr<Schema> {
        // Not a list of the codes: clients that are generated from one refuse the next code.
        text()
            .min_length(Some(3))
            .max_length(Some(3))
            .pattern(Some("^[A-Z]{3}$"))
            .format(Some(SchemaFormat::Custom(CURRENCY_FORMAT.into())))
            .description(Some("An ISO 4217 code."))
            .into()
    }
}

impl ToSchema for Currency {}

/// No order costs more, in minor units: sums of 50 lines stay far from overflowing.
const MOST_MONEY: i64 = 1_000_000_000_000;

impl PartialSchema for Money {
    fn schema() -> RefOr<Schema> {
        let amount = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0_i64))
            .maximum(Some(MOST_MONEY));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("amount", amount)
            .required("amount")
            .property("currency", RefOr::Ref(Ref::from_schema_name("Currency")))
            .required("currency")
            .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::<Schema>::FreeForm(false)))
            .description(Some("An amount in minor units (cents) of a currency."))
            .into()
    }
}

impl ToSchema for Money {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("Currency".into(), Currency::schema()));
    }
}

fn text() -> ObjectBuilder {
    Object::builder().schema_type(Type::String)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_always_has_milliseconds_and_a_z() {
        let at: Instant = "2026-01-02T03:04:05+01:00".parse().unwrap();
        assert_eq!(serde_json::to_value(Timestamp(at)).unwrap(), "2026-01-02T02:04:05.000Z");
    }

    #[test]
    fn the_documented_words_are_those_of_the_domain() {
        let schema = serde_json::to_value(Status::schema()).unwrap();
        assert_eq!(schema["enum"], serde_json::to_value(Status::VARIANTS).unwrap());
        let schema = serde_json::to_value(OnUnavailable::schema()).unwrap();
        assert_eq!(schema["enum"], serde_json::json!(["cancel", "remove_line"]));
    }
}
