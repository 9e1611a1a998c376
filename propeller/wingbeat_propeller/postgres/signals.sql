-- name: open
-- Those that are new are made; of all that were asked for, those with a value are returned.
WITH asked AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[])
        AS asked (project, domain, execution, signal_id, type)
), made AS (
    INSERT INTO signals (execution_project, execution_domain, execution_name, signal_id, type)
    SELECT project, domain, execution, signal_id, type FROM asked
    ON CONFLICT (execution_project, execution_domain, execution_name, signal_id) DO NOTHING
)
SELECT a.project, a.domain, a.execution, a.signal_id, s.value
FROM asked AS a
JOIN signals AS s
    ON s.execution_project = a.project AND s.execution_domain = a.domain AND s.execution_name = a.execution
    AND s.signal_id = a.signal_id
WHERE s.value IS NOT NULL;
