-- expand
-- How long executions are kept, and those that are on their way out.

-- Overrides of the installation's settings. Domain '' is the whole project; what a row leaves NULL, the next wider one
-- says. 0: for ever.
CREATE TABLE retention_policies (
    project         text NOT NULL,
    domain          text NOT NULL DEFAULT '',
    executions_days integer CHECK (executions_days >= 0),
    cache_days      integer CHECK (cache_days >= 0),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, domain)
);

-- Executions whose row is gone and whose other rows (and blobs and logs, when they are erased) are still to follow.
-- Written by the transaction that deletes the row, deleted when nothing is left, so whoever dies in between, the next one
-- goes on.
CREATE TABLE retired_executions (
    execution_id bigint PRIMARY KEY,
    project      text NOT NULL,
    domain       text NOT NULL,
    name         text NOT NULL,
    created_at   timestamptz NOT NULL,
    ended_at     timestamptz NOT NULL,
    config       bytea NOT NULL,                         -- of the execution: says where its raw data lies
    erased       boolean NOT NULL,                       -- blobs, logs, cache entries and artifacts go too
    retired_at   timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Rows come and go in bulk, so tables are vacuumed early, and space is used again
-- instead of growing.
ALTER TABLE executions SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
ALTER TABLE execution_tags SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
ALTER TABLE execution_search SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
ALTER TABLE node_executions SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
ALTER TABLE task_executions SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
ALTER TABLE array_elements SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
