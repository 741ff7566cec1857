-- The candidates become what analysts read. Every one of them is new or different; the site's lock keeps others out.
-- What only explains a verdict (the name of the certification, the texts) makes no version. All parts see the verdicts
-- as they were before.
WITH ended AS (
    INSERT INTO springest.ended_verdict
        (delivery_key, valid_from_ts, valid_to_ts, site, training_id, issue_no, learner_ref, certification_id,
         valid_from, valid_until, completed_at, delivery_state, delivery_reason, verification_status,
         springest_certificate_id, springest_status, match_method, sent_at, first_visible_at, needs_review,
         review_reason)
    SELECT published.delivery_key, published.valid_from_ts, CAST(:at AS timestamptz), published.site,
           published.training_id, published.issue_no, published.learner_ref, published.certification_id,
           published.valid_from, published.valid_until, published.completed_at, published.delivery_state,
           published.delivery_reason, published.verification_status, published.springest_certificate_id,
           published.springest_status, published.match_method, published.sent_at, published.first_visible_at,
           published.needs_review, published.review_reason
    FROM springest.reconciled_delivery AS published
    JOIN springest.reconciled_candidate AS candidate USING (delivery_key)
    WHERE candidate.site = :site
      AND (published.site, published.training_id, published.issue_no, published.learner_ref,
           published.certification_id, published.valid_from, published.valid_until, published.completed_at,
           published.delivery_state, published.delivery_reason, published.verification_status,
           published.springest_certificate_id, published.springest_status, published.match_method,
           published.sent_at, published.first_visible_at, published.needs_review, published.review_reason)
       IS DISTINCT FROM
          (candidate.site, candidate.training_id, candidate.issue_no, candidate.learner_ref,
           candidate.certification_id, candidate.valid_from, candidate.valid_until, candidate.completed_at,
           candidate.delivery_state, candidate.delivery_reason, candidate.verification_status,
           candidate.springest_certificate_id, candidate.springest_status, candidate.match_method,
           candidate.sent_at, candidate.first_visible_at, candidate.needs_review, candidate.review_reason)
    ORDER BY published.delivery_key
    RETURNING delivery_key
), changed AS (
    UPDATE springest.reconciled_delivery AS published
    SET (site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from, valid_until,
         completed_at, delivery_state, delivery_reason, delivery_reason_detail, verification_status,
         springest_certificate_id, springest_status, match_method, match_evidence, sent_at, first_visible_at,
         needs_review, review_reason, valid_from_ts, seal)
      = (candidate.site, candidate.training_id, candidate.issue_no, candidate.learner_ref,
         candidate.certification_id, candidate.certification_name, candidate.valid_from, candidate.valid_until,
         candidate.completed_at, candidate.delivery_state, candidate.delivery_reason,
         candidate.delivery_reason_detail, candidate.verification_status, candidate.springest_certificate_id,
         candidate.springest_status, candidate.match_method, candidate.match_evidence, candidate.sent_at,
         candidate.first_visible_at, candidate.needs_review, candidate.review_reason,
         CASE WHEN ended.delivery_key IS NULL THEN published.valid_from_ts ELSE :at END,
         hash_record_extended(ROW(int8send(candidate.basis), pg_current_xact_id()::xid), 0))
    FROM springest.reconciled_candidate AS candidate
    LEFT JOIN ended USING (delivery_key)
    WHERE candidate.site = :site AND published.delivery_key = candidate.delivery_key
), added AS (
    INSERT INTO springest.reconciled_delivery
        (delivery_key, site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from,
         valid_until, completed_at, delivery_state, delivery_reason, delivery_reason_detail, verification_status,
         springest_certificate_id, springest_status, match_method, match_evidence, sent_at, first_visible_at,
         needs_review, review_reason, valid_from_ts, seal)
    SELECT delivery_key, site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from,
           valid_until, completed_at, delivery_state, delivery_reason, delivery_reason_detail, verification_status,
           springest_certificate_id, springest_status, match_method, match_evidence, sent_at, first_visible_at,
           needs_review, review_reason, :at, hash_record_extended(ROW(int8send(basis), pg_current_xact_id()::xid), 0)
    FROM springest.reconciled_candidate AS candidate
    WHERE site = :site
      AND NOT EXISTS (SELECT FROM springest.reconciled_delivery AS published
                      WHERE published.delivery_key = candidate.delivery_key)
    ORDER BY delivery_key
    RETURNING 1
)
SELECT (SELECT count(*) FROM ended) + (SELECT count(*) FROM added)
