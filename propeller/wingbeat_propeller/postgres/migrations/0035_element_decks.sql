-- expand
-- What an attempt of an element leaves beside its outputs. Releases before this one leave both columns empty, and keep
-- the address of futures.pb in output_uri while the workflow in it runs.

ALTER TABLE array_elements
    ADD COLUMN deck_uri text,                               -- empty: there is none any more
    ADD COLUMN futures_uri text;                            -- of an attempt that made a workflow

CREATE TYPE journal_element_3 AS (
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
    deck_uri        text,
    futures_uri     text,
    details         bytea,
    cache_status    smallint,
    error           bytea,
    error_uri       text
);
