-- Candidates that say what is published already are none; what they were made from is noted.
WITH same AS (
    DELETE FROM springest.reconciled_candidate AS candidate
    USING springest.reconciled_delivery AS published
    WHERE candidate.site = :site
      AND published.delivery_key = candidate.delivery_key
      AND (published.site, published.training_id, published.issue_no, published.learner_ref,
           published.certification_id, published.certification_name, published.valid_from, published.valid_until,
           published.completed_at, published.delivery_state, published.delivery_reason,
           published.delivery_reason_detail, published.verification_status, published.springest_certificate_id,
           published.springest_status, published.match_method, published.match_evidence, published.sent_at,
           published.first_visible_at, published.needs_review, published.review_reason)
          IS NOT DISTINCT FROM
          (candidate.site, candidate.training_id, candidate.issue_no, candidate.learner_ref,
           candidate.certification_id, candidate.certification_name, candidate.valid_from, candidate.valid_until,
           candidate.completed_at, candidate.delivery_state, candidate.delivery_reason,
           candidate.delivery_reason_detail, candidate.verification_status, candidate.springest_certificate_id,
           candidate.springest_status, candidate.match_method, candidate.match_evidence, candidate.sent_at,
           candidate.first_visible_at, candidate.needs_review, candidate.review_reason)
    RETURNING candidate.delivery_key, candidate.basis
), sealed AS (
    UPDATE springest.reconciled_delivery AS published
    SET seal = hash_record_extended(ROW(int8send(same.basis), pg_current_xact_id()::xid), 0)
    FROM same
    WHERE published.delivery_key = same.delivery_key
)
SELECT count(*) FROM same
