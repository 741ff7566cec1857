-- Certificates that each of the last delivering runs sent, without this run.
SELECT count(DISTINCT attempt.delivery_id)
FROM springest.delivery_attempt AS attempt
JOIN springest.delivery USING (delivery_id)
WHERE delivery.site = :site AND attempt.run_id <> :run_id
GROUP BY attempt.run_id
ORDER BY min(attempt.started_at) DESC
LIMIT :last
