-- What went wrong since yesterday, and why?
SELECT verdict.site, verdict.training_id, verdict.verification_status, verdict.delivery_reason,
       verdict.delivery_reason_detail, version.valid_from_ts AS since
FROM springest.certificate_reconciliation AS verdict
JOIN springest.certificate_reconciliation_history AS version
  ON version.delivery_key = verdict.delivery_key AND version.is_current
WHERE verdict.verification_status IN ('invalid', 'held', 'rejected', 'unknown', 'ambiguous', 'missing', 'vanished')
  AND version.valid_from_ts >= now() - interval '1 day'
ORDER BY verdict.verification_status, verdict.delivery_reason, verdict.training_id
