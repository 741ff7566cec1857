-- How long does it take from sending a certificate until Springest shows it? By certification, in hours.
SELECT site, certification_id, max(certification_name) AS certification_name, count(*) AS certificates,
       round(percentile_cont(0.5) WITHIN GROUP (
           ORDER BY extract(epoch FROM GREATEST(first_visible_at - sent_at, interval '0')) / 3600)::numeric, 1) AS median_hours,
       round(max(extract(epoch FROM GREATEST(first_visible_at - sent_at, interval '0')) / 3600)::numeric, 1) AS longest_hours
FROM springest.certificate_reconciliation
WHERE verification_status IN ('verified', 'expired') AND sent_at IS NOT NULL
GROUP BY site, certification_id
ORDER BY median_hours DESC, site, certification_id
