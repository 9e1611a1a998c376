-- expand
-- Read-only SQL: views that stay as they are while the tables behind them change, and two roles that see nothing else.
--
-- wingbeat_reader sees the views of all projects. wingbeat_project_reader sees, through barriers, the rows of the
-- projects that `sql_scopes` names for its own connection: that table it can neither read nor write, and the number of
-- its connection it cannot choose. Both roles must log in by themselves: a role that was only assumed could be given up.

-- What executions are searched by, written once at launch, apart from rows that change. The releases before write none.
CREATE TABLE execution_search (
    execution_id bigint PRIMARY KEY,
    labels       jsonb,                                  -- NULL: it has none
    inputs       jsonb                                   -- inputs that are small primitive values; NULL: it has none
);
CREATE INDEX execution_search_labels ON execution_search USING gin (labels jsonb_path_ops);
CREATE INDEX execution_search_inputs ON execution_search USING gin (inputs jsonb_path_ops);
CREATE INDEX executions_principal ON executions (principal, id) WHERE principal <> '';

-- What a connection of wingbeat_project_reader may see: written by the server before each query. No row: nothing.
CREATE TABLE sql_scopes (
    pid      integer PRIMARY KEY,
    projects text[] NOT NULL,
    set_at   timestamptz NOT NULL DEFAULT now()
);

CREATE SCHEMA wingbeat_views;
CREATE SCHEMA wingbeat_project_views;

-- Fields `wanted` of a serialized protobuf message, in order: numbers of varints, contents of all that has a length.
-- What is malformed ends the answer and raises nothing, as an index calls this.
CREATE FUNCTION wingbeat_views.protobuf_fields(message bytea, wanted integer, OUT number bigint, OUT content bytea)
RETURNS SETOF record LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    place integer := 0;
    size integer := length(message);
    tag bigint;
    value bigint;
    shift integer;
    byte integer;
BEGIN
    WHILE place < size LOOP
        FOR turn IN 1..2 LOOP
            value := 0;
            shift := 0;
            LOOP
                IF place >= size OR shift > 63 THEN
                    RETURN;
                END IF;
                byte := get_byte(message, place);
                place := place + 1;
                IF shift < 63 THEN
                    value := value | ((byte & 127)::bigint << shift);
                END IF;
                EXIT WHEN byte < 128;
                shift := shift + 7;
            END LOOP;
            IF turn = 1 THEN
                tag := value;
                EXIT WHEN tag & 7 NOT IN (0, 2);
            END IF;
        END LOOP;
        CASE tag & 7
            WHEN 0 THEN
                IF tag >> 3 = wanted THEN
                    number := value;
                    content := NULL;
                    RETURN NEXT;
                END IF;
            WHEN 2 THEN
                IF value < 0 OR value > size - place THEN
                    RETURN;
                END IF;
                IF tag >> 3 = wanted THEN
                    number := NULL;
                    content := substring(message FROM place + 1 FOR value::integer);
                    RETURN NEXT;
                END IF;
                place := place + value::integer;
            WHEN 1 THEN place := place + 8;
            WHEN 5 THEN place := place + 4;
            ELSE RETURN;
        END CASE;
    END LOOP;
END
$$;

-- Bytes of a string as text; a NUL, which text cannot hold, is written out.
CREATE FUNCTION wingbeat_views.string(content bytea) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN position('\x00'::bytea IN content) > 0 THEN encode(content, 'escape')
        ELSE convert_from(content, 'UTF8') END
$$;

