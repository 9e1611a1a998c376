-- expand
-- The engine's intake looks tenant by tenant for executions that may begin: new ones, and those that the line of their
-- launch plan has let go. Conditions are those of the block new_executions, word for word.

-- Another execution waits for this one: it was made by a launch plan node or an eager task.
ALTER TABLE executions ADD COLUMN awaited boolean NOT NULL DEFAULT false;

CREATE INDEX executions_to_begin ON executions (project, domain, shard, id)
    WHERE (phase = 0 OR phase = 1 AND NOT waiting) AND NOT awaited;
CREATE INDEX executions_awaited ON executions (shard, id)
    WHERE (phase = 0 OR phase = 1 AND NOT waiting) AND awaited;

-- Made by 0005 for the same, before there were lines; nothing has used it.
DROP INDEX executions_new_by_tenant;
