-- expand
-- What the collection of garbage in the blob store has found to be needed, and artifacts in the views for SQL.

-- Hashes of names and folders; emptied when a collection begins, and after a crash of the server.
CREATE UNLOGGED TABLE garbage_marks (
    mark bigint PRIMARY KEY
);

CREATE VIEW wingbeat_views.artifacts AS
SELECT a.id AS artifact_id, a.project, a.domain, a.name, a.version, a.partitions, a.time_partition,
    ARRAY(SELECT t.value FROM artifact_tags AS t WHERE t.artifact_id = a.id ORDER BY t.value) AS aliases,
    a.execution_project, a.execution_domain, a.execution_name AS execution, a.node_id, a.attempt, a.var AS variable,
    a.principal AS created_by, a.created_at
FROM artifacts AS a;

CREATE VIEW wingbeat_project_views.artifacts WITH (security_barrier) AS
SELECT * FROM wingbeat_views.artifacts
WHERE project = ANY ((SELECT wingbeat_project_views.seen_projects())::text[]);

SELECT grant_readers();
