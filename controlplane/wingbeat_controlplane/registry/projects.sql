-- name: register_project
INSERT INTO projects (identifier, name, description, labels, state)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (identifier) DO NOTHING
RETURNING id;

-- name: update_project
UPDATE projects
SET name = coalesce(nullif($2, ''), name),
    description = coalesce(nullif($3, ''), description),
    labels = coalesce(nullif($4, ''::bytea), labels),
    state = $5,
    updated_at = now()
WHERE identifier = $1
RETURNING id;

-- name: get_project
SELECT identifier, name, description, labels, state
FROM projects
WHERE identifier = $1;

-- name: list_projects
SELECT p.identifier, p.name, p.description, p.labels, p.state
FROM projects p;
