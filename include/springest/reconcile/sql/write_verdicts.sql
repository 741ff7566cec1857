-- The candidates become what analysts read. Every one of them is new or different.
INSERT INTO springest.reconciled_delivery
    (delivery_key, site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from,
     valid_until, completed_at, delivery_state, delivery_reason, delivery_reason_detail, verification_status,
     springest_certificate_id, springest_status, match_method, match_evidence, sent_at, first_visible_at,
     needs_review, review_reason)
SELECT delivery_key, site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from,
       valid_until, completed_at, delivery_state, delivery_reason, delivery_reason_detail, verification_status,
       springest_certificate_id, springest_status, match_method, match_evidence, sent_at, first_visible_at,
       needs_review, review_reason
FROM springest.reconciled_candidate
WHERE site = :site
ORDER BY delivery_key
ON CONFLICT (delivery_key) DO UPDATE
SET (site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from, valid_until,
     completed_at, delivery_state, delivery_reason, delivery_reason_detail, verification_status,
     springest_certificate_id, springest_status, match_method, match_evidence, sent_at, first_visible_at,
     needs_review, review_reason)
  = (excluded.site, excluded.training_id, excluded.issue_no, excluded.learner_ref, excluded.certification_id,
     excluded.certification_name, excluded.valid_from, excluded.valid_until, excluded.completed_at,
     excluded.delivery_state, excluded.delivery_reason, excluded.delivery_reason_detail,
     excluded.verification_status, excluded.springest_certificate_id, excluded.springest_status,
     excluded.match_method, excluded.match_evidence, excluded.sent_at, excluded.first_visible_at,
     excluded.needs_review, excluded.review_reason)
