-- name: source_inputs
SELECT inputs, inputs_uri FROM executions WHERE id = $1;

-- name: past_nodes
-- By primary key: the nodes that a workflow and its sub-workflows have, whatever there is beside them.
SELECT n.node_id, n.phase, n.flags
FROM unnest($2::text[]) AS asked (node_id)
JOIN node_executions AS n ON n.execution_id = $1 AND n.node_id = asked.node_id;

-- name: dynamic_nodes
-- With the nodes around each of them.
WITH RECURSIVE around AS (
    SELECT node_id AS dynamic_id, node_id, parent_id, details
    FROM node_executions
    WHERE execution_id = $1 AND flags & 2 = 2
    UNION ALL
    SELECT around.dynamic_id, n.node_id, n.parent_id, around.details
    FROM around
    JOIN node_executions AS n ON n.execution_id = $1 AND n.node_id = around.parent_id
)
SELECT dynamic_id, details, array_agg(node_id) AS ancestors
FROM around
GROUP BY dynamic_id, details
LIMIT $2;
