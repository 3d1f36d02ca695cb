-- What operators have stopped for a while: a stage of the worker (`stage:capture`), or asking somebody outside
-- (`method:pm_card_visa`, `shop:…`). A hold survives a restart, and ends by itself.
CREATE TABLE holds (
    subject   TEXT PRIMARY KEY NOT NULL,
    at        BIGINT NOT NULL,
    until_at  BIGINT NOT NULL,
    user_name TEXT NOT NULL,
    reason    TEXT
) WITHOUT ROWID;

-- What an operator says has become of a payment, on evidence from outside. Above a limit somebody else has to agree.
CREATE TABLE settlements (
    id           BLOB PRIMARY KEY NOT NULL,
    order_id     BLOB NOT NULL,
    -- The order as it was when this was said: on any other it has no effect.
    version      BIGINT NOT NULL,
    event        TEXT NOT NULL,
    -- Minor units.
    amount       BIGINT NOT NULL,
    currency     TEXT NOT NULL,
    evidence     TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'withdrawn')),
    said_by_id   BLOB NOT NULL,
    said_by      TEXT NOT NULL,
    said_at      BIGINT NOT NULL,
    decided_by   TEXT,
    decided_at   BIGINT,
    CHECK ((state = 'waiting') = (decided_at IS NULL))
) WITHOUT ROWID;
CREATE INDEX settlements_by_age ON settlements (said_at);
CREATE UNIQUE INDEX settlements_waiting ON settlements (order_id) WHERE state = 'waiting';

-- Sales that were handed over and not paid for: few, and looked for among all of the history.
CREATE INDEX orders_capture_failed ON orders (id) WHERE payment_status = 'capture_failed';
