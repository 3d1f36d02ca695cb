//! Users of the console, the one-time links by which they choose a password, and how often somebody guessed wrong.

use diesel::prelude::*;
use uuid::Uuid;

use super::rows::{instant, millis, raw, uuid};
use super::schema::{links, login_failures, sessions, users};
use super::sql::{Conn, Millis, RawId, native};
use super::tx::{Tx, Urgency};
use super::{Error, Result, Store};
use crate::access::{self, DEVICE_KNOWN, FORGOTTEN, Guessed, Guesser, LINK_VALID, Role, User};
use crate::order::{Hash, Instant};

/// What became of a change of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Done,
    Unknown,
    /// Somebody has that name.
    Taken,
    /// Nobody else could make users.
    LastAdmin,
}

impl Store {
    /// All users, by name.
    pub async fn users(&self) -> Result<Vec<User>> {
        self.readers
            .read(|conn| users::table.order(users::name).load(conn)?.into_iter().map(UserRow::into_user).collect())
            .await
    }

    /// The user of that name, with the hash of its password.
    pub async fn credentials(&self, name: String) -> Result<Option<(User, Option<String>)>> {
        self.readers
            .read(move |conn| {
                let row: Option<UserRow> = users::table.filter(users::name.eq(name)).first(conn).optional()?;
                let Some(row) = row else { return Ok(None) };
                let password = row.password.clone();
                Ok(Some((row.into_user()?, password)))
            })
            .await
    }

