-- name: create_workflow
WITH made AS (
    INSERT INTO workflows (project, domain, name, version, digest, short_description, typed_interface, closure)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (project, domain, name, version) DO NOTHING
    RETURNING id
), named AS (
    INSERT INTO named_entities (resource_type, project, domain, name, state)
    SELECT 2, $1, $2, $3, $9::smallint FROM made
    ON CONFLICT (resource_type, project, domain, name) DO NOTHING
), described AS (
    INSERT INTO description_entities (resource_type, project, domain, name, version, short_description, body)
    SELECT 2, $1, $2, $3, $4, $6, $10::bytea FROM made WHERE $10::bytea IS NOT NULL
    ON CONFLICT (resource_type, project, domain, name, version) DO NOTHING
)
SELECT id FROM made;

-- name: get_workflow
SELECT id, project, domain, name, version, digest, short_description, closure, created_at
FROM workflows
WHERE project = $1 AND domain = $2 AND name = $3 AND version = $4;

-- name: list_workflows
SELECT w.id, w.project, w.domain, w.name, w.version, w.short_description, w.typed_interface, w.created_at
FROM workflows w;
