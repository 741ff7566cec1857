-- What seemed to be gone is shown under its id again, with other values than were sent: that is no proof, and
-- it is not gone either. Its verdict lists the differences.
UPDATE springest.delivery AS delivery
SET state = CASE delivery.state WHEN 'vanished' THEN 'visible' ELSE 'accepted' END,
    reason = NULL,
    reason_detail = NULL,
    version = delivery.version + 1,
    updated_at = clock_timestamp()
FROM springest.remote_certificate AS remote
WHERE delivery.site = :site
  AND (delivery.indexed_state = 'vanished' OR (delivery.indexed_state = 'review' AND delivery.reason = 'missing'))
  AND remote.site = delivery.site
  AND remote.springest_certificate_id = delivery.springest_certificate_id
  AND remote.lacked_at IS NULL
