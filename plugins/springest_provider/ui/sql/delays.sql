-- How long certificates took from sending until Springest showed them, by certification: of the last :sample sent.
SELECT certification_id,
       max(certification_name) AS certification_name,
       count(first_visible_at) AS shown,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median_seconds,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY seconds) AS most_seconds,
       count(*) FILTER (WHERE verification_status = 'awaiting_verification') AS waiting,
       min(sent_at) FILTER (WHERE verification_status = 'awaiting_verification') AS waiting_since
FROM (
    SELECT certification_id, certification_name, verification_status, sent_at, first_visible_at,
           -- GREATEST ignores nulls: a certificate that waits must not count as zero seconds.
           CASE WHEN first_visible_at IS NOT NULL
                THEN GREATEST(EXTRACT(epoch FROM first_visible_at - sent_at), 0)::double precision END AS seconds
    FROM springest.current_verdict
    WHERE site = :site AND sent_at IS NOT NULL
    ORDER BY sent_at DESC
    LIMIT :sample
) AS sent
GROUP BY certification_id
HAVING count(first_visible_at) > 0 OR count(*) FILTER (WHERE verification_status = 'awaiting_verification') > 0
ORDER BY count(*) DESC, certification_id
LIMIT 15
