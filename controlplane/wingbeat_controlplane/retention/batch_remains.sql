-- name: next
-- A batch that executions which are erased were of.
SELECT batch_id FROM retired_executions WHERE erased AND batch_id IS NOT NULL ORDER BY execution_id LIMIT 1;

-- name: lock
SELECT id, project, domain, name, uri FROM batches WHERE id = $1 FOR UPDATE;

-- name: of_project
-- Batches of a project, or of a domain of it, after $3.
SELECT id, project, domain, name FROM batches
WHERE project = $1 AND (domain = $2 OR $2 = '') AND id > $3 ORDER BY id LIMIT $4;

-- name: going
-- Batches that go whole when these executions go.
SELECT b.id, b.project, b.domain, b.name
FROM batches AS b
WHERE b.id IN (SELECT e.batch_id FROM executions AS e WHERE e.id = ANY($1::bigint[])) AND b.ended_at IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM batch_rows AS r
        WHERE r.batch_id = b.id AND r.execution_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM unnest($1::bigint[]) AS going (id) WHERE going.id = r.execution_id)
    )
ORDER BY b.id;

-- name: counts
-- Rows of executions that are there count as theirs.
SELECT
    1 AS batches,
    (
        SELECT count(*) FROM batch_rows AS r
        WHERE r.batch_id = $1 AND NOT EXISTS (SELECT FROM executions AS e WHERE e.id = r.execution_id)
    ) AS batch_rows,
    (SELECT count(*) FROM batch_parts WHERE batch_id = $1) AS batch_parts;

-- name: is_left_behind
-- Whether it has ended and none of its executions is there any more, erased or pruned.
SELECT ended_at IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM batch_rows AS r JOIN executions AS e ON e.id = r.execution_id WHERE r.batch_id = b.id
    )
FROM batches AS b WHERE b.id = $1;

-- name: gone
SELECT execution_id, name, batch_row FROM retired_executions WHERE erased AND batch_id = $1;

-- name: is_empty
-- Whether it has ended and none of its rows has an execution.
SELECT ended_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM batch_rows AS r WHERE r.batch_id = b.id AND r.execution_id IS NOT NULL)
FROM batches AS b WHERE b.id = $1;

-- name: digest
-- None is kept before the batch's manifest was checked.
UPDATE batches SET size = $2, sha256 = $3 WHERE id = $1 AND sha256 IS NOT NULL;

-- name: results
WITH part AS (SELECT results FROM batch_parts WHERE batch_id = $1 AND uri = $2), counted AS (
    UPDATE batch_parts SET results = $3 WHERE batch_id = $1 AND uri = $2
)
UPDATE batches AS b SET results = b.results - part.results + $3 FROM part WHERE b.id = $1;

-- name: parts
SELECT uri, results FROM batch_parts WHERE batch_id = $1 ORDER BY number;

-- name: delete
WITH rows AS (DELETE FROM batch_rows WHERE batch_id = $1), parts AS (DELETE FROM batch_parts WHERE batch_id = $1)
DELETE FROM batches WHERE id = $1;

-- name: done
UPDATE retired_executions SET batch_id = NULL WHERE execution_id = ANY($1::bigint[]);
