-- name: create_task
WITH made AS (
    INSERT INTO tasks (project, domain, name, version, digest, type, short_description, closure)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (project, domain, name, version) DO NOTHING
    RETURNING id
), named AS (
    INSERT INTO named_entities (resource_type, project, domain, name)
    SELECT 1, $1, $2, $3 FROM made
    ON CONFLICT (resource_type, project, domain, name) DO NOTHING
), described AS (
    INSERT INTO description_entities (resource_type, project, domain, name, version, short_description, body)
    SELECT 1, $1, $2, $3, $4, $7, $9::bytea FROM made WHERE $9::bytea IS NOT NULL
    ON CONFLICT (resource_type, project, domain, name, version) DO NOTHING
)
SELECT id FROM made;

-- name: get_task
SELECT id, project, domain, name, version, digest, short_description, closure, created_at
FROM tasks
WHERE project = $1 AND domain = $2 AND name = $3 AND version = $4;

-- name: list_tasks
SELECT t.id, t.project, t.domain, t.name, t.version, t.short_description, t.closure, t.created_at
FROM tasks t;
