-- Do the sums add up? Source rows of each day's runs, compared with their statuses; lost must be 0. A row that was
-- staged by two runs on one day counts twice among the rows and once among the certificates.
SELECT day, site, max(source_counted) AS staged_rows,
       COALESCE(sum(source_rows) FILTER (WHERE verification_status IS NOT NULL), 0) AS rows_with_a_status,
       COALESCE(sum(certificates), 0) AS certificates, max(lost) AS lost
FROM springest.reconciliation_daily
GROUP BY day, site
ORDER BY day, site
