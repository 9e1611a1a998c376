-- expand
-- Puts of thousands of entries at linear cost: new artifacts and their tags get their ids before they are inserted, so
-- that nothing is joined with itself. What it does is as in 0011.

CREATE OR REPLACE FUNCTION cache_put(in_datasets cache_dataset[], in_entries cache_entry[])
RETURNS TABLE (place bigint, artifact_id text, tag text) LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    made bigint[];
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
            -- The digest covers the artifact's id, which stays: see outputs.entry_digest.
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

    WITH fresh AS MATERIALIZED (
        SELECT nextval(pg_get_serial_sequence('cache_artifacts', 'id')) AS id, f.*
        FROM (
            SELECT DISTINCT ON (e.canonical_key) d.id AS dataset_id, e.*
            FROM unnest(in_entries) WITH ORDINALITY AS e
            JOIN cache_datasets AS d ON d.digest = e.dataset
            WHERE NOT EXISTS (SELECT FROM cache_tags AS t WHERE t.key IN (e.exact_key, e.canonical_key))
            ORDER BY e.canonical_key, CASE WHEN e.overwrite THEN -e.ordinality ELSE e.ordinality END
        ) AS f
    ), kept AS (
        INSERT INTO cache_artifacts AS a (
            id, dataset_id, artifact_id, data, data_uri, data_digest, has_references, interface_digest, inputs,
            ignored_inputs, task_version, source_project, source_domain, source_execution, source_node, source_attempt,
            source_element
        )
        OVERRIDING SYSTEM VALUE
        SELECT
            f.id, f.dataset_id, f.artifact_id, f.data, f.data_uri,
            sha256(f.data_digest || convert_to(f.artifact_id, 'UTF8')), f.has_references, f.interface_digest, f.inputs,
            f.ignored_inputs, f.task_version, f.source_project, f.source_domain, f.source_execution, f.source_node,
            f.source_attempt, f.source_element
        FROM fresh AS f
    ), tagged AS (
        INSERT INTO cache_tags AS t (key, artifact, name)
        SELECT f.canonical_key, f.id, f.canonical_tag FROM fresh AS f
        UNION ALL
        SELECT f.exact_key, f.id, f.exact_tag FROM fresh AS f WHERE f.exact_key <> f.canonical_key
        ORDER BY 1
        ON CONFLICT DO NOTHING
    )
    SELECT array_agg(f.id) INTO made FROM fresh AS f;

    -- Another writer was faster at the tag, after we had looked.
    DELETE FROM cache_artifacts AS a
    WHERE a.id = ANY(made) AND NOT EXISTS (SELECT FROM cache_tags AS t WHERE t.artifact = a.id);

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
