//! What admission decided, in HTTP: 202 with the order, or a problem with all that the client needs next.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::admission::{Revision, Verdict};
use crate::app::App;
use crate::catalogue::{NotAccepting, Refusal};
use crate::clock::now;
use crate::error::{Code, Failure};
use crate::lifecycle::PaymentStatus;
use crate::meters::Decision;
use crate::order::{Instant, PartnerId};
use crate::requests::Asked;
use crate::state::Order;
use crate::store::{Admitted, Draft, Known};
use crate::web::edge::RequestId;
use crate::web::problem::Problem;
use crate::web::problem::members::{Closed, Limit, Present, PresentTotal, Similar, Tombstone, TooSoon};
use crate::web::views::OrderView;
use crate::web::vocabulary::Timestamp;

/// What is left of something that was deleted.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Deleted {
    pub order_id: Uuid,
    pub deleted_at: Timestamp,
    pub payment: DeletedPayment,
}

/// Money may still be on its way back.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeletedPayment {
    pub status: PaymentStatus,
}

impl Deleted {
    pub fn order(order: &Order) -> Self {
        Self {
            order_id: order.id.0,
            deleted_at: Timestamp(order.deleted_at.unwrap_or(order.updated_at)),
            payment: DeletedPayment { status: order.payment.status },
        }
    }

    pub fn draft(draft: &Draft) -> Self {
        Self {
            order_id: draft.order_id.0,
            deleted_at: Timestamp(draft.deleted_at.unwrap_or(draft.created_at)),
            payment: DeletedPayment { status: PaymentStatus::None },
        }
    }

    pub fn into_failure(self) -> Failure {
        Failure::new(Code::OrderDeleted, "The order was deleted. Its money may still be on its way back.")
            .with(Tombstone { order_id: self.order_id, deleted_at: self.deleted_at, payment: self.payment })
    }
}

/// Why a deleted order or draft is not shown; `None` if it is not deleted.
pub fn gone(known: &Known) -> Option<Failure> {
    let (deleted, position) = match known {
        Known::Order(order, position) => (order.deleted_at.map(|_| Deleted::order(order)), position),
        Known::Draft(draft, position) => (draft.deleted_at.map(|_| Deleted::draft(draft)), position),
    };
    deleted.map(|deleted| deleted.into_failure().at(position.token()))
}

/// 202 with the order, or why there is none.
///
/// # Errors
/// Every refusal of admission, as the problem of its code, with the position at which it was decided.
pub fn answer(app: &App, partner: PartnerId, admitted: Admitted) -> Result<HttpResponse, Problem> {
    let now = now();
    let Admitted { verdict, order, buried, customer_id, present, revision, position } = admitted;
    let shown = |order: &Order| view(app, order, None, now).0;
    let revision_token = || revision.token(partner, &customer_id);
    let present = || Present { orders: present.iter().map(shown).collect(), revision: revision_token() };
    let missing = || Failure::new(Code::InternalError, "").because("admission named an order that is not there");
    let failure = match (verdict, order) {
        (Verdict::Accept | Verdict::Replay(_), Some(order)) => {
            let (view, retry_after) = view(app, &order, Some(revision), now);
            let mut accepted = HttpResponse::Accepted();
            accepted
                .insert_header((header::LOCATION, format!("/v1/orders/{}", order.id)))
                .insert_header((header::ETAG, format!("\"{}\"", order.version)))
                .insert_header(("Lungo-Position", position.token()));
            if let Some(seconds) = retry_after {
                accepted.insert_header((header::RETRY_AFTER, seconds));
            }
            return Ok(accepted.json(view));
        }
        (Verdict::Deleted(_), Some(order)) => Deleted::order(&order).into_failure(),
        (Verdict::Deleted(_), None) => buried.map_or_else(missing, |draft| Deleted::draft(&draft).into_failure()),
        (Verdict::Similar(_), Some(order)) => Failure::new(
            Code::SimilarOrderOngoing,
            "This customer already has this order. If another one is really wanted, send this revision as If-Match.",
        )
        .with(Similar { order: shown(&order), revision: revision_token() }),
        (Verdict::KeyReused, _) => Failure::new(
            Code::IdempotencyKeyReused,
            "This Idempotency-Key was used for another request. Use a new key for a new order.",
        ),
        (Verdict::StaleRevision, _) => {
            let detail = "This customer's orders have changed. Look at them, then decide again.";
            Failure::new(Code::StaleRevision, detail).with(present())
        }
        (Verdict::HistoryDiverged, _) => {
            let detail = "The database does not know this revision (any more). Read again.";
            Failure::new(Code::HistoryDiverged, detail).with(present())
        }
        (Verdict::LimitExceeded, _) => {
            Failure::new(Code::OrderLimitExceeded, "This customer has as many ongoing orders as allowed.")
                .with(Limit { limit: app.settings.max_ongoing_orders })
        }
        (Verdict::SlotFull, _) => Failure::new(Code::SlotFull, "This pickup slot is full: choose another one."),
        (Verdict::Catalogue(refused), _) => refusal(&refused),
        (Verdict::Accept | Verdict::Replay(_) | Verdict::Similar(_), None) => missing(),
    };
    Err(failure.at(position.token()).into())
}

