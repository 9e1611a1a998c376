-- name: create
INSERT INTO cache_artifacts (
    dataset_id, artifact_id, data, data_uri, data_digest, has_references, task_version, source_project, source_domain,
    source_execution, source_node, source_attempt, metadata
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: add_partitions
INSERT INTO cache_partitions (artifact, key, value)
SELECT $1, key, value FROM unnest($2::text[], $3::text[]) AS given (key, value);

-- name: by_id
-- In any dataset when none is named.
SELECT a.*, d.digest AS dataset_digest, d.project, d.domain, d.name AS dataset_name, d.version, d.org, d.uuid
FROM cache_artifacts AS a
JOIN cache_datasets AS d ON d.id = a.dataset_id
WHERE a.artifact_id = $1 AND ($2::bytea IS NULL OR d.digest = $2)
ORDER BY a.id
LIMIT 1;

-- name: by_tag
SELECT a.*, d.digest AS dataset_digest, d.project, d.domain, d.name AS dataset_name, d.version, d.org, d.uuid
FROM cache_tags AS t
JOIN cache_artifacts AS a ON a.id = t.artifact
JOIN cache_datasets AS d ON d.id = a.dataset_id
WHERE t.key = $1;

-- name: tags_of
SELECT artifact, name FROM cache_tags WHERE artifact = ANY($1::bigint[]) ORDER BY created_at, name;

-- name: partitions_of
SELECT artifact, key, value FROM cache_partitions WHERE artifact = ANY($1::bigint[]) ORDER BY key;

-- name: update
-- Returns where the outputs lay before, which nothing names any more; no row: the artifact is gone.
WITH old AS (
    SELECT id, data_uri FROM cache_artifacts WHERE id = $1 FOR UPDATE
)
UPDATE cache_artifacts AS a SET
    data = $2,
    data_uri = $3,
    data_digest = $4,
    has_references = $5,
    interface_digest = NULL,
    source_project = $6,
    source_domain = $7,
    source_execution = $8,
    source_node = $9,
    source_attempt = $10,
    source_element = -1,
    metadata = $11,
    updated_at = now()
FROM old WHERE a.id = old.id
RETURNING a.id, old.data_uri AS old_uri;

-- name: add_tag
INSERT INTO cache_tags (key, artifact, name) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING artifact;

-- name: tagged
-- Artifacts that have all of these tags.
SELECT artifact FROM cache_tags WHERE key = ANY($1::bytea[]) GROUP BY artifact HAVING count(*) = cardinality($1::bytea[]);

-- name: newest
-- Artifacts of a dataset among those of $2 (NULL: any), with these ids (all of them; none: any) and partitions.
SELECT a.*, d.digest AS dataset_digest, d.project, d.domain, d.name AS dataset_name, d.version, d.org, d.uuid
FROM cache_artifacts AS a
JOIN cache_datasets AS d ON d.id = a.dataset_id
WHERE a.dataset_id = $1
    AND ($2::bigint[] IS NULL OR a.id = ANY($2))
    AND a.artifact_id = ALL($3::text[])
    AND NOT EXISTS (
        SELECT FROM unnest($4::text[], $5::text[]) AS asked (key, value)
        WHERE NOT EXISTS (
            SELECT FROM cache_partitions AS p WHERE p.artifact = a.id AND p.key = asked.key AND p.value = asked.value
        )
    )
ORDER BY a.created_at DESC, a.id DESC
LIMIT $6 OFFSET $7;

-- name: oldest
SELECT a.*, d.digest AS dataset_digest, d.project, d.domain, d.name AS dataset_name, d.version, d.org, d.uuid
FROM cache_artifacts AS a
JOIN cache_datasets AS d ON d.id = a.dataset_id
WHERE a.dataset_id = $1
    AND ($2::bigint[] IS NULL OR a.id = ANY($2))
    AND a.artifact_id = ALL($3::text[])
    AND NOT EXISTS (
        SELECT FROM unnest($4::text[], $5::text[]) AS asked (key, value)
        WHERE NOT EXISTS (
            SELECT FROM cache_partitions AS p WHERE p.artifact = a.id AND p.key = asked.key AND p.value = asked.value
        )
    )
ORDER BY a.created_at, a.id
LIMIT $6 OFFSET $7;
