-- name: forget_marks
TRUNCATE garbage_marks;

-- name: range_end
-- The last of the next $2 executions after $1.
SELECT max(id) FROM (SELECT id FROM executions WHERE id > $1 ORDER BY id LIMIT $2) AS following;

-- name: mark
INSERT INTO garbage_marks SELECT DISTINCT hashtextextended(word, 0) FROM unnest($1::text[]) AS word
ON CONFLICT DO NOTHING;

-- name: mark_executions
-- Folders of executions that are kept.
INSERT INTO garbage_marks
SELECT DISTINCT hashtextextended(folder, 0)
FROM executions AS e
CROSS JOIN LATERAL (VALUES
    ('metadata/propeller/' || e.project || '-' || e.domain || '-' || e.name),
    ('metadata/admin/' || e.project || '/' || e.domain || '/' || e.name)
) AS folders (folder)
WHERE e.id > $1 AND e.id <= $2
ON CONFLICT DO NOTHING;

-- name: mark_attempts
INSERT INTO garbage_marks
SELECT DISTINCT hashtextextended('name:' || t.name, 0)
FROM task_executions AS t
WHERE t.execution_id > $1 AND t.execution_id <= $2
ON CONFLICT DO NOTHING;

-- name: arrays
SELECT e.name, n.node_id, n.attempt
FROM executions AS e JOIN node_executions AS n ON n.execution_id = e.id
WHERE e.id > $1 AND e.id <= $2 AND n.kind = 7;

-- name: values_of_executions
-- Values that hold the store's address ($3).
SELECT v.data
FROM executions AS e
CROSS JOIN LATERAL (VALUES (e.inputs), (e.user_inputs), (e.outputs), (e.spec)) AS v (data)
WHERE e.id > $1 AND e.id <= $2 AND position($3::bytea IN v.data) > 0
UNION ALL
SELECT n.outputs FROM node_executions AS n
WHERE n.execution_id > $1 AND n.execution_id <= $2 AND position($3 IN n.outputs) > 0
UNION ALL
SELECT a.outputs FROM array_elements AS a
WHERE a.execution_id > $1 AND a.execution_id <= $2 AND position($3 IN a.outputs) > 0;

-- name: large_values_of_executions
-- Where values lie that are too large for a row.
SELECT v.uri
FROM executions AS e
CROSS JOIN LATERAL (VALUES (e.inputs_uri), (e.user_inputs_uri), (e.outputs_uri)) AS v (uri)
WHERE e.id > $1 AND e.id <= $2 AND v.uri IS NOT NULL
UNION
SELECT n.output_uri FROM node_executions AS n
WHERE n.execution_id > $1 AND n.execution_id <= $2 AND n.outputs IS NULL AND n.output_uri IS NOT NULL
UNION
SELECT a.output_uri FROM array_elements AS a
WHERE a.execution_id > $1 AND a.execution_id <= $2 AND a.outputs IS NULL AND a.output_uri IS NOT NULL;

-- name: borrowed_of_executions
-- Objects in folders of other executions: what was recovered, cached, or made by a child. $3: folder of all metadata.
SELECT DISTINCT v.uri
FROM executions AS e
JOIN node_executions AS n ON n.execution_id = e.id
CROSS JOIN LATERAL (VALUES (n.input_uri), (n.output_uri), (n.deck_uri)) AS v (uri)
WHERE e.id > $1 AND e.id <= $2
    AND NOT starts_with(v.uri, $3::text || e.project || '-' || e.domain || '-' || e.name || '/')
UNION
SELECT v.uri
FROM executions AS e
JOIN array_elements AS a ON a.execution_id = e.id
CROSS JOIN LATERAL (VALUES (a.output_uri), (a.deck_uri), (a.futures_uri)) AS v (uri)
WHERE e.id > $1 AND e.id <= $2
    AND NOT starts_with(v.uri, $3::text || e.project || '-' || e.domain || '-' || e.name || '/');

-- name: tasks
SELECT id AS place, closure AS data, NULL::text AS uri FROM tasks WHERE id > $1 ORDER BY id LIMIT $2;

-- name: workflows
SELECT id AS place, closure AS data, NULL::text AS uri FROM workflows WHERE id > $1 ORDER BY id LIMIT $2;

-- name: launch_plans
SELECT id AS place, spec AS data, NULL::text AS uri FROM launch_plans WHERE id > $1 ORDER BY id LIMIT $2;

-- name: signals
SELECT id AS place, value AS data, NULL::text AS uri FROM signals WHERE id > $1 ORDER BY id LIMIT $2;

-- name: cache_artifacts
SELECT id AS place, coalesce(data, '') || coalesce(inputs, '') || metadata AS data, data_uri AS uri
FROM cache_artifacts WHERE id > $1 ORDER BY id LIMIT $2;

-- name: artifacts
SELECT id AS place, spec AS data, value_uri AS uri FROM artifacts WHERE id > $1 ORDER BY id LIMIT $2;

-- name: batches
SELECT id AS place, spec AS data, uri FROM batches WHERE id > $1 ORDER BY id LIMIT $2;

-- name: cache_outputs
SELECT output AS data, output_uri AS uri, key FROM cache_outputs WHERE key > $1 ORDER BY key LIMIT $2;

-- name: is_marked
SELECT asked.place::integer - 1 AS place
FROM unnest($1::text[]) WITH ORDINALITY AS asked (word, place)
WHERE EXISTS (SELECT FROM garbage_marks AS m WHERE m.mark = hashtextextended(asked.word, 0));
