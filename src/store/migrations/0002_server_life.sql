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

-- A server that waits to be reclaimed counts on its host, where its disk is, and not against its project's quota.
DROP TRIGGER server_usage_added;
DROP TRIGGER server_usage_left;

CREATE TRIGGER server_usage_added AFTER INSERT ON server WHEN NEW.deleted_at IS NULL BEGIN
    INSERT INTO server_usage
    SELECT scope, id, 1, NEW.vcpus, NEW.ram_mib, (NEW.disk_gib + NEW.ephemeral_gib) * 1024 + NEW.swap_mib
    FROM (SELECT 'project' AS scope, iif(NEW.vm_state = 'soft-delete', NULL, NEW.project_id) AS id
          UNION ALL SELECT 'host', NEW.host)
    WHERE id IS NOT NULL
    ON CONFLICT DO UPDATE SET instances = instances + 1, cores = cores + excluded.cores,
        ram_mib = ram_mib + excluded.ram_mib, disk_mib = disk_mib + excluded.disk_mib;
END;

-- As long as a resize can be taken back, the host keeps room for it: for the larger number of vCPUs and memory, since
-- one guest runs at a time, and for the disks of both sizes, since both are there. The project pays for one size.
CREATE TRIGGER server_usage_left
AFTER UPDATE OF deleted_at, host, vm_state, vcpus, ram_mib, disk_gib, ephemeral_gib, swap_mib, resize ON server
WHEN OLD.deleted_at IS NULL AND (
    OLD.deleted_at IS NOT NEW.deleted_at OR OLD.host IS NOT NEW.host
    OR (OLD.vm_state = 'soft-delete') <> (NEW.vm_state = 'soft-delete')
    OR OLD.vcpus <> NEW.vcpus OR OLD.ram_mib <> NEW.ram_mib OR OLD.disk_gib <> NEW.disk_gib
    OR OLD.ephemeral_gib <> NEW.ephemeral_gib OR OLD.swap_mib <> NEW.swap_mib OR OLD.resize IS NOT NEW.resize)
BEGIN
    UPDATE server_usage SET instances = instances - 1, cores = cores - OLD.vcpus, ram_mib = ram_mib - OLD.ram_mib,
        disk_mib = disk_mib - (OLD.disk_gib + OLD.ephemeral_gib) * 1024 - OLD.swap_mib
    WHERE (scope = 'project' AND id = iif(OLD.vm_state = 'soft-delete', NULL, OLD.project_id))
       OR (scope = 'host' AND id = OLD.host);
    UPDATE server_usage SET
        cores = cores - max(0, (OLD.resize ->> '$.old_flavor.vcpus') - OLD.vcpus),
        ram_mib = ram_mib - max(0, (OLD.resize ->> '$.old_flavor.ram_mib') - OLD.ram_mib),
        disk_mib = disk_mib - ((OLD.resize ->> '$.old_flavor.disk_gib') + (OLD.resize ->> '$.old_flavor.ephemeral_gib')) * 1024
            - (OLD.resize ->> '$.old_flavor.swap_mib')
    WHERE scope = 'host' AND id = OLD.host AND OLD.resize IS NOT NULL;
    INSERT INTO server_usage
    SELECT scope, id, 1, NEW.vcpus, NEW.ram_mib, (NEW.disk_gib + NEW.ephemeral_gib) * 1024 + NEW.swap_mib
    FROM (SELECT 'project' AS scope, iif(NEW.vm_state = 'soft-delete', NULL, NEW.project_id) AS id
          UNION ALL SELECT 'host', NEW.host)
    WHERE id IS NOT NULL AND NEW.deleted_at IS NULL
    ON CONFLICT DO UPDATE SET instances = instances + 1, cores = cores + excluded.cores,
        ram_mib = ram_mib + excluded.ram_mib, disk_mib = disk_mib + excluded.disk_mib;
    UPDATE server_usage SET
        cores = cores + max(0, (NEW.resize ->> '$.old_flavor.vcpus') - NEW.vcpus),
        ram_mib = ram_mib + max(0, (NEW.resize ->> '$.old_flavor.ram_mib') - NEW.ram_mib),
        disk_mib = disk_mib + ((NEW.resize ->> '$.old_flavor.disk_gib') + (NEW.resize ->> '$.old_flavor.ephemeral_gib')) * 1024
            + (NEW.resize ->> '$.old_flavor.swap_mib')
    WHERE scope = 'host' AND id = NEW.host AND NEW.resize IS NOT NULL AND NEW.deleted_at IS NULL;
END;

-- The least that a resize may give the server: what its image asked for, and the root disk that it was made with.
ALTER TABLE server ADD COLUMN min_disk_gib INTEGER NOT NULL DEFAULT 0;
ALTER TABLE server ADD COLUMN min_ram_mib INTEGER NOT NULL DEFAULT 0;

-- Every attempt to give a server another size or another host.
CREATE TABLE server_migration (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid        TEXT NOT NULL UNIQUE,
    server_id   TEXT NOT NULL REFERENCES server (id),
    user_id     TEXT,
    project_id  TEXT,
    kind        TEXT NOT NULL CHECK (kind IN ('resize', 'migration', 'live-migration')),
    status      TEXT NOT NULL CHECK (status IN ('pre-migrating', 'migrating', 'post-migrating', 'finished', 'confirming',
                    'confirmed', 'reverting', 'reverted', 'error')),
    source      TEXT,
    -- NULL where no host was found.
    destination TEXT,
    -- Numbers of flavors; NULL for one that is gone.
    old_flavor  INTEGER,
    new_flavor  INTEGER,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX server_migration_server ON server_migration (server_id);
CREATE INDEX server_migration_created ON server_migration (created_at DESC, number DESC);
