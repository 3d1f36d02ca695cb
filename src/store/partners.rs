//! Partners, their keys, their shops and menus: small, read as a whole, changed by people.

use diesel::prelude::*;
use uuid::Uuid;

use super::rows::{document, instant, millis, raw, to_document, uuid, word};
use super::schema::{calendars, items, keys, partners, shop_items, shop_options, shops};
use super::sql::{Conn, Json, Millis, RawId, native};
use super::tx::{Tx, Urgency};
use super::{Error, Result, Store};
use crate::catalogue::demo::Demo;
use crate::catalogue::{Exception, Item, Shop, ShopItem, ShopOption};
use crate::keys::{KeyKind, Owner};
use crate::order::{Hash, Instant, PartnerId, ShopId};

/// A partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    pub partner_id: PartnerId,
    pub name: String,
    pub created_at: Instant,
}

/// What is kept of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub key_id: Uuid,
    pub owner: Owner,
    pub hash: Hash,
    /// What people call it.
    pub label: String,
    pub created_at: Instant,
    pub revoked_at: Option<Instant>,
}

/// All that the catalogue is made of.
pub struct CatalogueRows {
    pub shops: Vec<Shop>,
    pub items: Vec<Item>,
    pub shop_items: Vec<ShopItem>,
    pub shop_options: Vec<ShopOption>,
    /// What a shop, or a partner for all of its shops, says of dates.
    pub calendars: Vec<(Uuid, Vec<Exception>)>,
}

/// What became of revoking a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    Done,
    /// It had been revoked before.
    Already,
    Unknown,
    /// It is the only valid key of an operator: without it nobody could make another.
    LastAdmin,
}

impl Store {
    pub async fn catalogue(&self) -> Result<CatalogueRows> {
        self.readers
            .read(|conn| {
                Ok(CatalogueRows {
                    shops: documents(shops::table.select(shops::body).load(conn)?)?,
                    items: documents(items::table.select(items::body).load(conn)?)?,
                    shop_items: documents(shop_items::table.select(shop_items::body).load(conn)?)?,
                    shop_options: documents(shop_options::table.select(shop_options::body).load(conn)?)?,
                    calendars: {
                        let rows: Vec<(RawId, Json)> = calendars::table.load(conn)?;
                        let read = |(owner, body): (RawId, Json)| Ok((uuid(&owner)?, document(&body)?));
                        rows.into_iter().map(read).collect::<Result<_>>()?
                    },
                })
            })
            .await
    }

    pub async fn partners(&self) -> Result<Vec<Partner>> {
        self.readers
            .read(|conn| {
                let rows: Vec<(RawId, String, Millis)> = partners::table.order(partners::created_at).load(conn)?;
                rows.into_iter()
                    .map(|(id, name, created_at)| {
                        Ok(Partner { partner_id: PartnerId(uuid(&id)?), name, created_at: instant(created_at) })
                    })
                    .collect()
            })
            .await
    }

    pub async fn put_partner(&self, partner: Partner) -> Result<()> {
        self.lane.write(Urgency::Control, move |tx| insert_partner(tx, &partner)).await
    }

    /// Fills an empty database with the demo partner. False, and nothing done, if there is a partner already.
    pub async fn seed(&self, demo: Demo, keys: Vec<StoredKey>, now: Instant) -> Result<bool> {
        self.lane
            .write(Urgency::Control, move |tx| {
                if partners::table.count().get_result::<i64>(tx.conn()?)? > 0 {
                    return Ok(false);
                }
                let name = demo.partner_name.to_owned();
                insert_partner(tx, &Partner { partner_id: demo.partner_id, name, created_at: now })?;
                demo.shops.iter().try_for_each(|shop| upsert_shop(tx, shop))?;
                demo.items.iter().try_for_each(|item| upsert_item(tx, item))?;
                demo.shop_items.iter().try_for_each(|item| upsert_shop_item(tx, item))?;
                keys.iter().try_for_each(|key| insert_key(tx, key))?;
                Ok(true)
            })
            .await
    }

    pub async fn put_shop(&self, shop: Shop) -> Result<()> {
        self.lane.write(Urgency::Control, move |tx| upsert_shop(tx, &shop)).await
    }

