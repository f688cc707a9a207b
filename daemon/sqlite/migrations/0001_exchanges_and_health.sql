-- Times are epoch seconds. `arrival` is the order in which questions came; unlike a bare rowid it survives VACUUM.
-- The two long texts stand last, so that reading a state does not walk through an answer's overflow pages.
CREATE TABLE exchange (
    arrival      INTEGER PRIMARY KEY,
    id           TEXT    NOT NULL UNIQUE,
    account      TEXT    NOT NULL,
    openid       TEXT    NOT NULL,
    push_id      TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    reason       TEXT,
    asked_at     REAL    NOT NULL,
    started_at   REAL    NOT NULL,
    answered_at  REAL    NOT NULL,
    collected_at REAL    NOT NULL,
    not_before   REAL    NOT NULL,
    next_page    INTEGER NOT NULL,
    collected_by TEXT    NOT NULL,
    deaths       INTEGER NOT NULL,
    question     TEXT    NOT NULL,
    answer       TEXT    NOT NULL
) STRICT;

-- One exchange to a push; and everything of one subscriber: mailbox, conversation, forgetting.
CREATE UNIQUE INDEX exchange_by_push ON exchange (account, openid, push_id);

-- What a start takes up again, what expires, and the counts by state.
CREATE INDEX exchange_by_state ON exchange (state, asked_at);

-- What subscribers are still owed, for the page. A query must repeat this condition word for word to use it.
CREATE INDEX exchange_uncollected ON exchange (asked_at, arrival)
 WHERE state IN ('queued', 'thinking', 'answered') OR (state = 'failed' AND collected_by = '');

-- When a subscriber last cleared the conversation.
CREATE TABLE clearing (
    account    TEXT NOT NULL,
    openid     TEXT NOT NULL,
    cleared_at REAL NOT NULL,
    PRIMARY KEY (account, openid)
) STRICT, WITHOUT ROWID;

-- The gateway's copy of its keys' health, replaced as a whole; `position` keeps the order in which it was saved.
CREATE TABLE key_health (
    position     INTEGER PRIMARY KEY,
    fingerprint  TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    rule         TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    until        REAL,
    since        REAL    NOT NULL,
    strikes      INTEGER NOT NULL,
    organization TEXT    NOT NULL,
    answered     INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    name         TEXT    NOT NULL
) STRICT;

CREATE TABLE cooldown (
    position INTEGER PRIMARY KEY,
    cell     TEXT    NOT NULL,  -- a JSON array: the kind, and what it belongs to
    until    REAL    NOT NULL,
    since    REAL    NOT NULL,
    strikes  INTEGER NOT NULL,
    rule     TEXT    NOT NULL,
    reason   TEXT    NOT NULL
) STRICT;

CREATE TABLE installation (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
