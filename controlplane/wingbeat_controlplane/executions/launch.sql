-- name: find_parent
SELECT e.id, e.principal, e.spec
FROM executions e
JOIN node_executions n ON n.execution_id = e.id AND n.node_id = $4
WHERE e.project = $1 AND e.domain = $2 AND e.name = $3;

-- name: insert_execution
-- $29 waits for its turn, $30 how many may be alive, $31 and $32 seconds to begin and to end in; $34 and $35 labels and
-- inputs to search by.
WITH created AS (
    INSERT INTO executions (
        project, domain, name, shard, launch_entity, launch_plan_id, workflow_id, task_id, spec, config, notifications,
        inputs, inputs_uri, user_inputs, user_inputs_uri, mode, principal, source_execution_id, parent_execution_id,
        parent_node_id, task_resources, plugin_overrides, quality_of_service, cluster_label, cluster_pool, queue_tags,
        phase, waiting, alive_max, begin_by, deadline_s, recovery, awaited
    )
    VALUES (
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
        $23, $24, $25, $26, $27, $28,
        CASE WHEN $29::boolean THEN 1 ELSE 0 END, $29, $30, now() + make_interval(secs => $31::float8), $32, $33,
        -- What an eager task launches, flytekit labels so.
        $19::bigint IS NOT NULL OR 'eager-exec' = ANY($21::text[])
    )
    ON CONFLICT (project, domain, name) DO NOTHING
    RETURNING id, shard
), tagged AS (
    INSERT INTO execution_tags (execution_id, key, value)
    SELECT created.id, tag.key, tag.value
    FROM created, unnest($21::text[], $22::text[]) AS tag (key, value)
    ON CONFLICT DO NOTHING
), searched AS (
    INSERT INTO execution_search (execution_id, labels, inputs)
    SELECT id, $34::jsonb, $35::jsonb FROM created WHERE $34 IS NOT NULL OR $35 IS NOT NULL
), queued AS (
    INSERT INTO transitions (execution_id, phase, at)
    SELECT id, 1, now() FROM created WHERE $29
)
SELECT id, pg_notify(CASE WHEN $29 THEN 'wingbeat_queue' ELSE 'wingbeat_new' END, shard::text)
FROM created;
