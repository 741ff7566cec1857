-- What two complete snapshots at least a day apart lack. Certificates are shown once their certification is verified,
-- so an absence means something only where that is known: both snapshots show another certificate of it that was posted
-- later, or it was listed before both of them on a site whose list is known to hold verified ones only. Both must have
-- begun after the last POST could still have been stored.
WITH newest AS (
    SELECT snapshot_id, started_at
    FROM springest.snapshot
    WHERE site = :site AND complete
    ORDER BY started_at DESC, snapshot_id DESC
    LIMIT 1
), earlier AS (
    SELECT snapshot.snapshot_id, snapshot.started_at
    FROM springest.snapshot, newest
    WHERE snapshot.site = :site
      AND snapshot.complete
      AND snapshot.started_at <= newest.started_at - make_interval(hours => :apart_hours)
    ORDER BY snapshot.started_at DESC, snapshot.snapshot_id DESC
    LIMIT 1
), watched AS (
    SELECT newest.started_at AS newest_at,
           earlier.started_at AS since,
           format('snapshots %s and %s, of %s and %s UTC, are complete and lack it', earlier.snapshot_id,
                  newest.snapshot_id,
                  to_char(earlier.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
                  to_char(newest.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')) AS evidence
    FROM newest, earlier
), sent AS MATERIALIZED (
    SELECT delivery.*, watched.since, watched.newest_at, watched.evidence AS lacked_by
    FROM springest.delivery AS delivery
    CROSS JOIN watched
    WHERE delivery.site = :site
      AND (delivery.state IN ('accepted', 'accepted_no_id', 'unknown')
           OR (delivery.state = 'review' AND delivery.reason = 'unknown_for_long'))
      AND delivery.sent_at + make_interval(hours => :stored_by_hours) < watched.since
), shown_last AS MATERIALIZED (
    -- Of each certification, the certificate that was posted last among those that both snapshots show.
    SELECT DISTINCT ON (shown.certification_id) shown.certification_id, shown.springest_certificate_id, shown.posted_at
    FROM ({shown_posts}    WHERE remote.site = :site
          AND remote.certification_id IN (SELECT certification_id FROM sent)) AS shown
    CROSS JOIN watched
    WHERE shown.first_seen_at <= watched.since AND shown.lacked_at IS NULL
      AND shown.posted_at IS NOT NULL
    ORDER BY shown.certification_id, shown.posted_at DESC
), waiting AS (
    SELECT sent.*,
           sent.lacked_by || CASE
               WHEN shown_last.certification_id IS NOT NULL
                   THEN format(', although both show certificate %s of its certification, which was posted later: ',
                               shown_last.springest_certificate_id)
               ELSE format(', although its certification has been listed as verified since %s UTC: ',
                           to_char(certification.listed_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')) END
               AS evidence
    FROM sent
    LEFT JOIN shown_last
           ON shown_last.certification_id = sent.certification_id AND shown_last.posted_at > sent.sent_at
    LEFT JOIN springest.certification AS certification
           ON certification.site = sent.site
          AND certification.certification_id = sent.certification_id
          AND certification.is_listed
          AND certification.listed_since < sent.since
          AND certification.last_seen_at >= sent.since
    WHERE shown_last.certification_id IS NOT NULL
       OR (CAST(:lists_verified_only AS boolean) AND certification.certification_id IS NOT NULL)
), unseen AS (
    -- Its id is not shown,
    SELECT waiting.*
    FROM waiting
    WHERE waiting.springest_certificate_id IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM springest.remote_certificate AS remote
          WHERE remote.site = waiting.site
            AND remote.springest_certificate_id = waiting.springest_certificate_id
            AND COALESCE(remote.lacked_at > waiting.since, true))
    UNION ALL
    -- or, without one, nothing is shown that could be it, whatever Springest leaves untold.
    SELECT waiting.*
    FROM waiting
    WHERE waiting.springest_certificate_id IS NULL
      AND NOT EXISTS (
          SELECT FROM pg_temp.matching_row AS shown
          WHERE shown.certification_id = waiting.certification_id
            AND shown.valid_from = waiting.valid_from
            AND COALESCE(shown.valid_until = waiting.valid_until, true)
            AND COALESCE(shown.learner_ref = waiting.learner_ref, true)
            AND NOT shown.is_gone)
      AND NOT EXISTS (
          SELECT FROM pg_temp.matching_row AS shown
          WHERE shown.certification_id = waiting.certification_id
            AND shown.valid_from IS NULL
            AND COALESCE(shown.valid_until = waiting.valid_until, true)
            AND COALESCE(shown.learner_ref = waiting.learner_ref, true)
            AND NOT shown.is_gone)
      AND NOT EXISTS (
          SELECT FROM pg_temp.matching_row AS shown
          WHERE shown.valid_from = waiting.valid_from
            AND shown.certification_id IS NULL
            AND COALESCE(shown.valid_until = waiting.valid_until, true)
            AND COALESCE(shown.learner_ref = waiting.learner_ref, true)
            AND NOT shown.is_gone)
      AND NOT EXISTS (
          SELECT FROM pg_temp.matching_row AS shown
          WHERE shown.certification_id IS NULL
            AND shown.valid_from IS NULL
            AND COALESCE(shown.valid_until = waiting.valid_until, true)
            AND COALESCE(shown.learner_ref = waiting.learner_ref, true)
            AND NOT shown.is_gone)
), absent AS (
    SELECT unseen.delivery_id, unseen.version, 'review' AS state,
           CASE WHEN unseen.state IN ('accepted', 'accepted_no_id') THEN 'missing' ELSE 'absent' END AS reason,
           unseen.evidence
           || CASE WHEN unseen.state IN ('accepted', 'accepted_no_id')
                   THEN 'ask Springest what became of it'
                   ELSE 'Springest seems not to have taken it, and releasing it to be sent again looks safe' END
               AS detail
    FROM unseen
    UNION ALL
    SELECT delivery.delivery_id, delivery.version, 'vanished', 'vanished',
           format('certificate %s was shown until %s UTC; ', delivery.springest_certificate_id,
                  to_char(remote.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'))
           || watched.evidence || ': ask Springest what became of it'
    FROM springest.delivery AS delivery
    CROSS JOIN watched
    JOIN springest.remote_certificate AS remote
      ON remote.site = delivery.site
     AND remote.springest_certificate_id = delivery.springest_certificate_id
     AND remote.lacked_at <= watched.since
    WHERE delivery.site = :site AND delivery.state = 'visible'
)
UPDATE springest.delivery AS delivery
SET state = absent.state,
    reason = absent.reason,
    reason_detail = absent.detail,
    version = delivery.version + 1,
    updated_at = clock_timestamp()
FROM absent
WHERE delivery.delivery_id = absent.delivery_id AND delivery.version = absent.version
RETURNING delivery.state, delivery.reason
