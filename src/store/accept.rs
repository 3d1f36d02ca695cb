//! How an order comes to be: admission decides in the transaction that inserts it.

use diesel::prelude::*;

use super::changes::bear;
use super::customers::{Customer, Inquiry};
use super::drafts::{self, Draft};
use super::position::{Place, Position};
use super::rows::{millis, raw};
use super::schema::orders;
use super::sql::Conn;
use super::tx::{Touching, Tx, Urgency};
use super::{Error, Result, Store};
use crate::admission::{self, Keyed, Present, Request, Revision, Verdict};
use crate::catalogue::{Priced, Refusal};
use crate::machine::{self, Birth};
use crate::meters::{Decision, METERS};
use crate::order::{CustomerId, Hash, Instant, NewOrder, OrderId, PartnerId, ShopId};
use crate::state::Order;

/// A request to create an order, with all that admission needs to know besides the customer's present orders.
pub struct Accept {
    pub order_id: OrderId,
    pub partner_id: PartnerId,
    pub request: NewOrder,
    pub idempotency_key: Option<String>,
    pub seen: Option<Revision>,
    /// The catalogue's verdict: what it costs and when it could be ready, or its refusal.
    pub catalogue: std::result::Result<Priced, Refusal>,
    /// The draft that is being confirmed, as it was when the catalogue judged it. Its id is the order's id, and
    /// thereby its own idempotency key.
    pub draft: Option<Draft>,
    pub now: Instant,
}

/// What admission decided, and what the client has to be told with it.
pub struct Admitted {
    pub verdict: Verdict<Refusal>,
    /// The new order, the replayed one, the deleted one or the similar one.
    pub order: Option<Order>,
    /// The draft that was to be confirmed and was deleted before.
    pub buried: Option<Draft>,
    pub customer_id: CustomerId,
    /// The customer's ongoing orders, before this one.
    pub present: Vec<Order>,
    /// The customer's revision now.
    pub revision: Revision,
    pub position: Position,
}

impl Store {
    /// Decides about a new order against the customer's present ones and, if it is accepted, commits it.
    pub async fn accept(&self, accept: Accept) -> Result<Admitted> {
        if self.is_withheld() {
            return Err(Error::Withheld);
        }
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let request =
            Request { basket: accept.request.basket(), fingerprint: accept.request.fingerprint(), seen: accept.seen };
        let inquiry = Inquiry {
            partner: accept.partner_id,
            customer: accept.request.customer_id.clone(),
            // A draft's own id is its key.
            key: accept.idempotency_key.clone().filter(|_| accept.draft.is_none()),
            seen: accept.seen,
            similar_since: accept.now - policy.admission.similar_within,
        };
        let partner = accept.partner_id;
        let mut touching =
            Touching::customer(inquiry.clone()).and_slot(accept.request.shop_id, accept.request.pickup.at);
        if accept.draft.is_some() {
            touching = touching.and_draft(accept.order_id);
        }
        let (mut admitted, place) = self
            .lane
            .write_at(Urgency::Create, touching, move |tx| {
                let now = accept.now;
                let owner = (accept.partner_id, &accept.request.customer_id);
                let slot_capacity =
                    accept.catalogue.as_ref().ok().and_then(|priced| priced.slot.map(|slot| slot.capacity));
                let mut present = present(tx, &accept, &inquiry, request.fingerprint)?;
                let mut judged = accept.catalogue.clone();
                let mut buried = None;
                if let Some(draft) = &accept.draft {
                    let now_held = drafts::find_draft(tx.conn()?, accept.order_id)?;
                    buried = now_held.as_ref().filter(|held| held.deleted_at.is_some()).cloned();
                    if buried.is_some() {
                        present.keyed.get_or_insert(Keyed {
                            order_id: accept.order_id,
                            fingerprint: request.fingerprint,
                            is_deleted: true,
                        });
                    }
                    if now_held.is_none_or(|held| !held.holds_the_same(draft)) {
                        judged = Err(Refusal::DraftReplaced);
                    }
                }
                let (priced, catalogue) = match judged {
                    Ok(priced) => (Some(priced), Ok(slot_capacity)),
                    Err(refusal) => (None, Err(refusal)),
                };
                let verdict = admission::decide(&present, &request, catalogue, &policy.admission, now);
                let mut revision = present.revision;
                let order = match (&verdict, priced) {
                    (Verdict::Accept, Some(priced)) => {
                        let mut order = machine::born(Birth {
                            id: accept.order_id,
                            partner_id: accept.partner_id,
                            customer_id: accept.request.customer_id.clone(),
                            shop_id: accept.request.shop_id,
                            number: present.revision.number + 1,
                            nonce: rand::random::<i64>(),
                            placed: priced.placed,
                            pickup: accept.request.pickup.clone(),
                            offer_at: priced.offer_at,
                            expected_ready_at: priced.expected_ready_at,
                            now,
                            deadlines: &policy.deadlines,
                        });
                        let handover = tx.lease_locally(&mut order, now, policy.lease);
                        bear(tx, &order, accept.idempotency_key.as_deref(), request.fingerprint)?;
                        tx.hand_over(handover);
                        revision = Revision { number: order.number, nonce: order.nonce };
                        Some(order)
                    }
                    (Verdict::Replay(id) | Verdict::Deleted(id) | Verdict::Similar(id), _) => tx.find(*id)?,
                    _ => None,
                };
                Ok(Admitted {
                    verdict,
                    order,
                    buried,
                    // How far the database has come is only known once this is committed.
                    position: Position::of(cluster, Place::default(), owner, revision),
                    customer_id: accept.request.customer_id.clone(),
                    present: present.orders.into_iter().filter(Order::is_ongoing).collect(),
                    revision,
                })
            })
            .await?;
        admitted.position.at = place;
        self.wrote(partner, &admitted.customer_id, place);
        METERS.admissions.of(Decision::from(&admitted.verdict)).increment(1);
        Ok(admitted)
    }
}

/// What admission must know, read in the deciding transaction.
fn present(tx: &mut Tx, accept: &Accept, inquiry: &Inquiry, fingerprint: Hash) -> Result<Present> {
    let Customer { orders, revision, mut keyed, nonce_at_seen } = tx.customer(inquiry)?;
    if accept.draft.is_some() {
        keyed = tx.find(accept.order_id)?.map(|order| Keyed {
            order_id: order.id,
            fingerprint,
            is_deleted: order.deleted_at.is_some(),
        });
    }
    let slot_taken = match accept.request.pickup.at {
        Some(at) => taken(tx.conn()?, accept.request.shop_id, Some(at))?,
        None => 0,
    };
    Ok(Present { orders, revision, keyed, nonce_at_seen, slot_taken })
}

/// How many ongoing orders of a shop are in a pickup slot.
pub(super) fn taken(conn: &mut Conn, shop: ShopId, slot: Option<Instant>) -> Result<u32> {
    let Some(at) = slot else { return Ok(0) };
    let count: i64 = orders::table
        .filter(orders::shop_id.eq(raw(shop)))
        .filter(orders::slot_at.eq(millis(at)))
        .filter(orders::ongoing)
        .count()
        .get_result(conn)?;
    Ok(count.try_into().unwrap_or(u32::MAX))
}
