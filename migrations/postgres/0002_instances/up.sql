-- Who works on this database: what each instance says of itself every few seconds. Whoever is silent for long is
-- forgotten. Nothing needs this for correctness.
CREATE TABLE instances (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    version    text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    report     json NOT NULL
) WITH (fillfactor = 50);
