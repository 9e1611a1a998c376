-- expand
-- Artifacts: named, versioned, partitioned values; who made them and which executions took them as inputs.

CREATE TABLE artifacts (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project           text NOT NULL,
    domain            text NOT NULL,
    name              text NOT NULL,
    version           text NOT NULL,
    partitions        jsonb NOT NULL DEFAULT '{}',         -- text by key
    time_partition    timestamptz,                         -- cut to its granularity
    granularity       smallint NOT NULL DEFAULT 0,         -- flyteidl.core.Granularity
    spec              bytea NOT NULL,                      -- flyteidl.artifact.ArtifactSpec; no value when value_uri is set
    value_uri         text,                                -- LiteralMap in which the value stands as `var`
    -- Who made it. The execution may be pruned later, so it is named.
    execution_project text NOT NULL DEFAULT '',
    execution_domain  text NOT NULL DEFAULT '',
    execution_name    text NOT NULL DEFAULT '',            -- empty: it was uploaded
    node_id           text NOT NULL DEFAULT '',            -- empty: the output of an execution
    attempt           integer NOT NULL DEFAULT 0,
    var               text NOT NULL DEFAULT '',
    entity            bytea NOT NULL DEFAULT '',           -- flyteidl.core.Identifier of the task or workflow
    principal         text NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (project, domain, name, version)
);
CREATE INDEX artifacts_newest ON artifacts (project, domain, name, id);
CREATE INDEX artifacts_partitions ON artifacts USING gin (partitions jsonb_path_ops);
CREATE INDEX artifacts_execution ON artifacts (execution_project, execution_domain, execution_name, node_id)
    WHERE execution_name <> '';

-- Aliases: each names one version of an artifact, and moves.
CREATE TABLE artifact_tags (
    project     text NOT NULL,
    domain      text NOT NULL,
    name        text NOT NULL,
    value       text NOT NULL,
    artifact_id bigint NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, domain, name, value)
);
CREATE INDEX artifact_tags_artifact ON artifact_tags (artifact_id);

-- Executions that have an artifact as an input; `var` is empty where nobody said which.
CREATE TABLE artifact_uses (
    artifact_id  bigint NOT NULL REFERENCES artifacts (id) ON DELETE CASCADE,
    execution_id bigint NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    var          text NOT NULL DEFAULT '',
    PRIMARY KEY (execution_id, artifact_id, var)
);
CREATE INDEX artifact_uses_artifact ON artifact_uses (artifact_id, execution_id);

-- Outputs that are to become artifacts: written by the commit that records the success, deleted by the one that records
-- the artifact.
CREATE TABLE artifact_outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution_id bigint NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    node_id      text NOT NULL,                            -- empty: outputs of the execution
    attempt      smallint NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    retry_at     timestamptz,                              -- after a failure that may pass
    tries        integer NOT NULL DEFAULT 0
);
CREATE INDEX artifact_outbox_execution ON artifact_outbox (execution_id);

-- Outputs that could not become artifacts, and why; for people.
CREATE TABLE artifact_failures (
    execution_id bigint NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
    node_id      text NOT NULL,
    var          text NOT NULL,
    reason       text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, node_id, var)
);

-- Tasks and workflows that make an artifact, launch plans that ask for one.
CREATE TABLE artifact_entities (
    is_consumer   boolean NOT NULL,
    resource_type smallint NOT NULL,                       -- flyteidl.core.ResourceType
    project       text NOT NULL,
    domain        text NOT NULL,
    name          text NOT NULL,
    version       text NOT NULL,
    var           text NOT NULL,
    artifact_name text NOT NULL,
    artifact      bytea NOT NULL,                          -- flyteidl.core.ArtifactID or ArtifactQuery
    PRIMARY KEY (project, domain, name, version, resource_type, is_consumer, var)
);
CREATE INDEX artifact_entities_name ON artifact_entities (artifact_name);
