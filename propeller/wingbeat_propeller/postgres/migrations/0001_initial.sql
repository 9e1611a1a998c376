-- expand
-- Registry, executions and the engine's bookkeeping. Phases are the numbers of FlyteIDL's enums.

CREATE TABLE projects (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identifier  text NOT NULL UNIQUE,
    name        text NOT NULL,
    description text NOT NULL DEFAULT '',
    labels      bytea NOT NULL DEFAULT '',          -- flyteidl.admin.Labels
    state       smallint NOT NULL DEFAULT 0,        -- flyteidl.admin.Project.ProjectState
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tasks (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project           text NOT NULL,
    domain            text NOT NULL,
    name              text NOT NULL,
    version           text NOT NULL,
    digest            bytea NOT NULL,
    type              text NOT NULL,
    short_description text NOT NULL DEFAULT '',
    closure           bytea NOT NULL,               -- flyteidl.admin.TaskClosure
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project, domain, name, version)
);
CREATE INDEX tasks_created_at ON tasks (project, domain, created_at);

CREATE TABLE workflows (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project           text NOT NULL,
    domain            text NOT NULL,
    name              text NOT NULL,
    version           text NOT NULL,
    digest            bytea NOT NULL,
    short_description text NOT NULL DEFAULT '',
    typed_interface   bytea NOT NULL,               -- flyteidl.core.TypedInterface, for lists
    closure           bytea NOT NULL,               -- flyteidl.core.CompiledWorkflowClosure
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project, domain, name, version)
);
CREATE INDEX workflows_created_at ON workflows (project, domain, created_at);

CREATE TABLE launch_plans (
    id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project               text NOT NULL,
    domain                text NOT NULL,
    name                  text NOT NULL,
    version               text NOT NULL,
    workflow_id           bigint NOT NULL REFERENCES workflows (id),
    digest                bytea NOT NULL,
    state                 smallint NOT NULL DEFAULT 0,   -- flyteidl.admin.LaunchPlanState
    schedule_type         text NOT NULL DEFAULT 'NONE',  -- NONE, CRON, RATE
    launch_condition_type text NOT NULL DEFAULT 'NONE',
    spec                  bytea NOT NULL,                -- flyteidl.admin.LaunchPlanSpec, completed
    closure               bytea NOT NULL,                -- flyteidl.admin.LaunchPlanClosure without state and times
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project, domain, name, version)
);
CREATE INDEX launch_plans_created_at ON launch_plans (project, domain, created_at);
CREATE UNIQUE INDEX launch_plans_active ON launch_plans (project, domain, name) WHERE state = 1;

-- One row for each name that has a registered version; made with the first version.
CREATE TABLE named_entities (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resource_type smallint NOT NULL,                     -- flyteidl.core.ResourceType
    project       text NOT NULL,
    domain        text NOT NULL,
    name          text NOT NULL,
    description   text NOT NULL DEFAULT '',
    state         smallint NOT NULL DEFAULT 0,           -- flyteidl.admin.NamedEntityState
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (resource_type, project, domain, name)
);

CREATE TABLE description_entities (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resource_type     smallint NOT NULL,
    project           text NOT NULL,
    domain            text NOT NULL,
    name              text NOT NULL,
    version           text NOT NULL,
    short_description text NOT NULL DEFAULT '',
    body              bytea NOT NULL,                    -- flyteidl.admin.DescriptionEntity
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (resource_type, project, domain, name, version)
);

