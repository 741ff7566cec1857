-- The version of a verdict that stands now is written into the history again.
ALTER VIEW springest.certificate_reconciliation_history RENAME TO history_before;

CREATE TABLE springest.certificate_reconciliation_history (
    delivery_key VARCHAR(64) NOT NULL,
    valid_from_ts TIMESTAMP WITH TIME ZONE NOT NULL,
    valid_to_ts TIMESTAMP WITH TIME ZONE,
    is_current BOOLEAN GENERATED ALWAYS AS (valid_to_ts IS NULL) STORED NOT NULL,
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
    CONSTRAINT certificate_reconciliation_history_pkey PRIMARY KEY (delivery_key, valid_from_ts),
    CONSTRAINT certificate_reconciliation_history_order_check CHECK (valid_from_ts < valid_to_ts)
);
INSERT INTO springest.certificate_reconciliation_history
    (delivery_key, valid_from_ts, valid_to_ts,
     site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
     delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
     match_method, sent_at, first_visible_at, needs_review, review_reason)
SELECT delivery_key, valid_from_ts, valid_to_ts,
       site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until, completed_at,
       delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
       match_method, sent_at, first_visible_at, needs_review, review_reason
FROM springest.history_before
ORDER BY delivery_key, valid_from_ts;
CREATE UNIQUE INDEX certificate_reconciliation_history_current_idx
    ON springest.certificate_reconciliation_history (delivery_key) WHERE is_current;
COMMENT ON TABLE springest.certificate_reconciliation_history IS
    'One row per version of a verdict: from when until when certificate_reconciliation said it';

DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT made.attname AS name, col_description(told.attrelid, told.attnum) AS said
        FROM pg_attribute AS made
        JOIN pg_attribute AS told
          ON told.attname = made.attname AND told.attrelid = 'springest.history_before'::regclass
        WHERE made.attrelid = 'springest.certificate_reconciliation_history'::regclass AND made.attnum > 0
    LOOP
        EXECUTE format('COMMENT ON COLUMN springest.certificate_reconciliation_history.%I IS %L', one.name, one.said);
    END LOOP;
    FOR one IN
        SELECT CASE may.grantee WHEN 0 THEN 'PUBLIC' ELSE may.grantee::regrole::text END AS who,
               CASE may.privilege_type WHEN 'INSERT' THEN 'SELECT, INSERT, UPDATE' ELSE 'SELECT' END AS what
        FROM pg_class, aclexplode(relacl) AS may
        WHERE may.grantee <> relowner
          AND (oid, may.privilege_type) IN (('springest.history_before'::regclass, 'SELECT'),
                                            ('springest.ended_verdict'::regclass, 'INSERT'))
    LOOP
        EXECUTE format('GRANT %s ON springest.certificate_reconciliation_history TO %s', one.what, one.who);
    END LOOP;
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
SELECT history.site, 'history_without_gaps', history.delivery_key, history.training_id,
       format('has a version until %s and the next from %s', history.valid_to_ts, history.next_from_ts),
       'versions were changed by hand: make valid_to_ts of each the valid_from_ts of the next, null for the last'
FROM (SELECT version.site, version.delivery_key, version.training_id, version.valid_to_ts,
             lead(version.valid_from_ts) OVER (PARTITION BY version.delivery_key ORDER BY version.valid_from_ts)
                 AS next_from_ts
      FROM springest.certificate_reconciliation_history AS version
      WHERE EXISTS (SELECT FROM springest.reconciled_candidate AS candidate
                    WHERE candidate.delivery_key = version.delivery_key)) AS history
WHERE history.valid_to_ts IS DISTINCT FROM history.next_from_ts
UNION ALL
SELECT site, 'conservation', NULL, NULL,
       format('run %s has more or fewer verdicts than source rows: of all runs, %s for %s', incomplete_run,
              verdict_rows, source_rows),
       'clear that run''s stage task, then reconcile'
FROM springest.candidate_set WHERE incomplete_run IS NOT NULL;
DROP VIEW springest.history_before;
DROP TABLE springest.ended_verdict;
ALTER TABLE springest.reconciled_delivery DROP COLUMN valid_from_ts;
