-- name: execution_id
SELECT id FROM executions WHERE project = $1 AND domain = $2 AND name = $3;

-- name: executions
SELECT e.id, e.project, e.domain, e.name, e.workflow_id, e.phase, e.created_at, e.started_at, e.ended_at,
    e.parent_execution_id, e.parent_node_id, e.launch_entity,
    coalesce(l.project, t.project) AS entity_project, coalesce(l.domain, t.domain) AS entity_domain,
    coalesce(l.name, t.name) AS entity_name, coalesce(l.version, t.version) AS entity_version
FROM executions AS e
LEFT JOIN launch_plans AS l ON l.id = e.launch_plan_id
LEFT JOIN tasks AS t ON t.id = e.task_id
WHERE e.id = ANY($1::bigint[]);

-- name: closure
SELECT closure FROM workflows WHERE id = $1;

-- name: nodes
-- NULL for $2: all of them.
SELECT execution_id, node_id, spec_node_id, parent_id, parent_attempt, node_name, kind, flags, phase, attempt,
    started_at, ended_at,
    CASE WHEN kind = 7 THEN memo END AS memo, CASE WHEN flags & 2 <> 0 THEN details END AS details
FROM node_executions
WHERE execution_id = ANY($1::bigint[])
ORDER BY execution_id, seq
LIMIT $2;

-- name: children
SELECT parent_execution_id AS execution_id, parent_node_id AS node_id, c.id
FROM executions AS c
JOIN unnest($1::bigint[], $2::text[]) AS u (execution_id, node_id)
    ON c.parent_execution_id = u.execution_id AND c.parent_node_id = u.node_id
ORDER BY c.id;

-- name: launched_by_eager
-- Executions that eager tasks of executions launched: flytekit labels them. Children of those inherit the label, and who
-- launches one of them again takes it over.
SELECT p.id AS parent_id, p.name AS parent_name, c.id, c.name, c.created_at
FROM executions AS p
JOIN execution_tags AS t ON t.key = 'eager-exec' AND t.value = p.name
JOIN executions AS c ON c.id = t.execution_id AND c.project = p.project AND c.domain = p.domain
WHERE p.id = ANY($1::bigint[]) AND c.id <> p.id AND c.parent_execution_id IS NULL AND c.source_execution_id IS NULL
ORDER BY p.id, c.id
LIMIT $2;

-- name: eager_launchers
-- The other way round.
SELECT p.id AS parent_id, p.name AS parent_name, c.id, c.name, c.created_at
FROM executions AS c
JOIN execution_tags AS t ON t.execution_id = c.id AND t.key = 'eager-exec'
JOIN executions AS p ON p.project = c.project AND p.domain = c.domain AND p.name = t.value
WHERE c.id = ANY($1::bigint[]) AND c.id <> p.id AND c.parent_execution_id IS NULL AND c.source_execution_id IS NULL
ORDER BY p.id, c.id;

-- name: sources
-- Where nodes took their outputs from.
SELECT e.execution_id, e.node_id, e.kind, e.source_execution_id, e.source_node_id
FROM lineage_edges AS e
JOIN unnest($1::bigint[], $2::text[]) AS u (execution_id, node_id)
    ON e.execution_id = u.execution_id AND e.node_id = u.node_id
ORDER BY e.execution_id, e.node_id, e.source_execution_id, e.source_node_id
LIMIT $3;

-- name: takers
-- Nodes that took over the outputs of nodes.
SELECT e.source_execution_id, e.source_node_id, e.kind, e.execution_id, e.node_id
FROM lineage_edges AS e
JOIN unnest($1::bigint[], $2::text[]) AS u (execution_id, node_id)
    ON e.source_execution_id = u.execution_id AND e.source_node_id = u.node_id
ORDER BY e.execution_id, e.node_id
LIMIT $3;

-- name: elements
-- Which elements of nodes took their outputs from which of others.
SELECT e.execution_id, e.node_id, e.first, e.count, e.source_execution_id, e.source_node_id, e.source_first
FROM lineage_elements AS e
JOIN unnest($1::bigint[], $2::text[]) AS u (execution_id, node_id)
    ON e.execution_id = u.execution_id AND e.node_id = u.node_id
ORDER BY e.execution_id, e.node_id, e.first
LIMIT $3;

-- name: makers_of_inputs
-- Nodes of other executions that made what inputs of executions are known by.
SELECT g.execution_id, g.var, g.token, m.execution_id AS maker_execution_id, m.node_id AS maker_node_id,
    m.var AS maker_var
FROM unnest($1::bigint[]) AS u (execution_id)
JOIN lineage_values AS g ON g.execution_id = u.execution_id AND g.node_id = ''
JOIN lineage_values AS m
    ON hashtextextended(m.token, 0) = hashtextextended(g.token, 0) AND m.token = g.token AND m.node_id <> ''
    AND m.execution_id <> g.execution_id
ORDER BY g.execution_id, g.var, g.token, m.execution_id, m.node_id
LIMIT $2;

