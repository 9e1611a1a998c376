-- expand
-- Projects and domains that have executions, found by skipping from one to the next in the index of names.
CREATE VIEW execution_scopes AS
WITH RECURSIVE scopes (project, domain) AS (
    (SELECT project, domain FROM executions ORDER BY project, domain LIMIT 1)
    UNION ALL
    SELECT next.project, next.domain
    FROM scopes AS s CROSS JOIN LATERAL (
        SELECT e.project, e.domain FROM executions AS e
        WHERE (e.project, e.domain) > (s.project, s.domain)
        ORDER BY e.project, e.domain LIMIT 1
    ) AS next
)
SELECT project, domain FROM scopes;
