-- All that must survive, as the migrations of SQLite have it, in PostgreSQL's own types: ids are uuid, instants
-- timestamptz, documents json. Tables and columns have the same names and order there: one schema in the code serves
-- both. Money is minor units.
--
-- Every row of a customer's begins with its partner and customer, or is found by an order's id: see
-- deploy/postgres/distribution.md for what it takes to distribute the tables by customer.
--
-- Text that stands in an index is COLLATE "C": it sorts by its bytes, as in SQLite, which is the cheapest comparison
-- there is, and no new version of the system's libraries can change the order under an index.
--
-- Documents are json, not jsonb: only the code reads them, as a whole, and jsonb would be taken apart and put together
-- with every write and read. Whoever wants to search in one by hand says `details::jsonb`.
--
-- Where storage is set, rows are swept by their number: a share of the table (the default) would come ever later, as
-- history grows, while the dead rows lie among the live ones.

CREATE TABLE meta (
    name  text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);

-- Tells this database from every other, so that a position or cursor of another one is recognised.
INSERT INTO meta (name, value) VALUES ('cluster', left(replace(gen_random_uuid()::text, '-', ''), 16));

CREATE TABLE partners (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL
);

-- Only the hash of a key is stored. Revoked keys stay, so that their use can be told from garbage.
CREATE TABLE keys (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('partner', 'shop', 'admin')),
    partner_id uuid REFERENCES partners (id),
    shop_id    uuid,
    hash       bytea NOT NULL UNIQUE,
    label      text NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- The catalogue is small, read as a whole into memory, and its shape belongs to the code: documents.
CREATE TABLE shops (
    id         uuid PRIMARY KEY,
    partner_id uuid NOT NULL REFERENCES partners (id),
    body       json NOT NULL
);

CREATE TABLE items (
    partner_id uuid NOT NULL REFERENCES partners (id),
    item_id    text COLLATE "C" NOT NULL,
    body       json NOT NULL,
    PRIMARY KEY (partner_id, item_id)
);

CREATE TABLE shop_items (
    shop_id uuid NOT NULL REFERENCES shops (id),
    item_id text COLLATE "C" NOT NULL,
    body    json NOT NULL,
    PRIMARY KEY (shop_id, item_id)
);

CREATE TABLE drafts (
    id          uuid PRIMARY KEY,
    partner_id  uuid NOT NULL,
    customer_id text COLLATE "C" NOT NULL,
    body        json NOT NULL,
    valid_until timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    deleted_at  timestamptz
);

-- The row is the order AND its pending task: there is no queue table that could disagree with it.
-- Columns are what SQL asks about; what only the code reads stands in `details`.
-- `placed` is text, which nobody may reformat: `placed_hash` covers it letter by letter.
CREATE TABLE orders (
    id              uuid PRIMARY KEY,
    partner_id      uuid NOT NULL,
    customer_id     text COLLATE "C" NOT NULL,
    shop_id         uuid NOT NULL,
    number          bigint NOT NULL,
    placed          text NOT NULL,
    placed_hash     bytea NOT NULL,
    total           bigint NOT NULL CHECK (total >= 0),
    currency        text NOT NULL,
    slot_at         timestamptz,
    status          text NOT NULL CHECK (status IN (
        'new', 'action_required', 'scheduled', 'awaiting_shop', 'accepted', 'preparing', 'ready', 'completed',
        'rejected', 'failed', 'cancelled', 'not_collected')),
    reason          text,
    payment_status  text NOT NULL CHECK (payment_status IN (
        'none', 'authorizing', 'action_required', 'authorized', 'declined', 'unknown', 'voided', 'captured',
        'capture_failed', 'partially_refunded', 'refunded')),
    authorized      bigint NOT NULL,
    captured        bigint NOT NULL CHECK (captured BETWEEN 0 AND authorized),
    refunded        bigint NOT NULL CHECK (refunded BETWEEN 0 AND captured),
    owed            bigint NOT NULL CHECK (owed >= 0),
    stage           text COLLATE "C" CHECK (stage IN ('authorize', 'look_up', 'offer', 'capture', 'release')),
    next_attempt_at timestamptz,
    attempts        integer NOT NULL,
    errors          integer NOT NULL,
    crashes         integer NOT NULL,
    fence           bigint NOT NULL,
    leased_until    timestamptz,
    parked_at       timestamptz,
    deadline_at     timestamptz,
    ongoing         boolean NOT NULL,
    version         bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    closed_at       timestamptz,
    deleted_at      timestamptz,
    details         json NOT NULL,
    -- Every ongoing order has a deadline, every pending stage a time, and only what is over is closed.
    CHECK (ongoing = (deadline_at IS NOT NULL)),
    CHECK (ongoing = (closed_at IS NULL)),
    CHECK ((stage IS NULL) = (next_attempt_at IS NULL)),
    CHECK (deleted_at IS NULL OR NOT ongoing)
);

