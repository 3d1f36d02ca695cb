//! Browsers that are logged in, and the filters their users keep.

use diesel::prelude::*;
use uuid::Uuid;

use super::rows::{instant, millis, raw, uuid};
use super::schema::{saved_views, sessions, users};
use super::sql::{Millis, RawId, native};
use super::tx::Urgency;
use super::users::UserRow;
use super::{Result, Store};
use crate::access::{DEVICE_KNOWN, Session, User};
use crate::order::{Hash, Instant};

/// A filter with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedView {
    pub name: String,
    pub query: String,
}

/// What one user may keep.
const MOST_VIEWS: i64 = 50;
/// Sessions that ended are kept so long: their browsers are known by them.
const KEPT: chrono::Duration = DEVICE_KNOWN;

impl Store {
    /// Opens a session under a secret with this hash, and sweeps out some that ended long ago.
    pub async fn open_session(&self, hash: Hash, session: Session) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let old = sessions::seen_at.lt(millis(session.created_at - KEPT));
                diesel::delete(sessions::table.filter(old)).execute(tx.conn()?)?;
                diesel::insert_into(sessions::table)
                    .values((
                        sessions::hash.eq(hash.0.to_vec()),
                        sessions::id.eq(raw(session.id)),
                        sessions::user_id.eq(raw(session.user_id)),
                        sessions::address.eq(&session.address),
                        sessions::agent.eq(&session.agent),
                        sessions::created_at.eq(millis(session.created_at)),
                        sessions::seen_at.eq(millis(session.seen_at)),
                    ))
                    .execute(tx.conn()?)?;
                Ok(())
            })
            .await
    }

    /// The session under the secret with this hash, if nobody ended it and its user may still come in. Whether it
    /// has lasted too long is for the caller to say.
    pub async fn session(&self, hash: Hash) -> Result<Option<(Session, User)>> {
        self.readers
            .read(move |conn| {
                let found: Option<(SessionRow, UserRow)> = sessions::table
                    .inner_join(users::table.on(users::id.eq(sessions::user_id)))
                    .filter(sessions::hash.eq(hash.0.to_vec()))
                    .filter(sessions::revoked_at.is_null())
                    .filter(users::disabled_at.is_null())
                    .select((sessions::all_columns, users::all_columns))
                    .first(conn)
                    .optional()?;
                found.map(|(session, user)| Ok((session.into_session()?, user.into_user()?))).transpose()
            })
            .await
    }

    /// The session was used.
    pub async fn touch_session(&self, session_id: Uuid, now: Instant) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let row = sessions::table.filter(sessions::id.eq(raw(session_id)));
                diesel::update(row).set(sessions::seen_at.eq(millis(now))).execute(tx.conn()?)?;
                Ok(())
            })
            .await
    }

    /// Open sessions, the last used first: of one user, or of everybody.
    pub async fn sessions(&self, user_id: Option<Uuid>) -> Result<Vec<Session>> {
        self.readers
            .read(move |conn| {
                let mut query = sessions::table
                    .filter(sessions::revoked_at.is_null())
                    .order(sessions::seen_at.desc())
                    .limit(500)
                    .into_boxed();
                if let Some(user_id) = user_id {
                    query = query.filter(sessions::user_id.eq(raw(user_id)));
                }
                query.load::<SessionRow>(conn)?.into_iter().map(SessionRow::into_session).collect()
            })
            .await
    }

    /// Ends a session: of this user, or of anybody. False if there is no such open session.
    pub async fn revoke_session(&self, session_id: Uuid, of: Option<Uuid>, now: Instant) -> Result<bool> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let mut open = sessions::table
                    .filter(sessions::id.eq(raw(session_id)))
                    .filter(sessions::revoked_at.is_null())
                    .select(sessions::hash)
                    .into_boxed();
                if let Some(user_id) = of {
                    open = open.filter(sessions::user_id.eq(raw(user_id)));
                }
                let Some(hash) = open.first::<Vec<u8>>(tx.conn()?).optional()? else {
                    tx.refuse();
                    return Ok(false);
                };
                let revoked = sessions::revoked_at.eq(millis(now));
                diesel::update(sessions::table.find(hash)).set(revoked).execute(tx.conn()?)?;
                Ok(true)
            })
            .await
    }

    /// The filters that a user keeps, by name.
    pub async fn saved_views(&self, user_id: Uuid) -> Result<Vec<SavedView>> {
        self.readers
            .read(move |conn| {
                let rows: Vec<(String, String)> = saved_views::table
                    .filter(saved_views::user_id.eq(raw(user_id)))
                    .order(saved_views::name)
                    .select((saved_views::name, saved_views::query))
                    .load(conn)?;
                Ok(rows.into_iter().map(|(name, query)| SavedView { name, query }).collect())
            })
            .await
    }

    /// Keeps a filter under its name. False, and nothing done, if the user keeps too many already.
    pub async fn save_view(&self, user_id: Uuid, view: SavedView, now: Instant) -> Result<bool> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let user = raw(user_id);
                let others = saved_views::table
                    .filter(saved_views::user_id.eq(&user))
                    .filter(saved_views::name.ne(&view.name))
                    .count()
                    .get_result::<i64>(tx.conn()?)?;
                if others >= MOST_VIEWS {
                    tx.refuse();
                    return Ok(false);
                }
                let saved = diesel::insert_into(saved_views::table)
                    .values((
                        saved_views::user_id.eq(&user),
                        saved_views::name.eq(&view.name),
                        saved_views::query.eq(&view.query),
                        saved_views::created_at.eq(millis(now)),
                    ))
                    .on_conflict((saved_views::user_id, saved_views::name))
                    .do_update()
                    .set(saved_views::query.eq(&view.query));
                native!(tx.conn()?, conn => saved.execute(conn))?;
                Ok(true)
            })
            .await
    }

    pub async fn drop_view(&self, user_id: Uuid, name: String) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                diesel::delete(saved_views::table.find((raw(user_id), &name))).execute(tx.conn()?)?;
                Ok(())
            })
            .await
    }
}

#[derive(Queryable)]
struct SessionRow {
    _hash: Vec<u8>,
    id: RawId,
    user_id: RawId,
    address: String,
    agent: String,
    created_at: Millis,
    seen_at: Millis,
    _revoked_at: Option<Millis>,
}

impl SessionRow {
    fn into_session(self) -> Result<Session> {
        Ok(Session {
            id: uuid(&self.id)?,
            user_id: uuid(&self.user_id)?,
            address: self.address,
            agent: self.agent,
            created_at: instant(self.created_at),
            seen_at: instant(self.seen_at),
        })
    }
}
