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

CREATE TRIGGER server_usage_left
AFTER UPDATE OF deleted_at, host, vm_state, vcpus, ram_mib, disk_gib, ephemeral_gib, swap_mib ON server
WHEN OLD.deleted_at IS NULL AND (
    OLD.deleted_at IS NOT NEW.deleted_at OR OLD.host IS NOT NEW.host
    OR (OLD.vm_state = 'soft-delete') <> (NEW.vm_state = 'soft-delete')
    OR OLD.vcpus <> NEW.vcpus OR OLD.ram_mib <> NEW.ram_mib OR OLD.disk_gib <> NEW.disk_gib
    OR OLD.ephemeral_gib <> NEW.ephemeral_gib OR OLD.swap_mib <> NEW.swap_mib)
BEGIN
    UPDATE server_usage SET instances = instances - 1, cores = cores - OLD.vcpus, ram_mib = ram_mib - OLD.ram_mib,
        disk_mib = disk_mib - (OLD.disk_gib + OLD.ephemeral_gib) * 1024 - OLD.swap_mib
    WHERE (scope = 'project' AND id = iif(OLD.vm_state = 'soft-delete', NULL, OLD.project_id))
       OR (scope = 'host' AND id = OLD.host);
    INSERT INTO server_usage
    SELECT scope, id, 1, NEW.vcpus, NEW.ram_mib, (NEW.disk_gib + NEW.ephemeral_gib) * 1024 + NEW.swap_mib
    FROM (SELECT 'project' AS scope, iif(NEW.vm_state = 'soft-delete', NULL, NEW.project_id) AS id
          UNION ALL SELECT 'host', NEW.host)
    WHERE id IS NOT NULL AND NEW.deleted_at IS NULL
    ON CONFLICT DO UPDATE SET instances = instances + 1, cores = cores + excluded.cores,
        ram_mib = ram_mib + excluded.ram_mib, disk_mib = disk_mib + excluded.disk_mib;
END;
