-- name: new_executions
-- Of shards $1, without ids $2, at most $3: those that may begin (new, or let go by the line of their launch plan), and
-- those that can only end (aborted before they began, or too late to begin).
--
-- What may begin is looked up tenant by tenant, at most $11 of them after the tenant ($4, $5), and from each shard the
-- first $12 by priority and age, so that no tenant's crowd is ever read through. Tenants $8, $9 have $10 executions in memory. Those with the
-- fewest come first: as many as there is room for ($6), and above that up to $7 of each. Those that another execution
-- waits for come whoever they belong to, up to $13: that one keeps its room until they have ended.
--
-- There is one row at least. The first columns tell the last tenant looked at, when there may be more, and whether any
-- execution was left out that might come at the next look.
WITH RECURSIVE tenants AS (
    (
        SELECT project, domain, 1 AS number FROM executions
        WHERE (phase = 0 OR phase = 1 AND NOT waiting) AND NOT awaited AND (project, domain) > ($4::text, $5::text)
        ORDER BY project, domain
        LIMIT 1
    )
    UNION ALL
    SELECT following.project, following.domain, t.number + 1
    FROM tenants AS t
    CROSS JOIN LATERAL (
        SELECT e.project, e.domain FROM executions AS e
        WHERE (e.phase = 0 OR e.phase = 1 AND NOT e.waiting) AND NOT e.awaited
            AND (e.project, e.domain) > (t.project, t.domain)
        ORDER BY e.project, e.domain
        LIMIT 1
    ) AS following
    WHERE t.number < $11::integer
), counted AS (
    SELECT t.project, t.domain, t.number, coalesce(l.live, 0) AS live
    FROM tenants AS t
    LEFT JOIN unnest($8::text[], $9::text[], $10::integer[]) AS l (project, domain, live)
        ON l.project = t.project AND l.domain = t.domain
), found AS MATERIALIZED (
    SELECT c.id, t.live + row_number() OVER (PARTITION BY t.project, t.domain ORDER BY c.behind, c.id) AS level,
        c.number = $12 AS is_cut
    FROM counted AS t
    CROSS JOIN unnest($1::smallint[]) AS s (shard)
    CROSS JOIN LATERAL (
        SELECT first.id, first.behind, row_number() OVER (ORDER BY first.behind, first.id) AS number
        FROM (
            SELECT e.id, -e.priority AS behind FROM executions AS e
            WHERE (e.phase = 0 OR e.phase = 1 AND NOT e.waiting) AND NOT e.awaited
                AND e.project = t.project AND e.domain = t.domain AND e.shard = s.shard
                AND e.id <> ALL($2::bigint[]) AND (e.begin_by IS NULL OR e.begin_by > now())
            ORDER BY -e.priority, e.id
            LIMIT $12::integer
        ) AS first
    ) AS c
    WHERE $6::integer > 0 OR t.live < $7::integer
), placed AS (
    SELECT id, level, row_number() OVER (ORDER BY level, id) AS place FROM found
), awaited AS MATERIALIZED (
    SELECT id FROM executions
    WHERE shard = ANY($1) AND (phase = 0 OR phase = 1 AND NOT waiting) AND awaited
        AND (begin_by IS NULL OR begin_by > now()) AND id <> ALL($2)
    LIMIT least($3, $13::integer)
), chosen AS (
    SELECT id, place FROM placed WHERE (place <= $6 OR level <= $7) AND place <= $3::integer
    UNION ALL
    SELECT id, 0 FROM awaited
    UNION ALL
    SELECT ending.id, 0 FROM (
        SELECT id FROM executions
        WHERE shard = ANY($1) AND phase IN (0, 1) AND begin_by <= now() AND id <> ALL($2)
        UNION ALL
        SELECT id FROM executions
        WHERE shard = ANY($1) AND abort_requested_at IS NOT NULL AND ended_at IS NULL
            AND phase = 9 AND started_at IS NULL AND id <> ALL($2)
        LIMIT $3
    ) AS ending
), look AS (
    SELECT
        (SELECT project FROM tenants WHERE number = $11) AS last_project,
        (SELECT domain FROM tenants WHERE number = $11) AS last_domain,
        EXISTS (SELECT FROM found WHERE is_cut)
            OR CASE
                WHEN $13 > 0 THEN (SELECT count(*) FROM awaited) >= least($3, $13)
                ELSE EXISTS (
                    SELECT FROM executions
                    WHERE shard = ANY($1) AND (phase = 0 OR phase = 1 AND NOT waiting) AND awaited
                )
            END
            OR (SELECT count(*) FROM found) > (SELECT count(*) FROM chosen WHERE place > 0)
            OR EXISTS (SELECT FROM counted WHERE $6 <= 0 AND live >= $7) AS any_left
)
SELECT look.last_project, look.last_domain, look.any_left,
    e.id, e.project, e.domain, e.name, e.shard, e.workflow_id, e.config, e.task_resources, e.recovery, e.inputs,
    e.inputs_uri, e.phase, extract(epoch FROM e.created_at)::float8 AS created_at,
    extract(epoch FROM e.started_at)::float8 AS started_at,
    CASE WHEN e.abort_requested_at IS NOT NULL THEN coalesce(e.abort_cause, '') END AS abort_cause,
    e.launch_plan_id, e.waiting, extract(epoch FROM e.begin_by)::float8 AS begin_by, e.deadline_s,
    e.priority
FROM look
LEFT JOIN (chosen AS c JOIN executions AS e ON e.id = c.id) ON true
ORDER BY c.place, e.id;

-- name: told_executions
-- Of ids $1 in shards $2, those that have not begun and may. All others wait for a look at everything.
SELECT id, project, domain, name, shard, workflow_id, config, task_resources, recovery, inputs, inputs_uri, phase,
    extract(epoch FROM created_at)::float8 AS created_at, NULL::float8 AS started_at, NULL::text AS abort_cause,
    launch_plan_id, waiting, extract(epoch FROM begin_by)::float8 AS begin_by, deadline_s, priority
FROM executions
WHERE id = ANY($1::bigint[]) AND shard = ANY($2::smallint[]) AND phase = 0 AND (begin_by IS NULL OR begin_by > now())
ORDER BY id;

-- name: live_executions
-- Begun and not ended. What has not begun comes as new, and only so: nothing is taken up twice.
SELECT id, project, domain, name, shard, workflow_id, config, task_resources, recovery, inputs, inputs_uri, phase,
    extract(epoch FROM created_at)::float8 AS created_at, extract(epoch FROM started_at)::float8 AS started_at,
    CASE WHEN abort_requested_at IS NOT NULL THEN coalesce(abort_cause, '') END AS abort_cause,
    launch_plan_id, waiting, extract(epoch FROM begin_by)::float8 AS begin_by, deadline_s, priority
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
    outputs, output_uri, deck_uri, futures_uri, cache_status, error
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
