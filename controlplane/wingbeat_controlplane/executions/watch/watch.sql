-- name: head
-- How the log stands: what is visible now, and how far back it reaches.
SELECT pg_current_snapshot() AS snapshot, statement_timestamp() AS read_at, r.dropped_txid, r.log_id
FROM transitions_retention AS r;

-- name: page
-- At most $3 entries that became visible after snapshot $2, in commit order as far as it can be told; $1 is the xmin of
-- $2, $4 leaves out nodes. One row comes without an entry: how the log stands, in the snapshot that found the entries.
-- Planned for connections that read along indexes (LOG_SETTINGS), whatever the size of the newest partition.
SELECT pg_current_snapshot() AS snapshot, statement_timestamp() AS read_at, r.dropped_txid, r.log_id,
    NULL::bigint AS seq, NULL::xid8 AS txid, NULL::bigint AS execution_id, NULL::text AS node_id,
    NULL::smallint AS attempt, NULL::smallint AS phase, NULL::timestamptz AS at
FROM transitions_retention AS r
UNION ALL (
    SELECT NULL, NULL, NULL, NULL, seq, txid, execution_id, node_id, attempt, phase, at
    FROM transitions
    WHERE txid >= $1::xid8 AND NOT pg_visible_in_snapshot(txid, $2::pg_snapshot) AND NOT ($4::boolean AND node_id IS NOT NULL)
    ORDER BY txid, seq
    LIMIT $3
);

-- name: page_of_executions
-- As `page`, of the executions of $3, $4 with names $5 alone; $6 leaves out nodes. Names are looked up in the same
-- snapshot, so one that comes into being meanwhile is not overlooked.
WITH found AS MATERIALIZED (
    SELECT seq, txid, execution_id, node_id, attempt, phase, at
    FROM transitions
    WHERE execution_id = ANY(ARRAY(
            SELECT e.id FROM executions AS e WHERE e.project = $3 AND e.domain = $4 AND e.name = ANY($5::text[])
        ))
        AND NOT pg_visible_in_snapshot(txid, $1::pg_snapshot) AND NOT ($6::boolean AND node_id IS NOT NULL)
)
SELECT pg_current_snapshot() AS snapshot, statement_timestamp() AS read_at, r.dropped_txid, r.log_id,
    NULL::bigint AS seq, NULL::xid8 AS txid, NULL::bigint AS execution_id, NULL::text AS node_id,
    NULL::smallint AS attempt, NULL::smallint AS phase, NULL::timestamptz AS at
FROM transitions_retention AS r
UNION ALL (
    SELECT NULL, NULL, NULL, NULL, seq, txid, execution_id, node_id, attempt, phase, at
    FROM found
    ORDER BY txid, seq
    LIMIT $2
);

-- name: rest_of_transaction
-- As `page`, of transaction $1 alone and from entry $2 on: one that was told of in part.
SELECT pg_current_snapshot() AS snapshot, statement_timestamp() AS read_at, r.dropped_txid, r.log_id,
    NULL::bigint AS seq, NULL::xid8 AS txid, NULL::bigint AS execution_id, NULL::text AS node_id,
    NULL::smallint AS attempt, NULL::smallint AS phase, NULL::timestamptz AS at
FROM transitions_retention AS r
UNION ALL (
    SELECT NULL, NULL, NULL, NULL, seq, txid, execution_id, node_id, attempt, phase, at
    FROM transitions
    WHERE txid = $1::xid8 AND seq >= $2 AND NOT ($4::boolean AND node_id IS NOT NULL)
    ORDER BY txid, seq
    LIMIT $3
);

-- name: executions
SELECT e.id, e.project, e.domain, e.name, e.launch_entity,
    (SELECT b.name FROM batches AS b WHERE b.id = e.batch_id) AS batch,
    w.project AS workflow_project, w.domain AS workflow_domain, w.name AS workflow_name,
    w.version AS workflow_version, coalesce(l.project, t.project) AS entity_project,
    coalesce(l.domain, t.domain) AS entity_domain, coalesce(l.name, t.name) AS entity_name,
    coalesce(l.version, t.version) AS entity_version,
    ARRAY(SELECT tag.key FROM execution_tags AS tag WHERE tag.execution_id = e.id ORDER BY tag.key, tag.value) AS keys,
    ARRAY(SELECT tag.value FROM execution_tags AS tag WHERE tag.execution_id = e.id ORDER BY tag.key, tag.value) AS values
