-- name: find_node
SELECT kind FROM node_executions WHERE execution_id = $1 AND node_id = $2;

-- name: cached_nodes
-- Nodes with something of the cache to show, after one of them, in order; all or one.
SELECT node_id, cache_status, details
FROM node_executions
WHERE execution_id = $1 AND node_id > $2 AND ($3 = '' OR node_id = $3) AND cache_status IN (2, 3)
ORDER BY node_id
LIMIT $4;

-- name: given_elements
-- Elements of arrays that have ended with what others have made, after one of them, in order; of all nodes or one.
SELECT node_id, element
FROM array_elements
WHERE execution_id = $1 AND (node_id, element) > ($2, $3) AND ($4 = '' OR node_id = $4)
    AND cache_status = 2 AND ended_at IS NOT NULL
ORDER BY node_id, element
LIMIT $5;

-- name: mark_nodes
-- Those that have ended and were given their outputs, or have put them.
UPDATE node_executions SET cache_status = 7
WHERE execution_id = $1 AND node_id = ANY($2::text[]) AND cache_status IN (2, 3) AND ended_at IS NOT NULL
RETURNING node_id;

-- name: mark_elements
UPDATE array_elements AS e SET cache_status = 7
FROM unnest($2::text[], $3::integer[]) AS maker (node_id, element)
WHERE e.execution_id = $1 AND e.node_id = maker.node_id AND e.element = maker.element AND e.cache_status IN (2, 3)
    AND e.ended_at IS NOT NULL
RETURNING e.element;
