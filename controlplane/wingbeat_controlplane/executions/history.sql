-- name: hold_log
-- Before the snapshot is taken, so that no partition goes while it is read.
LOCK TABLE transitions IN ACCESS SHARE MODE;

-- name: walk_indexes
-- A page is a walk along two indexes. Of a partition that is new and not analyzed yet the planner knows too little to see
-- it, and would read and sort the whole of an execution for each page.
SELECT set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);

-- name: head
SELECT e.id, e.phase, e.created_at, e.ended_at, e.abort_requested_at, r.kept_since, statement_timestamp() AS read_at,
    pg_current_snapshot() AS snapshot
FROM executions AS e CROSS JOIN transitions_retention AS r
WHERE e.project = $1 AND e.domain = $2 AND e.name = $3;

-- name: phase_at
SELECT phase, at
FROM transitions
WHERE execution_id = $1 AND node_id IS NULL AND at <= $2 AND at >= $3
    AND pg_visible_in_snapshot(txid, $4::pg_snapshot)
ORDER BY seq DESC
LIMIT 1;

-- name: nodes_at
-- Walks the index by node; of each node the first entry that is not too new is the one that counts.
SELECT page.node_id, page.phase, page.attempt, page.at AS since, n.spec_node_id, n.node_name, n.parent_id,
    n.parent_attempt, n.seq
FROM (
    SELECT DISTINCT ON (node_id) node_id, phase, attempt, at
    FROM transitions
    WHERE execution_id = $1 AND at <= $2 AND at >= $3 AND pg_visible_in_snapshot(txid, $4::pg_snapshot)
        AND node_id > $5
    ORDER BY node_id, seq DESC
    LIMIT $6
) AS page LEFT JOIN LATERAL (
    -- LIMIT: one look by primary key for each node, never a join over all nodes of the execution.
    SELECT * FROM node_executions WHERE execution_id = $1 AND node_id = page.node_id LIMIT 1
) AS n ON true
ORDER BY page.node_id;

-- name: nodes_ended
-- Of an execution that had ended: the rows say what they will say for ever.
SELECT node_id, phase, attempt, updated_at AS since, spec_node_id, node_name, parent_id, parent_attempt, seq
FROM node_executions
WHERE execution_id = $1 AND node_id > $2
ORDER BY node_id
LIMIT $3;
