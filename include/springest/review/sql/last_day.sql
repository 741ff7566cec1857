-- One row: what the last day brought, and the oldest certificate whose outcome is unknown. It runs once a night and reads
-- whole tables, two seconds for a million certificates: three more indexes would cost each certificate more.
SELECT entered.entered, entered.set_aside,
       attempts.sent, attempts.accepted, attempts.refused, attempts.unknown,
       (SELECT count(*) FROM springest.current_verdict
        WHERE site = :site AND first_visible_at > since.at) AS became_visible,
       (SELECT min(sent_at) FROM springest.delivery
        WHERE site = :site AND indexed_state = 'unknown') AS oldest_unknown
FROM (SELECT clock_timestamp() - interval '1 day' AS at) AS since
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE sent_at IS NOT NULL OR state IN ('ready', 'sending')) AS entered,
           count(*) FILTER (WHERE sent_at IS NULL AND state IN ('invalid', 'held', 'review')) AS set_aside
    FROM springest.delivery
    WHERE site = :site AND created_at > since.at
) AS entered
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE attempt.outcome IS DISTINCT FROM 'not_stored') AS sent,
           count(*) FILTER (WHERE attempt.outcome IN ('accepted_with_id', 'accepted_without_id')) AS accepted,
           count(*) FILTER (WHERE attempt.outcome = 'refused') AS refused,
           count(*) FILTER (WHERE attempt.outcome = 'outcome_unknown') AS unknown
    FROM springest.delivery_attempt AS attempt
    JOIN springest.delivery USING (delivery_id)
    WHERE delivery.site = :site AND attempt.started_at > since.at
) AS attempts
