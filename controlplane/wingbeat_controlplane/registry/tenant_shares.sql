-- name: set_share
-- $5, $6: whether weight and limit are to be changed. Changes wait for each other at the revision, so that an engine that
-- has read a revision has read everything up to it.
WITH revision AS (
    UPDATE tenant_share_revision SET revision = revision + 1 RETURNING revision
), written AS (
    INSERT INTO tenant_shares AS s (project, domain, weight, running_max, limited_at)
    SELECT $1, $2, $3, $4, revision FROM revision
    ON CONFLICT (project, domain) DO UPDATE SET
        weight = CASE WHEN $5 THEN excluded.weight ELSE s.weight END,
        running_max = CASE WHEN $6 THEN excluded.running_max ELSE s.running_max END,
        limited_at = CASE WHEN s.running_max IS NULL THEN excluded.limited_at ELSE s.limited_at END,
        updated_at = now()
    RETURNING s.project, s.domain, s.weight, s.running_max, s.updated_at
)
SELECT w.*, pg_notify('wingbeat_shares', '') FROM written AS w;

-- name: delete_share
WITH revision AS (
    UPDATE tenant_share_revision SET revision = revision + 1 RETURNING revision
), deleted AS (
    DELETE FROM tenant_shares
    WHERE project = $1 AND domain = $2 AND EXISTS (SELECT FROM revision)
    RETURNING project
)
SELECT project, pg_notify('wingbeat_shares', '') FROM deleted;

-- name: list_shares
-- Shares after ($1, $2), of project $3 or, when that is empty, of all; with $4 only ($1, $2) itself.
SELECT s.project, s.domain, s.weight, s.running_max, s.updated_at,
    (
        SELECT count(*) FROM tenant_slots AS t
        WHERE t.project = s.project AND (s.domain = '' OR t.domain = s.domain)
    ) AS running,
    (
        SELECT count(*) FROM tenant_waits AS w
        WHERE w.project = s.project AND w.domain = s.domain
            AND w.asked_at > clock_timestamp() - interval '2 seconds'
    ) AS engines_waiting
FROM tenant_shares AS s
WHERE CASE WHEN $4 THEN (s.project, s.domain) = ($1, $2) ELSE (s.project, s.domain) > ($1, $2) END
    AND ($3 = '' OR s.project = $3)
ORDER BY s.project, s.domain
LIMIT $5;

-- name: list_slots
SELECT t.project, t.domain, e.name AS execution, t.node_id, t.attempt, t.admitted_at, count(*) OVER () AS total
FROM tenant_slots AS t
JOIN executions AS e ON e.id = t.execution_id
WHERE t.project = $1 AND ($2 = '' OR t.domain = $2)
ORDER BY t.admitted_at, t.execution_id, t.name
LIMIT $3;
