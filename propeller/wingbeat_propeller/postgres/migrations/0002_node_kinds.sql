-- expand
-- Nodes of every kind: what a kind must know again after a restart, and metadata of the target for readers.

ALTER TABLE node_executions ADD COLUMN memo bytea;         -- the engine's own, in the form of the node's kind

CREATE TYPE journal_node_2 AS (
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
    error              bytea,
    error_uri          text
);