-- The API inserts a row with phase 0 (UNDEFINED) and later writes only the abort_*, state* columns (and phase
-- ABORTING); every other column is the engine's. Engine updates never turn ABORTING into a phase that is not final.
CREATE TABLE executions (
    id                       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project                  text NOT NULL,
    domain                   text NOT NULL,
    name                     text NOT NULL,
    shard                    smallint NOT NULL,           -- core.ids.shard_of(project, domain, name)
    launch_entity            text NOT NULL,               -- 'launch_plan' or 'task'
    launch_plan_id           bigint REFERENCES launch_plans (id),
    workflow_id              bigint NOT NULL REFERENCES workflows (id),
    task_id                  bigint REFERENCES tasks (id),
    spec                     bytea NOT NULL,              -- flyteidl.admin.ExecutionSpec as GetExecution shows it, no inputs
    config                   bytea NOT NULL,              -- flyteidl.admin.WorkflowExecutionConfig: the effective settings
    notifications            bytea NOT NULL DEFAULT '',   -- flyteidl.admin.NotificationList, resolved
    inputs                   bytea,                       -- flyteidl.core.LiteralMap: supplied, defaults and fixed
    inputs_uri               text,                        -- instead of inputs when they are large
    user_inputs              bytea,                       -- what the caller gave
    user_inputs_uri          text,
    mode                     smallint NOT NULL DEFAULT 0, -- flyteidl.admin.ExecutionMetadata.ExecutionMode
    principal                text NOT NULL DEFAULT '',
    cluster                  text NOT NULL DEFAULT '',
    source_execution_id      bigint,
    parent_execution_id      bigint,                      -- with parent_node_id: the launch plan node that made it
    parent_node_id           text,
    state                    smallint NOT NULL DEFAULT 0, -- flyteidl.admin.ExecutionState (archived)
    state_changed_at         timestamptz,
    state_principal          text NOT NULL DEFAULT '',
    abort_requested_at       timestamptz,
    abort_cause              text,
    abort_principal          text,
    phase                    smallint NOT NULL DEFAULT 0, -- flyteidl.core.WorkflowExecution.Phase
    created_at               timestamptz NOT NULL DEFAULT now(),
    started_at               timestamptz,
    ended_at                 timestamptz,
    updated_at               timestamptz NOT NULL DEFAULT now(),
    duration                 interval GENERATED ALWAYS AS (ended_at - started_at) STORED,
    outputs                  bytea,                       -- flyteidl.core.LiteralMap when small
    outputs_uri              text,
    error                    bytea,                       -- flyteidl.core.ExecutionError
    error_uri                text,                        -- set when error.message is cut: a blob with the whole ExecutionError
    error_kind               smallint,
    error_code               text,
    UNIQUE (project, domain, name)
) WITH (fillfactor = 70);
CREATE INDEX executions_created_at ON executions (project, domain, created_at);
CREATE INDEX executions_launch_plan ON executions (launch_plan_id, id);
CREATE INDEX executions_launch_plan_live ON executions (launch_plan_id) WHERE ended_at IS NULL;
CREATE INDEX executions_workflow ON executions (workflow_id, id);
-- The engine's intake: executions not yet begun, begun and not ended, and those to be aborted, by shard.
CREATE INDEX executions_new ON executions (shard, id) WHERE phase = 0;
CREATE INDEX executions_live ON executions (shard, id) WHERE ended_at IS NULL;
CREATE INDEX executions_aborting ON executions (shard) WHERE abort_requested_at IS NOT NULL AND ended_at IS NULL;

-- Tags (key with an empty value) and labels (key, value) of an execution, for search.
CREATE TABLE execution_tags (
    execution_id bigint NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    key          text NOT NULL,
    value        text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, key, value)
);
CREATE INDEX execution_tags_key ON execution_tags (key, value);

-- Written by the engine alone. No index on a changing column: updates stay heap-only.
CREATE TABLE node_executions (
    execution_id    bigint NOT NULL,
    node_id         text NOT NULL,                        -- unique node id (core.ids.unique_node_id)
    seq             integer NOT NULL,                     -- order in which the engine met the node
    spec_node_id    text NOT NULL,                        -- id in the compiled workflow it belongs to
    parent_id       text,                                 -- unique id of the parent node
    parent_attempt  smallint,
    node_name       text NOT NULL DEFAULT '',
    kind            smallint NOT NULL,                    -- core.plan.NodeKind
    flags           smallint NOT NULL DEFAULT 0,          -- 1 is_parent, 2 is_dynamic, 4 is_array
    phase           smallint NOT NULL,                    -- flyteidl.core.NodeExecution.Phase
    attempt         smallint NOT NULL DEFAULT 0,
    system_failures smallint NOT NULL DEFAULT 0,
    cache_status    smallint NOT NULL DEFAULT 0,          -- flyteidl.core.CatalogCacheStatus
    created_at      timestamptz NOT NULL,
    started_at      timestamptz,
    attempt_started_at timestamptz,
    ended_at        timestamptz,
    updated_at      timestamptz NOT NULL,
    duration        interval GENERATED ALWAYS AS (ended_at - started_at) STORED,
    inputs          bytea,                                -- LiteralMap when small
    input_uri       text,
    outputs         bytea,                                -- LiteralMap when small
    output_uri      text,
    deck_uri        text,
    error           bytea,
    error_uri       text,
    details         bytea,                                -- flyteidl.event.NodeExecutionEvent: only target metadata
    PRIMARY KEY (execution_id, node_id)
) WITH (fillfactor = 60);

