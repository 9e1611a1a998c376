-- name: insert
-- A version that exists stays as it is.
INSERT INTO artifacts (
    project, domain, name, version, partitions, time_partition, granularity, spec, value_uri, execution_project,
    execution_domain, execution_name, node_id, attempt, var, entity, principal
)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (project, domain, name, version) DO NOTHING
RETURNING id;

-- name: by_version
SELECT a.*, ARRAY(SELECT t.value FROM artifact_tags AS t WHERE t.artifact_id = a.id ORDER BY 1) AS tags
FROM artifacts AS a
WHERE a.project = $1 AND a.domain = $2 AND a.name = $3 AND a.version = $4;

-- name: newest
-- $4: partitions that must be equal, $5 and $6: the time partition, if one was asked for.
SELECT a.*, ARRAY(SELECT t.value FROM artifact_tags AS t WHERE t.artifact_id = a.id ORDER BY 1) AS tags
FROM artifacts AS a
WHERE a.project = $1 AND a.domain = $2 AND a.name = $3 AND a.partitions @> $4::text::jsonb
    AND ($5::timestamptz IS NULL OR a.time_partition = $5 AND a.granularity = $6)
ORDER BY a.id DESC
LIMIT 1;

-- name: by_tag
SELECT a.*, ARRAY(SELECT t.value FROM artifact_tags AS t WHERE t.artifact_id = a.id ORDER BY 1) AS tags
FROM artifact_tags AS tag JOIN artifacts AS a ON a.id = tag.artifact_id
WHERE tag.project = $1 AND tag.domain = $2 AND tag.name = $3 AND tag.value = $4;

-- name: search
-- Newest first; empty texts and NULLs stand for anything. $8: no other partitions than
-- those asked for, $9: the newest version of each name alone.
SELECT a.*, ARRAY(SELECT t.value FROM artifact_tags AS t WHERE t.artifact_id = a.id ORDER BY 1) AS tags
FROM artifacts AS a
WHERE a.id < $1 AND a.project = $2 AND ($3 = '' OR a.domain = $3) AND ($4 = '' OR a.name = $4)
    AND ($5 = '' OR a.version = $5) AND ($6 = '' OR a.principal = $6) AND a.partitions @> $7::text::jsonb
    AND (NOT $8::boolean OR a.partitions = $7::text::jsonb)
    AND (NOT $9::boolean OR NOT EXISTS (
        SELECT FROM artifacts AS later
        WHERE later.project = a.project AND later.domain = a.domain AND later.name = a.name AND later.id > a.id
    ))
ORDER BY a.id DESC
LIMIT $10;

-- name: made_by_execution
SELECT a.*, ARRAY(SELECT t.value FROM artifact_tags AS t WHERE t.artifact_id = a.id ORDER BY 1) AS tags
FROM artifacts AS a
WHERE a.execution_project = $1 AND a.execution_domain = $2 AND a.execution_name = $3 AND a.execution_name <> ''
ORDER BY a.id
LIMIT $4;

-- name: used_by_execution
SELECT a.*, ARRAY(SELECT t.value FROM artifact_tags AS t WHERE t.artifact_id = a.id ORDER BY 1) AS tags
FROM artifacts AS a
WHERE a.id IN (
    SELECT u.artifact_id FROM artifact_uses AS u JOIN executions AS e ON e.id = u.execution_id
    WHERE e.project = $1 AND e.domain = $2 AND e.name = $3
)
ORDER BY a.id
LIMIT $4;

-- name: usage
SELECT e.project, e.domain, e.name
FROM artifact_uses AS u JOIN executions AS e ON e.id = u.execution_id
WHERE u.artifact_id = $1
GROUP BY e.id
ORDER BY e.id DESC
LIMIT $2;

-- name: tag
-- Nobody else has the alias, or it moves.
INSERT INTO artifact_tags AS t (project, domain, name, value, artifact_id)
SELECT a.project, a.domain, a.name, $2, a.id FROM artifacts AS a WHERE a.id = $1
ON CONFLICT (project, domain, name, value) DO UPDATE SET artifact_id = excluded.artifact_id, updated_at = now()
WHERE $3 OR t.artifact_id = excluded.artifact_id
RETURNING artifact_id;

