-- The version of a verdict that stands now was kept twice: in reconciled_delivery and in the history. From here on the
-- verdict says itself since when it stands, versions that ended have a table of their own, and the history is a view
-- of both. Nobody who reads it notices.
ALTER TABLE springest.certificate_reconciliation_history RENAME TO history_before;

CREATE TABLE springest.ended_verdict (
    delivery_key VARCHAR(64) NOT NULL,
    valid_from_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    site TEXT NOT NULL,
    training_id TEXT NOT NULL,
    issue_no INTEGER NOT NULL,
    learner_ref VARCHAR(64),
    certification_id BIGINT,
    valid_from DATE,
    valid_until DATE,
    completed_at TIMESTAMP WITH TIME ZONE,
    delivery_state TEXT NOT NULL,
    delivery_reason TEXT,
    verification_status TEXT NOT NULL,
    springest_certificate_id BIGINT,
    springest_status TEXT,
    match_method TEXT,
    sent_at TIMESTAMP WITH TIME ZONE,
    first_visible_at TIMESTAMP WITH TIME ZONE,
    needs_review BOOLEAN NOT NULL,
    review_reason TEXT,
    CONSTRAINT ended_verdict_pkey PRIMARY KEY (delivery_key, valid_from_ts),
    CONSTRAINT ended_verdict_order_check CHECK (valid_from_ts < valid_to_ts)
);
COMMENT ON TABLE springest.ended_verdict IS
    'One row per version of a verdict that ended; certificate_reconciliation_history shows them with what is said now';
COMMENT ON COLUMN springest.ended_verdict.valid_to_ts IS 'When the next version was published';

ALTER TABLE springest.reconciled_delivery ADD COLUMN valid_from_ts TIMESTAMP WITH TIME ZONE;
COMMENT ON COLUMN springest.reconciled_delivery.valid_from_ts IS
    'When this version was published; the texts that explain it may be newer';

INSERT INTO springest.ended_verdict
    (delivery_key, valid_from_ts, valid_to_ts,
     site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
     delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
     match_method, sent_at, first_visible_at, needs_review, review_reason)
SELECT delivery_key, valid_from_ts, valid_to_ts,
       site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
       delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
       match_method, sent_at, first_visible_at, needs_review, review_reason
FROM springest.history_before
WHERE NOT is_current
ORDER BY delivery_key, valid_from_ts;

-- A verdict stands since its version began. Where that was lost: since the one before ended, or since the site was
-- published.
UPDATE springest.reconciled_delivery AS verdict
SET valid_from_ts = COALESCE(
        (SELECT version.valid_from_ts
         FROM springest.history_before AS version
         WHERE version.delivery_key = verdict.delivery_key AND version.is_current),
        (SELECT max(version.valid_to_ts)
         FROM springest.ended_verdict AS version
         WHERE version.delivery_key = verdict.delivery_key),
        (SELECT publication.reconciled_at FROM springest.publication WHERE publication.site = verdict.site),
        clock_timestamp());

-- No version is lost: one whose verdict is gone is the verdict,
INSERT INTO springest.reconciled_delivery
    (delivery_key, valid_from_ts,
     site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
     delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
     match_method, sent_at, first_visible_at, needs_review, review_reason)
SELECT delivery_key, valid_from_ts,
       version.site, version.training_id, version.issue_no, version.learner_ref, version.certification_id,
       version.valid_from, version.valid_until, version.completed_at, version.delivery_state,
       version.delivery_reason, version.verification_status, version.springest_certificate_id,
       version.springest_status, version.match_method, version.sent_at, version.first_visible_at,
       version.needs_review, version.review_reason
FROM springest.history_before AS version
WHERE version.is_current
  AND NOT EXISTS (SELECT FROM springest.reconciled_delivery AS verdict
                  WHERE verdict.delivery_key = version.delivery_key);

