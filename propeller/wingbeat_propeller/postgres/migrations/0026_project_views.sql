-- expand
-- Questions about some projects that take the newest few of many matches. A barrier computes all rows of its view before
-- it sorts them. So the views `executions` and `labels` are no barriers any more: the rows of their tables are hidden
-- under them, by policies, and the caller's conditions, order and limit meet an ordinary join. Of a table with a policy
-- no condition that could tell something sees a row before the policy has let it through, whatever the join.
--
-- Policies hold for whom the views belong to: a role of its own, in which nobody logs in.

DO $$
BEGIN
    CREATE ROLE wingbeat_project_viewer NOLOGIN NOINHERIT;
EXCEPTION
    WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN
        NULL;
END
$$;

-- Whoever else may read or write these tables goes on as before.
CREATE POLICY everybody ON executions USING (true);
CREATE POLICY everybody ON execution_search USING (true);
CREATE POLICY everybody ON execution_tags USING (true);
ALTER TABLE executions ENABLE ROW LEVEL SECURITY;
ALTER TABLE execution_search ENABLE ROW LEVEL SECURITY;
ALTER TABLE execution_tags ENABLE ROW LEVEL SECURITY;

-- Failed executions, newest first. A launch adds nothing to it.
CREATE INDEX IF NOT EXISTS executions_failed ON executions (id) WHERE error IS NOT NULL;
-- How many errors are like a text, and that taking one apart takes its time: so the planner finds rare texts by their
-- trigrams and common ones by looking at the newest.
CREATE STATISTICS executions_error_text ON (wingbeat_views.error_message(error)) FROM executions;
ALTER FUNCTION wingbeat_views.error_message(bytea) COST 2000;

-- Replaces the views of single projects; all of it or nothing. Where the role is missing or cannot be given views, they
-- stay barriers, and slower.
CREATE FUNCTION open_project_views() RETURNS void LANGUAGE plpgsql AS $$
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
    -- The inner query is under the policy of executions itself.
    DROP POLICY IF EXISTS of_projects ON execution_search;
    CREATE POLICY of_projects ON execution_search AS RESTRICTIVE FOR SELECT TO wingbeat_project_viewer
        USING (EXISTS (SELECT FROM executions AS e WHERE e.id = execution_id));
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
    LEFT JOIN execution_search AS s ON s.execution_id = e.id
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
REVOKE ALL ON FUNCTION open_project_views() FROM PUBLIC;
SELECT open_project_views();
SELECT grant_readers();
