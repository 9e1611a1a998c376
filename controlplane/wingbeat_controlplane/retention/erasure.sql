-- name: find_execution
SELECT id FROM executions WHERE project = $1 AND domain = $2 AND name = $3;

-- name: labelled
-- Executions with a label, after $5; empty project or domain: of all.
SELECT e.id FROM execution_tags AS t JOIN executions AS e ON e.id = t.execution_id
WHERE t.key = $1 AND t.value = $2 AND (e.project = $3 OR $3 = '') AND (e.domain = $4 OR $4 = '') AND e.id > $5
ORDER BY e.id LIMIT $6;

-- name: of_project
SELECT id FROM executions WHERE project = $1 AND (domain = $2 OR $2 = '') AND id > $3 ORDER BY id LIMIT $4;

-- name: is_project
SELECT EXISTS (SELECT FROM projects WHERE identifier = $1)
    OR EXISTS (SELECT FROM executions WHERE project = $1)
    OR EXISTS (SELECT FROM batches WHERE project = $1);

-- name: launched
-- Executions that nodes and eager tasks of $1 have launched.
SELECT c.id FROM executions AS c WHERE c.parent_execution_id = ANY($1::bigint[])
UNION
SELECT c.id FROM executions AS p
JOIN execution_tags AS t ON t.key = 'eager-exec' AND t.value = p.name
JOIN executions AS c ON c.id = t.execution_id AND c.project = p.project AND c.domain = p.domain
WHERE p.id = ANY($1::bigint[]);

-- name: live
-- Those that run, or that a batch which is under way still looks at.
SELECT e.id, e.project, e.domain, e.name, e.ended_at IS NULL AS is_running FROM executions AS e
WHERE e.id = ANY($1::bigint[])
    AND (e.ended_at IS NULL OR EXISTS (SELECT FROM batches AS b WHERE b.id = e.batch_id AND b.ended_at IS NULL))
ORDER BY e.id;

-- name: executions
-- `manifest` is that of the batch, when it is the user's own file.
SELECT e.id AS execution_id, e.project, e.domain, e.name, e.created_at, coalesce(e.ended_at, now()) AS ended_at,
    e.config, e.ended_at IS NULL AS is_live,
    (
        SELECT b.uri FROM batches AS b
        WHERE b.id = e.batch_id
            AND NOT starts_with(
                b.uri, $2::text || '/metadata/batches/' || b.project || '/' || b.domain || '/' || b.name || '/'
            )
    ) AS manifest
FROM executions AS e WHERE e.id = ANY($1::bigint[]) ORDER BY e.id;

-- name: retire
-- This execution, if it has ended, with its row of a batch and the key that it was launched under: one with its name and
-- of its transaction, as executions of other projects may have the name, and their keys tell no project.
WITH gone AS (
    DELETE FROM executions AS e WHERE e.id = $1 AND e.ended_at IS NOT NULL
    RETURNING e.id, e.project, e.domain, e.name, e.created_at, e.ended_at, e.config, e.batch_id, e.batch_row
), batched AS (
    DELETE FROM batch_rows AS r USING gone WHERE r.batch_id = gone.batch_id AND r.row = gone.batch_row
), keyed AS (
    DELETE FROM launch_keys AS k USING gone WHERE k.name = gone.name AND k.created_at = gone.created_at
)
INSERT INTO retired_executions (
    execution_id, project, domain, name, created_at, ended_at, config, erased, batch_id, batch_row
)
SELECT id, project, domain, name, created_at, ended_at, config, true, batch_id, batch_row FROM gone
RETURNING execution_id;

-- name: namesakes
-- Executions of other projects and domains with the name of one: attempts of all of them are called alike.
SELECT e.config
FROM execution_scopes AS s JOIN executions AS e ON e.project = s.project AND e.domain = s.domain AND e.name = $3
WHERE (s.project, s.domain) <> ($1, $2);

-- name: attempts
-- Generated names of attempts, after ($2, $3).
SELECT node_id, attempt, name FROM task_executions
WHERE execution_id = $1 AND (node_id, attempt) > ($2, $3)
ORDER BY node_id, attempt LIMIT $4;

-- name: elements
-- Attempts of elements of arrays, after ($2, $3, $4), with the last attempt of the array.
SELECT a.node_id, a.element, a.attempt, coalesce(n.attempt, 0) AS node_attempt
FROM array_elements AS a
LEFT JOIN node_executions AS n ON n.execution_id = a.execution_id AND n.node_id = a.node_id
WHERE a.execution_id = $1 AND (a.node_id, a.element, a.attempt) > ($2, $3, $4)
ORDER BY a.node_id, a.element, a.attempt LIMIT $5;

-- name: counts
SELECT
    1 AS executions,
    (SELECT count(*) FROM execution_tags WHERE execution_id = $1) AS execution_tags,
    (SELECT count(*) FROM execution_search WHERE execution_id = $1) AS execution_search,
    (SELECT count(*) FROM lineage_values WHERE execution_id = $1) AS lineage_values,
    (SELECT count(*) FROM lineage_edges WHERE execution_id = $1 OR source_execution_id = $1) AS lineage_edges,
    (SELECT count(*) FROM node_executions WHERE execution_id = $1) AS node_executions,
    (SELECT count(*) FROM task_executions WHERE execution_id = $1) AS task_executions,
    (SELECT count(*) FROM array_elements WHERE execution_id = $1) AS array_elements,
    (SELECT count(*) FROM transitions WHERE execution_id = $1) AS transitions,
    (
        SELECT count(*) FROM signals
        WHERE execution_project = $2 AND execution_domain = $3 AND execution_name = $4
    ) AS signals,
    (
        SELECT count(*) FROM executions AS e JOIN batch_rows AS r ON r.batch_id = e.batch_id AND r.row = e.batch_row
        WHERE e.id = $1
    ) AS batch_rows,
    (
        SELECT count(*) FROM executions AS e
        JOIN launch_keys AS k ON k.name = e.name AND k.created_at = e.created_at
        WHERE e.id = $1
    ) AS launch_keys,
    (
        SELECT count(*) FROM cache_artifacts
        WHERE source_execution = $4 AND source_project = $2 AND source_domain = $3
    ) AS cache_artifacts,
    (
        SELECT count(*) FROM artifacts
        WHERE execution_project = $2 AND execution_domain = $3 AND execution_name = $4
    ) AS artifacts;

-- name: cached_blobs
SELECT data_uri FROM cache_artifacts
WHERE source_execution = $3 AND source_project = $1 AND source_domain = $2 AND data_uri IS NOT NULL;

-- name: delete_cached
DELETE FROM cache_artifacts WHERE source_execution = $3 AND source_project = $1 AND source_domain = $2;

-- name: delete_artifacts
DELETE FROM artifacts WHERE execution_project = $1 AND execution_domain = $2 AND execution_name = $3;

-- name: delete_lineage
WITH takers AS (
    DELETE FROM lineage_edges WHERE source_execution_id = $1 RETURNING execution_id, node_id
)
DELETE FROM lineage_elements AS e USING takers AS t
WHERE e.execution_id = t.execution_id AND e.node_id = t.node_id AND e.source_execution_id = $1;
