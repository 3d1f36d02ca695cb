//! Marks of a database whose orders move, or have moved, to another one: read by whoever opens it, left by `migrate`.

use diesel::prelude::*;

use super::schema::meta;
use super::sql::Conn;
use super::{Error, Result};

/// In `meta` of a target that has not everything yet: whose orders it gets.
pub(super) const MOVING_FROM: &str = "moving_from";
/// In `meta` of a target that has everything: whose orders it got.
pub(super) const MOVED_FROM: &str = "moved_from";
/// In `meta` of a source whose orders are worked off elsewhere: the id of that database, and where it was.
pub(super) const MOVED_TO: &str = "moved_to";

/// Whether a service may work on this database: not on one whose orders are, or may soon be, worked off elsewhere.
///
/// # Errors
/// [`Error::Unavailable`] if not.
pub(super) fn may_serve(conn: &mut Conn, database: &str) -> Result<()> {
    let refused = |why: String| Err(Error::Unavailable(format!("{database}: {why}")));
    let mut value = |name| meta::table.find(name).select(meta::value).first::<String>(conn).optional();
    if let Some(target) = value(MOVED_TO)? {
        let way_back = "to work here again, and never there any more, delete `moved_to` from `meta`";
        return refused(format!("its orders have moved to the database {target}; {way_back}"));
    }
    if value(MOVING_FROM)?.is_some() {
        return refused("`lungo migrate` has not moved everything to it yet: run that again, it goes on".into());
    }
    Ok(())
}

/// The embedded database that this one's log began in, if it was moved from one.
pub(super) fn predecessor(conn: &mut Conn) -> Result<Option<u64>> {
    let cluster: Option<String> = meta::table.find(MOVED_FROM).select(meta::value).first(conn).optional()?;
    let parse = |cluster: String| u64::from_str_radix(&cluster, 16);
    cluster.map(parse).transpose().map_err(|_| Error::Damaged("the id of the database that it was moved from".into()))
}