FROM executions AS e
JOIN workflows AS w ON w.id = e.workflow_id
LEFT JOIN launch_plans AS l ON e.launch_entity = 'launch_plan' AND l.id = e.launch_plan_id
LEFT JOIN tasks AS t ON e.launch_entity = 'task' AND t.id = e.task_id
WHERE e.id = ANY($1::bigint[]);

-- name: ends
-- $2: outputs are wanted.
SELECT id, phase, ended_at, error, CASE WHEN $2::boolean THEN outputs END AS outputs, outputs_uri
FROM executions
WHERE id = ANY($1::bigint[]);

-- name: nodes
-- $3: outputs are wanted.
SELECT n.execution_id, n.node_id, n.spec_node_id, n.node_name, n.parent_id, n.parent_attempt, n.error,
    CASE WHEN $3::boolean THEN n.outputs END AS outputs, n.output_uri
FROM unnest($1::bigint[], $2::text[]) AS wanted (execution_id, node_id)
JOIN node_executions AS n ON n.execution_id = wanted.execution_id AND n.node_id = wanted.node_id;

-- name: attempts
-- Of entries about nodes: the kind of the node, the attempt that the entry names, and the one before.
SELECT n.kind, t.phase, t.created_at, t.updated_at, t.task_project, t.task_domain, t.task_name, t.task_version, t.error,
    p.phase AS before_phase, p.updated_at AS before_updated_at, p.task_project AS before_task_project,
    p.task_domain AS before_task_domain, p.task_name AS before_task_name, p.task_version AS before_task_version,
    p.error AS before_error, wanted.place
FROM unnest($1::bigint[], $2::text[], $3::smallint[]) WITH ORDINALITY AS wanted (execution_id, node_id, attempt, place)
JOIN node_executions AS n ON n.execution_id = wanted.execution_id AND n.node_id = wanted.node_id
LEFT JOIN task_executions AS t
    ON t.execution_id = wanted.execution_id AND t.node_id = wanted.node_id AND t.attempt = wanted.attempt
LEFT JOIN task_executions AS p
    ON p.execution_id = wanted.execution_id AND p.node_id = wanted.node_id AND p.attempt = wanted.attempt - 1;

-- name: ids_by_name
-- One row for each name, in their order.
SELECT e.id
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS wanted (project, domain, name, place)
LEFT JOIN executions AS e
    ON e.project = wanted.project AND e.domain = wanted.domain AND e.name = wanted.name
ORDER BY wanted.place;

-- name: wanted_ends
-- Of executions $1 those that have ended; $2: outputs are wanted.
SELECT id, project, domain, name, phase, ended_at, error, CASE WHEN $2::boolean THEN outputs END AS outputs,
    CASE WHEN $2 THEN outputs_uri END AS outputs_uri
FROM executions
WHERE id = ANY($1::bigint[]) AND ended_at IS NOT NULL;

-- name: batch
-- Rows that have not ended, as far as the batch has counted.
SELECT id, ended_at, greatest(0, total - succeeded - failed - timed_out - aborted - refused) AS pending
FROM batches
WHERE project = $1 AND domain = $2 AND name = $3;

-- name: batch_ends
-- Of the rows of batch $1 from number $2 on, $3 at a time: the executions that have ended. `is_recent`: so lately ($4,
-- by whatever clock) that a stream from then on may tell of it as well.
SELECT r.row, e.id, e.ended_at IS NOT NULL AS has_ended, coalesce(e.ended_at >= $4, false) AS is_recent
FROM batch_rows AS r LEFT JOIN executions AS e ON e.id = r.execution_id
WHERE r.batch_id = $1 AND r.row >= $2
ORDER BY r.row
LIMIT $3;