-- Each index answers one question about LIVE rows, so that its cost does not grow with history. None names
-- `status`, which changes at every step.
-- The customer's list, and what admission decides against.
CREATE INDEX orders_ongoing ON orders (partner_id, customer_id) WHERE ongoing;
-- The board of a shop, and how many orders a slot has.
CREATE INDEX orders_of_shop ON orders (shop_id, slot_at) WHERE ongoing;
-- What a worker claims, oldest first.
CREATE INDEX orders_due ON orders (stage, next_attempt_at) WHERE stage IS NOT NULL AND parked_at IS NULL;
CREATE INDEX orders_parked ON orders (id) WHERE parked_at IS NOT NULL;
CREATE INDEX orders_deadline ON orders (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX orders_owed ON orders (closed_at) WHERE owed > 0;
-- A row is rewritten about four times within minutes, and then hardly ever again. A step moves the stage or the
-- deadline, which are indexed, so that it is no HOT update; a lease, a retry's fence or a note is one. For both there
-- must be room on the page of the old row: then a step writes one page and not two, and the next one that comes by
-- takes back the space without waiting for a vacuum.
-- The dead entries of the small partial indexes are what makes a claim slow: a vacuum every 5,000 dead rows, that does
-- not sleep. Analysed by number as well: what the planner knows of `ongoing` must not be of yesterday.
ALTER TABLE orders SET (fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000);

-- The names an order goes by among its customer's orders: its number (number > 0, key empty) and, where the
-- client gave one, its Idempotency-Key (number 0). One B-tree, so that a create touches one page of history, and so
-- does a list: it tells from the numbers which orders ended a moment ago, without touching the rows of the others.
-- Its uniqueness is the backstop of admission under parallel requests.
CREATE TABLE order_names (
    partner_id      uuid NOT NULL,
    customer_id     text COLLATE "C" NOT NULL,
    number          bigint NOT NULL,
    idempotency_key text COLLATE "C" NOT NULL,
    order_id        uuid NOT NULL,
    nonce           bigint NOT NULL,
    fingerprint     bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    -- The order's, beside its number.
    closed_at       timestamptz,
    PRIMARY KEY (partner_id, customer_id, number, idempotency_key),
    CHECK ((number > 0) = (idempotency_key = ''))
);
-- Of two rows one is changed once, when its order ends, in a column that no index has: with room on its page that is a
-- HOT update, and the key is left alone (until 0004).
ALTER TABLE order_names SET (fillfactor = 90,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);

-- Audit, feed and webhooks in one. `position` is the number of the writing transaction and the event's own number in
-- there (xid8 << 20 | ordinal): whoever reads stops before the oldest transaction that still runs, so that nothing is
-- ever inserted before a position that somebody has seen. The code gives it: a sequence would be given out of order.
--
-- Not partitioned: that an order has each version once must hold in the database, and a key of a partitioned table
-- would have to contain the position. It need not be either: all three keys grow at their right end (an order's id
-- begins with its time), so that an insert touches the same few pages however long the log is. What grows is the disk:
-- deploy/postgres/archive.sql moves the events of orders that ended long ago to a file.
CREATE TABLE order_events (
    position       bigint PRIMARY KEY,
    partner_id     uuid NOT NULL,
    shop_id        uuid NOT NULL,
    order_id       uuid NOT NULL,
    version        bigint NOT NULL,
    kind           text NOT NULL,
    from_status    text,
    to_status      text NOT NULL,
    payment_status text NOT NULL,
    actor          text NOT NULL,
    reason         text,
    at             timestamptz NOT NULL,
    -- How long the order had stood in the status that it left: what waiting is measured from.
    elapsed_ms     bigint,
    data           json NOT NULL
);
CREATE UNIQUE INDEX order_events_of_order ON order_events (order_id, version);
CREATE INDEX order_events_of_partner ON order_events (partner_id, position);
-- Pages are full and never change: a vacuum comes for what was inserted, freezes it at once and never reads it again,
-- so that no vacuum against wraparound finds a history to work through.
ALTER TABLE order_events SET (fillfactor = 100, autovacuum_freeze_min_age = 0,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 200000);

-- What a trigger does that fires only where something is wrong; the reason is its argument.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
END $$;

-- An old binary, or a hand in the database, cannot take a step that the lifecycle does not have.
CREATE TRIGGER orders_follow_the_lifecycle
BEFORE UPDATE OF status ON orders FOR EACH ROW
WHEN (OLD.status <> NEW.status AND OLD.status || '>' || NEW.status NOT IN (
    'new>action_required', 'new>scheduled', 'new>awaiting_shop', 'new>failed', 'new>cancelled',
    'action_required>scheduled', 'action_required>awaiting_shop', 'action_required>failed',
    'action_required>cancelled', 'scheduled>awaiting_shop', 'scheduled>rejected', 'scheduled>failed',
    'scheduled>cancelled', 'awaiting_shop>accepted', 'awaiting_shop>rejected', 'awaiting_shop>failed',
    'awaiting_shop>cancelled', 'accepted>preparing', 'accepted>ready', 'accepted>completed',
    'accepted>cancelled', 'preparing>ready', 'preparing>completed', 'preparing>cancelled', 'ready>preparing',
    'ready>completed', 'ready>cancelled', 'ready>not_collected', 'not_collected>completed'))
EXECUTE FUNCTION refuse('this change of status is not in the lifecycle');

CREATE TRIGGER order_events_are_append_only
BEFORE UPDATE ON order_events FOR EACH ROW EXECUTE FUNCTION refuse('events are never changed');

-- Who is told of what happens to orders, and what is on its way to them. The source is `order_events`: nothing is
-- written here when an order changes.

-- A receiver: of a partner's events, or (with a shop) of the orders that are offered to that shop and cancelled there.
-- The secrets are kept as they are, because nobody can sign with a hash.
CREATE TABLE webhooks (
    id               uuid PRIMARY KEY,
    partner_id       uuid NOT NULL REFERENCES partners (id),
    shop_id          uuid REFERENCES shops (id),
    url              text NOT NULL,
    -- The kinds of events that it wants, as a document; all if null.
    kinds            json,
    secret           text NOT NULL,
    -- The secret before it, and until when it signs as well.
    old_secret       text,
    old_secret_until timestamptz,
    -- The place in the log up to which its deliveries are planned. Of a shop's: where it began.
    planned          bigint NOT NULL,
    created_at       timestamptz NOT NULL,
    disabled_at      timestamptz,
    disabled_why     text,
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_why IS NULL))
);
CREATE INDEX webhooks_of_partner ON webhooks (partner_id);
CREATE UNIQUE INDEX webhooks_of_shop ON webhooks (shop_id) WHERE shop_id IS NOT NULL;

