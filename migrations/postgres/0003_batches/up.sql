-- The rows of a batch, as they are handed to the server: one array of each. An array of rows is spread out in a fifth of
-- the time that an array of each column takes. Their columns are those of the tables, in the order in which the code
-- names them; types of their own, so that a table may have more columns.
-- They are never altered, because older instances may still run: a version that needs more of them makes others.

CREATE TYPE new_order AS (
    id              uuid,
    partner_id      uuid,
    customer_id     text,
    shop_id         uuid,
    number          bigint,
    placed          text,
    placed_hash     bytea,
    total           bigint,
    currency        text,
    slot_at         timestamptz,
    status          text,
    reason          text,
    payment_status  text,
    authorized      bigint,
    captured        bigint,
    refunded        bigint,
    owed            bigint,
    stage           text,
    next_attempt_at timestamptz,
    attempts        integer,
    errors          integer,
    crashes         integer,
    fence           bigint,
    leased_until    timestamptz,
    parked_at       timestamptz,
    deadline_at     timestamptz,
    ongoing         boolean,
    version         bigint,
    created_at      timestamptz,
    closed_at       timestamptz,
    deleted_at      timestamptz,
    details         json
);

CREATE TYPE new_order_name AS (
    partner_id      uuid,
    customer_id     text,
    number          bigint,
    idempotency_key text,
    order_id        uuid,
    nonce           bigint,
    fingerprint     bytea,
    created_at      timestamptz
);

CREATE TYPE new_order_event AS (
    position       bigint,
    partner_id     uuid,
    shop_id        uuid,
    order_id       uuid,
    version        bigint,
    kind           text,
    from_status    text,
    to_status      text,
    payment_status text,
    actor          text,
    reason         text,
    at             timestamptz,
    elapsed_ms     bigint,
    data           json
);

-- An order as it was when it was read.
CREATE TYPE order_mark AS (
    id      uuid,
    fence   bigint,
    version bigint
);

-- What a step writes of an order …
CREATE TYPE order_change AS (
    status          text,
    reason          text,
    payment_status  text,
    authorized      bigint,
    captured        bigint,
    refunded        bigint,
    stage           text,
    next_attempt_at timestamptz,
    attempts        integer,
    errors          integer,
    crashes         integer,
    fence           bigint,
    leased_until    timestamptz,
    deadline_at     timestamptz,
    version         bigint,
    details         json
);

-- … and what few of them change.
CREATE TYPE seldom_order_change AS (
    slot_at    timestamptz,
    owed       bigint,
    parked_at  timestamptz,
    ongoing    boolean,
    closed_at  timestamptz,
    deleted_at timestamptz
);

-- When the order of a number was closed.
CREATE TYPE order_name_end AS (
    partner_id  uuid,
    customer_id text,
    number      bigint,
    closed_at   timestamptz
);

-- As it was, but afterwards: before a change the server would lock each row for it, and write that to its log.
DROP TRIGGER orders_follow_the_lifecycle ON orders;
CREATE TRIGGER orders_follow_the_lifecycle
AFTER UPDATE OF status ON orders FOR EACH ROW
WHEN (OLD.status <> NEW.status AND OLD.status || '>' || NEW.status NOT IN (
    'new>action_required', 'new>scheduled', 'new>awaiting_shop', 'new>failed', 'new>cancelled',
    'action_required>scheduled', 'action_required>awaiting_shop', 'action_required>failed',
    'action_required>cancelled', 'scheduled>awaiting_shop', 'scheduled>rejected', 'scheduled>failed',
    'scheduled>cancelled', 'awaiting_shop>accepted', 'awaiting_shop>rejected', 'awaiting_shop>failed',
    'awaiting_shop>cancelled', 'accepted>preparing', 'accepted>ready', 'accepted>completed',
    'accepted>cancelled', 'preparing>ready', 'preparing>completed', 'preparing>cancelled', 'ready>preparing',
    'ready>completed', 'ready>cancelled', 'ready>not_collected', 'not_collected>completed'))
EXECUTE FUNCTION refuse('this change of status is not in the lifecycle');
