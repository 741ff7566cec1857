-- Deliveries that a run saw or sent and that need somebody, with how many they are in all.
WITH touched AS (
    SELECT delivery_id FROM springest.staged_row WHERE site = :site AND run_id = :run_id
    UNION
    SELECT delivery_id FROM springest.delivery_attempt WHERE run_id = :run_id
)
SELECT delivery.delivery_key, delivery.training_id, delivery.issue_no, delivery.state,
       COALESCE(delivery.review_reason, delivery.reason) AS reason, delivery.reason_detail AS detail,
       count(*) OVER () AS in_all
FROM touched
JOIN springest.delivery USING (delivery_id)
WHERE delivery.site = :site
  AND (delivery.state = ANY(:states) OR delivery.needs_review)
ORDER BY array_position(:states, delivery.state), delivery.training_id, delivery.issue_no
LIMIT :most
