-- expand
-- Children of launch plan nodes, for those whose node has ended without them.

CREATE INDEX executions_children ON executions (parent_execution_id)
    WHERE parent_execution_id IS NOT NULL AND ended_at IS NULL;
