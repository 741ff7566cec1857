-- The history of verdicts: one row per version, so that "what did we know last Tuesday" has an answer.

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
CREATE UNIQUE INDEX certificate_reconciliation_history_current_idx
    ON springest.certificate_reconciliation_history (delivery_key) WHERE is_current;
COMMENT ON TABLE springest.certificate_reconciliation_history IS
    'One row per version of a verdict: from when until when certificate_reconciliation said it';
COMMENT ON COLUMN springest.certificate_reconciliation_history.valid_from_ts IS
    'When this version was published; one moment per publication';
COMMENT ON COLUMN springest.certificate_reconciliation_history.valid_to_ts IS
    'When the next version was published; null: it is the current one';
COMMENT ON COLUMN springest.certificate_reconciliation_history.is_current IS
    'It is what certificate_reconciliation says now';

-- Verdicts that are new or differ from the published ones, on their way through the checks. Nothing is lost with
-- them: they are worked out again. Without constraints, so that the checks have something to say.
CREATE UNLOGGED TABLE springest.reconciled_candidate (
    delivery_key VARCHAR(64),
    site TEXT,
    training_id TEXT,
    issue_no INTEGER,
    learner_ref VARCHAR(64),
    certification_id BIGINT,
    certification_name TEXT,
    valid_from DATE,
    valid_until DATE,
    completed_at TIMESTAMP WITH TIME ZONE,
    delivery_state TEXT,
    delivery_reason TEXT,
    delivery_reason_detail TEXT,
    verification_status TEXT,
    springest_certificate_id BIGINT,
    springest_status TEXT,
    match_method TEXT,
    match_evidence TEXT,
    sent_at TIMESTAMP WITH TIME ZONE,
    first_visible_at TIMESTAMP WITH TIME ZONE,
    needs_review BOOLEAN,
    review_reason TEXT
);
COMMENT ON TABLE springest.reconciled_candidate IS
    'Verdicts that are new or changed and wait for their checks; empty between publications';

-- Looking up every delivery again took as long as writing the verdicts. The check known_delivery does it for all
-- at once, in the transaction that publishes; run_training and delivery_attempt keep deliveries from being deleted.
ALTER TABLE springest.reconciled_delivery DROP CONSTRAINT reconciled_delivery_delivery_key_fkey;

CREATE TABLE springest.candidate_set (
    site TEXT NOT NULL,
    run_id TEXT NOT NULL,
    built_at TIMESTAMP WITH TIME ZONE NOT NULL,
    snapshot_id BIGINT,
    changed INTEGER NOT NULL,
    source_rows BIGINT NOT NULL,
    verdict_rows BIGINT NOT NULL,
    incomplete_run TEXT,
    published_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT candidate_set_pkey PRIMARY KEY (site),
    CONSTRAINT candidate_set_snapshot_id_fkey FOREIGN KEY (snapshot_id) REFERENCES springest.snapshot (snapshot_id)
);
COMMENT ON TABLE springest.candidate_set IS
    'One row per site: the verdicts that were worked out last, and whether they are published';
COMMENT ON COLUMN springest.candidate_set.site IS 'Name of the Springest site';
COMMENT ON COLUMN springest.candidate_set.run_id IS 'Airflow run that worked them out';
COMMENT ON COLUMN springest.candidate_set.built_at IS 'When they were worked out';
COMMENT ON COLUMN springest.candidate_set.snapshot_id IS 'Newest snapshot at that time';
COMMENT ON COLUMN springest.candidate_set.changed IS 'Verdicts that are new or changed';
COMMENT ON COLUMN springest.candidate_set.source_rows IS 'Source rows that all staged runs counted';
COMMENT ON COLUMN springest.candidate_set.verdict_rows IS 'How many of those have a verdict';
COMMENT ON COLUMN springest.candidate_set.incomplete_run IS 'First run of which the two differ; null: none';
COMMENT ON COLUMN springest.candidate_set.published_at IS 'When they were published; null: not yet';

CREATE TABLE springest.forgotten_learner (
    tombstone VARCHAR(64) NOT NULL,
    forgotten_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT forgotten_learner_pkey PRIMARY KEY (tombstone)
);
COMMENT ON TABLE springest.forgotten_learner IS
    'One row per learner who was forgotten, so that nothing brings them back; says nothing but that';
COMMENT ON COLUMN springest.forgotten_learner.tombstone IS
    'HMAC of the learner_ref that was erased; no other table has it';
COMMENT ON COLUMN springest.forgotten_learner.forgotten_at IS 'When it was asked for';

