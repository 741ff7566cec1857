-- Which deliveries need a person, since when, and what should the person do?
SELECT site, training_id, certification_name, verification_status, review_reason, waits_since, what_to_do
FROM springest.delivery_review
ORDER BY waits_since, training_id