    /// Changes a shop as it stands now; `None` if there is no such shop.
    pub async fn change_shop(
        &self,
        id: ShopId,
        mut change: impl FnMut(&mut Shop) + Send + 'static,
    ) -> Result<Option<Shop>> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let body: Option<Json> = shops::table.find(raw(id)).select(shops::body).first(tx.conn()?).optional()?;
                let Some(mut shop) = body.as_ref().map(document::<Shop>).transpose()? else {
                    tx.refuse();
                    return Ok(None);
                };
                change(&mut shop);
                upsert_shop(tx, &shop)?;
                Ok(Some(shop))
            })
            .await
    }

    pub async fn put_item(&self, item: Item) -> Result<()> {
        self.lane.write(Urgency::Control, move |tx| upsert_item(tx, &item)).await
    }

    pub async fn put_shop_item(&self, item: ShopItem) -> Result<()> {
        self.lane.write(Urgency::Control, move |tx| upsert_shop_item(tx, &item)).await
    }

    /// Changes what a shop has of an item, starting from `otherwise` where it has never said anything about it.
    pub async fn change_shop_item(
        &self,
        otherwise: ShopItem,
        mut change: impl FnMut(&mut ShopItem) + Send + 'static,
    ) -> Result<ShopItem> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let body: Option<Json> = shop_items::table
                    .find((raw(otherwise.shop_id), &otherwise.item_id))
                    .select(shop_items::body)
                    .first(tx.conn()?)
                    .optional()?;
                let mut item =
                    body.as_ref().map(document::<ShopItem>).transpose()?.unwrap_or_else(|| otherwise.clone());
                change(&mut item);
                upsert_shop_item(tx, &item)?;
                Ok(item)
            })
            .await
    }

    pub async fn put_shop_option(&self, option: ShopOption) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let body = to_document(&option);
                let row = diesel::insert_into(shop_options::table)
                    .values((
                        shop_options::shop_id.eq(raw(option.shop_id)),
                        shop_options::option_id.eq(&option.option_id),
                        shop_options::body.eq(&body),
                    ))
                    .on_conflict((shop_options::shop_id, shop_options::option_id))
                    .do_update()
                    .set(shop_options::body.eq(&body));
                native!(tx.conn()?, conn => row.execute(conn))?;
                Ok(())
            })
            .await
    }

    /// Replaces what a shop, or a partner for all of its shops, says of dates.
    pub async fn put_calendar(&self, owner: Uuid, exceptions: Vec<Exception>) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let body = to_document(&exceptions);
                let row = diesel::insert_into(calendars::table)
                    .values((calendars::owner_id.eq(raw(owner)), calendars::body.eq(&body)))
                    .on_conflict(calendars::owner_id)
                    .do_update()
                    .set(calendars::body.eq(&body));
                native!(tx.conn()?, conn => row.execute(conn))?;
                Ok(())
            })
            .await
    }

    pub async fn keys(&self) -> Result<Vec<StoredKey>> {
        self.readers
            .read(|conn| {
                let rows: Vec<KeyRow> = keys::table.order(keys::created_at).load(conn)?;
                rows.into_iter().map(KeyRow::into_stored).collect()
            })
            .await
    }

    /// Adds a key, and revokes the one it replaces in the same transaction. False, and nothing done, if that one
    /// does not exist or is revoked already.
    pub async fn add_key(&self, key: StoredKey, replaces: Option<Uuid>) -> Result<bool> {
        self.lane
            .write(Urgency::Control, move |tx| {
                if let Some(old) = replaces
                    && !revoke(tx.conn()?, old, key.created_at)?
                {
                    tx.refuse();
                    return Ok(false);
                }
                insert_key(tx, &key)?;
                Ok(true)
            })
            .await
    }

    /// Ends a key's validity, unless it is the last valid one of an operator.
    pub async fn revoke_key(&self, key_id: Uuid, now: Instant) -> Result<Revoked> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let revoked = revoke_unless_last(tx.conn()?, key_id, now)?;
                if revoked != Revoked::Done {
                    tx.refuse();
                }
                Ok(revoked)
            })
            .await
    }
}

fn revoke_unless_last(conn: &mut Conn, key_id: Uuid, now: Instant) -> Result<Revoked> {
    let key: Option<KeyRow> = keys::table.find(raw(key_id)).first(conn).optional()?;
    let Some(key) = key.map(KeyRow::into_stored).transpose()? else { return Ok(Revoked::Unknown) };
    if key.revoked_at.is_some() {
        return Ok(Revoked::Already);
    }
    let valid_of_its_kind =
        keys::table.filter(keys::kind.eq(key.owner.kind().to_string())).filter(keys::revoked_at.is_null()).count();
    if key.owner == Owner::Admin && valid_of_its_kind.get_result::<i64>(conn)? == 1 {
        return Ok(Revoked::LastAdmin);
    }
    revoke(conn, key_id, now)?;
    Ok(Revoked::Done)
}

