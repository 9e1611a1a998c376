-- expand
-- Shares of tenants (weights and limits), and a row for each attempt that counts against a limit.

-- Domain '' is the whole project. A limit holds over all engines of the installation; a tenant's own and its project's
-- hold both, while of two weights the tenant's own counts.
CREATE TABLE tenant_shares (
    project     text NOT NULL,
    domain      text NOT NULL DEFAULT '',
    weight      integer CHECK (weight BETWEEN 1 AND 1000),   -- NULL: the project's, else 1
    running_max integer CHECK (running_max >= 0),            -- attempts under way at once; NULL: no limit
    limited_at  bigint NOT NULL DEFAULT 0,                   -- revision in which it came to have a limit
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project, domain)
);

-- One row: the number of the last change of any share. Changes wait for each other here.
CREATE TABLE tenant_share_revision (
    revision bigint NOT NULL
);
INSERT INTO tenant_share_revision VALUES (0);

-- The last revision that an engine goes by: each attempt of its that runs has a slot if its tenant had a limit then.
-- NULL: a release that knows no shares.
ALTER TABLE propellers ADD COLUMN shares_seen bigint;

-- An attempt that counts against a limit. Written before it may run, deleted by the commit that records its end.
CREATE TABLE tenant_slots (
    execution_id bigint NOT NULL,
    name         text NOT NULL,                              -- of the attempt in the runtime (core.ids.attempt_name)
    project      text NOT NULL,
    domain       text NOT NULL,
    node_id      text NOT NULL,
    attempt      integer NOT NULL,
    admitted_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, name)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX tenant_slots_tenant ON tenant_slots (project, domain);

-- Engines that asked for slots of a share and did not get all, so that they take turns. A line that was not renewed for
-- two seconds is void.
CREATE TABLE tenant_waits (
    project  text NOT NULL,
    domain   text NOT NULL,
    term     bigint NOT NULL REFERENCES propellers (term) ON DELETE CASCADE,
    attempts integer NOT NULL,                               -- how many it asked for in vain
    since    timestamptz NOT NULL DEFAULT clock_timestamp(), -- that it got nothing
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (project, domain, term),
    FOREIGN KEY (project, domain) REFERENCES tenant_shares (project, domain) ON DELETE CASCADE
);
CREATE INDEX tenant_waits_term ON tenant_waits (term);

CREATE TYPE slot_ask AS (
    project      text,
    domain       text,
    execution_id bigint,
    name         text,
    node_id      text,
    attempt      integer,
    running      boolean
);

CREATE TYPE journal_slot AS (
    execution_id bigint,
    name         text
);

