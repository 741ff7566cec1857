-- A certificate is called verified only on a match, and only under an id of Springest's.
SELECT delivery_key, verification_status, match_method, springest_certificate_id
FROM {{ source('springest', 'certificate_reconciliation') }}
WHERE verification_status IN ('verified', 'expired')
  AND (match_method IS NULL OR springest_certificate_id IS NULL)
