-- expand
-- The project beside what executions are searched by. So a label or input that is common elsewhere is seen to be none of
-- the project asked about, by its view and by its policy, without a look at the execution of each match.
--
-- Rows there are get it in one rewrite of the table, which makes its indexes anew; nothing is launched meanwhile: half a
-- minute for a million executions.

CREATE FUNCTION project_of_execution(execution bigint) RETURNS text LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
    RETURN (SELECT e.project FROM executions AS e WHERE e.id = execution);
END
$$;

ALTER TABLE execution_search ADD COLUMN project text;    -- NULL: its execution is being deleted
ALTER TABLE execution_search ALTER COLUMN project TYPE text USING project_of_execution(execution_id);
ANALYZE execution_search;

-- Rows of the release before, as long as it launches beside this one.
CREATE FUNCTION add_project_of_search() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE execution_search SET project = project_of_execution(execution_id) WHERE execution_id = NEW.execution_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER execution_search_project AFTER INSERT ON execution_search
    FOR EACH ROW WHEN (NEW.project IS NULL) EXECUTE FUNCTION add_project_of_search();

REVOKE ALL ON FUNCTION project_of_execution(bigint), add_project_of_search() FROM PUBLIC;

CREATE OR REPLACE VIEW wingbeat_views.executions AS
SELECT e.id AS execution_id, e.project, e.domain, e.name,
    (ARRAY['UNDEFINED', 'QUEUED', 'RUNNING', 'SUCCEEDING', 'SUCCEEDED', 'FAILING', 'FAILED', 'ABORTED', 'TIMED_OUT',
        'ABORTING'])[e.phase + 1] AS phase,
    e.principal AS launched_by,
    (ARRAY['MANUAL', 'SCHEDULED', 'SYSTEM', 'RELAUNCH', 'CHILD_WORKFLOW', 'RECOVERED', 'TRIGGER'])[e.mode + 1] AS mode,
    w.name AS workflow, w.version AS workflow_version,
    lp.name AS launch_plan, lp.version AS launch_plan_version,
    t.name AS task, t.version AS task_version,
    e.created_at, e.started_at, e.ended_at, e.updated_at,
    extract(epoch FROM e.duration)::float8 AS duration_s,
    s.labels, s.inputs,
    (ARRAY['UNKNOWN', 'USER', 'SYSTEM'])[e.error_kind + 1] AS error_kind,
    e.error_code, wingbeat_views.error_message(e.error) AS error,
    e.abort_cause, e.abort_principal AS aborted_by,
    e.parent_execution_id, e.parent_node_id, e.source_execution_id,
    e.waiting, e.state = 1 AS archived, e.cluster
FROM executions AS e
LEFT JOIN execution_search AS s ON s.execution_id = e.id AND s.project = e.project
LEFT JOIN workflows AS w ON w.id = e.workflow_id
LEFT JOIN launch_plans AS lp ON lp.id = e.launch_plan_id
LEFT JOIN tasks AS t ON t.id = e.task_id;

CREATE OR REPLACE FUNCTION open_project_views() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'wingbeat_project_viewer') THEN
        RETURN;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO wingbeat_project_viewer', current_schema());
    GRANT USAGE ON SCHEMA wingbeat_views TO wingbeat_project_viewer;
    GRANT USAGE, CREATE ON SCHEMA wingbeat_project_views TO wingbeat_project_viewer;
    GRANT SELECT ON executions, execution_search, execution_tags, workflows, launch_plans, tasks
        TO wingbeat_project_viewer;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA wingbeat_project_views TO wingbeat_project_viewer;

    DROP POLICY IF EXISTS of_projects ON executions;
    CREATE POLICY of_projects ON executions AS RESTRICTIVE FOR SELECT TO wingbeat_project_viewer
        USING (project = ANY ((SELECT wingbeat_project_views.seen_projects())::text[]));
    DROP POLICY IF EXISTS of_projects ON execution_search;
    CREATE POLICY of_projects ON execution_search AS RESTRICTIVE FOR SELECT TO wingbeat_project_viewer
        USING (project = ANY ((SELECT wingbeat_project_views.seen_projects())::text[]));
    -- The inner query is under the policy of executions itself.
    DROP POLICY IF EXISTS of_projects ON execution_tags;
    CREATE POLICY of_projects ON execution_tags AS RESTRICTIVE FOR SELECT TO wingbeat_project_viewer
        USING (EXISTS (SELECT FROM executions AS e WHERE e.id = execution_id));

    -- The condition stands here once more, for a copy of the database whose views belong to somebody else. Tables without
    -- a policy are read for one row at a time that has been let through, never joined.
    CREATE OR REPLACE VIEW wingbeat_project_views.executions AS
    SELECT e.id AS execution_id, e.project, e.domain, e.name,
        (ARRAY['UNDEFINED', 'QUEUED', 'RUNNING', 'SUCCEEDING', 'SUCCEEDED', 'FAILING', 'FAILED', 'ABORTED', 'TIMED_OUT',
            'ABORTING'])[e.phase + 1] AS phase,
        e.principal AS launched_by,
        (ARRAY['MANUAL', 'SCHEDULED', 'SYSTEM', 'RELAUNCH', 'CHILD_WORKFLOW', 'RECOVERED', 'TRIGGER'])[e.mode + 1]
            AS mode,
        (SELECT w.name FROM workflows AS w WHERE w.id = e.workflow_id) AS workflow,
        (SELECT w.version FROM workflows AS w WHERE w.id = e.workflow_id) AS workflow_version,
        (SELECT l.name FROM launch_plans AS l WHERE l.id = e.launch_plan_id) AS launch_plan,
        (SELECT l.version FROM launch_plans AS l WHERE l.id = e.launch_plan_id) AS launch_plan_version,
        (SELECT t.name FROM tasks AS t WHERE t.id = e.task_id) AS task,
        (SELECT t.version FROM tasks AS t WHERE t.id = e.task_id) AS task_version,
        e.created_at, e.started_at, e.ended_at, e.updated_at,
        extract(epoch FROM e.duration)::float8 AS duration_s,
        s.labels, s.inputs,
        (ARRAY['UNKNOWN', 'USER', 'SYSTEM'])[e.error_kind + 1] AS error_kind,
        e.error_code, wingbeat_views.error_message(e.error) AS error,
        e.abort_cause, e.abort_principal AS aborted_by,
        e.parent_execution_id, e.parent_node_id, e.source_execution_id,
        e.waiting, e.state = 1 AS archived, e.cluster
    FROM executions AS e
    LEFT JOIN execution_search AS s ON s.execution_id = e.id AND s.project = e.project
    WHERE e.project = ANY ((SELECT wingbeat_project_views.seen_projects())::text[]);
    CREATE OR REPLACE VIEW wingbeat_project_views.labels AS
    SELECT l.execution_id, e.project, e.domain, e.name AS execution, l.key, l.value
    FROM execution_tags AS l JOIN executions AS e ON e.id = l.execution_id
    WHERE e.project = ANY ((SELECT wingbeat_project_views.seen_projects())::text[]);
    ALTER VIEW wingbeat_project_views.executions OWNER TO wingbeat_project_viewer;
    ALTER VIEW wingbeat_project_views.labels OWNER TO wingbeat_project_viewer;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'the views of single projects stay barriers: %', SQLERRM;
END
$$;
SELECT open_project_views();
