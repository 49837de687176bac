-- Times are microseconds since the epoch (UTC). UUIDs are hyphenated lower-case text. JSON columns hold canonical text.

CREATE TABLE setting (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Identity ---------------------------------------------------------------------------------------------------------

CREATE TABLE domain (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL DEFAULT '',
    enabled     INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    extra       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra))
) STRICT, WITHOUT ROWID;

CREATE TABLE project (
    id          TEXT PRIMARY KEY,
    domain_id   TEXT NOT NULL REFERENCES domain (id),
    parent_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    enabled     INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    tags        TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    extra       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra)),
    UNIQUE (domain_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE user (
    id                 TEXT PRIMARY KEY,
    domain_id          TEXT NOT NULL REFERENCES domain (id),
    name               TEXT NOT NULL,
    password_hash      TEXT,
    default_project_id TEXT,
    description        TEXT,
    enabled            INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    extra              TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra)),
    UNIQUE (domain_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_group (
    id          TEXT PRIMARY KEY,
    domain_id   TEXT NOT NULL REFERENCES domain (id),
    name        TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    extra       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra)),
    UNIQUE (domain_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_member (
    group_id TEXT NOT NULL REFERENCES user_group (id) ON DELETE CASCADE,
    user_id  TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_member_user ON group_member (user_id);

CREATE TABLE role (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    domain_id   TEXT REFERENCES domain (id),
    description TEXT,
    extra       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX role_name ON role (ifnull(domain_id, ''), name);

CREATE TABLE role_implication (
    prior_id   TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
    implied_id TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
    PRIMARY KEY (prior_id, implied_id)
) STRICT, WITHOUT ROWID;

-- actor_kind and target_kind say what actor_id and target_id are; the target of 'system' is 'all'. An inherited
-- assignment holds in the projects below its target, not in the target.
CREATE TABLE role_assignment (
    actor_kind  TEXT NOT NULL CHECK (actor_kind IN ('user', 'group')),
    actor_id    TEXT NOT NULL,
    target_kind TEXT NOT NULL CHECK (target_kind IN ('project', 'domain', 'system')),
    target_id   TEXT NOT NULL,
    role_id     TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
    inherited   INTEGER NOT NULL DEFAULT 0 CHECK (inherited IN (0, 1)),
    PRIMARY KEY (actor_kind, actor_id, target_kind, target_id, role_id, inherited)
) STRICT, WITHOUT ROWID;
CREATE INDEX role_assignment_target ON role_assignment (target_kind, target_id);

CREATE TABLE region (
    id               TEXT PRIMARY KEY,
    description      TEXT NOT NULL DEFAULT '',
    parent_region_id TEXT REFERENCES region (id),
    extra            TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra))
) STRICT, WITHOUT ROWID;

CREATE TABLE service (
    id          TEXT PRIMARY KEY,
    type        TEXT NOT NULL,
    enabled     INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    -- Name and description too: the API shows just those that were given.
    extra       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra))
) STRICT, WITHOUT ROWID;

-- url may begin with $(public_base)s, the address under which the client reached us, and hold $(project_id)s.
CREATE TABLE endpoint (
    id         TEXT PRIMARY KEY,
    service_id TEXT NOT NULL REFERENCES service (id) ON DELETE CASCADE,
    interface  TEXT NOT NULL CHECK (interface IN ('public', 'internal', 'admin')),
    region_id  TEXT REFERENCES region (id),
    url        TEXT NOT NULL,
    enabled    INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    extra      TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra))
) STRICT, WITHOUT ROWID;

