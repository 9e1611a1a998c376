-- name: of_source
-- Entries that an execution, or one node of it, has put; some of them at a time.
WITH gone AS (
    DELETE FROM cache_artifacts
    WHERE id IN (
        SELECT id FROM cache_artifacts
        WHERE source_execution = $1 AND source_project = $2 AND source_domain = $3 AND ($4 = '' OR source_node = $4)
        ORDER BY id
        LIMIT $5
    )
    RETURNING source_node, source_element, data_uri
)
SELECT source_node AS node_id, source_element AS element, data_uri FROM gone;

-- name: tagged
-- Entries by the keys of tags that lead to them.
DELETE FROM cache_artifacts
WHERE id IN (SELECT artifact FROM cache_tags WHERE key = ANY($1::bytea[]))
RETURNING data_uri;

-- name: named
-- Entries by dataset and id.
DELETE FROM cache_artifacts AS a
USING unnest($1::bytea[], $2::text[]) AS asked (dataset, artifact_id), cache_datasets AS d
WHERE d.digest = asked.dataset AND a.dataset_id = d.id AND a.artifact_id = asked.artifact_id
RETURNING a.data_uri;
