//! Drafts: orders to be, with an id and a price the shop is bound to.

use chrono::Duration;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::position::here;
use super::rows::{document, instant, millis, raw, to_document, uuid};
use super::schema::{drafts, orders};
use super::shown::{Look, Shows};
use super::sql::{Conn, Json, Millis, RawId};
use super::tx::{Touching, Tx, Urgency};
use super::{Place, Position, Result, Store, Unreadable, lists};
use crate::admission::Revision;
use crate::order::{CustomerId, Instant, NewOrder, OrderId, PartnerId, Placed};

/// A draft. Its id is the id of the order that its confirmation makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub order_id: OrderId,
    pub partner_id: PartnerId,
    pub request: NewOrder,
    /// What the shop is bound to until `valid_until`.
    pub placed: Placed,
    pub valid_until: Instant,
    pub created_at: Instant,
    pub deleted_at: Option<Instant>,
    /// It was confirmed: there is an order of this id.
    pub is_confirmed: bool,
}

impl Draft {
    /// Whether confirming the one orders what confirming the other would.
    pub fn holds_the_same(&self, other: &Draft) -> bool {
        (&self.request, &self.placed, self.valid_until) == (&other.request, &other.placed, other.valid_until)
    }
}

/// What became of replacing a draft.
#[derive(Debug, PartialEq, Eq)]
pub enum Replaced {
    Done(Position),
    Unknown,
    Confirmed,
    Expired,
    Deleted(Box<Draft>),
}

#[derive(Serialize, Deserialize)]
struct Body {
    request: NewOrder,
    placed: Placed,
}

#[derive(Queryable, Insertable)]
#[diesel(table_name = drafts)]
struct DraftRow {
    id: RawId,
    partner_id: RawId,
    customer_id: String,
    body: Json,
    valid_until: Millis,
    created_at: Millis,
    deleted_at: Option<Millis>,
}

impl DraftRow {
    fn of(draft: &Draft) -> Self {
        Self {
            id: raw(draft.order_id),
            partner_id: raw(draft.partner_id),
            customer_id: draft.request.customer_id.0.clone(),
            body: to_document(&Body { request: draft.request.clone(), placed: draft.placed.clone() }),
            valid_until: millis(draft.valid_until),
            created_at: millis(draft.created_at),
            deleted_at: draft.deleted_at.map(millis),
        }
    }
}

impl Store {
    fn position_at(&self, place: Place, partner: PartnerId, customer: &CustomerId) -> Position {
        Position::of(self.cluster, place, (partner, customer), Revision::default())
    }

    pub async fn put_draft(&self, draft: Draft) -> Result<Position> {
        let (partner, customer) = (draft.partner_id, draft.request.customer_id.clone());
        let ((), place) = self
            .lane
            .write_at(Urgency::Create, Touching::default().and_draft(draft.order_id), move |tx| {
                diesel::insert_into(drafts::table).values(DraftRow::of(&draft)).execute(tx.conn()?)?;
                Ok(())
            })
            .await?;
        Ok(self.position_at(place, partner, &customer))
    }

    /// Replaces what a draft holds, while it is still a draft. `now` is when its old price stops binding.
    pub async fn replace_draft(&self, draft: Draft, now: Instant) -> Result<Replaced> {
        let (partner, customer) = (draft.partner_id, draft.request.customer_id.clone());
        let unplaced = self.position_at(Place::default(), partner, &customer);
        let (mut replaced, place) = self
            .lane
            .write_at(Urgency::Create, Touching::default().and_draft(draft.order_id), move |tx| {
                let before = find_draft(tx.conn()?, draft.order_id)?.filter(|d| d.partner_id == draft.partner_id);
                Ok(match before {
                    None => Replaced::Unknown,
                    Some(before) if before.deleted_at.is_some() => Replaced::Deleted(Box::new(before)),
                    Some(before) if before.is_confirmed => Replaced::Confirmed,
                    Some(before) if before.valid_until <= now => Replaced::Expired,
                    Some(_) => {
                        let row = DraftRow::of(&draft);
                        diesel::update(drafts::table.find(&row.id))
                            .set((
                                drafts::customer_id.eq(&row.customer_id),
                                drafts::body.eq(&row.body),
                                drafts::valid_until.eq(row.valid_until),
                            ))
                            .execute(tx.conn()?)?;
                        // How far the database has come is only known once this is committed.
                        Replaced::Done(unplaced.clone())
                    }
                })
            })
            .await?;
        if let Replaced::Done(position) = &mut replaced {
            position.at = place;
        }
        Ok(replaced)
    }