-- secret_hash is Argon2id, as for passwords.
CREATE TABLE application_credential (
    id           TEXT PRIMARY KEY,
    user_id      TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    project_id   TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    description  TEXT,
    secret_hash  TEXT NOT NULL,
    unrestricted INTEGER NOT NULL DEFAULT 0 CHECK (unrestricted IN (0, 1)),
    expires_at   INTEGER,
    UNIQUE (user_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE application_credential_role (
    application_credential_id TEXT NOT NULL REFERENCES application_credential (id) ON DELETE CASCADE,
    role_id                   TEXT NOT NULL REFERENCES role (id) ON DELETE CASCADE,
    PRIMARY KEY (application_credential_id, role_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE access_rule (
    id      TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    service TEXT NOT NULL,
    method  TEXT NOT NULL,
    path    TEXT NOT NULL,
    UNIQUE (user_id, service, method, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE application_credential_access_rule (
    application_credential_id TEXT NOT NULL REFERENCES application_credential (id) ON DELETE CASCADE,
    access_rule_id            TEXT NOT NULL REFERENCES access_rule (id),
    PRIMARY KEY (application_credential_id, access_rule_id)
) STRICT, WITHOUT ROWID;

-- Blobs that users keep here: EC2 keys, certificates, TOTP seeds.
CREATE TABLE credential (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    project_id TEXT,
    type       TEXT NOT NULL,
    blob       TEXT NOT NULL,
    extra      TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra))
) STRICT, WITHOUT ROWID;
CREATE INDEX credential_user ON credential (user_id);

-- Only the SHA-256 of a token is kept.
CREATE TABLE token (
    hash        BLOB PRIMARY KEY,
    user_id     TEXT NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    scope_kind  TEXT NOT NULL CHECK (scope_kind IN ('unscoped', 'project', 'domain', 'system')),
    scope_id    TEXT,
    application_credential_id TEXT REFERENCES application_credential (id) ON DELETE CASCADE,
    methods     TEXT NOT NULL CHECK (json_valid(methods)),
    audit_ids   TEXT NOT NULL CHECK (json_valid(audit_ids)),
    issued_at   INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX token_expiry ON token (expires_at);
CREATE INDEX token_user ON token (user_id);
CREATE INDEX token_scope ON token (scope_id);

-- Images -----------------------------------------------------------------------------------------------------------

-- A deleted image stays in the table, so that nobody can register another one under an id that servers still name.
CREATE TABLE image (
    id               TEXT PRIMARY KEY,
    owner            TEXT,
    name             TEXT,
    status           TEXT NOT NULL CHECK (status IN ('queued', 'saving', 'uploading', 'importing', 'active', 'deactivated',
                         'killed', 'deleted')),
    visibility       TEXT NOT NULL CHECK (visibility IN ('public', 'private', 'shared', 'community')),
    disk_format      TEXT,
    container_format TEXT,
    min_disk_gib     INTEGER NOT NULL DEFAULT 0 CHECK (min_disk_gib >= 0),
    min_ram_mib      INTEGER NOT NULL DEFAULT 0 CHECK (min_ram_mib >= 0),
    protected        INTEGER NOT NULL DEFAULT 0 CHECK (protected IN (0, 1)),
    hidden           INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1)),
    size_bytes       INTEGER,
    virtual_bytes    INTEGER,
    -- The format of the stored file, which is what disks are opened with; set exactly while there is a file.
    file_format      TEXT,
    md5              TEXT,
    sha512           TEXT,
    properties       TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(properties)),
    tags             TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    deleted_at       INTEGER,
    CHECK ((status = 'deleted') = (deleted_at IS NOT NULL))
) STRICT;
CREATE INDEX image_created ON image (created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX image_owner ON image (owner) WHERE deleted_at IS NULL;

-- The projects that a shared image is shared with.
CREATE TABLE image_member (
    image_id   TEXT NOT NULL REFERENCES image (id) ON DELETE CASCADE,
    project_id TEXT NOT NULL,
    status     TEXT NOT NULL CHECK (status IN ('pending', 'accepted', 'rejected')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (image_id, project_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX image_member_project ON image_member (project_id);

-- Imports that were asked for, which the API shows as tasks of the image.
CREATE TABLE image_import (
    id         TEXT PRIMARY KEY,
    image_id   TEXT NOT NULL REFERENCES image (id) ON DELETE CASCADE,
    project_id TEXT,
    user_id    TEXT NOT NULL,
    request_id TEXT NOT NULL,
    request    TEXT NOT NULL CHECK (json_valid(request)),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX image_import_image ON image_import (image_id);

-- Networks ---------------------------------------------------------------------------------------------------------

CREATE TABLE network (
    id                    TEXT PRIMARY KEY,
    project_id            TEXT NOT NULL,
    name                  TEXT NOT NULL DEFAULT '',
    description           TEXT NOT NULL DEFAULT '',
    admin_state_up        INTEGER NOT NULL DEFAULT 1 CHECK (admin_state_up IN (0, 1)),
    shared                INTEGER NOT NULL DEFAULT 0 CHECK (shared IN (0, 1)),
    external              INTEGER NOT NULL DEFAULT 0 CHECK (external IN (0, 1)),
    is_default            INTEGER NOT NULL DEFAULT 0 CHECK (is_default IN (0, 1)),
    port_security_enabled INTEGER NOT NULL DEFAULT 1 CHECK (port_security_enabled IN (0, 1)),
    mtu                   INTEGER NOT NULL,
    tags                  TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL,
    revision              INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

CREATE TABLE subnet (
    id               TEXT PRIMARY KEY,
    network_id       TEXT NOT NULL REFERENCES network (id) ON DELETE CASCADE,
    project_id       TEXT NOT NULL,
    name             TEXT NOT NULL DEFAULT '',
    description      TEXT NOT NULL DEFAULT '',
    ip_version       INTEGER NOT NULL CHECK (ip_version IN (4, 6)),
    cidr             TEXT NOT NULL,
    gateway_ip       TEXT,
    enable_dhcp      INTEGER NOT NULL DEFAULT 1 CHECK (enable_dhcp IN (0, 1)),
    allocation_pools TEXT NOT NULL CHECK (json_valid(allocation_pools)),
    dns_nameservers  TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(dns_nameservers)),
    host_routes      TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(host_routes)),
    tags             TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    revision         INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;
CREATE INDEX subnet_network ON subnet (network_id);

CREATE TABLE security_group (
    id          TEXT PRIMARY KEY,
    project_id  TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    stateful    INTEGER NOT NULL DEFAULT 1 CHECK (stateful IN (0, 1)),
    tags        TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    revision    INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;
CREATE INDEX security_group_project ON security_group (project_id, name);
CREATE UNIQUE INDEX security_group_default ON security_group (project_id) WHERE name = 'default';

CREATE TABLE security_group_rule (
    id                TEXT PRIMARY KEY,
    security_group_id TEXT NOT NULL REFERENCES security_group (id) ON DELETE CASCADE,
    project_id        TEXT NOT NULL,
    direction         TEXT NOT NULL CHECK (direction IN ('ingress', 'egress')),
    ethertype         TEXT NOT NULL CHECK (ethertype IN ('IPv4', 'IPv6')),
    protocol          TEXT,
    port_range_min    INTEGER,
    port_range_max    INTEGER,
    remote_ip_prefix  TEXT,
    remote_group_id   TEXT REFERENCES security_group (id) ON DELETE CASCADE,
    description       TEXT NOT NULL DEFAULT '',
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    revision          INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX security_group_rule_group ON security_group_rule (security_group_id);

CREATE TABLE port (
    id                    TEXT PRIMARY KEY,
    network_id            TEXT NOT NULL REFERENCES network (id),
    project_id            TEXT NOT NULL,
    name                  TEXT NOT NULL DEFAULT '',
    description           TEXT NOT NULL DEFAULT '',
    admin_state_up        INTEGER NOT NULL DEFAULT 1 CHECK (admin_state_up IN (0, 1)),
    mac_address           TEXT NOT NULL UNIQUE,
    status                TEXT NOT NULL CHECK (status IN ('DOWN', 'ACTIVE', 'BUILD')),
    device_id             TEXT NOT NULL DEFAULT '',
    device_owner          TEXT NOT NULL DEFAULT '',
    -- Whether the compute service made it for a server, and so removes it with the server.
    made_for_server       INTEGER NOT NULL DEFAULT 0 CHECK (made_for_server IN (0, 1)),
    -- The place of the NIC in its server, from 0.
    nic_index             INTEGER NOT NULL DEFAULT 0,
    -- The device role tag that the server's creator gave the NIC.
    nic_tag               TEXT,
    port_security_enabled INTEGER NOT NULL DEFAULT 1 CHECK (port_security_enabled IN (0, 1)),
    host_id               TEXT NOT NULL DEFAULT '',
    tags                  TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL,
    revision              INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;
CREATE INDEX port_device ON port (device_id);
CREATE INDEX port_network ON port (network_id);

CREATE TABLE port_address (
    port_id    TEXT NOT NULL REFERENCES port (id) ON DELETE CASCADE,
    subnet_id  TEXT NOT NULL REFERENCES subnet (id),
    ip_address TEXT NOT NULL,
    position   INTEGER NOT NULL,
    PRIMARY KEY (port_id, position),
    UNIQUE (subnet_id, ip_address)
) STRICT, WITHOUT ROWID;
CREATE INDEX port_address_ip ON port_address (ip_address);

CREATE TABLE port_security_group (
    port_id           TEXT NOT NULL REFERENCES port (id) ON DELETE CASCADE,
    security_group_id TEXT NOT NULL REFERENCES security_group (id),
    PRIMARY KEY (port_id, security_group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX port_security_group_group ON port_security_group (security_group_id);

-- Compute ----------------------------------------------------------------------------------------------------------

-- A deleted flavor stays while nothing else has its flavorid: servers keep their own copy.
CREATE TABLE flavor (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL UNIQUE,
    description   TEXT,
    vcpus         INTEGER NOT NULL CHECK (vcpus >= 1),
    ram_mib       INTEGER NOT NULL CHECK (ram_mib >= 1),
    disk_gib      INTEGER NOT NULL CHECK (disk_gib >= 0),
    ephemeral_gib INTEGER NOT NULL DEFAULT 0 CHECK (ephemeral_gib >= 0),
    swap_mib      INTEGER NOT NULL DEFAULT 0 CHECK (swap_mib >= 0),
    rxtx_factor   REAL NOT NULL DEFAULT 1.0,
    is_public     INTEGER NOT NULL DEFAULT 1 CHECK (is_public IN (0, 1)),
    disabled      INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    extra_specs   TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra_specs)),
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER
) STRICT;

CREATE TABLE flavor_access (
    flavor_number INTEGER NOT NULL REFERENCES flavor (number) ON DELETE CASCADE,
    project_id    TEXT NOT NULL,
    PRIMARY KEY (flavor_number, project_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE keypair (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id     TEXT NOT NULL,
    name        TEXT NOT NULL,
    type        TEXT NOT NULL CHECK (type IN ('ssh', 'x509')),
    public_key  TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    UNIQUE (user_id, name)
) STRICT;

-- A server is never removed from the table when it is deleted: deleted_at is set.
CREATE TABLE server (
    number               INTEGER PRIMARY KEY AUTOINCREMENT,
    id                   TEXT NOT NULL UNIQUE,
    project_id           TEXT NOT NULL,
    user_id              TEXT NOT NULL,
    name                 TEXT NOT NULL,
    description          TEXT,
    hostname             TEXT NOT NULL,
    vm_state             TEXT NOT NULL CHECK (vm_state IN ('active', 'building', 'paused', 'suspended', 'stopped', 'rescued',
                             'resized', 'soft-delete', 'deleted', 'error', 'shelved', 'shelved_offloaded')),
    task_state           TEXT,
    power_state          INTEGER NOT NULL DEFAULT 0 CHECK (power_state IN (0, 1, 3, 4, 6, 7)),
    progress             INTEGER NOT NULL DEFAULT 0,
    -- The node that the server is on; NULL before it was placed and after it was offloaded.
    host                 TEXT,
    image_id             TEXT,
    -- The format that the image's file had: whether it is a disk to stand on or a CD to boot from.
    image_format         TEXT CHECK (image_format IN ('raw', 'qcow2', 'iso', 'vmdk', 'vhd', 'vhdx', 'vdi', 'ami', 'aki', 'ari')),
    -- The image's properties as they were at boot, for the domain and for views.
    image_properties     TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(image_properties)),
    kernel_id            TEXT NOT NULL DEFAULT '',
    ramdisk_id           TEXT NOT NULL DEFAULT '',
    -- The flavor as it was at boot or at the last resize.
    flavor_id            TEXT NOT NULL,
    flavor_name          TEXT NOT NULL,
    vcpus                INTEGER NOT NULL,
    ram_mib              INTEGER NOT NULL,
    disk_gib             INTEGER NOT NULL,
    ephemeral_gib        INTEGER NOT NULL,
    swap_mib             INTEGER NOT NULL,
    rxtx_factor          REAL NOT NULL,
    extra_specs          TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(extra_specs)),
    key_name             TEXT,
    key_type             TEXT,
    key_public           TEXT,
    -- The zone that the creator asked for, NULL when none was.
    pinned_zone          TEXT,
    metadata             TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    tags                 TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(tags)),
    -- What the creator asked for; whether the guest gets one also depends on configuration and image.
    config_drive         INTEGER NOT NULL DEFAULT 0 CHECK (config_drive IN (0, 1)),
    user_data            TEXT,
    personality          TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(personality)),
    -- Names of the groups asked for at create, for servers without ports.
    security_groups      TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(security_groups)),
    access_ip_v4         TEXT,
    access_ip_v6         TEXT,
    disk_config          TEXT NOT NULL DEFAULT 'MANUAL' CHECK (disk_config IN ('AUTO', 'MANUAL')),
    reservation_id       TEXT NOT NULL,
    launch_index         INTEGER NOT NULL DEFAULT 0,
    root_device_name     TEXT,
    locked_by            TEXT CHECK (locked_by IN ('owner', 'admin')),
    locked_reason        TEXT,
    scheduler_hints      TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(scheduler_hints)),
    trusted_certificates TEXT CHECK (trusted_certificates IS NULL OR json_valid(trusted_certificates)),
    -- What the guest posted to the metadata service, encrypted with the owner's key.
    guest_password       TEXT NOT NULL DEFAULT '',
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    launched_at          INTEGER,
    terminated_at        INTEGER,
    deleted_at           INTEGER,
    CHECK (deleted_at IS NULL OR task_state IS NULL)
) STRICT;
CREATE INDEX server_live ON server (created_at DESC, number DESC) WHERE deleted_at IS NULL;
CREATE INDEX server_project ON server (project_id, created_at DESC, number DESC) WHERE deleted_at IS NULL;
CREATE INDEX server_updated ON server (updated_at);
CREATE INDEX server_image ON server (image_id) WHERE deleted_at IS NULL;

-- What the living servers of a project, and those on a host, take up. Kept by the triggers below, so that admission does
-- not cost more with more servers.
CREATE TABLE server_usage (
    scope     TEXT NOT NULL CHECK (scope IN ('project', 'host')),
    id        TEXT NOT NULL,
    instances INTEGER NOT NULL,
    cores     INTEGER NOT NULL,
    ram_mib   INTEGER NOT NULL,
    disk_mib  INTEGER NOT NULL,
    PRIMARY KEY (scope, id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER server_usage_added AFTER INSERT ON server WHEN NEW.deleted_at IS NULL BEGIN
    INSERT INTO server_usage
    SELECT scope, id, 1, NEW.vcpus, NEW.ram_mib, (NEW.disk_gib + NEW.ephemeral_gib) * 1024 + NEW.swap_mib
    FROM (SELECT 'project' AS scope, NEW.project_id AS id UNION ALL SELECT 'host', NEW.host)
    WHERE id IS NOT NULL
    ON CONFLICT DO UPDATE SET instances = instances + 1, cores = cores + excluded.cores,
        ram_mib = ram_mib + excluded.ram_mib, disk_mib = disk_mib + excluded.disk_mib;
END;

CREATE TRIGGER server_usage_left
AFTER UPDATE OF deleted_at, host, vcpus, ram_mib, disk_gib, ephemeral_gib, swap_mib ON server
WHEN OLD.deleted_at IS NULL BEGIN
    UPDATE server_usage SET instances = instances - 1, cores = cores - OLD.vcpus, ram_mib = ram_mib - OLD.ram_mib,
        disk_mib = disk_mib - (OLD.disk_gib + OLD.ephemeral_gib) * 1024 - OLD.swap_mib
    WHERE (scope = 'project' AND id = OLD.project_id) OR (scope = 'host' AND id = OLD.host);
    INSERT INTO server_usage
    SELECT scope, id, 1, NEW.vcpus, NEW.ram_mib, (NEW.disk_gib + NEW.ephemeral_gib) * 1024 + NEW.swap_mib
    FROM (SELECT 'project' AS scope, NEW.project_id AS id UNION ALL SELECT 'host', NEW.host)
    WHERE id IS NOT NULL AND NEW.deleted_at IS NULL
    ON CONFLICT DO UPDATE SET instances = instances + 1, cores = cores + excluded.cores,
        ram_mib = ram_mib + excluded.ram_mib, disk_mib = disk_mib + excluded.disk_mib;
END;

CREATE TABLE server_fault (
    server_id  TEXT PRIMARY KEY REFERENCES server (id),
    code       INTEGER NOT NULL,
    message    TEXT NOT NULL,
    details    TEXT NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE server_action (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id  TEXT NOT NULL REFERENCES server (id),
    request_id TEXT NOT NULL,
    action     TEXT NOT NULL,
    user_id    TEXT,
    project_id TEXT,
    started_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    message    TEXT
) STRICT;
CREATE INDEX server_action_server ON server_action (server_id, number DESC);
CREATE INDEX server_action_request ON server_action (server_id, request_id);

CREATE TABLE server_action_event (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    action_number INTEGER NOT NULL REFERENCES server_action (number),
    event         TEXT NOT NULL,
    host          TEXT,
    started_at    INTEGER NOT NULL,
    finished_at   INTEGER,
    result        TEXT CHECK (result IN ('Success', 'Error')),
    traceback     TEXT,
    details       TEXT
) STRICT;
CREATE INDEX server_action_event_action ON server_action_event (action_number);

-- One row a project and resource where the default does not hold. -1 is without limit.
CREATE TABLE quota (
    project_id TEXT NOT NULL,
    resource   TEXT NOT NULL,
    hard_limit INTEGER NOT NULL,
    PRIMARY KEY (project_id, resource)
) STRICT, WITHOUT ROWID;

-- Tasks ------------------------------------------------------------------------------------------------------------

-- What was answered 202. Tasks of one subject run one after another.
CREATE TABLE task (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow    TEXT NOT NULL,
    subject     TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('pending', 'running', 'unwinding', 'done', 'unwound', 'stuck')),
    -- The workflow's typed state, rewritten after each step. Emptied when the task closes: it may hold secrets.
    state       TEXT NOT NULL CHECK (json_valid(state)),
    request_id  TEXT NOT NULL,
    -- Set when a later task of the subject wants this one to stop at its next step boundary.
    preempted   INTEGER NOT NULL DEFAULT 0 CHECK (preempted IN (0, 1)),
    attempts    INTEGER NOT NULL DEFAULT 0,
    not_before  INTEGER NOT NULL DEFAULT 0,
    error       TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX task_open ON task (subject, id) WHERE status IN ('pending', 'running', 'unwinding');
CREATE INDEX task_stuck ON task (id) WHERE status = 'stuck';

CREATE TABLE task_log (
    task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    step    TEXT NOT NULL,
    event   TEXT NOT NULL CHECK (event IN ('started', 'succeeded', 'failed', 'undo_started', 'undo_finished', 'undo_failed')),
    detail  TEXT,
    at      INTEGER NOT NULL,
    PRIMARY KEY (task_id, seq)
) STRICT, WITHOUT ROWID;
