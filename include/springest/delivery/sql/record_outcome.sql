-- Record outcomes. The attempt always gets its outcome. The delivery follows while it is leased to this worker. After
-- the lease, the delivery is unknown, and only a late 201 with an id still changes it: also if a person has decided
-- meanwhile, unless it is being sent again. A released delivery must not be sent again, so for it a late response
-- without an id counts as well.
-- Several outcomes at once; deliveries are locked first and in the order of their keys, as everywhere.
WITH outcome AS (
    SELECT *
    FROM jsonb_to_recordset(CAST(:outcomes AS jsonb))
         AS outcome (worker text, attempt_id bigint, delivery_key text, version integer, event text, state text,
                     reason text, detail text, failure text, http_status integer, bytes_handed_over bigint,
                     springest_certificate_id bigint)
), locked AS MATERIALIZED (
    SELECT delivery.delivery_key
    FROM springest.delivery
    JOIN outcome ON outcome.delivery_key = delivery.delivery_key
    ORDER BY delivery.delivery_key
    FOR UPDATE OF delivery
), attempt AS (
    UPDATE springest.delivery_attempt AS attempt
    SET finished_at = clock_timestamp(),
        outcome = outcome.event,
        failure = outcome.failure,
        http_status = outcome.http_status,
        bytes_handed_over = outcome.bytes_handed_over,
        springest_certificate_id = outcome.springest_certificate_id,
        message = outcome.detail
    FROM outcome
    JOIN locked USING (delivery_key)
    WHERE attempt.attempt_id = outcome.attempt_id
    RETURNING attempt.attempt_id, attempt.started_at
), recorded AS (
    UPDATE springest.delivery AS delivery
    SET state = outcome.state,
        reason = outcome.reason,
        reason_detail = outcome.detail,
        springest_certificate_id = COALESCE(outcome.springest_certificate_id, delivery.springest_certificate_id),
        match_method = NULL,
        sent_at = CASE WHEN outcome.event = 'not_stored' THEN delivery.sent_at ELSE attempt.started_at END,
        lease_owner = NULL,
        lease_until = NULL,
        needs_review = delivery.needs_review OR delivery.state IN ('cancelled', 'withdrawn'),
        review_reason = CASE delivery.state WHEN 'cancelled' THEN 'stored_although_cancelled'
                                            WHEN 'withdrawn' THEN 'withdrawn_after_sending'
                                            ELSE delivery.review_reason END,
        version = delivery.version + 1,
        updated_at = clock_timestamp()
    FROM outcome
    JOIN attempt USING (attempt_id)
    WHERE delivery.delivery_key = outcome.delivery_key
      AND ((delivery.state = 'sending'
            AND delivery.lease_owner = outcome.worker
            AND delivery.version = outcome.version)
           OR (outcome.event = 'accepted_with_id'
               AND delivery.state IN ({late_with_id})
               AND (delivery.state NOT IN ('accepted', 'visible', 'vanished') OR delivery.match_method = 'person'))
           OR (outcome.event = 'accepted_without_id' AND delivery.state IN ({late_without_id})))
    RETURNING outcome.attempt_id
)
SELECT attempt_id FROM recorded