    pub async fn draft(&self, id: OrderId) -> Result<Option<(Draft, Position)>> {
        let cluster = self.cluster;
        self.readers.read_at(move |conn| draft_at(conn, cluster, id)).await
    }
}

/// How long a draft is kept that was never confirmed: after its price stopped binding, and after it was deleted.
const KEPT_EXPIRED: Duration = Duration::days(1);
const KEPT_DELETED: Duration = Duration::days(7);
/// Drafts that one step of a sweep looks at.
const SWEEP: i64 = 500;

impl Store {
    /// Looks at some drafts after this one, by their ids, and removes those that nobody can want any more. Returns the
    /// last one that it looked at; `None` at the end of them.
    pub async fn sweep_drafts(&self, after: Option<OrderId>, now: Instant) -> Result<Option<OrderId>> {
        let after = raw(after.map_or(uuid::Uuid::nil(), |id| id.0));
        self.lane
            .write(Urgency::Create, move |tx| {
                let seen: Vec<RawId> = drafts::table
                    .filter(drafts::id.gt(&after))
                    .order(drafts::id)
                    .limit(SWEEP)
                    .select(drafts::id)
                    .load(tx.conn()?)?;
                let is_order = diesel::dsl::exists(orders::table.filter(orders::id.eq(drafts::id)));
                let gone: Vec<RawId> = drafts::table
                    .filter(drafts::id.eq_any(&seen))
                    .filter(drafts::valid_until.lt(millis(now - KEPT_EXPIRED)))
                    .filter(drafts::deleted_at.is_null().or(drafts::deleted_at.lt(millis(now - KEPT_DELETED))))
                    .filter(diesel::dsl::not(is_order))
                    .select(drafts::id)
                    .load(tx.conn()?)?;
                diesel::delete(drafts::table.filter(drafts::id.eq_any(gone))).execute(tx.conn()?)?;
                let last = seen.last().filter(|_| seen.len() == SWEEP as usize);
                last.map(|id| Ok(OrderId(uuid(id)?))).transpose()
            })
            .await
    }
}

/// Puts a tombstone on a draft that was not confirmed. `None` if the partner has no such draft.
pub(super) fn bury(tx: &mut Tx, id: OrderId, partner: PartnerId, now: Instant) -> Result<Option<Draft>> {
    let Some(mut draft) = find_draft(tx.conn()?, id)?.filter(|draft| draft.partner_id == partner) else {
        return Ok(None);
    };
    let deleted_at = *draft.deleted_at.get_or_insert(now);
    diesel::update(drafts::table.find(raw(id))).set(drafts::deleted_at.eq(millis(deleted_at))).execute(tx.conn()?)?;
    Ok(Some(draft))
}

pub(super) fn find_draft(conn: &mut Conn, id: OrderId) -> Result<Option<Draft>> {
    let row: Option<DraftRow> = drafts::table.find(raw(id)).first(conn).optional()?;
    let Some(row) = row else { return Ok(None) };
    let is_confirmed = diesel::select(diesel::dsl::exists(orders::table.find(&row.id))).get_result(conn)?;
    let Body { request, placed } = document(&row.body)?;
    Ok(Some(Draft {
        order_id: OrderId(uuid(&row.id)?),
        partner_id: PartnerId(uuid(&row.partner_id)?),
        request,
        placed,
        valid_until: instant(row.valid_until),
        created_at: instant(row.created_at),
        deleted_at: row.deleted_at.map(instant),
        is_confirmed,
    }))
}

