-- What a port may call itself besides its own MAC and addresses: a JSON list (`core::port::AddressPair`).
ALTER TABLE port ADD COLUMN allowed_pairs TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(allowed_pairs));
