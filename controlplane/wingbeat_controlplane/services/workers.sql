-- name: engines
SELECT term, address FROM propellers WHERE lease_expires_at > clock_timestamp() AND address <> '' ORDER BY term;
