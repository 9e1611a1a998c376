-- expand
-- Executions by time alone, for questions in SQL: the newest of all projects or domains, what was launched since.
CREATE INDEX executions_by_time ON executions (created_at);
