-- name: head
SELECT e.id, e.phase, e.shard, e.created_at, e.started_at, e.ended_at, e.updated_at, e.abort_requested_at, e.abort_cause,
    e.error, e.workflow_id, e.begin_by, e.deadline_s, e.waiting AND e.phase = 1 AS waits_for_turn, p.name AS engine, p.address, p.term IS NOT NULL AS has_owner,
    coalesce(p.lease_expires_at > clock_timestamp(), false) AS owner_alive,
    EXISTS (SELECT FROM propellers WHERE lease_expires_at > clock_timestamp()) AS any_alive,
    clock_timestamp() AS read_at
FROM executions AS e
LEFT JOIN shards AS s ON s.shard = e.shard
LEFT JOIN propellers AS p ON p.term = s.term
WHERE e.project = $1 AND e.domain = $2 AND e.name = $3;

-- name: overlap
-- The line that an execution waits in: all versions of its launch plan's name.
SELECT lp.project, lp.domain, lp.name, e.alive_max, (
        SELECT count(*)
        FROM executions AS o JOIN launch_plans AS p ON p.id = o.launch_plan_id
        WHERE p.project = lp.project AND p.domain = lp.domain AND p.name = lp.name
            AND o.waiting AND o.phase = 1 AND o.id < e.id
    ) AS ahead
FROM executions AS e JOIN launch_plans AS lp ON lp.id = e.launch_plan_id
WHERE e.id = $1;

-- name: alive
SELECT o.project, o.domain, o.name, coalesce(o.started_at, o.created_at) AS since, count(*) OVER () AS alive
FROM executions AS o JOIN launch_plans AS p ON p.id = o.launch_plan_id
WHERE p.project = $1 AND p.domain = $2 AND p.name = $3 AND NOT o.waiting AND o.ended_at IS NULL
ORDER BY o.id
LIMIT $4;

-- name: new_before
-- How many executions of the same engine, not begun either, are older.
SELECT count(*)
FROM executions AS e
WHERE (e.phase = 0 OR (e.phase = 1 AND NOT e.waiting)) AND e.id < $1
    AND e.shard = ANY(ARRAY(SELECT shard FROM shards WHERE term = (SELECT term FROM shards WHERE shard = $2)));

-- name: nodes_meant
-- Nodes with rows that a text means: by unique id first, else by id in their workflow or by name.
SELECT node_id, spec_node_id, node_name, parent_id, kind, phase, attempt, created_at, ended_at, updated_at, error
FROM node_executions
WHERE execution_id = $1 AND (node_id = $2 OR spec_node_id = $2 OR node_name = $2)
ORDER BY node_id <> $2, seq
LIMIT $3;

-- name: node_ends
SELECT node_id, ended_at, error
FROM node_executions
WHERE execution_id = $1 AND node_id = ANY($2::text[]) AND ended_at IS NOT NULL;

-- name: attempt_errors
SELECT t.node_id, t.attempt, t.error
FROM unnest($2::text[], $3::smallint[]) AS wanted (node_id, attempt)
JOIN task_executions AS t
    ON t.execution_id = $1 AND t.node_id = wanted.node_id AND t.attempt = wanted.attempt
WHERE t.error IS NOT NULL;

-- name: children
SELECT e.project, e.domain, e.name, e.phase
FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (project, domain, name)
JOIN executions AS e ON e.project = wanted.project AND e.domain = wanted.domain AND e.name = wanted.name;
