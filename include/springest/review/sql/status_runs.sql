-- The last runs that staged or sent, with the outcomes of their attempts. A run that was cleared may send long after it
-- staged, so the runs of the warehouse's last 4,000 attempts, an hour at the usual cap, are candidates as well.
WITH staged AS (
    SELECT run_id, committed_at, source_count FROM springest.staging_run
    WHERE site = :site AND window_end > window_start  -- not the entry that records the beginning of a site
), candidate AS (
    (SELECT run_id FROM staged ORDER BY committed_at DESC LIMIT 5)
    UNION
    SELECT attempt.run_id
    FROM (SELECT run_id, delivery_id FROM springest.delivery_attempt ORDER BY attempt_id DESC LIMIT 4000) AS attempt
    JOIN springest.delivery USING (delivery_id)
    WHERE delivery.site = :site
)
SELECT run_id, staged.source_count AS staged_rows, staged.committed_at AS staged_at, sent.last_sent_at,
       sent.attempts, sent.accepted, sent.refused, sent.not_stored, sent.unknown, sent.under_way
FROM candidate
LEFT JOIN staged USING (run_id)
CROSS JOIN LATERAL (
    SELECT max(attempt.started_at) AS last_sent_at,
           count(*) AS attempts,
           count(*) FILTER (WHERE attempt.outcome IN ('accepted_with_id', 'accepted_without_id')) AS accepted,
           count(*) FILTER (WHERE attempt.outcome = 'refused') AS refused,
           count(*) FILTER (WHERE attempt.outcome = 'not_stored') AS not_stored,
           count(*) FILTER (WHERE attempt.outcome = 'outcome_unknown') AS unknown,
           count(*) FILTER (WHERE attempt.outcome IS NULL) AS under_way
    FROM springest.delivery_attempt AS attempt
    JOIN springest.delivery USING (delivery_id)
    WHERE delivery.site = :site AND attempt.run_id = candidate.run_id
) AS sent
ORDER BY GREATEST(staged.committed_at, sent.last_sent_at) DESC
LIMIT 5
