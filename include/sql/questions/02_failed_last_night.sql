-- What went wrong since yesterday, and why?
SELECT verdict.site, verdict.training_id, verdict.verification_status, verdict.delivery_reason,
       verdict.delivery_reason_detail, version.valid_from_ts AS since
FROM springest.certificate_reconciliation AS verdict
JOIN springest.certificate_reconciliation_history AS version
  ON version.delivery_key = verdict.delivery_key AND version.is_current
LEFT JOIN springest.certificate_reconciliation_history AS before
       ON before.delivery_key = version.delivery_key AND before.valid_to_ts = version.valid_from_ts
WHERE verdict.verification_status IN ('invalid', 'held', 'rejected', 'unknown', 'ambiguous', 'missing', 'vanished')
  AND version.valid_from_ts >= now() - interval '1 day'
  -- What was doubtful already and only waits longer did not go wrong last night; what can't be sent for another reason did.
  AND (version.verification_status IS DISTINCT FROM before.verification_status
       OR (version.verification_status IN ('invalid', 'held', 'rejected')
           AND version.delivery_reason IS DISTINCT FROM before.delivery_reason))
  AND verdict.delivery_reason IS DISTINCT FROM 'learner_forgotten'
ORDER BY verdict.verification_status, verdict.delivery_reason, verdict.training_id
