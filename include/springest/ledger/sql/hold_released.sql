-- What a person released is not sent any more once Springest shows a certificate that could be it: it was stored
-- late, or the snapshot that the release rests on had missed it. The conditions are those of a release
-- (release_candidates.sql): what the site does not tell contradicts nothing.
WITH newest AS (
    SELECT max(started_at) AS since
    FROM springest.snapshot
    WHERE site = :site AND complete
), released AS (
    SELECT delivery.*,
           LEAST((SELECT min(attempt.started_at)
                  FROM springest.delivery_attempt AS attempt
                  WHERE attempt.delivery_key = delivery.delivery_key), delivery.sent_at) AS first_at
    FROM springest.delivery AS delivery
    WHERE delivery.site = :site
      AND delivery.indexed_state = 'ready'
      AND EXISTS (SELECT FROM springest.delivery_decision AS decided
                  WHERE decided.delivery_key = delivery.delivery_key
                    AND decided.decision = 'release'
                    AND CAST(decided.evidence ->> 'possibly_taken' AS boolean))
), shown AS (
    SELECT released.delivery_key, released.version, min(remote.springest_certificate_id) AS springest_certificate_id
    FROM released
    CROSS JOIN newest
    JOIN springest.remote_certificate AS remote
      ON remote.site = released.site
     AND COALESCE(remote.certification_id = released.certification_id, true)
     AND COALESCE(remote.valid_from = released.valid_from, true)
    WHERE remote.last_seen_at >= COALESCE(newest.since, '-infinity')
      AND COALESCE(remote.valid_until = released.valid_until, true)
      AND COALESCE(remote.learner_ref = released.learner_ref, true)
      AND (remote.learner_ref IS NOT NULL
           OR remote.created_at IS NULL
           OR released.first_at IS NULL
           OR remote.created_at >= released.first_at - make_interval(hours => :clock_hours))
      AND NOT EXISTS (SELECT FROM springest.delivery AS other
                      WHERE other.site = remote.site
                        AND other.springest_certificate_id = remote.springest_certificate_id
                        AND other.delivery_key <> released.delivery_key
                        AND COALESCE(other.learner_ref = remote.learner_ref, true))
    GROUP BY released.delivery_key, released.version
)
UPDATE springest.delivery AS delivery
SET state = 'review',
    reason = 'candidate_shown',
    reason_detail = format('after it was released, Springest shows certificate %s, which could be it: '
                           'look at it in Springest''s admin, then confirm it by its id, or cancel',
                           shown.springest_certificate_id),
    version = delivery.version + 1,
    updated_at = clock_timestamp()
FROM shown
WHERE delivery.delivery_key = shown.delivery_key
  AND delivery.version = shown.version
  AND delivery.state = 'ready'
RETURNING delivery.delivery_key
