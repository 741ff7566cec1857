-- Which certifications keep certificates waiting, how many, and for how long? With a text to send to Springest.
SELECT site, certification_id, certification_name, sent, not_sent, doubtful, oldest_sent_at, days, subject, body
FROM springest.waiting_by_certification
ORDER BY oldest_sent_at NULLS LAST, certification_id