-- The first version of every verdict there is.
INSERT INTO springest.certificate_reconciliation_history
    (delivery_key, valid_from_ts, site, training_id, issue_no, learner_ref, certification_id, valid_from, valid_until,
     completed_at, delivery_state, delivery_reason, verification_status, springest_certificate_id, springest_status,
     match_method, sent_at, first_visible_at, needs_review, review_reason)
SELECT verdict.delivery_key, COALESCE(publication.reconciled_at, clock_timestamp()), verdict.site,
       verdict.training_id, verdict.issue_no, verdict.learner_ref, verdict.certification_id, verdict.valid_from,
       verdict.valid_until, verdict.completed_at, verdict.delivery_state, verdict.delivery_reason,
       verdict.verification_status, verdict.springest_certificate_id, verdict.springest_status, verdict.match_method,
       verdict.sent_at, verdict.first_visible_at, verdict.needs_review, verdict.review_reason
FROM springest.reconciled_delivery AS verdict
LEFT JOIN springest.publication USING (site);

-- Time alone makes a certificate expire: the view says so from the first day on, the next publication writes it down.
CREATE OR REPLACE VIEW springest.certificate_reconciliation AS
SELECT verdict.delivery_key, verdict.site, verdict.training_id, verdict.issue_no, verdict.learner_ref,
       verdict.certification_id, verdict.certification_name, verdict.valid_from, verdict.valid_until,
       verdict.completed_at, verdict.delivery_state, verdict.delivery_reason, verdict.delivery_reason_detail,
       CASE WHEN verdict.verification_status = 'verified'
             AND verdict.valid_until < (now() AT TIME ZONE 'UTC')::date
            THEN 'expired' ELSE verdict.verification_status END AS verification_status,
       verdict.springest_certificate_id, verdict.springest_status,
       verdict.match_method, verdict.match_evidence, verdict.sent_at, verdict.first_visible_at,
       remote.last_seen_at, verdict.needs_review, verdict.review_reason, publication.reconciled_at
FROM springest.reconciled_delivery AS verdict
JOIN springest.publication USING (site)
LEFT JOIN springest.remote_certificate AS remote
       ON remote.site = verdict.site
      AND remote.springest_certificate_id = verdict.springest_certificate_id;

CREATE VIEW springest.delivery_review AS
SELECT verdict.site, verdict.delivery_key, verdict.training_id, verdict.issue_no, verdict.certification_id,
       verdict.certification_name, verdict.verification_status, verdict.delivery_state, verdict.review_reason,
       since.waits_since,
       CASE
           WHEN verdict.review_reason LIKE 'changed_after_sending%'
               THEN 'The source changed these fields after the certificate was sent: if the new values are right, '
                    'ask Springest to correct the certificate; else correct the source'
           WHEN verdict.review_reason LIKE 'disagrees%'
               THEN 'Springest shows these fields otherwise than they were sent: ask Springest which certificate it is'
           ELSE COALESCE((
               SELECT told.what FROM (VALUES
                   ('outcome_unknown', 'Look for the certificate in Springest''s admin: it may have been taken. '
                                       'It is not sent again by itself'),
                   ('unknown_for_long', 'Look for the certificate in Springest''s admin, and decide whether it is there'),
                   ('absent', 'Complete snapshots lack it: make sure in Springest''s admin, then let it be sent again'),
                   ('missing', 'Springest took it and does not show it although its certification is verified: '
                               'ask Springest what became of it'),
                   ('vanished', 'Springest showed it and no longer does: ask Springest what became of it'),
                   ('duplicate', 'Another training has the same learner, certification and first day: keep one of '
                                 'the two in the source'),
                   ('withdrawn_after_sending', 'The source took the row back after the certificate was sent: if that '
                                               'is right, ask Springest to remove the certificate'),
                   ('status_not_foreseen', 'Springest gives it a status that nobody foresaw: if it means verified, '
                                           'add it to the connection''s verified_statuses')
               ) AS told (reason, what) WHERE told.reason = verdict.review_reason),
               'Read delivery_reason_detail and match_evidence, then decide') END AS what_to_do,
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
COMMENT ON COLUMN springest.delivery_review.waits_since IS 'Since when it has needed a person without a break';
COMMENT ON COLUMN springest.delivery_review.what_to_do IS 'What a person should do about it';

