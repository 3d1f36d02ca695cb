-- Who may use the console, from where, and what they did there.

-- A user without a password has not followed the link yet that was made for it.
CREATE TABLE users (
    id          BLOB PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL UNIQUE,
    password    TEXT,
    roles       TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    disabled_at BIGINT
) WITHOUT ROWID;

-- One-time links to choose a password by. Only the hash of a link's secret is stored.
CREATE TABLE links (
    hash       BLOB PRIMARY KEY NOT NULL,
    user_id    BLOB NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT
) WITHOUT ROWID;

-- Only the hash of a session's secret is stored. `id` names it where it is shown.
CREATE TABLE sessions (
    hash       BLOB PRIMARY KEY NOT NULL,
    id         BLOB NOT NULL UNIQUE,
    user_id    BLOB NOT NULL REFERENCES users (id),
    address    TEXT NOT NULL,
    agent      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    revoked_at BIGINT
) WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (user_id);

-- Logins that failed, by user and by address (`user:…`, `address:…`).
CREATE TABLE login_failures (
    subject      TEXT PRIMARY KEY NOT NULL,
    failures     INTEGER NOT NULL,
    last_at      BIGINT NOT NULL,
    locked_until BIGINT
) WITHOUT ROWID;

-- What operators did in the console, and tried to. The name is a copy: a log must not change with its users.
CREATE TABLE audit (
    position   INTEGER PRIMARY KEY NOT NULL,
    at         BIGINT NOT NULL,
    user_id    BLOB,
    user_name  TEXT NOT NULL,
    action     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    reason     TEXT,
    outcome    TEXT NOT NULL CHECK (outcome IN ('done', 'refused')),
    detail     TEXT NOT NULL,
    request_id TEXT NOT NULL
);
CREATE INDEX audit_of_subject ON audit (subject, position);
CREATE INDEX audit_of_user ON audit (user_name, position);

CREATE TRIGGER audit_is_append_only_in_place
BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is never changed');
END;
CREATE TRIGGER audit_is_append_only
BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is never shortened');
END;

-- Filters that a user gave a name.
CREATE TABLE saved_views (
    user_id    BLOB NOT NULL REFERENCES users (id),
    name       TEXT NOT NULL,
    query      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, name)
) WITHOUT ROWID;
