-- Who is told of what happens to orders, and what is on its way to them. The source is `order_events`: nothing is
-- written here when an order changes.

-- A receiver: of a partner's events, or (with a shop) of the orders that are offered to that shop and cancelled there.
-- The secrets are kept as they are, because nobody can sign with a hash.
CREATE TABLE webhooks (
    id               BLOB PRIMARY KEY NOT NULL,
    partner_id       BLOB NOT NULL REFERENCES partners (id),
    shop_id          BLOB REFERENCES shops (id),
    url              TEXT NOT NULL,
    -- The kinds of events that it wants, as a document; all if null.
    kinds            TEXT,
    secret           TEXT NOT NULL,
    -- The secret before it, and until when it signs as well.
    old_secret       TEXT,
    old_secret_until BIGINT,
    -- The place in the log up to which its deliveries are planned. Of a shop's: where it began.
    planned          BIGINT NOT NULL,
    created_at       BIGINT NOT NULL,
    disabled_at      BIGINT,
    disabled_why     TEXT,
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_why IS NULL))
) WITHOUT ROWID;
CREATE INDEX webhooks_of_partner ON webhooks (partner_id);
CREATE UNIQUE INDEX webhooks_of_shop ON webhooks (shop_id) WHERE shop_id IS NOT NULL;

-- What is on its way, and what became of it. The event is named, not copied: what is sent is read when it is sent.
CREATE TABLE deliveries (
    id              BLOB PRIMARY KEY NOT NULL,
    webhook_id      BLOB NOT NULL REFERENCES webhooks (id),
    order_id        BLOB NOT NULL,
    version         BIGINT NOT NULL,
    kind            TEXT NOT NULL,
    occurred_at     BIGINT NOT NULL,
    -- Older events of the same order that this one took the place of before they were sent, and when the first of
    -- all of them happened.
    coalesced       INTEGER NOT NULL,
    waiting_since   BIGINT NOT NULL,
    result          TEXT NOT NULL CHECK (result IN ('pending', 'delivered', 'given_up')),
    attempts        INTEGER NOT NULL,
    next_attempt_at BIGINT,
    give_up_at      BIGINT NOT NULL,
    -- The last attempt: when, what was answered, and what is to be said of it.
    attempted_at    BIGINT,
    status          INTEGER,
    trouble         TEXT,
    CHECK ((result = 'pending') = (next_attempt_at IS NOT NULL))
) WITHOUT ROWID;
CREATE INDEX deliveries_of_webhook ON deliveries (webhook_id, id);
CREATE INDEX deliveries_due ON deliveries (webhook_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX deliveries_pending ON deliveries (webhook_id, order_id) WHERE next_attempt_at IS NOT NULL;