CREATE VIEW springest.reconciliation_daily AS
WITH counted AS (
    SELECT staged.site, (staged.committed_at AT TIME ZONE 'UTC')::date AS day, verdict.verification_status,
           count(seen.delivery_key) AS source_rows, count(DISTINCT seen.delivery_key) AS certificates
    FROM springest.staging_run AS staged
    JOIN springest.run_training AS seen ON seen.site = staged.site AND seen.run_id = staged.run_id
    LEFT JOIN springest.certificate_reconciliation AS verdict USING (delivery_key)
    GROUP BY 1, 2, 3
), days AS (
    SELECT site, (committed_at AT TIME ZONE 'UTC')::date AS day, sum(source_count) AS source_counted
    FROM springest.staging_run
    GROUP BY 1, 2
)
SELECT days.day, days.site, counted.verification_status, COALESCE(counted.source_rows, 0) AS source_rows,
       COALESCE(counted.certificates, 0) AS certificates, days.source_counted::bigint AS source_counted,
       (days.source_counted - sum(COALESCE(counted.source_rows, 0)) OVER day_of_site)::bigint AS lost
FROM days
LEFT JOIN counted USING (site, day)
WINDOW day_of_site AS (PARTITION BY days.site, days.day)
ORDER BY days.day, days.site, counted.verification_status;
COMMENT ON VIEW springest.reconciliation_daily IS
    'What became of the source rows that each day''s runs staged, by status as it is now; they add up to the '
    'source''s own count';
COMMENT ON COLUMN springest.reconciliation_daily.day IS 'Day (UTC) on which the rows were staged';
COMMENT ON COLUMN springest.reconciliation_daily.verification_status IS
    'What became of them; null: staged after the last publication, or no row at all that day';
COMMENT ON COLUMN springest.reconciliation_daily.source_rows IS
    'Source rows with this status; a training that two runs saw counts twice';
COMMENT ON COLUMN springest.reconciliation_daily.certificates IS 'Different certificates among them';
COMMENT ON COLUMN springest.reconciliation_daily.source_counted IS
    'The source''s own count of that day''s rows, of all statuses together';
COMMENT ON COLUMN springest.reconciliation_daily.lost IS
    'source_counted less the rows of all statuses; must be 0';

CREATE VIEW springest.waiting_by_certification AS
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
       || E'Could you verify it, or tell us what is missing?\n\nThank you' AS body
FROM (
    SELECT verdict.site, verdict.certification_id, max(verdict.certification_name) AS certification_name,
           count(*) FILTER (WHERE verdict.verification_status = 'awaiting_verification') AS sent,
           count(*) FILTER (WHERE verdict.verification_status = 'held') AS not_sent,
           min(verdict.sent_at) AS oldest_sent_at,
           (now() AT TIME ZONE 'UTC')::date - (min(verdict.sent_at) AT TIME ZONE 'UTC')::date AS days
    FROM springest.reconciled_delivery AS verdict
    LEFT JOIN springest.certification USING (site, certification_id)
    WHERE NOT COALESCE(certification.is_listed, false)
      AND verdict.certification_id IS NOT NULL
      AND (verdict.verification_status = 'awaiting_verification'
           OR (verdict.verification_status = 'held' AND verdict.delivery_reason = 'certification_not_listed'))
    GROUP BY verdict.site, verdict.certification_id
) AS waiting
ORDER BY waiting.oldest_sent_at NULLS LAST, waiting.site, waiting.certification_id;
COMMENT ON VIEW springest.waiting_by_certification IS
    'What one verification at Springest would free, oldest first, with a text to send to Springest';
COMMENT ON COLUMN springest.waiting_by_certification.sent IS 'Certificates that Springest took and does not show yet';
COMMENT ON COLUMN springest.waiting_by_certification.not_sent IS
    'Certificates that are held until the certification is listed; a wrong number in the source looks the same';
COMMENT ON COLUMN springest.waiting_by_certification.oldest_sent_at IS 'When the oldest of those sent was sent';
COMMENT ON COLUMN springest.waiting_by_certification.days IS 'Days since then';
COMMENT ON COLUMN springest.waiting_by_certification.subject IS 'Subject of a message to Springest';
COMMENT ON COLUMN springest.waiting_by_certification.body IS 'Text of it; names no learner';

CREATE VIEW springest.expiring_soon AS
SELECT verdict.site, verdict.delivery_key, verdict.training_id, verdict.issue_no, verdict.learner_ref,
       verdict.certification_id, verdict.certification_name, verdict.springest_certificate_id, verdict.valid_from,
       verdict.valid_until, verdict.valid_until - (now() AT TIME ZONE 'UTC')::date AS days_left
