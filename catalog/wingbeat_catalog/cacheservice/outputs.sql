-- name: get
SELECT output, output_uri, output_digest, created_at, updated_at FROM cache_outputs WHERE key = $1;

-- name: put_new
INSERT INTO cache_outputs (key, output, output_uri, output_digest) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
RETURNING key;

-- name: overwrite
-- Returns where the output lay before.
WITH old AS (
    SELECT key, output_uri FROM cache_outputs WHERE key = $1 FOR UPDATE
), new AS (
    -- After `old` has been read.
    INSERT INTO cache_outputs AS o (key, output, output_uri, output_digest)
    SELECT $1, $2, $3, $4 FROM (SELECT count(*) FROM old) AS before
    ON CONFLICT (key) DO UPDATE SET
        output = excluded.output,
        output_uri = excluded.output_uri,
        output_digest = excluded.output_digest,
        updated_at = now()
    RETURNING key
)
SELECT old.output_uri FROM new LEFT JOIN old ON old.key = new.key;

-- name: delete
-- By its digest too when one is given: what was replaced meanwhile stays.
DELETE FROM cache_outputs WHERE key = $1 AND ($2::bytea IS NULL OR output_digest = $2) RETURNING output_uri;
