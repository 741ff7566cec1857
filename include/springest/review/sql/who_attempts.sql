SELECT delivery.delivery_key, attempt.attempt_id, attempt.run_id, attempt.started_at, attempt.finished_at, attempt.outcome,
       attempt.failure, attempt.http_status, attempt.bytes_handed_over, attempt.springest_certificate_id, attempt.message
FROM springest.delivery
JOIN springest.delivery_attempt AS attempt USING (delivery_id)
WHERE delivery.delivery_key = ANY(CAST(:keys AS text[]))
ORDER BY attempt.attempt_id
