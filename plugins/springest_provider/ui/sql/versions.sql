-- The versions of one verdict, oldest first.
SELECT valid_from_ts, verification_status, delivery_state, delivery_reason, springest_status, match_method, review_reason
FROM springest.certificate_reconciliation_history
WHERE delivery_key = :delivery_key
ORDER BY valid_from_ts
LIMIT 200