    /// Adds a user, who chooses a password by the link with this hash.
    pub async fn add_user(&self, user: User, link: Hash) -> Result<Changed> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let taken: i64 = users::table.filter(users::name.eq(&user.name)).count().get_result(tx.conn()?)?;
                if taken > 0 {
                    tx.refuse();
                    return Ok(Changed::Taken);
                }
                insert(tx.conn()?, &user)?;
                insert_link(tx, user.id, link, user.created_at)?;
                Ok(Changed::Done)
            })
            .await
    }

    /// A link for a user who has none, or lost the password; older links of the user end.
    pub async fn add_link(&self, user_id: Uuid, link: Hash, now: Instant) -> Result<Changed> {
        self.lane
            .write(Urgency::Control, move |tx| {
                if users::table.find(raw(user_id)).count().get_result::<i64>(tx.conn()?)? == 0 {
                    tx.refuse();
                    return Ok(Changed::Unknown);
                }
                insert_link(tx, user_id, link, now)?;
                Ok(Changed::Done)
            })
            .await
    }

    /// A link for the administrator, where nobody can log in yet: makes that user if it is missing. False, and
    /// nothing done, once somebody has chosen a password.
    pub async fn add_first_link(&self, link: Hash, now: Instant) -> Result<bool> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let passwords: i64 =
                    users::table.filter(users::password.is_not_null()).count().get_result(tx.conn()?)?;
                if passwords > 0 {
                    return Ok(false);
                }
                let known: Option<RawId> =
                    users::table.filter(users::name.eq(FIRST_USER)).select(users::id).first(tx.conn()?).optional()?;
                let id = match known {
                    Some(id) => uuid(&id)?,
                    None => {
                        let (id, name, roles) = (Uuid::now_v7(), FIRST_USER.to_owned(), vec![Role::Admin]);
                        let user = User { id, name, roles, created_at: now, disabled_at: None, has_password: false };
                        insert(tx.conn()?, &user)?;
                        id
                    }
                };
                insert_link(tx, id, link, now)?;
                Ok(true)
            })
            .await
    }

    /// Whose link this is, if it can still be followed.
    pub async fn link(&self, link: Hash, now: Instant) -> Result<Option<User>> {
        self.readers.read(move |conn| valid_link(conn, link, now)).await
    }

    /// Follows a link, once: sets the password, and ends all sessions of the user.
    pub async fn follow_link(&self, link: Hash, password: String, now: Instant) -> Result<Option<User>> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let Some(user) = valid_link(tx.conn()?, link, now)? else {
                    tx.refuse();
                    return Ok(None);
                };
                let used = links::used_at.eq(millis(now));
                diesel::update(links::table.find(link.0.as_slice())).set(used).execute(tx.conn()?)?;
                set_password(tx.conn()?, user.id, &password, None, now)?;
                Ok(Some(User { has_password: true, ..user }))
            })
            .await
    }

    /// Sets a user's password, and ends all its other sessions.
    pub async fn set_password(&self, user_id: Uuid, password: String, keep: Uuid, now: Instant) -> Result<()> {
        self.lane.write(Urgency::Control, move |tx| set_password(tx.conn()?, user_id, &password, Some(keep), now)).await
    }

    /// Gives a user these roles, and shuts it out or lets it in again. Its sessions end when it is shut out.
    pub async fn change_user(&self, user_id: Uuid, roles: Vec<Role>, disabled: bool, now: Instant) -> Result<Changed> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let all: Vec<UserRow> = users::table.load(tx.conn()?)?;
                let all: Vec<User> = all.into_iter().map(UserRow::into_user).collect::<Result<_>>()?;
                let Some(user) = all.iter().find(|user| user.id == user_id) else {
                    tx.refuse();
                    return Ok(Changed::Unknown);
                };
                let is_admin =
                    |user: &User| user.has_password && user.disabled_at.is_none() && user.roles.contains(&Role::Admin);
                let stays = roles.contains(&Role::Admin) && !disabled;
                let others = all.iter().filter(|user| user.id != user_id && is_admin(user)).count();
                if is_admin(user) && !stays && others == 0 {
                    tx.refuse();
                    return Ok(Changed::LastAdmin);
                }
                let disabled_at = disabled.then(|| millis(user.disabled_at.unwrap_or(now)));
                diesel::update(users::table.find(raw(user_id)))
                    .set((users::roles.eq(text_of(&roles)), users::disabled_at.eq(disabled_at)))
                    .execute(tx.conn()?)?;
                if disabled {
                    end_sessions(tx.conn()?, user_id, None, now)?;
                }
                Ok(Changed::Done)
            })
            .await
    }

    /// Counts an attempt at a password before it is looked at, so that many at once are not free. `Err` is until when
    /// this guesser may not try: then it was not counted.
    pub async fn attempt_login(&self, guesser: Guesser, now: Instant) -> Result<std::result::Result<(), Instant>> {
        self.lane
            .write(Urgency::Control, move |tx| {
                let mut counts = Vec::new();
                for (subject, guessed) in subjects(tx.conn()?, &guesser, now)? {
                    let known: Option<(i32, Millis, Option<Millis>)> = login_failures::table
                        .find(&subject)
                        .select((login_failures::failures, login_failures::last_at, login_failures::locked_until))
                        .first(tx.conn()?)
                        .optional()?;
                    let locked = known.and_then(|(_, _, until)| until).filter(|until| *until > millis(now));
                    if let Some(until) = locked {
                        tx.refuse();
                        return Ok(Err(instant(until)));
                    }
                    let before = known.filter(|(_, at, _)| now - instant(*at) < FORGOTTEN).map_or(0, |(n, ..)| n);
                    counts.push((subject, guessed, before.saturating_add(1)));
                }
                for (subject, guessed, failures) in counts {
                    let until = access::lock(guessed, failures).map(|wait| millis(now + wait));
                    let change = (
                        login_failures::failures.eq(failures),
                        login_failures::last_at.eq(millis(now)),
                        login_failures::locked_until.eq(until),
                    );
                    let count = diesel::insert_into(login_failures::table)
                        .values((login_failures::subject.eq(subject), change))
                        .on_conflict(login_failures::subject)
                        .do_update()
                        .set(change);
                    native!(tx.conn()?, conn => count.execute(conn))?;
                }
                // Guessed names must not fill the table.
                let forgotten = login_failures::last_at.lt(millis(now - FORGOTTEN));
                diesel::delete(login_failures::table.filter(forgotten)).execute(tx.conn()?)?;
                Ok(Ok(()))
            })
            .await
    }

    /// The attempt was right: the guesser's failures are forgotten, and this was none of the address.
    pub async fn forgive_login(&self, guesser: Guesser, now: Instant) -> Result<()> {
        self.lane
            .write(Urgency::Control, move |tx| {
                for (subject, guessed) in subjects(tx.conn()?, &guesser, now)? {
                    let row = login_failures::table.find(subject);
                    match guessed {
                        Guessed::User | Guessed::Device => diesel::delete(row).execute(tx.conn()?)?,
                        Guessed::Address => diesel::update(row)
                            .set((
                                login_failures::failures.eq(login_failures::failures - 1),
                                login_failures::locked_until.eq(None::<Millis>),
                            ))
                            .execute(tx.conn()?)?,
                    };
                }
                Ok(())
            })
            .await
    }
}

/// Who logs in first.
pub const FIRST_USER: &str = "admin";

