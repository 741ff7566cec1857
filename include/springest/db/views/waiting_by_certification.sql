CREATE OR REPLACE VIEW springest.waiting_by_certification WITH (security_barrier) AS
SELECT waiting.site, waiting.certification_id, waiting.certification_name, waiting.sent, waiting.not_sent,
       waiting.oldest_sent_at, waiting.days,
       format(CASE WHEN waiting.is_known THEN 'Please verify certification %s'
                   ELSE 'Is %s the id of a certification that you could verify?' END,
              waiting.certification_id) AS subject,
       format(CASE WHEN waiting.is_listed
                   THEN E'Dear Springest,\n\nNo certificate of certification %s%s is shown yet. '
                   ELSE E'Dear Springest,\n\nCertification %s%s is not verified yet. ' END,
              waiting.certification_id, ' (' || waiting.certification_name || ')')
       || CASE WHEN waiting.sent > 0
               THEN format('%s of our certificates are waiting for it, the oldest since %s. ', waiting.sent,
                           to_char(waiting.oldest_sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')) ELSE '' END
       || CASE WHEN waiting.not_sent > 0
               THEN format('%s more will be sent once it is. ', waiting.not_sent) ELSE '' END
       || CASE WHEN waiting.doubtful > 0
               THEN format('Until then we do not know whether you have received %s of our certificates. ', waiting.doubtful)
               ELSE '' END
       || CASE WHEN waiting.is_known THEN 'Could you verify it, or tell us what is missing?'
               ELSE 'It was never in your list: could you verify it, or tell us if the id is wrong?' END
       || E'\n\nThank you' AS body,
       waiting.doubtful
FROM (
    SELECT verdict.site, verdict.certification_id, max(verdict.certification_name) AS certification_name,
           bool_or(COALESCE(certification.is_listed, false)) AS is_listed,
           -- An id that was never listed, and for which nothing was sent, may be a typing error.
           bool_or(certification.certification_id IS NOT NULL OR verdict.sent_at IS NOT NULL) AS is_known,
           count(*) FILTER (WHERE verdict.verification_status = 'awaiting_verification') AS sent,
           count(*) FILTER (WHERE verdict.verification_status = 'held') AS not_sent,
           count(*) FILTER (WHERE verdict.verification_status = 'unknown') AS doubtful,
           min(verdict.sent_at) FILTER (WHERE verdict.verification_status <> 'unknown') AS oldest_sent_at,
           (now() AT TIME ZONE 'UTC')::date
               - (min(verdict.sent_at) FILTER (WHERE verdict.verification_status <> 'unknown')
                  AT TIME ZONE 'UTC')::date AS days
    FROM springest.current_verdict AS verdict
    LEFT JOIN springest.certification USING (site, certification_id)
    WHERE verdict.certification_id IS NOT NULL
      -- Certificates are shown once their certification is verified. Being listed is no evidence: the list may
      -- include certifications that are not verified yet.
      AND NOT EXISTS (SELECT FROM springest.remote_certificate AS shown
                      WHERE shown.site = verdict.site
                        AND shown.certification_id = verdict.certification_id
                        AND shown.lacked_at IS NULL)
      AND (verdict.verification_status = 'awaiting_verification'
           OR (verdict.verification_status = 'held' AND verdict.delivery_reason = 'certification_not_listed')
           -- A verification cannot reveal certificates that were absent while the certification was verified.
           OR (verdict.verification_status = 'unknown' AND verdict.delivery_reason IS DISTINCT FROM 'absent'))
    GROUP BY verdict.site, verdict.certification_id
) AS waiting
ORDER BY waiting.oldest_sent_at NULLS LAST, waiting.site, waiting.certification_id;

COMMENT ON VIEW springest.waiting_by_certification IS
    'Certifications whose verification at Springest would release waiting certificates, oldest first, with a text to '
    'send to Springest. A certification of which a certificate is shown counts as verified';
COMMENT ON COLUMN springest.waiting_by_certification.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.waiting_by_certification.certification_id IS 'Springest''s id of the certification';
COMMENT ON COLUMN springest.waiting_by_certification.certification_name IS
    'Name of the certification; null: never listed';
COMMENT ON COLUMN springest.waiting_by_certification.sent IS 'Certificates that Springest stored and does not show yet';
COMMENT ON COLUMN springest.waiting_by_certification.not_sent IS
    'Certificates that are held until the certification is listed; a wrong id in the source looks the same';
COMMENT ON COLUMN springest.waiting_by_certification.oldest_sent_at IS 'When the oldest of those was sent';
COMMENT ON COLUMN springest.waiting_by_certification.days IS 'Days since then';
COMMENT ON COLUMN springest.waiting_by_certification.subject IS 'Subject of a message to Springest';
COMMENT ON COLUMN springest.waiting_by_certification.body IS 'Text of the message; names no learner';
COMMENT ON COLUMN springest.waiting_by_certification.doubtful IS
    'Certificates with an unknown outcome; a verification would show those that Springest stored';
