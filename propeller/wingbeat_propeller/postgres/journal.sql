-- name: open_lane
-- Numbers of a lane begin where its last batch ended. No row: the term has ended.
INSERT INTO journal_lanes AS lane (term, lane)
SELECT term, $2 FROM propellers WHERE term = $1 FOR KEY SHARE
ON CONFLICT (term, lane) DO UPDATE SET batch = lane.batch
RETURNING batch;

-- name: lane_batch
SELECT batch FROM journal_lanes WHERE term = $1 AND lane = $2;

-- name: commit
-- One batch, one statement, one transaction: $1 term, $2 lane, $3 batch number; then the columns of executions,
-- node_executions, task_executions and transitions (journal_columns.py has them in this order).
-- `fence` finds no row when the term has ended or when this very batch is committed already; then nothing is written.
WITH fence AS (
    UPDATE journal_lanes SET batch = $3 WHERE term = $1 AND lane = $2 AND batch < $3 RETURNING batch
), ends AS (
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
    FROM unnest(
        $4::bigint[], $5::smallint[], $6::float8[], $7::float8[], $8::float8[], $9::bytea[], $10::text[],
        $11::bytea[], $12::text[], $13::smallint[], $14::text[]
    ) AS u (id, phase, updated_at, started_at, ended_at, outputs, outputs_uri, error, error_uri, error_kind, error_code)
    WHERE e.id = u.id AND EXISTS (SELECT FROM fence)
), nodes AS (
    INSERT INTO node_executions AS n (
        execution_id, node_id, seq, spec_node_id, parent_id, parent_attempt, node_name, kind, flags, phase, attempt,
        system_failures, created_at, updated_at, started_at, attempt_started_at, ended_at,
        inputs, input_uri, outputs, output_uri, deck_uri, error, error_uri
    )
    SELECT
        execution_id, node_id, seq, spec_node_id, parent_id, parent_attempt, node_name, kind, flags, phase, attempt,
        system_failures, to_timestamp(created_at), to_timestamp(updated_at), to_timestamp(started_at),
        to_timestamp(attempt_started_at), to_timestamp(ended_at),
        inputs, input_uri, outputs, output_uri, deck_uri, error, error_uri
    FROM unnest(
        $15::bigint[], $16::text[], $17::integer[], $18::text[], $19::text[], $20::smallint[], $21::text[],
        $22::smallint[], $23::smallint[], $24::smallint[], $25::smallint[], $26::smallint[], $27::float8[],
        $28::float8[], $29::float8[], $30::float8[], $31::float8[], $32::bytea[], $33::text[], $34::bytea[],
        $35::text[], $36::text[], $37::bytea[], $38::text[]
    ) AS u (
        execution_id, node_id, seq, spec_node_id, parent_id, parent_attempt, node_name, kind, flags, phase, attempt,
        system_failures, created_at, updated_at, started_at, attempt_started_at, ended_at,
        inputs, input_uri, outputs, output_uri, deck_uri, error, error_uri
    )
    WHERE EXISTS (SELECT FROM fence)
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
        error = excluded.error,
        error_uri = excluded.error_uri
), attempts AS (
    INSERT INTO task_executions AS t (
        execution_id, node_id, attempt, task_project, task_domain, task_name, task_version, task_type, name, phase,
        phase_version, created_at, updated_at, started_at, ended_at, input_uri, output_uri, error, error_uri, details
    )
    SELECT
        execution_id, node_id, attempt, task_project, task_domain, task_name, task_version, task_type, name, phase,
        phase_version, to_timestamp(created_at), to_timestamp(updated_at), to_timestamp(started_at),
        to_timestamp(ended_at), input_uri, output_uri, error, error_uri, details
    FROM unnest(
        $39::bigint[], $40::text[], $41::smallint[], $42::text[], $43::text[], $44::text[], $45::text[], $46::text[],
        $47::text[], $48::smallint[], $49::integer[], $50::float8[], $51::float8[], $52::float8[], $53::float8[],
        $54::text[], $55::text[], $56::bytea[], $57::text[], $58::bytea[]
    ) AS u (
        execution_id, node_id, attempt, task_project, task_domain, task_name, task_version, task_type, name, phase,
        phase_version, created_at, updated_at, started_at, ended_at, input_uri, output_uri, error, error_uri, details
    )
    WHERE EXISTS (SELECT FROM fence)
    ON CONFLICT (execution_id, node_id, attempt) DO UPDATE SET
        phase = excluded.phase,
        phase_version = excluded.phase_version,
        updated_at = excluded.updated_at,
        started_at = excluded.started_at,
        ended_at = excluded.ended_at,
        input_uri = coalesce(excluded.input_uri, t.input_uri),
        output_uri = coalesce(excluded.output_uri, t.output_uri),
        error = excluded.error,
        error_uri = excluded.error_uri,
        details = coalesce(excluded.details, t.details)
), log AS (
    INSERT INTO transitions (execution_id, node_id, attempt, phase, at)
    SELECT execution_id, node_id, attempt, phase, to_timestamp(at)
    FROM unnest($59::bigint[], $60::text[], $61::smallint[], $62::smallint[], $63::float8[])
        AS u (execution_id, node_id, attempt, phase, at)
    WHERE EXISTS (SELECT FROM fence)
)
SELECT EXISTS (SELECT FROM fence);
