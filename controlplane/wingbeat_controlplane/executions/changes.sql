-- name: request_abort
WITH aborted AS (
    UPDATE executions
    SET phase = 9, abort_requested_at = now(), abort_cause = $4, abort_principal = $5, updated_at = now()
    WHERE project = $1 AND domain = $2 AND name = $3 AND ended_at IS NULL AND phase NOT IN (4, 6, 7, 8)
    RETURNING shard
)
SELECT pg_notify('wingbeat_abort', shard::text)
FROM aborted;

-- name: get_phase
SELECT phase FROM executions WHERE project = $1 AND domain = $2 AND name = $3;

-- name: set_state
UPDATE executions
SET state = $4, state_changed_at = now(), state_principal = $5
WHERE project = $1 AND domain = $2 AND name = $3
RETURNING id;

-- name: find_source
SELECT id, spec, user_inputs, user_inputs_uri
FROM executions
WHERE project = $1 AND domain = $2 AND name = $3;
