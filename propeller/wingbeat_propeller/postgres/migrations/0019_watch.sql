-- expand
-- Watch streams: the log of transitions by transaction, which names its cursors, and what a cursor must not miss.

-- Holds up the log's writers while it is built, as the index of 0004 did. Many rows have the same transaction, so it
-- stays small, and each goes to its right end.
CREATE INDEX transitions_txid ON transitions (txid);

ALTER TABLE transitions_retention
    -- The highest transaction of any row that was dropped from the log. A cursor that has not seen all transactions up to
    -- it may miss something. NULL: nothing was ever dropped, or by a release before this one, which leaves it as it is.
    ADD COLUMN dropped_txid xid8,
    -- Cursors of other databases are told by it. To be renewed after a database was restored from a backup, since numbers
    -- of transactions are then given out again.
    ADD COLUMN log_id integer NOT NULL DEFAULT (random() * 2147483647)::integer;
