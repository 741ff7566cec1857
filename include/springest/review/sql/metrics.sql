-- One row: how a site stands, for monitoring. Attempts are looked at back to the last 50,000 of the warehouse.
WITH recent AS (
    SELECT attempt.*
    FROM (SELECT * FROM springest.delivery_attempt ORDER BY attempt_id DESC LIMIT 50000) AS attempt
    JOIN springest.delivery USING (delivery_id)
    WHERE delivery.site = :site
), of_this_try AS (
    SELECT * FROM recent WHERE run_id = :run_id AND started_at >= :since
), delay AS (
    SELECT extract(epoch FROM GREATEST(first_visible_at - sent_at, interval '0')) AS seconds
    FROM springest.current_verdict
    WHERE site = :site AND verification_status IN ('verified', 'expired') AND sent_at IS NOT NULL
      AND first_visible_at > clock_timestamp() - interval '1 day'
)
SELECT (SELECT count(*) FROM of_this_try WHERE outcome IN ('accepted_with_id', 'accepted_without_id')) AS accepted,
       (SELECT count(*) FROM of_this_try WHERE outcome = 'refused') AS refused,
       (SELECT count(*) FROM of_this_try WHERE outcome = 'outcome_unknown') AS unknown,
       (SELECT count(*) FROM of_this_try WHERE outcome = 'not_stored') AS not_stored,
       (SELECT count(*) FROM springest.delivery WHERE site = :site AND indexed_state = 'ready') AS queue_length,
       (SELECT COALESCE(extract(epoch FROM clock_timestamp() - min(sent_at)), 0)::double precision
        FROM springest.delivery WHERE site = :site AND indexed_state = 'unknown') AS oldest_unknown_seconds,
       ((SELECT count(*) FROM recent WHERE started_at > clock_timestamp() - interval '1 hour')
        + (SELECT COALESCE(sum(requests), 0) FROM springest.snapshot
           WHERE site = :site AND finished_at > clock_timestamp() - interval '1 hour')
       )::double precision / :requests_per_hour AS share_of_cap,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY delay.seconds) AS median_verification_seconds,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY delay.seconds) AS p90_verification_seconds
FROM delay
