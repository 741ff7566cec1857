-- How many certificates were in each status at the end of each of the last 14 days (UTC)?
WITH days AS (
    SELECT day::date AS day, (day + interval '1 day') AT TIME ZONE 'UTC' AS ends_at
    FROM generate_series((now() AT TIME ZONE 'UTC')::date - interval '13 days', now() AT TIME ZONE 'UTC',
                         interval '1 day') AS day
), told AS (
    -- A version has its current status. A certificate that has expired since then had not expired on an earlier day.
    SELECT days.day, version.site,
           CASE WHEN version.verification_status NOT IN ('verified', 'expired') THEN version.verification_status
                WHEN version.valid_until < days.day THEN 'expired' ELSE 'verified' END AS verification_status
    FROM days
    JOIN springest.certificate_reconciliation_history AS version
      ON version.valid_from_ts < days.ends_at
     AND (version.valid_to_ts IS NULL OR version.valid_to_ts >= days.ends_at)
)
SELECT day, site, verification_status, count(*) AS certificates
FROM told
GROUP BY day, site, verification_status
ORDER BY day, site, verification_status
