-- name: source_execution
SELECT id, name, workflow_id, config FROM executions WHERE id = $1;

-- name: source_nodes
-- By primary key. Columns as those of `nodes`.
SELECT execution_id, node_id, seq, spec_node_id, parent_id, parent_attempt, node_name, kind, flags, phase, attempt,
    system_failures, extract(epoch FROM created_at)::float8, extract(epoch FROM updated_at)::float8,
    extract(epoch FROM started_at)::float8, extract(epoch FROM attempt_started_at)::float8,
    extract(epoch FROM ended_at)::float8, inputs, input_uri, outputs, output_uri, deck_uri, details, memo,
    extract(epoch FROM retry_at)::float8, cache_status, inherited, error
FROM node_executions
WHERE (execution_id, node_id) IN (SELECT execution_id, node_id FROM unnest($1::bigint[], $2::text[])
    AS asked (execution_id, node_id));

-- name: source_elements
-- By primary key, for no element succeeds twice. Columns as those of `elements`, with the details.
SELECT execution_id, node_id, element, attempt, phase, system_failures, extract(epoch FROM queued_at)::float8,
    extract(epoch FROM started_at)::float8, extract(epoch FROM ended_at)::float8, extract(epoch FROM retry_at)::float8,
    outputs, output_uri, deck_uri, futures_uri, details, cache_status
FROM array_elements
WHERE execution_id = $1 AND node_id = $2 AND element > $3 AND phase = 3
ORDER BY element
LIMIT $4;

-- name: source_last_attempt
SELECT max(attempt) FROM array_elements WHERE execution_id = $1 AND node_id = $2 AND element = $3;
