-- name: get_node
SELECT ne.execution_id, ne.node_id, ne.spec_node_id, ne.parent_id, ne.parent_attempt, ne.kind, ne.flags, ne.phase, ne.attempt, ne.cache_status,
    ne.created_at, ne.started_at, ne.ended_at, ne.updated_at, ne.inputs IS NOT NULL AS has_inputs, ne.input_uri,
    ne.outputs IS NOT NULL AS has_outputs, ne.output_uri, ne.deck_uri, ne.error, ne.error_uri, ne.details
FROM node_executions ne
WHERE ne.execution_id = $1 AND ne.node_id = $2;

-- name: list_nodes
SELECT ne.node_id, ne.spec_node_id, ne.parent_id, ne.parent_attempt, ne.kind, ne.flags, ne.phase, ne.attempt, ne.cache_status,
    ne.created_at, ne.started_at, ne.ended_at, ne.updated_at, ne.inputs IS NOT NULL AS has_inputs, ne.input_uri,
    ne.outputs IS NOT NULL AS has_outputs, ne.output_uri, ne.deck_uri, ne.error, ne.details
FROM node_executions ne;

-- name: node_exists
SELECT EXISTS (SELECT FROM node_executions WHERE execution_id = $1 AND node_id = $2);

-- name: get_node_data
SELECT ne.inputs, ne.input_uri, ne.outputs, ne.output_uri, ne.deck_uri, ne.flags, ne.details
FROM node_executions ne
WHERE ne.execution_id = $1 AND ne.node_id = $2;

-- name: get_dynamic
SELECT ne.flags, ne.details FROM node_executions ne WHERE ne.execution_id = $1 AND ne.node_id = $2;

-- name: execution_config
SELECT config FROM executions WHERE id = $1;
