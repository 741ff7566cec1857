-- What a person released although it may have been taken, and is not sent yet; the last value is when it was sent first.
INSERT INTO pg_temp.matching_released
SELECT delivery.delivery_id, delivery.version, delivery.certification_id, delivery.valid_from, delivery.valid_until,
       delivery.learner_ref,
       LEAST((SELECT min(attempt.started_at)
              FROM springest.delivery_attempt AS attempt
              WHERE attempt.delivery_id = delivery.delivery_id), delivery.sent_at)
FROM springest.delivery AS delivery
WHERE delivery.site = :site
  AND delivery.indexed_state = 'ready'
  AND EXISTS (SELECT FROM springest.delivery_decision AS decided
              WHERE decided.delivery_id = delivery.delivery_id
                AND decided.decision = 'release'
                AND CAST(decided.evidence ->> 'possibly_stored' AS boolean))
