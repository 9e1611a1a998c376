-- name: shares
-- Shares and their revision as of one moment.
SELECT r.revision, s.project, s.domain, s.weight, s.running_max
FROM tenant_share_revision AS r
LEFT JOIN tenant_shares AS s ON true;

-- name: open_slots
-- The lane that fences calls of a term, and the shares it goes by: none so far. No row: the term has ended.
WITH member AS (
    UPDATE propellers SET shares_seen = coalesce(shares_seen, 0) WHERE term = $1 RETURNING term
)
INSERT INTO journal_lanes AS lane (term, lane)
SELECT term, -1 FROM member
ON CONFLICT (term, lane) DO UPDATE SET batch = lane.batch
RETURNING batch;

-- name: admit_attempts
SELECT admit_attempts($1, $2, $3, $4::slot_ask[]);

-- name: of_executions
SELECT name FROM tenant_slots WHERE execution_id = ANY($1::bigint[]);

-- name: remove_orphans
-- Slots that an engine of an older release left behind: it records ends, and knows nothing of slots.
WITH removed AS (
    DELETE FROM tenant_slots AS s
    WHERE NOT EXISTS (SELECT FROM executions AS e WHERE e.id = s.execution_id AND e.ended_at IS NULL)
    RETURNING 1
)
SELECT count(*) FROM removed;
