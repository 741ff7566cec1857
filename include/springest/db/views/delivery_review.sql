-- What to do for every reason there is; what can't be sent again is not to be released.
CREATE OR REPLACE VIEW springest.delivery_review WITH (security_barrier) AS
SELECT verdict.site, verdict.delivery_key, verdict.training_id, verdict.issue_no, verdict.certification_id,
       verdict.certification_name, verdict.verification_status, verdict.delivery_state, verdict.review_reason,
       since.waits_since,
       CASE
           WHEN verdict.delivery_state = 'sending' AND verdict.review_reason = 'outcome_unknown'
               THEN 'The worker that was sending it did not say how that went before its lease ended: the next run of '
                    'springest_deliver makes it unknown, and then it can be decided about'
           WHEN verdict.learner_ref IS NULL
            AND verdict.delivery_state IN ('unknown', 'accepted_no_id', 'review', 'vanished')
               THEN 'Its learner was forgotten, so it can not be sent again: look for it in Springest''s admin. There: '
                    'bin/springest review confirm with its id. Not there: bin/springest review cancel'
           WHEN verdict.review_reason LIKE 'changed_after_sending%'
               THEN 'The source changed these fields after the certificate was sent: if the new values are right, '
                    'ask Springest to correct the certificate; else correct the source'
           WHEN verdict.review_reason LIKE 'disagrees%'
               THEN 'Springest shows these fields otherwise than they were sent: ask Springest which certificate it '
                    'is; if a person had confirmed a wrong id, bin/springest review reopen'
           WHEN verdict.review_reason LIKE 'taken_twice%'
               THEN 'It was released, and then the answer to its earlier POST came: Springest may have it twice, once '
                    'under the id that is named. Look for both in Springest''s admin, and ask Springest to remove one'
           ELSE COALESCE((
               SELECT told.what FROM (VALUES
                   ('outcome_unknown', 'Look for the certificate in Springest''s admin: it may have been taken, and is '
                        'not sent again by itself. There: bin/springest review confirm with its id. Not there: '
                        'bin/springest review release'),
                   ('unknown_for_long', 'Look for the certificate in Springest''s admin. There: bin/springest review '
                        'confirm with its id. Not there: bin/springest review release, or cancel'),
                   ('absent', 'Complete snapshots lack it: make sure in Springest''s admin, then bin/springest review '
                        'release to let it be sent again'),
                   ('missing', 'Springest took it and does not show it although its certification is verified: ask '
                        'Springest what became of it, then bin/springest review release or cancel'),
                   ('vanished', 'Springest showed it and no longer does: ask Springest what became of it, then '
                        'bin/springest review release to send it once more, or cancel'),
                   ('tie', 'It may be any of the certificates in match_evidence or delivery_reason_detail: look at '
                        'them in Springest''s admin. One is it: bin/springest review confirm with its id. None is: '
                        'confirm those that they belong to first, then bin/springest review release, or cancel'),
                   ('more_shown_than_sent', 'More is shown than was sent from here: look at the certificates in '
                        'match_evidence in Springest''s admin, bin/springest review confirm with the right id, and '
                        'unset exclusive_uploader in the connection if somebody else uploads'),
                   ('shown_twice', 'The learner has this certificate more than once, see match_evidence: look at them '
                        'in Springest''s admin, and ask Springest to remove what is too many'),
                   ('candidate_shown', 'After it was released, Springest shows a certificate that could be it, see '
                        'delivery_reason_detail: look at it in Springest''s admin, then bin/springest review confirm '
                        'with its id, or cancel'),
                   ('duplicate', 'Another training has the same learner, certification and first day: keep one of '
                        'the two in the source, or bin/springest review cancel. Both are meant: bin/springest review '
                        'release'),
                   ('withdrawn_after_sending', 'The source took the row back after the certificate was sent: if that '
                        'is right, ask Springest to remove the certificate'),
                   ('taken_although_cancelled', 'It was cancelled, and Springest has taken it all the same: ask '
                        'Springest to remove the certificate, if it is not to stay'),
                   ('reopened', 'A person took back what was decided: look for the certificate in Springest''s admin, '
                        'then bin/springest review confirm with its id, release or cancel'),
                   ('ledger_restored', 'The ledger came back from a backup, and it may have been sent: look for it in '
                        'Springest''s admin. There: bin/springest review confirm with its id. Not there: '
                        'bin/springest review release'),
                   ('status_not_foreseen', 'Springest gives it a status that nobody foresaw: if it means verified, '
                        'add it to the connection''s verified_statuses')
               ) AS told (reason, what) WHERE told.reason = verdict.review_reason),
               'Read delivery_reason_detail and match_evidence, then bin/springest review confirm, release or cancel')
       END AS what_to_do,
       verdict.delivery_reason_detail, verdict.match_evidence, verdict.springest_certificate_id, verdict.sent_at
FROM springest.certificate_reconciliation AS verdict
CROSS JOIN LATERAL (
    -- The beginning of the versions that needed a person without a break up to now.
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

COMMENT ON VIEW springest.delivery_review IS 'What needs a person: why, since when, and what to do; oldest first';
COMMENT ON COLUMN springest.delivery_review.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.delivery_review.delivery_key IS 'Delivery';
COMMENT ON COLUMN springest.delivery_review.training_id IS 'Completed training in the source';
COMMENT ON COLUMN springest.delivery_review.issue_no IS 'Issue of the certificate';
COMMENT ON COLUMN springest.delivery_review.certification_id IS 'Springest''s id of the certification';
COMMENT ON COLUMN springest.delivery_review.certification_name IS 'Name of the certification, once it was listed';
COMMENT ON COLUMN springest.delivery_review.verification_status IS 'What became of the certificate; see docs/states.md';
COMMENT ON COLUMN springest.delivery_review.delivery_state IS 'State of the delivery in the ledger';
COMMENT ON COLUMN springest.delivery_review.review_reason IS 'What to look at';
COMMENT ON COLUMN springest.delivery_review.waits_since IS 'Since when it has needed a person without a break';
COMMENT ON COLUMN springest.delivery_review.what_to_do IS 'What a person should do about it';
COMMENT ON COLUMN springest.delivery_review.delivery_reason_detail IS 'Why, and what to do about it';
COMMENT ON COLUMN springest.delivery_review.match_evidence IS 'What the match rests on, to check by hand';
COMMENT ON COLUMN springest.delivery_review.springest_certificate_id IS 'Springest''s id';
COMMENT ON COLUMN springest.delivery_review.sent_at IS 'Start of the last attempt that the server could have taken';
