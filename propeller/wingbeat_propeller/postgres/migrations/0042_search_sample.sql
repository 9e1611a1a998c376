-- expand
-- A sample of two hundred finds what one execution in twenty has just as surely, and fewer rare values are in it: one that
-- is looks common, and is looked for among the newest.
ALTER TABLE execution_search ALTER COLUMN labels SET STATISTICS 200, ALTER COLUMN inputs SET STATISTICS 200;
