-- What an answer is made of, and what was shown of it while it was being written (`parts`, a JSON array).
ALTER TABLE exchange ADD COLUMN kind       TEXT    NOT NULL DEFAULT 'text';
ALTER TABLE exchange ADD COLUMN photo      TEXT    NOT NULL DEFAULT '';
ALTER TABLE exchange ADD COLUMN picture    TEXT    NOT NULL DEFAULT '';
ALTER TABLE exchange ADD COLUMN media_id   TEXT    NOT NULL DEFAULT '';
ALTER TABLE exchange ADD COLUMN parts      TEXT    NOT NULL DEFAULT '[]';
ALTER TABLE exchange ADD COLUMN sent_pages INTEGER NOT NULL DEFAULT 0;

-- What subscribers have chosen; goes when they leave.
CREATE TABLE subscriber (
    account       TEXT    NOT NULL,
    openid        TEXT    NOT NULL,
    persona       TEXT    NOT NULL DEFAULT '',
    wants_notices INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, openid)
) STRICT, WITHOUT ROWID;

-- What outlives a subscriber's leaving. `who` is an HMAC of account and openid, which nobody can turn back.
CREATE TABLE blocked (
    who TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE asked_before (
    who      TEXT NOT NULL,
    asked_at REAL NOT NULL,
    kind     TEXT NOT NULL
) STRICT;

CREATE INDEX asked_before_by_who ON asked_before (who, asked_at);
