-- name: create
INSERT INTO batches (project, domain, name, content, principal, spec, uri, format, key_column)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (project, domain, name) DO NOTHING
RETURNING id;

-- name: get
SELECT b.*, live.queued, live.running, live.succeeded AS more_succeeded, live.failed AS more_failed,
    live.timed_out AS more_timed_out, live.aborted AS more_aborted,
    (SELECT count(*) FROM batch_rows AS r WHERE r.batch_id = b.id AND r.phase = 8 AND NOT r.written) AS more_refused
FROM batches AS b
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE e.ended_at IS NULL AND e.phase IN (0, 1)) AS queued,
        count(*) FILTER (WHERE e.ended_at IS NULL AND e.phase NOT IN (0, 1)) AS running,
        count(*) FILTER (WHERE e.ended_at IS NOT NULL AND e.phase = 4) AS succeeded,
        count(*) FILTER (WHERE e.ended_at IS NOT NULL AND e.phase = 6) AS failed,
        count(*) FILTER (WHERE e.ended_at IS NOT NULL AND e.phase = 8) AS timed_out,
        count(*) FILTER (WHERE e.id IS NULL OR e.ended_at IS NOT NULL AND e.phase NOT IN (4, 6, 8)) AS aborted
    FROM batch_rows AS r
    LEFT JOIN executions AS e ON e.id = r.execution_id
    WHERE r.batch_id = b.id AND r.phase = 2
) AS live
WHERE b.project = $1 AND b.domain = $2 AND b.name = $3;

-- name: list
-- Newest first below id $4; $2 '' is every domain, $3 states as shown, none: all.
SELECT project, domain, name, id FROM batches
WHERE project = $1 AND ($2::text = '' OR domain = $2) AND id < $4
    AND (cardinality($3::smallint[]) = 0 OR (CASE WHEN paused AND state IN (1, 2) THEN 3 ELSE state END) = ANY($3))
ORDER BY id DESC
LIMIT $5;

-- name: lock
SELECT id, state, paused FROM batches WHERE project = $1 AND domain = $2 AND name = $3 FOR UPDATE;

-- name: set_paused
UPDATE batches SET paused = $2, updated_at = now() WHERE id = $1;

-- name: abort
UPDATE batches SET state = 4, paused = false, message = $2, updated_at = now() WHERE id = $1;

-- name: retry
-- Rows of phases $2 of the batch $1 are to be launched again; how many.
WITH again AS (
    SELECT row, phase FROM batch_rows
    WHERE batch_id = $1 AND phase = ANY($2::smallint[]) AND written
    FOR UPDATE
), changed AS (
    UPDATE batch_rows AS r
    SET phase = 1, attempt = r.attempt + 1, written = false, execution_id = NULL, name = NULL, error = NULL,
        ended_at = NULL
    FROM again
    WHERE r.batch_id = $1 AND r.row = again.row
    RETURNING again.phase
), counted AS (
    SELECT count(*) AS rows,
        count(*) FILTER (WHERE phase = 5) AS failed, count(*) FILTER (WHERE phase = 6) AS timed_out,
        count(*) FILTER (WHERE phase = 7) AS aborted, count(*) FILTER (WHERE phase = 8) AS refused
    FROM changed
), updated AS (
    UPDATE batches AS b
    SET retrying = b.retrying + c.rows, failed = b.failed - c.failed, timed_out = b.timed_out - c.timed_out,
        aborted = b.aborted - c.aborted, refused = b.refused - c.refused, state = 2, ended_at = NULL, updated_at = now()
    FROM counted AS c
    WHERE b.id = $1 AND c.rows > 0
)
SELECT rows FROM counted;

-- name: rows
-- By number above $2; phases $3 as stored.
SELECT r.row, r.key, r.attempt, r.phase, r.name, r.error, r.ended_at, r.line, e.phase AS execution_phase,
    e.ended_at AS execution_ended_at
FROM batch_rows AS r
LEFT JOIN executions AS e ON e.id = r.execution_id
WHERE r.batch_id = $1 AND r.row > $2 AND (cardinality($3::smallint[]) = 0 OR r.phase = ANY($3))
ORDER BY r.row
LIMIT $4;

-- name: parts
SELECT number, uri, results FROM batch_parts WHERE batch_id = $1 AND number >= $2 ORDER BY number LIMIT $3;
