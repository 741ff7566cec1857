-- The older version knows nobody who was forgotten: the next night would bring them back, and send a certificate again
-- that was delivered under another number of the training.
DO $$
BEGIN
    IF EXISTS (SELECT FROM springest.forgotten_learner) THEN
        RAISE EXCEPTION 'learners were forgotten, which the older version can not keep to: nothing was changed'
            USING HINT = 'Make sure that the source has forgotten them too, keep a copy of springest.forgotten_learner '
                         'to put back later, empty it, and go back again';
    END IF;
END
$$;
DROP VIEW springest.failed_check;
DROP VIEW springest.reconciliation_freshness;
DROP VIEW springest.expiring_soon;
DROP VIEW springest.waiting_by_certification;
DROP VIEW springest.reconciliation_daily;
DROP VIEW springest.delivery_review;
CREATE OR REPLACE VIEW springest.certificate_reconciliation AS
SELECT verdict.delivery_key, verdict.site, verdict.training_id, verdict.issue_no, verdict.learner_ref,
       verdict.certification_id, verdict.certification_name, verdict.valid_from, verdict.valid_until,
       verdict.completed_at, verdict.delivery_state, verdict.delivery_reason, verdict.delivery_reason_detail,
       verdict.verification_status, verdict.springest_certificate_id, verdict.springest_status,
       verdict.match_method, verdict.match_evidence, verdict.sent_at, verdict.first_visible_at,
       remote.last_seen_at, verdict.needs_review, verdict.review_reason, publication.reconciled_at
FROM springest.reconciled_delivery AS verdict
JOIN springest.publication USING (site)
LEFT JOIN springest.remote_certificate AS remote
       ON remote.site = verdict.site
      AND remote.springest_certificate_id = verdict.springest_certificate_id;
DROP TABLE springest.forgotten_learner;
DROP TABLE springest.candidate_set;
DROP TABLE springest.reconciled_candidate;
DROP TABLE springest.certificate_reconciliation_history;
ALTER TABLE springest.reconciled_delivery
    ADD CONSTRAINT reconciled_delivery_delivery_key_fkey FOREIGN KEY (delivery_key)
        REFERENCES springest.delivery (delivery_key);
