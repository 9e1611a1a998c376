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

-- name: detach
ALTER TABLE transitions DETACH PARTITION {name};

-- name: carry
-- The last transition of each node of executions that had not ended by $1: what they were at any later instant.
INSERT INTO transitions_default (seq, txid, execution_id, node_id, attempt, phase, at) OVERRIDING SYSTEM VALUE
SELECT DISTINCT ON (t.execution_id, t.node_id) t.seq, t.txid, t.execution_id, t.node_id, t.attempt, t.phase, t.at
FROM executions AS e JOIN {name} AS t ON t.execution_id = e.id
WHERE e.ended_at IS NULL OR e.ended_at >= $1
ORDER BY t.execution_id, t.node_id, t.seq DESC;

-- name: last_txid
-- What a cursor must have seen to miss nothing when the partition is dropped.
SELECT max(txid) FROM {name};

-- name: drop
DROP TABLE {name};

-- name: prune_default
WITH pruned AS (
    DELETE FROM transitions_default
    WHERE at < $1 AND seq NOT IN (
        SELECT DISTINCT ON (t.execution_id, t.node_id) t.seq
        FROM executions AS e JOIN transitions_default AS t ON t.execution_id = e.id
        WHERE t.at < $1 AND (e.ended_at IS NULL OR e.ended_at >= $1)
        ORDER BY t.execution_id, t.node_id, t.seq DESC
    )
    RETURNING txid
)
SELECT max(txid) FROM pruned;

-- name: keep_since
UPDATE transitions_retention SET kept_since = $1 WHERE kept_since < $1 OR kept_since IS NULL;

-- name: keep_dropped
-- In the transaction that drops: whoever sees the log without them sees this.
UPDATE transitions_retention SET dropped_txid = $1::xid8 WHERE dropped_txid < $1::xid8 OR dropped_txid IS NULL;
