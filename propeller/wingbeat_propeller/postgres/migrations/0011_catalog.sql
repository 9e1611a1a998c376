-- expand
-- The catalog: outputs of tasks by what made them, and who is making them. Nothing of it is read by older releases.

-- A task, its cache version and its interface (or whatever a foreign client says).
CREATE TABLE cache_datasets (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest         bytea NOT NULL UNIQUE,                  -- keys.DatasetName.digest
    uuid           uuid NOT NULL DEFAULT gen_random_uuid(),
    project        text NOT NULL,
    domain         text NOT NULL,
    name           text NOT NULL,
    version        text NOT NULL,
    org            text NOT NULL DEFAULT '',
    partition_keys text[] NOT NULL DEFAULT '{}',
    metadata       bytea NOT NULL DEFAULT '',              -- datacatalog.Metadata
    cache_version  text,                                   -- NULL: made by a foreign client
    interface      bytea,                                  -- flyteidl.core.TypedInterface, stripped; NULL likewise
    created_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX cache_datasets_name ON cache_datasets (project, domain, name);
CREATE INDEX cache_datasets_created_at ON cache_datasets (created_at, id);

-- Outputs of one call.
CREATE TABLE cache_artifacts (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset_id       bigint NOT NULL REFERENCES cache_datasets (id) ON DELETE CASCADE,
    artifact_id      text NOT NULL,
    data             bytea,                                -- flyteidl.core.LiteralMap: data by name
    data_uri         text,                                 -- instead of data when it is large
    data_digest      bytea NOT NULL,                       -- outputs.digest: an entry that does not match is refused
    has_references   boolean NOT NULL,                     -- values lie outside, in files
    interface_digest bytea,                                -- the data fits it; NULL: compare when it is read
    inputs           bytea,                                -- flyteidl.core.LiteralMap: what the key was made of
    ignored_inputs   text[],
    task_version     text NOT NULL DEFAULT '',
    source_project   text NOT NULL DEFAULT '',
    source_domain    text NOT NULL DEFAULT '',
    source_execution text NOT NULL DEFAULT '',
    source_node      text NOT NULL DEFAULT '',
    source_attempt   integer NOT NULL DEFAULT 0,
    source_element   integer NOT NULL DEFAULT -1,
    metadata         bytea NOT NULL DEFAULT '',            -- datacatalog.Metadata; empty: the columns before say all
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CHECK ((data IS NULL) <> (data_uri IS NULL)),
    UNIQUE (artifact_id, dataset_id)
);
CREATE INDEX cache_artifacts_created_at ON cache_artifacts (dataset_id, created_at, id);
CREATE INDEX cache_artifacts_source ON cache_artifacts (source_execution, source_project, source_domain);

-- Names of outputs; what is looked up. An artifact may have several.
CREATE TABLE cache_tags (
    key        bytea PRIMARY KEY,                          -- keys.tag_key: of the dataset's digest and the name
    artifact   bigint NOT NULL REFERENCES cache_artifacts (id) ON DELETE CASCADE,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX cache_tags_artifact ON cache_tags (artifact);

CREATE TABLE cache_partitions (
    artifact bigint NOT NULL REFERENCES cache_artifacts (id) ON DELETE CASCADE,
    key      text NOT NULL,
    value    text NOT NULL,
    PRIMARY KEY (artifact, key)
);

-- Who may make an entry now. No index on what changes: extensions stay heap-only.
CREATE TABLE cache_reservations (
    key         bytea PRIMARY KEY,                         -- of the tag, or of a key of CacheService
    owner       text NOT NULL,
    heartbeat   interval NOT NULL,
    expires_at  timestamptz NOT NULL,
    acquired_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- Outputs of CacheService, whose keys are its clients' own.
CREATE TABLE cache_outputs (
    key         text PRIMARY KEY,
    output      bytea,                                     -- flyteidl.cacheservice.CachedOutput without times
    output_uri  text,                                      -- instead of output when it is large
    output_digest bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((output IS NULL) <> (output_uri IS NULL))
);

CREATE TYPE cache_dataset AS (
    digest        bytea,
    project       text,
    domain        text,
    name          text,
    version       text,
    cache_version text,
    interface     bytea,
    metadata      bytea
);

CREATE TYPE cache_entry AS (
    dataset          bytea,                                -- digest
    exact_key        bytea,
    exact_tag        text,
    canonical_key    bytea,
    canonical_tag    text,
    overwrite        boolean,
    artifact_id      text,
    data             bytea,
    data_uri         text,
    data_digest      bytea,
    has_references   boolean,
    interface_digest bytea,
    inputs           bytea,
    ignored_inputs   text[],
    task_version     text,
    source_project   text,
    source_domain    text,
    source_execution text,
    source_node      text,
    source_attempt   integer,
    source_element   integer
);

-- Keep entries: the first of each key stays unless a later one overwrites it, which keeps its artifact_id. Returns the
-- artifact that each place of the array leads to now. A function, since each statement sees what was committed before
-- it began, so of two writers the later one finds what the earlier one wrote.
CREATE FUNCTION cache_put(in_datasets cache_dataset[], in_entries cache_entry[])
RETURNS TABLE (place bigint, artifact_id text, tag text) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO cache_datasets AS d (digest, project, domain, name, version, cache_version, interface, metadata)
    SELECT n.digest, n.project, n.domain, n.name, n.version, n.cache_version, n.interface, n.metadata
    FROM unnest(in_datasets) AS n
    WHERE NOT EXISTS (SELECT FROM cache_datasets AS k WHERE k.digest = n.digest)
    ORDER BY n.digest
    ON CONFLICT DO NOTHING;

    IF (SELECT bool_or(e.overwrite) FROM unnest(in_entries) AS e) THEN
        -- Locked in one order, so that two batches do not wait for each other in a ring.
        PERFORM FROM cache_artifacts AS a
        WHERE a.id IN (
            SELECT t.artifact FROM unnest(in_entries) AS e
            JOIN cache_tags AS t ON t.key IN (e.exact_key, e.canonical_key)
            WHERE e.overwrite
        )
        ORDER BY a.id
        FOR UPDATE;
        WITH new AS (
            SELECT DISTINCT ON (t.artifact) t.artifact, e.*
            FROM unnest(in_entries) WITH ORDINALITY AS e
            JOIN cache_tags AS t ON t.key IN (e.exact_key, e.canonical_key)
            WHERE e.overwrite
            ORDER BY t.artifact, e.ordinality DESC
        )
        UPDATE cache_artifacts AS a SET
            data = n.data,
            data_uri = n.data_uri,
            -- The digest covers the artifact's id, which stays: see outputs.digest.
            data_digest = sha256(n.data_digest || convert_to(a.artifact_id, 'UTF8')),
            has_references = n.has_references,
            interface_digest = n.interface_digest,
            inputs = n.inputs,
            ignored_inputs = n.ignored_inputs,
            task_version = n.task_version,
            source_project = n.source_project,
            source_domain = n.source_domain,
            source_execution = n.source_execution,
            source_node = n.source_node,
            source_attempt = n.source_attempt,
            source_element = n.source_element,
            metadata = '',
            updated_at = now()
        FROM new AS n WHERE a.id = n.artifact;
    END IF;

    WITH fresh AS (
        SELECT DISTINCT ON (e.canonical_key) d.id AS dataset_id, e.*
        FROM unnest(in_entries) WITH ORDINALITY AS e
        JOIN cache_datasets AS d ON d.digest = e.dataset
        WHERE NOT EXISTS (SELECT FROM cache_tags AS t WHERE t.key IN (e.exact_key, e.canonical_key))
        ORDER BY e.canonical_key, CASE WHEN e.overwrite THEN -e.ordinality ELSE e.ordinality END
    ), kept AS (
        INSERT INTO cache_artifacts AS a (
            dataset_id, artifact_id, data, data_uri, data_digest, has_references, interface_digest, inputs,
            ignored_inputs, task_version, source_project, source_domain, source_execution, source_node, source_attempt,
            source_element
        )
        SELECT
            f.dataset_id, f.artifact_id, f.data, f.data_uri,
            sha256(f.data_digest || convert_to(f.artifact_id, 'UTF8')), f.has_references, f.interface_digest, f.inputs,
            f.ignored_inputs, f.task_version, f.source_project, f.source_domain, f.source_execution, f.source_node,
            f.source_attempt, f.source_element
        FROM fresh AS f
        RETURNING a.id, a.artifact_id
    )
    INSERT INTO cache_tags AS t (key, artifact, name)
    SELECT f.canonical_key, k.id, f.canonical_tag
    FROM fresh AS f
    JOIN kept AS k ON k.artifact_id = f.artifact_id
    ORDER BY f.canonical_key
    ON CONFLICT DO NOTHING;

    -- Another writer was faster at the tag, after we had looked.
    DELETE FROM cache_artifacts AS a
    USING unnest(in_entries) AS e
    JOIN cache_datasets AS d ON d.digest = e.dataset
    WHERE a.dataset_id = d.id AND a.artifact_id = e.artifact_id
        AND NOT EXISTS (SELECT FROM cache_tags AS t WHERE t.artifact = a.id);

    INSERT INTO cache_tags AS t (key, artifact, name)
    SELECT e.exact_key, a.id, e.exact_tag
    FROM unnest(in_entries) AS e
    JOIN cache_datasets AS d ON d.digest = e.dataset
    JOIN cache_artifacts AS a ON a.dataset_id = d.id AND a.artifact_id = e.artifact_id
    WHERE e.exact_key <> e.canonical_key
    ORDER BY e.exact_key
    ON CONFLICT DO NOTHING;

    RETURN QUERY
    SELECT e.ordinality, found.artifact_id, found.name
    FROM unnest(in_entries) WITH ORDINALITY AS e
    CROSS JOIN LATERAL (
        SELECT a.artifact_id, t.name
        FROM cache_tags AS t
        JOIN cache_artifacts AS a ON a.id = t.artifact
        WHERE t.key IN (e.exact_key, e.canonical_key)
        ORDER BY t.key = e.exact_key DESC
        LIMIT 1
    ) AS found;
END
$$;
