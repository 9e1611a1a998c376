-- name: node_artifacts
SELECT inputs, input_uri, outputs, output_uri, deck_uri
FROM node_executions
WHERE execution_id = $1 AND node_id = $2;

-- name: attempt_artifacts
-- Small values lie in the node's row: inputs are the same for each attempt, outputs are those of the last one.
SELECT ne.inputs, coalesce(te.input_uri, ne.input_uri) AS input_uri,
    CASE WHEN te.phase = 3 AND ne.attempt = te.attempt THEN ne.outputs END AS outputs,
    CASE WHEN te.phase = 3 THEN te.output_uri END AS output_uri
FROM task_executions te
JOIN node_executions ne ON (ne.execution_id, ne.node_id) = (te.execution_id, te.node_id)
WHERE te.execution_id = $1 AND te.node_id = $2 AND te.attempt = $3;
