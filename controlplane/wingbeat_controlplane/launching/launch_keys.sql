-- name: take_keys
INSERT INTO launch_keys (key, content, name)
SELECT key, content, name
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS asked (key, content, name)
ORDER BY key
ON CONFLICT (key) DO NOTHING
RETURNING key;

-- name: give_back
DELETE FROM launch_keys WHERE key = ANY($1::uuid[]);

-- name: find_keys
SELECT key, content, name FROM launch_keys WHERE key = ANY($1::uuid[]);

-- name: prune
-- Seconds kept, and how many at most. Two that prune at once each take what the other has not locked.
WITH old AS (
    SELECT key FROM launch_keys
    WHERE created_at < now() - make_interval(secs => $1::float8)
    LIMIT $2::integer
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM launch_keys AS k USING old WHERE k.key = old.key RETURNING 1
)
SELECT count(*) FROM gone;
