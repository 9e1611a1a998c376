-- name: set_policy
-- $5, $6: whether the days of executions and of cache entries are to be changed.
INSERT INTO retention_policies AS p (project, domain, executions_days, cache_days)
VALUES ($1, $2, $3, $4)
ON CONFLICT (project, domain) DO UPDATE SET
    executions_days = CASE WHEN $5 THEN excluded.executions_days ELSE p.executions_days END,
    cache_days = CASE WHEN $6 THEN excluded.cache_days ELSE p.cache_days END,
    updated_at = now()
RETURNING project, domain, executions_days, cache_days;

-- name: list_policies
SELECT project, domain, executions_days, cache_days FROM retention_policies ORDER BY project, domain;

-- name: delete_policy
DELETE FROM retention_policies WHERE project = $1 AND domain = $2 RETURNING project;
