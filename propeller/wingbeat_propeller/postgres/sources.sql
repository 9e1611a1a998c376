-- name: source_execution
SELECT id, name, workflow_id, config FROM executions WHERE id = $1;

-- name: source_nodes
-- By primary key. Columns as those of `nodes`.
SELECT n.execution_id, n.node_id, n.seq, n.spec_node_id, n.parent_id, n.parent_attempt, n.node_name, n.kind, n.flags,
    n.phase, n.attempt, n.system_failures, extract(epoch FROM n.created_at)::float8,
    extract(epoch FROM n.updated_at)::float8, extract(epoch FROM n.started_at)::float8,
    extract(epoch FROM n.attempt_started_at)::float8, extract(epoch FROM n.ended_at)::float8, n.inputs, n.input_uri,
    n.outputs, n.output_uri, n.deck_uri, n.details, n.memo, extract(epoch FROM n.retry_at)::float8, n.cache_status,
    n.inherited, n.error
FROM unnest($1::bigint[], $2::text[]) AS asked (execution_id, node_id)
JOIN node_executions AS n ON n.execution_id = asked.execution_id AND n.node_id = asked.node_id;
