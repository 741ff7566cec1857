-- Facts that determine how much of the list a snapshot must read.
WITH last AS MATERIALIZED (
    SELECT max(started_at) FILTER (WHERE complete) AS complete_at,
           max(started_at) FILTER (WHERE finished_at IS NOT NULL AND scope <> 'owners') AS any_at
    FROM springest.snapshot
    WHERE site = :site
), waiting AS MATERIALIZED (
    SELECT delivery.certification_id, delivery.sent_at,
           -- Only then can a snapshot lack it; see `settle_absent.sql`.
           COALESCE(CAST(:lists_verified_only AS boolean) AND certification.listed_since < last.any_at, false)
               AS is_verified
    FROM springest.delivery AS delivery
    CROSS JOIN last
    JOIN springest.certification AS certification
      ON certification.site = delivery.site
     AND certification.certification_id = delivery.certification_id
     AND certification.is_listed
    WHERE delivery.site = :site
      AND (delivery.state IN ('accepted', 'accepted_no_id', 'unknown')
           OR (delivery.state = 'review' AND delivery.reason = 'unknown_for_long'))
      AND NOT EXISTS (SELECT FROM springest.delivery_match AS matched
                      WHERE matched.delivery_id = delivery.delivery_id)
), shown_last AS MATERIALIZED (
    SELECT shown.certification_id, max(shown.posted_at) AS posted_at
    FROM ({shown_posts}    WHERE remote.site = :site
          AND remote.certification_id IN (SELECT certification_id FROM waiting)
          AND remote.lacked_at IS NULL) AS shown
    GROUP BY shown.certification_id
), awaited AS MATERIALIZED (
    SELECT waiting.certification_id, waiting.sent_at,
           waiting.is_verified OR COALESCE(shown_last.posted_at > waiting.sent_at, false) AS is_verified,
           shown_last.certification_id IS NOT NULL AS is_shown
    FROM waiting
    LEFT JOIN shown_last USING (certification_id)
), unseen AS MATERIALIZED (
    -- Few rows on most nights; starting from the deliveries would look up a million.
    SELECT remote.springest_certificate_id
    FROM springest.remote_certificate AS remote
    WHERE remote.site = :site AND remote.lacked_at IS NOT NULL
)
SELECT last.complete_at,
       last.any_at,
       clock_timestamp() AS now,
       (SELECT last_total FROM springest.snapshot
        WHERE site = :site AND complete ORDER BY started_at DESC LIMIT 1) AS total,
       -- Certificates that the last snapshot should have shown: only complete ones can prove that they are missing.
       EXISTS (SELECT FROM awaited
               WHERE awaited.is_verified
                 AND awaited.sent_at < last.any_at - make_interval(hours => :stored_by_hours)) AS awaits_missing,
       EXISTS (SELECT FROM unseen
               JOIN springest.delivery AS delivery
                 ON delivery.site = :site
                AND delivery.springest_certificate_id = unseen.springest_certificate_id
               WHERE delivery.state = 'visible') AS awaits_vanished,
       -- Certifications without a shown certificate: once verified, they show old certificates as well.
       ARRAY(SELECT DISTINCT certification_id FROM awaited
             WHERE NOT is_verified AND NOT is_shown AND sent_at < last.any_at ORDER BY 1) AS may_be_verified
FROM last
