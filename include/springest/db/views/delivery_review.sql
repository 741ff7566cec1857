-- One remedy per review reason. A delivery that cannot be sent again must not be released.
CREATE OR REPLACE VIEW springest.delivery_review WITH (security_barrier) AS
SELECT verdict.site, verdict.delivery_key, verdict.training_id, verdict.issue_no, verdict.certification_id,
       verdict.certification_name, verdict.verification_status, verdict.delivery_state, verdict.review_reason,
       since.waits_since,
       CASE
           WHEN verdict.delivery_state = 'sending' AND verdict.review_reason = 'outcome_unknown'
               THEN 'Its worker recorded no outcome before the lease ended: the next run of springest_deliver makes it '
                    'unknown, and then you can decide about it'
           WHEN verdict.learner_ref IS NULL
            AND verdict.delivery_state IN ('unknown', 'accepted_no_id', 'review', 'vanished')
               THEN 'Its learner was erased, so it cannot be sent again. Look for it in Springest''s admin. If it is '
                    'there: bin/springest review confirm with its id. If not: bin/springest review cancel'
           WHEN verdict.review_reason LIKE 'changed_after_sending%'
               THEN 'The source changed these fields after the certificate was sent. If the new values are right, '
                    'ask Springest to correct the certificate; otherwise correct the source'
           WHEN verdict.review_reason LIKE 'training_id_in_several_sources%'
               THEN 'Another source has another training with this training_id, which is not sent: make the ids unique '
                    'in the query of one source, then stage the rows again with window_start and window_end'
           WHEN verdict.review_reason LIKE 'disagrees%'
               THEN 'Springest shows other values in these fields than were sent: ask Springest which certificate it '
                    'is; if a person had confirmed a wrong id, bin/springest review reopen'
           WHEN verdict.review_reason LIKE 'stored_twice%'
               THEN 'It was released, and then the response to its earlier POST arrived: Springest may have it twice, '
                    'once under the id in the reason. Look for both in Springest''s admin, and ask Springest to remove '
                    'one'
           ELSE COALESCE((
               SELECT remedy.what_to_do FROM (VALUES
                   ('outcome_unknown', 'Look for the certificate in Springest''s admin: Springest may have stored it, '
                        'and it is not sent again automatically. If it is there: bin/springest review confirm with its '
                        'id. If not: bin/springest review release'),
                   ('unknown_for_long', 'Look for the certificate in Springest''s admin. If it is there: bin/springest '
                        'review confirm with its id. If not: bin/springest review release, or cancel'),
                   ('absent', 'Complete snapshots do not have it: check Springest''s admin, then bin/springest review '
                        'release to send it again'),
                   ('missing', 'Springest stored it but does not show it, although its certification is verified: ask '
                        'Springest about it, then bin/springest review release or cancel'),
                   ('vanished', 'Springest showed it and no longer does: ask Springest about it, then bin/springest '
                        'review release to send it again, or cancel'),
                   ('tie', 'It may be any of the certificates in match_evidence or delivery_reason_detail: look at '
                        'them in Springest''s admin. If one is right: bin/springest review confirm with its id. If none '
                        'is: first confirm the deliveries that they belong to, then bin/springest review release, or '
                        'cancel'),
                   ('more_shown_than_sent', 'Springest shows more certificates than were sent from here: look at those '
                        'in match_evidence in Springest''s admin, bin/springest review confirm with the right id, and '
                        'unset exclusive_uploader in the connection if somebody else uploads'),
                   ('shown_twice', 'The learner has this certificate more than once, see match_evidence: look at them '
                        'in Springest''s admin, and ask Springest to remove the duplicates'),
                   ('candidate_shown', 'After it was released, Springest shows a certificate that may be this one, see '
                        'delivery_reason_detail: look at it in Springest''s admin, then bin/springest review confirm '
                        'with its id, or cancel'),
                   ('duplicate', 'Another training has the same learner, certification and first day: keep one of '
                        'the two in the source, or bin/springest review cancel. If both are intended: bin/springest '
                        'review release'),
                   ('withdrawn_after_sending', 'The source removed the row after the certificate was sent: if that is '
                        'right, ask Springest to remove the certificate'),
                   ('stored_although_cancelled', 'It was cancelled, but Springest has stored it: ask Springest to remove '
                        'the certificate if it must not stay'),
                   ('reopened', 'A person undid an earlier decision: look for the certificate in Springest''s admin, '
                        'then bin/springest review confirm with its id, release or cancel'),
                   ('ledger_restored', 'The ledger was restored from a backup, so this may have been sent already: look '
                        'for it in Springest''s admin. If it is there: bin/springest review confirm with its id. If '
                        'not: bin/springest review release'),
                   ('status_not_foreseen', 'Springest gives it an unexpected status: if that means verified, add it to '
                        'the connection''s verified_statuses')
               ) AS remedy (reason, what_to_do) WHERE remedy.reason = verdict.review_reason),
               'Read delivery_reason_detail and match_evidence, then bin/springest review confirm, release or cancel')
       END AS what_to_do,
       verdict.delivery_reason_detail, verdict.match_evidence, verdict.springest_certificate_id, verdict.sent_at
FROM springest.certificate_reconciliation AS verdict
CROSS JOIN LATERAL (
    -- The start of the uninterrupted sequence of versions, up to now, that needed a person.
    SELECT min(version.valid_from_ts) AS waits_since
    FROM springest.certificate_reconciliation_history AS version
    WHERE version.delivery_key = verdict.delivery_key
      AND version.needs_review
      AND NOT EXISTS (SELECT FROM springest.certificate_reconciliation_history AS later
                      WHERE later.delivery_key = version.delivery_key
                        AND later.valid_from_ts > version.valid_from_ts
                        AND NOT later.needs_review)
) AS since
WHERE verdict.needs_review
ORDER BY since.waits_since, verdict.delivery_key;

COMMENT ON VIEW springest.delivery_review IS 'Deliveries that need a person: reason, since when, and what to do; oldest first';
COMMENT ON COLUMN springest.delivery_review.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.delivery_review.delivery_key IS 'Delivery';
COMMENT ON COLUMN springest.delivery_review.training_id IS 'Completed training in the source';
COMMENT ON COLUMN springest.delivery_review.issue_no IS 'Issue of the certificate';
COMMENT ON COLUMN springest.delivery_review.certification_id IS 'Springest''s id of the certification';
COMMENT ON COLUMN springest.delivery_review.certification_name IS 'Name of the certification; null: never listed';
COMMENT ON COLUMN springest.delivery_review.verification_status IS 'Status of the certificate; see docs/states.md';
COMMENT ON COLUMN springest.delivery_review.delivery_state IS 'State of the delivery in the ledger';
COMMENT ON COLUMN springest.delivery_review.review_reason IS 'Reason for the review; see docs/states.md';
COMMENT ON COLUMN springest.delivery_review.waits_since IS 'Since when it has needed a person, without interruption';
COMMENT ON COLUMN springest.delivery_review.what_to_do IS 'What the person should do';
COMMENT ON COLUMN springest.delivery_review.delivery_reason_detail IS 'Reason for the state and the remedy, as a sentence';
COMMENT ON COLUMN springest.delivery_review.match_evidence IS 'Facts that support the match, to check by hand';
COMMENT ON COLUMN springest.delivery_review.springest_certificate_id IS 'Springest''s id';
COMMENT ON COLUMN springest.delivery_review.sent_at IS 'Start of the last attempt that Springest may have stored';
