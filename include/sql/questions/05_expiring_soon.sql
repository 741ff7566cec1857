-- Which verified certificates expire within :days days (at most 90)?
SELECT site, certification_id, certification_name, training_id, learner_ref, valid_until, days_left
FROM springest.expiring_soon
WHERE days_left <= :days
ORDER BY valid_until, training_id
