-- The attempt always keeps what became of it. The delivery follows while its lease is this worker's; once the
-- lease was lost it is unknown, and only the worker's own 201 with an id still counts: even if a person has
-- decided meanwhile, as long as nobody sends it again. Above all, what was released is not sent a second time;
-- for that, any answer that says it was taken is enough.
-- Several outcomes at once; deliveries are locked first and in the order of their keys, as everywhere.
WITH told AS (
    SELECT *
    FROM jsonb_to_recordset(CAST(:told AS jsonb))
         AS told (worker text, attempt_id bigint, delivery_key text, version integer, event text, state text,
                  reason text, detail text, failure text, http_status integer, bytes_handed_over bigint,
                  springest_certificate_id bigint)
), held AS MATERIALIZED (
    SELECT delivery.delivery_key
    FROM springest.delivery
    JOIN told ON told.delivery_key = delivery.delivery_key
    ORDER BY delivery.delivery_key
    FOR UPDATE OF delivery
), attempt AS (
    UPDATE springest.delivery_attempt AS attempt
    SET finished_at = clock_timestamp(),
        outcome = told.event,
        failure = told.failure,
        http_status = told.http_status,
        bytes_handed_over = told.bytes_handed_over,
        springest_certificate_id = told.springest_certificate_id,
        message = told.detail
    FROM told
    JOIN held USING (delivery_key)
    WHERE attempt.attempt_id = told.attempt_id
    RETURNING attempt.attempt_id, attempt.started_at
), recorded AS (
    UPDATE springest.delivery AS delivery
    SET state = told.state,
        reason = told.reason,
        reason_detail = told.detail,
        springest_certificate_id = COALESCE(told.springest_certificate_id, delivery.springest_certificate_id),
        match_method = NULL,
        sent_at = CASE WHEN told.event = 'not_taken' THEN delivery.sent_at ELSE attempt.started_at END,
        lease_owner = NULL,
        lease_until = NULL,
        needs_review = delivery.needs_review OR delivery.state IN ('cancelled', 'withdrawn'),
        review_reason = CASE delivery.state WHEN 'cancelled' THEN 'taken_although_cancelled'
                                            WHEN 'withdrawn' THEN 'withdrawn_after_sending'
                                            ELSE delivery.review_reason END,
        version = delivery.version + 1,
        updated_at = clock_timestamp()
    FROM told
    JOIN attempt USING (attempt_id)
    WHERE delivery.delivery_key = told.delivery_key
      AND ((delivery.state = 'sending'
            AND delivery.lease_owner = told.worker
            AND delivery.version = told.version)
           OR (told.event = 'accepted_with_id'
               AND delivery.state IN ({late_with_id})
               AND (delivery.state NOT IN ('accepted', 'visible', 'vanished') OR delivery.match_method = 'person'))
           OR (told.event = 'accepted_without_id' AND delivery.state IN ({late_without_id})))
    RETURNING told.attempt_id
)
SELECT attempt_id FROM recorded
