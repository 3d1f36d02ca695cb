//! What each code's problem says beyond RFC 9457. A member of a problem stands here once: its type writes it, and the
//! same type is its schema in the OpenAPI document. So no answer holds a member that clients cannot find there.

use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::catalogue::NotAccepting;
use crate::error::{Code, Fault, Members};
use crate::lifecycle::{EventKind, PaymentStatus, Status};
use crate::order::Money;
use crate::state::Order;
use crate::web::admitted::DeletedPayment;
use crate::web::views::OrderView;
use crate::web::vocabulary::Timestamp;

/// Members that problems have together, and the schemas that these refer to.
pub struct Declared {
    /// Each problem of these codes has the members.
    pub always: &'static [Code],
    /// Some problems of these codes have them, and others have none of them.
    pub sometimes: &'static [Code],
    pub schema: RefOr<Schema>,
    pub referred: Vec<(String, RefOr<Schema>)>,
}

macro_rules! members {
    ($(
        $(#[$meta:meta])*
        $name:ident: always [$($always:ident),*], sometimes [$($sometimes:ident),*] {
            $($(#[$field_meta:meta])* $field:ident: $type:ty,)*
        }
    )*) => {
        $(
            $(#[$meta])*
            #[derive(Serialize, ToSchema)]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $type,)*
            }

            impl Members for $name {
                const CODES: &'static [Code] = &[$(Code::$always,)* $(Code::$sometimes,)*];
            }
        )*

        /// Every declaration of this file.
        pub fn declared() -> Vec<Declared> {
            vec![$({
                let mut referred = Vec::new();
                <$name as ToSchema>::schemas(&mut referred);
                Declared {
                    always: &[$(Code::$always),*],
                    sometimes: &[$(Code::$sometimes),*],
                    schema: <$name as PartialSchema>::schema(),
                    referred,
                }
            }),*]
        }
    };
}

members! {
    Faults: always [ItemUnavailable], sometimes [InvalidRequest, Unprocessable] {
        /// All faults of the request at once.
        errors: Vec<FaultView>,
    }
    Similar: always [SimilarOrderOngoing], sometimes [] {
        /// The order that the customer already has.
        order: OrderView,
        /// Send it as `If-Match` if the customer has seen that order and wants another one.
        revision: String,
    }
    Present: always [StaleRevision], sometimes [HistoryDiverged] {
        /// The customer's ongoing orders.
        orders: Vec<OrderView>,
        /// Send it as `If-Match` if the customer has seen these orders and wants another one.
        revision: String,
    }
    FreshPosition: always [], sometimes [HistoryDiverged] {
        /// The `Lungo-Position` to go on with instead of the one that was sent.
        position: String,
    }
    Limit: always [OrderLimitExceeded], sometimes [] {
        /// How many ongoing orders a customer may have.
        limit: u32,
    }
    PresentTotal: always [PriceMismatch], sometimes [] {
        /// What the order costs now.
        present_total: Money,
    }
    Closed: always [ShopNotAccepting], sometimes [] {
        why: NotAccepting,
        /// When the shop takes orders again; null where that is not known.
        #[schema(required)]
        resume_at: Option<Timestamp>,
        /// The first pickup slot that this basket can have; null where that is not known.
        #[schema(required)]
        earliest_at: Option<Timestamp>,
    }
    TooSoon: always [SlotTooSoon], sometimes [] {
        /// The first pickup slot that this basket can have.
        earliest_at: Timestamp,
    }
    Tombstone: always [OrderDeleted], sometimes [] {
        order_id: Uuid,
        deleted_at: Timestamp,
        payment: DeletedPayment,
    }
    Stands: always [TooLate, StaleVersion], sometimes [NotPossible] {
        /// The order's present status.
        order_status: Status,
        payment_status: PaymentStatus,
        /// The order's present version, for `If-Match`.
        version: i64,
    }
    Changes: always [], sometimes [StaleVersion] {
        /// What happened to the order since the version that was sent, the oldest first, at most 20.
        changes: Vec<EventKind>,
    }
    Mismatch: always [], sometimes [Unprocessable] {
        /// The present status of the order that the request contradicts.
        order_status: Status,
    }
}

impl Stands {
    pub fn of(order: &Order) -> Self {
        Self { order_status: order.status, payment_status: order.payment.status, version: order.version }
    }
}

/// One fault of a request.
#[derive(Serialize, ToSchema)]
#[schema(as = Fault)]
pub struct FaultView {
    /// JSON pointer into the body; absent for a header, and for the body as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub pointer: String,
    pub code: String,
    pub detail: String,
}

impl From<&Fault> for FaultView {
    fn from(Fault { pointer, code, detail }: &Fault) -> Self {
        Self { pointer: pointer.clone(), code: code.clone().into_owned(), detail: detail.clone() }
    }
}
