-- expand
-- Launching many executions at a time: priorities, the places of executions in batches, and idempotency keys.

ALTER TABLE executions
    ADD COLUMN priority      smallint NOT NULL DEFAULT 0, -- of those that have not begun the highest begins first
    ADD COLUMN batch_id      bigint,                      -- batches.id, with the number of the row in its manifest
    ADD COLUMN batch_row     bigint,
    ADD COLUMN batch_attempt smallint;                    -- how often the row had been retried

-- The engine's intake, as in 0010, by priority now. An engine of the release before reads and sorts all of a tenant's
-- new executions of a shard at each look until it is replaced.
CREATE INDEX executions_to_begin_by_priority ON executions (project, domain, shard, (-priority), id)
    WHERE (phase = 0 OR phase = 1 AND NOT waiting) AND NOT awaited;
DROP INDEX executions_to_begin;

-- Keys that launches were asked for with: SHA-256, cut to 16 bytes, of project, domain and key, and of what was to be
-- launched. The execution has the name, in that project and domain. Inserted with the execution, kept for a week or
-- longer, then deleted.
CREATE TABLE launch_keys (
    key        uuid PRIMARY KEY,
    content    uuid NOT NULL,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX launch_keys_created_at ON launch_keys USING brin (created_at) WITH (pages_per_range = 16);
