-- Certificates that one run sent in all its tries, but for those that certainly never reached the server.
SELECT count(DISTINCT attempt.delivery_key)
FROM springest.delivery_attempt AS attempt
JOIN springest.delivery USING (delivery_key)
WHERE delivery.site = :site AND attempt.run_id = :run_id AND attempt.outcome IS DISTINCT FROM 'not_taken'
