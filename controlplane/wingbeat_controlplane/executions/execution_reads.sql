-- name: get_execution
-- A range of one name, in its order: the index by name alone gives that. By equality the index by time looks as good
-- while the table has not been analyzed, and each call would read all executions of the domain.
SELECT e.project, e.domain, e.name, e.spec, e.notifications, e.principal, e.state, e.state_changed_at,
    e.state_principal, e.abort_cause, e.abort_principal, e.phase, e.created_at, e.started_at, e.ended_at, e.updated_at,
    e.outputs_uri, e.error, e.error_uri, w.project AS workflow_project, w.domain AS workflow_domain,
    w.name AS workflow_name, w.version AS workflow_version
FROM executions e
JOIN workflows w ON w.id = e.workflow_id
WHERE e.project = $1 AND e.domain = $2 AND e.name BETWEEN $3 AND $3
ORDER BY e.name
LIMIT 1;

-- name: list_executions
-- Errors come short: a list shows their beginning only.
SELECT e.project, e.domain, e.name, e.spec, e.notifications, e.principal, e.state, e.state_changed_at,
    e.state_principal, e.abort_cause, e.abort_principal, e.phase, e.created_at, e.started_at, e.ended_at, e.updated_at,
    e.outputs_uri, e.error, w.project AS workflow_project, w.domain AS workflow_domain,
    w.name AS workflow_name, w.version AS workflow_version
FROM executions e
JOIN workflows w ON w.id = e.workflow_id;

-- name: get_execution_data
-- By name as above.
SELECT e.inputs, e.inputs_uri, e.outputs, e.outputs_uri
FROM executions e
WHERE e.project = $1 AND e.domain = $2 AND e.name BETWEEN $3 AND $3
ORDER BY e.name
LIMIT 1;
