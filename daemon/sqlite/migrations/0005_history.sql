-- What became of a key's requests by hours, and what happened to it last: JSON, as `proxy.history` writes it.
ALTER TABLE key_health ADD COLUMN history TEXT NOT NULL DEFAULT '';
