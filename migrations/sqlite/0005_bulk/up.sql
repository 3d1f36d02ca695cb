-- What operators do to many orders at once. A job names its orders when it is proposed, so that what is confirmed is
-- what was counted, and is worked off one place after the other: where it stands is written with what was done there.
CREATE TABLE bulk_jobs (
    id         BLOB PRIMARY KEY NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('proposed', 'running', 'stopped', 'done')),
    -- What is done, to which orders, and what was counted before: documents that only the code reads.
    deed       TEXT NOT NULL,
    lot        TEXT NOT NULL,
    query      TEXT NOT NULL,
    sieve      TEXT NOT NULL,
    counted    TEXT NOT NULL,
    total      BIGINT NOT NULL,
    place      BIGINT NOT NULL,
    done       BIGINT NOT NULL,
    refused    BIGINT NOT NULL,
    refusals   TEXT NOT NULL,
    user_id    BLOB NOT NULL,
    user_name  TEXT NOT NULL,
    reason     TEXT,
    request_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at   BIGINT,
    stopped_by TEXT,
    CHECK (place BETWEEN 0 AND total),
    CHECK (done + refused = place),
    CHECK ((state = 'proposed') = (started_at IS NULL))
) WITHOUT ROWID;
CREATE INDEX bulk_jobs_running ON bulk_jobs (started_at) WHERE state = 'running';
CREATE INDEX bulk_jobs_by_age ON bulk_jobs (created_at);

-- The orders of a job, by their places, some hundred ids in each row.
CREATE TABLE bulk_orders (
    job_id BLOB NOT NULL REFERENCES bulk_jobs (id),
    place  BIGINT NOT NULL,
    ids    BLOB NOT NULL,
    PRIMARY KEY (job_id, place)
) WITHOUT ROWID;
