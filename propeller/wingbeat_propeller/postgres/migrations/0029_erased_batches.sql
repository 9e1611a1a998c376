-- expand
-- Rows of batches that executions on their way out were of; NULL when the batch keeps nothing of them any more.
ALTER TABLE retired_executions ADD COLUMN batch_id bigint, ADD COLUMN batch_row bigint;
