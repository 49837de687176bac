-- What a server remembers in the states that it has to find its way back from.

-- While it is being resized or waits to be confirmed: a JSON object (`core::server::Resize`).
ALTER TABLE server ADD COLUMN resize TEXT CHECK (resize IS NULL OR json_valid(resize));
-- While it is rescued (`core::server::Rescue`).
ALTER TABLE server ADD COLUMN rescue TEXT CHECK (rescue IS NULL OR json_valid(rescue));
-- While it is shelved (`core::server::Shelved`).
ALTER TABLE server ADD COLUMN shelved TEXT CHECK (shelved IS NULL OR json_valid(shelved));
-- Since when it waits to be reclaimed.
ALTER TABLE server ADD COLUMN soft_deleted_at INTEGER;

-- What opens a console in a browser. Only the SHA-256 of a token is kept.
CREATE TABLE console_token (
    hash       BLOB PRIMARY KEY,
    server_id  TEXT NOT NULL REFERENCES server (id),
    -- `novnc` or `serial`.
    kind       TEXT NOT NULL CHECK (kind IN ('novnc', 'serial')),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX console_token_server ON console_token (server_id);
