-- The few certificates that were sent for learners who were forgotten, which every snapshot looks for.
CREATE INDEX delivery_forgotten_idx ON springest.delivery (site, springest_certificate_id)
    WHERE learner_ref IS NULL AND springest_certificate_id IS NOT NULL;

-- What disagreed is not known any more for those who were forgotten before.
UPDATE springest.remote_certificate AS remote
SET learner_ref = 'other'
FROM springest.delivery AS delivery
WHERE delivery.site = remote.site
  AND delivery.springest_certificate_id = remote.springest_certificate_id
  AND delivery.row_version = repeat('0', 64)
  AND remote.learner_ref IS NOT NULL;

UPDATE springest.remote_certificate
SET learner_ref = 'forgotten'
WHERE learner_ref IS NULL AND owner_told_by IS NOT NULL;

UPDATE springest.delivery
SET reason_detail = regexp_replace(reason_detail, ' by .*', ' by a person: `bin/springest review show` tells who and why')
WHERE reason IN ('released', 'confirmed_by_person', 'cancelled_by_person', 'reopened');

UPDATE springest.delivery_decision AS decision
SET reason = 'cleared: the learner was forgotten'
FROM springest.delivery AS delivery
WHERE delivery.delivery_key = decision.delivery_key
  AND delivery.row_version = repeat('0', 64);

COMMENT ON COLUMN springest.remote_certificate.learner_ref IS
    'HMAC of the owner''s address, where the site tells the owner; the word forgotten, where the owner was forgotten; the word other, where the learner it was sent for was forgotten and is not the owner';

-- The newest version of a verdict says what the verdict says: time alone makes a certificate expire.
CREATE OR REPLACE VIEW springest.certificate_reconciliation_history AS
SELECT delivery_key, valid_from_ts, valid_to_ts, false AS is_current,
       site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
       delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
       match_method, sent_at, first_visible_at, needs_review, review_reason
FROM springest.ended_verdict
UNION ALL
SELECT delivery_key, valid_from_ts, NULL, true,
       site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
       delivery_state, delivery_reason,
       CASE WHEN verification_status = 'verified' AND valid_until < (now() AT TIME ZONE 'UTC')::date
            THEN 'expired' ELSE verification_status END,
       springest_certificate_id, springest_status,
       match_method, sent_at, first_visible_at, needs_review, review_reason
FROM springest.reconciled_delivery;
COMMENT ON VIEW springest.certificate_reconciliation_history IS
    'One row per version of a verdict: from when until when certificate_reconciliation said it. That a verified certificate is expired is said from the first day after its last one, and becomes a version of its own with the next publication';

