-- What went wrong since yesterday, and why?
SELECT verdict.site, verdict.training_id, verdict.verification_status, verdict.delivery_reason,
       verdict.delivery_reason_detail, wrong.since
FROM springest.certificate_reconciliation AS verdict
JOIN (
    -- A delivery that was already unknown and still waits did not fail last night; one with a new reason did. Later
    -- versions of the same night may have more detail.
    SELECT version.delivery_key, version.verification_status, max(version.valid_from_ts) AS since
    FROM springest.certificate_reconciliation_history AS version
    LEFT JOIN springest.certificate_reconciliation_history AS before
           ON before.delivery_key = version.delivery_key AND before.valid_to_ts = version.valid_from_ts
    WHERE version.valid_from_ts >= now() - interval '1 day'
      AND (version.verification_status IS DISTINCT FROM before.verification_status
           OR (version.verification_status IN ('invalid', 'held', 'rejected')
               AND version.delivery_reason IS DISTINCT FROM before.delivery_reason))
    GROUP BY version.delivery_key, version.verification_status
) AS wrong ON wrong.delivery_key = verdict.delivery_key AND wrong.verification_status = verdict.verification_status
WHERE verdict.verification_status IN ('invalid', 'held', 'rejected', 'unknown', 'ambiguous', 'missing', 'vanished')
  AND verdict.delivery_reason IS DISTINCT FROM 'learner_erased'
ORDER BY verdict.verification_status, verdict.delivery_reason, verdict.training_id
