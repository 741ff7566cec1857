-- Which certificates does the learner of one training have? :training_id is the id of any of their trainings.
SELECT site, training_id, issue_no, certification_id, certification_name, verification_status, valid_from, valid_until,
       springest_certificate_id, sent_at, first_visible_at
FROM springest.certificate_reconciliation
WHERE learner_ref IN (SELECT learner_ref FROM springest.certificate_reconciliation WHERE training_id = :training_id)
ORDER BY valid_from DESC NULLS LAST, training_id
