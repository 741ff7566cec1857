-- The last runs that staged or sent, with the outcomes of their attempts, counted over the warehouse's last 50,000
-- attempts.
WITH attempts AS (
    SELECT attempt.run_id,
           max(attempt.started_at) AS last_at,
           count(*) AS attempts,
           count(*) FILTER (WHERE attempt.outcome IN ('accepted_with_id', 'accepted_without_id')) AS accepted,
           count(*) FILTER (WHERE attempt.outcome = 'refused') AS refused,
           count(*) FILTER (WHERE attempt.outcome = 'not_stored') AS not_stored,
           count(*) FILTER (WHERE attempt.outcome = 'outcome_unknown') AS unknown,
           count(*) FILTER (WHERE attempt.outcome IS NULL) AS under_way
    FROM (SELECT * FROM springest.delivery_attempt ORDER BY attempt_id DESC LIMIT 50000) AS attempt
    JOIN springest.delivery USING (delivery_id)
    WHERE delivery.site = :site
    GROUP BY attempt.run_id
), staged AS (
    SELECT run_id, committed_at, source_count FROM springest.staging_run
    WHERE site = :site AND window_end > window_start  -- not the entry that records the beginning of a site
)
SELECT run_id, staged.source_count AS staged_rows, staged.committed_at AS staged_at, attempts.last_at AS last_sent_at,
       COALESCE(attempts.attempts, 0) AS attempts, COALESCE(attempts.accepted, 0) AS accepted,
       COALESCE(attempts.refused, 0) AS refused, COALESCE(attempts.not_stored, 0) AS not_stored,
       COALESCE(attempts.unknown, 0) AS unknown, COALESCE(attempts.under_way, 0) AS under_way
FROM staged
FULL JOIN attempts USING (run_id)
ORDER BY GREATEST(staged.committed_at, attempts.last_at) DESC
LIMIT 5
