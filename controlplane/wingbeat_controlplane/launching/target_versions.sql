-- name: newest_launch_plan
SELECT version FROM launch_plans WHERE project = $1 AND domain = $2 AND name = $3 ORDER BY id DESC LIMIT 1;

-- name: active_launch_plan
SELECT version FROM launch_plans WHERE project = $1 AND domain = $2 AND name = $3 AND state = 1;

-- name: newest_default_launch_plan
SELECT lp.version
FROM launch_plans AS lp
JOIN workflows AS w ON w.id = lp.workflow_id
WHERE lp.project = $1 AND lp.domain = $2 AND lp.name = $3
    AND w.project = $1 AND w.domain = $2 AND w.name = $3 AND w.version = lp.version
ORDER BY lp.id DESC
LIMIT 1;

-- name: active_default_launch_plan
SELECT lp.version
FROM launch_plans AS lp
JOIN workflows AS w ON w.id = lp.workflow_id
WHERE lp.project = $1 AND lp.domain = $2 AND lp.name = $3 AND lp.state = 1
    AND w.project = $1 AND w.domain = $2 AND w.name = $3 AND w.version = lp.version;

-- name: newest_task
SELECT version FROM tasks WHERE project = $1 AND domain = $2 AND name = $3 ORDER BY id DESC LIMIT 1;
