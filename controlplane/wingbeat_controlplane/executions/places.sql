-- name: lock_launch_plan
-- Held to the end of the transaction, so that counting and inserting are one step; admit_executions takes the same lock.
-- A server that stops in between loses its connection, and the lock with it.
SELECT set_config('idle_in_transaction_session_timeout', '60s', true),
    pg_advisory_xact_lock(hashtextextended($1 || ':' || $2 || ':' || $3, 0));

-- name: count_alive_and_waiting
-- Over every version of the launch plan.
SELECT count(*) FILTER (WHERE NOT e.waiting) AS alive, count(*) FILTER (WHERE e.waiting AND e.phase = 1) AS waiting
FROM launch_plans lp
JOIN executions e ON e.launch_plan_id = lp.id
WHERE lp.project = $1 AND lp.domain = $2 AND lp.name = $3 AND e.ended_at IS NULL;

-- name: replace_oldest
-- For the execution $7, request the abort of all but the newest $4 of those that are not being aborted, waiting ones included. Rows are locked
-- by id, as the journal locks them.
WITH candidates AS (
    SELECT e.id, row_number() OVER (ORDER BY e.id DESC) AS place
    FROM launch_plans lp
    JOIN executions e ON e.launch_plan_id = lp.id
    WHERE lp.project = $1 AND lp.domain = $2 AND lp.name = $3 AND e.ended_at IS NULL AND e.abort_requested_at IS NULL
), locked AS (
    SELECT id FROM executions
    WHERE id = ANY(ARRAY(SELECT id FROM candidates WHERE place > $4::bigint))
        AND ended_at IS NULL AND abort_requested_at IS NULL
    ORDER BY id
    FOR UPDATE
), aborted AS (
    UPDATE executions e
    SET phase = 9, abort_requested_at = now(), abort_cause = $5, abort_principal = $6, updated_at = now(),
        replaced_by = $7
    FROM locked
    WHERE e.id = locked.id
    RETURNING e.shard
)
SELECT pg_notify('wingbeat_abort', shard::text)
FROM aborted;
