-- Both sides of the matching in one statement, so that they are of one moment: whatever is shown by then, the attempt
-- that made it was committed before, and what an answer has just claimed is on neither side.
--
-- Every POST that may have made a certificate whose id is not known: the last one of a delivery that is open, and
-- earlier ones whose outcome was lost, of whatever became of the delivery since. These can own what is shown too. A
-- person's confirmation is no proof and excludes no POST. A certificate sent for an erased learner can only be theirs, and
-- other erased learners can no longer be told apart from them.
WITH nodes AS (
    INSERT INTO pg_temp.matching_node
        (delivery_id, version, state, is_open, is_earlier, is_acknowledged, sent_at, certification_id, valid_from, valid_to,
         learner_ref)
    SELECT delivery.delivery_id, delivery.version, delivery.state,
           delivery.state <> 'sending', false,
           delivery.state = 'accepted_no_id' OR (delivery.state = 'review' AND COALESCE(delivery.reason = 'missing', false)),
           CASE WHEN delivery.state = 'sending' THEN delivery.updated_at
                -- The time of the last POST is not known any more.
                WHEN delivery.reason = 'ledger_restored' THEN NULL
                ELSE delivery.sent_at END,
           delivery.certification_id, delivery.valid_from, COALESCE(delivery.valid_until, 'infinity'),
           COALESCE(delivery.learner_ref, 'forgotten')
    FROM springest.delivery AS delivery
    WHERE delivery.site = :site
      AND delivery.springest_certificate_id IS NULL
      AND (delivery.indexed_state IN ('sending', 'unknown', 'accepted_no_id')
           OR (delivery.indexed_state = 'review' AND (delivery.sent_at IS NOT NULL OR delivery.reason = 'ledger_restored'))
           OR (delivery.indexed_state = 'held' AND delivery.reason = 'before_cutover'))
    UNION ALL
    SELECT delivery.delivery_id, delivery.version, delivery.state, false,
           COALESCE(delivery.state IN ('unknown', 'accepted_no_id', 'review') AND delivery.springest_certificate_id IS NULL
               AND delivery.sent_at IS NOT NULL
               AND (attempt.certification_id, attempt.valid_from) = (delivery.certification_id, delivery.valid_from)
               AND attempt.valid_until IS NOT DISTINCT FROM delivery.valid_until, false),
           false, attempt.started_at,
           COALESCE(attempt.certification_id, delivery.certification_id),
           COALESCE(attempt.valid_from, delivery.valid_from),
           COALESCE(attempt.valid_until, CASE WHEN attempt.valid_from IS NULL THEN delivery.valid_until END,
                    'infinity'),
           COALESCE(delivery.learner_ref, 'forgotten')
    FROM springest.delivery_attempt AS attempt
    JOIN springest.delivery AS delivery USING (delivery_id)
    WHERE delivery.site = :site
      AND (attempt.outcome IS NULL OR attempt.outcome IN ('outcome_unknown', 'accepted_without_id')
           OR (attempt.outcome = 'accepted_with_id'
               AND attempt.springest_certificate_id IS DISTINCT FROM delivery.springest_certificate_id))
      AND (attempt.outcome = 'accepted_with_id'
           OR delivery.match_method = 'person'
           OR delivery.state IN ('ready', 'held', 'invalid', 'rejected', 'withdrawn', 'cancelled')
           OR attempt.started_at < delivery.sent_at
           -- An earlier POST's late response had the id: the certificate of the later one is not known.
           OR (delivery.springest_certificate_id IS NOT NULL AND delivery.state <> 'sending'
               AND attempt.started_at > delivery.sent_at)
           OR (delivery.state = 'sending' AND attempt.outcome IS NOT NULL))
)
-- Every certificate that was shown and that no delivery has by its id; one whose owner contradicts who has it may be
-- its owner's. `seen_by`: when it was there at the latest.
-- A certificate absent from two complete snapshots is gone: it gets no finding, and its origin stays known.
INSERT INTO pg_temp.matching_row
SELECT remote.springest_certificate_id, remote.certification_id, remote.valid_from, remote.valid_until,
       COALESCE(remote.valid_until, 'infinity'), remote.learner_ref, remote.created_at,
       COALESCE(first.finished_at, 'infinity'),
       COALESCE(remote.lacked_at <= CAST(:since AS timestamptz), false),
       remote.springest_status,
       remote.lacked_at IS NOT NULL
FROM springest.remote_certificate AS remote
JOIN springest.snapshot AS first ON first.snapshot_id = remote.first_snapshot_id
WHERE remote.site = :site
  AND NOT EXISTS (SELECT FROM springest.delivery AS claimed
                  WHERE claimed.site = remote.site
                    AND claimed.springest_certificate_id = remote.springest_certificate_id
                    AND COALESCE(claimed.learner_ref = remote.learner_ref, true))