/// What a guesser's failures are counted under: of a browser that is known, neither the name nor the address, which
/// others can use up.
fn subjects(conn: &mut Conn, guesser: &Guesser, now: Instant) -> Result<Vec<(String, Guessed)>> {
    let (name, address, device) = match guesser {
        Guesser::Session(id) => return Ok(vec![(format!("session:{id}"), Guessed::Device)]),
        Guesser::Browser { name, address, device } => (name, address, device),
    };
    let known: Option<RawId> = match device {
        Some(hash) => sessions::table
            .inner_join(users::table.on(users::id.eq(sessions::user_id)))
            .filter(sessions::hash.eq(hash.0.to_vec()))
            .filter(users::name.eq(name))
            .filter(sessions::seen_at.gt(millis(now - DEVICE_KNOWN)))
            .select(sessions::id)
            .first(conn)
            .optional()?,
        None => None,
    };
    Ok(match known {
        Some(session) => vec![(format!("session:{}", uuid(&session)?), Guessed::Device)],
        None => vec![
            (format!("user:{name}"), Guessed::User),
            (format!("address:{}", access::network_of(address)), Guessed::Address),
        ],
    })
}

fn text_of(roles: &[Role]) -> String {
    let words: Vec<&str> = roles.iter().map(|role| role.word()).collect();
    words.join(" ")
}

fn insert(conn: &mut Conn, user: &User) -> Result<()> {
    diesel::insert_into(users::table)
        .values((
            users::id.eq(raw(user.id)),
            users::name.eq(&user.name),
            users::roles.eq(text_of(&user.roles)),
            users::created_at.eq(millis(user.created_at)),
        ))
        .execute(conn)?;
    Ok(())
}

fn insert_link(tx: &mut Tx, user_id: Uuid, link: Hash, now: Instant) -> Result<()> {
    let older = links::table.filter(links::user_id.eq(raw(user_id))).filter(links::used_at.is_null());
    diesel::update(older).set(links::used_at.eq(millis(now))).execute(tx.conn()?)?;
    diesel::insert_into(links::table)
        .values((
            links::hash.eq(link.0.to_vec()),
            links::user_id.eq(raw(user_id)),
            links::created_at.eq(millis(now)),
            links::expires_at.eq(millis(now + LINK_VALID)),
        ))
        .execute(tx.conn()?)?;
    Ok(())
}

fn valid_link(conn: &mut Conn, link: Hash, now: Instant) -> Result<Option<User>> {
    let row: Option<UserRow> = links::table
        .inner_join(users::table.on(users::id.eq(links::user_id)))
        .filter(links::hash.eq(link.0.to_vec()))
        .filter(links::used_at.is_null())
        .filter(links::expires_at.gt(millis(now)))
        .filter(users::disabled_at.is_null())
        .select(users::all_columns)
        .first(conn)
        .optional()?;
    row.map(UserRow::into_user).transpose()
}

fn set_password(conn: &mut Conn, user_id: Uuid, password: &str, keep: Option<Uuid>, now: Instant) -> Result<()> {
    diesel::update(users::table.find(raw(user_id))).set(users::password.eq(password)).execute(conn)?;
    end_sessions(conn, user_id, keep, now)
}

/// Ends the sessions of a user, except one.
fn end_sessions(conn: &mut Conn, user_id: Uuid, keep: Option<Uuid>, now: Instant) -> Result<()> {
    let open = sessions::table
        .filter(sessions::user_id.eq(raw(user_id)))
        .filter(sessions::revoked_at.is_null())
        .filter(sessions::id.ne(raw(keep.unwrap_or_default())));
    diesel::update(open).set(sessions::revoked_at.eq(millis(now))).execute(conn)?;
    Ok(())
}

#[derive(Queryable)]
pub(super) struct UserRow {
    id: RawId,
    name: String,
    password: Option<String>,
    roles: String,
    created_at: Millis,
    disabled_at: Option<Millis>,
}

impl UserRow {
    pub(super) fn into_user(self) -> Result<User> {
        let roles = self.roles.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>();
        Ok(User {
            id: uuid(&self.id)?,
            name: self.name,
            roles: roles.map_err(|_| Error::Damaged(format!("the roles `{}`", self.roles)))?,
            created_at: instant(self.created_at),
            disabled_at: self.disabled_at.map(instant),
            has_password: self.password.is_some(),
        })
    }
}

#[cfg(test)]
mod tests;
