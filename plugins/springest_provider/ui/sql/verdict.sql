-- One certificate as analysts read it, with what to do about it.
SELECT verdict.*, review.waits_since, review.what_to_do
FROM springest.certificate_reconciliation AS verdict
LEFT JOIN springest.delivery_review AS review ON review.delivery_key = verdict.delivery_key
WHERE verdict.delivery_key = :delivery_key
