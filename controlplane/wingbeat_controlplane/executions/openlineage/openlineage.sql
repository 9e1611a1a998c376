-- name: become_exporter
-- One process at a time, for as long as its connection lives.
SELECT pg_try_advisory_lock(1869509985);

-- name: cursor
SELECT cursor FROM openlineage_cursor;

-- name: begin
INSERT INTO openlineage_cursor (cursor) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: advance
-- No row: somebody else has advanced it.
UPDATE openlineage_cursor SET cursor = $2, updated_at = now() WHERE cursor = $1 RETURNING true;

-- name: executions
-- The parent is who launched it: a node, or an eager task, which labels what it launches.
SELECT e.id, e.project, e.domain, e.name, e.error, e.inputs,
    coalesce(l.name, t.name, w.name) AS entity_name, coalesce(l.version, t.version, w.version) AS entity_version,
    p.project AS parent_project, p.domain AS parent_domain, p.name AS parent_name,
    coalesce(pl.name, pt.name, pw.name) AS parent_entity_name
FROM executions AS e
JOIN workflows AS w ON w.id = e.workflow_id
LEFT JOIN launch_plans AS l ON e.launch_entity = 'launch_plan' AND l.id = e.launch_plan_id
LEFT JOIN tasks AS t ON e.launch_entity = 'task' AND t.id = e.task_id
LEFT JOIN executions AS p ON p.id = coalesce(e.parent_execution_id, (
    SELECT o.id FROM execution_tags AS g
    JOIN executions AS o ON o.project = e.project AND o.domain = e.domain AND o.name = g.value
    WHERE g.execution_id = e.id AND g.key = 'eager-exec' AND o.id <> e.id AND e.source_execution_id IS NULL
    LIMIT 1
))
LEFT JOIN workflows AS pw ON pw.id = p.workflow_id
LEFT JOIN launch_plans AS pl ON p.launch_entity = 'launch_plan' AND pl.id = p.launch_plan_id
LEFT JOIN tasks AS pt ON p.launch_entity = 'task' AND pt.id = p.task_id
WHERE e.id = ANY($1::bigint[]);

-- name: blobs
-- Blobs that an execution was given (`is_input`) or has made, at most $2 of each execution.
SELECT execution_id, is_input, uri FROM (
    SELECT execution_id, node_id = '' AS is_input, substr(token, 5) AS uri,
        row_number() OVER (PARTITION BY execution_id, node_id = '' ORDER BY token) AS place
    FROM lineage_values
    WHERE execution_id = ANY($1::bigint[]) AND token LIKE 'uri:%'
) AS found
WHERE place <= $2
ORDER BY execution_id, uri;
