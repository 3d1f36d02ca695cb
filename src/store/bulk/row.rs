//! A job as its row has it.

use diesel::prelude::*;
use uuid::Uuid;

use super::super::sql::{Conn, Json, Millis, RawId};
use super::BulkJob;
use crate::store::Result;
use crate::store::rows::{document, instant, millis, raw, to_document, uuid, word};
use crate::store::schema::bulk_jobs;
use crate::store::tx::Tx;

pub(super) fn find(conn: &mut Conn, id: Uuid) -> Result<Option<BulkJob>> {
    let row: Option<JobRow> = bulk_jobs::table.find(raw(id)).first(conn).optional()?;
    row.map(JobRow::into_job).transpose()
}

pub(super) fn save(tx: &mut Tx, job: &BulkJob) -> Result<()> {
    let row = JobRow::of(job);
    diesel::update(bulk_jobs::table.find(row.id.clone())).set(&row).execute(tx.conn()?)?;
    Ok(())
}

#[derive(Queryable, Insertable, AsChangeset)]
#[diesel(table_name = bulk_jobs, treat_none_as_null = true)]
pub(super) struct JobRow {
    id: RawId,
    state: String,
    deed: Json,
    lot: String,
    query: String,
    sieve: Json,
    counted: Json,
    total: i64,
    place: i64,
    done: i64,
    refused: i64,
    refusals: Json,
    user_id: RawId,
    user_name: String,
    reason: Option<String>,
    request_id: String,
    created_at: Millis,
    started_at: Option<Millis>,
    ended_at: Option<Millis>,
    stopped_by: Option<String>,
}

impl JobRow {
    pub fn of(job: &BulkJob) -> Self {
        Self {
            id: raw(job.id),
            state: job.state.to_string(),
            deed: to_document(&job.deed),
            lot: job.lot.to_string(),
            query: job.query.clone(),
            sieve: to_document(&job.sieve),
            counted: to_document(&job.counted),
            total: job.total,
            place: job.place,
            done: job.done,
            refused: job.refused,
            refusals: to_document(&job.refusals),
            user_id: raw(job.user_id),
            user_name: job.user_name.clone(),
            reason: job.reason.clone(),
            request_id: job.request_id.clone(),
            created_at: millis(job.created_at),
            started_at: job.started_at.map(millis),
            ended_at: job.ended_at.map(millis),
            stopped_by: job.stopped_by.clone(),
        }
    }

    pub fn into_job(self) -> Result<BulkJob> {
        Ok(BulkJob {
            id: uuid(&self.id)?,
            state: word(&self.state)?,
            deed: document(&self.deed)?,
            lot: word(&self.lot)?,
            query: self.query,
            counted: document(&self.counted)?,
            total: self.total,
            place: self.place,
            done: self.done,
            refused: self.refused,
            refusals: document(&self.refusals)?,
            user_id: uuid(&self.user_id)?,
            user_name: self.user_name,
            reason: self.reason,
            created_at: instant(self.created_at),
            started_at: self.started_at.map(instant),
            ended_at: self.ended_at.map(instant),
            stopped_by: self.stopped_by,
            sieve: document(&self.sieve)?,
            request_id: self.request_id,
        })
    }
}
