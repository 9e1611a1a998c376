-- name: create
INSERT INTO cache_datasets (digest, project, domain, name, version, org, partition_keys, metadata)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: get
SELECT * FROM cache_datasets WHERE digest = $1;

-- name: newest
-- Each array is the values that one property must have, all of them; empty: any.
SELECT * FROM cache_datasets AS d
WHERE d.project = ALL($1::text[]) AND d.domain = ALL($2::text[]) AND d.name = ALL($3::text[])
    AND d.version = ALL($4::text[]) AND d.org = ALL($5::text[])
ORDER BY d.created_at DESC, d.id DESC
LIMIT $6 OFFSET $7;

-- name: oldest
SELECT * FROM cache_datasets AS d
WHERE d.project = ALL($1::text[]) AND d.domain = ALL($2::text[]) AND d.name = ALL($3::text[])
    AND d.version = ALL($4::text[]) AND d.org = ALL($5::text[])
ORDER BY d.created_at, d.id
LIMIT $6 OFFSET $7;