FROM springest.certificate_reconciliation AS verdict
WHERE verdict.verification_status = 'verified'
  AND verdict.valid_until <= (now() AT TIME ZONE 'UTC')::date + 90
ORDER BY verdict.valid_until, verdict.delivery_key;
COMMENT ON VIEW springest.expiring_soon IS 'Verified certificates whose last day is at most 90 days ahead';
COMMENT ON COLUMN springest.expiring_soon.days_left IS 'Days until the last day of validity; 0: it is today';

CREATE VIEW springest.reconciliation_freshness AS
SELECT publication.site, publication.reconciled_at, used.started_at AS snapshot_at, used.complete AS snapshot_complete,
       complete.started_at AS complete_snapshot_at, stage_watermark.watermark AS staged_until,
       catalogue.scanned_at AS catalogue_at, publication.reconciled_at > now() - interval '26 hours' AS is_fresh
FROM springest.publication
LEFT JOIN springest.snapshot AS used USING (snapshot_id)
LEFT JOIN springest.stage_watermark ON stage_watermark.site = publication.site
LEFT JOIN LATERAL (SELECT max(started_at) AS started_at FROM springest.snapshot
                   WHERE snapshot.site = publication.site AND snapshot.complete) AS complete ON true
LEFT JOIN LATERAL (SELECT max(scanned_at) AS scanned_at FROM springest.catalogue_scan
                   WHERE catalogue_scan.site = publication.site AND catalogue_scan.complete) AS catalogue ON true;
COMMENT ON VIEW springest.reconciliation_freshness IS 'How fresh what analysts read is, one row per site';
COMMENT ON COLUMN springest.reconciliation_freshness.snapshot_at IS
    'When the snapshot began that the verdicts rest on';
COMMENT ON COLUMN springest.reconciliation_freshness.snapshot_complete IS
    'Whether nothing was missed in it; partial ones confirm and never deny';
COMMENT ON COLUMN springest.reconciliation_freshness.complete_snapshot_at IS
    'When the last complete snapshot began';
COMMENT ON COLUMN springest.reconciliation_freshness.staged_until IS
    'Completed trainings changed before it are known';
COMMENT ON COLUMN springest.reconciliation_freshness.catalogue_at IS
    'When the list of verified certifications was last read to its end';
COMMENT ON COLUMN springest.reconciliation_freshness.is_fresh IS 'Published in the last 26 hours';

-- What stands in the way of publishing, row by row. A query for one check_name runs that check only.
CREATE VIEW springest.failed_check AS
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
SELECT site, 'verified_has_proof', delivery_key, training_id,
       format('is called %s without a proof', verification_status),
       'verified is said with proof only: look at match_method in springest.delivery'
FROM springest.reconciled_candidate
WHERE verification_status IN ('verified', 'expired')
  AND (match_method IS NULL OR match_evidence IS NULL OR springest_certificate_id IS NULL
       OR first_visible_at IS NULL)
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
COMMENT ON VIEW springest.failed_check IS
    'What stands in the way of publishing the verdicts in reconciled_candidate, one row per row and check';
COMMENT ON COLUMN springest.failed_check.check_name IS 'Check that failed';
COMMENT ON COLUMN springest.failed_check.found IS 'What is wrong';
COMMENT ON COLUMN springest.failed_check.remedy IS 'What to do about it';

-- A column says what the column of that name says that it comes from.
DO $$
DECLARE
    origin record;
BEGIN
    FOR origin IN
        SELECT DISTINCT ON (seen.attrelid, seen.attname)
               seen.attrelid::regclass AS relation, seen.attname AS name,
               col_description(told.attrelid, told.attnum) AS said
        FROM pg_attribute AS seen
        JOIN pg_attribute AS told ON told.attname = seen.attname
        JOIN unnest(ARRAY['reconciled_delivery', 'publication']) WITH ORDINALITY AS source (name, ordinality)
             ON told.attrelid = ('springest.' || source.name)::regclass
        WHERE seen.attrelid = ANY(ARRAY[
                  'springest.certificate_reconciliation_history', 'springest.reconciled_candidate',
                  'springest.delivery_review', 'springest.reconciliation_daily',
                  'springest.waiting_by_certification', 'springest.expiring_soon',
                  'springest.reconciliation_freshness', 'springest.failed_check']::regclass[])
          AND seen.attnum > 0
          AND col_description(seen.attrelid, seen.attnum) IS NULL
        ORDER BY seen.attrelid, seen.attname, source.ordinality
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', origin.relation, origin.name, origin.said);
    END LOOP;
END
$$;
