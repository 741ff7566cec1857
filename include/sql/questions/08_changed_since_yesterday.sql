-- What changed since yesterday, from what to what?
WITH said AS (
    -- A version has its current status. If it expired after it began, it was verified then; the next publication
    -- records the expiry.
    SELECT version.*,
           CASE WHEN version.is_current AND version.verification_status = 'expired'
                 AND version.valid_until >= (version.valid_from_ts AT TIME ZONE 'UTC')::date
                THEN 'verified' ELSE version.verification_status END AS said_first
    FROM springest.certificate_reconciliation_history AS version
)
SELECT version.site, version.training_id, before.verification_status AS was, version.said_first AS became,
       version.delivery_reason, version.valid_from_ts AS changed_at
FROM said AS version
LEFT JOIN springest.certificate_reconciliation_history AS before
       ON before.delivery_key = version.delivery_key AND before.valid_to_ts = version.valid_from_ts
WHERE version.valid_from_ts >= now() - interval '1 day'
  AND version.said_first IS DISTINCT FROM before.verification_status
ORDER BY version.valid_from_ts, version.training_id
