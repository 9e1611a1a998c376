-- name: count_elements
-- Attempts by phase, and when the last of them changed.
SELECT phase, count(*) AS attempts, max(coalesce(ended_at, started_at, queued_at)) AS changed_at
FROM array_elements
WHERE execution_id = $1 AND node_id = $2
GROUP BY phase;

-- name: elements
-- Attempts that need attention first.
SELECT element, attempt, phase, cache_status, error, deck_uri, details
FROM array_elements
WHERE execution_id = $1 AND node_id = $2
ORDER BY CASE phase WHEN 5 THEN 0 WHEN 8 THEN 1 WHEN 2 THEN 2 ELSE 3 END, element, attempt
LIMIT $3;

-- name: existing
SELECT name FROM executions WHERE project = $1 AND domain = $2 AND name = ANY($3::text[]);
