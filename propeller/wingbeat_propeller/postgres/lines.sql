-- name: lines
-- Launch plan names with executions that wait, found by skipping from one launch plan to the next in the index. Whether
-- there is room is only seen here; admit_executions decides.
WITH RECURSIVE waiting (launch_plan_id) AS (
    (SELECT launch_plan_id FROM executions WHERE waiting AND phase = 1 ORDER BY launch_plan_id LIMIT 1)
    UNION ALL
    SELECT next.launch_plan_id
    FROM waiting, LATERAL (
        SELECT e.launch_plan_id FROM executions AS e
        WHERE e.waiting AND e.phase = 1 AND e.launch_plan_id > waiting.launch_plan_id
        ORDER BY e.launch_plan_id LIMIT 1
    ) AS next
), named AS (
    SELECT DISTINCT lp.project, lp.domain, lp.name FROM waiting JOIN launch_plans AS lp ON lp.id = waiting.launch_plan_id
), versions AS (
    SELECT named.project, named.domain, named.name, array_agg(lp.id) AS ids
    FROM named JOIN launch_plans AS lp USING (project, domain, name)
    GROUP BY named.project, named.domain, named.name
)
SELECT versions.project, versions.domain, versions.name, versions.ids, live.waiting,
    live.alive < (
        SELECT e.alive_max FROM executions AS e
        WHERE e.launch_plan_id = ANY(versions.ids) AND e.waiting AND e.phase = 1
        ORDER BY e.id LIMIT 1
    ) AS has_room
FROM versions, LATERAL (
    SELECT count(*) FILTER (WHERE NOT e.waiting) AS alive, count(*) FILTER (WHERE e.waiting AND e.phase = 1) AS waiting
    FROM executions AS e
    WHERE e.launch_plan_id = ANY(versions.ids) AND e.ended_at IS NULL
) AS live;

-- name: admit
SELECT admit_executions($1, $2, $3);

-- name: next_begin
-- In how many seconds the next execution that has not begun must have.
SELECT extract(epoch FROM min(begin_by) - clock_timestamp())::float8 AS seconds
FROM executions
WHERE begin_by IS NOT NULL AND phase IN (0, 1) AND begin_by > clock_timestamp();
