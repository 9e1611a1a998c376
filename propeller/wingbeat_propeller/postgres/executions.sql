-- name: new_executions
-- Not begun: new ones, those that a line has let go, those whose time to begin is over although they still wait, and
-- those that somebody aborted before any engine had begun them.
SELECT id, project, domain, name, shard, workflow_id, config, task_resources, recovery, inputs, inputs_uri, phase,
    extract(epoch FROM created_at)::float8 AS created_at, extract(epoch FROM started_at)::float8 AS started_at,
    CASE WHEN abort_requested_at IS NOT NULL THEN coalesce(abort_cause, '') END AS abort_cause,
    launch_plan_id, waiting, extract(epoch FROM begin_by)::float8 AS begin_by, deadline_s
FROM (
    SELECT * FROM executions WHERE shard = ANY($1::smallint[]) AND phase = 0
    UNION ALL
    SELECT * FROM executions WHERE shard = ANY($1::smallint[]) AND phase = 1 AND NOT waiting
    UNION ALL
    SELECT * FROM executions WHERE shard = ANY($1::smallint[]) AND phase = 1 AND waiting AND begin_by <= now()
    UNION ALL
    SELECT * FROM executions
    WHERE shard = ANY($1::smallint[]) AND abort_requested_at IS NOT NULL AND ended_at IS NULL
        AND phase = 9 AND started_at IS NULL
) AS fresh
WHERE id <> ALL($2::bigint[])
ORDER BY id
LIMIT $3;

-- name: live_executions
-- Begun and not ended. What has not begun comes as new, and only so: nothing is taken up twice.
SELECT id, project, domain, name, shard, workflow_id, config, task_resources, recovery, inputs, inputs_uri, phase,
    extract(epoch FROM created_at)::float8 AS created_at, extract(epoch FROM started_at)::float8 AS started_at,
    CASE WHEN abort_requested_at IS NOT NULL THEN coalesce(abort_cause, '') END AS abort_cause,
    launch_plan_id, waiting, extract(epoch FROM begin_by)::float8 AS begin_by, deadline_s
FROM executions
WHERE shard = ANY($1::smallint[]) AND ended_at IS NULL AND started_at IS NOT NULL AND id > $2
ORDER BY id
LIMIT $3;

-- name: nodes
SELECT execution_id, node_id, seq, spec_node_id, parent_id, parent_attempt, node_name, kind, flags, phase, attempt,
    system_failures, extract(epoch FROM created_at)::float8, extract(epoch FROM updated_at)::float8,
    extract(epoch FROM started_at)::float8, extract(epoch FROM attempt_started_at)::float8,
    extract(epoch FROM ended_at)::float8, inputs, input_uri, outputs, output_uri, deck_uri, details, memo,
    extract(epoch FROM retry_at)::float8, cache_status, inherited, error
FROM node_executions
WHERE execution_id = ANY($1::bigint[])
ORDER BY execution_id, seq;

-- name: elements
-- The last attempt of each element of the arrays under way.
SELECT execution_id, node_id, element, attempt, phase, system_failures, extract(epoch FROM queued_at)::float8,
    extract(epoch FROM started_at)::float8, extract(epoch FROM ended_at)::float8, extract(epoch FROM retry_at)::float8,
    outputs, output_uri, error
FROM (
    SELECT DISTINCT ON (a.execution_id, a.node_id, a.element) a.*
    FROM node_executions AS n
    JOIN array_elements AS a ON (a.execution_id, a.node_id) = (n.execution_id, n.node_id)
    WHERE n.execution_id = ANY($1::bigint[]) AND n.kind = 7 AND n.ended_at IS NULL
    ORDER BY a.execution_id, a.node_id, a.element, a.attempt DESC
) AS last
ORDER BY execution_id, node_id, element;

-- name: abort_requests
SELECT id, coalesce(abort_cause, '') AS cause
FROM executions
WHERE shard = ANY($1::smallint[]) AND abort_requested_at IS NOT NULL AND ended_at IS NULL
ORDER BY id;

-- name: unwanted
-- Attempts of elements of arrays name the array as their node; others have -1 for the element.
SELECT attempts.name
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::integer[])
    AS attempts (name, project, domain, execution, node_id, attempt, element)
LEFT JOIN executions AS e
    ON e.project = attempts.project AND e.domain = attempts.domain AND e.name = attempts.execution
LEFT JOIN node_executions AS n ON n.execution_id = e.id AND n.node_id = attempts.node_id
WHERE e.id IS NULL OR e.ended_at IS NOT NULL
    OR n.node_id IS NULL OR n.ended_at IS NOT NULL
    OR attempts.element < 0 AND n.attempt > attempts.attempt
    OR attempts.element >= 0 AND EXISTS (
        SELECT FROM array_elements AS a
        WHERE a.execution_id = e.id AND a.node_id = attempts.node_id AND a.element = attempts.element
            AND (a.attempt > attempts.attempt OR a.attempt = attempts.attempt AND a.ended_at IS NOT NULL)
    );

-- name: workflow_closure
SELECT closure FROM workflows WHERE id = $1;

-- name: task_closures
SELECT t.project, t.domain, t.name, t.version, t.closure
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS asked (project, domain, name, version)
JOIN tasks AS t USING (project, domain, name, version);

-- name: launch_plans
SELECT lp.project, lp.domain, lp.name, lp.version, lp.spec, lp.closure
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS asked (project, domain, name, version)
JOIN launch_plans AS lp USING (project, domain, name, version);
