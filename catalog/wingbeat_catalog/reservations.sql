-- name: reserve
-- Take what is free, has lapsed or is the owner's, in one statement; each row comes back as it is then. What another
-- holds is only read, lest those who wait for one row wait for each other's commits as well. Of several asks for one
-- key only one is tried, that of the present owner before others. All of a row is judged by one instant.
WITH instant AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), asked AS MATERIALIZED (
    SELECT DISTINCT ON (ask.key) ask.key, ask.owner, r.owner AS holder, r.heartbeat, r.expires_at
    FROM unnest($1::bytea[], $2::text[]) WITH ORDINALITY AS ask (key, owner, place)
    LEFT JOIN cache_reservations AS r ON r.key = ask.key
    ORDER BY ask.key, (r.owner = ask.owner) DESC NULLS LAST, ask.place
), tried AS (
    INSERT INTO cache_reservations AS r (key, owner, heartbeat, expires_at, acquired_at)
    SELECT key, owner, $3::interval, at + 3 * $3::interval, at
    FROM asked, instant
    WHERE holder IS NULL OR holder = owner OR expires_at <= at
    ORDER BY key
    ON CONFLICT (key) DO UPDATE SET
        owner = CASE WHEN r.expires_at <= excluded.acquired_at THEN excluded.owner ELSE r.owner END,
        heartbeat = CASE
            WHEN r.owner = excluded.owner OR r.expires_at <= excluded.acquired_at THEN excluded.heartbeat
            ELSE r.heartbeat END,
        expires_at = CASE
            WHEN r.owner = excluded.owner OR r.expires_at <= excluded.acquired_at THEN excluded.expires_at
            ELSE r.expires_at END,
        acquired_at = CASE
            WHEN r.owner <> excluded.owner AND r.expires_at <= excluded.acquired_at THEN excluded.acquired_at
            ELSE r.acquired_at END
    RETURNING key, owner, heartbeat, expires_at
)
SELECT key, owner, heartbeat, expires_at, extract(epoch FROM expires_at - clock_timestamp())::float8 AS left_s
FROM tried
UNION ALL
SELECT key, holder, heartbeat, expires_at, extract(epoch FROM expires_at - clock_timestamp())::float8
FROM asked, instant
WHERE holder <> owner AND expires_at > at;

-- name: release
-- Give up what is the owner's, and tell those who listen. Locked in one order, as `reserve` does.
WITH mine AS (
    SELECT r.key FROM cache_reservations AS r
    JOIN unnest($1::bytea[], $2::text[]) AS own (key, owner) ON own.key = r.key AND own.owner = r.owner
    ORDER BY r.key
    FOR UPDATE OF r
), gone AS (
    DELETE FROM cache_reservations AS r USING mine WHERE r.key = mine.key RETURNING r.key
)
SELECT pg_notify('wingbeat_cache', encode(key, 'hex')) FROM gone;

-- name: sweep
-- Reservations whose owners are long gone and that nobody asked for again.
WITH gone AS (
    DELETE FROM cache_reservations WHERE expires_at < clock_timestamp() - interval '1 hour' RETURNING 1
)
SELECT count(*) FROM gone;
