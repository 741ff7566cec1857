SELECT delivery_key, attempt_id, run_id, started_at, finished_at, outcome, failure, http_status, bytes_handed_over,
       springest_certificate_id, message
FROM springest.delivery_attempt
WHERE delivery_key = ANY(CAST(:keys AS text[]))
ORDER BY attempt_id
