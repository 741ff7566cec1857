-- If the lease of a worker has expired, its request may or may not have been sent: the outcome is unknown, and the
-- delivery is not sent again automatically.
WITH expired AS MATERIALIZED (
    SELECT delivery_id
    FROM springest.delivery
    WHERE site = :site AND indexed_state = 'sending' AND lease_until < clock_timestamp()
    ORDER BY delivery_key
    FOR UPDATE
), lost AS (
    UPDATE springest.delivery AS delivery
    SET state = 'unknown',
        reason = 'lease_lost',
        reason_detail = 'the worker that was sending it did not record an outcome: '
                        || 'it is not sent again until Springest shows it or a person decides',
        sent_at = (SELECT max(attempt.started_at)
                   FROM springest.delivery_attempt AS attempt
                   WHERE attempt.delivery_id = delivery.delivery_id),
        lease_owner = NULL,
        lease_until = NULL,
        version = delivery.version + 1,
        updated_at = clock_timestamp()
    FROM expired
    WHERE delivery.delivery_id = expired.delivery_id
      AND delivery.state = 'sending'
      AND delivery.lease_until < clock_timestamp()
    RETURNING delivery.delivery_id
), attempt AS (
    UPDATE springest.delivery_attempt AS attempt
    SET outcome = 'outcome_unknown', failure = 'LeaseLost', finished_at = clock_timestamp()
    FROM lost
    WHERE attempt.delivery_id = lost.delivery_id AND attempt.outcome IS NULL
)
SELECT delivery_id FROM lost
