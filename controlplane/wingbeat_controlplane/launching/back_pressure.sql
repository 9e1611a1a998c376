-- name: count_not_begun
-- At most $1 are counted. Conditions are those of an index.
SELECT count(*) FROM (
    SELECT FROM executions WHERE (phase = 0 OR phase = 1 AND NOT waiting) AND NOT awaited LIMIT $1
) AS waiting;
