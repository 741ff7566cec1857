-- Defects that block publishing, row by row. A query for one check_name runs only that check.
CREATE OR REPLACE VIEW springest.failed_check WITH (security_barrier) AS
SELECT site, 'unique' AS check_name, delivery_key, min(training_id) AS training_id,
       format('has %s verdicts', count(*)) AS found,
       'two certifications or certificates have the same id: check the join in verdicts/sql/judge.sql' AS remedy
FROM springest.reconciled_candidate GROUP BY site, delivery_key HAVING count(*) > 1
UNION ALL
SELECT site, 'not_null', delivery_key, training_id, 'lacks a required field',
       'check the delivery in springest.delivery'
FROM springest.reconciled_candidate
WHERE delivery_key IS NULL OR site IS NULL OR training_id IS NULL OR issue_no IS NULL OR delivery_state IS NULL
   OR verification_status IS NULL OR needs_review IS NULL
UNION ALL
SELECT site, 'accepted_values', delivery_key, training_id,
       format('has state %s and status %s', delivery_state, verification_status),
       'the schema is older than the code: run make migrate'
FROM springest.reconciled_candidate
WHERE delivery_state NOT IN ('ready', 'invalid', 'held', 'sending', 'rejected', 'accepted', 'accepted_no_id',
                             'unknown', 'visible', 'review', 'vanished', 'withdrawn', 'cancelled')
   OR verification_status NOT IN ('not_sent', 'held', 'invalid', 'rejected', 'awaiting_verification', 'verified',
                                  'inferred', 'expired', 'unknown', 'ambiguous', 'missing', 'vanished', 'withdrawn',
                                  'cancelled')
UNION ALL
SELECT candidate.site, 'known_delivery', candidate.delivery_key, candidate.training_id, 'is not in the ledger',
       'the ledger has lost rows: restore it, see docs/operations.md'
FROM springest.reconciled_candidate AS candidate
WHERE NOT EXISTS (SELECT FROM springest.delivery
                  WHERE delivery.delivery_key = candidate.delivery_key AND delivery.site = candidate.site)
UNION ALL
SELECT candidate.site, 'known_certificate', candidate.delivery_key, candidate.training_id,
       format('is %s, but no snapshot shows certificate %s', candidate.verification_status,
              candidate.springest_certificate_id),
       'take a new snapshot: clear the snapshot task'
FROM springest.reconciled_candidate AS candidate
WHERE candidate.verification_status IN ('verified', 'expired')
  AND NOT EXISTS (SELECT FROM springest.remote_certificate AS remote
                  WHERE remote.site = candidate.site
                    AND remote.springest_certificate_id = candidate.springest_certificate_id)
UNION ALL
-- Neither an inference nor a person's confirmation alone is proof.
SELECT candidate.site, 'verified_has_proof', candidate.delivery_key, candidate.training_id,
       format('is %s without proof', candidate.verification_status),
       'verified requires proof: clear the reconcile task; if the failure stays, check match_method in '
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
       'a certificate with these dates should not have been sent: correct the source, and inform Springest'
FROM springest.reconciled_candidate
WHERE valid_until < valid_from AND sent_at IS NOT NULL
  AND verification_status NOT IN ('invalid', 'held', 'withdrawn', 'cancelled')
UNION ALL
SELECT site, 'review_has_reason', delivery_key, training_id, 'needs review but has no reason',
       'set a reason in verdicts/sql/judge.sql'
FROM springest.reconciled_candidate WHERE needs_review AND review_reason IS NULL
UNION ALL
-- Each ended version ends when the next begins, and the last one when the current verdict begins.
SELECT ended.site, 'history_without_gaps', ended.delivery_key, ended.training_id,
       format('has a version until %s and the next from %s', ended.valid_to_ts,
              COALESCE(ended.next_from_ts, verdict.valid_from_ts)),
       'versions were changed by hand: set valid_to_ts of each version in springest.ended_verdict to valid_from_ts of '
       'the next, and that of the last one to valid_from_ts in springest.reconciled_delivery'
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
       format('run %s has more or fewer verdicts than source rows: %s verdicts for %s source rows over all runs',
              incomplete_run, verdict_rows, source_rows),
       'clear that run''s stage task, then clear reconcile'
FROM springest.candidate_set WHERE incomplete_run IS NOT NULL;

COMMENT ON VIEW springest.failed_check IS
    'Failed checks that block publishing the verdicts in reconciled_candidate, one row per verdict and check';
COMMENT ON COLUMN springest.failed_check.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.failed_check.check_name IS 'Check that failed';
COMMENT ON COLUMN springest.failed_check.delivery_key IS 'Delivery';
COMMENT ON COLUMN springest.failed_check.training_id IS 'Completed training in the source';
COMMENT ON COLUMN springest.failed_check.found IS 'The defect';
COMMENT ON COLUMN springest.failed_check.remedy IS 'The remedy';
