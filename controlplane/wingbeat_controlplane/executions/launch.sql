-- name: find_parent
SELECT e.id, e.principal, e.spec
FROM executions e
JOIN node_executions n ON n.execution_id = e.id AND n.node_id = $4
WHERE e.project = $1 AND e.domain = $2 AND e.name = $3;

-- name: lock_launch_plan
-- Held to the end of the transaction, so that counting and inserting are one step.
SELECT pg_advisory_xact_lock(hashtextextended($1 || ':' || $2 || ':' || $3, 0));

-- name: count_under_way
-- Phases UNDEFINED (not yet begun), QUEUED and RUNNING of every version of the launch plan.
SELECT count(*)
FROM launch_plans lp
JOIN executions e ON e.launch_plan_id = lp.id
WHERE lp.project = $1 AND lp.domain = $2 AND lp.name = $3 AND e.phase IN (0, 1, 2) AND e.ended_at IS NULL;

-- name: insert_execution
WITH created AS (
    INSERT INTO executions (
        project, domain, name, shard, launch_entity, launch_plan_id, workflow_id, task_id, spec, config, notifications,
        inputs, inputs_uri, user_inputs, user_inputs_uri, mode, principal, source_execution_id, parent_execution_id,
        parent_node_id, task_resources, plugin_overrides, quality_of_service, cluster_label, cluster_pool, queue_tags
    )
    VALUES (
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
        $23, $24, $25, $26, $27, $28
    )
    ON CONFLICT (project, domain, name) DO NOTHING
    RETURNING id, shard
), tagged AS (
    INSERT INTO execution_tags (execution_id, key, value)
    SELECT created.id, tag.key, tag.value
    FROM created, unnest($21::text[], $22::text[]) AS tag (key, value)
    ON CONFLICT DO NOTHING
)
SELECT id, pg_notify('wingbeat_new', shard::text)
FROM created;
