-- name: lock
-- One process at a time; writers wait for us a moment at most, and we for them.
SELECT set_config('lock_timeout', '5s', true), pg_advisory_xact_lock(1953653107);

-- name: partitions
SELECT child.relname::text AS name
FROM pg_inherits AS i JOIN pg_class AS child ON child.oid = i.inhrelid
WHERE i.inhparent = 'transitions'::regclass;

-- name: lock_default
-- No row may come to the default partition between moving its rows and attaching the new partition.
LOCK TABLE transitions_default IN ACCESS EXCLUSIVE MODE;

-- name: create
-- {name} is made of a date alone.
CREATE TABLE {name} (LIKE transitions INCLUDING DEFAULTS INCLUDING STORAGE);

-- name: fill
WITH moved AS (DELETE FROM transitions_default WHERE at >= $1 AND at < $2 RETURNING *)
INSERT INTO {name} SELECT * FROM moved;

-- name: attach
ALTER TABLE transitions ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{last}');

-- name: drop
DROP TABLE {name};

-- name: prune_default
DELETE FROM transitions_default WHERE at < $1;