fn draft_at(conn: &mut Conn, cluster: u64, id: OrderId) -> Result<Option<(Draft, Position)>> {
    let Some(draft) = find_draft(conn, id)? else { return Ok(None) };
    let owner = (draft.partner_id, &draft.request.customer_id);
    let position = Position::of(cluster, here(conn)?, owner, Revision::default());
    Ok(Some((draft, position)))
}

/// What stands under an id that may be an order's or a draft's.
pub enum Known {
    Order(Box<crate::state::Order>, Position),
    Draft(Box<Draft>, Position),
}

impl Store {
    /// The order of this id, or the draft that may become it, at least as fresh as `at_least`.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub async fn known(
        &self,
        id: OrderId,
        at_least: Option<&Position>,
    ) -> std::result::Result<Option<Known>, Unreadable> {
        let (cluster, looking) = (self.cluster, self.looking(at_least));
        loop {
            let read = self.readers.read_from(move |conn| {
                if let Some((order, position)) = lists::order_at(conn, cluster, id)? {
                    return Ok(Some(Known::Order(Box::new(order), position)));
                }
                Ok(draft_at(conn, cluster, id)?.map(|(draft, position)| Known::Draft(Box::new(draft), position)))
            });
            let (holds, found) = read.await?;
            let shows = at_least.map_or(Shows::All, |seen| match &found {
                Some(Known::Order(order, _)) => seen.shown_by(order),
                _ if seen.version_of(id).is_some() => Shows::Less,
                _ => Shows::All,
            });
            let now = match &found {
                Some(Known::Order(_, position) | Known::Draft(_, position)) => position.clone(),
                None => Position::of_log(cluster, holds),
            };
            if let Some(found) = looking.judge(Look { found, holds, now, shows }).await? {
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Priced;
    use crate::fixtures::{at, placed, request};
    use crate::order::ShopId;
    use crate::store::{Accept, Options, Policy};

    #[tokio::test]
    async fn only_drafts_that_nobody_can_want_are_swept_out() {
        const DAY: i64 = 24 * 60 * 60;
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            policy: Policy::default(),
            readers: 1,
            queue: 16,
            local_queue: 1,
            commit_patience: std::time::Duration::from_secs(60),
            replica_lag: None,
            durability: None,
            max_staleness: std::time::Duration::from_millis(100),
            clock: || at(0),
            follow_clock: |_, _| {},
        };
        let (store, _claims) = Store::open(dir.path(), options).unwrap();
        let (partner_id, request) = (PartnerId::new(), request(ShopId::new()));
        let put = async |valid_until| {
            let draft = Draft {
                order_id: OrderId::new(),
                partner_id,
                request: request.clone(),
                placed: placed(),
                valid_until: at(valid_until),
                created_at: at(0),
                deleted_at: None,
                is_confirmed: false,
            };
            let id = draft.order_id;
            store.put_draft(draft).await.unwrap();
            id
        };
        let (confirmed, expired, deleted, young) = (put(60).await, put(60).await, put(60).await, put(2 * DAY).await);
        let (draft, _) = store.draft(confirmed).await.unwrap().unwrap();
        let accept = Accept {
            order_id: confirmed,
            partner_id,
            request: request.clone(),
            idempotency_key: None,
            seen: None,
            catalogue: Ok(Priced { placed: placed(), offer_at: None, expected_ready_at: at(600), slot: None }),
            draft: Some(draft),
            now: at(1),
        };
        store.accept(accept).await.unwrap().order.unwrap();
        store.delete(deleted, partner_id, at(DAY)).await.unwrap();
        let left = async |days| {
            assert_eq!(store.sweep_drafts(None, at(days * DAY + 61)).await.unwrap(), None);
            let mut left = Vec::new();
            for id in [confirmed, expired, deleted, young] {
                left.push(store.draft(id).await.unwrap().is_some());
            }
            left
        };
        assert_eq!(left(0).await, [true, true, true, true]);
        assert_eq!(left(1).await, [true, false, true, true]);
        assert_eq!(left(7).await, [true, false, true, false]);
        assert_eq!(left(8).await, [true, false, false, false]);
    }
}
