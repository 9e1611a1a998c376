-- expand
-- Time travel: the log of transitions by node, and how far back it reaches.

-- Holds up the log's writers while it is built (seconds for ten million rows); they wait and lose nothing. It answers
-- all that the block range index did.
CREATE INDEX transitions_node ON transitions (execution_id, node_id, seq DESC);
DROP INDEX transitions_execution;

-- One row. Before `kept_since` the log holds no more than the last transition of each node of executions that had not
-- ended by then; NULL: nothing was ever dropped.
CREATE TABLE transitions_retention (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    kept_since timestamptz
);
INSERT INTO transitions_retention DEFAULT VALUES;

-- Where the process answers questions about what it drives, as gRPC names addresses; empty: nowhere.
ALTER TABLE propellers ADD COLUMN address text NOT NULL DEFAULT '';