-- name: users_of_outputs
-- Executions that were given what a node made; the first ones of each value, as there may be very many.
SELECT m.execution_id, m.node_id, m.var, m.token, g.execution_id AS user_execution_id, g.var AS user_var
FROM unnest($1::bigint[], $2::text[]) AS u (execution_id, node_id)
JOIN lineage_values AS m ON m.execution_id = u.execution_id AND m.node_id = u.node_id AND m.node_id <> ''
CROSS JOIN LATERAL (
    SELECT v.execution_id, v.var FROM lineage_values AS v
    WHERE hashtextextended(v.token, 0) = hashtextextended(m.token, 0) AND v.token = m.token AND v.node_id = ''
        AND v.execution_id <> m.execution_id
    ORDER BY v.execution_id, v.var
    LIMIT $3
) AS g
ORDER BY m.execution_id, m.node_id, g.execution_id, g.var
LIMIT $3;

-- name: known_by
-- Who made what a token names, then who was given it (the node is empty); the first ones, the longest token first.
SELECT asked.token, v.execution_id, v.node_id, v.var
FROM unnest($1::text[]) AS asked (token)
CROSS JOIN LATERAL (
    (
        SELECT m.execution_id, m.node_id, m.var FROM lineage_values AS m
        WHERE hashtextextended(m.token, 0) = hashtextextended(asked.token, 0) AND m.token = asked.token
            AND m.node_id <> ''
        ORDER BY m.execution_id, m.node_id, m.var
        LIMIT $2
    )
    UNION ALL
    (
        SELECT g.execution_id, g.node_id, g.var FROM lineage_values AS g
        WHERE hashtextextended(g.token, 0) = hashtextextended(asked.token, 0) AND g.token = asked.token
            AND g.node_id = ''
        ORDER BY g.execution_id, g.var
        LIMIT $2
    )
) AS v
ORDER BY length(asked.token) DESC, v.node_id = '', v.execution_id, v.node_id, v.var
LIMIT $2;

-- name: tokens
SELECT v.execution_id, v.node_id, v.var, v.token
FROM lineage_values AS v
JOIN unnest($1::bigint[], $2::text[]) AS u (execution_id, node_id)
    ON v.execution_id = u.execution_id AND v.node_id = u.node_id
ORDER BY v.var, v.token
LIMIT $3;

-- name: artifacts_of_inputs
SELECT u.execution_id, u.var, a.name, a.version, e.id AS maker_execution_id, a.node_id AS maker_node_id,
    a.var AS maker_var
FROM artifact_uses AS u
JOIN artifacts AS a ON a.id = u.artifact_id
JOIN executions AS e
    ON e.project = a.execution_project AND e.domain = a.execution_domain AND e.name = a.execution_name
WHERE u.execution_id = ANY($1::bigint[])
ORDER BY u.execution_id, u.var, a.id;

-- name: users_of_artifacts
-- Executions that have what a node (or an execution: node empty) made as an artifact among their inputs.
SELECT m.id AS execution_id, a.node_id, a.var, a.name, a.version, u.execution_id AS user_execution_id,
    u.var AS user_var
FROM unnest($1::bigint[], $2::text[]) AS v (execution_id, node_id)
JOIN executions AS m ON m.id = v.execution_id
JOIN artifacts AS a
    ON a.execution_project = m.project AND a.execution_domain = m.domain AND a.execution_name = m.name
    AND a.execution_name <> '' AND a.node_id = v.node_id
JOIN artifact_uses AS u ON u.artifact_id = a.id
ORDER BY m.id, a.node_id, u.execution_id, u.var
LIMIT $3;

-- name: artifact
SELECT a.id, a.name, a.version, e.id AS maker_execution_id, a.node_id, a.var
FROM artifacts AS a
LEFT JOIN executions AS e
    ON e.project = a.execution_project AND e.domain = a.execution_domain AND e.name = a.execution_name
WHERE a.project = $1 AND a.domain = $2 AND a.name = $3 AND a.version = $4;

-- name: artifact_uses
SELECT execution_id, var FROM artifact_uses WHERE artifact_id = $1 ORDER BY execution_id, var LIMIT $2;

-- name: details
SELECT n.execution_id, n.node_id, n.node_name, n.phase, n.attempt, n.started_at, n.ended_at, n.inputs, n.outputs
FROM node_executions AS n
JOIN unnest($1::bigint[], $2::text[]) AS u (execution_id, node_id)
    ON n.execution_id = u.execution_id AND n.node_id = u.node_id;

-- name: execution_inputs
SELECT id, inputs FROM executions WHERE id = ANY($1::bigint[]);

-- name: record_given
INSERT INTO lineage_values (execution_id, node_id, var, token)
SELECT $1, '', u.var, u.token FROM unnest($2::text[], $3::text[]) AS u (var, token);

-- name: record_uses
INSERT INTO artifact_uses (artifact_id, execution_id, var)
SELECT u.artifact_id, $1, u.var FROM unnest($2::bigint[], $3::text[]) AS u (artifact_id, var)
ON CONFLICT DO NOTHING;

-- name: inherit_uses
INSERT INTO artifact_uses (artifact_id, execution_id, var)
SELECT artifact_id, $1, var FROM artifact_uses WHERE execution_id = $2
ON CONFLICT DO NOTHING;
