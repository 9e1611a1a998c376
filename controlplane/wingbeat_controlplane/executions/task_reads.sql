-- name: get_task
SELECT te.execution_id, te.attempt, te.task_project, te.task_domain, te.task_name, te.task_version, te.task_type, te.name, te.phase,
    te.created_at, te.started_at, te.ended_at, te.updated_at, te.input_uri, te.output_uri, te.error, te.error_uri,
    te.details
FROM task_executions te
WHERE te.execution_id = $1 AND te.node_id = $2 AND te.attempt = $3
    AND (te.task_project, te.task_domain, te.task_name, te.task_version) = ($4, $5, $6, $7);

-- name: list_tasks
SELECT te.attempt, te.task_project, te.task_domain, te.task_name, te.task_version, te.task_type, te.name, te.phase,
    te.created_at, te.started_at, te.ended_at, te.updated_at, te.input_uri, te.output_uri, te.error, te.details
FROM task_executions te;

-- name: get_task_data
-- Small values lie in the node's row: inputs are the same for each attempt, outputs are those of the last one.
SELECT ne.inputs, coalesce(te.input_uri, ne.input_uri) AS input_uri,
    CASE WHEN te.phase = 3 AND ne.attempt = te.attempt THEN ne.outputs END AS outputs,
    CASE WHEN te.phase = 3 THEN te.output_uri END AS output_uri
FROM task_executions te
LEFT JOIN node_executions ne ON (ne.execution_id, ne.node_id) = (te.execution_id, te.node_id)
WHERE te.execution_id = $1 AND te.node_id = $2 AND te.attempt = $3
    AND (te.task_project, te.task_domain, te.task_name, te.task_version) = ($4, $5, $6, $7);
