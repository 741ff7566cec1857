-- The certificate that a person named, as Springest last showed it, and another delivery that has its id.
SELECT remote.springest_certificate_id IS NOT NULL AS is_known,
       remote.certification_id,
       remote.valid_from,
       remote.valid_until,
       remote.learner_ref,
       remote.last_seen_at,
       (SELECT other.training_id
        FROM springest.delivery AS other
        WHERE other.site = delivery.site
          AND other.springest_certificate_id = :springest_certificate_id
          AND other.delivery_id <> delivery.delivery_id
        LIMIT 1) AS claimed_by,
       (SELECT other.training_id
        FROM springest.delivery_attempt AS attempt
        JOIN springest.delivery AS other USING (delivery_id)
        WHERE other.site = delivery.site
          AND attempt.springest_certificate_id = :springest_certificate_id
          AND other.delivery_id <> delivery.delivery_id
        LIMIT 1) AS answered_for
FROM springest.delivery AS delivery
LEFT JOIN springest.seen_certificate AS remote
       ON remote.site = delivery.site AND remote.springest_certificate_id = :springest_certificate_id
WHERE delivery.delivery_key = :delivery_key
