-- name: parent_settings
SELECT config, spec, principal, recovery, priority FROM executions WHERE id = $1;

-- name: source
SELECT id, workflow_id FROM executions WHERE project = $1 AND domain = $2 AND name = $3;

-- name: find
SELECT asked.parent, asked.node_id, asked.name, e.id
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS asked (parent, node_id, name)
JOIN executions AS p ON p.id = asked.parent
JOIN executions AS e
    ON e.project = p.project AND e.domain = p.domain AND e.name = asked.name
    AND e.parent_execution_id = asked.parent AND e.parent_node_id = asked.node_id;

-- name: ended
SELECT asked.id, coalesce(e.phase, 0)::smallint AS phase, e.outputs, e.outputs_uri, e.error, e.error_uri
FROM unnest($1::bigint[]) AS asked (id)
LEFT JOIN executions AS e ON e.id = asked.id
WHERE e.id IS NULL OR e.ended_at IS NOT NULL;

-- name: abort_orphans
-- Their node has ended, or its execution has; the row of a node is there before its child is.
WITH aborted AS (
    UPDATE executions AS c
    SET phase = 9, abort_requested_at = now(), updated_at = now(), abort_principal = '',
        abort_cause = 'cascading abort as parent execution id [' || p.name || '] has ended'
    FROM executions AS p
    WHERE c.parent_execution_id = p.id AND c.ended_at IS NULL AND c.abort_requested_at IS NULL
        AND c.parent_node_id IS NOT NULL
        AND (
            p.ended_at IS NOT NULL
            OR EXISTS (
                SELECT FROM node_executions AS n
                WHERE n.execution_id = p.id AND n.node_id = c.parent_node_id AND n.ended_at IS NOT NULL
            )
        )
    RETURNING c.shard
)
SELECT count(*) AS count, count(pg_notify('wingbeat_abort', shard::text)) FROM aborted;

-- name: abort_eager_orphans
-- Their eager execution has failed, or was aborted while it started them: flytekit labels them with its name. What
-- carries the label later was launched by somebody who took it over.
WITH aborted AS (
    UPDATE executions AS c
    SET phase = 9, abort_requested_at = now(), updated_at = now(), abort_principal = '',
        abort_cause = 'cascading abort as eager execution [' || p.name || '] has ended'
    FROM execution_tags AS t, executions AS p
    WHERE c.ended_at IS NULL AND c.abort_requested_at IS NULL AND c.phase NOT IN (4, 6, 7, 8)
        AND t.execution_id = c.id AND t.key = 'eager-exec'
        AND p.project = c.project AND p.domain = c.domain AND p.name = t.value AND p.id <> c.id
        AND (p.abort_requested_at IS NOT NULL OR (p.ended_at IS NOT NULL AND p.phase IN (6, 7, 8)))
        AND c.created_at < coalesce(p.abort_requested_at, p.ended_at) + interval '1 minute'
    RETURNING c.shard
)
SELECT count(*) AS count, count(pg_notify('wingbeat_abort', shard::text)) FROM aborted;
