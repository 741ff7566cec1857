-- The candidates become what analysts read. Every one of them is new or different; the site's lock keeps others out.
WITH changed AS (
    UPDATE springest.reconciled_delivery AS published
    SET (site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from, valid_until,
         completed_at, delivery_state, delivery_reason, delivery_reason_detail, verification_status,
         springest_certificate_id, springest_status, match_method, match_evidence, sent_at, first_visible_at,
         needs_review, review_reason, seal)
      = (candidate.site, candidate.training_id, candidate.issue_no, candidate.learner_ref,
         candidate.certification_id, candidate.certification_name, candidate.valid_from, candidate.valid_until,
         candidate.completed_at, candidate.delivery_state, candidate.delivery_reason,
         candidate.delivery_reason_detail, candidate.verification_status, candidate.springest_certificate_id,
         candidate.springest_status, candidate.match_method, candidate.match_evidence, candidate.sent_at,
         candidate.first_visible_at, candidate.needs_review, candidate.review_reason,
         hash_record_extended(ROW(candidate.basis, pg_current_xact_id()::xid), 0))
    FROM springest.reconciled_candidate AS candidate
    WHERE candidate.site = :site AND published.delivery_key = candidate.delivery_key
)
INSERT INTO springest.reconciled_delivery
    (delivery_key, site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from,
     valid_until, completed_at, delivery_state, delivery_reason, delivery_reason_detail, verification_status,
     springest_certificate_id, springest_status, match_method, match_evidence, sent_at, first_visible_at,
     needs_review, review_reason, seal)
SELECT delivery_key, site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from,
       valid_until, completed_at, delivery_state, delivery_reason, delivery_reason_detail, verification_status,
       springest_certificate_id, springest_status, match_method, match_evidence, sent_at, first_visible_at,
       needs_review, review_reason, hash_record_extended(ROW(basis, pg_current_xact_id()::xid), 0)
FROM springest.reconciled_candidate AS candidate
WHERE site = :site
  AND NOT EXISTS (SELECT FROM springest.reconciled_delivery AS published
                  WHERE published.delivery_key = candidate.delivery_key)
ORDER BY delivery_key
