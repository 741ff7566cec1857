-- Certifications whose certificates have waited for their verification for longer than they should, oldest first.
SELECT certification_id, max(certification_name) AS name, count(*) AS certificates, min(sent_at) AS oldest_sent_at
FROM springest.current_verdict
WHERE site = :site AND verification_status = 'awaiting_verification' AND certification_id IS NOT NULL
GROUP BY certification_id
HAVING min(sent_at) < clock_timestamp() - :patience
ORDER BY min(sent_at), certification_id
LIMIT :most
