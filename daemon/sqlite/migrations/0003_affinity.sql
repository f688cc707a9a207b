-- Who made which object of an upstream (file, batch, response …): the fingerprint of a key, and a caller's name.
CREATE TABLE owned_object (
    id      TEXT NOT NULL PRIMARY KEY,
    key     TEXT NOT NULL,
    caller  TEXT NOT NULL,
    used_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
