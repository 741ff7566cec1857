-- Versions that end with this publication. What only explains a verdict (the name of the certification, the texts)
-- ends none.
UPDATE springest.certificate_reconciliation_history AS version
SET valid_to_ts = :at
FROM springest.reconciled_candidate AS candidate
WHERE candidate.site = :site
  AND version.delivery_key = candidate.delivery_key
  AND version.is_current
  AND (version.site, version.training_id, version.issue_no, version.learner_ref, version.certification_id,
       version.valid_from, version.valid_until, version.completed_at, version.delivery_state,
       version.delivery_reason, version.verification_status, version.springest_certificate_id,
       version.springest_status, version.match_method, version.sent_at, version.first_visible_at,
       version.needs_review, version.review_reason)
   IS DISTINCT FROM
      (candidate.site, candidate.training_id, candidate.issue_no, candidate.learner_ref, candidate.certification_id,
       candidate.valid_from, candidate.valid_until, candidate.completed_at, candidate.delivery_state,
       candidate.delivery_reason, candidate.verification_status, candidate.springest_certificate_id,
       candidate.springest_status, candidate.match_method, candidate.sent_at, candidate.first_visible_at,
       candidate.needs_review, candidate.review_reason)
