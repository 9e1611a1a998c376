-- name: referenced_tasks
SELECT t.project, t.domain, t.name, t.version, t.closure
FROM tasks t
JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS asked (project, domain, name, version)
    USING (project, domain, name, version);

-- name: referenced_launch_plans
SELECT lp.project, lp.domain, lp.name, lp.version, lp.spec, lp.closure
FROM launch_plans lp
JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS asked (project, domain, name, version)
    USING (project, domain, name, version);
