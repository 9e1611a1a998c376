-- name: create_signal
INSERT INTO signals (execution_project, execution_domain, execution_name, signal_id, type)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (execution_project, execution_domain, execution_name, signal_id) DO NOTHING;

-- name: get_signal
SELECT execution_project, execution_domain, execution_name, signal_id, type, value
FROM signals
WHERE execution_project = $1 AND execution_domain = $2 AND execution_name = $3 AND signal_id = $4;

-- name: set_signal
WITH given AS (
    UPDATE signals
    SET value = $5, updated_at = now()
    WHERE execution_project = $1 AND execution_domain = $2 AND execution_name = $3 AND signal_id = $4
    RETURNING concat_ws(':', execution_project, execution_domain, execution_name) AS execution
)
SELECT pg_notify('wingbeat_signal', execution) FROM given;

-- name: list_signals
SELECT s.execution_project, s.execution_domain, s.execution_name, s.signal_id, s.type, s.value
FROM signals s;
