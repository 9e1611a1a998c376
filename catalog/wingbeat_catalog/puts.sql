-- name: put
SELECT place, artifact_id, tag FROM cache_put($1::cache_dataset[], $2::cache_entry[]);
