-- expand
-- Batches: manifests of launches as objects of their own.
--
-- A server drives a batch while it holds the lease: every transaction of a driver locks the row, checks `term` and
-- renews the lease, so a driver that was taken for dead writes nothing more, and a pause that has committed is obeyed by
-- the next portion. Counters are those of rows that have ended and whose results are written; the others are few
-- (`alive_max`) and counted from their executions.

CREATE TABLE batches (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project      text NOT NULL,
    domain       text NOT NULL,
    name         text NOT NULL,
    content      uuid NOT NULL,                   -- what was asked for, to recognise a repeated call
    principal    text NOT NULL,
    spec         bytea NOT NULL,                  -- wingbeatidl.batch.v1.BatchSpec, with the version of its target
    uri          text NOT NULL,                   -- of the manifest
    format       smallint NOT NULL,               -- wingbeatidl.batch.v1.ManifestFormat
    key_column   text NOT NULL,
    size         bigint,                          -- bytes and digest of the manifest once it is checked
    sha256       text,
    state        smallint NOT NULL DEFAULT 1,     -- wingbeatidl.batch.v1.BatchState, never PAUSED
    paused       boolean NOT NULL DEFAULT false,
    message      text NOT NULL DEFAULT '',
    total        bigint NOT NULL DEFAULT 0,       -- rows of the manifest
    next_row     bigint NOT NULL DEFAULT 0,       -- the first that was never launched, and where it begins
    next_offset  bigint NOT NULL DEFAULT 0,
    next_line    bigint NOT NULL DEFAULT 1,
    retrying     bigint NOT NULL DEFAULT 0,       -- rows to be launched again
    succeeded    bigint NOT NULL DEFAULT 0,
    failed       bigint NOT NULL DEFAULT 0,
    timed_out    bigint NOT NULL DEFAULT 0,
    aborted      bigint NOT NULL DEFAULT 0,
    refused      bigint NOT NULL DEFAULT 0,
    parts        integer NOT NULL DEFAULT 0,
    results      bigint NOT NULL DEFAULT 0,
    term         bigint NOT NULL DEFAULT 0,       -- grows with each driver
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    UNIQUE (project, domain, name)
);
CREATE INDEX batches_under_way ON batches (leased_until) WHERE ended_at IS NULL;

-- Rows that were launched or refused.
CREATE TABLE batch_rows (
    batch_id     bigint NOT NULL,
    row          bigint NOT NULL,                 -- number in the manifest, from 0
    attempt      smallint NOT NULL DEFAULT 0,
    phase        smallint NOT NULL,               -- wingbeatidl.batch.v1.RowPhase; QUEUED: launched, see the execution
    written      boolean NOT NULL DEFAULT false,  -- the result of this attempt is in a part
    key          text NOT NULL,
    file_offset  bigint NOT NULL,                 -- where it begins in the manifest
    line         bigint NOT NULL,
    execution_id bigint,
    name         text,                            -- of the execution
    error        text,
    ended_at     timestamptz,
    PRIMARY KEY (batch_id, row)
);
CREATE INDEX batch_rows_phase ON batch_rows (batch_id, phase, row);
CREATE INDEX batch_rows_unwritten ON batch_rows (batch_id, row) WHERE NOT written AND phase = 8;

-- Parts of the results, in the blob store.
CREATE TABLE batch_parts (
    batch_id bigint NOT NULL,
    number   integer NOT NULL,
    uri      text NOT NULL,
    results  bigint NOT NULL,
    PRIMARY KEY (batch_id, number)
);
