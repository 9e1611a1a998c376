-- name: get_named_entity
SELECT resource_type, project, domain, name, description, state
FROM named_entities
WHERE resource_type = $1 AND project = $2 AND domain = $3 AND name = $4;

-- name: update_named_entity
UPDATE named_entities
SET state = $5, description = coalesce(nullif($6, ''), description), updated_at = now()
WHERE resource_type = $1 AND project = $2 AND domain = $3 AND name = $4
RETURNING id;

-- name: list_named_entities
SELECT n.resource_type, n.project, n.domain, n.name, n.description, n.state
FROM named_entities n;
