-- What must survive: partners and their keys, the catalogue, drafts, orders and everything that happened to them.
-- Instants are milliseconds since 1970 (UTC), money is minor units, ids are 16-byte UUIDs.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Tells this database from every other, so that a position or cursor of another one is recognised.
INSERT INTO meta (name, value) VALUES ('cluster', lower(hex(randomblob(8))));

CREATE TABLE partners (
    id         BLOB PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;

-- Only the hash of a key is stored. Revoked keys stay, so that their use can be told from garbage.
CREATE TABLE keys (
    id         BLOB PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('partner', 'shop', 'admin')),
    partner_id BLOB REFERENCES partners (id),
    shop_id    BLOB,
    hash       BLOB NOT NULL UNIQUE,
    label      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
) WITHOUT ROWID;

-- The catalogue is small, read as a whole into memory, and its shape belongs to the code: documents.
CREATE TABLE shops (
    id         BLOB PRIMARY KEY NOT NULL,
    partner_id BLOB NOT NULL REFERENCES partners (id),
    body       TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE items (
    partner_id BLOB NOT NULL REFERENCES partners (id),
    item_id    TEXT NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (partner_id, item_id)
) WITHOUT ROWID;

CREATE TABLE shop_items (
    shop_id BLOB NOT NULL REFERENCES shops (id),
    item_id TEXT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (shop_id, item_id)
) WITHOUT ROWID;

CREATE TABLE drafts (
    id          BLOB PRIMARY KEY NOT NULL,
    partner_id  BLOB NOT NULL,
    customer_id TEXT NOT NULL,
    body        TEXT NOT NULL,
    valid_until BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    deleted_at  BIGINT
) WITHOUT ROWID;

-- The row is the order AND its pending task: there is no queue table that could disagree with it.
-- Columns are what SQL asks about; what only the code reads stands in `details`.
-- The lists of words are CASEs, not INs: for an IN of more than two words SQLite builds a table at every write.
CREATE TABLE orders (
    id              BLOB PRIMARY KEY NOT NULL,
    partner_id      BLOB NOT NULL,
    customer_id     TEXT NOT NULL,
    shop_id         BLOB NOT NULL,
    number          BIGINT NOT NULL,
    placed          TEXT NOT NULL,
    placed_hash     BLOB NOT NULL,
    total           BIGINT NOT NULL CHECK (total >= 0),
    currency        TEXT NOT NULL,
    slot_at         BIGINT,
    status          TEXT NOT NULL CHECK (CASE status
        WHEN 'new' THEN 1 WHEN 'action_required' THEN 1 WHEN 'scheduled' THEN 1 WHEN 'awaiting_shop' THEN 1
        WHEN 'accepted' THEN 1 WHEN 'preparing' THEN 1 WHEN 'ready' THEN 1 WHEN 'completed' THEN 1
        WHEN 'rejected' THEN 1 WHEN 'failed' THEN 1 WHEN 'cancelled' THEN 1 WHEN 'not_collected' THEN 1
        ELSE 0 END),
    reason          TEXT,
    payment_status  TEXT NOT NULL CHECK (CASE payment_status
        WHEN 'none' THEN 1 WHEN 'authorizing' THEN 1 WHEN 'action_required' THEN 1 WHEN 'authorized' THEN 1
        WHEN 'declined' THEN 1 WHEN 'unknown' THEN 1 WHEN 'voided' THEN 1 WHEN 'captured' THEN 1
        WHEN 'capture_failed' THEN 1 WHEN 'partially_refunded' THEN 1 WHEN 'refunded' THEN 1
        ELSE 0 END),
    authorized      BIGINT NOT NULL,
    captured        BIGINT NOT NULL CHECK (captured BETWEEN 0 AND authorized),
    refunded        BIGINT NOT NULL CHECK (refunded BETWEEN 0 AND captured),
    owed            BIGINT NOT NULL CHECK (owed >= 0),
    stage           TEXT CHECK (CASE stage
        WHEN 'authorize' THEN 1 WHEN 'look_up' THEN 1 WHEN 'offer' THEN 1 WHEN 'capture' THEN 1
        WHEN 'release' THEN 1
        ELSE stage IS NULL END),
    next_attempt_at BIGINT,
    attempts        INTEGER NOT NULL,
    errors          INTEGER NOT NULL,
    crashes         INTEGER NOT NULL,
    fence           BIGINT NOT NULL,
    leased_until    BIGINT,
    parked_at       BIGINT,
    deadline_at     BIGINT,
    ongoing         BOOLEAN NOT NULL,
    version         BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    closed_at       BIGINT,
    deleted_at      BIGINT,
    details         TEXT NOT NULL,
    -- Every ongoing order has a deadline, every pending stage a time, and only what is over is closed.
    CHECK (ongoing = (deadline_at IS NOT NULL)),
    CHECK (ongoing = (closed_at IS NULL)),
    CHECK ((stage IS NULL) = (next_attempt_at IS NULL)),
    CHECK (deleted_at IS NULL OR NOT ongoing)
);

-- Each index answers one question about LIVE rows, so that its cost does not grow with history. None names
-- `status`, which changes at every step.
CREATE INDEX orders_ongoing ON orders (partner_id, customer_id) WHERE ongoing;
CREATE INDEX orders_of_shop ON orders (shop_id, slot_at) WHERE ongoing;
CREATE INDEX orders_due ON orders (stage, next_attempt_at) WHERE stage IS NOT NULL AND parked_at IS NULL;
CREATE INDEX orders_parked ON orders (id) WHERE parked_at IS NOT NULL;
CREATE INDEX orders_deadline ON orders (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX orders_owed ON orders (closed_at) WHERE owed > 0;

-- The names an order goes by among its customer's orders: its number (number > 0, key empty) and, where the
-- client gave one, its Idempotency-Key (number 0). One B-tree, so that a create touches one page of history, and so
-- does a list: it tells from the numbers which orders ended a moment ago, without touching the rows of the others.
-- Its uniqueness is the backstop of admission under parallel requests.
CREATE TABLE order_names (
    partner_id      BLOB NOT NULL,
    customer_id     TEXT NOT NULL,
    number          BIGINT NOT NULL,
    idempotency_key TEXT NOT NULL,
    order_id        BLOB NOT NULL,
    nonce           BIGINT NOT NULL,
    fingerprint     BLOB NOT NULL,
    created_at      BIGINT NOT NULL,
    -- The order's, beside its number.
    closed_at       BIGINT,
    PRIMARY KEY (partner_id, customer_id, number, idempotency_key),
    CHECK ((number > 0) = (idempotency_key = ''))
) WITHOUT ROWID;

-- Audit, feed and webhooks in one. `position` is the place in the log of this database: one writer gives it,
-- so nothing is ever inserted before a position that somebody has seen.
CREATE TABLE order_events (
    position       INTEGER PRIMARY KEY NOT NULL,
    partner_id     BLOB NOT NULL,
    shop_id        BLOB NOT NULL,
    order_id       BLOB NOT NULL,
    version        BIGINT NOT NULL,
    kind           TEXT NOT NULL,
    from_status    TEXT,
    to_status      TEXT NOT NULL,
    payment_status TEXT NOT NULL,
    actor          TEXT NOT NULL,
    reason         TEXT,
    at             BIGINT NOT NULL,
    -- How long the order had stood in the status that it left: what waiting is measured from.
    elapsed_ms     BIGINT,
    data           TEXT NOT NULL
);
CREATE UNIQUE INDEX order_events_of_order ON order_events (order_id, version);
CREATE INDEX order_events_of_partner ON order_events (partner_id, position);

-- An old binary, or a hand in the database, cannot take a step that the lifecycle does not have.
CREATE TRIGGER orders_follow_the_lifecycle
BEFORE UPDATE OF status ON orders
WHEN OLD.status <> NEW.status AND CASE OLD.status || '>' || NEW.status
    WHEN 'new>action_required' THEN 1 WHEN 'new>scheduled' THEN 1 WHEN 'new>awaiting_shop' THEN 1
    WHEN 'new>failed' THEN 1 WHEN 'new>cancelled' THEN 1 WHEN 'action_required>scheduled' THEN 1
    WHEN 'action_required>awaiting_shop' THEN 1 WHEN 'action_required>failed' THEN 1
    WHEN 'action_required>cancelled' THEN 1 WHEN 'scheduled>awaiting_shop' THEN 1 WHEN 'scheduled>rejected' THEN 1
    WHEN 'scheduled>failed' THEN 1 WHEN 'scheduled>cancelled' THEN 1 WHEN 'awaiting_shop>accepted' THEN 1
    WHEN 'awaiting_shop>rejected' THEN 1 WHEN 'awaiting_shop>failed' THEN 1 WHEN 'awaiting_shop>cancelled' THEN 1
    WHEN 'accepted>preparing' THEN 1 WHEN 'accepted>ready' THEN 1 WHEN 'accepted>completed' THEN 1
    WHEN 'accepted>cancelled' THEN 1 WHEN 'preparing>ready' THEN 1 WHEN 'preparing>completed' THEN 1
    WHEN 'preparing>cancelled' THEN 1 WHEN 'ready>preparing' THEN 1 WHEN 'ready>completed' THEN 1
    WHEN 'ready>cancelled' THEN 1 WHEN 'ready>not_collected' THEN 1 WHEN 'not_collected>completed' THEN 1
    ELSE 0 END = 0
BEGIN
    SELECT RAISE(ABORT, 'this change of status is not in the lifecycle');
END;

CREATE TRIGGER order_events_are_append_only
BEFORE UPDATE ON order_events
BEGIN
    SELECT RAISE(ABORT, 'events are never changed');
END;
