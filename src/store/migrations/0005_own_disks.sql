-- What its creator wished for a server's own disks: a JSON object (`core::server::disks::OwnDisks`).
ALTER TABLE server ADD COLUMN disks TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(disks));
