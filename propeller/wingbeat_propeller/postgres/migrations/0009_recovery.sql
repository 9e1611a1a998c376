-- expand
-- Pauses before attempts, and executions that go on from what another one has done.

-- The releases before this one neither pause nor recover: they leave these columns as they are.
ALTER TABLE node_executions
    ADD COLUMN retry_at  timestamptz,                      -- when the next attempt may begin; NULL: it is under way
    ADD COLUMN inherited text;                             -- what a node that runs again takes over, by its kind

ALTER TABLE executions
    ADD COLUMN recovery bytea;                             -- wingbeatidl.recovery.v1.Recovery; NULL: it recovers nothing

CREATE TYPE journal_node_3 AS (
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
    details            bytea,                             -- flyteidl.event.NodeExecutionEvent: only target metadata
    memo               bytea,
    retry_at           float8,
    cache_status       smallint,
    inherited          text,
    error              bytea,
    error_uri          text
);
