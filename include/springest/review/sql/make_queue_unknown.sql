-- Deliveries that wait to be sent, and those that a dead worker was sending, may have been sent by lost attempts.
-- ``sent_at`` stays, since the time is unknown. Open attempts become unknown.
WITH doubted AS (
    UPDATE springest.delivery
    SET state = 'unknown',
        reason = :reason,
        reason_detail = :detail,
        lease_owner = NULL,
        lease_until = NULL,
        version = version + 1,
        updated_at = clock_timestamp()
    WHERE state IN ('ready', 'sending')
    RETURNING delivery_id
), told AS (
    UPDATE springest.delivery_attempt AS attempt
    SET outcome = 'outcome_unknown', failure = 'LedgerRestored', finished_at = clock_timestamp()
    FROM doubted
    WHERE attempt.delivery_id = doubted.delivery_id AND attempt.outcome IS NULL
)
SELECT count(*) FROM doubted