CREATE OR REPLACE VIEW springest.waiting_by_certification AS
SELECT waiting.site, waiting.certification_id, waiting.certification_name, waiting.sent, waiting.not_sent,
       waiting.oldest_sent_at, waiting.days,
       format('Please verify certification %s', waiting.certification_id) AS subject,
       format(E'Dear Springest,\n\nCertification %s%s is not verified yet. ', waiting.certification_id,
              ' (' || waiting.certification_name || ')')
       || CASE WHEN waiting.sent > 0
               THEN format('%s of our certificates wait for it, the oldest since %s. ', waiting.sent,
                           to_char(waiting.oldest_sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')) ELSE '' END
       || CASE WHEN waiting.not_sent > 0
               THEN format('%s more will be sent once it is. ', waiting.not_sent) ELSE '' END
       || CASE WHEN waiting.doubtful > 0
               THEN format('Whether you have %s of our certificates is not known to us until then. ', waiting.doubtful)
               ELSE '' END
       || E'Could you verify it, or tell us what is missing?\n\nThank you' AS body,
       waiting.doubtful
FROM (
    SELECT verdict.site, verdict.certification_id, max(verdict.certification_name) AS certification_name,
           count(*) FILTER (WHERE verdict.verification_status = 'awaiting_verification') AS sent,
           count(*) FILTER (WHERE verdict.verification_status = 'held') AS not_sent,
           count(*) FILTER (WHERE verdict.verification_status = 'unknown') AS doubtful,
           min(verdict.sent_at) FILTER (WHERE verdict.verification_status <> 'unknown') AS oldest_sent_at,
           (now() AT TIME ZONE 'UTC')::date
               - (min(verdict.sent_at) FILTER (WHERE verdict.verification_status <> 'unknown')
                  AT TIME ZONE 'UTC')::date AS days
    FROM springest.reconciled_delivery AS verdict
    LEFT JOIN springest.certification USING (site, certification_id)
    WHERE NOT COALESCE(certification.is_listed, false)
      AND verdict.certification_id IS NOT NULL
      -- Certificates are shown once their certification is verified: the catalogue may be read later, or be another one.
      AND NOT EXISTS (SELECT FROM springest.remote_certificate AS shown
                      WHERE shown.site = verdict.site
                        AND shown.certification_id = verdict.certification_id
                        AND shown.last_seen_at >= COALESCE((SELECT max(snapshot.started_at) FROM springest.snapshot
                                                            WHERE snapshot.site = verdict.site AND snapshot.complete),
                                                           '-infinity'))
      AND (verdict.verification_status = 'awaiting_verification'
           OR (verdict.verification_status = 'held' AND verdict.delivery_reason = 'certification_not_listed')
           -- What complete snapshots lacked while it was listed, a verification would not show.
           OR (verdict.verification_status = 'unknown' AND verdict.delivery_reason IS DISTINCT FROM 'absent'))
    GROUP BY verdict.site, verdict.certification_id
) AS waiting
ORDER BY waiting.oldest_sent_at NULLS LAST, waiting.site, waiting.certification_id;
COMMENT ON VIEW springest.waiting_by_certification IS
    'What one verification at Springest would free or settle, oldest first, with a text to send to Springest; a certification of which a certificate is shown is verified';
COMMENT ON COLUMN springest.waiting_by_certification.doubtful IS
    'Certificates of which it is not known whether Springest took them: those that it has would be shown';

CREATE OR REPLACE VIEW springest.unmatched_remote_certificate AS
SELECT remote.site, remote.springest_certificate_id, remote.certification_id,
       certification.name AS certification_name, remote.valid_from, remote.valid_until, remote.springest_status,
       remote.created_at,
       -- One of two words stands there where the owner was erased.
       CAST(CASE WHEN remote.learner_ref NOT IN ('forgotten', 'other') THEN remote.learner_ref END AS varchar(64))
           AS learner_ref,
       remote.owner_told_by, remote.first_seen_at, remote.last_seen_at
FROM springest.remote_certificate AS remote
LEFT JOIN springest.certification AS certification
       ON certification.site = remote.site AND certification.certification_id = remote.certification_id
LEFT JOIN (
    -- The earlier of the last two complete snapshots that are a day apart: what was not shown since is gone.
    SELECT earlier.site, max(earlier.started_at) AS since
    FROM springest.snapshot AS earlier
    JOIN (SELECT site, max(started_at) AS started_at FROM springest.snapshot WHERE complete GROUP BY site) AS newest
      ON newest.site = earlier.site AND earlier.started_at <= newest.started_at - interval '24 hours'
    WHERE earlier.complete
    GROUP BY earlier.site
) AS watched ON watched.site = remote.site
WHERE COALESCE(remote.last_seen_at >= watched.since, true)
  AND NOT EXISTS (SELECT FROM springest.delivery
                  WHERE delivery.site = remote.site
                    AND delivery.springest_certificate_id = remote.springest_certificate_id)
  AND NOT EXISTS (SELECT FROM springest.delivery_match AS inferred
                  WHERE inferred.site = remote.site
                    AND inferred.springest_certificate_id = remote.springest_certificate_id);
COMMENT ON VIEW springest.unmatched_remote_certificate IS
    'Certificates that Springest shows and that no delivery is known to be: uploaded by somebody else, or a tie; until two complete snapshots a day apart lack them';
COMMENT ON COLUMN springest.unmatched_remote_certificate.learner_ref IS
    'HMAC of the owner''s address, where the site tells the owner; null where the owner was forgotten';

-- What can't be sent again is not to be released.
CREATE OR REPLACE VIEW springest.delivery_review AS
SELECT verdict.site, verdict.delivery_key, verdict.training_id, verdict.issue_no, verdict.certification_id,
       verdict.certification_name, verdict.verification_status, verdict.delivery_state, verdict.review_reason,
       since.waits_since,
       CASE
           WHEN verdict.delivery_state = 'sending' AND verdict.review_reason = 'outcome_unknown'
               THEN 'A worker was sending it when this was published, and nobody can decide about it meanwhile: the '
                    'next publication tells how that went'
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

-- What stands in the way of publishing, row by row. A query for one check_name runs that check only.
CREATE OR REPLACE VIEW springest.failed_check AS
SELECT site, 'unique' AS check_name, delivery_key, min(training_id) AS training_id,
       format('has %s verdicts', count(*)) AS found,
       'two certifications or certificates have one number: look at the join in reconcile/sql/judge.sql' AS remedy
FROM springest.reconciled_candidate GROUP BY site, delivery_key HAVING count(*) > 1
UNION ALL
SELECT site, 'not_null', delivery_key, training_id, 'has an empty field that must be filled',
       'look at the delivery in springest.delivery'
FROM springest.reconciled_candidate
WHERE delivery_key IS NULL OR site IS NULL OR training_id IS NULL OR issue_no IS NULL OR delivery_state IS NULL
   OR verification_status IS NULL OR needs_review IS NULL
UNION ALL
SELECT site, 'accepted_values', delivery_key, training_id,
       format('has state %s and status %s', delivery_state, verification_status),
       'the code knows a word that the table does not: run make migrate'
FROM springest.reconciled_candidate
WHERE delivery_state NOT IN ('ready', 'invalid', 'held', 'sending', 'rejected', 'accepted', 'accepted_no_id',
                             'unknown', 'visible', 'review', 'vanished', 'withdrawn', 'cancelled')
   OR verification_status NOT IN ('not_sent', 'held', 'invalid', 'rejected', 'awaiting_verification', 'verified',
                                  'inferred', 'expired', 'unknown', 'ambiguous', 'missing', 'vanished', 'withdrawn',
                                  'cancelled')
UNION ALL
SELECT candidate.site, 'known_delivery', candidate.delivery_key, candidate.training_id, 'is not in the ledger',
       'the ledger lost rows: restore it, see docs/operations.md'
FROM springest.reconciled_candidate AS candidate
WHERE NOT EXISTS (SELECT FROM springest.delivery
                  WHERE delivery.delivery_key = candidate.delivery_key AND delivery.site = candidate.site)
UNION ALL
SELECT candidate.site, 'known_certificate', candidate.delivery_key, candidate.training_id,
       format('is called %s, and no snapshot shows certificate %s', candidate.verification_status,
              candidate.springest_certificate_id),
       'take a new snapshot: clear the snapshot task'
FROM springest.reconciled_candidate AS candidate
WHERE candidate.verification_status IN ('verified', 'expired')
  AND NOT EXISTS (SELECT FROM springest.remote_certificate AS remote
                  WHERE remote.site = candidate.site
                    AND remote.springest_certificate_id = candidate.springest_certificate_id)
UNION ALL
-- Neither what was inferred nor a person's word alone is proof.
SELECT candidate.site, 'verified_has_proof', candidate.delivery_key, candidate.training_id,
       format('is called %s without a proof', candidate.verification_status),
       'verified is said with proof only: clear the reconcile task; if it stays, look at match_method in '
       'springest.delivery'
FROM springest.reconciled_candidate AS candidate
WHERE candidate.verification_status IN ('verified', 'expired')
  AND (candidate.match_method IS NULL OR candidate.match_evidence IS NULL
       OR candidate.springest_certificate_id IS NULL OR candidate.first_visible_at IS NULL
       OR candidate.match_method NOT IN ('springest_id', 'owner', 'person')
       OR (candidate.match_method = 'person'
           AND NOT EXISTS (SELECT FROM springest.remote_certificate AS remote
                           WHERE remote.site = candidate.site
                             AND remote.springest_certificate_id = candidate.springest_certificate_id
                             AND remote.learner_ref = COALESCE(candidate.learner_ref, 'forgotten'))))
UNION ALL
SELECT site, 'dates_in_order', delivery_key, training_id,
       format('is %s, is valid from %s until %s', verification_status, valid_from, valid_until),
       'a certificate with such dates must not have been sent: correct the source, and tell Springest'
FROM springest.reconciled_candidate
WHERE valid_until < valid_from AND sent_at IS NOT NULL
  AND verification_status NOT IN ('invalid', 'held', 'withdrawn', 'cancelled')
UNION ALL
SELECT site, 'review_has_reason', delivery_key, training_id, 'needs a person and does not say why',
       'say why in reconcile/sql/judge.sql'
FROM springest.reconciled_candidate WHERE needs_review AND review_reason IS NULL
UNION ALL
-- Each version that ended did so when the next began, the last one when what is said now began.
SELECT ended.site, 'history_without_gaps', ended.delivery_key, ended.training_id,
       format('has a version until %s and the next from %s', ended.valid_to_ts,
              COALESCE(ended.next_from_ts, verdict.valid_from_ts)),
       'versions were changed by hand: make valid_to_ts of each in springest.ended_verdict the valid_from_ts of the '
       'next, of the last one that in springest.reconciled_delivery'
FROM (SELECT version.site, version.delivery_key, version.training_id, version.valid_to_ts,
             lead(version.valid_from_ts) OVER (PARTITION BY version.delivery_key ORDER BY version.valid_from_ts)
                 AS next_from_ts
      FROM springest.ended_verdict AS version
      WHERE EXISTS (SELECT FROM springest.reconciled_candidate AS candidate
                    WHERE candidate.delivery_key = version.delivery_key)) AS ended
LEFT JOIN springest.reconciled_delivery AS verdict ON verdict.delivery_key = ended.delivery_key
WHERE ended.valid_to_ts IS DISTINCT FROM COALESCE(ended.next_from_ts, verdict.valid_from_ts)
UNION ALL
SELECT site, 'conservation', NULL, NULL,
       format('run %s has more or fewer verdicts than source rows: of all runs, %s for %s', incomplete_run,
              verdict_rows, source_rows),
       'clear that run''s stage task, then reconcile'
FROM springest.candidate_set WHERE incomplete_run IS NOT NULL;
