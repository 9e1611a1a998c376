-- name: put_attributes
INSERT INTO matchable_attributes (project, domain, workflow, resource_type, attributes)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (project, domain, workflow, resource_type)
DO UPDATE SET attributes = excluded.attributes, updated_at = clock_timestamp();

-- name: lock_attributes
-- What is stored, or the given value where nothing is; either way nobody else changes it before we commit.
INSERT INTO matchable_attributes (project, domain, workflow, resource_type, attributes)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (project, domain, workflow, resource_type)
DO UPDATE SET updated_at = clock_timestamp()
RETURNING attributes;

-- name: get_attributes
SELECT domain, workflow, resource_type, attributes
FROM matchable_attributes
WHERE project = $1 AND domain = $2 AND workflow = $3 AND resource_type = $4;

-- name: delete_attributes
DELETE FROM matchable_attributes
WHERE project = $1 AND domain = $2 AND workflow = $3 AND resource_type = $4;

-- name: match_attributes
-- Of each asked-for type every level that has something to say, the most specific first.
SELECT domain, workflow, resource_type, attributes
FROM matchable_attributes
WHERE project = $1 AND domain IN ('', $2) AND workflow IN ('', $3) AND resource_type = ANY($4::smallint[])
ORDER BY resource_type, workflow DESC, domain DESC;

-- name: match_active
-- Project $1, and beside it what `match_attributes` finds for workflow $2 at two places: $1, $3 and $4, $5.
SELECT p.identifier, p.name, p.description, p.labels, p.state, a.project, a.domain, a.workflow, a.resource_type,
    a.attributes
FROM projects AS p
LEFT JOIN matchable_attributes AS a
    ON (a.project = $1 AND a.domain IN ('', $3) OR a.project = $4 AND a.domain IN ('', $5))
    AND a.workflow IN ('', $2) AND a.resource_type = ANY($6::smallint[])
WHERE p.identifier = $1
ORDER BY a.resource_type, a.workflow DESC, a.domain DESC;

-- name: list_attributes
SELECT project, domain, workflow, attributes
FROM matchable_attributes
WHERE resource_type = $1
ORDER BY workflow = '', domain = '', project, domain, workflow;
