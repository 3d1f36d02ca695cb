//! Tablets that are signed in to the board of their shop.

use diesel::prelude::*;

use super::rows::{instant, millis, raw, uuid};
use super::schema::{keys, tablets};
use super::sql::{Millis, RawId};
use super::tx::Urgency;
use super::{Error, Result, Store};
use crate::access::Tablet;
use crate::keys::{KeyKind, KeyRecord, Owner};
use crate::order::{Hash, Instant, PartnerId, ShopId};

/// A key's id, shop and partner, and since when.
type SignedIn = (RawId, Option<RawId>, Option<RawId>, Millis);

impl Store {
    /// Signs a tablet in under a secret with this hash, and forgets those that signed in before `expired`. False, and
    /// nothing done, if its key is no valid key of a shop.
    pub async fn sign_in(&self, hash: Hash, tablet: Tablet, expired: Instant) -> Result<bool> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let key = raw(tablet.key_id);
                let valid = keys::table.find(&key).filter(keys::revoked_at.is_null());
                let of_a_shop = valid.filter(keys::kind.eq(KeyKind::Shop.to_string()));
                if of_a_shop.count().get_result::<i64>(tx.conn()?)? == 0 {
                    tx.refuse();
                    return Ok(false);
                }
                diesel::delete(tablets::table.filter(tablets::created_at.lt(millis(expired)))).execute(tx.conn()?)?;
                diesel::insert_into(tablets::table)
                    .values((
                        tablets::hash.eq(hash.0.to_vec()),
                        tablets::key_id.eq(key),
                        tablets::address.eq(&tablet.address),
                        tablets::agent.eq(&tablet.agent),
                        tablets::created_at.eq(millis(tablet.created_at)),
                    ))
                    .execute(tx.conn()?)?;
                Ok(true)
            })
            .await
    }

    /// The key by which a tablet with this hash of a secret is signed in, and when it was. `None` once it signed out
    /// or the key was revoked.
    pub async fn signed_in(&self, hash: Hash) -> Result<Option<(KeyRecord, Instant)>> {
        self.readers
            .read(move |conn| {
                let found: Option<SignedIn> = tablets::table
                    .inner_join(keys::table)
                    .filter(tablets::hash.eq(hash.0.to_vec()))
                    .filter(keys::revoked_at.is_null())
                    .select((keys::id, keys::shop_id, keys::partner_id, tablets::created_at))
                    .first(conn)
                    .optional()?;
                let Some((key, shop, partner, since)) = found else { return Ok(None) };
                let (Some(shop), Some(partner)) = (shop, partner) else {
                    return Err(Error::Damaged("a tablet with a key of no shop".into()));
                };
                let owner = Owner::Shop { shop_id: ShopId(uuid(&shop)?), partner_id: PartnerId(uuid(&partner)?) };
                Ok(Some((KeyRecord { key_id: uuid(&key)?, owner, revoked: false }, instant(since))))
            })
            .await
    }

    /// Signs a tablet out.
    pub async fn sign_out(&self, hash: Hash) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                diesel::delete(tablets::table.find(hash.0.to_vec())).execute(tx.conn()?)?;
                Ok(())
            })
            .await
    }
}