CREATE TABLE task_executions (
    execution_id  bigint NOT NULL,
    node_id       text NOT NULL,
    attempt       smallint NOT NULL,
    task_project  text NOT NULL,
    task_domain   text NOT NULL,
    task_name     text NOT NULL,
    task_version  text NOT NULL,
    task_type     text NOT NULL,
    name          text NOT NULL,                          -- generated name: what containers and clients know it by
    phase         smallint NOT NULL,                      -- flyteidl.core.TaskExecution.Phase
    phase_version integer NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    ended_at      timestamptz,
    updated_at    timestamptz NOT NULL,
    duration      interval GENERATED ALWAYS AS (ended_at - started_at) STORED,
    input_uri     text,
    output_uri    text,
    error         bytea,
    error_uri     text,
    details       bytea,                                  -- flyteidl.admin.TaskExecutionClosure: logs, reasons, custom_info, metadata
    PRIMARY KEY (execution_id, node_id, attempt)
) WITH (fillfactor = 60);

-- Append-only log of progress. Readers page by (txid, seq) and stop below pg_snapshot_xmin(pg_current_snapshot()),
-- so a transaction that commits late is never skipped.
CREATE TABLE transitions (
    seq          bigint GENERATED ALWAYS AS IDENTITY,
    txid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    execution_id bigint NOT NULL,
    node_id      text,                                    -- NULL: the execution itself
    attempt      smallint NOT NULL DEFAULT 0,
    phase        smallint NOT NULL,
    at           timestamptz NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX transitions_execution ON transitions USING brin (execution_id);
CREATE TABLE transitions_default PARTITION OF transitions DEFAULT;

CREATE TABLE signals (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution_project text NOT NULL,
    execution_domain  text NOT NULL,
    execution_name    text NOT NULL,
    signal_id    text NOT NULL,
    type         bytea NOT NULL,                          -- flyteidl.core.LiteralType
    value        bytea,                                   -- flyteidl.core.Literal
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (execution_project, execution_domain, execution_name, signal_id)
);

-- One row a live engine process. Whoever takes its shards away after its lease ended deletes the row first, and its
-- lanes with it; since every commit updates the row of its lane, a writer that lost its lease can commit nothing more.
CREATE TABLE propellers (
    term             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name             text NOT NULL,
    lease_expires_at timestamptz NOT NULL,
    joined_at        timestamptz NOT NULL DEFAULT now()
);

-- One row a stream of commits of an engine process: the number of its last batch, so that repeating a batch whose
-- answer was lost writes nothing twice.
CREATE TABLE journal_lanes (
    term  bigint NOT NULL REFERENCES propellers (term) ON DELETE CASCADE,
    lane  smallint NOT NULL,
    batch bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (term, lane)
) WITH (fillfactor = 20);

-- Rows as the engine sends them, in arrays, with times in seconds since the epoch. One array of records costs half of
-- one array a column. A type is never altered, since both releases of an upgrade send it: a new field is a new type.
CREATE TYPE journal_execution AS (
    id          bigint,
    phase       smallint,
    updated_at  float8,
    started_at  float8,
    ended_at    float8,
    outputs     bytea,
    outputs_uri text,
    error       bytea,
    error_uri   text,
    error_kind  smallint,
    error_code  text
);

CREATE TYPE journal_node AS (
    execution_id       bigint,
    node_id            text,
    seq                integer,
    spec_node_id       text,
    parent_id          text,
    parent_attempt     smallint,
    node_name          text,
    kind               smallint,
    flags              smallint,
    phase              smallint,
    attempt            smallint,
    system_failures    smallint,
    created_at         float8,
    updated_at         float8,
    started_at         float8,
    attempt_started_at float8,
    ended_at           float8,
    inputs             bytea,
    input_uri          text,
    outputs            bytea,
    output_uri         text,
    deck_uri           text,
    error              bytea,
    error_uri          text
);

CREATE TYPE journal_task AS (
    execution_id  bigint,
    node_id       text,
    attempt       smallint,
    task_project  text,
    task_domain   text,
    task_name     text,
    task_version  text,
    task_type     text,
    name          text,
    phase         smallint,
    phase_version integer,
    created_at    float8,
    updated_at    float8,
    started_at    float8,
    ended_at      float8,
    input_uri     text,
    output_uri    text,
    details       bytea,
    error         bytea,
    error_uri     text
);

CREATE TYPE journal_transition AS (
    execution_id bigint,
    node_id      text,
    attempt      smallint,
    phase        smallint,
    at           float8
);

CREATE TABLE shards (
    shard smallint PRIMARY KEY,
    term  bigint REFERENCES propellers (term) ON DELETE SET NULL
);
INSERT INTO shards (shard) SELECT generate_series(0, 255);

INSERT INTO projects (identifier, name, description) VALUES ('flytesnacks', 'flytesnacks', 'flytesnacks description');
