-- name: find_parent
SELECT e.id, e.principal, e.spec
FROM executions e
JOIN node_executions n ON n.execution_id = e.id AND n.node_id = $4
WHERE e.project = $1 AND e.domain = $2 AND e.name = $3;
