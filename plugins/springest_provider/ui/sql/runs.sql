-- The runs that staged rows since a day, newest first.
SELECT run_id, (committed_at AT TIME ZONE 'UTC')::date AS day
FROM springest.staging_run
WHERE site = :site AND source_count > 0 AND committed_at >= :since
ORDER BY committed_at DESC
LIMIT 100