-- The message of a flyteidl.core.ExecutionError.
CREATE FUNCTION wingbeat_views.error_message(error bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN wingbeat_views.string((SELECT f.content FROM wingbeat_views.protobuf_fields(error, 2) AS f LIMIT 1));
END
$$;

-- Requests (`section` 1) or limits (2) of a flyteidl.admin.TaskClosure's container, by the numbers of ResourceName.
CREATE FUNCTION wingbeat_views.container_resources(closure bytea, section integer, OUT kind bigint, OUT quantity text)
RETURNS SETOF record LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (SELECT f.number FROM wingbeat_views.protobuf_fields(entry.content, 1) AS f LIMIT 1),
        wingbeat_views.string((SELECT f.content FROM wingbeat_views.protobuf_fields(entry.content, 2) AS f LIMIT 1))
    FROM wingbeat_views.protobuf_fields(closure, 1) AS compiled
    CROSS JOIN LATERAL wingbeat_views.protobuf_fields(compiled.content, 1) AS template
    CROSS JOIN LATERAL wingbeat_views.protobuf_fields(template.content, 6) AS container
    CROSS JOIN LATERAL wingbeat_views.protobuf_fields(container.content, 4) AS resources
    CROSS JOIN LATERAL wingbeat_views.protobuf_fields(resources.content, section) AS entry
$$;

-- Search in errors needs trigrams, which not every server permits: it reads all errors there.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX executions_error_message ON executions
        USING gin (wingbeat_views.error_message(error) gin_trgm_ops) WHERE error IS NOT NULL;
EXCEPTION
    WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR undefined_object THEN
        RAISE NOTICE 'no index for searching in errors: %', SQLERRM;
        CREATE INDEX IF NOT EXISTS executions_failed ON executions (id) WHERE error IS NOT NULL;
END
$$;

CREATE VIEW wingbeat_views.executions AS
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
LEFT JOIN execution_search AS s ON s.execution_id = e.id
LEFT JOIN workflows AS w ON w.id = e.workflow_id
LEFT JOIN launch_plans AS lp ON lp.id = e.launch_plan_id
LEFT JOIN tasks AS t ON t.id = e.task_id;

CREATE VIEW wingbeat_views.labels AS
SELECT l.execution_id, e.project, e.domain, e.name AS execution, l.key, l.value
FROM execution_tags AS l JOIN executions AS e ON e.id = l.execution_id;

CREATE VIEW wingbeat_views.nodes AS
SELECT n.execution_id, e.project, e.domain, e.name AS execution, n.node_id, n.spec_node_id, n.parent_id,
    n.node_name AS name,
    (ARRAY['START', 'END', 'TASK', 'WORKFLOW', 'BRANCH', 'LAUNCH_PLAN', 'GATE', 'ARRAY'])[n.kind + 1] AS kind,
    n.flags & 2 <> 0 AS is_dynamic,
    (ARRAY['UNDEFINED', 'QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILING', 'FAILED', 'ABORTED', 'SKIPPED', 'TIMED_OUT',
        'DYNAMIC_RUNNING', 'RECOVERED'])[n.phase + 1] AS phase,
    n.attempt, n.system_failures,
    (ARRAY['CACHE_DISABLED', 'CACHE_MISS', 'CACHE_HIT', 'CACHE_POPULATED', 'CACHE_LOOKUP_FAILURE', 'CACHE_PUT_FAILURE',
        'CACHE_SKIPPED', 'CACHE_EVICTED'])[n.cache_status + 1] AS cache_status,
    n.created_at, n.started_at, n.ended_at, n.updated_at,
    extract(epoch FROM n.duration)::float8 AS duration_s,
    n.input_uri, n.output_uri, wingbeat_views.error_message(n.error) AS error
FROM node_executions AS n JOIN executions AS e ON e.id = n.execution_id;

-- Attempts of tasks; those of elements of arrays (map tasks) have `element`, and their tasks are those of the array.
CREATE VIEW wingbeat_views.attempts AS
SELECT a.execution_id, e.project, e.domain, e.name AS execution, a.node_id, NULL::integer AS element, a.attempt,
    a.task_project, a.task_domain, a.task_name AS task, a.task_version, a.task_type, a.name AS generated_name,
    (ARRAY['UNDEFINED', 'QUEUED', 'RUNNING', 'SUCCEEDED', 'ABORTED', 'FAILED', 'INITIALIZING', 'WAITING_FOR_RESOURCES',
        'RETRYABLE_FAILED'])[a.phase + 1] AS phase,
    a.created_at AS queued_at, a.started_at, a.ended_at, extract(epoch FROM a.duration)::float8 AS duration_s,
    a.output_uri, wingbeat_views.error_message(a.error) AS error
FROM task_executions AS a JOIN executions AS e ON e.id = a.execution_id
UNION ALL
SELECT a.execution_id, e.project, e.domain, e.name, a.node_id, a.element, a.attempt,
    t.task_project, t.task_domain, t.task_name, t.task_version, t.task_type, NULL,
    (ARRAY['UNDEFINED', 'QUEUED', 'RUNNING', 'SUCCEEDED', 'ABORTED', 'FAILED', 'INITIALIZING', 'WAITING_FOR_RESOURCES',
        'RETRYABLE_FAILED'])[a.phase + 1],
    a.queued_at, a.started_at, a.ended_at, extract(epoch FROM a.ended_at - a.started_at)::float8,
    a.output_uri, wingbeat_views.error_message(a.error)
FROM array_elements AS a
JOIN executions AS e ON e.id = a.execution_id
LEFT JOIN task_executions AS t ON t.execution_id = a.execution_id AND t.node_id = a.node_id AND t.attempt = 0;

-- What the cache did for nodes and for elements of arrays; those that do not use it are left out.
CREATE VIEW wingbeat_views.cache_outcomes AS
SELECT n.execution_id, e.project, e.domain, e.name AS execution, n.node_id, NULL::integer AS element, n.attempt,
    n.node_name AS name, t.task_name AS task, t.task_version,
    (ARRAY['CACHE_DISABLED', 'CACHE_MISS', 'CACHE_HIT', 'CACHE_POPULATED', 'CACHE_LOOKUP_FAILURE', 'CACHE_PUT_FAILURE',
        'CACHE_SKIPPED', 'CACHE_EVICTED'])[n.cache_status + 1] AS cache_status,
    n.ended_at
FROM node_executions AS n
JOIN executions AS e ON e.id = n.execution_id
LEFT JOIN task_executions AS t ON t.execution_id = n.execution_id AND t.node_id = n.node_id AND t.attempt = n.attempt
WHERE n.cache_status <> 0
UNION ALL
SELECT a.execution_id, e.project, e.domain, e.name, a.node_id, a.element, a.attempt, n.node_name, t.task_name,
    t.task_version,
    (ARRAY['CACHE_DISABLED', 'CACHE_MISS', 'CACHE_HIT', 'CACHE_POPULATED', 'CACHE_LOOKUP_FAILURE', 'CACHE_PUT_FAILURE',
        'CACHE_SKIPPED', 'CACHE_EVICTED'])[a.cache_status + 1],
    a.ended_at
FROM array_elements AS a
JOIN executions AS e ON e.id = a.execution_id
LEFT JOIN node_executions AS n ON n.execution_id = a.execution_id AND n.node_id = a.node_id
LEFT JOIN task_executions AS t ON t.execution_id = a.execution_id AND t.node_id = a.node_id AND t.attempt = 0
WHERE a.cache_status <> 0;

-- What each attempt's task asks for, as it was registered: one row a resource.
CREATE VIEW wingbeat_views.resources AS
SELECT a.execution_id, e.project, e.domain, e.name AS execution, a.node_id, a.attempt, a.task_name AS task,
    a.task_version,
    (ARRAY['unknown', 'cpu', 'gpu', 'memory', 'storage', 'ephemeral_storage'])[r.kind + 1] AS resource,
    r.request, r.limit_
FROM task_executions AS a
JOIN executions AS e ON e.id = a.execution_id
JOIN tasks AS t ON t.project = a.task_project AND t.domain = a.task_domain AND t.name = a.task_name
    AND t.version = a.task_version
CROSS JOIN LATERAL (
    SELECT coalesce(q.kind, l.kind, 0) AS kind, q.quantity AS request, l.quantity AS limit_
    FROM wingbeat_views.container_resources(t.closure, 1) AS q
    FULL JOIN wingbeat_views.container_resources(t.closure, 2) AS l ON l.kind = q.kind
) AS r;

CREATE VIEW wingbeat_views.transitions AS
SELECT t.execution_id, e.project, e.domain, e.name AS execution, t.node_id, t.attempt,
    CASE WHEN t.node_id IS NULL
        THEN (ARRAY['UNDEFINED', 'QUEUED', 'RUNNING', 'SUCCEEDING', 'SUCCEEDED', 'FAILING', 'FAILED', 'ABORTED',
            'TIMED_OUT', 'ABORTING'])[t.phase + 1]
        ELSE (ARRAY['UNDEFINED', 'QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILING', 'FAILED', 'ABORTED', 'SKIPPED',
            'TIMED_OUT', 'DYNAMIC_RUNNING', 'RECOVERED'])[t.phase + 1]
    END AS phase,
    t.at
FROM transitions AS t JOIN executions AS e ON e.id = t.execution_id;

-- Executions whose error is like a pattern of ILIKE, by index.
CREATE FUNCTION wingbeat_views.search_errors(pattern text)
RETURNS TABLE (execution_id bigint, project text, domain text, name text, error text)
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC
    SELECT e.id, e.project, e.domain, e.name, wingbeat_views.error_message(e.error)
    FROM executions AS e
    WHERE e.error IS NOT NULL AND wingbeat_views.error_message(e.error) ILIKE pattern;
END;

-- Projects that the present connection may see. Not parallel safe: a worker has a number of its own.
CREATE FUNCTION wingbeat_project_views.seen_projects() RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT coalesce((SELECT s.projects FROM sql_scopes AS s WHERE s.pid = pg_backend_pid()), '{}');
END;

CREATE FUNCTION wingbeat_project_views.search_errors(pattern text)
RETURNS TABLE (execution_id bigint, project text, domain text, name text, error text)
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT e.id, e.project, e.domain, e.name, wingbeat_views.error_message(e.error)
    FROM executions AS e
    WHERE e.error IS NOT NULL AND wingbeat_views.error_message(e.error) ILIKE pattern
        AND e.project = ANY ((SELECT wingbeat_project_views.seen_projects())::text[]);
END;

DO $$
DECLARE
    viewed text;
BEGIN
    FOR viewed IN SELECT table_name FROM information_schema.views WHERE table_schema = 'wingbeat_views' LOOP
        EXECUTE format(
            'CREATE VIEW wingbeat_project_views.%1$I WITH (security_barrier) AS SELECT * FROM wingbeat_views.%1$I'
            ' WHERE project = ANY ((SELECT wingbeat_project_views.seen_projects())::text[])', viewed
        );
    END LOOP;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA wingbeat_views, wingbeat_project_views FROM PUBLIC;

-- Roles belong to the whole server, so another database may have made them, or be making them now. Whoever may not make
-- roles goes without: docs/sql.md says how an administrator makes them.
DO $$
DECLARE
    reader text;
BEGIN
    FOREACH reader IN ARRAY ARRAY['wingbeat_reader', 'wingbeat_project_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT CONNECTION LIMIT 64', reader);
            BEGIN
                -- No reader sees what another one asks, nor fills the disk with sorting.
                EXECUTE format('ALTER ROLE %I SET track_activities = off', reader);
                EXECUTE format('ALTER ROLE %I SET temp_file_limit = ''4GB''', reader);
            EXCEPTION
                WHEN insufficient_privilege THEN
                    NULL;
            END;
        EXCEPTION
            WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN
                NULL;
        END;
    END LOOP;
END
$$;

-- Behind barriers an index serves operators only that say nothing about rows which are then left out. `@>` of jsonb says
-- nothing; PostgreSQL has not marked it so, and only a superuser may. Without this such questions are slower there.
DO $$
BEGIN
    ALTER FUNCTION pg_catalog.jsonb_contains(jsonb, jsonb) LEAKPROOF;
EXCEPTION
    WHEN insufficient_privilege THEN
        NULL;
END
$$;

-- Run again by an administrator after making the roles: gives them what they may see, and nothing else.
CREATE FUNCTION grant_readers() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'wingbeat_reader') THEN
        GRANT USAGE ON SCHEMA wingbeat_views TO wingbeat_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA wingbeat_views TO wingbeat_reader;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA wingbeat_views TO wingbeat_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'wingbeat_project_reader') THEN
        GRANT USAGE ON SCHEMA wingbeat_project_views, wingbeat_views TO wingbeat_project_reader;
        GRANT SELECT ON ALL TABLES IN SCHEMA wingbeat_project_views TO wingbeat_project_reader;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA wingbeat_project_views TO wingbeat_project_reader;
        -- What the views compute with, called under the name of whoever asks.
        GRANT EXECUTE ON FUNCTION wingbeat_views.protobuf_fields(bytea, integer), wingbeat_views.string(bytea),
            wingbeat_views.error_message(bytea), wingbeat_views.container_resources(bytea, integer)
            TO wingbeat_project_reader;
    END IF;
END
$$;
REVOKE ALL ON FUNCTION grant_readers() FROM PUBLIC;
SELECT grant_readers();