-- Give slots to attempts, in the order of the array, as far as the limits of their tenants reach; returns the places of
-- those that have one now. A function, since each of its statements sees what was committed before it began: the counts
-- are taken after the locks. NULL: the term has ended, or a later call was made in it, and nothing is written.
CREATE FUNCTION admit_attempts(in_term bigint, in_number bigint, in_seen bigint, in_asks slot_ask[])
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    places bigint[];
BEGIN
    -- Whoever ends the term waits for this call, or this call for him, here and nowhere later.
    PERFORM FROM propellers WHERE term = in_term FOR KEY SHARE;
    -- Lane -1 goes with the term, and a call whose answer was lost cannot come after its repetition.
    UPDATE journal_lanes SET batch = in_number WHERE term = in_term AND lane = -1 AND batch < in_number;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE propellers SET shares_seen = in_seen WHERE term = in_term AND shares_seen < in_seen;

    -- One call at a time for each share; all in one order, so that none waits in a ring.
    PERFORM FROM tenant_shares AS s
    WHERE s.running_max IS NOT NULL AND EXISTS (
        SELECT FROM unnest(in_asks) AS a WHERE a.project = s.project AND s.domain IN (a.domain, '')
    )
    ORDER BY s.project, s.domain
    FOR NO KEY UPDATE;

    WITH asks AS MATERIALIZED (
        SELECT a.*, EXISTS (
            SELECT FROM tenant_slots AS s WHERE s.execution_id = a.execution_id AND s.name = a.name
        ) AS has_slot
        FROM unnest(in_asks) WITH ORDINALITY
            AS a (project, domain, execution_id, name, node_id, attempt, running, place)
    ), shares AS MATERIALIZED (
        SELECT s.project, s.domain, CASE
            -- An engine that has not heard of the limit may run attempts that have no slot yet.
            WHEN EXISTS (SELECT FROM propellers AS p WHERE p.shares_seen < s.limited_at) THEN 0
            ELSE s.running_max
                - (
                    SELECT count(*) FROM tenant_slots AS t
                    WHERE t.project = s.project AND (s.domain = '' OR t.domain = s.domain)
                )
                - (
                    SELECT count(*) FROM asks AS a
                    WHERE a.project = s.project AND (s.domain = '' OR a.domain = s.domain)
                        AND a.running AND NOT a.has_slot
                )
                -- One slot is left for each engine that has waited longer.
                - (
                    SELECT count(*) FROM tenant_waits AS w
                    WHERE w.project = s.project AND w.domain = s.domain AND w.term <> in_term
                        AND w.asked_at > clock_timestamp() - interval '2 seconds'
                        AND w.since < coalesce((
                            SELECT own.since FROM tenant_waits AS own
                            WHERE own.project = s.project AND own.domain = s.domain AND own.term = in_term
                        ), 'infinity')
                )
            END AS room
        FROM tenant_shares AS s
        WHERE s.running_max IS NOT NULL AND EXISTS (
            SELECT FROM asks AS a WHERE a.project = s.project AND s.domain IN (a.domain, '')
        )
    ), fresh AS (
        SELECT a.*, row_number() OVER (PARTITION BY a.project, a.domain ORDER BY a.place)
            <= coalesce(s.room, 9223372036854775807) AS fits
        FROM asks AS a
        LEFT JOIN shares AS s ON s.project = a.project AND s.domain = a.domain
        WHERE NOT a.running AND NOT a.has_slot
    ), ranked AS MATERIALIZED (
        SELECT f.*, f.fits AND row_number() OVER (PARTITION BY f.project, f.fits ORDER BY f.place)
            <= coalesce(s.room, 9223372036854775807) AS admitted
        FROM fresh AS f
        LEFT JOIN shares AS s ON s.project = f.project AND s.domain = ''
    ), taken AS (
        INSERT INTO tenant_slots (execution_id, name, project, domain, node_id, attempt)
        SELECT execution_id, name, project, domain, node_id, attempt FROM asks WHERE running AND NOT has_slot
        UNION ALL
        SELECT execution_id, name, project, domain, node_id, attempt FROM ranked WHERE ranked.admitted
        ON CONFLICT DO NOTHING
    ), outcome AS MATERIALIZED (
        SELECT s.project, s.domain,
            count(*) FILTER (WHERE r.admitted) AS got,
            count(*) FILTER (WHERE CASE WHEN s.domain = '' THEN r.fits AND NOT r.admitted ELSE NOT r.fits END) AS missed
        FROM shares AS s
        JOIN ranked AS r ON r.project = s.project AND s.domain IN (r.domain, '')
        GROUP BY s.project, s.domain
    ), waits AS (
        INSERT INTO tenant_waits AS w (project, domain, term, attempts)
        SELECT project, domain, in_term, missed FROM outcome WHERE missed > 0
        ON CONFLICT (project, domain, term) DO UPDATE SET
            attempts = excluded.attempts,
            asked_at = excluded.asked_at,
            since = CASE
                WHEN (SELECT o.got FROM outcome AS o WHERE o.project = w.project AND o.domain = w.domain) > 0
                THEN excluded.since ELSE w.since
            END
    ), waits_over AS (
        DELETE FROM tenant_waits AS w USING outcome AS o
        WHERE w.term = in_term AND w.project = o.project AND w.domain = o.domain AND o.missed = 0
    )
    SELECT array_agg(place) INTO places FROM (
        SELECT place FROM asks WHERE running OR has_slot
        UNION ALL
        SELECT place FROM ranked WHERE ranked.admitted
    ) AS found;
    RETURN coalesce(places, '{}');
END
$$;

-- The engine's intake looks for new executions tenant by tenant.
CREATE INDEX executions_new_by_tenant ON executions (project, domain, shard, id) WHERE phase = 0;
