-- What a person released is not sent any more once Springest shows a certificate that could be it: it was stored
-- late, or the snapshot that the release rests on had missed it. The conditions are those of a release
-- (release_candidates.sql): fields that the site does not report contradict nothing. All is read here, as it is at one moment:
-- between two, the certificate that could be it may be another one, and neither would be found.
WITH shown AS MATERIALIZED (
    -- What no delivery has by its id, but for one that waits here itself.
    SELECT remote.springest_certificate_id, remote.certification_id, remote.valid_from, remote.valid_until,
           remote.learner_ref, remote.created_at
    FROM springest.remote_certificate AS remote
    WHERE remote.site = :site
      AND remote.lacked_at IS NULL
      AND NOT EXISTS (SELECT FROM springest.delivery AS other
                      WHERE other.site = :site
                        AND other.springest_certificate_id = remote.springest_certificate_id
                        AND other.indexed_state IS DISTINCT FROM 'ready'
                        AND COALESCE(other.learner_ref = remote.learner_ref, true))
), fitting AS (
    -- One part for each that Springest, or the ledger, may leave untold, so that each is a hash join.
    SELECT released.delivery_id, shown.springest_certificate_id
    FROM pg_temp.matching_released AS released
    JOIN shown ON shown.certification_id = released.certification_id AND shown.valid_from = released.valid_from
    UNION ALL
    SELECT released.delivery_id, shown.springest_certificate_id
    FROM pg_temp.matching_released AS released
    JOIN shown ON shown.certification_id = released.certification_id AND shown.valid_from IS NULL
    UNION ALL
    SELECT released.delivery_id, shown.springest_certificate_id
    FROM pg_temp.matching_released AS released
    JOIN shown ON shown.certification_id IS NULL AND shown.valid_from = released.valid_from
    UNION ALL
    SELECT released.delivery_id, shown.springest_certificate_id
    FROM pg_temp.matching_released AS released
    JOIN shown ON shown.certification_id IS NULL AND shown.valid_from IS NULL
    UNION ALL
    SELECT released.delivery_id, shown.springest_certificate_id
    FROM pg_temp.matching_released AS released
    JOIN shown ON COALESCE(shown.certification_id = released.certification_id, true)
              AND COALESCE(shown.valid_from = released.valid_from, true)
    WHERE released.certification_id IS NULL OR released.valid_from IS NULL
), candidate AS (
    SELECT released.delivery_id, released.version, min(shown.springest_certificate_id) AS springest_certificate_id
    FROM fitting
    JOIN pg_temp.matching_released AS released USING (delivery_id)
    JOIN shown USING (springest_certificate_id)
    WHERE COALESCE(shown.valid_until = released.valid_until, true)
      AND COALESCE(shown.learner_ref = released.learner_ref, true)
      AND (shown.learner_ref IS NOT NULL
           OR shown.created_at IS NULL
           OR released.first_at IS NULL
           OR shown.created_at >= released.first_at - make_interval(hours => :clock_hours))
    GROUP BY released.delivery_id, released.version
)
UPDATE springest.delivery AS delivery
SET state = 'review',
    reason = 'candidate_shown',
    reason_detail = format('after it was released, Springest shows certificate %s, which could be it: '
                           'look at it in Springest''s admin, then confirm it by its id, or cancel',
                           candidate.springest_certificate_id),
    version = delivery.version + 1,
    updated_at = clock_timestamp()
FROM candidate
WHERE delivery.delivery_id = candidate.delivery_id
  AND delivery.version = candidate.version
  AND delivery.state = 'ready'
RETURNING delivery.delivery_id
