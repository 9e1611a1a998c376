-- name: claim
-- One batch that nobody drives, for $1 seconds.
WITH free AS (
    SELECT id FROM batches
    WHERE ended_at IS NULL AND leased_until < now() AND id <> ALL($2::bigint[])
    ORDER BY leased_until
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE batches AS b SET term = b.term + 1, leased_until = now() + make_interval(secs => $1::float8)
FROM free
WHERE b.id = free.id
RETURNING b.*;

-- name: hold
-- The lock under which a driver writes; nothing when another one has taken over. $3 seconds more.
UPDATE batches SET leased_until = now() + make_interval(secs => $3::float8)
WHERE id = $1 AND term = $2 AND ended_at IS NULL
RETURNING *;

-- name: let_go
UPDATE batches SET leased_until = '-infinity' WHERE id = $1 AND term = $2;

-- name: read_so_far
UPDATE batches SET total = $3, leased_until = now() + make_interval(secs => $4::float8)
WHERE id = $1 AND term = $2 AND state = 1
RETURNING id;

-- name: checked
UPDATE batches SET state = 2, total = $2, size = $3, sha256 = $4, next_offset = $5, next_line = $6, updated_at = now()
WHERE id = $1;

-- name: fail
UPDATE batches SET state = 7, message = $3, leased_until = '-infinity', updated_at = now(), ended_at = now()
WHERE id = $1 AND term = $2 AND ended_at IS NULL;

-- name: live
SELECT count(*) FROM batch_rows AS r
JOIN executions AS e ON e.id = r.execution_id
WHERE r.batch_id = $1 AND r.phase = 2 AND e.ended_at IS NULL;

-- name: to_retry
SELECT row, attempt, file_offset, line FROM batch_rows WHERE batch_id = $1 AND phase = 1 ORDER BY row LIMIT $2;

-- name: put_rows
INSERT INTO batch_rows (batch_id, row, attempt, phase, key, file_offset, line, execution_id, name, error, ended_at)
SELECT $1, row, attempt, phase, key, file_offset, line, execution_id, name, error,
    CASE WHEN phase = 8 THEN now() END
FROM unnest(
    $2::bigint[], $3::smallint[], $4::smallint[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[], $9::text[],
    $10::text[]
) AS r (row, attempt, phase, key, file_offset, line, execution_id, name, error)
ON CONFLICT (batch_id, row) DO UPDATE
SET phase = excluded.phase, key = excluded.key, execution_id = excluded.execution_id, name = excluded.name,
    error = excluded.error, ended_at = excluded.ended_at;

-- name: advance
-- $5 were launched again; updated_at moves with each portion.
UPDATE batches SET next_row = $2, next_offset = $3, next_line = $4, retrying = retrying - $5::bigint, updated_at = now()
WHERE id = $1;

-- name: count_ended
-- Of the rows of `ended`, at most $2 are counted.
SELECT count(*) FROM (
    SELECT FROM batch_rows WHERE batch_id = $1 AND phase = 8 AND NOT written
    UNION ALL
    SELECT FROM batch_rows AS r
    LEFT JOIN executions AS e ON e.id = r.execution_id
    WHERE r.batch_id = $1 AND r.phase = 2 AND (e.id IS NULL OR e.ended_at IS NOT NULL)
    LIMIT $2
) AS found;

-- name: ended
SELECT r.row, r.key, r.attempt, r.line, r.phase, r.name, r.error AS refusal, r.ended_at AS refused_at,
    e.id IS NOT NULL AS is_there, e.phase AS execution_phase, e.outputs, e.outputs_uri, e.error, e.ended_at
FROM (
    SELECT batch_id, row FROM batch_rows WHERE batch_id = $1 AND phase = 8 AND NOT written
    UNION ALL
    SELECT f.batch_id, f.row FROM batch_rows AS f
    LEFT JOIN executions AS x ON x.id = f.execution_id
    WHERE f.batch_id = $1 AND f.phase = 2 AND (x.id IS NULL OR x.ended_at IS NOT NULL)
    LIMIT $2
) AS found
JOIN batch_rows AS r USING (batch_id, row)
LEFT JOIN executions AS e ON e.id = r.execution_id
ORDER BY coalesce(e.ended_at, r.ended_at), r.row;

-- name: write_rows
UPDATE batch_rows AS r SET phase = w.phase, written = true, error = w.error, ended_at = w.ended_at
FROM unnest($2::bigint[], $3::smallint[], $4::text[], $5::timestamptz[]) AS w (row, phase, error, ended_at)
WHERE r.batch_id = $1 AND r.row = w.row;

-- name: write_part
WITH part AS (
    INSERT INTO batch_parts (batch_id, number, uri, results) VALUES ($1, $2, $3, $4)
)
UPDATE batches
SET parts = parts + 1, results = results + $4, succeeded = succeeded + $5, failed = failed + $6,
    timed_out = timed_out + $7, aborted = aborted + $8, refused = refused + $9, updated_at = now()
WHERE id = $1;

-- name: abort_live
-- Rows are locked by id, as the journal locks them.
WITH chosen AS (
    SELECT e.id FROM batch_rows AS r
    JOIN executions AS e ON e.id = r.execution_id
    WHERE r.batch_id = $1 AND r.phase = 2 AND e.ended_at IS NULL AND e.abort_requested_at IS NULL
    LIMIT $4
), locked AS (
    SELECT id FROM executions
    WHERE id = ANY(ARRAY(SELECT id FROM chosen)) AND ended_at IS NULL AND abort_requested_at IS NULL
    ORDER BY id
    FOR UPDATE
), aborted AS (
    UPDATE executions AS e
    SET phase = 9, abort_requested_at = now(), abort_cause = $2, abort_principal = $3, updated_at = now()
    FROM locked
    WHERE e.id = locked.id
    RETURNING e.shard
), told AS (
    SELECT pg_notify('wingbeat_abort', shard::text) FROM (SELECT DISTINCT shard FROM aborted) AS shards
)
SELECT (SELECT count(*) FROM aborted) AS aborted, (SELECT count(*) FROM told) AS told;

-- name: end
-- The lease ends with it, so that a batch that is told to retry goes on at once.
UPDATE batches SET state = $2, leased_until = '-infinity', updated_at = now(), ended_at = now() WHERE id = $1;

-- name: all_parts
SELECT uri, results FROM batch_parts WHERE batch_id = $1 ORDER BY number;
