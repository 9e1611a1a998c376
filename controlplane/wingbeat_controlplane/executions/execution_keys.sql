-- name: find_execution
-- By name as in execution_reads.sql.
SELECT id FROM executions WHERE project = $1 AND domain = $2 AND name BETWEEN $3 AND $3 ORDER BY name LIMIT 1;
