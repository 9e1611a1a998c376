-- name: join
WITH member AS (
    INSERT INTO propellers (name, lease_expires_at)
    VALUES ($1, clock_timestamp() + make_interval(secs => $2))
    RETURNING term
), lane AS (
    INSERT INTO journal_lanes (term, lane) SELECT term, -2 FROM member
)
SELECT term, pg_notify('wingbeat_shards', '') FROM member;

-- name: renew
-- One round trip when nothing has changed. The expired are seen as of before this statement, the own lease after it.
WITH renewed AS (
    UPDATE propellers SET lease_expires_at = clock_timestamp() + make_interval(secs => $2)
    WHERE term = $1 RETURNING term
)
SELECT
    EXISTS (SELECT FROM renewed) AS alive,
    ARRAY(SELECT term FROM propellers WHERE lease_expires_at >= clock_timestamp() OR term = $1) AS members,
    EXISTS (SELECT FROM propellers WHERE lease_expires_at < clock_timestamp() AND term <> $1) AS any_expired,
    ARRAY(SELECT shard FROM shards WHERE term = $1) AS owned,
    ARRAY(SELECT shard FROM shards WHERE term IS NULL) AS free;

-- name: end_expired
-- Waits for commits under way in those terms; none can follow.
WITH ended AS (
    DELETE FROM propellers WHERE lease_expires_at < clock_timestamp() AND term <> $1 RETURNING term, name
)
SELECT term, name, pg_notify('wingbeat_shards', '') FROM ended;

-- name: take
UPDATE shards SET term = $1 WHERE shard = ANY($2::smallint[]) AND term IS NULL RETURNING shard;

-- name: announce
UPDATE propellers SET address = $2 WHERE term = $1 RETURNING term;

-- name: release
-- Numbered by lane -2: a release whose answer was lost must not free shards that the same term has taken again since.
WITH fence AS (
    UPDATE journal_lanes SET batch = $3 WHERE term = $1 AND lane = -2 AND batch < $3 RETURNING batch
), freed AS (
    UPDATE shards SET term = NULL
    WHERE term = $1 AND shard = ANY($2::smallint[]) AND EXISTS (SELECT FROM fence)
    RETURNING shard
)
SELECT count(*), pg_notify('wingbeat_shards', '') FROM freed;

-- name: leave
WITH ended AS (DELETE FROM propellers WHERE term = $1 RETURNING term)
SELECT term, pg_notify('wingbeat_shards', '') FROM ended;
