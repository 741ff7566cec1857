-- What the owner proved, and another certificate of the same learner, certification and dates that could be the one
-- that was sent as well: the learner has it, and it is unknown which of them this delivery is.
WITH another AS (
    SELECT delivery.delivery_id, delivery.springest_certificate_id AS own, shown.springest_certificate_id AS other,
           row_number() OVER (PARTITION BY delivery.delivery_id ORDER BY shown.springest_certificate_id) AS place
    FROM pg_temp.matching_row AS shown
    JOIN springest.delivery AS delivery
      ON delivery.site = :site
     AND delivery.certification_id = shown.certification_id
     AND delivery.learner_ref = shown.learner_ref
     AND delivery.valid_from = shown.valid_from
    WHERE NOT shown.is_gone
      AND shown.learner_ref IS NOT NULL
      AND delivery.state = 'visible'
      AND delivery.match_method = 'owner'
      AND COALESCE(delivery.valid_until, 'infinity') = shown.valid_to
      AND shown.seen_by >= delivery.sent_at
      AND (shown.created_at IS NULL
           OR shown.created_at BETWEEN delivery.sent_at - make_interval(hours => :clock_hours)
                                   AND delivery.sent_at + make_interval(hours => :clock_hours + :stored_by_hours))
), gathered AS (
    SELECT delivery_id,
           count(*) + 1 AS number,
           array_prepend(own, array_agg(other ORDER BY other) FILTER (WHERE place < :most)) AS named
    FROM another
    GROUP BY delivery_id, own
)
INSERT INTO pg_temp.matching_found
SELECT delivery_id, 'ambiguous', NULL, NULL, named, number,
       format('Springest shows %s certificates of this learner with this certification and these dates (%s): '
              'the learner has both, and it is unknown which one was sent from here',
              number, array_to_string(named, ', ')),
       'shown_twice'
FROM gathered
UNION ALL
-- If the learner was erased since, the other certificate can no longer be distinguished from somebody else's, and stays.
SELECT told.delivery_id, told.verification_status, told.match_method, told.springest_certificate_id, told.candidates,
       told.candidate_count, told.evidence, told.review_reason
FROM springest.delivery_match AS told
JOIN springest.delivery AS delivery USING (delivery_id)
WHERE told.site = :site
  AND told.review_reason = 'shown_twice'
  AND delivery.learner_ref IS NULL
  AND delivery.state = 'visible'
  AND delivery.match_method = 'owner'