-- and one that says something else than its verdict ends here.
WITH other AS (
    SELECT version.*, GREATEST(clock_timestamp(), version.valid_from_ts + interval '1 microsecond') AS ends_at
    FROM springest.history_before AS version
    JOIN springest.reconciled_delivery AS verdict USING (delivery_key)
    WHERE version.is_current
      AND (version.site, version.training_id, version.issue_no, version.learner_ref, version.certification_id,
           version.valid_from, version.valid_until, version.completed_at, version.delivery_state,
           version.delivery_reason, version.verification_status, version.springest_certificate_id,
           version.springest_status, version.match_method, version.sent_at, version.first_visible_at,
           version.needs_review, version.review_reason)
       IS DISTINCT FROM
          (verdict.site, verdict.training_id, verdict.issue_no, verdict.learner_ref, verdict.certification_id,
           verdict.valid_from, verdict.valid_until, verdict.completed_at, verdict.delivery_state,
           verdict.delivery_reason, verdict.verification_status, verdict.springest_certificate_id,
           verdict.springest_status, verdict.match_method, verdict.sent_at, verdict.first_visible_at,
           verdict.needs_review, verdict.review_reason)
), ended AS (
    INSERT INTO springest.ended_verdict
        (delivery_key, valid_from_ts, valid_to_ts,
         site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
         delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
         match_method, sent_at, first_visible_at, needs_review, review_reason)
    SELECT delivery_key, valid_from_ts, ends_at,
           site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
           delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
           match_method, sent_at, first_visible_at, needs_review, review_reason
    FROM other
)
UPDATE springest.reconciled_delivery AS verdict
SET valid_from_ts = other.ends_at
FROM other
WHERE verdict.delivery_key = other.delivery_key;

ALTER TABLE springest.reconciled_delivery ALTER COLUMN valid_from_ts SET NOT NULL;

CREATE VIEW springest.certificate_reconciliation_history AS
SELECT delivery_key, valid_from_ts, valid_to_ts, false AS is_current,
       site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
       delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
       match_method, sent_at, first_visible_at, needs_review, review_reason
FROM springest.ended_verdict
UNION ALL
SELECT delivery_key, valid_from_ts, NULL, true,
       site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
       delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
       match_method, sent_at, first_visible_at, needs_review, review_reason
FROM springest.reconciled_delivery;
COMMENT ON VIEW springest.certificate_reconciliation_history IS
    'One row per version of a verdict: from when until when certificate_reconciliation said it';

-- What was said of a column is said of the column of that name, and whoever read or wrote the history still may.
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT made.attrelid::regclass AS relation, made.attname AS name,
               col_description(told.attrelid, told.attnum) AS said
        FROM pg_attribute AS made
        JOIN pg_attribute AS told
          ON told.attname = made.attname AND told.attrelid = 'springest.history_before'::regclass
        WHERE made.attrelid = ANY(ARRAY['springest.certificate_reconciliation_history',
                                        'springest.ended_verdict']::regclass[])
          AND made.attnum > 0
          AND col_description(made.attrelid, made.attnum) IS NULL
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', one.relation, one.name, one.said);
    END LOOP;
    FOR one IN
        SELECT CASE may.grantee WHEN 0 THEN 'PUBLIC' ELSE may.grantee::regrole::text END AS who,
               may.privilege_type AS what
        FROM pg_class, aclexplode(relacl) AS may
        WHERE oid = 'springest.history_before'::regclass AND may.grantee <> relowner
    LOOP
        IF one.what = 'SELECT' THEN
            EXECUTE format('GRANT SELECT ON springest.certificate_reconciliation_history TO %s', one.who);
        ELSIF one.what = 'INSERT' THEN
            EXECUTE format('GRANT SELECT, INSERT ON springest.ended_verdict TO %s', one.who);
        END IF;
    END LOOP;
    -- As it is, and of the view instead of the table.
    EXECUTE replace('CREATE OR REPLACE VIEW springest.delivery_review AS '
                    || pg_get_viewdef('springest.delivery_review'::regclass),
                    'history_before', 'certificate_reconciliation_history');
END
$$;

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
                             AND remote.learner_ref = candidate.learner_ref)))
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
DROP TABLE springest.history_before;
