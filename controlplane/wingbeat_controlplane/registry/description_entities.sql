-- name: get_description_entity
SELECT body
FROM description_entities
WHERE resource_type = $1 AND project = $2 AND domain = $3 AND name = $4 AND version = $5;

-- name: list_description_entities
SELECT d.body
FROM description_entities d;
