-- The facts behind a decision, apart from the delivery itself, which is locked. ``possibly_taken_at`` is the latest time
-- at which a POST of it may have been in flight, or NULL. ``shown_posted_at`` is when the last certificate of its
-- certification that the newest complete snapshot shows was posted: one of the newest by id, since a certification may have
-- tens of thousands. Should ids not grow with time, it may be too early, which is less evidence and never too much.
SELECT delivery.site,
       delivery.springest_certificate_id,
       delivery.match_method,
       delivery.sent_at,
       delivery.lease_until,
       delivery.updated_at,
       clock_timestamp() AS now,
       GREATEST(attempt.last_at, delivery.sent_at,
                -- It may have been sent before the ledger was restored from a backup.
                CASE WHEN delivery.created_at < restoration.last_at
                       OR COALESCE(delivery.completed_at < restoration.last_at, true)
                     THEN restoration.last_at END) AS possibly_taken_at,
       complete.snapshot_id,
       complete.started_at AS snapshot_started_at,
       complete.finished_at AS snapshot_finished_at,
       certification.listed_since,
       shown.springest_certificate_id IS NOT NULL AS certification_is_shown,
       shown.posted_at AS shown_posted_at
FROM springest.delivery AS delivery
LEFT JOIN springest.certification AS certification
       ON certification.site = delivery.site
      AND certification.certification_id = delivery.certification_id
CROSS JOIN LATERAL (
    SELECT max(one.started_at) AS last_at
    FROM springest.delivery_attempt AS one
    WHERE one.delivery_id = delivery.delivery_id
      AND one.possibly_stored
) AS attempt
CROSS JOIN LATERAL (SELECT max(restored_at) AS last_at FROM springest.ledger_restoration WHERE NOT follows_trial) AS restoration
LEFT JOIN LATERAL (
    SELECT snapshot_id, started_at, finished_at
    FROM springest.snapshot
    WHERE snapshot.site = delivery.site AND snapshot.complete
    ORDER BY started_at DESC, snapshot_id DESC
    LIMIT 1
) AS complete ON true
LEFT JOIN LATERAL (
    SELECT posts.springest_certificate_id, posts.posted_at
    FROM ({shown_posts}    WHERE remote.site = delivery.site
          AND remote.certification_id = delivery.certification_id
          AND remote.lacked_at IS NULL
          ORDER BY remote.springest_certificate_id DESC
          LIMIT :newest) AS posts
    ORDER BY posts.posted_at DESC NULLS LAST
    LIMIT 1
) AS shown ON true
WHERE delivery.delivery_key = :delivery_key
