-- expand
-- How far OpenLineage events of the log of transitions were delivered.

CREATE TABLE openlineage_cursor (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cursor     text NOT NULL,                              -- as watch streams have them
    updated_at timestamptz NOT NULL DEFAULT now()
);
