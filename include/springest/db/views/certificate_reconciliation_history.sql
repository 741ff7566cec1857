-- The current version equals the verdict, including its expiry, which depends on time alone.
CREATE OR REPLACE VIEW springest.certificate_reconciliation_history WITH (security_barrier) AS
SELECT delivery.delivery_key, ended.version_from AS valid_from_ts, ended.version_to AS valid_to_ts, false AS is_current,
       ended.site, ended.training_id, ended.issue_no, ended.learner_ref, ended.certification_id, ended.valid_from, ended.valid_until, ended.completed_at,
       ended.delivery_state, ended.delivery_reason, ended.verification_status, ended.springest_certificate_id, ended.springest_status,
       ended.match_method, ended.sent_at, ended.first_visible_at, ended.needs_review, ended.review_reason
FROM springest.verdict_history AS ended
LEFT JOIN springest.delivery USING (delivery_id)
UNION ALL
SELECT delivery_key, version_from, NULL, true,
       site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
       delivery_state, delivery_reason, live_status, springest_certificate_id, springest_status,
       match_method, sent_at, first_visible_at, needs_review, review_reason
FROM springest.current_verdict;

COMMENT ON VIEW springest.certificate_reconciliation_history IS
    'One row per version of a verdict, with the time it was valid. A verified certificate is expired from the day '
    'after its last day of validity; the next publication stores that as a new version';
COMMENT ON COLUMN springest.certificate_reconciliation_history.delivery_key IS 'Delivery';
COMMENT ON COLUMN springest.certificate_reconciliation_history.valid_from_ts IS
    'When this version was published; one time per publication';
COMMENT ON COLUMN springest.certificate_reconciliation_history.valid_to_ts IS
    'When the next version was published; null: this is the current one';
COMMENT ON COLUMN springest.certificate_reconciliation_history.is_current IS
    'Whether this is the current version';
COMMENT ON COLUMN springest.certificate_reconciliation_history.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.certificate_reconciliation_history.training_id IS 'Completed training in the source';
COMMENT ON COLUMN springest.certificate_reconciliation_history.issue_no IS 'Issue of the certificate';
COMMENT ON COLUMN springest.certificate_reconciliation_history.learner_ref IS
    'HMAC of the learner''s normalised e-mail address';
COMMENT ON COLUMN springest.certificate_reconciliation_history.certification_id IS
    'Springest''s id of the certification';
COMMENT ON COLUMN springest.certificate_reconciliation_history.valid_from IS 'First day of validity';
COMMENT ON COLUMN springest.certificate_reconciliation_history.valid_until IS 'Last day of validity; null: unlimited';
COMMENT ON COLUMN springest.certificate_reconciliation_history.completed_at IS 'When the training was completed';
COMMENT ON COLUMN springest.certificate_reconciliation_history.delivery_state IS 'State of the delivery in the ledger';
COMMENT ON COLUMN springest.certificate_reconciliation_history.delivery_reason IS
    'Reason for the state, as a fixed word; see docs/states.md';
COMMENT ON COLUMN springest.certificate_reconciliation_history.verification_status IS
    'Status of the certificate; see docs/states.md';
COMMENT ON COLUMN springest.certificate_reconciliation_history.springest_certificate_id IS 'Springest''s id';
COMMENT ON COLUMN springest.certificate_reconciliation_history.springest_status IS 'Status, in Springest''s own word';
COMMENT ON COLUMN springest.certificate_reconciliation_history.match_method IS
    'Basis of the match between delivery and certificate; null: not matched';
COMMENT ON COLUMN springest.certificate_reconciliation_history.sent_at IS
    'Start of the last attempt that Springest may have stored';
COMMENT ON COLUMN springest.certificate_reconciliation_history.first_visible_at IS 'When a snapshot first showed it';
COMMENT ON COLUMN springest.certificate_reconciliation_history.needs_review IS 'Whether a person should look at it';
COMMENT ON COLUMN springest.certificate_reconciliation_history.review_reason IS 'Reason for the review; see docs/states.md';
