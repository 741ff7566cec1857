-- What a person released is not sent any more once Springest shows a certificate that could be it: it was stored
-- late, or the snapshot that the release rests on had missed it. The conditions are those of a release
-- (release_candidates.sql): what the site does not tell contradicts nothing.
WITH fitting AS (
    -- One part for each that Springest may leave untold, so that each is a hash join.
    SELECT released.*, shown.springest_certificate_id
    FROM pg_temp.matching_released AS released
    JOIN pg_temp.matching_row AS shown
      ON shown.certification_id = released.certification_id AND shown.valid_from = released.valid_from
    UNION ALL
    SELECT released.*, shown.springest_certificate_id
    FROM pg_temp.matching_released AS released
    JOIN pg_temp.matching_row AS shown
      ON shown.certification_id = released.certification_id AND shown.valid_from IS NULL
    UNION ALL
    SELECT released.*, shown.springest_certificate_id
    FROM pg_temp.matching_released AS released
    JOIN pg_temp.matching_row AS shown
      ON shown.certification_id IS NULL AND shown.valid_from = released.valid_from
    UNION ALL
    SELECT released.*, shown.springest_certificate_id
    FROM pg_temp.matching_released AS released
    JOIN pg_temp.matching_row AS shown
      ON shown.certification_id IS NULL AND shown.valid_from IS NULL
), candidate AS (
    SELECT fitting.delivery_key, fitting.version, min(remote.springest_certificate_id) AS springest_certificate_id
    FROM fitting
    JOIN springest.remote_certificate AS remote
      ON remote.site = :site AND remote.springest_certificate_id = fitting.springest_certificate_id
    WHERE remote.last_seen_at >= COALESCE((SELECT max(started_at) FROM springest.snapshot
                                           WHERE site = :site AND complete), '-infinity')
      AND COALESCE(remote.valid_until = fitting.valid_until, true)
      AND COALESCE(remote.learner_ref = fitting.learner_ref, true)
      AND (remote.learner_ref IS NOT NULL
           OR remote.created_at IS NULL
           OR fitting.first_at IS NULL
           OR remote.created_at >= fitting.first_at - make_interval(hours => :clock_hours))
      -- Since both sides were laid out, a delivery may have been told that it is its own.
      AND NOT EXISTS (SELECT FROM springest.delivery AS other
                      WHERE other.site = :site
                        AND other.springest_certificate_id = remote.springest_certificate_id
                        AND COALESCE(other.learner_ref = remote.learner_ref, true))
    GROUP BY fitting.delivery_key, fitting.version
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
WHERE delivery.delivery_key = candidate.delivery_key
  AND delivery.version = candidate.version
  AND delivery.state = 'ready'
RETURNING delivery.delivery_key
