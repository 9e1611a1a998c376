-- name: request_abort
WITH aborted AS (
    UPDATE executions
    SET phase = 9, abort_requested_at = now(), abort_cause = $4, abort_principal = $5, updated_at = now()
    WHERE project = $1 AND domain = $2 AND name = $3 AND ended_at IS NULL AND phase NOT IN (4, 6, 7, 8)
    RETURNING shard
)
SELECT pg_notify('wingbeat_abort', shard::text)
FROM aborted;

-- name: abort_eager_children
-- Executions that eager tasks of $3 (in project $1, domain $2) have started: flytekit labels them with its name.
WITH children AS (
    SELECT DISTINCT c.id
    FROM execution_tags AS t
    JOIN executions AS c ON c.id = t.execution_id
    WHERE t.key = 'eager-exec' AND t.value = ANY($3::text[]) AND c.project = $1 AND c.domain = $2
        AND c.ended_at IS NULL AND c.abort_requested_at IS NULL
), aborted AS (
    UPDATE executions AS e
    SET phase = 9, abort_requested_at = now(), abort_cause = $4, abort_principal = $5, updated_at = now()
    FROM children
    WHERE e.id = children.id AND e.ended_at IS NULL AND e.abort_requested_at IS NULL AND e.phase NOT IN (4, 6, 7, 8)
    RETURNING e.name, e.shard
)
SELECT name, pg_notify('wingbeat_abort', shard::text) FROM aborted;

-- name: get_phase
SELECT phase FROM executions WHERE project = $1 AND domain = $2 AND name = $3;

-- name: set_state
UPDATE executions
SET state = $4, state_changed_at = now(), state_principal = $5
WHERE project = $1 AND domain = $2 AND name = $3
RETURNING id;

-- name: find_source
SELECT id, workflow_id, spec, user_inputs, user_inputs_uri
FROM executions
WHERE project = $1 AND domain = $2 AND name = $3;
