-- What waits to be sent, and what a lost worker was sending, may have been sent and forgotten. ``sent_at`` stays as
-- it is: nobody knows when. Attempts that were open are lost.
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
    RETURNING delivery_key
), told AS (
    UPDATE springest.delivery_attempt AS attempt
    SET outcome = 'outcome_lost', failure = 'LedgerRestored', finished_at = clock_timestamp()
    FROM doubted
    WHERE attempt.delivery_key = doubted.delivery_key AND attempt.outcome IS NULL
)
SELECT count(*) FROM doubted
