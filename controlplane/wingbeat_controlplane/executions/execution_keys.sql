-- name: find_execution
SELECT id FROM executions WHERE project = $1 AND domain = $2 AND name = $3;
