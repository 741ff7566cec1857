-- Clear everything that leads to the learner; states stay. A delivery that was never sent is set aside, with a new
-- version that keeps workers from claiming it. A delivery in `sending` keeps its version, so that the worker can still
-- record the outcome. `reason` is kept, but not `reason_detail`, which may contain the server's text.
WITH theirs AS (
    SELECT delivery.delivery_id,
           delivery.state IN ({unsent})
           OR (delivery.state = 'review' AND NOT EXISTS (
                   SELECT FROM springest.delivery_attempt AS attempt
                   WHERE attempt.delivery_id = delivery.delivery_id
                     AND attempt.possibly_stored)) AS stopped
    FROM springest.delivery AS delivery
    WHERE delivery.learner_ref = :learner_ref
    ORDER BY delivery.delivery_key
    FOR UPDATE
)
UPDATE springest.delivery AS delivery
SET learner_ref = NULL,
    booking_id = NULL,
    document_ref = NULL,
    document_sha256 = NULL,
    document_size = NULL,
    document_checked = NULL,
    row_version = :row_version,
    state = CASE WHEN theirs.stopped THEN 'invalid' ELSE delivery.state END,
    reason = CASE WHEN theirs.stopped THEN :reason ELSE delivery.reason END,
    reason_detail = CASE WHEN theirs.stopped THEN :detail END,
    needs_review = delivery.needs_review AND NOT theirs.stopped,
    review_reason = CASE WHEN theirs.stopped THEN NULL ELSE delivery.review_reason END,
    version = delivery.version + CASE WHEN theirs.stopped THEN 1 ELSE 0 END,
    updated_at = clock_timestamp()
FROM theirs
WHERE delivery.delivery_id = theirs.delivery_id
RETURNING delivery.delivery_id, theirs.stopped