fn documents<T: serde::de::DeserializeOwned>(bodies: Vec<Json>) -> Result<Vec<T>> {
    bodies.iter().map(document).collect()
}

fn insert_partner(tx: &mut Tx, partner: &Partner) -> Result<()> {
    diesel::insert_into(partners::table)
        .values((
            partners::id.eq(raw(partner.partner_id)),
            partners::name.eq(&partner.name),
            partners::created_at.eq(millis(partner.created_at)),
        ))
        .execute(tx.conn()?)?;
    Ok(())
}

fn upsert_shop(tx: &mut Tx, shop: &Shop) -> Result<()> {
    let body = to_document(shop);
    let row = diesel::insert_into(shops::table)
        .values((shops::id.eq(raw(shop.shop_id)), shops::partner_id.eq(raw(shop.partner_id)), shops::body.eq(&body)))
        .on_conflict(shops::id)
        .do_update()
        .set(shops::body.eq(&body));
    native!(tx.conn()?, conn => row.execute(conn))?;
    Ok(())
}

fn upsert_item(tx: &mut Tx, item: &Item) -> Result<()> {
    let body = to_document(item);
    let row = diesel::insert_into(items::table)
        .values((items::partner_id.eq(raw(item.partner_id)), items::item_id.eq(&item.item_id), items::body.eq(&body)))
        .on_conflict((items::partner_id, items::item_id))
        .do_update()
        .set(items::body.eq(&body));
    native!(tx.conn()?, conn => row.execute(conn))?;
    Ok(())
}

fn upsert_shop_item(tx: &mut Tx, item: &ShopItem) -> Result<()> {
    let body = to_document(item);
    let row = diesel::insert_into(shop_items::table)
        .values((
            shop_items::shop_id.eq(raw(item.shop_id)),
            shop_items::item_id.eq(&item.item_id),
            shop_items::body.eq(&body),
        ))
        .on_conflict((shop_items::shop_id, shop_items::item_id))
        .do_update()
        .set(shop_items::body.eq(&body));
    native!(tx.conn()?, conn => row.execute(conn))?;
    Ok(())
}

/// A row of `keys`.
#[derive(Queryable, Insertable)]
#[diesel(table_name = keys)]
struct KeyRow {
    id: RawId,
    kind: String,
    partner_id: Option<RawId>,
    shop_id: Option<RawId>,
    hash: Vec<u8>,
    label: String,
    created_at: Millis,
    revoked_at: Option<Millis>,
}

impl KeyRow {
    fn into_stored(self) -> Result<StoredKey> {
        let owner = match (word(&self.kind)?, &self.partner_id, &self.shop_id) {
            (KeyKind::Partner, Some(partner), None) => Owner::Partner(PartnerId(uuid(partner)?)),
            (KeyKind::Shop, Some(partner), Some(shop)) => {
                Owner::Shop { shop_id: ShopId(uuid(shop)?), partner_id: PartnerId(uuid(partner)?) }
            }
            (KeyKind::Admin, None, None) => Owner::Admin,
            _ => return Err(Error::Damaged("a key that belongs to nobody".into())),
        };
        Ok(StoredKey {
            key_id: uuid(&self.id)?,
            owner,
            hash: self.hash.try_into().map(Hash).map_err(|_| Error::Damaged("a key's hash".into()))?,
            label: self.label,
            created_at: instant(self.created_at),
            revoked_at: self.revoked_at.map(instant),
        })
    }
}

fn insert_key(tx: &mut Tx, key: &StoredKey) -> Result<()> {
    let (partner, shop) = match key.owner {
        Owner::Partner(partner) => (Some(partner), None),
        Owner::Shop { shop_id, partner_id } => (Some(partner_id), Some(shop_id)),
        Owner::Admin => (None, None),
    };
    diesel::insert_into(keys::table)
        .values(KeyRow {
            id: raw(key.key_id),
            kind: key.owner.kind().to_string(),
            partner_id: partner.map(raw),
            shop_id: shop.map(raw),
            hash: key.hash.0.to_vec(),
            label: key.label.clone(),
            created_at: millis(key.created_at),
            revoked_at: key.revoked_at.map(millis),
        })
        .execute(tx.conn()?)?;
    Ok(())
}

fn revoke(conn: &mut Conn, key_id: Uuid, now: Instant) -> Result<bool> {
    let valid = keys::table.find(raw(key_id)).filter(keys::revoked_at.is_null());
    Ok(diesel::update(valid).set(keys::revoked_at.eq(millis(now))).execute(conn)? == 1)
}
