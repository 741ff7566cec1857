-- A worker that let its lease run out may or may not have handed its body over: nobody can know, nobody sends.
WITH expired AS MATERIALIZED (
    SELECT delivery_key
    FROM springest.delivery
    WHERE site = :site AND indexed_state = 'sending' AND lease_until < clock_timestamp()
    ORDER BY delivery_key
    FOR UPDATE
), lost AS (
    UPDATE springest.delivery AS delivery
    SET state = 'unknown',
        reason = 'lease_lost',
        reason_detail = 'the worker that was sending it did not say what became of it: '
                        || 'it is not sent again until Springest shows it or a person decides',
        sent_at = (SELECT max(attempt.started_at)
                   FROM springest.delivery_attempt AS attempt
                   WHERE attempt.delivery_key = delivery.delivery_key),
        lease_owner = NULL,
        lease_until = NULL,
        version = delivery.version + 1,
        updated_at = clock_timestamp()
    FROM expired
    WHERE delivery.delivery_key = expired.delivery_key
      AND delivery.state = 'sending'
      AND delivery.lease_until < clock_timestamp()
    RETURNING delivery.delivery_key
), told AS (
    UPDATE springest.delivery_attempt AS attempt
    SET outcome = 'outcome_lost', failure = 'LeaseLost', finished_at = clock_timestamp()
    FROM lost
    WHERE attempt.delivery_key = lost.delivery_key AND attempt.outcome IS NULL
)
SELECT delivery_key FROM lost
