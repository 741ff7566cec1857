-- What a dry run staged, before it is rolled back: the rows of its window, what it checked again and changed, and what
-- it withdrew.
WITH seen AS (
    SELECT DISTINCT delivery_id FROM springest.staged_row WHERE site = :site AND run_id = :run_id
)
SELECT delivery.training_id,
       delivery.issue_no,
       delivery.certification_id,
       delivery.state,
       COALESCE(delivery.reason, delivery.review_reason) AS reason,
       delivery.reason_detail AS detail
FROM springest.delivery AS delivery
LEFT JOIN seen USING (delivery_id)
WHERE delivery.site = :site
  AND (seen.delivery_id IS NOT NULL
       OR delivery.staged_run_id = :run_id
       OR (delivery.state = 'withdrawn' AND delivery.updated_at >= transaction_timestamp()))
ORDER BY delivery.training_id, delivery.issue_no
