-- Certificates that Springest shows, that belong to no other delivery (unless their owner contradicts that), and that
-- may be this one. Fields that the site does not report contradict nothing. A certificate that is much older than the
-- first POST did not come from it, but counts anyway if it is known to be the learner's.
SELECT remote.springest_certificate_id
FROM springest.delivery AS delivery
CROSS JOIN LATERAL (
    -- Certificates of its certification, and those that have none: both found by the index.
    SELECT * FROM springest.remote_certificate AS same
    WHERE same.site = delivery.site AND same.certification_id = delivery.certification_id
    UNION ALL
    SELECT * FROM springest.remote_certificate AS untold
    WHERE untold.site = delivery.site AND untold.certification_id IS NULL
    UNION ALL
    SELECT * FROM springest.remote_certificate AS every
    WHERE every.site = delivery.site AND delivery.certification_id IS NULL AND every.certification_id IS NOT NULL
) AS remote
CROSS JOIN LATERAL (
    SELECT LEAST(min(attempt.started_at), delivery.sent_at) AS first_at
    FROM springest.delivery_attempt AS attempt
    WHERE attempt.delivery_id = delivery.delivery_id
) AS sent
WHERE delivery.delivery_key = :delivery_key
  AND remote.lacked_at IS NULL
  AND COALESCE(remote.valid_from = delivery.valid_from, true)
  AND COALESCE(remote.valid_until = delivery.valid_until, true)
  AND COALESCE(remote.learner_ref = delivery.learner_ref, true)
  AND (remote.learner_ref IS NOT NULL
       OR (CAST(:possibly_stored AS boolean)
           AND (remote.created_at IS NULL
                OR sent.first_at IS NULL
                OR remote.created_at >= sent.first_at - make_interval(hours => :clock_hours))))
  AND NOT EXISTS (SELECT FROM springest.delivery AS other
                  WHERE other.site = remote.site
                    AND other.springest_certificate_id = remote.springest_certificate_id
                    AND other.delivery_id <> delivery.delivery_id
                    AND COALESCE(other.learner_ref = remote.learner_ref, true))
ORDER BY remote.springest_certificate_id
