//! What was ordered: plain data that has been parsed and can be trusted from here on.

mod currency;
pub mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use self::currency::Currency;

/// An instant. Stored and compared at millisecond precision.
pub type Instant = DateTime<Utc>;

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident),*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> { text.parse().map(Self) }
        }
        impl $name {
            /// A new id that sorts after those made before it.
            pub fn new() -> Self { Self(Uuid::now_v7()) }
        }
        impl Default for $name {
            fn default() -> Self { Self::new() }
        }
    )*};
}

ids! {
    /// An order; also the id of its pending task, and of the draft it may have come from.
    OrderId,
    /// A partner: the app's backend.
    PartnerId,
    /// A shop of a partner.
    ShopId
}

impl OrderId {
    /// What a barista calls and a ticket shows: four characters, not unique for ever.
    pub fn short_code(self) -> String {
        let id = self.0.simple().to_string();
        // The last digits of a v7 id are its random ones.
        id[id.len() - 4..].to_uppercase()
    }
}

/// The partner's own name for its customer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CustomerId(pub String);

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An amount in minor units (cents) of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Money {
    pub amount: i64,
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (minor units)", self.amount, self.currency)
    }
}

/// How the customer gets the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PickupType {
    #[default]
    Counter,
    Curbside,
}

/// Where and when the customer picks the order up. `at` is `None` for "as soon as possible".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pickup {
    #[serde(rename = "type")]
    pub kind: PickupType,
    pub at: Option<Instant>,
    pub note: Option<String>,
    pub vehicle: Option<String>,
    /// What is called out at the counter; nothing where nobody said a name, so that what was stored and fingerprinted
    /// before there were names reads as it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What the customer wants when a line is sold out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnavailable {
    #[default]
    Cancel,
    RemoveLine,
}

/// One line as the customer asked for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestedLine {
    pub item_id: String,
    pub options: Vec<String>,
    pub quantity: u32,
}

/// A parsed request to create an order. Two requests with equal values are the same request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    pub customer_id: CustomerId,
    pub shop_id: ShopId,
    pub lines: Vec<RequestedLine>,
    pub total: Option<Money>,
    pub payment_method: String,
    pub pickup: Pickup,
    pub on_unavailable: OnUnavailable,
    pub metadata: BTreeMap<String, String>,
    pub replaces_order_id: Option<OrderId>,
}

impl NewOrder {
    /// A hash that is equal for equal requests: it tells a replayed Idempotency-Key from a reused one.
    pub fn fingerprint(&self) -> Hash {
        Hash::of(self)
    }

    /// What is bought where: the same for two orders that a customer could take for one another.
    pub fn basket(&self) -> Basket {
        Basket::new(self.shop_id, self.lines.clone())
    }
}

/// A shop and a multiset of (item, sorted options) with quantities: equal lines merged, order ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basket {
    shop_id: ShopId,
    lines: BTreeMap<(String, Vec<String>), u32>,
}

impl Basket {
    pub fn new(shop_id: ShopId, requested: impl IntoIterator<Item = RequestedLine>) -> Self {
        let mut lines = BTreeMap::new();
        for mut line in requested {
            line.options.sort();
            *lines.entry((line.item_id, line.options)).or_insert(0) += line.quantity;
        }
        Self { shop_id, lines }
    }
}

/// SHA-256 over the canonical JSON of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    pub fn of(value: &impl Serialize) -> Self {
        Self::of_bytes(&serde_json::to_vec(value).expect("plain data serialises"))
    }

    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A short name for what was hashed, to tell clients whether it has changed: 16 hexadecimal digits.
    pub fn tag(&self) -> String {
        self.0[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An option of a line, with its name and price when the order was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineOption {
    pub option_id: String,
    pub name: String,
    /// Minor units, for one drink.
    pub price: i64,
}

/// A line: a snapshot of names and prices that is never changed afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub item_id: String,
    pub name: String,
    pub quantity: u32,
    pub options: Vec<LineOption>,
    /// Minor units, for one drink with its options.
    pub unit_price: i64,
    pub make_seconds: u32,
}

impl Line {
    /// Minor units, for all of the line.
    pub fn price(&self) -> i64 {
        self.unit_price * i64::from(self.quantity)
    }
}

/// What was accepted. Never changed; its hash stands beside it and is verified before money moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub lines: Vec<Line>,
    pub total: Money,
    pub payment_method: String,
    pub on_unavailable: OnUnavailable,
    pub metadata: BTreeMap<String, String>,
    pub replaces_order_id: Option<OrderId>,
    /// W3C trace context of the request, carried to the gateways.
    pub traceparent: Option<String>,
    /// Whether the shop says when it starts, finishes and hands over; otherwise the timer does.
    pub tracks_steps: bool,
    /// How long the shop needs to make it.
    pub make_seconds: u32,
}

impl Placed {
    /// The requested lines these snapshots were made from.
    pub fn requested_lines(&self) -> impl Iterator<Item = RequestedLine> + '_ {
        self.lines.iter().map(|line| RequestedLine {
            item_id: line.item_id.clone(),
            options: line.options.iter().map(|option| option.option_id.clone()).collect(),
            quantity: line.quantity,
        })
    }
}

/// What the customer must do for the bank (3-D Secure).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentAction {
    #[serde(rename = "type")]
    /// `redirect`, or `use_stripe_sdk`.
    pub kind: String,
    /// Where the customer goes, for `redirect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the app gives to the gateway's library, for `use_stripe_sdk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
}

impl PaymentAction {
    /// The customer answers on that page.
    pub fn redirect(url: String) -> Self {
        Self { kind: "redirect".into(), url: Some(url), client_secret: None }
    }
}
