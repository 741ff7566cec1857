-- Proof by id: Springest shows the certificate whose id was in the response, and the fields agree. A delivery that vanished
-- is back only when the newest complete snapshot, or a later one, shows it.
UPDATE springest.delivery AS delivery
SET state = 'visible',
    reason = NULL,
    reason_detail = NULL,
    match_method = COALESCE(delivery.match_method, 'springest_id'),
    version = delivery.version + 1,
    updated_at = clock_timestamp()
FROM springest.remote_certificate AS remote
WHERE delivery.site = :site
  AND delivery.state = ANY(CAST(:states AS text[]))
  AND remote.site = delivery.site
  AND remote.springest_certificate_id = delivery.springest_certificate_id
  AND (remote.certification_id IS NULL OR remote.certification_id = delivery.certification_id)
  AND (remote.valid_from IS NULL OR remote.valid_from = delivery.valid_from)
  AND remote.valid_until IS NOT DISTINCT FROM delivery.valid_until
  -- An owner who was erased is still known not to be another learner; see `erase_owners.sql`.
  AND COALESCE(remote.learner_ref = COALESCE(delivery.learner_ref, 'forgotten'), true)
  AND (delivery.state <> 'vanished' OR remote.lacked_at IS NULL)
  AND NOT EXISTS (SELECT FROM springest.delivery AS other
                  WHERE other.site = delivery.site
                    AND other.springest_certificate_id = delivery.springest_certificate_id
                    AND other.delivery_id <> delivery.delivery_id)
