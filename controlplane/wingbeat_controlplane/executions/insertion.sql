-- name: insert_executions
-- One row for each element of the arrays $1 to $39; $40 to $42 are tags by the number of their row, from 1. $38 and $39
-- are labels and inputs to search by.
WITH asked AS MATERIALIZED (
    SELECT *
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::boolean[], $5::smallint[], $6::text[], $7::bigint[], $8::bigint[],
        $9::bigint[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[], $14::text[], $15::bytea[], $16::text[],
        $17::smallint[], $18::text[], $19::bigint[], $20::bigint[], $21::text[], $22::bytea[], $23::bytea[],
        $24::bytea[], $25::text[], $26::text[], $27::text[], $28::boolean[], $29::bigint[], $30::float8[],
        $31::float8[], $32::bytea[], $33::boolean[], $34::smallint[], $35::bigint[], $36::bigint[], $37::smallint[],
        $38::text[], $39::text[]
    ) WITH ORDINALITY AS a (
        project, domain, name, is_named, shard, launch_entity, launch_plan_id, workflow_id, task_id, spec, config,
        notifications, inputs, inputs_uri, user_inputs, user_inputs_uri, mode, principal, source_execution_id,
        parent_execution_id, parent_node_id, task_resources, plugin_overrides, quality_of_service, cluster_label,
        cluster_pool, queue_tags, waits, alive_max, queue_s, run_s, recovery, awaited, priority, batch_id, batch_row,
        batch_attempt, searched_labels, searched_inputs, number
    )
), created AS (
    INSERT INTO executions (
        project, domain, name, shard, launch_entity, launch_plan_id, workflow_id, task_id, spec, config, notifications,
        inputs, inputs_uri, user_inputs, user_inputs_uri, mode, principal, source_execution_id, parent_execution_id,
        parent_node_id, task_resources, plugin_overrides, quality_of_service, cluster_label, cluster_pool, queue_tags,
        phase, waiting, alive_max, begin_by, deadline_s, recovery, awaited, priority, batch_id, batch_row, batch_attempt
    )
    SELECT
        project, domain, name, shard, launch_entity, launch_plan_id, workflow_id, task_id, spec, config, notifications,
        inputs, inputs_uri, user_inputs, user_inputs_uri, mode, principal, source_execution_id, parent_execution_id,
        parent_node_id, task_resources, plugin_overrides, quality_of_service, cluster_label, cluster_pool,
        queue_tags::text[], CASE WHEN waits THEN 1 ELSE 0 END, waits, alive_max, now() + make_interval(secs => queue_s),
        run_s, recovery, awaited, priority, batch_id, batch_row, batch_attempt
    FROM asked
    ORDER BY CASE WHEN is_named THEN project END, CASE WHEN is_named THEN domain END, CASE WHEN is_named THEN name END,
        number
    ON CONFLICT (project, domain, name) DO NOTHING
    RETURNING id, project, domain, name, shard, waiting
), tagged AS (
    INSERT INTO execution_tags (execution_id, key, value)
    SELECT created.id, tag.key, tag.value
    FROM unnest($40::bigint[], $41::text[], $42::text[]) AS tag (number, key, value)
    JOIN asked ON asked.number = tag.number
    JOIN created ON created.project = asked.project AND created.domain = asked.domain AND created.name = asked.name
    ON CONFLICT DO NOTHING
), searched AS (
    INSERT INTO execution_search (execution_id, labels, inputs)
    SELECT created.id, asked.searched_labels::jsonb, asked.searched_inputs::jsonb
    FROM created
    JOIN asked ON asked.project = created.project AND asked.domain = created.domain AND asked.name = created.name
    WHERE asked.searched_labels IS NOT NULL OR asked.searched_inputs IS NOT NULL
    ON CONFLICT DO NOTHING
), queued AS (
    INSERT INTO transitions (execution_id, phase, at)
    SELECT id, 1, now() FROM created WHERE waiting
)
SELECT id, project, domain, name FROM created;
