//! What operators did, and tried to: written in the transaction of the deed, and never changed.

use diesel::prelude::*;

use super::rows::{instant, millis, raw, uuid};
use super::schema::audit;
use super::sql::{Json, Millis, RawId};
use super::tx::Tx;
use super::{Result, Store};
use crate::order::Instant;
use uuid::Uuid;

/// What somebody is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Instant,
    pub user_id: Option<Uuid>,
    pub user_name: String,
    /// The word of the action.
    pub action: String,
    /// What it is done to: `order:…`, `user:…`, `shop:…`; empty for the service as a whole.
    pub subject: String,
    /// Why, in the words of whoever does it.
    pub reason: Option<String>,
    /// How exactly: a JSON object without secrets.
    pub detail: serde_json::Value,
    pub request_id: String,
}

/// An entry as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    pub position: i64,
    pub entry: Entry,
    /// False if it was refused, and nothing was changed.
    pub done: bool,
}

/// Which entries to list.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub user_name: Option<String>,
    pub action: Option<String>,
    pub subject: Option<String>,
    /// Only older ones.
    pub below: Option<i64>,
}

impl Store {
    /// The same store, which writes this into the audit log with the next thing that is written through it: in the
    /// same transaction, so that neither is there without the other. What is refused is written as refused. It is
    /// for one deed.
    pub fn recording(&self, entry: Entry) -> Self {
        Self { lane: self.lane.recording(entry), ..self.clone() }
    }

    /// Writes an entry of a deed that changes nothing in the database: looking at something, or refusing it before.
    pub async fn record(&self, entry: Entry, done: bool) -> Result<()> {
        self.recording(entry)
            .lane
            .write(super::tx::Urgency::Control, move |tx| {
                if !done {
                    tx.refuse();
                }
                Ok(())
            })
            .await
    }

    /// The newest first.
    pub async fn audit(&self, filter: AuditFilter, limit: i64) -> Result<Vec<Logged>> {
        self.readers
            .read(move |conn| {
                let mut query = audit::table.order(audit::position.desc()).limit(limit).into_boxed();
                if let Some(name) = filter.user_name {
                    query = query.filter(audit::user_name.eq(name));
                }
                if let Some(action) = filter.action {
                    query = query.filter(audit::action.eq(action));
                }
                if let Some(subject) = filter.subject {
                    query = query.filter(audit::subject.eq(subject));
                }
                if let Some(below) = filter.below {
                    query = query.filter(audit::position.lt(below));
                }
                query.load::<Row>(conn)?.into_iter().map(Row::into_logged).collect()
            })
            .await
    }
}

pub(super) fn insert(tx: &mut Tx, entry: &Entry, done: bool) -> Result<()> {
    diesel::insert_into(audit::table)
        .values((
            audit::at.eq(millis(entry.at)),
            audit::user_id.eq(entry.user_id.map(raw)),
            audit::user_name.eq(&entry.user_name),
            audit::action.eq(&entry.action),
            audit::subject.eq(&entry.subject),
            audit::reason.eq(&entry.reason),
            audit::outcome.eq(if done { DONE } else { "refused" }),
            audit::detail.eq(super::rows::to_document(&entry.detail)),
            audit::request_id.eq(&entry.request_id),
        ))
        .execute(tx.conn()?)?;
    Ok(())
}

const DONE: &str = "done";

#[derive(Queryable)]
struct Row {
    position: i64,
    at: Millis,
    user_id: Option<RawId>,
    user_name: String,
    action: String,
    subject: String,
    reason: Option<String>,
    outcome: String,
    detail: Json,
    request_id: String,
}

impl Row {
    fn into_logged(self) -> Result<Logged> {
        Ok(Logged {
            position: self.position,
            done: self.outcome == DONE,
            entry: Entry {
                at: instant(self.at),
                user_id: self.user_id.as_ref().map(uuid).transpose()?,
                user_name: self.user_name,
                action: self.action,
                subject: self.subject,
                reason: self.reason,
                detail: super::rows::document(&self.detail)?,
                request_id: self.request_id,
            },
        })
    }
}
