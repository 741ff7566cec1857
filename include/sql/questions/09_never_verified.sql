-- Which certifications were never verified, although certificates were completed for them?
SELECT verdict.site, verdict.certification_id, count(*) AS certificates, min(verdict.completed_at) AS first_completed_at,
       max(verdict.completed_at) AS last_completed_at
FROM springest.certificate_reconciliation AS verdict
LEFT JOIN springest.certification USING (site, certification_id)
WHERE certification.certification_id IS NULL AND verdict.certification_id IS NOT NULL
GROUP BY verdict.site, verdict.certification_id
ORDER BY certificates DESC, verdict.certification_id
