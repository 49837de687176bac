-- What administrators said of the node.

-- The services whose state differs from that of one that was just started: enabled, and there.
CREATE TABLE compute_service (
    binary          TEXT PRIMARY KEY,
    disabled        INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    disabled_reason TEXT,
    forced_down     INTEGER NOT NULL DEFAULT 0 CHECK (forced_down IN (0, 1)),
    -- Deleted by an administrator: gone until it registers itself again, at the next start.
    removed         INTEGER NOT NULL DEFAULT 0 CHECK (removed IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Host aggregates. The zone of one is the item `availability_zone` of its metadata.
CREATE TABLE aggregate (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid       TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL UNIQUE,
    -- A JSON object of texts.
    metadata   TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    -- A JSON list of names.
    hosts      TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(hosts)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER
) STRICT;
