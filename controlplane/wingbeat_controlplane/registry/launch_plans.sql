-- name: create_launch_plan
WITH made AS (
    INSERT INTO launch_plans (project, domain, name, version, workflow_id, digest, schedule_type, spec, closure)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (project, domain, name, version) DO NOTHING
    RETURNING id
), named AS (
    INSERT INTO named_entities (resource_type, project, domain, name, state)
    SELECT 3, $1, $2, $3, $10::smallint FROM made
    ON CONFLICT (resource_type, project, domain, name) DO NOTHING
)
SELECT id FROM made;

-- name: get_launch_plan
SELECT id, project, domain, name, version, workflow_id, digest, state, spec, closure, created_at, updated_at
FROM launch_plans
WHERE project = $1 AND domain = $2 AND name = $3 AND version = $4;

-- name: get_active_launch_plan
SELECT id, project, domain, name, version, workflow_id, digest, state, spec, closure, created_at, updated_at
FROM launch_plans
WHERE project = $1 AND domain = $2 AND name = $3 AND state = 1;

-- name: list_launch_plans
SELECT lp.id, lp.project, lp.domain, lp.name, lp.version, lp.workflow_id, lp.digest, lp.state, lp.spec, lp.closure,
       lp.created_at, lp.updated_at
FROM launch_plans lp;

-- name: lock_launch_plan_name
SELECT id
FROM named_entities
WHERE resource_type = 3 AND project = $1 AND domain = $2 AND name = $3
FOR NO KEY UPDATE;

-- name: deactivate_others
UPDATE launch_plans
SET state = 0, updated_at = clock_timestamp()
WHERE project = $1 AND domain = $2 AND name = $3 AND version <> $4 AND state = 1;

-- name: set_launch_plan_state
UPDATE launch_plans
SET state = $5, updated_at = clock_timestamp()
WHERE project = $1 AND domain = $2 AND name = $3 AND version = $4
RETURNING id;