-- What is on its way, and what became of it. The event is named, not copied: what is sent is read when it is sent.
CREATE TABLE deliveries (
    id              uuid PRIMARY KEY,
    webhook_id      uuid NOT NULL REFERENCES webhooks (id),
    order_id        uuid NOT NULL,
    version         bigint NOT NULL,
    kind            text NOT NULL,
    occurred_at     timestamptz NOT NULL,
    -- Older events of the same order that this one took the place of before they were sent, and when the first of
    -- all of them happened.
    coalesced       integer NOT NULL,
    waiting_since   timestamptz NOT NULL,
    result          text NOT NULL CHECK (result IN ('pending', 'delivered', 'given_up')),
    attempts        integer NOT NULL,
    next_attempt_at timestamptz,
    give_up_at      timestamptz NOT NULL,
    -- The last attempt: when, what was answered, and what is to be said of it.
    attempted_at    timestamptz,
    status          integer,
    trouble         text,
    CHECK ((result = 'pending') = (next_attempt_at IS NOT NULL))
);
CREATE INDEX deliveries_of_webhook ON deliveries (webhook_id, id);
CREATE INDEX deliveries_due ON deliveries (webhook_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX deliveries_pending ON deliveries (webhook_id, order_id) WHERE next_attempt_at IS NOT NULL;
-- Nearly every one is changed once, soon after it was planned, and leaves the partial indexes by that.
ALTER TABLE deliveries SET (fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000);

-- Who may use the console, from where, and what they did there.

-- A user without a password has not followed the link yet that was made for it.
CREATE TABLE users (
    id          uuid PRIMARY KEY,
    name        text COLLATE "C" NOT NULL UNIQUE,
    password    text,
    roles       text NOT NULL,
    created_at  timestamptz NOT NULL,
    disabled_at timestamptz
);

-- One-time links to choose a password by. Only the hash of a link's secret is stored.
CREATE TABLE links (
    hash       bytea PRIMARY KEY,
    user_id    uuid NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);

-- Only the hash of a session's secret is stored. `id` names it where it is shown.
CREATE TABLE sessions (
    hash       bytea PRIMARY KEY,
    id         uuid NOT NULL UNIQUE,
    user_id    uuid NOT NULL REFERENCES users (id),
    address    text NOT NULL,
    agent      text NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX sessions_of_user ON sessions (user_id);

-- Logins that failed, by user and by address (`user:…`, `address:…`).
CREATE TABLE login_failures (
    subject      text COLLATE "C" PRIMARY KEY,
    failures     integer NOT NULL,
    last_at      timestamptz NOT NULL,
    locked_until timestamptz
);

-- What operators did in the console, and tried to. The name is a copy: a log must not change with its users.
CREATE TABLE audit (
    position   bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    user_id    uuid,
    user_name  text COLLATE "C" NOT NULL,
    action     text NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    reason     text,
    outcome    text NOT NULL CHECK (outcome IN ('done', 'refused')),
    detail     json NOT NULL,
    request_id text NOT NULL
);
CREATE INDEX audit_of_subject ON audit (subject, position);
CREATE INDEX audit_of_user ON audit (user_name, position);

CREATE TRIGGER audit_is_append_only_in_place
BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION refuse('the audit log is never changed');
CREATE TRIGGER audit_is_append_only
BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse('the audit log is never shortened');

-- Filters that a user gave a name.
CREATE TABLE saved_views (
    user_id    uuid NOT NULL REFERENCES users (id),
    name       text COLLATE "C" NOT NULL,
    query      text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, name)
);

-- Tablets that are signed in to the board of a shop, by a key of that shop: whoever revokes the key signs them out.
-- Only the hash of a tablet's secret is stored.
CREATE TABLE tablets (
    hash       bytea PRIMARY KEY,
    key_id     uuid NOT NULL REFERENCES keys (id),
    address    text NOT NULL,
    agent      text NOT NULL,
    created_at timestamptz NOT NULL
);

-- What operators do to many orders at once. A job names its orders when it is proposed, so that what is confirmed is
-- what was counted, and is worked off one place after the other: where it stands is written with what was done there.
CREATE TABLE bulk_jobs (
    id         uuid PRIMARY KEY,
    state      text NOT NULL CHECK (state IN ('proposed', 'running', 'stopped', 'done')),
    -- What is done, to which orders, and what was counted before: documents that only the code reads.
    deed       json NOT NULL,
    lot        text NOT NULL,
    query      text NOT NULL,
    sieve      json NOT NULL,
    counted    json NOT NULL,
    total      bigint NOT NULL,
    place      bigint NOT NULL,
    done       bigint NOT NULL,
    refused    bigint NOT NULL,
    refusals   json NOT NULL,
    user_id    uuid NOT NULL,
    user_name  text NOT NULL,
    reason     text,
    request_id text NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at   timestamptz,
    stopped_by text,
    CHECK (place BETWEEN 0 AND total),
    CHECK (done + refused = place),
    CHECK ((state = 'proposed') = (started_at IS NULL))
);
CREATE INDEX bulk_jobs_running ON bulk_jobs (started_at) WHERE state = 'running';
CREATE INDEX bulk_jobs_by_age ON bulk_jobs (created_at);

-- The orders of a job, by their places, some hundred ids in each row.
CREATE TABLE bulk_orders (
    job_id uuid NOT NULL REFERENCES bulk_jobs (id),
    place  bigint NOT NULL,
    ids    bytea NOT NULL,
    PRIMARY KEY (job_id, place)
);

-- What operators have stopped for a while: a stage of the worker (`stage:capture`), or asking somebody outside
-- (`method:pm_card_visa`, `shop:…`). A hold survives a restart, and ends by itself.
CREATE TABLE holds (
    subject   text COLLATE "C" PRIMARY KEY,
    at        timestamptz NOT NULL,
    until_at  timestamptz NOT NULL,
    user_name text NOT NULL,
    reason    text
);

-- What an operator says has become of a payment, on evidence from outside. Above a limit somebody else has to agree.
CREATE TABLE settlements (
    id           uuid PRIMARY KEY,
    order_id     uuid NOT NULL,
    -- The order as it was when this was said: on any other it has no effect.
    version      bigint NOT NULL,
    event        json NOT NULL,
    -- Minor units.
    amount       bigint NOT NULL,
    currency     text NOT NULL,
    evidence     text NOT NULL,
    state        text NOT NULL CHECK (state IN ('waiting', 'done', 'withdrawn')),
    said_by_id   uuid NOT NULL,
    said_by      text NOT NULL,
    said_at      timestamptz NOT NULL,
    decided_by   text,
    decided_at   timestamptz,
    CHECK ((state = 'waiting') = (decided_at IS NULL))
);
CREATE INDEX settlements_by_age ON settlements (said_at);
CREATE UNIQUE INDEX settlements_waiting ON settlements (order_id) WHERE state = 'waiting';

-- Sales that were handed over and not paid for: few, and looked for among all of the history.
CREATE INDEX orders_capture_failed ON orders (id) WHERE payment_status = 'capture_failed';
