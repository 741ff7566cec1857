-- Deliveries whose owners to look up: ties first, then uncertain outcomes; those looked up longest ago come first. No
-- certificate of an unlisted certification is shown, and a list that names owners needs no look-ups.
SELECT delivery.delivery_key, delivery.training_id, delivery.learner_ref
FROM springest.delivery AS delivery
JOIN springest.certification AS certification
  ON certification.site = delivery.site
 AND certification.certification_id = delivery.certification_id
 AND certification.is_listed
LEFT JOIN springest.delivery_match AS matched ON matched.delivery_id = delivery.delivery_id
LEFT JOIN springest.owner_lookup AS question ON question.delivery_id = delivery.delivery_id
WHERE delivery.site = :site
  AND delivery.springest_certificate_id IS NULL
  AND delivery.learner_ref IS NOT NULL
  AND (delivery.state = 'unknown'
       OR (delivery.state = 'review' AND delivery.sent_at IS NOT NULL)
       OR (delivery.state = 'accepted_no_id' AND matched.delivery_id IS NOT NULL))
  AND matched.verification_status IS DISTINCT FROM 'inferred'
  AND (question.asked_at IS NULL OR question.asked_at < clock_timestamp() - make_interval(hours => :again_hours))
  AND NOT EXISTS (SELECT FROM springest.remote_certificate AS remote
                  WHERE remote.site = delivery.site
                    AND remote.certification_id = delivery.certification_id
                    AND remote.owner_told_by = 'list')
ORDER BY matched.delivery_id IS NULL, delivery.state = 'accepted_no_id', question.asked_at NULLS FIRST,
         delivery.sent_at DESC NULLS LAST, delivery.delivery_key
LIMIT :most
