-- expand
-- Lineage across executions. Within one execution the plan of its workflow and the rows of its nodes tell what was made
-- from what, and executions.parent_execution_id ties a child to its node; what neither tells stands here.

-- What values are known by outside of their execution: `uri:` and the URI of a blob that they refer to, `hash:` and the
-- hash that they carry.
CREATE TABLE lineage_values (
    execution_id bigint NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    node_id      text NOT NULL,                  -- that made the value; empty: it was given to the execution as an input
    var          text NOT NULL,
    token        text NOT NULL
);
CREATE INDEX lineage_values_execution ON lineage_values (execution_id, node_id);
CREATE INDEX lineage_values_token ON lineage_values USING hash (token);

-- Nodes that ended with the outputs of a node of another execution.
CREATE TABLE lineage_edges (
    execution_id        bigint NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    node_id             text NOT NULL,
    kind                smallint NOT NULL,       -- core.rows.LineageKind: CACHED or RECOVERED
    source_execution_id bigint NOT NULL,         -- which may be pruned while this one is still there
    source_node_id      text NOT NULL,
    PRIMARY KEY (execution_id, node_id, source_execution_id, source_node_id)
);
CREATE INDEX lineage_edges_source ON lineage_edges (source_execution_id, source_node_id);

-- Children of a node, whether they have ended or not.
CREATE INDEX executions_parent ON executions (parent_execution_id, parent_node_id)
    WHERE parent_execution_id IS NOT NULL;

CREATE TYPE journal_lineage AS (
    kind                smallint,
    execution_id        bigint,
    node_id             text,
    attempt             smallint,
    var                 text,
    token               text,
    source_execution_id bigint,
    source_node_id      text
);
