//! How an order comes to be: admission decides in the transaction that inserts it.

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;

use super::changes::record_birth;
use super::drafts::{self, Draft};
use super::lanes::{Touching, Tx, Urgency};
use super::position::{Place, Position};
use super::rows::{NameRow, OrderRow, millis, raw, uuid};
use super::schema::{order_names, orders};
use super::sql::{Conn, Millis, RawId, native};
use super::statements::{Ask, Insert, NumbersOf, OrderOfKey, Value};
use super::{Error, Policy, Result, Store, lists};
use crate::admission::{self, Keyed, Present, Request, Revision, Verdict};
use crate::catalogue::{Priced, Refusal};
use crate::lifecycle::Status;
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
        let (policy, cluster) = (self.policy.clone(), self.cluster);
        let request =
            Request { basket: accept.request.basket(), fingerprint: accept.request.fingerprint(), seen: accept.seen };
        let mut touching = Touching::customer(accept.partner_id, &accept.request.customer_id)
            .and_slot(accept.request.shop_id, accept.request.pickup.at);
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
                let mut present = present(tx, &accept, request.fingerprint, &policy)?;
                let mut judged = accept.catalogue.clone();
                if let Some(draft) = &accept.draft {
                    let now_held = drafts::find_draft(tx.conn, accept.order_id)?;
                    if now_held.as_ref().is_some_and(|held| held.deleted_at.is_some()) {
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
                        insert(tx, &order, accept.idempotency_key.as_deref(), request.fingerprint)?;
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
                    // How far the database has come is only known once this is committed.
                    position: Position::of(cluster, Place::default(), owner, revision),
                    customer_id: accept.request.customer_id.clone(),
                    present: present.orders.into_iter().filter(Order::is_ongoing).collect(),
                    revision,
                })
            })
            .await?;
        admitted.position.at = place;
        METERS.admissions.of(Decision::from(&admitted.verdict)).increment(1);
        Ok(admitted)
    }
}

/// What admission must know of the customer, read in the deciding transaction.
fn present(tx: &mut Tx, accept: &Accept, fingerprint: Hash, policy: &Policy) -> Result<Present> {
    let (partner, customer) = (accept.partner_id, &accept.request.customer_id.0);
    let conn = &mut *tx.conn;
    let mut known = lists::ongoing_of(conn, accept.partner_id, &accept.request.customer_id)?;

    let names = || {
        order_names::table
            .filter(order_names::partner_id.eq(raw(partner)))
            .filter(order_names::customer_id.eq(customer))
    };
    // Whoever has seen the customer's orders is not told of similar ones: then nothing but the revision is needed.
    let since = millis(accept.now - policy.admission.similar_within);
    let mut revision = Revision::default();
    let mut too_old = 0;
    let newest_first = Ask::<NumbersOf, 2>::with([Value::Id(raw(partner)), Value::Text(customer)]);
    native!(conn, conn => {
        for name in newest_first.load_iter::<(i64, i64, Millis), DefaultLoadingMode>(conn)? {
            let (number, nonce, created_at) = name?;
            if revision.number == 0 {
                revision = Revision { number, nonce };
            }
            if accept.seen.is_some() || created_at <= since {
                too_old = number;
                break;
            }
        }
    });
    if revision.number > too_old {
        // Only those that can be similar. `eq_any` would be the shorter text, but is never cached.
        let succeeded = orders::status.eq(Status::Completed.word()).or(orders::status.eq(Status::NotCollected.word()));
        let rows: Vec<OrderRow> = names()
            .filter(order_names::number.gt(too_old))
            .inner_join(orders::table.on(orders::id.eq(order_names::order_id)))
            .filter(succeeded)
            .filter(orders::deleted_at.is_null())
            .order(order_names::number.desc())
            .select(orders::all_columns)
            .load(conn)?;
        for row in rows {
            known.push(row.into_order()?);
        }
    }

    let keyed = if accept.draft.is_some() {
        lists::find(conn, accept.order_id)?.map(|order| Keyed {
            order_id: order.id,
            fingerprint,
            is_deleted: order.deleted_at.is_some(),
        })
    } else if let Some(key) = &accept.idempotency_key {
        let asked = Ask::<OrderOfKey, 3>::with([Value::Id(raw(partner)), Value::Text(customer), Value::Text(key)]);
        native!(conn, conn => asked.get_result::<(RawId, Vec<u8>, Option<Millis>)>(conn))
            .optional()?
            .map(|(id, fingerprint, deleted_at)| {
                let fingerprint = fingerprint
                    .try_into()
                    .map(Hash)
                    .map_err(|_| Error::Damaged("a stored fingerprint has another length".into()))?;
                Ok::<_, Error>(Keyed { order_id: OrderId(uuid(&id)?), fingerprint, is_deleted: deleted_at.is_some() })
            })
            .transpose()?
    } else {
        None
    };

    let nonce_at_seen = match accept.seen {
        Some(seen) if seen.number > 0 => names()
            .filter(order_names::number.eq(seen.number))
            .select(order_names::nonce)
            .get_result(conn)
            .optional()?,
        _ => None,
    };

    let slot_taken = taken(conn, accept.request.shop_id, accept.request.pickup.at)?;
    Ok(Present { orders: known, revision, keyed, nonce_at_seen, slot_taken })
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

fn insert(tx: &mut Tx, order: &Order, key: Option<&str>, fingerprint: Hash) -> Result<()> {
    native!(tx.conn, conn => Insert(OrderRow::of(order)).execute(conn))?;
    native!(tx.conn, conn => Insert(NameRow::of(order, None, fingerprint)).execute(conn))?;
    if key.is_some() {
        native!(tx.conn, conn => Insert(NameRow::of(order, key, fingerprint)).execute(conn))?;
    }
    record_birth(tx, order)
}
