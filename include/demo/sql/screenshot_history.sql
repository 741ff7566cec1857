-- Makes the history of history.sql look like one of a training institute: names, quiet weekends, recent nights of which
-- some certifications are not verified yet, and one delivery with a story.
UPDATE springest.certification AS certification SET name = names.name
FROM (VALUES (1, 'First Aid'), (2, 'Project Control'), (3, 'Forklift Operation'), (4, 'Food Safety'), (5, 'Working at Heights'),
             (6, 'Data Protection'), (7, 'Fire Warden'), (8, 'Scaffolding')) AS names (certification_id, name)
WHERE certification.certification_id = names.certification_id;

UPDATE springest.delivery SET certification_id = 1 + certification_id % 8;
UPDATE springest.verdict AS verdict
SET certification_id = 1 + verdict.certification_id % 8, certification_name = certification.name,
    first_visible_at = verdict.sent_at + make_interval(hours => (4 + (verdict.certification_id % 8) * 9
        + abs(hashtext(verdict.training_id)) % (8 + 14 * (verdict.certification_id % 8)))::int)
FROM springest.certification AS certification
WHERE certification.certification_id = 1 + verdict.certification_id % 8;

UPDATE springest.verdict
SET delivery_state = CASE WHEN delivery_state = 'visible' THEN 'accepted' ELSE delivery_state END,
    verification_status = CASE WHEN delivery_state = 'visible' THEN 'awaiting_verification' ELSE verification_status END,
    first_visible_at = NULL
WHERE first_visible_at > now() - interval '2 hours' OR verification_status <> 'verified';
UPDATE springest.delivery AS delivery SET state = 'accepted', match_method = NULL
FROM springest.verdict AS verdict
WHERE verdict.delivery_id = delivery.delivery_id AND verdict.delivery_state = 'accepted' AND delivery.state = 'visible';

-- A night has as many rows as its day of the week brings.
DELETE FROM springest.staged_row AS seen
USING springest.staging_run AS staged
WHERE staged.run_id = seen.run_id
  AND seen.row_no >= (ARRAY[90, 410, 380, 460, 350, 300, 120])[1 + EXTRACT(dow FROM staged.committed_at)::int]
      + abs(hashtext(staged.run_id)) % 40;
UPDATE springest.staging_run AS staged
SET source_count = (SELECT count(*) FROM springest.staged_row AS seen WHERE seen.run_id = staged.run_id);

-- One that a person released, and that Springest then took.
CREATE TEMPORARY TABLE storied ON COMMIT DROP AS
SELECT delivery_id, sent_at, springest_certificate_id FROM springest.delivery
WHERE state = 'visible' AND sent_at < now() - interval '5 days' ORDER BY sent_at DESC LIMIT 1;
UPDATE springest.delivery_attempt AS attempt
SET attempt_id = 900001, message = NULL, started_at = storied.sent_at + interval '9 hours',
    finished_at = storied.sent_at + interval '9 hours 1 second'
FROM storied WHERE storied.delivery_id = attempt.delivery_id;
INSERT INTO springest.delivery_attempt
    (attempt_id, delivery_id, run_id, worker, started_at, finished_at, outcome, failure, bytes_handed_over, document_sha256)
SELECT 900000, delivery_id, 'scheduled__night', 'worker', sent_at, sent_at + interval '60 seconds', 'outcome_unknown', 'ResponseTimeout',
       148213, repeat('a', 64)
FROM storied;
INSERT INTO springest.delivery_decision
    (delivery_id, decided_at, decided_by, decision, reason, version, from_state, to_state, evidence)
SELECT delivery_id, sent_at + interval '8 hours', 'olga', 'release', 'The admin does not show it', 2, 'unknown', 'ready',
       '{"missing": [], "possibly_stored": true, "row": "unchanged", "snapshot_id": 1}'
FROM storied;
INSERT INTO springest.verdict_history
    (delivery_id, version_from, version_to, site, training_id, issue_no, delivery_state, delivery_reason, verification_status,
     needs_review, review_reason)
SELECT delivery_id, storied.sent_at + interval '2 hours', storied.sent_at + interval '20 hours', site, training_id, issue_no,
       'unknown', 'response_timeout', 'unknown', true, 'outcome_unknown'
FROM storied JOIN springest.verdict USING (delivery_id);
UPDATE springest.verdict AS verdict
SET version_from = storied.sent_at + interval '20 hours', sent_at = storied.sent_at + interval '9 hours',
    first_visible_at = storied.sent_at + interval '15 hours'
FROM storied WHERE storied.delivery_id = verdict.delivery_id;
UPDATE springest.delivery AS delivery SET sent_at = storied.sent_at + interval '9 hours'
FROM storied WHERE storied.delivery_id = delivery.delivery_id;
INSERT INTO springest.catalogue_scan (site, run_id, listed, complete, scanned_at)
VALUES ('default', 'night', 8, true, now() - interval '3 hours');
