-- last_seen_at and reconciled_at are joined, so that a quiet night rewrites no verdict.
CREATE OR REPLACE VIEW springest.certificate_reconciliation WITH (security_barrier) AS
SELECT verdict.delivery_key, verdict.site, verdict.training_id, verdict.issue_no, verdict.learner_ref,
       verdict.certification_id, verdict.certification_name, verdict.valid_from, verdict.valid_until,
       verdict.completed_at, verdict.delivery_state, verdict.delivery_reason, verdict.delivery_reason_detail,
       verdict.live_status AS verification_status,
       verdict.springest_certificate_id, verdict.springest_status,
       verdict.match_method, verdict.match_evidence, verdict.sent_at, verdict.first_visible_at,
       remote.last_seen_at, verdict.needs_review, verdict.review_reason, latest.reconciled_at
FROM springest.current_verdict AS verdict
JOIN (SELECT site, max(published_at) AS reconciled_at FROM springest.publication GROUP BY site) AS latest USING (site)
LEFT JOIN springest.seen_certificate AS remote
       ON remote.site = verdict.site
      AND remote.springest_certificate_id = verdict.springest_certificate_id;

COMMENT ON VIEW springest.certificate_reconciliation IS
    'The status of each certificate: delivery and verification, one row per delivery';
COMMENT ON COLUMN springest.certificate_reconciliation.delivery_key IS 'Delivery';
COMMENT ON COLUMN springest.certificate_reconciliation.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.certificate_reconciliation.training_id IS 'Completed training in the source';
COMMENT ON COLUMN springest.certificate_reconciliation.issue_no IS 'Issue of the certificate';
COMMENT ON COLUMN springest.certificate_reconciliation.learner_ref IS 'HMAC of the learner''s normalised e-mail address';
COMMENT ON COLUMN springest.certificate_reconciliation.certification_id IS 'Springest''s id of the certification';
COMMENT ON COLUMN springest.certificate_reconciliation.certification_name IS
    'Name of the certification; null: never listed';
COMMENT ON COLUMN springest.certificate_reconciliation.valid_from IS 'First day of validity';
COMMENT ON COLUMN springest.certificate_reconciliation.valid_until IS 'Last day of validity; null: unlimited';
COMMENT ON COLUMN springest.certificate_reconciliation.completed_at IS 'When the training was completed';
COMMENT ON COLUMN springest.certificate_reconciliation.delivery_state IS 'State of the delivery in the ledger';
COMMENT ON COLUMN springest.certificate_reconciliation.delivery_reason IS 'Reason for the state, as a fixed word; see docs/states.md';
COMMENT ON COLUMN springest.certificate_reconciliation.delivery_reason_detail IS 'Reason for the state and the remedy, as a sentence';
COMMENT ON COLUMN springest.certificate_reconciliation.verification_status IS
    'Status of the certificate; see docs/states.md';
COMMENT ON COLUMN springest.certificate_reconciliation.springest_certificate_id IS 'Springest''s id';
COMMENT ON COLUMN springest.certificate_reconciliation.springest_status IS 'Status, in Springest''s own word';
COMMENT ON COLUMN springest.certificate_reconciliation.match_method IS
    'Basis of the match between delivery and certificate; null: not matched';
COMMENT ON COLUMN springest.certificate_reconciliation.match_evidence IS 'Facts that support the match, to check by hand';
COMMENT ON COLUMN springest.certificate_reconciliation.sent_at IS
    'Start of the last attempt that Springest may have stored';
COMMENT ON COLUMN springest.certificate_reconciliation.first_visible_at IS 'When a snapshot first showed it';
COMMENT ON COLUMN springest.certificate_reconciliation.last_seen_at IS 'Start of the last snapshot that showed it';
COMMENT ON COLUMN springest.certificate_reconciliation.needs_review IS 'Whether a person should look at it';
COMMENT ON COLUMN springest.certificate_reconciliation.review_reason IS 'Reason for the review; see docs/states.md';
COMMENT ON COLUMN springest.certificate_reconciliation.reconciled_at IS 'When the verdict was published';
