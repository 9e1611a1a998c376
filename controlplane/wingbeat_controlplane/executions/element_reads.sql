-- name: element
-- The last attempt of an element, or attempt $4, and what its array was given. $5: parent of the nodes inside of it.
SELECT a.execution_id, a.node_id AS parent_id, a.element, a.attempt, a.phase, a.cache_status, a.queued_at AS created_at,
    a.started_at, a.ended_at, a.outputs, CASE WHEN a.phase = 3 THEN a.output_uri END AS output_uri, a.deck_uri,
    coalesce(a.futures_uri, CASE WHEN a.phase = 2 THEN a.output_uri END) AS futures_uri, a.error, a.error_uri,
    n.spec_node_id AS array_spec_id, n.node_name, n.inputs, n.input_uri,
    EXISTS (SELECT FROM node_executions AS c WHERE c.execution_id = $1 AND c.parent_id = $5) AS is_parent
FROM node_executions AS n
JOIN array_elements AS a ON (a.execution_id, a.node_id) = (n.execution_id, n.node_id)
WHERE n.execution_id = $1 AND n.node_id = $2 AND a.element = $3 AND ($4::integer IS NULL OR a.attempt = $4)
ORDER BY a.attempt DESC
LIMIT 1;

-- name: workflow
SELECT w.closure FROM executions AS e JOIN workflows AS w ON w.id = e.workflow_id WHERE e.id = $1;

-- name: attempts
-- Attempts of elements that are tasks, as those of nodes have them.
SELECT te.* FROM (
    SELECT a.execution_id, a.node_id AS array_id, a.element, a.node_id || '-0-n' || a.element AS node_id, a.attempt,
        t.task_project, t.task_domain, t.task_name, t.task_version, k.type AS task_type,
        t.name || '-n' || a.element || '-' || a.attempt AS name, a.phase, 0 AS phase_version, a.queued_at AS created_at,
        a.started_at, a.ended_at, coalesce(a.ended_at, a.started_at, a.queued_at) AS updated_at,
        a.ended_at - a.started_at AS duration, n.spec_node_id AS array_spec_id, n.inputs,
        coalesce(t.input_uri, n.input_uri) AS input_uri, a.outputs,
        CASE WHEN a.phase = 3 THEN a.output_uri END AS output_uri, a.error, a.error_uri, a.details
    FROM array_elements AS a
    JOIN node_executions AS n ON (n.execution_id, n.node_id) = (a.execution_id, a.node_id)
    JOIN task_executions AS t ON (t.execution_id, t.node_id, t.attempt) = (a.execution_id, a.node_id, 0)
    JOIN tasks AS k ON (k.project, k.domain, k.name, k.version)
        = (t.task_project, t.task_domain, t.task_name, t.task_version)
) AS te;
