-- expand
-- What the planner knows of labels and inputs. Its usual sample of a hundred values finds what one execution in twenty
-- has by chance, and a question for the newest few then reads all that match. Two hundred find it surely; more would hold
-- more rare values, which look common then and are looked for among the newest.
ALTER TABLE execution_search ALTER COLUMN labels SET STATISTICS 200, ALTER COLUMN inputs SET STATISTICS 200;

-- Taking an error apart takes 20 µs: less than reading an index of all executions to spare some of it.
ALTER FUNCTION wingbeat_views.error_message(bytea) COST 500;
