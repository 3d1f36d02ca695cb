-- Tablets that are signed in to the board of a shop, by a key of that shop: whoever revokes the key signs them out.
-- Only the hash of a tablet's secret is stored.
CREATE TABLE tablets (
    hash       BLOB PRIMARY KEY NOT NULL,
    key_id     BLOB NOT NULL REFERENCES keys (id),
    address    TEXT NOT NULL,
    agent      TEXT NOT NULL,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
