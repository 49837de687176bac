-- Servers that are to be near each other, or apart.
CREATE TABLE server_group (
    number              INTEGER PRIMARY KEY AUTOINCREMENT,
    id                  TEXT NOT NULL UNIQUE,
    project_id          TEXT NOT NULL,
    user_id             TEXT NOT NULL,
    name                TEXT NOT NULL,
    policy              TEXT NOT NULL
                            CHECK (policy IN ('affinity', 'anti-affinity', 'soft-affinity', 'soft-anti-affinity')),
    -- How many of its servers may be on one host, where its maker said so.
    max_server_per_host INTEGER CHECK (max_server_per_host >= 1),
    created_at          INTEGER NOT NULL
) STRICT;
CREATE INDEX server_group_project ON server_group (project_id);

-- A server is in one group at most: the one that it was made in.
CREATE TABLE server_group_member (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id  TEXT NOT NULL REFERENCES server_group (id) ON DELETE CASCADE,
    server_id TEXT NOT NULL UNIQUE REFERENCES server (id)
) STRICT;
CREATE INDEX server_group_member_group ON server_group_member (group_id);
