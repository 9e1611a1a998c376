-- expand
-- Which elements of maps took their outputs from where: the cache keeps outputs of elements one by one, and those of one
-- map may come from several.

-- Runs of elements, `first`, `first` + 1 ..., whose outputs are those of `source_first`, `source_first` + 1 ... The nodes
-- as such stand in lineage_edges.
CREATE TABLE lineage_elements (
    execution_id        bigint NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    node_id             text NOT NULL,
    first               integer NOT NULL,        -- -1: the node is no map
    count               integer NOT NULL,
    source_execution_id bigint NOT NULL,         -- which may be pruned while this one is still there
    source_node_id      text NOT NULL,
    source_first        integer NOT NULL,        -- -1: the source is no map
    PRIMARY KEY (execution_id, node_id, first)
);

-- Elements of maps become artifacts some at a time: so far all below this one.
ALTER TABLE artifact_outbox ADD COLUMN next_element integer NOT NULL DEFAULT 0;

CREATE TYPE journal_lineage_2 AS (
    kind                smallint,
    execution_id        bigint,
    node_id             text,
    attempt             smallint,
    var                 text,
    token               text,
    source_execution_id bigint,
    source_node_id      text,
    first               integer,
    run_length          integer,
    source_first        integer
);
