-- name: element
-- The last attempt of an element, or attempt $4, and what its array was given. $5: parent of the nodes inside of it.
SELECT a.execution_id, a.node_id AS parent_id, a.element, a.attempt, a.phase, a.cache_status, a.queued_at AS created_at,
    a.started_at, a.ended_at, a.outputs, CASE WHEN a.phase = 3 THEN a.output_uri END AS output_uri, a.deck_uri,
    coalesce(a.futures_uri, CASE WHEN a.phase = 2 THEN a.output_uri END) AS futures_uri, a.error, a.error_uri,
    n.spec_node_id AS array_spec_id, n.inputs, n.input_uri,
    EXISTS (SELECT FROM node_executions AS c WHERE c.execution_id = $1 AND c.parent_id = $5) AS is_parent
FROM node_executions AS n
JOIN array_elements AS a ON (a.execution_id, a.node_id) = (n.execution_id, n.node_id)
WHERE n.execution_id = $1 AND n.node_id = $2 AND a.element = $3 AND ($4::integer IS NULL OR a.attempt = $4)
ORDER BY a.attempt DESC
LIMIT 1;

-- name: workflow
SELECT w.closure FROM executions AS e JOIN workflows AS w ON w.id = e.workflow_id WHERE e.id = $1;
