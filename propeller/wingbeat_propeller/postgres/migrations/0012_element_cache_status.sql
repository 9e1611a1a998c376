-- expand
-- What the cache said of each attempt of an element. The column is there since 0007; the releases before this one
-- leave it 0, which says that the cache was not asked.

CREATE TYPE journal_element_2 AS (
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
    cache_status    smallint,
    error           bytea,
    error_uri       text
);
