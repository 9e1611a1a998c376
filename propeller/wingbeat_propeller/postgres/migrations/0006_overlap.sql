-- expand
-- Overlap policies of launch plans, and deadlines of executions.
--
-- An execution that its launch plan lets wait has phase 1 (QUEUED) and `waiting`; no engine takes it up. Whoever finds
-- room calls admit_executions, which lets the first of the line begin: `waiting` falls, the phase stays QUEUED until an
-- engine begins it. Alive are executions of the launch plan's name, whatever the version, that neither wait nor have
-- ended. Only a holder of the launch plan's lock adds to them, so their number never passes a limit.
--
-- An engine of the release before leaves waiting executions alone; one that it finds in a shard it takes over rests in
-- its memory, and begins once a newer engine has the shard.

ALTER TABLE executions
    ADD COLUMN waiting     boolean NOT NULL DEFAULT false,
    ADD COLUMN alive_max   bigint,      -- of one that waits or has waited: begins only while fewer are alive
    ADD COLUMN replaced_by bigint,      -- aborted to make room for this one, which begins only after its end
    ADD COLUMN begin_by    timestamptz, -- ends TIMED_OUT if it has not begun by then
    ADD COLUMN deadline_s  float8;      -- ends TIMED_OUT if it has not ended so long after started_at

-- Lines: what waits, by launch plan version and in order of launch.
CREATE INDEX executions_waiting ON executions (launch_plan_id, id) WHERE waiting AND phase = 1;
-- The engine's intake: let go of a line and not yet begun.
CREATE INDEX executions_admitted ON executions (shard, id) WHERE phase = 1 AND NOT waiting;
CREATE INDEX executions_begin_by ON executions (begin_by) WHERE begin_by IS NOT NULL AND phase IN (0, 1);

-- Let as many as there is room for begin, first come, first served; returns how many. The line is one over all versions
-- of the launch plan's name, and nobody overtakes a version with a narrower limit. A function, because each of its
-- statements sees what was committed before the lock was had, and because no client can stop in the middle of it.
CREATE FUNCTION admit_executions(plan_project text, plan_domain text, plan_name text) RETURNS integer
LANGUAGE plpgsql SET lock_timeout = '5s' AS $$
DECLARE
    plans bigint[];
    alive bigint;
    first record;
    admitted_shard smallint;
    admitted integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(plan_project || ':' || plan_domain || ':' || plan_name, 0));
    plans := ARRAY(
        SELECT lp.id FROM launch_plans AS lp
        WHERE lp.project = plan_project AND lp.domain = plan_domain AND lp.name = plan_name
    );
    SELECT count(*) INTO alive
    FROM executions AS e
    WHERE e.launch_plan_id = ANY(plans) AND e.ended_at IS NULL AND NOT e.waiting;
    LOOP
        SELECT e.id, e.alive_max INTO first
        FROM executions AS e
        WHERE e.launch_plan_id = ANY(plans) AND e.waiting AND e.phase = 1
        ORDER BY e.id
        LIMIT 1;
        EXIT WHEN NOT FOUND OR alive >= first.alive_max OR EXISTS (
            SELECT FROM executions AS e
            WHERE e.launch_plan_id = ANY(plans) AND e.ended_at IS NULL AND e.replaced_by = first.id
        );
        UPDATE executions AS e SET waiting = false, updated_at = clock_timestamp()
        WHERE e.id = first.id AND e.waiting AND e.phase = 1
        RETURNING e.shard INTO admitted_shard;
        IF FOUND THEN -- else somebody has just terminated it, and the next look will not see it
            alive := alive + 1;
            admitted := admitted + 1;
            PERFORM pg_notify('wingbeat_new', admitted_shard::text);
        END IF;
    END LOOP;
    RETURN admitted;
END
$$;
