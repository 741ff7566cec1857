-- Proof by owner: Springest names the learner, and certification and dates agree. One certificate that nobody
-- claims and one delivery without an id must stand alone with these facts; otherwise nobody can tell which is
-- whose. A certificate that is older than the delivery's attempt is another one, unless it is to be adopted.
WITH wanting AS (
    SELECT delivery.delivery_key, delivery.state, delivery.sent_at, delivery.certification_id, delivery.learner_ref,
           delivery.valid_from, delivery.valid_until,
           count(*) OVER (PARTITION BY delivery.certification_id, delivery.learner_ref, delivery.valid_from,
                          delivery.valid_until) AS rivals
    FROM springest.delivery AS delivery
    WHERE delivery.site = :site
      AND delivery.springest_certificate_id IS NULL
      AND delivery.learner_ref IS NOT NULL
      AND (delivery.state IN ('sending', 'unknown', 'accepted_no_id')
           OR (delivery.state = 'review' AND delivery.sent_at IS NOT NULL)
           OR (delivery.state = 'held' AND delivery.reason = 'before_cutover'))
), shown AS (
    SELECT remote.*,
           count(*) OVER (PARTITION BY remote.certification_id, remote.learner_ref, remote.valid_from,
                          remote.valid_until) AS rivals
    FROM springest.remote_certificate AS remote
    WHERE remote.site = :site
      AND remote.learner_ref IS NOT NULL
      AND NOT EXISTS (SELECT FROM springest.delivery AS claimed
                      WHERE claimed.site = remote.site
                        AND claimed.springest_certificate_id = remote.springest_certificate_id)
)
UPDATE springest.delivery AS delivery
SET state = 'visible',
    reason = NULL,
    reason_detail = NULL,
    springest_certificate_id = shown.springest_certificate_id,
    match_method = 'owner',
    version = delivery.version + 1,
    updated_at = clock_timestamp()
FROM wanting
JOIN shown ON shown.certification_id = wanting.certification_id
          AND shown.learner_ref = wanting.learner_ref
          AND shown.valid_from = wanting.valid_from
          AND shown.valid_until IS NOT DISTINCT FROM wanting.valid_until
WHERE delivery.delivery_key = wanting.delivery_key
  AND delivery.state = wanting.state
  AND delivery.state <> 'sending'
  AND delivery.springest_certificate_id IS NULL
  AND wanting.rivals = 1
  AND shown.rivals = 1
  AND (wanting.sent_at IS NULL OR shown.created_at IS NULL
       OR shown.created_at >= wanting.sent_at - make_interval(hours => :clock_hours))
