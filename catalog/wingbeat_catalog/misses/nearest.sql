-- name: datasets
-- Datasets of a task, in its project: those of its domain first, the newest first.
SELECT id, digest, project, domain, name, version, org, cache_version, interface
FROM cache_datasets
WHERE project = $1 AND name = $2
ORDER BY domain = $3 DESC, created_at DESC, id DESC
LIMIT $4;

-- name: newest
-- The newest entries of datasets, at most so many of each.
SELECT a.*, (SELECT t.name FROM cache_tags AS t WHERE t.artifact = a.id ORDER BY t.created_at, t.name LIMIT 1) AS tag
FROM unnest($1::bigint[], $2::integer[]) AS asked (dataset_id, most)
CROSS JOIN LATERAL (
    SELECT
        a.id, a.dataset_id, a.artifact_id, a.inputs, a.ignored_inputs, a.task_version, a.source_project,
        a.source_domain, a.source_execution, a.source_node, a.source_attempt, a.source_element, a.created_at,
        a.updated_at
    FROM cache_artifacts AS a
    WHERE a.dataset_id = asked.dataset_id
    ORDER BY a.created_at DESC, a.id DESC
    LIMIT asked.most
) AS a;

-- name: tagged
-- Entries by the keys of their tags.
SELECT
    a.id, a.dataset_id, a.artifact_id, a.inputs, a.ignored_inputs, a.task_version, a.source_project, a.source_domain,
    a.source_execution, a.source_node, a.source_attempt, a.source_element, a.created_at, a.updated_at, t.name AS tag
FROM cache_tags AS t
JOIN cache_artifacts AS a ON a.id = t.artifact
WHERE t.key = ANY($1::bytea[]);
