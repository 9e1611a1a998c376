-- expand
-- Elements of array nodes: one small row an element and attempt, written when it starts and when it ends.

CREATE TABLE array_elements (
    execution_id    bigint NOT NULL,
    node_id         text NOT NULL,                        -- of the array
    element         integer NOT NULL,
    attempt         smallint NOT NULL,
    phase           smallint NOT NULL,                    -- flyteidl.core.TaskExecution.Phase
    system_failures smallint NOT NULL,                    -- of the element so far
    cache_status    smallint NOT NULL DEFAULT 0,          -- flyteidl.core.CatalogCacheStatus
    queued_at       timestamptz NOT NULL,
    started_at      timestamptz,
    ended_at        timestamptz,
    retry_at        timestamptz,                          -- when the next attempt begins, after a pause
    outputs         bytea,                                -- LiteralMap when small
    output_uri      text,                                 -- while it runs: of the workflow that a dynamic task made
    error           bytea,
    error_uri       text,
    details         bytea,                                -- flyteidl.admin.TaskExecutionClosure: logs, reasons
    PRIMARY KEY (execution_id, node_id, element, attempt)
) WITH (fillfactor = 80);

CREATE TYPE journal_element AS (
    execution_id    bigint,
    node_id         text,
    element         integer,
    attempt         smallint,
    phase           smallint,
    system_failures smallint,
    queued_at       float8,
    started_at      float8,
    ended_at        float8,
    retry_at        float8,
    outputs         bytea,
    output_uri      text,
    details         bytea,
    error           bytea,
    error_uri       text
);
