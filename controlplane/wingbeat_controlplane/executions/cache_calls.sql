-- name: node
SELECT n.kind, n.spec_node_id, n.cache_status, n.created_at, n.inputs, n.input_uri, n.details, t.closure
FROM node_executions AS n
LEFT JOIN LATERAL (
    SELECT te.task_project, te.task_domain, te.task_name, te.task_version
    FROM task_executions AS te
    WHERE te.execution_id = n.execution_id AND te.node_id = n.node_id
    ORDER BY te.attempt
    LIMIT 1
) AS te ON true
LEFT JOIN tasks AS t ON (t.project, t.domain, t.name, t.version)
    = (te.task_project, te.task_domain, te.task_name, te.task_version)
WHERE n.execution_id = $1 AND n.node_id = $2;

-- name: dynamic_around
-- The dynamic task that has made the workflow which a node is part of: the nearest one around it.
WITH RECURSIVE around (parent_id, depth) AS (
    SELECT n.parent_id, 1 FROM node_executions AS n WHERE n.execution_id = $1 AND n.node_id = $2
    UNION ALL
    SELECT n.parent_id, a.depth + 1
    FROM around AS a JOIN node_executions AS n ON n.execution_id = $1 AND n.node_id = a.parent_id
)
SELECT n.details
FROM around AS a JOIN node_executions AS n ON n.execution_id = $1 AND n.node_id = a.parent_id
WHERE n.flags & 2 <> 0
ORDER BY a.depth
LIMIT 1;

-- name: task
-- That version, or the newest one when none is given.
SELECT closure FROM tasks
WHERE project = $1 AND domain = $2 AND name = $3 AND ($4 = '' OR version = $4)
ORDER BY created_at DESC, id DESC
LIMIT 1;

-- name: workflow
SELECT w.closure FROM executions AS e JOIN workflows AS w ON w.id = e.workflow_id WHERE e.id = $1;

-- name: element
-- The last attempt of an element.
SELECT cache_status, queued_at FROM array_elements
WHERE execution_id = $1 AND node_id = $2 AND element = $3
ORDER BY attempt DESC
LIMIT 1;
