-- What decides how much of the list a snapshot has to read.
WITH last AS MATERIALIZED (
    SELECT max(started_at) FILTER (WHERE complete) AS complete_at,
           max(started_at) FILTER (WHERE finished_at IS NOT NULL AND scope <> 'owners') AS any_at
    FROM springest.snapshot
    WHERE site = :site
), waiting AS (
    SELECT delivery.certification_id, delivery.sent_at, certification.listed_since
    FROM springest.delivery AS delivery
    JOIN springest.certification AS certification
      ON certification.site = delivery.site
     AND certification.certification_id = delivery.certification_id
     AND certification.is_listed
    WHERE delivery.site = :site
      AND (delivery.state IN ('accepted', 'accepted_no_id', 'unknown')
           OR (delivery.state = 'review' AND delivery.reason = 'unknown_for_long'))
      AND NOT EXISTS (SELECT FROM springest.delivery_match AS matched
                      WHERE matched.delivery_key = delivery.delivery_key)
), unseen AS MATERIALIZED (
    -- Few on most nights; begun from the deliveries, a million would be looked up.
    SELECT remote.springest_certificate_id
    FROM springest.remote_certificate AS remote
    WHERE remote.site = :site AND remote.last_seen_at < (SELECT complete_at FROM last)
)
SELECT last.complete_at,
       last.any_at,
       clock_timestamp() AS now,
       (SELECT last_total FROM springest.snapshot
        WHERE site = :site AND complete ORDER BY started_at DESC LIMIT 1) AS total,
       -- What the last snapshot should have shown and did not: only complete ones can say that it is missing.
       EXISTS (SELECT FROM waiting
               WHERE waiting.listed_since < last.any_at
                 AND waiting.sent_at < last.any_at - make_interval(hours => :stored_by_hours)) AS awaits_missing,
       EXISTS (SELECT FROM unseen
               JOIN springest.delivery AS delivery
                 ON delivery.site = :site
                AND delivery.springest_certificate_id = unseen.springest_certificate_id
               WHERE delivery.state = 'visible') AS awaits_vanished,
       ARRAY(SELECT DISTINCT certification_id FROM waiting
             WHERE waiting.listed_since >= last.any_at ORDER BY 1) AS newly_listed
FROM last
