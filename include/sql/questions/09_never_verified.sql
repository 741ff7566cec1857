-- Which certifications seem never to have been verified, although certificates were completed for them?
-- No catalogue has listed them, and no certificate of theirs was ever shown.
SELECT verdict.site, verdict.certification_id, count(*) AS certificates, min(verdict.completed_at) AS first_completed_at,
       max(verdict.completed_at) AS last_completed_at
FROM springest.certificate_reconciliation AS verdict
LEFT JOIN springest.certification USING (site, certification_id)
WHERE certification.certification_id IS NULL AND verdict.certification_id IS NOT NULL
  AND verdict.verification_status NOT IN ('withdrawn', 'cancelled')
  -- A certificate is shown once its certification is verified, whatever the catalogue says.
  AND NOT EXISTS (SELECT FROM springest.certificate_reconciliation AS shown
                  WHERE shown.site = verdict.site
                    AND shown.certification_id = verdict.certification_id
                    AND shown.first_visible_at IS NOT NULL)
  AND NOT EXISTS (SELECT FROM springest.unmatched_remote_certificate AS shown
                  WHERE shown.site = verdict.site AND shown.certification_id = verdict.certification_id)
GROUP BY verdict.site, verdict.certification_id
ORDER BY certificates DESC, verdict.certification_id
