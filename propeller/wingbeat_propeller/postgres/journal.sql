-- name: open_lane
-- Numbers of a lane go on where its last batch ended. No row: the term has ended.
INSERT INTO journal_lanes AS lane (term, lane)
SELECT term, $2 FROM propellers WHERE term = $1 FOR KEY SHARE
ON CONFLICT (term, lane) DO UPDATE SET batch = lane.batch
RETURNING batch;

-- name: lane_batch
SELECT batch FROM journal_lanes WHERE term = $1 AND lane = $2;

-- name: commit
-- One batch, one statement, one transaction: $1 term, $2 lane, $3 number of the batch, then its rows by table.
-- What is between `rare` and `end` is left out for batches that have nothing for it: each part costs, even an empty one.
-- `fence` finds no row when the term has ended or when this very batch is committed already; then nothing is written.
WITH fence AS (
    UPDATE journal_lanes SET batch = $3 WHERE term = $1 AND lane = $2 AND batch < $3 RETURNING batch
),
-- rare
elements_written AS (
    INSERT INTO array_elements AS a (
        execution_id, node_id, element, attempt, phase, system_failures, queued_at, started_at, ended_at, retry_at,
        outputs, output_uri, deck_uri, futures_uri, details, cache_status, error, error_uri
    )
    SELECT
        execution_id, node_id, element, attempt, phase, system_failures, to_timestamp(queued_at),
        to_timestamp(started_at), to_timestamp(ended_at), to_timestamp(retry_at), outputs, output_uri,
        deck_uri, futures_uri, details, cache_status, error, error_uri
    FROM unnest($9::journal_element_3[]) WHERE EXISTS (SELECT FROM fence)
    ON CONFLICT (execution_id, node_id, element, attempt) DO UPDATE SET
        phase = excluded.phase,
        system_failures = excluded.system_failures,
        started_at = excluded.started_at,
        ended_at = excluded.ended_at,
        retry_at = excluded.retry_at,
        outputs = excluded.outputs,
        output_uri = excluded.output_uri,
        deck_uri = coalesce(excluded.deck_uri, a.deck_uri),
        futures_uri = coalesce(excluded.futures_uri, a.futures_uri),
        details = coalesce(excluded.details, a.details),
        cache_status = excluded.cache_status,
        error = excluded.error,
        error_uri = excluded.error_uri
), values_known AS (
    INSERT INTO lineage_values (execution_id, node_id, var, token)
    SELECT u.execution_id, u.node_id, u.var, u.token
    FROM unnest($10::journal_lineage_2[]) AS u
    WHERE u.kind = 1 AND EXISTS (SELECT FROM executions AS e WHERE e.id = u.execution_id) AND EXISTS (SELECT FROM fence)
), sources_known AS (
    SELECT * FROM (
        SELECT u.*, coalesce(u.source_execution_id, (
            -- One look into an index for each, whatever the planner would rather do.
            SELECT e.id FROM executions AS e
            WHERE u.kind = 2 AND e.project = split_part(u.token, ':', 1) AND e.domain = split_part(u.token, ':', 2)
                AND e.name = split_part(u.token, ':', 3)
            LIMIT 1
        )) AS source
        FROM unnest($10::journal_lineage_2[]) AS u
        WHERE u.kind IN (2, 3)
    ) AS u
    WHERE u.source IS NOT NULL AND EXISTS (SELECT FROM executions AS e WHERE e.id = u.execution_id)
        AND EXISTS (SELECT FROM fence)
), taken_over AS (
    INSERT INTO lineage_edges (execution_id, node_id, kind, source_execution_id, source_node_id)
    SELECT DISTINCT execution_id, node_id, kind, source, source_node_id FROM sources_known
    ON CONFLICT DO NOTHING
), elements_taken_over AS (
    INSERT INTO lineage_elements (execution_id, node_id, first, count, source_execution_id, source_node_id, source_first)
    SELECT execution_id, node_id, first, run_length, source, source_node_id, source_first FROM sources_known
    WHERE kind = 2 AND (first >= 0 OR source_first >= 0)
    ON CONFLICT DO NOTHING
), artifacts_made AS (
    INSERT INTO artifact_outbox (execution_id, node_id, attempt)
    SELECT u.execution_id, u.node_id, u.attempt
    FROM unnest($10::journal_lineage_2[]) AS u
    WHERE u.kind = 4 AND EXISTS (SELECT FROM executions AS e WHERE e.id = u.execution_id) AND EXISTS (SELECT FROM fence)
    RETURNING 1
),
-- end
executions_written AS (
    UPDATE executions AS e SET
        phase = CASE WHEN e.phase = 9 AND u.phase NOT IN (4, 6, 7, 8) THEN e.phase ELSE u.phase END,
        updated_at = to_timestamp(u.updated_at),
        started_at = to_timestamp(u.started_at),
        ended_at = to_timestamp(u.ended_at),
        outputs = coalesce(u.outputs, e.outputs),
        outputs_uri = coalesce(u.outputs_uri, e.outputs_uri),
        error = u.error,
        error_uri = u.error_uri,
        error_kind = u.error_kind,
        error_code = u.error_code
    FROM unnest($4::journal_execution[]) AS u
    WHERE e.id = u.id AND EXISTS (SELECT FROM fence)
    RETURNING e.id, e.ended_at, e.parent_execution_id
), nodes_written AS (
    INSERT INTO node_executions AS n (
        execution_id, node_id, seq, spec_node_id, parent_id, parent_attempt, node_name, kind, flags, phase, attempt,
        system_failures, created_at, updated_at, started_at, attempt_started_at, ended_at,
        inputs, input_uri, outputs, output_uri, deck_uri, details, memo, retry_at, cache_status,
        inherited, error, error_uri
    )
    SELECT
        execution_id, node_id, seq, spec_node_id, parent_id, parent_attempt, node_name, kind, flags, phase, attempt,
        system_failures, to_timestamp(created_at), to_timestamp(updated_at), to_timestamp(started_at),
        to_timestamp(attempt_started_at), to_timestamp(ended_at),
        inputs, input_uri, outputs, output_uri, deck_uri, details, memo, to_timestamp(retry_at),
        cache_status, inherited, error, error_uri
    FROM unnest($5::journal_node_3[]) WHERE EXISTS (SELECT FROM fence)
    ON CONFLICT (execution_id, node_id) DO UPDATE SET
        flags = excluded.flags,
        phase = excluded.phase,
        attempt = excluded.attempt,
        system_failures = excluded.system_failures,
        updated_at = excluded.updated_at,
        started_at = excluded.started_at,
        attempt_started_at = excluded.attempt_started_at,
        ended_at = excluded.ended_at,
        inputs = coalesce(excluded.inputs, n.inputs),
        input_uri = coalesce(excluded.input_uri, n.input_uri),
        outputs = coalesce(excluded.outputs, n.outputs),
        output_uri = coalesce(excluded.output_uri, n.output_uri),
        deck_uri = coalesce(excluded.deck_uri, n.deck_uri),
        details = coalesce(excluded.details, n.details),
        memo = coalesce(excluded.memo, n.memo),
        retry_at = excluded.retry_at,
        cache_status = excluded.cache_status,
        inherited = coalesce(excluded.inherited, n.inherited),
        error = excluded.error,
        error_uri = excluded.error_uri
), tasks_written AS (
    INSERT INTO task_executions AS t (
        execution_id, node_id, attempt, task_project, task_domain, task_name, task_version, task_type, name, phase,
        phase_version, created_at, updated_at, started_at, ended_at, input_uri, output_uri, details, error, error_uri
    )
    SELECT
        execution_id, node_id, attempt, task_project, task_domain, task_name, task_version, task_type, name, phase,
        phase_version, to_timestamp(created_at), to_timestamp(updated_at), to_timestamp(started_at),
        to_timestamp(ended_at), input_uri, output_uri, details, error, error_uri
    FROM unnest($6::journal_task[]) WHERE EXISTS (SELECT FROM fence)
    ON CONFLICT (execution_id, node_id, attempt) DO UPDATE SET
        phase = excluded.phase,
        phase_version = excluded.phase_version,
        updated_at = excluded.updated_at,
        started_at = excluded.started_at,
        ended_at = excluded.ended_at,
        input_uri = coalesce(excluded.input_uri, t.input_uri),
        output_uri = coalesce(excluded.output_uri, t.output_uri),
        details = coalesce(excluded.details, t.details),
        error = excluded.error,
        error_uri = excluded.error_uri
), transitions_written AS (
    INSERT INTO transitions (execution_id, node_id, attempt, phase, at)
    SELECT execution_id, node_id, attempt, phase, to_timestamp(at)
    FROM unnest($7::journal_transition[]) WHERE EXISTS (SELECT FROM fence)
), slots_freed AS (
    -- Slots of attempts that end here, and whatever slots are left of executions that end here.
    DELETE FROM tenant_slots AS s USING (
        SELECT execution_id, name FROM unnest($8::journal_slot[])
        UNION ALL
        SELECT id, NULL FROM unnest($4::journal_execution[]) WHERE ended_at IS NOT NULL
    ) AS u
    WHERE s.execution_id = u.execution_id AND (u.name IS NULL OR u.name = s.name) AND EXISTS (SELECT FROM fence)
    RETURNING 1
)
SELECT
    EXISTS (SELECT FROM fence),
    -- The engines of the nodes that wait for these ends hear of them once they are durable.
    (
        SELECT count(pg_notify('wingbeat_child', id::text))
        FROM executions_written WHERE ended_at IS NOT NULL AND parent_execution_id IS NOT NULL
    ),
    -- rare
    (SELECT pg_notify('wingbeat_artifacts', '') FROM artifacts_made LIMIT 1),
    -- end
    (SELECT pg_notify('wingbeat_slots', '') FROM slots_freed LIMIT 1);
