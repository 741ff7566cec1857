-- Every POST that may have made a certificate whose id is not known: the last one of a delivery that is open, and
-- earlier ones whose outcome was lost, of whatever became of the delivery since. These can own what is shown too.
INSERT INTO pg_temp.matching_node
    (delivery_key, version, state, is_open, is_acknowledged, sent_at, certification_id, valid_from, valid_to,
     learner_ref)
SELECT delivery.delivery_key, delivery.version, delivery.state,
       delivery.state <> 'sending',
       delivery.state = 'accepted_no_id' OR (delivery.state = 'review' AND delivery.reason = 'missing'),
       CASE WHEN delivery.state = 'sending' THEN delivery.updated_at
            -- When it was sent last is forgotten.
            WHEN delivery.reason = 'ledger_restored' THEN NULL
            ELSE delivery.sent_at END,
       delivery.certification_id, delivery.valid_from, COALESCE(delivery.valid_until, 'infinity'),
       delivery.learner_ref
FROM springest.delivery AS delivery
WHERE delivery.site = :site
  AND delivery.springest_certificate_id IS NULL
  AND (delivery.state IN ('sending', 'unknown', 'accepted_no_id')
       OR (delivery.state = 'review' AND (delivery.sent_at IS NOT NULL OR delivery.reason = 'ledger_restored'))
       OR (delivery.state = 'held' AND delivery.reason = 'before_cutover'))
UNION ALL
SELECT delivery.delivery_key, delivery.version, delivery.state, false, false, attempt.started_at,
       COALESCE(attempt.certification_id, delivery.certification_id),
       COALESCE(attempt.valid_from, delivery.valid_from),
       COALESCE(attempt.valid_until, CASE WHEN attempt.valid_from IS NULL THEN delivery.valid_until END, 'infinity'),
       delivery.learner_ref
FROM springest.delivery_attempt AS attempt
JOIN springest.delivery AS delivery USING (delivery_key)
WHERE delivery.site = :site
  AND (attempt.outcome IS NULL OR attempt.outcome IN ('outcome_lost', 'accepted_without_id')
       OR (attempt.outcome = 'accepted_with_id'
           AND attempt.springest_certificate_id IS DISTINCT FROM delivery.springest_certificate_id))
  AND (attempt.outcome = 'accepted_with_id'
       OR delivery.state IN ('ready', 'held', 'invalid', 'rejected', 'withdrawn', 'cancelled')
       OR attempt.started_at < delivery.sent_at
       OR (delivery.state = 'sending' AND attempt.outcome IS NOT NULL))
