-- The attempt always keeps what became of it. The delivery follows while its lease is this worker's; once the
-- lease was lost it is unknown, and only the worker's own 201 with an id still settles it: also when a person has
-- decided meanwhile, as long as nobody sends it again. Above all, what was released is not sent a second time.
WITH attempt AS (
    UPDATE springest.delivery_attempt
    SET finished_at = clock_timestamp(),
        outcome = :event,
        failure = :failure,
        http_status = :http_status,
        bytes_handed_over = :bytes_handed_over,
        springest_certificate_id = :springest_certificate_id,
        message = :detail
    WHERE attempt_id = :attempt_id
    RETURNING started_at
), recorded AS (
    UPDATE springest.delivery AS delivery
    SET state = :state,
        reason = :reason,
        reason_detail = :detail,
        springest_certificate_id = COALESCE(CAST(:springest_certificate_id AS bigint),
                                            delivery.springest_certificate_id),
        match_method = NULL,
        sent_at = CASE WHEN :event = 'not_taken' THEN delivery.sent_at ELSE attempt.started_at END,
        lease_owner = NULL,
        lease_until = NULL,
        needs_review = delivery.needs_review OR delivery.state IN ('cancelled', 'withdrawn'),
        review_reason = CASE delivery.state WHEN 'cancelled' THEN 'taken_although_cancelled'
                                            WHEN 'withdrawn' THEN 'withdrawn_after_sending'
                                            ELSE delivery.review_reason END,
        version = delivery.version + 1,
        updated_at = clock_timestamp()
    FROM attempt
    WHERE delivery.delivery_key = :delivery_key
      AND ((delivery.state = 'sending' AND delivery.lease_owner = :worker AND delivery.version = :version)
           OR (:event = 'accepted_with_id'
               AND (delivery.state IN ('unknown', 'review', 'ready', 'invalid', 'held', 'rejected', 'withdrawn',
                                       'cancelled')
                    OR delivery.match_method = 'person')))
    RETURNING delivery.delivery_key
)
SELECT delivery_key FROM recorded
