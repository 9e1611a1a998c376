-- name: look_up
-- Artifacts by the keys of their tags; of two that a call may have, Flyte's comes first.
SELECT
    ask.place, found.id, found.name, a.artifact_id, a.data, a.data_uri, a.data_digest, a.has_references,
    a.interface_digest, a.task_version, a.source_project, a.source_domain, a.source_execution, a.source_node,
    a.source_attempt, a.source_element, extract(epoch FROM now() - a.updated_at)::float8 AS age_s
FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS ask (exact, canonical, place)
CROSS JOIN LATERAL (
    SELECT t.artifact AS id, t.name
    FROM cache_tags AS t
    WHERE t.key IN (ask.exact, ask.canonical)
    ORDER BY t.key = ask.exact DESC
    LIMIT 1
) AS found
JOIN cache_artifacts AS a ON a.id = found.id;
