-- How many verdicts are pending is not known when a query is planned. It is few on most nights, and the average of all
-- publications would be far too many.
ALTER TABLE springest.verdict ALTER COLUMN publication_id SET (n_distinct = 1000);

-- Defects that block publishing, row by row. A query for one check_name runs only that check.
CREATE OR REPLACE VIEW springest.failed_check WITH (security_barrier) AS
WITH pending AS NOT MATERIALIZED (
    SELECT verdict.*
    FROM springest.verdict
    JOIN springest.publication USING (publication_id)
    WHERE publication.published_at IS NULL
), failed AS NOT MATERIALIZED (
    SELECT site, 'unique' AS check_name, delivery_id, min(training_id) AS training_id,
           format('has %s verdicts', count(*)) AS found,
           'two certifications or certificates have the same id: check the joins in verdicts/sql/facts.sql' AS remedy
    FROM pending GROUP BY site, delivery_id HAVING count(*) > 1
    UNION ALL
    SELECT site, 'not_null', delivery_id, training_id, 'lacks a required field',
           'check the delivery in springest.delivery'
    FROM pending
    WHERE training_id IS NULL OR issue_no IS NULL OR delivery_state IS NULL OR verification_status IS NULL
       OR needs_review IS NULL
    UNION ALL
    SELECT site, 'accepted_values', delivery_id, training_id,
           format('has state %s and status %s', delivery_state, verification_status),
           'the schema is older than the code: run bin/springest migrate'
    FROM pending
    WHERE delivery_state NOT IN ('ready', 'invalid', 'held', 'sending', 'rejected', 'accepted', 'accepted_no_id',
                                 'unknown', 'visible', 'review', 'vanished', 'withdrawn', 'cancelled')
       OR verification_status NOT IN ('not_sent', 'held', 'invalid', 'rejected', 'awaiting_verification', 'verified',
                                      'inferred', 'expired', 'unknown', 'ambiguous', 'missing', 'vanished', 'withdrawn',
                                      'cancelled')
    UNION ALL
    SELECT pending.site, 'known_delivery', pending.delivery_id, pending.training_id, 'is not in the ledger',
           'the ledger has lost rows: restore it, see docs/operations.md'
    FROM pending
    WHERE NOT EXISTS (SELECT FROM springest.delivery
                      WHERE delivery.delivery_id = pending.delivery_id AND delivery.site = pending.site)
    UNION ALL
    SELECT pending.site, 'known_certificate', pending.delivery_id, pending.training_id,
           format('is %s, but no snapshot shows certificate %s', pending.verification_status,
                  pending.springest_certificate_id),
           'take a new snapshot: clear the snapshot task'
    FROM pending
    WHERE pending.verification_status IN ('verified', 'expired')
      AND NOT EXISTS (SELECT FROM springest.remote_certificate AS remote
                      WHERE remote.site = pending.site
                        AND remote.springest_certificate_id = pending.springest_certificate_id)
    UNION ALL
    -- Neither an inference nor a person's confirmation alone is proof.
    SELECT pending.site, 'verified_has_proof', pending.delivery_id, pending.training_id,
           format('is %s without proof', pending.verification_status),
           'verified requires proof: clear the reconcile task; if the failure stays, check match_method in '
           'springest.delivery'
    FROM pending
    WHERE pending.verification_status IN ('verified', 'expired')
      AND (pending.match_method IS NULL OR pending.match_evidence IS NULL
           OR pending.springest_certificate_id IS NULL OR pending.first_visible_at IS NULL
           OR pending.match_method NOT IN ('springest_id', 'owner', 'person')
           OR (pending.match_method = 'person'
               AND NOT EXISTS (SELECT FROM springest.remote_certificate AS remote
                               WHERE remote.site = pending.site
                                 AND remote.springest_certificate_id = pending.springest_certificate_id
                                 AND remote.learner_ref = COALESCE(pending.learner_ref, 'forgotten'))))
    UNION ALL
    SELECT site, 'dates_in_order', delivery_id, training_id,
           format('is %s, is valid from %s until %s', verification_status, valid_from, valid_until),
           'a certificate with these dates should not have been sent: correct the source, and inform Springest'
    FROM pending
    WHERE valid_until < valid_from AND sent_at IS NOT NULL
      AND verification_status NOT IN ('invalid', 'held', 'withdrawn', 'cancelled')
    UNION ALL
    SELECT site, 'review_has_reason', delivery_id, training_id, 'needs review but has no reason',
           'set a reason in verdicts/sql/compute_verdicts.sql'
    FROM pending WHERE needs_review AND review_reason IS NULL
    UNION ALL
    -- Each ended version ends when the next begins, and the last one when the current verdict begins.
    SELECT ended.site, 'history_without_gaps', ended.delivery_id, ended.training_id,
           format('has a version until %s and the next from %s', ended.version_to,
                  COALESCE(ended.next_from, current.version_from)),
           'versions were changed by hand: set version_to of each version in springest.verdict_history to version_from of '
           'the next, and that of the last one to version_from in springest.current_verdict'
    FROM (SELECT version.site, version.delivery_id, version.training_id, version.version_to,
                 lead(version.version_from) OVER (PARTITION BY version.delivery_id ORDER BY version.version_from)
                     AS next_from
          FROM springest.verdict_history AS version
          WHERE EXISTS (SELECT FROM pending WHERE pending.delivery_id = version.delivery_id)) AS ended
    LEFT JOIN springest.current_verdict AS current ON current.delivery_id = ended.delivery_id
    WHERE ended.version_to IS DISTINCT FROM COALESCE(ended.next_from, current.version_from)
)
SELECT failed.site, failed.check_name, delivery.delivery_key, failed.training_id, failed.found, failed.remedy
FROM failed
LEFT JOIN springest.delivery USING (delivery_id)
UNION ALL
SELECT site, 'conservation', NULL, NULL,
       format('run %s has more or fewer verdicts than source rows: %s verdicts for %s source rows over all runs',
              incomplete_run, verdict_rows, source_rows),
       'clear that run''s stage task, then clear reconcile'
FROM springest.publication WHERE published_at IS NULL AND incomplete_run IS NOT NULL;

COMMENT ON VIEW springest.failed_check IS
    'Failed checks that block publishing the pending verdicts, one row per verdict and check';
COMMENT ON COLUMN springest.failed_check.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.failed_check.check_name IS 'Check that failed';
COMMENT ON COLUMN springest.failed_check.delivery_key IS 'Delivery';
COMMENT ON COLUMN springest.failed_check.training_id IS 'Completed training in the source';
COMMENT ON COLUMN springest.failed_check.found IS 'The defect';
COMMENT ON COLUMN springest.failed_check.remedy IS 'The remedy';
