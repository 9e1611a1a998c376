-- name: head
SELECT e.id, e.phase, e.shard, e.created_at, e.started_at, e.ended_at, e.updated_at, e.abort_requested_at, e.abort_cause,
    e.error, e.workflow_id, p.name AS engine, p.address, p.term IS NOT NULL AS has_owner,
    coalesce(p.lease_expires_at > clock_timestamp(), false) AS owner_alive,
    EXISTS (SELECT FROM propellers WHERE lease_expires_at > clock_timestamp()) AS any_alive,
    clock_timestamp() AS read_at
FROM executions AS e
LEFT JOIN shards AS s ON s.shard = e.shard
LEFT JOIN propellers AS p ON p.term = s.term
WHERE e.project = $1 AND e.domain = $2 AND e.name = $3;

-- name: new_before
-- How many executions of the same engine, not begun either, are older.
SELECT count(*)
FROM executions AS e
WHERE e.phase = 0 AND e.id < $1
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
