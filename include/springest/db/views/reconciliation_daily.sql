CREATE OR REPLACE VIEW springest.reconciliation_daily WITH (security_barrier) AS
WITH counted AS (
    SELECT staged.site, (staged.committed_at AT TIME ZONE 'UTC')::date AS day, verdict.live_status AS verification_status,
           count(seen.delivery_id) AS source_rows, count(DISTINCT seen.delivery_id) AS certificates
    FROM springest.staging_run AS staged
    JOIN springest.staged_row AS seen ON seen.site = staged.site AND seen.run_id = staged.run_id
    LEFT JOIN springest.current_verdict AS verdict USING (delivery_id)
    GROUP BY 1, 2, 3
), days AS (
    SELECT site, (committed_at AT TIME ZONE 'UTC')::date AS day, sum(source_count) AS source_counted
    FROM springest.staging_run
    GROUP BY 1, 2
)
SELECT days.day, days.site, counted.verification_status, COALESCE(counted.source_rows, 0) AS source_rows,
       COALESCE(counted.certificates, 0) AS certificates, days.source_counted::bigint AS source_counted,
       (days.source_counted - sum(COALESCE(counted.source_rows, 0)) OVER day_of_site)::bigint AS lost
FROM days
LEFT JOIN counted USING (site, day)
WINDOW day_of_site AS (PARTITION BY days.site, days.day)
ORDER BY days.day, days.site, counted.verification_status;

COMMENT ON VIEW springest.reconciliation_daily IS
    'Source rows of each day''s runs, by their current status; the sum equals the source''s own count';
COMMENT ON COLUMN springest.reconciliation_daily.day IS 'Day (UTC) on which the rows were staged';
COMMENT ON COLUMN springest.reconciliation_daily.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.reconciliation_daily.verification_status IS
    'Their current status; null: staged after the last publication, or no row on that day';
COMMENT ON COLUMN springest.reconciliation_daily.source_rows IS
    'Source rows with this status; a training in two runs counts twice';
COMMENT ON COLUMN springest.reconciliation_daily.certificates IS 'Distinct certificates among them';
COMMENT ON COLUMN springest.reconciliation_daily.source_counted IS
    'The source''s own count of that day''s rows, over all statuses';
COMMENT ON COLUMN springest.reconciliation_daily.lost IS 'source_counted minus the rows of all statuses; must be 0';
