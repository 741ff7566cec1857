-- The one definition of a current verdict: its publication is not pending. Publishing ends the version before it.
-- No security barrier: only publishers may read it, and statements look up single rows in it. Not a join: the planner
-- knows that nearly every verdict is current, and reads verdicts in the order of an index.
CREATE OR REPLACE VIEW springest.current_verdict AS
SELECT verdict.delivery_id, delivery.delivery_key, verdict.site, verdict.training_id, verdict.issue_no, verdict.learner_ref,
       verdict.certification_id, verdict.certification_name, verdict.valid_from, verdict.valid_until,
       verdict.completed_at, verdict.delivery_state, verdict.delivery_reason, verdict.delivery_reason_detail,
       verdict.verification_status, verdict.springest_certificate_id, verdict.springest_status, verdict.match_method,
       verdict.match_evidence, verdict.sent_at, verdict.first_visible_at, verdict.needs_review, verdict.review_reason,
       COALESCE(verdict.version_from,
                (SELECT publication.published_at FROM springest.publication
                 WHERE publication.publication_id = verdict.publication_id)) AS version_from,
       -- Expiry depends on time alone: views report it from the first day, and the next publication stores it.
       CASE WHEN verdict.verification_status = 'verified'
             AND verdict.valid_until < (now() AT TIME ZONE 'UTC')::date
            THEN 'expired' ELSE verdict.verification_status END AS live_status
FROM springest.verdict
-- An outer join, which the planner drops where nobody asks for the key.
LEFT JOIN springest.delivery USING (delivery_id)
WHERE verdict.publication_id <> ALL (ARRAY(SELECT pending.publication_id FROM springest.publication AS pending
                                           WHERE pending.published_at IS NULL));

COMMENT ON VIEW springest.current_verdict IS
    'The verdicts that are published, one row per delivery; certificate_reconciliation adds how fresh they are';
COMMENT ON COLUMN springest.current_verdict.delivery_id IS 'Delivery';
COMMENT ON COLUMN springest.current_verdict.delivery_key IS 'The delivery''s business key';
COMMENT ON COLUMN springest.current_verdict.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.current_verdict.training_id IS 'Completed training in the source';
COMMENT ON COLUMN springest.current_verdict.issue_no IS 'Issue of the certificate';
COMMENT ON COLUMN springest.current_verdict.learner_ref IS 'HMAC of the learner''s normalised e-mail address';
COMMENT ON COLUMN springest.current_verdict.certification_id IS 'Springest''s id of the certification';
COMMENT ON COLUMN springest.current_verdict.certification_name IS 'Name of the certification; null: never listed';
COMMENT ON COLUMN springest.current_verdict.valid_from IS 'First day of validity';
COMMENT ON COLUMN springest.current_verdict.valid_until IS 'Last day of validity; null: unlimited';
COMMENT ON COLUMN springest.current_verdict.completed_at IS 'When the training was completed';
COMMENT ON COLUMN springest.current_verdict.delivery_state IS 'State of the delivery in the ledger';
COMMENT ON COLUMN springest.current_verdict.delivery_reason IS
    'Reason for the state, as a fixed word; see docs/states.md';
COMMENT ON COLUMN springest.current_verdict.delivery_reason_detail IS
    'Reason for the state and the remedy, as a sentence';
COMMENT ON COLUMN springest.current_verdict.verification_status IS 'Status of the certificate; see docs/states.md';
COMMENT ON COLUMN springest.current_verdict.springest_certificate_id IS 'Springest''s id';
COMMENT ON COLUMN springest.current_verdict.springest_status IS 'Status, in Springest''s own word';
COMMENT ON COLUMN springest.current_verdict.match_method IS
    'Basis of the match between delivery and certificate; null: not matched';
COMMENT ON COLUMN springest.current_verdict.match_evidence IS 'Facts that support the match, to check by hand';
COMMENT ON COLUMN springest.current_verdict.sent_at IS 'Start of the last attempt that Springest may have stored';
COMMENT ON COLUMN springest.current_verdict.first_visible_at IS 'When a snapshot first showed it';
COMMENT ON COLUMN springest.current_verdict.needs_review IS 'Whether a person should look at it';
COMMENT ON COLUMN springest.current_verdict.review_reason IS 'Reason for the review; see docs/states.md';
COMMENT ON COLUMN springest.current_verdict.version_from IS 'When this version was published';
COMMENT ON COLUMN springest.current_verdict.live_status IS
    'verification_status today: a verified certificate is expired from the day after its last day of validity';
