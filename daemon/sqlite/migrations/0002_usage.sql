-- What was used: one row for each day (of `server.timezone`), caller, key, model and kind ("reported" or "estimated").
CREATE TABLE usage (
    day               TEXT    NOT NULL,
    caller            TEXT    NOT NULL,
    key               TEXT    NOT NULL,
    model             TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    requests          INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    PRIMARY KEY (day, caller, key, model, kind)
) STRICT, WITHOUT ROWID;
