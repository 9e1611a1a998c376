-- name: scope
-- What the connection with this number may see; committed before it asks.
INSERT INTO sql_scopes (pid, projects) VALUES ($1, $2)
ON CONFLICT (pid) DO UPDATE SET projects = excluded.projects, set_at = now();

-- name: forget_scope
DELETE FROM sql_scopes WHERE pid = $1;

-- name: pid
SELECT pg_backend_pid();

-- name: limits
SELECT set_config('statement_timeout', $1, true);

-- name: without_luck
-- Rows in the order of an index are gone without; those that match are found by bitmaps.
SELECT set_config('enable_indexscan', 'off', true);

-- name: plan
EXPLAIN (FORMAT json) DECLARE wingbeat_rows NO SCROLL CURSOR FOR {question};

-- name: columns
-- The caller's question; nothing but a query can stand at its place, which this comment must not name.
DECLARE wingbeat_rows NO SCROLL CURSOR FOR {question};

-- name: rows
FETCH FORWARD {count} FROM wingbeat_rows;
