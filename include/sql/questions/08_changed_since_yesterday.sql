-- What changed since yesterday, from what to what?
SELECT version.site, version.training_id, before.verification_status AS was, version.verification_status AS became,
       version.delivery_reason, version.valid_from_ts AS changed_at
FROM springest.certificate_reconciliation_history AS version
LEFT JOIN springest.certificate_reconciliation_history AS before
       ON before.delivery_key = version.delivery_key AND before.valid_to_ts = version.valid_from_ts
WHERE version.valid_from_ts >= now() - interval '1 day'
  AND version.verification_status IS DISTINCT FROM before.verification_status
ORDER BY version.valid_from_ts, version.training_id
