-- Who works on this database: what each instance says of itself every few seconds. Whoever is silent for long is
-- forgotten. Nothing needs this for correctness.
CREATE TABLE instances (
    id         BLOB PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    version    TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    report     TEXT NOT NULL
) WITHOUT ROWID;
