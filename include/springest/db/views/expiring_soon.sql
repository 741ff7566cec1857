CREATE OR REPLACE VIEW springest.expiring_soon WITH (security_barrier) AS
SELECT verdict.site, verdict.delivery_key, verdict.training_id, verdict.issue_no, verdict.learner_ref,
       verdict.certification_id, verdict.certification_name, verdict.springest_certificate_id, verdict.valid_from,
       verdict.valid_until, verdict.valid_until - (now() AT TIME ZONE 'UTC')::date AS days_left
FROM springest.certificate_reconciliation AS verdict
WHERE verdict.verification_status = 'verified'
  AND verdict.valid_until <= (now() AT TIME ZONE 'UTC')::date + 90
ORDER BY verdict.valid_until, verdict.delivery_key;

COMMENT ON VIEW springest.expiring_soon IS 'Verified certificates that expire within 90 days';
COMMENT ON COLUMN springest.expiring_soon.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.expiring_soon.delivery_key IS 'Delivery';
COMMENT ON COLUMN springest.expiring_soon.training_id IS 'Completed training in the source';
COMMENT ON COLUMN springest.expiring_soon.issue_no IS 'Issue of the certificate';
COMMENT ON COLUMN springest.expiring_soon.learner_ref IS 'HMAC of the learner''s normalised e-mail address';
COMMENT ON COLUMN springest.expiring_soon.certification_id IS 'Springest''s id of the certification';
COMMENT ON COLUMN springest.expiring_soon.certification_name IS 'Name of the certification; null: never listed';
COMMENT ON COLUMN springest.expiring_soon.springest_certificate_id IS 'Springest''s id';
COMMENT ON COLUMN springest.expiring_soon.valid_from IS 'First day of validity';
COMMENT ON COLUMN springest.expiring_soon.valid_until IS 'Last day of validity; null: unlimited';
COMMENT ON COLUMN springest.expiring_soon.days_left IS 'Days until the last day of validity; 0: today';
