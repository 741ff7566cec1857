-- :rows deliveries of the site :site over nights of :per_night, from the oldest to the newest. The state of each follows
-- from its number alone: most are verified, some wait, a few of each thousand are set aside, unknown or in the queue.
-- A number's fate is its remainder modulo 1000:  0 unknown, 1 review, 2 vanished, 3-6 held, 7-9 invalid, 10 rejected,
-- 11-60 accepted, 61-63 ready (in the newest night), all others visible.
CREATE TEMPORARY TABLE fate ON COMMIT DROP AS
SELECT number,
       encode(sha256(convert_to(format('%s:%s%s:T%s1:1', length(':site'), ':site', length('T' || number), number), 'UTF8')), 'hex') AS delivery_key,
       'T' || number AS training_id,
       1 + number % 40 AS certification_id,
       number / :per_night AS night,
       CASE WHEN number % 1000 = 0 THEN 'unknown' WHEN number % 1000 = 1 THEN 'review' WHEN number % 1000 = 2 THEN 'vanished'
            WHEN number % 1000 < 7 THEN 'held' WHEN number % 1000 < 10 THEN 'invalid' WHEN number % 1000 = 10 THEN 'rejected'
            WHEN number % 1000 < 61 THEN 'accepted'
            WHEN number % 1000 < 64 AND number / :per_night = (:rows - 1) / :per_night THEN 'ready' ELSE 'visible' END AS state,
       date_trunc('day', now()) - make_interval(days => ((:rows - 1) / :per_night - number / :per_night)::int)
           - make_interval(secs => (number % :per_night) % 40000) AS completed_at
FROM generate_series(0, :rows - 1) AS number;

INSERT INTO springest.certification (site, certification_id, name, is_listed, first_seen_at, last_seen_at, listed_since)
SELECT ':site', number, 'Certification ' || number, true, now() - interval '900 days', now(), now() - interval '900 days'
FROM generate_series(1, 40) AS number;

INSERT INTO springest.snapshot (site, run_id, started_at, finished_at, complete, distinct_ids)
VALUES (':site', 'night', now() - interval '20 minutes', now() - interval '19 minutes', true, 10);

INSERT INTO springest.delivery
    (delivery_key, site, training_id, issue_no, state, reason, reason_detail, learner_ref, certification_id, valid_from,
     completed_at, row_version, springest_certificate_id, match_method, staged_run_id, sent_at, needs_review, review_reason,
     created_at)
SELECT delivery_key, ':site', training_id, 1, state,
       CASE state WHEN 'held' THEN 'certification_not_listed' WHEN 'invalid' THEN 'email_missing' WHEN 'rejected' THEN 'rejected'
                  WHEN 'review' THEN 'duplicate' WHEN 'unknown' THEN 'response_timeout' END,
       CASE WHEN state IN ('held', 'invalid', 'rejected') THEN 'Mend the row' END,
       encode(sha256(convert_to('learner' || number / 3, 'UTF8')), 'hex'), certification_id, completed_at::date, completed_at,
       encode(sha256(convert_to('row' || number, 'UTF8')), 'hex'),
       CASE WHEN state IN ('accepted', 'visible', 'vanished') THEN 5000000 + number END,
       CASE WHEN state IN ('visible', 'vanished') THEN 'springest_id' END, 'night-' || night,
       CASE WHEN state IN ('unknown', 'vanished', 'rejected', 'accepted', 'visible') THEN completed_at + interval '6 hours' END,
       false, NULL, completed_at + interval '5 hours'
FROM fate;

INSERT INTO springest.publication (site, run_id, snapshot_id, computed_at, published_at)
VALUES (':site', 'night', (SELECT max(snapshot_id) FROM springest.snapshot WHERE site = ':site'), now() - interval '6 minutes', now() - interval '5 minutes');

INSERT INTO springest.verdict
    (publication_id, delivery_id, site, training_id, issue_no, learner_ref, certification_id, certification_name, valid_from, completed_at,
     delivery_state, delivery_reason, delivery_reason_detail, verification_status, springest_certificate_id, match_method,
     sent_at, first_visible_at, needs_review, review_reason, version_from)
SELECT (SELECT publication_id FROM springest.publication WHERE site = ':site'), delivery_id, site, training_id, issue_no, learner_ref, certification_id, 'Certification ' || certification_id, valid_from,
       completed_at, state, reason, reason_detail,
       CASE state WHEN 'visible' THEN 'verified' WHEN 'accepted' THEN 'awaiting_verification' WHEN 'review' THEN 'held'
                  WHEN 'ready' THEN 'not_sent' ELSE state END,
       springest_certificate_id, match_method, sent_at,
       CASE WHEN state = 'visible' THEN sent_at + make_interval(hours => 5 + certification_id::int) END,
       state IN ('unknown', 'review', 'vanished'),
       CASE state WHEN 'unknown' THEN 'outcome_unknown' WHEN 'review' THEN 'duplicate' WHEN 'vanished' THEN 'vanished' END,
       created_at + interval '2 hours'
FROM springest.delivery WHERE site = ':site';

INSERT INTO springest.delivery_attempt
    (delivery_id, run_id, worker, started_at, finished_at, outcome, failure, http_status, bytes_handed_over, document_sha256,
     springest_certificate_id, message)
SELECT delivery_id, staged_run_id, 'worker', sent_at, sent_at + interval '1 second',
       CASE state WHEN 'unknown' THEN 'outcome_unknown' WHEN 'rejected' THEN 'refused' ELSE 'accepted_with_id' END,
       CASE state WHEN 'unknown' THEN 'ResponseTimeout' WHEN 'rejected' THEN 'Rejected' END,
       CASE state WHEN 'unknown' THEN NULL WHEN 'rejected' THEN 422 ELSE 201 END, 150000, repeat('a', 64),
       springest_certificate_id, 'canary of the ledger'
FROM springest.delivery WHERE site = ':site' AND sent_at IS NOT NULL;

INSERT INTO springest.remote_certificate
    (site, springest_certificate_id, certification_id, valid_from, springest_status, created_at, first_snapshot_id,
     first_seen_at, recorded_at)
SELECT site, springest_certificate_id, certification_id, valid_from, 'verified', sent_at, (SELECT max(snapshot_id) FROM springest.snapshot WHERE site = ':site'),
       LEAST(sent_at + interval '10 hours', now() - interval '20 minutes'), now() - interval '20 minutes'
FROM springest.delivery WHERE site = ':site' AND state = 'visible';

INSERT INTO springest.staging_run (site, run_id, mode, window_start, window_end, source_count, committed_at)
SELECT ':site', 'night-' || night, 'watermark', min(completed_at), max(completed_at) + interval '1 second', count(*),
       date_trunc('day', now()) - make_interval(days => ((:rows - 1) / :per_night - night)::int) + interval '1 hour'
FROM fate GROUP BY night;

INSERT INTO springest.staged_row (site, run_id, row_no, delivery_id)
SELECT ':site', 'night-' || night, number % :per_night, delivery_id
FROM fate JOIN springest.delivery USING (delivery_key);

INSERT INTO springest.stage_watermark (site, watermark, run_id) VALUES (':site', now() - interval '2 hours', 'night');
