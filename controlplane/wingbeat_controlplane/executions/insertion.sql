-- name: insert_executions
-- One row for each element of the arrays $1 to $16, of which $6 is the number of its decision, from 1; one decision for
-- each element of the arrays $17 to $39; $40 to $42 are tags by the number of their decision. $16 and $39 are inputs and
-- labels to search by. $43: all wait for their turn in the line of their launch plan.
WITH asked AS MATERIALIZED (
    SELECT *
    FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::boolean[], $5::smallint[], $6::bigint[], $7::bytea[], $8::text[],
        $9::bytea[], $10::text[], $11::bigint[], $12::bytea[], $13::bigint[], $14::bigint[], $15::smallint[],
        $16::text[]
    ) WITH ORDINALITY AS a (
        project, domain, name, is_named, shard, decision, inputs, inputs_uri, user_inputs, user_inputs_uri,
        source_execution_id, recovery, batch_id, batch_row, batch_attempt, searched_inputs, number
    )
), decided AS MATERIALIZED (
    SELECT *
    FROM unnest(
        $17::text[], $18::bigint[], $19::bigint[], $20::bigint[], $21::bytea[], $22::bytea[], $23::bytea[],
        $24::smallint[], $25::text[], $26::bigint[], $27::text[], $28::bytea[], $29::bytea[], $30::bytea[],
        $31::text[], $32::text[], $33::text[], $34::bigint[], $35::float8[], $36::float8[], $37::boolean[],
        $38::smallint[], $39::text[]
    ) WITH ORDINALITY AS d (
        launch_entity, launch_plan_id, workflow_id, task_id, spec, config, notifications, mode, principal,
        parent_execution_id, parent_node_id, task_resources, plugin_overrides, quality_of_service, cluster_label,
        cluster_pool, queue_tags, alive_max, queue_s, run_s, awaited, priority, searched_labels, decision
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
        queue_tags::text[], CASE WHEN $43::boolean THEN 1 ELSE 0 END, $43::boolean,
        CASE WHEN $43::boolean THEN alive_max END, now() + make_interval(secs => queue_s), run_s, recovery, awaited,
        priority, batch_id, batch_row, batch_attempt
    FROM asked JOIN decided USING (decision)
    ORDER BY CASE WHEN is_named THEN project END, CASE WHEN is_named THEN domain END, CASE WHEN is_named THEN name END,
        number
    ON CONFLICT (project, domain, name) DO NOTHING
    RETURNING id, project, domain, name, shard, waiting
), tagged AS (
    INSERT INTO execution_tags (execution_id, key, value)
    SELECT created.id, tag.key, tag.value
    FROM unnest($40::bigint[], $41::text[], $42::text[]) AS tag (decision, key, value)
    JOIN asked ON asked.decision = tag.decision
    JOIN created ON created.project = asked.project AND created.domain = asked.domain AND created.name = asked.name
    ON CONFLICT DO NOTHING
), searched AS (
    INSERT INTO execution_search (execution_id, project, labels, inputs)
    SELECT created.id, created.project, decided.searched_labels::jsonb, asked.searched_inputs::jsonb
    FROM created
    JOIN asked ON asked.project = created.project AND asked.domain = created.domain AND asked.name = created.name
    JOIN decided ON decided.decision = asked.decision
    WHERE decided.searched_labels IS NOT NULL OR asked.searched_inputs IS NOT NULL
    ON CONFLICT DO NOTHING
), queued AS (
    INSERT INTO transitions (execution_id, phase, at)
    SELECT id, 1, now() FROM created WHERE waiting
)
SELECT id, project, domain, name FROM created;
