-- Versions that begin with this publication: of what is new, and of what was just closed.
INSERT INTO springest.certificate_reconciliation_history
    (delivery_key, valid_from_ts, site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until,
     completed_at, delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
     match_method, sent_at, first_visible_at, needs_review, review_reason)
SELECT candidate.delivery_key, :at, candidate.site, candidate.training_id, candidate.issue_no, candidate.learner_ref,
       candidate.certification_id, candidate.valid_from, candidate.valid_until, candidate.completed_at,
       candidate.delivery_state, candidate.delivery_reason, candidate.verification_status,
       candidate.springest_certificate_id, candidate.springest_status, candidate.match_method, candidate.sent_at,
       candidate.first_visible_at, candidate.needs_review, candidate.review_reason
FROM springest.reconciled_candidate AS candidate
WHERE candidate.site = :site
  AND NOT EXISTS (SELECT FROM springest.certificate_reconciliation_history AS version
                  WHERE version.delivery_key = candidate.delivery_key AND version.is_current)
ORDER BY candidate.delivery_key
