-- name: remove
-- Entries that may not be used, unless they have been replaced meanwhile; their tags go with them.
DELETE FROM cache_artifacts AS a
USING unnest($1::bigint[], $2::bytea[]) AS bad (id, data_digest)
WHERE a.id = bad.id AND a.data_digest = bad.data_digest
RETURNING a.data_uri;
