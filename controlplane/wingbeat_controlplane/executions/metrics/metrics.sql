-- name: head
SELECT id, project, domain, name, workflow_id, created_at, ended_at, updated_at
FROM executions
WHERE project = $1 AND domain = $2 AND name = $3;

-- name: children
-- Executions by name, one look into an index for each.
SELECT e.id, e.project, e.domain, e.name, e.workflow_id, e.created_at, e.ended_at, e.updated_at
FROM unnest($1::text[], $2::text[], $3::text[]) AS asked (project, domain, name)
CROSS JOIN LATERAL (
    SELECT * FROM executions AS c
    WHERE c.project = asked.project AND c.domain = asked.domain AND c.name = asked.name
    LIMIT 1
) AS e;

-- name: hash_frames
-- The planner does not know how many nodes an execution has: it may take a few, and compare each with each.
SELECT set_config('enable_nestloop', 'off', true);

-- name: nodes
-- Nodes of executions $1 down to as many levels as $2 says of each, at most $3 in all. What is inside of elements of
-- arrays is no part of it: an element is no node's id.
WITH RECURSIVE nodes AS MATERIALIZED (
    SELECT execution_id, node_id, spec_node_id, parent_id, coalesce(parent_attempt, 0) AS parent_attempt, seq, kind,
        flags, phase, created_at, started_at, ended_at, updated_at,
        CASE WHEN kind = 5 OR flags & 2 <> 0 THEN details END AS details
    FROM node_executions
    WHERE execution_id = ANY($1::bigint[])
), shown AS (
    SELECT n.*, asked.levels - 1 AS levels
    FROM nodes AS n
    JOIN unnest($1::bigint[], $2::integer[]) AS asked (execution_id, levels) ON asked.execution_id = n.execution_id
    WHERE n.parent_id IS NULL
    UNION ALL
    SELECT n.*, s.levels - 1
    FROM shown AS s
    JOIN nodes AS n ON n.execution_id = s.execution_id AND n.parent_id = s.node_id
    WHERE s.levels > 0
)
SELECT * FROM shown LIMIT $3;

-- name: attempts
-- Attempts of nodes, at most $3 in all.
SELECT t.execution_id, t.node_id, t.attempt, t.task_project, t.task_domain, t.task_name, t.task_version, t.created_at,
    t.started_at, t.ended_at, t.updated_at
FROM unnest($1::bigint[], $2::text[]) AS asked (execution_id, node_id)
CROSS JOIN LATERAL (
    SELECT * FROM task_executions AS a
    WHERE a.execution_id = asked.execution_id AND a.node_id = asked.node_id
    ORDER BY a.attempt
    OFFSET 0
) AS t
LIMIT $3;

-- name: closures
SELECT id, closure FROM workflows WHERE id = ANY($1::bigint[]);
