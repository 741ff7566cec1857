-- One row: what one run saw in the source, put into the queue or set aside, and sent, all its tries together.
WITH seen AS (
    SELECT count(*) AS completed,
           count(DISTINCT delivery.delivery_id) FILTER (
               WHERE delivery.staged_run_id = :run_id
                 AND (delivery.sent_at IS NOT NULL OR delivery.state IN ('ready', 'sending'))) AS staged,
           count(DISTINCT delivery.delivery_id) FILTER (
               WHERE delivery.sent_at IS NULL AND delivery.state IN ('invalid', 'held', 'review')) AS set_aside
    FROM springest.staged_row
    JOIN springest.delivery USING (delivery_id)
    WHERE staged_row.site = :site AND staged_row.run_id = :run_id
), sent AS (
    SELECT count(*) FILTER (WHERE attempt.outcome IS DISTINCT FROM 'not_stored') AS sent,
           count(*) FILTER (WHERE attempt.outcome IN ('accepted_with_id', 'accepted_without_id')) AS accepted,
           count(*) FILTER (WHERE attempt.outcome = 'refused') AS refused,
           count(*) FILTER (WHERE attempt.outcome = 'outcome_unknown') AS unknown
    FROM springest.delivery_attempt AS attempt
    JOIN springest.delivery USING (delivery_id)
    WHERE delivery.site = :site AND attempt.run_id = :run_id
)
SELECT seen.completed, seen.staged, seen.set_aside, sent.sent, sent.accepted, sent.refused, sent.unknown,
       (SELECT count(*) FROM springest.delivery WHERE site = :site AND indexed_state = 'ready') AS "left"
FROM seen, sent