-- name: use
INSERT INTO artifact_uses (artifact_id, execution_id)
SELECT u.id, e.id FROM unnest($4::bigint[]) AS u (id), executions AS e
WHERE e.project = $1 AND e.domain = $2 AND e.name = $3
ON CONFLICT DO NOTHING;

-- name: execution_exists
SELECT true FROM executions WHERE project = $1 AND domain = $2 AND name = $3;

-- name: register_entity
INSERT INTO artifact_entities (
    is_consumer, resource_type, project, domain, name, version, var, artifact_name, artifact
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (project, domain, name, version, resource_type, is_consumer, var)
DO UPDATE SET artifact_name = excluded.artifact_name, artifact = excluded.artifact;

-- name: announced
-- Outputs that are to become artifacts now; others may be at work on the rest.
SELECT o.id, o.execution_id, o.node_id, o.attempt, o.tries, o.next_element
FROM artifact_outbox AS o
WHERE o.retry_at IS NULL OR o.retry_at <= now()
ORDER BY o.id
LIMIT $1
FOR UPDATE SKIP LOCKED;

-- name: announced_wait
-- The same, but waits for what others are at work on.
SELECT o.id, o.execution_id, o.node_id, o.attempt, o.tries, o.next_element
FROM artifact_outbox AS o
WHERE o.retry_at IS NULL OR o.retry_at <= now()
ORDER BY o.id
LIMIT $1
FOR UPDATE;

-- name: output_of_node
SELECT e.project, e.domain, e.name, e.principal, n.inputs, n.input_uri, n.outputs, n.output_uri, n.cache_status, n.kind,
    t.task_project, t.task_domain, t.task_name, t.task_version, k.closure,
    NULL::bytea AS interface, false AS is_task
FROM executions AS e
JOIN node_executions AS n ON n.execution_id = e.id AND n.node_id = $2
LEFT JOIN LATERAL (
    SELECT * FROM task_executions AS x WHERE x.execution_id = e.id AND x.node_id = n.node_id
    ORDER BY x.attempt DESC LIMIT 1
) AS t ON true
LEFT JOIN tasks AS k
    ON k.project = t.task_project AND k.domain = t.task_domain AND k.name = t.task_name AND k.version = t.task_version
WHERE e.id = $1;

-- name: output_of_execution
SELECT e.project, e.domain, e.name, e.principal, e.inputs, e.inputs_uri AS input_uri, e.outputs,
    e.outputs_uri AS output_uri, 0::smallint AS cache_status, 0::smallint AS kind, w.project AS task_project, w.domain AS task_domain,
    w.name AS task_name, w.version AS task_version, NULL::bytea AS closure, w.typed_interface AS interface,
    e.launch_entity = 'task' AS is_task
FROM executions AS e JOIN workflows AS w ON w.id = e.workflow_id
WHERE e.id = $1;

-- name: elements
-- Those that made their outputs themselves: others ended when their turn came.
SELECT DISTINCT ON (element) element, attempt, outputs, output_uri
FROM array_elements
WHERE execution_id = $1 AND node_id = $2 AND element >= $3 AND phase = 3 AND ended_at > queued_at
ORDER BY element, attempt DESC
LIMIT $4;

-- name: task_closure
SELECT closure FROM tasks WHERE project = $1 AND domain = $2 AND name = $3 AND version = $4;

-- name: next_page
UPDATE artifact_outbox SET next_element = $2 WHERE id = $1;

-- name: done
DELETE FROM artifact_outbox WHERE id = $1;

-- name: later
UPDATE artifact_outbox SET tries = tries + 1, retry_at = now() + make_interval(secs => $2::float8) WHERE id = $1;

-- name: failed
INSERT INTO artifact_failures (execution_id, node_id, var, reason) VALUES ($1, $2, $3, $4)
ON CONFLICT (execution_id, node_id, var) DO UPDATE SET reason = excluded.reason, created_at = now();
