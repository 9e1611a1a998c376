-- name: retire_aged
-- The oldest executions of a project and domain that ended before $3, from those created at $4 on: their row goes, and
-- is noted. Kept are children of an execution that is alive, those that one recovers from, and those of a batch that is
-- under way, as all of them are read again.
WITH aged AS MATERIALIZED (
    SELECT e.id
    FROM executions AS e
    WHERE e.project = $1 AND e.domain = $2 AND e.created_at < $3 AND e.created_at >= $4 AND e.ended_at < $3
        AND NOT EXISTS (SELECT FROM executions AS p WHERE p.id = e.parent_execution_id AND p.ended_at IS NULL)
        AND NOT EXISTS (SELECT FROM executions AS r WHERE r.source_execution_id = e.id AND r.ended_at IS NULL)
        AND NOT EXISTS (SELECT FROM batches AS b WHERE b.id = e.batch_id AND b.ended_at IS NULL)
    ORDER BY e.created_at
    LIMIT $5
    FOR UPDATE OF e SKIP LOCKED
), gone AS (
    DELETE FROM executions AS e USING aged WHERE e.id = aged.id
    RETURNING e.id, e.project, e.domain, e.name, e.created_at, e.ended_at, e.config
)
INSERT INTO retired_executions (execution_id, project, domain, name, created_at, ended_at, config, erased)
SELECT id, project, domain, name, created_at, ended_at, config, false FROM gone
RETURNING execution_id, project, domain, name, created_at, ended_at;

-- name: retired
-- Executions on their way out: those that are erased and of whom no batch keeps anything, or those that are pruned.
SELECT execution_id, project, domain, name, created_at, ended_at, config
FROM retired_executions WHERE erased = $1 AND batch_id IS NULL ORDER BY execution_id LIMIT $2;

-- name: delete_elements
DELETE FROM array_elements
WHERE ctid = ANY (ARRAY(SELECT ctid FROM array_elements WHERE execution_id = ANY($1::bigint[]) LIMIT $2));

-- name: delete_attempts
DELETE FROM task_executions
WHERE ctid = ANY (ARRAY(SELECT ctid FROM task_executions WHERE execution_id = ANY($1::bigint[]) LIMIT $2));

-- name: delete_nodes
DELETE FROM node_executions
WHERE ctid = ANY (ARRAY(SELECT ctid FROM node_executions WHERE execution_id = ANY($1::bigint[]) LIMIT $2));

-- name: delete_transitions
-- The partitions of the days in which they ran.
DELETE FROM transitions WHERE execution_id = ANY($1::bigint[]) AND at >= $2 AND at <= $3;

-- name: delete_signals
DELETE FROM signals AS s USING unnest($1::text[], $2::text[], $3::text[]) AS gone (project, domain, name)
WHERE s.execution_project = gone.project AND s.execution_domain = gone.domain AND s.execution_name = gone.name;

-- name: delete_search
DELETE FROM execution_search WHERE execution_id = ANY($1::bigint[]);

-- name: delete_slots
DELETE FROM tenant_slots WHERE execution_id = ANY($1::bigint[]);

-- name: finish
DELETE FROM retired_executions WHERE execution_id = ANY($1::bigint[]);

-- name: delete_cached_aged
-- Entries of the cache of a project and domain that were made and last renewed before $3.
DELETE FROM cache_artifacts
WHERE id = ANY (ARRAY(
    SELECT a.id FROM cache_datasets AS d JOIN cache_artifacts AS a ON a.dataset_id = d.id
    WHERE d.project = $1 AND d.domain = $2 AND a.created_at < $3 AND a.updated_at < $3
    LIMIT $4
))
RETURNING data_uri AS uri;

-- name: delete_outputs_aged
-- The same of CacheService, whose keys tell no project.
DELETE FROM cache_outputs
WHERE ctid = ANY (ARRAY(SELECT ctid FROM cache_outputs WHERE updated_at < $1 LIMIT $2))
RETURNING output_uri AS uri;

-- name: cache_scopes
SELECT DISTINCT project, domain FROM cache_datasets;

-- name: scopes
SELECT project, domain FROM execution_scopes;

-- name: vacuum_worth
-- Tables whose dead rows are worth a vacuum now.
SELECT relname::text AS name FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND relname = ANY($1::text[])
    AND n_dead_tup > greatest($2::bigint, n_live_tup / 20);
