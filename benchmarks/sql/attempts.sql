-- One attempt for each delivery, as it would have been made.
INSERT INTO springest.delivery_attempt
    (delivery_id, run_id, worker, started_at, finished_at, outcome, http_status, document_sha256,
     springest_certificate_id)
SELECT delivery_id, 'benchmark', 'benchmark', sent_at, sent_at + interval '1 s',
       CASE WHEN springest_certificate_id IS NULL THEN 'accepted_without_id' ELSE 'accepted_with_id' END,
       201, repeat('0', 64), springest_certificate_id
FROM springest.delivery