/// Remembers what was decided about a request, for whoever has to find out.
pub fn note(app: &App, partner_id: PartnerId, key: Option<String>, http: &HttpRequest, admitted: &Admitted) {
    let request_id = RequestId::of(http);
    app.requests.note(Asked {
        at: now(),
        request_id,
        partner_id,
        customer_id: admitted.customer_id.clone(),
        key,
        verdict: Decision::from(&admitted.verdict).into(),
        order_id: admitted.order.as_ref().map(|order| order.id),
    });
}

/// An order as its partner sees it, and the whole seconds after which to ask again.
pub fn view(app: &App, order: &Order, present: Option<Revision>, now: Instant) -> (OrderView, Option<i64>) {
    let waiting = app.pace().waiting(order, rand::random(), now);
    (OrderView::new(order, present, &waiting), waiting.retry_after(now))
}

/// The catalogue's refusal as a problem.
pub fn refusal(refusal: &Refusal) -> Failure {
    match refusal {
        Refusal::UnknownShop => Failure::new(Code::NotFound, "There is no such shop."),
        Refusal::Crowded => Failure::new(
            Code::Overloaded,
            "Too many orders wait for this payment method or this shop already. Nothing was done: try again.",
        ),
        Refusal::DraftReplaced => Failure::new(Code::Overloaded, "The draft is being replaced: try again."),
        Refusal::DraftExpired => Failure::new(Code::DraftExpired, "The draft is no longer valid: make a new one."),
        Refusal::Unprocessable(faults) => {
            Failure::new(Code::Unprocessable, "The order does not make sense: see `errors`.").faults(faults.clone())
        }
        Refusal::ShopNotAccepting { why, resume_at, earliest_at } => {
            let detail = match why {
                NotAccepting::LastOrder => "The shop closes before this order could be ready.",
                _ => "The shop takes no orders then.",
            };
            Failure::new(Code::ShopNotAccepting, detail).with(Closed {
                why: *why,
                resume_at: Timestamp::maybe(*resume_at),
                earliest_at: Timestamp::maybe(*earliest_at),
            })
        }
        Refusal::SlotTooSoon { earliest_at } => Failure::new(
            Code::SlotTooSoon,
            "The shop cannot have this order ready by then: choose the slot at `earliest_at` or a later one.",
        )
        .with(TooSoon { earliest_at: Timestamp(*earliest_at) }),
        Refusal::ItemUnavailable(faults) => {
            Failure::new(Code::ItemUnavailable, "Something in the order is sold out: see `errors`.")
                .faults(faults.clone())
        }
        Refusal::PriceMismatch { present } => {
            let detail = format!("The order costs {present} now.");
            Failure::new(Code::PriceMismatch, detail).with(PresentTotal { present_total: *present })
        }
    }
}
