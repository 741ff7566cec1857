-- Which certificates does one learner have? :learner_ref is the learner's reference.
SELECT site, training_id, issue_no, certification_id, certification_name, verification_status, valid_from, valid_until,
       springest_certificate_id, sent_at, first_visible_at
FROM springest.certificate_reconciliation
WHERE learner_ref = :learner_ref
ORDER BY valid_from DESC NULLS LAST, training_id
