-- The deliveries that already have these certificates. Each learner's deliveries are read once, since an address that
-- many people share may have thousands of deliveries and of certificates.
WITH wanted AS (
    SELECT *
    FROM unnest(CAST(:certification_ids AS bigint[]), CAST(:learner_refs AS text[]), CAST(:first_days AS date[]))
         AS wanted (certification_id, learner_ref, valid_from)
), learner AS (
    SELECT DISTINCT learner_ref FROM wanted
)
SELECT delivery.certification_id, delivery.learner_ref, delivery.valid_from,
       delivery.delivery_key, delivery.training_id, delivery.duplicate_released
FROM learner
CROSS JOIN LATERAL (
    SELECT theirs.delivery_id, theirs.delivery_key, theirs.site, theirs.training_id, theirs.state, theirs.learner_ref,
           theirs.certification_id, theirs.valid_from, theirs.duplicate_released
    FROM springest.delivery AS theirs
    WHERE theirs.learner_ref = learner.learner_ref
    OFFSET 0  -- keeps the look-up one for each learner, not one for each certificate
) AS delivery
JOIN wanted
  ON wanted.learner_ref = delivery.learner_ref
 AND wanted.certification_id = delivery.certification_id
 AND wanted.valid_from = delivery.valid_from
WHERE delivery.site = :site
  AND (delivery.state = ANY(CAST(:holding AS text[]))
       -- Also what a person has cancelled: Springest may have it all the same.
       OR (delivery.state IN ('review', 'cancelled')
           AND (SELECT true FROM springest.delivery_attempt AS attempt
                WHERE attempt.delivery_id = delivery.delivery_id
                  AND attempt.possibly_stored
                LIMIT 1)))
