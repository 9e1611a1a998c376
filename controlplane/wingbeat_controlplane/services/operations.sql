-- name: status
SELECT
    (SELECT count(*) FROM executions WHERE ended_at IS NULL) AS live_executions,
    (SELECT max(number) FROM schema_migrations) AS schema_version;

-- name: propellers
SELECT p.term, p.name, p.lease_expires_at, count(s.shard) AS shards
FROM propellers p
LEFT JOIN shards s ON s.term = p.term
WHERE p.lease_expires_at > now()
GROUP BY p.term
ORDER BY p.term;
