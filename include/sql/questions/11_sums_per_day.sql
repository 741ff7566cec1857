-- Do the sums add up? Completed trainings of each day's runs against what became of them; lost must be 0.
SELECT day, site, max(source_counted) AS completed,
       COALESCE(sum(source_rows) FILTER (WHERE verification_status IS NOT NULL), 0) AS with_a_status, max(lost) AS lost
FROM springest.reconciliation_daily
GROUP BY day, site
ORDER BY day, site
